"""What more judgements would bring: accuracy against their number, and on from there.

The head is fitted anew to nested parts of the prompts and asked about the same unseen ones. Errors
of learners fall about as a power of the data (Hestness et al. 2017, arXiv:1712.00409): beyond what
was seen, accuracy = top - b n^-c, with c drawn anew for every draw of prompts, since four points
cannot tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.stats.agreement import Ceiling
from reward_model.dataset.examples import Bools, Examples
from reward_model.dataset.preference_pairs import Duels
from reward_model.evaluation.cross_validation import Forecast, Model, folds, forecast
from reward_model.evaluation.intervals import DRAWS, Bootstrap, Estimate
from reward_model.likelihood.fit import Basis, HeadFit, fit_head

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]
SHARES = (0.125, 0.25, 0.5)
"""Parts of the prompts that are learned from; the whole is the cross-validation itself."""
FEWEST = 20
"""Judgements in a part, at least."""
ENOUGH_PAIRS, ENOUGH_PROMPTS = 100, 20
EXPONENTS = (0.2, 1.0)
FURTHEST = 10.0
"""Times today's judgements: no forecast goes beyond."""
LITTLE = 0.02
"""Accuracy that four times the judgements must bring to be called worth it."""
STEP = 0.05
CERTAIN = 0.2
"""Width of the human ceiling's interval from which on it is compared with."""


@dataclass(frozen=True)
class Learned:
    """What a head knew that had learned from a share of the prompts."""

    share: float
    reward: Array
    """Of all completions (N,), each by a head that had not seen its prompt."""
    nll: float
    """Nats a judgement."""


def enough(duels: Duels) -> bool:
    """Whether there are pairs enough for a curve."""
    return len(duels) >= ENOUGH_PAIRS and len(np.unique(duels.prompt)) >= ENOUGH_PROMPTS


def refits(
    model: Model,
    features: Array,
    examples: Examples,
    precision: float,
    progress: Progress,
    seed: int = 0,
) -> list[Learned]:
    """Heads fitted to nested parts of the other folds' prompts, the smallest first."""
    shares = [s for s in SHARES if s * 0.8 * len(examples) >= FEWEST]
    if examples.prompts < ENOUGH_PROMPTS or not shares:
        return []
    basis = Basis.of(features)
    rewards = np.full((len(shares), len(features)), np.nan)
    nll, asked = np.zeros(len(shares)), 0
    for fold, (train, test) in enumerate(folds(examples, seed=seed)):
        held = examples.where(test)
        asked += len(model.joint(held))
        fit: HeadFit | None = None
        for i, part in enumerate(_nested(examples, train, shares, seed + fold)):
            progress(fold * len(shares) + i, 5 * len(shares), "the learning curve")
            fit = fit_head(features, model.joint(examples.where(part)), precision, basis, fit)
            found = forecast(model, held, fit.rewards(features), np.zeros(0), fit.values)
            rewards[i, test] = found.reward[test]
            nll[i] += found.nll
    return [Learned(s, r, float(loss) / max(1, asked))
            for s, r, loss in zip(shares, rewards, nll, strict=True)]  # fmt: skip


def _nested(examples: Examples, train: Bools, shares: list[float], seed: int) -> Iterator[Bools]:
    """Masks of completions (N,): the larger parts hold the smaller."""
    order = np.random.default_rng(seed).permutation(np.unique(examples.prompt[train]))
    for share in shares:
        kept = order[: max(1, round(share * len(order)))]
        yield train & np.isin(examples.prompt, kept)


def learning_curve(
    learned: list[Learned],
    crossed: Forecast,
    examples: Examples,
    duels: Duels,
    ceiling: Ceiling | None,
    boot: Bootstrap,
) -> dict[str, Any]:
    """Points of the curve, its forecast, and what they say about collecting more."""
    total = len(examples)
    if not enough(duels) or not learned:
        prompts = len(np.unique(duels.prompt))
        return {
            "verdict": "unknown",
            "sentence": "Not enough data yet to foretell what more judgements would bring:"
            f" {len(duels)} pairs with a better side on {prompts} prompts, about {ENOUGH_PAIRS} on"
            f" {ENOUGH_PROMPTS} are needed.",
            "points": [],
            "ahead": [],
        }
    whole = Learned(1.0, crossed.reward, crossed.nll / max(1, crossed.n))
    curve = [*learned, whole]
    accuracy = [boot.mean(duels.right(c.reward), duels.prompt, share=True) for c in curve]
    points = [
        {"judgements": round(c.share * total), "log_loss": c.nll, **a.as_json()}
        for c, a in zip(curve, accuracy, strict=True)
    ]
    future = Future(np.array([c.share for c in curve]), accuracy, seed=0)
    ahead = [{"judgements": round(m * total), **future.at(m).as_json()} for m in (2.0, 4.0)]
    return {"points": points, "ahead": ahead, **_verdict(future, total, ceiling)}


