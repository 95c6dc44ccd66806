"""Hard evidence that a run is not wired as it should be: said at once."""

from __future__ import annotations

from grpo.rules.base import Finding, times
from grpo.signals import Curves

FLOOR_TIMES = 20
KL_AT_START = 1e-5
"""Per token, in float32; with a measured floor: that many times it."""


def not_finite(c: Curves, t: int) -> Finding | None:
    name = c.broken[t]
    if not name:
        return None
    return Finding(
        "not-finite",
        "stop",
        f"{name.replace('_', ' ').capitalize()} is infinite or NaN at step {c.steps[t]}: the"
        " weights are no longer numbers.",
        name,
        0.0,
        0.0,
        "Stop, and start again with a tenth of the learning rate.",
        "rlwatch, NaN rule",
        times(c, "learning_rate", 0.1),
    )


def nothing_trains(c: Curves, t: int) -> Finding | None:
    """Weights that have not moved; in rows without that, KL of exactly 0 at three later steps."""
    away, kl = c.at("moved", t), c.recent("kl", t, t + 1)[1:]
    if away is None:
        still = len(kl) >= 3 and not any(kl)
        shown = "KL to SFT is exactly 0 at every step"
    else:
        still = away <= 0
        shown = f"The side-car's weights have moved by {away:g} of their size; above 0 is needed"
    if not still:
        return None
    cause, action = _why_still(c, t)
    return Finding(
        "nothing-trains",
        "stop",
        f"{shown}: nothing trains, because {cause}.",
        "kl" if away is None else "moved",
        0.0,
        0.0,
        action,
        "TRL issue 6700: an adapter loaded without is_trainable trains nothing, silently",
    )


def _why_still(c: Curves, t: int) -> tuple[str, str]:
    rate, spread, norm = c.at("learning_rate", t), c.at("group_std", t), c.at("grad_norm", t)
    if rate is not None and rate <= 0:
        return "the learning rate is 0", "Stop, and start again with a learning rate above 0."
    if spread is not None and spread <= 0:
        return "all rewards of a group are equal", "Stop, and look at what the reward model scores."
    if norm is not None and norm <= 0:
        return (
            "no gradient reaches the side-car",
            "Stop, and start again from an SFT run, whose side-car is loaded to be trained.",
        )
    return (
        "the optimiser holds none of them, or its steps are too small to show",
        "Stop, and start again from an SFT run, whose side-car is loaded to be trained.",
    )


def wrong_reference(c: Curves, t: int) -> Finding | None:
    """At the first step the policy is the reference, so KL is rounding; unless an earlier round's
    policy goes on, whose KL is what that round left."""
    kl = c.at("kl", 0)
    if c.steps[0] != 1 or kl is None or c.baseline.get("same_policy") is False:
        return None
    floor = c.measured("kl_floor")
    limit = max(FLOOR_TIMES * floor, KL_AT_START) if floor is not None else 100 * KL_AT_START
    if kl <= limit:
        return None
    return Finding(
        "wrong-reference",
        "stop",
        f"KL to SFT was {kl:.2g} per token at the first step, where it is 0 but for rounding (at"
        f" most {limit:.1g}): the reference is not the policy that training started from, or"
        " dropout is on.",
        "kl",
        kl,
        limit,
        "Stop, and start from an SFT run of this workspace, with dropout 0.",
        "TRL issues 1340, 3194, 3500",
    )


def no_kl_term(c: Curves, t: int) -> Finding | None:
    if c.at("kl_weight", t) != 0:
        return None
    return Finding(
        "no-kl-term",
        "watch",
        "The KL weight is 0: nothing holds the policy to SFT, and a learned reward is only right"
        " near it.",
        "kl_weight",
        0.0,
        0.0,
        "Start again with a KL weight above 0.",
        "autocontext PR 1076: without KL, reward rose 9 points and the held-out one fell 5",
        {"kl_weight": 0.04},
    )
