"""Figures that say how sure they are: 95% intervals by a bootstrap over prompts. No torch here.

Judgements of one prompt are not independent, so prompts are what is drawn. All figures of one
receipt share their draws: the difference of two is paired, draw by draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from data.stats.intervals import wilson
from reward_model.config import ENOUGH

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Statistic = Callable[[Array], Array]
DRAWS = 1000
FEWEST_PROMPTS = 10
"""Prompts from which an interval is worth printing."""
CHUNK = 200
"""Draws at a time where a statistic needs a weight for every row."""


@dataclass(frozen=True)
class Figure:
    """A number that can mislead, with its 95% interval and how many judgements it rests on."""

    value: float
    low: float
    high: float
    n: int

    @property
    def enough(self) -> bool:
        return self.n >= ENOUGH

    def __str__(self) -> str:
        return f"{self.value:.0%} [{self.low:.0%}, {self.high:.0%}], n={self.n}"


@dataclass(frozen=True)
class Estimate:
    """A number, and what it would have been with other prompts."""

    value: float
    draws: Array
    """(DRAWS,)"""
    n: int
    prompts: int
    share: bool = False
    """It lies between 0 and 1."""
    ends: tuple[float, float] | None = None
    """The interval, where the draws do not tell it."""

    def __sub__(self, other: Estimate) -> Estimate:
        """The paired difference.

        All right against all wrong is the same in every draw: the ends are then those furthest
        apart. Two that agree about everything do not differ.
        """
        (low, high), (other_low, other_high) = self.interval, other.interval
        differs = abs(self.value - other.value) > 1e-9
        ends = (low - other_high, high - other_low) if self.still and other.still else None
        return Estimate(
            self.value - other.value,
            self.draws - other.draws,
            self.n,
            self.prompts,
            ends=ends if differs else None,
        )

    @property
    def still(self) -> bool:
        """No draw moves it."""
        known = self.draws[np.isfinite(self.draws)]
        return not len(known) or bool(np.ptp(known) < 1e-9)

    @property
    def interval(self) -> tuple[float, float]:
        """95%, widened for few prompts as Student's t is.

        T. Hesterberg (2015), "What teachers should know about the bootstrap", American Statistician
        69, section 5.3. A share that no draw moves has Wilson's interval at that many prompts.
        """
        if self.ends is not None:
            return self.ends
        known = self.draws[np.isfinite(self.draws)]
        if not len(known) or self.prompts < 2:
            return (0.0, 1.0) if self.share else (-math.inf, math.inf)
        low, high = np.quantile(known, [_tail(self.prompts), 1 - _tail(self.prompts)])
        if self.share and self.still:
            return wilson(min(1.0, max(0.0, self.value)), self.prompts)
        return float(low), float(high)

    @property
    def figure(self) -> Figure:
        return Figure(self.value, *self.interval, self.n)

    @property
    def enough(self) -> bool:
        return self.n >= ENOUGH and self.prompts >= FEWEST_PROMPTS and math.isfinite(self.value)

    def as_json(self) -> dict[str, Any]:
        """value, low, high, n, prompts; where there is too little of either, no number but why."""
        if not self.enough:
            return nothing(self.n, self.prompts)
        low, high = self.interval
        return {"value": self.value, "low": low, "high": high, "n": self.n, "prompts": self.prompts}


def _tail(prompts: int) -> float:
    t = float(stats.t.isf(0.025, prompts - 1))
    return float(stats.norm.cdf(-t * math.sqrt(prompts / (prompts - 1))))


def nothing(n: int = 0, prompts: int = 0) -> dict[str, Any]:
    """A figure that there is not enough for yet: it says about how much it takes."""
    return {
        "value": None,
        "low": None,
        "high": None,
        "n": n,
        "prompts": prompts,
        "needs": ENOUGH,
        "needs_prompts": FEWEST_PROMPTS,
    }


class Bootstrap:
    """Random weights of prompts, with a mean of 1: no draw is without some of them.

    D. B. Rubin (1981), "The Bayesian bootstrap", Annals of Statistics 9.
    """

    def __init__(self, prompts: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.weights = np.ones((DRAWS + 1, prompts))
        """The first row is what was seen."""
        self.weights[1:] = rng.standard_exponential((DRAWS, prompts))

    def mean(self, values: Array, prompt: Ints, share: bool = False) -> Estimate:
        """The mean of values (n,), whose prompts are numbered (n,)."""
        rows = np.stack([np.asarray(values, float), np.ones(len(values))], 1)
        return self.of(rows, prompt, lambda s: s[:, 0] / s[:, 1], share=share)

    def of(
        self,
        rows: Array,
        prompt: Ints,
        statistic: Statistic,
        n: int | None = None,
        share: bool = False,
    ) -> Estimate:
        """A statistic, (draws, k) to (draws,), of the sums of rows (n, k)."""
        seen, group = np.unique(prompt, return_inverse=True)
        sums = np.zeros((len(seen), rows.shape[1]))
        np.add.at(sums, group, rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = statistic(self.weights[:, seen] @ sums)
        return Estimate(float(found[0]), found[1:], len(rows) if n is None else n, len(seen), share)

    def weighted(self, prompt: Ints, statistic: Statistic, share: bool = False) -> Estimate:
        """A statistic, (draws, n) to (draws,), of the weights of n rows."""
        parts = np.array_split(self.weights, math.ceil(len(self.weights) / CHUNK))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.concatenate([statistic(part[:, prompt]) for part in parts])
        return Estimate(float(found[0]), found[1:], len(prompt), len(np.unique(prompt)), share)


def clustered_mean(values: Sequence[float], clusters: Sequence[object], seed: int = 0) -> Figure:
    """Mean with a 95% interval by bootstrap over clusters (prompts).

    Raises ValueError where there is nothing to average.
    """
    if not len(values):
        raise ValueError("nothing to average")
    _, index = np.unique(np.array([str(c) for c in clusters]), return_inverse=True)
    numbers = np.asarray(values, float)
    share = bool(numbers.min() >= 0 and numbers.max() <= 1)
    return Bootstrap(int(index.max()) + 1, seed).mean(numbers, index, share).figure


def midranks(weights: Array, values: Array) -> Array:
    """Weight below each value and half of that at it: (draws, n) of weights and (n,) of values."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    at = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Array = (np.cumsum(at, axis=1) - at / 2)[:, group]
    return ranks


def rank_correlation(weights: Array, x: Array, y: Array) -> Array:
    """Spearman's, (draws,); 0 where x does not move, nan where y does not."""
    total = weights.sum(1, keepdims=True)
    a, b = midranks(weights, x), midranks(weights, y)
    a = a - (weights * a).sum(1, keepdims=True) / total
    b = b - (weights * b).sum(1, keepdims=True) / total
    scale_a, scale_b = (weights * a * a).sum(1), (weights * b * b).sum(1)
    found = (weights * a * b).sum(1) / np.sqrt(scale_a * scale_b)
    found = np.where(scale_a > 1e-9 * total[:, 0], found, 0.0)
    return np.where(scale_b > 1e-9 * total[:, 0], found, np.nan)


def auc(weights: Array, score: Array, good: Array) -> Array:
    """How often a good one has the higher score than a bad one, (draws,); half for equal ones."""
    bad = weights * (1 - good)
    below = midranks(bad, score)
    found: Array = (weights * good * below).sum(1) / ((weights * good).sum(1) * bad.sum(1))
    return found