class Future:
    """Where the curve goes, as multiples of today's judgements."""

    def __init__(self, shares: Array, accuracy: list[Estimate], seed: int) -> None:
        self.today = accuracy[-1]
        self.best_before = max(a.value for a in accuracy[:-1])
        rng = np.random.default_rng(seed)
        self._c = rng.uniform(*EXPONENTS, DRAWS)
        y = np.stack([a.draws for a in accuracy], 1)  # (DRAWS, sizes)
        x = -(shares[None] ** -self._c[:, None])
        x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
        self._b: Array = np.maximum(0, (x * y).sum(1) / np.square(x).sum(1))

    @property
    def falling(self) -> bool:
        """Fewer judgements did clearly better than all: the curve has not settled."""
        return self.best_before > self.today.value + LITTLE / 2

    def gain(self, times: float) -> Array:
        """Accuracy gained by that many times the judgements (DRAWS,)."""
        gained: Array = self._b * (1 - times**-self._c)
        return np.minimum(gained, 1 - self.today.draws)

    def at(self, times: float) -> Estimate:
        draws = self.today.draws + self.gain(times)
        today = self.today
        return Estimate(float(np.median(draws)), draws, today.n, today.prompts, share=True)

    def times_to(self, target: float) -> Array:
        """Times today's judgements until the target (DRAWS,); inf where it is never reached."""
        need = (target - self.today.value) / np.maximum(self._b, 1e-12)
        with np.errstate(divide="ignore"):
            times = np.where(need < 1, np.maximum(1 - need, 0) ** (-1 / self._c), np.inf)
        return np.where(times > FURTHEST, np.inf, times)


def _verdict(future: Future, total: int, ceiling: Ceiling | None) -> dict[str, Any]:
    gain = future.gain(4.0)
    most, middle, least = (float(np.quantile(gain, q)) for q in (0.975, 0.5, 0.025))
    people = _people(future.today, ceiling)
    if people and middle < LITTLE:
        return _enough(future.today, most, people)
    if future.today.interval[0] <= 0.5 or future.falling:
        return {
            "verdict": "unsure",
            "sentence": "The curve does not yet say whether more judgements would help: it does not"
            " rise, and a few more prompts may change that. Judge more, and look again.",
        }
    if most < LITTLE:
        return _enough(future.today, most, people)
    if least < 0.002 or middle < LITTLE / 2:
        return {
            "verdict": "unsure",
            "sentence": "The curve does not yet say whether more judgements would help: four times"
            f" as many would bring between {_points(least)} and {_points(most)} percentage points.",
        }
    return _more(future, total)


def _people(today: Estimate, ceiling: Ceiling | None) -> str:
    """The range of the human ceiling where it is known well enough, and today's accuracy in it."""
    if ceiling is None:
        return ""
    least, most = ceiling.at_least, ceiling.at_most
    if least.value is None or least.low is None or least.high is None or most.value is None:
        return ""
    if least.high - least.low > CERTAIN or today.value < least.value:
        return ""
    return f"{least.value:.0%} to {most.value:.0%}"


def _enough(today: Estimate, most: float, people: str) -> dict[str, Any]:
    if people:
        return {
            "verdict": "ceiling",
            "sentence": f"More judgements will hardly help: at {today.value:.0%} it is at the human"
            f" ceiling ({people}), for people agree no better with one another. Four times as many"
            f" would bring {_points(most)} percentage points at most.",
        }
    return {
        "verdict": "flat",
        "sentence": "More judgements of this sort will hardly help: four times as many would bring"
        f" {_points(most)} percentage points at most. A larger model, or completions that differ"
        " more, may.",
    }


def _more(future: Future, total: int) -> dict[str, Any]:
    """The next round number within reach, and what it takes."""
    today, reach = future.today.value, future.at(4.0).value
    target = np.ceil((today + 0.005) / STEP) * STEP
    if target > reach:
        target = min(1.0, np.ceil(100 * (today + future.gain(2.0).mean())) / 100)
    more = (future.times_to(float(target)) - 1) * total
    low, middle, high = (float(np.quantile(more, q, method="nearest")) for q in (0.025, 0.5, 0.975))
    if not np.isfinite(middle):
        middle, high = (FURTHEST - 1) * total, np.inf
    upper = f"{_round(high):,}" if np.isfinite(high) else f"more than {_round(9 * total):,}"
    return {
        "verdict": "more",
        "target": float(target),
        "more": {"value": middle, "low": low, "high": high if np.isfinite(high) else None},
        "sentence": f"About {_round(middle):,} more judgements to {target:.0%} (95%: between"
        f" {_round(low):,} and {upper}); today it is {today:.0%}.",
    }


def _points(gain: float) -> str:
    return f"{100 * gain:.1f}"


def _round(n: float) -> int:
    """Two figures: more would pretend."""
    if n < 10:
        return max(1, round(n))
    size = 10 ** (len(str(int(n))) - 2)
    return round(n / size) * size
