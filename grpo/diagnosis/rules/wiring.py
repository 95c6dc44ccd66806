"""Hard evidence that a run is not wired as it should be: said at once."""

from __future__ import annotations

from grpo.diagnosis.curves import Curves
from grpo.diagnosis.rules.base import START_AGAIN, Finding, turned
from grpo.diagnosis.rules.drift import KL_COEFFICIENT


def not_finite(c: Curves, t: int) -> Finding | None:
    """A metric that is infinite or no number."""
    name = c.broken[t]
    if not name:
        return None
    words = name.replace("_", " ").replace("kl", "KL")
    return Finding(
        "not-finite", "stop",
        f"{words[:1].upper()}{words[1:]} is infinite or NaN at step {c.steps[t]}: the weights are"
        " no longer numbers.",
        name, None, None, START_AGAIN, "rlwatch, NaN rule", turned(c, "learning_rate", 0.1),
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
    known = {name: c.at(name, t) for name in ("learning_rate", "group_std", "grad_norm")}
    zero = {name for name, value in known.items() if value is not None and value <= 0}
    cause = "the optimiser holds none of them, or its steps are too small to show"
    remedy = "start again from an SFT run, whose adapter is loaded to be trained"
    if "learning_rate" in zero:
        cause, remedy = "the learning rate is 0", "start again with a learning rate above 0"
    elif "group_std" in zero:
        cause, remedy = "all rewards of a group are equal", "look at what the reward model scores"
    elif "grad_norm" in zero:
        cause = "no gradient reaches the adapter"
    return Finding(
        "nothing-trains", "stop", f"{shown}: nothing trains, because {cause}.",
        "kl" if away is None else "moved", 0.0, 0.0, f"Stop, and {remedy}.",
        "TRL issue 6700: an adapter loaded without is_trainable trains nothing, silently",
        step=None if any(c.recent("moved", t, t + 1)) else c.steps[0],
    )  # fmt: skip


def wrong_reference(c: Curves, t: int) -> Finding | None:
    """At the first step the policy is the reference, read in the same parts, so KL is 0 in any
    precision; unless an earlier round's policy goes on, whose KL is what that round left. Where it
    is not known which of them it is, nothing is said."""
    kl, floor = c.at("kl", 0), c.measured("kl_floor")
    limit = 5e-3 if floor is None else max(20 * floor, 1e-5)  # preflight may not come as far as KL
    known = c.steps[0] == 1 and c.baseline.get("same_policy") is True
    if not known or kl is None or kl <= limit:
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
    """A KL coefficient of exactly 0."""
    if c.at("kl_weight", t) != 0:
        return None
    return Finding(
        "no-kl-term", "watch",
        "The KL coefficient is 0: nothing holds the policy to SFT, and a learned reward is only"
        " right near it.",
        "kl_weight", 0.0, 0.0, START_AGAIN,
        "autocontext PR 1076: without KL, reward rose 9 points and the held-out one fell 5",
        turned(c, "kl_weight", 2, KL_COEFFICIENT),
        step=None if any(c.recent("kl_weight", t, t + 1)) else c.steps[0],
    )  # fmt: skip
