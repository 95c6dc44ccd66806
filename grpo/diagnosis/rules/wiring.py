"""Hard evidence that a run is not wired as it should be: said at once."""

from __future__ import annotations

from grpo.diagnosis.curves import Curves
from grpo.diagnosis.rules.base import Finding, turned
from grpo.diagnosis.rules.drift import KL_WEIGHT

FLOOR_TIMES = 20
KL_AT_START = 1e-5
UNKNOWN_FLOOR = 5e-3
"""Per token, where preflight did not come as far as KL."""


def not_finite(c: Curves, t: int) -> Finding | None:
    name = c.broken[t]
    if not name:
        return None
    words = name.replace("_", " ").replace("kl", "KL")
    action, change = turned(c, "learning_rate", 0.1)
    return Finding(
        "not-finite", "stop",
        f"{words[:1].upper()}{words[1:]} is infinite or NaN at step {c.steps[t]}: the weights are"
        " no longer numbers.",
        name, None, None, f"Start again and {action}.", "rlwatch, NaN rule", change,
    )  # fmt: skip


def nothing_trains(c: Curves, t: int) -> Finding | None:
    """Weights that have not moved; in rows without that, KL of exactly 0 at three later steps."""
    away, kl = c.at("moved", t), c.recent("kl", t, t + 1)[1:]
    if away is None:
        still = len(kl) >= 3 and not any(kl)
        shown = "KL to SFT is exactly 0 at every step"
    else:
        still = away <= 0
        shown = f"The adapter's weights have moved by {away:g} of their size; above 0 is needed"
    if not still:
        return None
    cause, action = _why_still(c, t)
    return Finding(
        "nothing-trains", "stop", f"{shown}: nothing trains, because {cause}.",
        "kl" if away is None else "moved", 0.0, 0.0, action,
        "TRL issue 6700: an adapter loaded without is_trainable trains nothing, silently",
        step=None if any(c.recent("moved", t, t + 1)) else c.steps[0],
    )  # fmt: skip


def _why_still(c: Curves, t: int) -> tuple[str, str]:
    rate, spread, norm = c.at("learning_rate", t), c.at("group_std", t), c.at("grad_norm", t)
    if rate is not None and rate <= 0:
        return "the learning rate is 0", "Stop, and start again with a learning rate above 0."
    if spread is not None and spread <= 0:
        return "all rewards of a group are equal", "Stop, and look at what the reward model scores."
    if norm is not None and norm <= 0:
        return (
            "no gradient reaches the adapter",
            "Stop, and start again from an SFT run, whose adapter is loaded to be trained.",
        )
    return (
        "the optimiser holds none of them, or its steps are too small to show",
        "Stop, and start again from an SFT run, whose adapter is loaded to be trained.",
    )


def wrong_reference(c: Curves, t: int) -> Finding | None:
    """At the first step the policy is the reference, read in the same parts, so KL is 0 in any
    precision; unless an earlier round's policy goes on, whose KL is what that round left. Where it
    is not known which of them it is, nothing is said."""
    kl = c.at("kl", 0)
    if c.steps[0] != 1 or kl is None or c.baseline.get("same_policy") is not True:
        return None
    floor = c.measured("kl_floor")
    limit = UNKNOWN_FLOOR if floor is None else max(FLOOR_TIMES * floor, KL_AT_START)
    if kl <= limit:
        return None
    return Finding(
        "wrong-reference", "stop",
        f"KL to SFT was {kl:.2g} per token at the first step, where it is 0 but for rounding (at"
        f" most {limit:.1g}): the reference is not the policy that training started from, or"
        " dropout is on.",
        "kl", kl, limit, "Stop, and start from an SFT run of this workspace, with dropout 0.",
        "TRL issues 1340, 3194, 3500", step=c.steps[0],
    )  # fmt: skip


def no_kl_term(c: Curves, t: int) -> Finding | None:
    if c.at("kl_weight", t) != 0:
        return None
    action, change = turned(c, "kl_weight", 2, KL_WEIGHT)
    return Finding(
        "no-kl-term", "watch",
        "The KL coefficient is 0: nothing holds the policy to SFT, and a learned reward is only"
        " right near it.",
        "kl_weight", 0.0, 0.0, f"Start again and {action}.",
        "autocontext PR 1076: without KL, reward rose 9 points and the held-out one fell 5", change,
        step=None if any(c.recent("kl_weight", t, t + 1)) else c.steps[0],
    )  # fmt: skip
