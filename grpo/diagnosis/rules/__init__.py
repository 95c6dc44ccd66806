"""Rules that name what is wrong with a GRPO run, each at one of its steps.

A rule reads the curves up to row t and returns a finding, or None: what it cannot know yet it does
not say. Thresholds are relative to what preflight measured where that can be; the figures and their
sources are in each rule. Rewards are in standard deviations of the SFT policy's answers.
"""

from __future__ import annotations

from collections.abc import Callable

from grpo.diagnosis.curves import Curves
from grpo.diagnosis.rules.base import Finding
from grpo.diagnosis.rules.drift import flat_kl, kl_jump, kl_not_rising, kl_runaway
from grpo.diagnosis.rules.reward import plateau, reward_falling, reward_hacking, useless_reward
from grpo.diagnosis.rules.updates import aggressive_gradients, truncation, vanishing_gradients
from grpo.diagnosis.rules.variety import (
    entropy_collapse,
    entropy_explosion,
    gaming,
    mode_collapse,
    spread_collapse,
)
from grpo.diagnosis.rules.wiring import no_kl_term, not_finite, nothing_trains, wrong_reference

Rule = Callable[[Curves, int], Finding | None]
RULES: dict[Rule, int] = {
    not_finite: 1,
    nothing_trains: 1,
    wrong_reference: 1,
    no_kl_term: 1,
    kl_jump: 1,
    useless_reward: 2,
    reward_hacking: 3,
    kl_runaway: 2,
    entropy_collapse: 3,
    mode_collapse: 2,
    spread_collapse: 3,
    entropy_explosion: 3,
    truncation: 3,
    aggressive_gradients: 3,
    vanishing_gradients: 3,
    gaming: 3,
    reward_falling: 3,
    flat_kl: 3,
    kl_not_rising: 3,
    plateau: 3,
}
"""Each rule, and at how many steps in a row it must hold to be said; from what explains the most to
what explains the least."""
EXPLAINED_BY = {
    "nothing-trains": {"flat-kl", "kl-not-rising", "vanishing-gradients", "plateau"},
    "useless-reward": {"flat-kl", "kl-not-rising", "vanishing-gradients", "plateau"},
    "flat-kl": {"kl-not-rising"},
    "mode-collapse": {"vanishing-gradients", "useless-reward"},
}
"""Verdicts that another one is the reason of: they are not said beside it."""
