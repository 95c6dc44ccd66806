"""Entropy and distinct answers: collapsing, exploding, or flat while the reward rises."""

from __future__ import annotations

from grpo.diagnosis.curves import Curves
from grpo.diagnosis.rules.base import (
    START_AGAIN,
    SURE,
    VERY_SURE,
    Finding,
    livelier,
    pooled,
    put_to,
    ratio,
    turned,
)

LEAST_RISE = 0.1
"""Nats per token: where answers are all but fixed, a few more nats are soon twice as many."""
DRAWN_TOGETHER = 0.35


def entropy_collapse(c: Curves, t: int) -> Finding | None:
    """Below half of its start; or surely falling, and at this pace below that in a quarter of what
    is left."""
    now, start = c.level("entropy", t), c.start("entropy")
    if now is None or start is None or t + 1 < min(3, c.window):
        return None
    limit = 0.5 * start
    if now < limit:
        text = (
            f"Entropy is {now:.2g} nats per token, below {limit:.2g} (it started at {start:.2g}):"
            " answers grow alike, and there is less and less to choose from."
        )
        source = (
            "Cui et al. 2025, arXiv:2505.22617: entropy fell by 73% in 200 steps, and gains with it"
        )
    else:
        pace = c.going("entropy", t, 2 * c.window)
        reached = now + pace.slope * (c.planned - c.steps[t]) / 4
        if pace.z > -VERY_SURE or now > 0.75 * start or reached >= limit:
            return None
        text = (
            f"Entropy is {now:.2g} nats per token, {now / start:.0%} of its start, and falls: at"
            f" this pace it is below {limit:.2g} within a quarter of the steps that are left."
        )
        source = (
            "rldoctor, entropy floor within a quarter of the steps left; Cui et al.,"
            " arXiv:2505.22617"
        )
    return Finding(
        "entropy-collapse", "stop" if now < 0.1 * start else "watch", text, "entropy", now, limit,
        START_AGAIN, source, livelier(c), "repeated",
    )  # fmt: skip


def entropy_explosion(c: Curves, t: int) -> Finding | None:
    """Half as much again as at the start. Against it: less of the entropy bonus; without one, a
    temperature of 1, or a lower learning rate."""
    now, start = c.level("entropy", t, 3), c.start("entropy")
    if now is None or start is None or t < 2:
        return None
    limit = max(1.5 * start, start + LEAST_RISE)
    if now <= limit:
        return None
    if (c.setting("entropy_weight") or 0.0) > 0:
        turn = turned(c, "entropy_weight", 0.1)
    elif (c.setting("sampling.temperature") or 1.0) > 1:
        turn = put_to(c, "sampling.temperature", 1.0, "lower")
    else:
        turn = turned(c, "learning_rate", 0.5)
    babble = now > max(2 * start, start + 2 * LEAST_RISE)
    return Finding(
        "entropy-explosion", "stop" if babble else "watch",
        f"Entropy is {now:.2g} nats per token, above {limit:.2g} (it started at {start:.2g}):"
        " answers lose their thread.",
        "entropy", now, limit, START_AGAIN,
        "verl PR 781; rllm issue 116: entropy rose to 2.0, then performance fell", turn,
    )  # fmt: skip


def alike_below(c: Curves) -> float:
    """Share of distinct completions below which they have become the same ones: short answers are
    often alike from the start."""
    start = c.start("unique")
    return 0.6 * (start if start is not None else 1.0)


def mode_collapse(c: Curves, t: int) -> Finding | None:
    """Completions of a prompt are the same ones."""
    unique, limit = pooled(c, "unique", t, c.contrasts, 3), alike_below(c)
    if unique is None or c.batches(t) < 2 or unique >= limit:
        return None
    return Finding(
        "mode-collapse", "stop" if unique < 0.25 else "watch",
        f"{unique:.0%} of the completions within a group are distinct, below {limit:.0%}: the"
        " policy gives the same answer over and over.",
        "unique", unique, limit, START_AGAIN,
        "ocamler-grpo, mode collapse at epoch 0.04; DAPO, arXiv:2503.14476",
        livelier(c), "repeated",
    )  # fmt: skip


def spread_collapse(c: Curves, t: int) -> Finding | None:
    """Rewards within a group have drawn together, and entropy has fallen with them: whatever the
    words, the answers of a prompt have become the same answer."""
    now, start = pooled(c, "group_std", t, c.contrasts, 3), c.start("group_std")
    left = ratio(c, "entropy", t)
    if now is None or not start or left is None or c.batches(t) < 3 or left >= 0.8:
        return None
    spread = now / start
    if spread >= DRAWN_TOGETHER:
        return None
    return Finding(
        "mode-collapse", "watch",
        f"Rewards within a group differ by {spread:.0%} of what they did at the start, below"
        f" {DRAWN_TOGETHER:.0%}, and entropy is {left:.0%} of its start: the answers to a prompt"
        " have become alike.",
        "group_std", spread, DRAWN_TOGETHER, START_AGAIN,
        "DAPO, arXiv:2503.14476, 3.1; measured: healthy runs keep more than half of their spread",
        livelier(c), "group",
    )  # fmt: skip


def gaming(c: Curves, t: int) -> Finding | None:
    """Entropy flat, reward up, and fewer distinct answers: something is repeated that pays."""
    now, start, unique = c.level("entropy", t), c.start("entropy"), ratio(c, "unique", t)
    if c.batches(t) < 2 * c.window or now is None or unique is None or not start:
        return None
    rises = c.going("reward_mean", t, 2 * c.window).z > SURE
    if abs(now / start - 1) > 0.05 or unique > 0.85 or not rises:
        return None
    return Finding(
        "flat-entropy", "watch",
        f"Entropy stays within 5% of its start while reward rises and distinct answers fall to"
        f" {unique:.0%} of their share at the start (limit 85%): the policy may be gaming.",
        "unique", unique, 0.85,
        "Read these answers; if they please only the reward model, judge them and train it again.",
        "Gao et al. 2022, arXiv:2210.10760", pick="best",
    )  # fmt: skip
