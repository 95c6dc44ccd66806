"""Rules that name what is wrong with a GRPO run, each at one of its steps.

base     what a rule is given, and what it finds
wiring   nothing is learned: gradients, adapters, the reference
updates  steps that are too large or too small
drift    KL to the SFT policy
variety  entropy and answers that all look alike
reward   the learned reward is exploited, or teaches nothing

A rule reads the curves up to row t and returns a finding, or None: what it cannot know yet it does
not say. Thresholds are relative to what preflight measured where that can be; the figures and their
sources are in each rule. Rewards are in standard deviations of the SFT policy's answers.
"""

from __future__ import annotations

from collections.abc import Callable

from grpo.diagnosis.curves import Curves
from grpo.diagnosis.rules import drift, reward, updates, variety, wiring
from grpo.diagnosis.rules.base import Finding

Rule = Callable[[Curves, int], Finding | None]
RULES: dict[Rule, int] = {
    wiring.not_finite: 1,
    wiring.nothing_trains: 1,
    wiring.wrong_reference: 1,
    wiring.no_kl_term: 1,
    drift.kl_jump: 1,
    reward.useless_reward: 2,
    reward.reward_hacking: 3,
    drift.kl_runaway: 2,
    reward.uncertain_reward: 3,
    variety.entropy_collapse: 3,
    variety.mode_collapse: 2,
    variety.spread_collapse: 3,
    variety.entropy_explosion: 3,
    updates.truncation: 3,
    updates.aggressive_gradients: 3,
    updates.vanishing_gradients: 3,
    variety.gaming: 3,
    reward.reward_falling: 3,
    drift.flat_kl: 3,
    drift.kl_not_rising: 3,
    reward.plateau: 3,
}
"""Each rule, and at how many steps in a row it must hold to be said; from what explains the most to
what explains the least."""
EXPLAINED_BY = {
    "nothing-trains": {"flat-kl", "kl-not-rising", "vanishing-gradients", "plateau"},
    "useless-reward": {
        "uncertain-reward",
        "flat-kl",
        "kl-not-rising",
        "vanishing-gradients",
        "plateau",
    },
    "flat-kl": {"kl-not-rising"},
    "mode-collapse": {"vanishing-gradients", "useless-reward"},
}
"""Verdicts that another one is the reason of: they are not said beside it."""
