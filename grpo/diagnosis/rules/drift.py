"""KL to the SFT policy: flat, not rising, running away."""

from __future__ import annotations

from grpo.diagnosis.curves import Curves
from grpo.diagnosis.rules.base import START_AGAIN, STILL_LEARNING, SURE, Finding, Severity, turned

BUDGET = 10.0
"""Nats per answer where no target is set."""
KL_COEFFICIENT = 0.04
"""What a KL coefficient of 0 is to be raised to: DeepSeekMath's, arXiv:2402.03300."""


def flat_kl(c: Curves, t: int) -> Finding | None:
    """KL that stays within what rounding makes of it, after a quarter of the planned steps."""
    kl = c.level("kl", t)
    limit = max(2 * (c.measured("kl_floor") or 0.0), 1e-4)
    if kl is None or t + 1 < max(8, c.planned // 4) or kl >= limit:
        return None
    return Finding(
        "flat-kl", "watch",
        f"KL to SFT is flat at {kl:.2g} per token after {t + 1} steps, below {limit:.1g}: the"
        " weights hardly change, or the reward gives no direction.",
        "kl", kl, limit,
        "Start again and {}; if KL stays flat, give the reward model more judgements.",
        "below what rounding may make of KL later in a run", turned(c, "learning_rate", 10),
    )  # fmt: skip


def kl_not_rising(c: Curves, t: int) -> Finding | None:
    """Past two fifths of the run, and still under a tenth of the target without rising."""
    kl = c.level("kl_nats", t)
    if kl is None or t + 1 < max(12, round(0.4 * c.planned)) or c.learning(t) < STILL_LEARNING:
        return None
    limit = 0.1 * (c.setting("kl_target") or 3.0)
    if kl >= limit or c.going("kl_nats", t, 2 * c.window).z > SURE:
        return None
    held = (c.level("kl_weight", t) or 0.0) > 2 * (c.setting("kl_weight") or 0.0) > 0
    return Finding(
        "kl-not-rising", "watch",
        f"KL to SFT is {kl:.2g} nats per answer at step {c.steps[t]}, below {limit:.2g}, and does"
        " not rise: the policy does not explore.",
        "kl_nats", kl, limit, START_AGAIN,
        "TRL, LoRA without regret: adapters want ten times the rate of full fine-tuning",
        turned(c, "kl_weight", 0.5) if held else turned(c, "learning_rate", 3),
    )  # fmt: skip


def kl_jump(c: Curves, t: int) -> Finding | None:
    """One step is enough where KL is ten times its target."""
    return _find_runaway(c, c.at("kl_nats", t), 10, "stop")


def kl_runaway(c: Curves, t: int) -> Finding | None:
    kl = c.level("kl_nats", t, 3) if t >= 2 else None
    return _find_runaway(c, kl, 4, "stop") or _find_runaway(c, kl, 2, "watch")


def _find_runaway(c: Curves, kl: float | None, times: float, level: Severity) -> Finding | None:
    """KL of more than so many times its target."""
    limit = times * (c.setting("kl_target") or BUDGET)
    if kl is None or kl <= limit:
        return None
    unheld = c.setting("kl_weight") == 0
    return Finding(
        "kl-runaway", level,
        f"KL to SFT is {kl:.3g} nats per answer, above {limit:.3g}: the policy runs away from what"
        " the reward model was trained on.",
        "kl_nats", kl, limit, "Stop, start again, and {}.",
        "Ziegler et al. 2019, arXiv:1909.08593: targets of 6 to 10 nats; Gao et al. 2022,"
        " arXiv:2210.10760",
        turned(c, "kl_weight", 2, KL_COEFFICIENT) if unheld else turned(c, "learning_rate", 0.5),
        "best",
    )  # fmt: skip
