"""Entropy and distinct answers: collapsing, exploding, or flat while the reward rises."""

from __future__ import annotations

from grpo.rules.base import SURE, VERY_SURE, Finding, livelier, ratio, times
from grpo.signals import Curves, trend

COLLAPSED = 0.5
FALLEN = 0.75
GONE = 0.1
LEAST_ENTROPY = 0.05
"""Nats per token: below it answers are all but fixed, wherever they started."""
EXPLODED = 1.5
BABBLE = 2.0
ALIKE = 0.5
DRAWN_TOGETHER = 0.35
LESS = 0.8
SAME = 0.25


def entropy_collapse(c: Curves, t: int) -> Finding | None:
    now, start = c.level("entropy", t), c.start("entropy")
    if now is None or start is None or t + 1 < min(3, c.window):
        return None
    limit = max(COLLAPSED * start, LEAST_ENTROPY)
    if now >= limit:
        return _falling(c, t, now, start)
    return Finding(
        "entropy-collapse",
        "stop" if now < GONE * start else "watch",
        f"Entropy is {now:.2g} nats per token, below {limit:.2g} (it started at {start:.2g}):"
        " answers grow alike, and there is less and less to choose from.",
        "entropy",
        now,
        limit,
        "Start again with a larger entropy weight, or sample at temperature 1.",
        "Cui et al. 2025, arXiv:2505.22617: entropy fell by 73% in 200 steps, and gains with it",
        livelier(c),
        "repeated",
    )


def _falling(c: Curves, t: int, now: float, start: float) -> Finding | None:
    """Surely falling, and at this pace below half of its start in a quarter of what is left."""
    pace = trend(c.recent("entropy", t, 2 * c.window))
    limit = COLLAPSED * start
    reached = now + pace.slope * (c.planned - c.steps[t]) / 4
    if pace.z > -VERY_SURE or now > FALLEN * start or reached >= limit:
        return None
    return Finding(
        "entropy-collapse",
        "watch",
        f"Entropy is {now:.2g} nats per token, {now / start:.0%} of its start, and falls: at this"
        f" pace it is below {limit:.2g} within a quarter of the steps that are left.",
        "entropy",
        now,
        limit,
        "Start again with a larger entropy weight, or sample at temperature 1.",
        "rldoctor, entropy floor within a quarter of the steps left; Cui et al., arXiv:2505.22617",
        livelier(c),
        "repeated",
    )


def entropy_explosion(c: Curves, t: int) -> Finding | None:
    now, start = c.level("entropy", t, 3), c.start("entropy")
    if now is None or start is None or t < 2 or now <= EXPLODED * start:
        return None
    return Finding(
        "entropy-explosion",
        "stop" if now > BABBLE * start else "watch",
        f"Entropy is {now:.2g} nats per token, {now / max(start, 1e-9):.1f} times its start (limit"
        f" {EXPLODED:g}): answers lose their thread.",
        "entropy",
        now,
        EXPLODED * start,
        "Start again with a tenth of the entropy weight, or half the learning rate.",
        "verl PR 781; rllm issue 116: entropy rose to 2.0, then performance fell",
        times(c, "entropy_weight", 0.1),
    )


def mode_collapse(c: Curves, t: int) -> Finding | None:
    """Completions of a prompt are the same ones."""
    unique, start = c.level("unique", t, 3), c.start("unique")
    if unique is None or t < 1:
        return None
    limit = max(ALIKE, 0.6 * (start if start is not None else 1.0))
    if unique >= limit:
        return None
    return Finding(
        "mode-collapse",
        "stop" if unique < SAME else "watch",
        f"{unique:.0%} of the completions within a group are distinct, below {limit:.0%}: the"
        " policy gives the same answer over and over.",
        "unique",
        unique,
        limit,
        "Start again with temperature 1 and a larger entropy weight.",
        "ocamler-grpo, mode collapse at epoch 0.04; DAPO, arXiv:2503.14476",
        livelier(c),
        "repeated",
    )


def spread_collapse(c: Curves, t: int) -> Finding | None:
    """Rewards within a group have drawn together, and entropy has fallen with them: whatever the
    words, the answers of a prompt have become the same answer."""
    spread, left = ratio(c, "group_std", t, 3), ratio(c, "entropy", t)
    if spread is None or left is None or t < 2 or spread >= DRAWN_TOGETHER or left >= LESS:
        return None
    return Finding(
        "mode-collapse",
        "watch",
        f"Rewards within a group differ by {spread:.0%} of what they did at the start, below"
        f" {DRAWN_TOGETHER:.0%}, and entropy is {left:.0%} of its start: the answers to a prompt"
        " have become alike.",
        "group_std",
        spread,
        DRAWN_TOGETHER,
        "Start again with temperature 1 and a larger entropy weight.",
        "DAPO, arXiv:2503.14476, 3.1; measured: healthy runs keep more than half of their spread",
        livelier(c),
        "group",
    )


def gaming(c: Curves, t: int) -> Finding | None:
    """Entropy flat, reward up, and fewer distinct answers: something is repeated that pays."""
    now, start, unique = c.level("entropy", t), c.start("entropy"), ratio(c, "unique", t)
    if t + 1 < 2 * c.window or None in (now, start, unique) or not start:
        return None
    assert now is not None and unique is not None
    rises = trend(c.recent("reward_mean", t, 2 * c.window)).z > SURE
    if abs(now / start - 1) > 0.05 or unique > 0.85 or not rises:
        return None
    return Finding(
        "flat-entropy",
        "watch",
        f"Entropy stays within 5% of its start while reward rises and distinct answers fall to"
        f" {unique:.0%} of their share at the start (limit 85%): the policy may be gaming.",
        "unique",
        unique,
        0.85,
        "Read these answers; if they please only the reward model, judge them and train it again.",
        "Gao et al. 2022, arXiv:2210.10760",
        pick="best",
    )
