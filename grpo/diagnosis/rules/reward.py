"""The reward: whether it tells answers apart, is gamed, stands still or falls."""

from __future__ import annotations

import math
from statistics import median

from grpo.diagnosis.curves import Curves, jitter
from grpo.diagnosis.rules.base import (
    STILL_LEARNING,
    SURE,
    VERY_SURE,
    Finding,
    pooled,
    ratio,
    turned,
)
from grpo.diagnosis.rules.drift import KL_COEFFICIENT
from grpo.diagnosis.rules.variety import alike_below

FLAT_SPREAD = 0.05


def useless_reward(c: Curves, t: int) -> Finding | None:
    """Answers differ and their rewards do not: by less than a twentieth of SFT's spread, or in half
    of the groups by less than the reward model's own noise."""
    unique = c.level("unique", t, 3)
    if unique is not None and unique < alike_below(c):
        return None
    spread = pooled(c, "group_std", t, c.contrasts, 3)
    dropped = pooled(c, "dropped", t, c.groups, c.window)
    if spread is not None and spread <= FLAT_SPREAD:
        metric, value, limit, grave = "group_std", spread, FLAT_SPREAD, spread < 1e-6
        text = (
            f"Rewards within a group differ by {spread:.2g}, at most {FLAT_SPREAD:g}: the reward"
            " does not tell these answers apart."
        )
    elif dropped is not None and dropped >= 0.5 and c.batches(t) >= c.window:
        metric, value, limit, grave = "dropped", dropped, 0.5, dropped >= 0.75
        text = (
            f"{dropped:.0%} of the groups teach nothing, half or more: their rewards differ by less"
            " than the reward model's own noise."
        )
    else:
        return None
    return Finding(
        "useless-reward", "stop" if grave else "watch", text, metric, value, limit,
        "Stop, and collect judgements of this policy's answers to train the reward model on.",
        "rldoctor, advantage collapse at 30, 50 and 75%; TRL issue 3708", pick="group",
    )  # fmt: skip


def uncertain_reward(c: Curves, t: int) -> Finding | None:
    """Pessimism takes more off the rewards, on average, than they spread within a group."""
    off = pooled(c, "risk_premium", t, c.contrasts, c.window)
    spread = pooled(c, "group_std", t, c.contrasts, c.window)
    if not c.setting("pessimism") or off is None or spread is None or off <= spread:
        return None
    return Finding(
        "uncertain-reward", "watch",
        f"Pessimism takes {off:.2g} off a reward on average, more than the {spread:.2g} that"
        " rewards spread within a group: what the reward model does not know of these answers"
        " outweighs what it does.",
        "risk_premium", off, spread,
        "Judge answers of this policy, and train the reward model on more judgements.",
        "risk premium of the certainty equivalent, arXiv:2606.09073",
    )  # fmt: skip


CHANCE = 4.0
"""Standard deviations that a rank correlation is above what chance makes of it."""
LONGER = 1.5
"""Length beside that at the start."""
UNSURE = 4.0
"""The reward model's disagreement beside that at the start: it doubles or triples in healthy runs,
which move away from what was judged (measured: tests.benchmarks.diagnosis)."""


def reward_hacking(c: Curves, t: int) -> Finding | None:
    """A reward that is all but length; or it rises while two of these do what they do when a reward
    is gamed: length with its correlation, disagreement, repetition, variety."""
    if c.batches(t) < 3:
        return None
    corr = pooled(c, "length_corr", t, c.contrasts, c.window)
    read = min(c.batches(t), max(c.window, c.rows_of(c.contrasts)))
    limit = max(0.8, CHANCE / math.sqrt(c.contrasts * read))
    if corr is not None and corr >= limit:
        metric, value, turn = "length_corr", corr, turned(c, "length_penalty", 2, 0.5)
        grave = (ratio(c, "length", t) or 0.0) >= LONGER
        text = (
            f"The reward's rank correlation with length is {corr:.2f}, at or above {limit:.2g}:"
            " the policy is paid for length, not for what people like."
        )
    else:
        signs = _hacking_signs(c, t, corr)
        if len(signs) < 2 or c.going("reward_mean", t, 2 * c.window).z <= SURE:
            return None
        unheld = c.setting("kl_weight") == 0  # without it pessimism has no bound
        turn = turned(c, "kl_weight" if unheld else "pessimism", 2, KL_COEFFICIENT if unheld else 1)
        metric, value = "reward_mean", len(signs)
        limit, grave, shown = 2.0, len(signs) > 2, " and ".join(signs)
        text = f"Reward rises while {shown}: the policy may be gaming the reward model."
    return Finding(
        "reward-hacking", "stop" if grave else "watch", text, metric, value, limit,
        "Have people compare these answers with SFT's; to hold it back, start again and {}.",
        "Coste et al. 2023, arXiv:2310.02743; InfoRM, arXiv:2402.09345", turn, "best",
    )  # fmt: skip


def _hacking_signs(c: Curves, t: int, corr: float | None) -> list[str]:
    longer, unsure = ratio(c, "length", t), ratio(c, "disagreement", t)
    repeated, before = c.level("repetition", t), c.start("repetition")
    varied = ratio(c, "unique", t)
    signs = []
    if longer is not None and corr is not None and longer >= LONGER and corr >= 0.6:
        signs.append(f"answers grow to {longer:.1f} times their length, which it pays for")
    if unsure is not None and unsure >= UNSURE:
        signs.append(f"the reward model is {unsure:.1f} times as unsure ({UNSURE:g} is the limit)")
    if repeated is not None and before is not None and repeated >= max(2 * before, before + 0.15):
        signs.append(f"repetition goes from {before:.0%} to {repeated:.0%}")
    if varied is not None and varied <= 0.7:
        signs.append(f"the share of distinct answers falls to {varied:.0%} of its start")
    return signs


PLATEAU_STEPS = 12
GAIN_LEFT = 0.1


def plateau(c: Curves, t: int) -> Finding | None:
    """Sure that the reward stands still, before the run's half: the upper end of its slope would
    earn less than a tenth of a standard deviation in all the steps that are left."""
    width = max(PLATEAU_STEPS, round(0.35 * c.batches(t)))
    late = c.steps[t] > 0.5 * c.planned or c.learning(t) < STILL_LEARNING
    if late or c.batches(t) < width + c.window:
        return None
    left = c.going("reward_mean", t, width, VERY_SURE).high * (c.planned - c.steps[t])
    if left >= GAIN_LEFT or len(c.recent("reward_mean", t, width)) < PLATEAU_STEPS:
        return None
    spread, noise = c.level("group_std", t), c.level("noise", t)
    if spread is not None and noise is not None and spread < noise:
        why = "the reward model's noise is larger than the spread it scores"
    elif c.going("kl_nats", t, PLATEAU_STEPS).z > SURE:
        why = "KL still rises, so the policy moves where the reward does not see it"
    else:
        why = "the reward model tells no more, or the KL coefficient holds the policy back"
    return Finding(
        "plateau", "watch",
        f"Reward has stood still for {width * c.every} steps, at step {c.steps[t]} of {c.planned}:"
        f" at most {max(left, 0.0):.2f} would be gained in the rest, below {GAIN_LEFT:g}; {why}.",
        "reward_mean", left, GAIN_LEFT,
        "Stop here, and judge answers of this policy for the next reward model.",
        "rldoctor, plateau (35% of the run, 12 points, before its half)",
    )  # fmt: skip


FALLEN = 0.5


def gained(c: Curves, t: int) -> tuple[float, float] | None:
    """What the reward has gained since the start, and its standard error: the start is often one
    batch of few prompts."""
    now, known = c.level("reward_mean", t), c.measured("reward_mean")
    first = c.first("reward_mean") if known is None else [known]  # a fall may come right after it
    if now is None or not first:
        return None
    noise = jitter(c.recent("reward_mean", t, t + 1))
    last = min(c.window, c.batches(t))
    error = noise * math.sqrt(math.pi / 2 * (1 / len(first) + 1 / last))  # of medians
    return now - median(first), error


def reward_falling(c: Curves, t: int) -> Finding | None:
    """Lower than at the start by more than half a standard deviation and chance, and not rising so
    surely and fast that it is back by the end."""
    found = gained(c, t)
    if found is None or c.batches(t) < 2 * c.window:
        return None
    gain, error = found
    limit = FALLEN + 2 * error
    pace = c.going("reward_mean", t, 2 * c.window)
    back = pace.z > SURE and gain + pace.slope * (c.planned - c.steps[t]) > -FALLEN
    if -gain <= limit or back:
        return None
    return Finding(
        "reward-falling", "watch",
        f"Reward fell by {-gain:.2f} standard deviations since the start, more than {limit:.2f},"
        f" which is {FALLEN:g} and two standard errors: the updates make answers worse.",
        "reward_mean", gain, -limit, "Stop, start again, and {}.",
        "Schulman, nuts and bolts of deep RL: a falling return means steps too large",
        turned(c, "learning_rate", 0.5),
    )  # fmt: skip
