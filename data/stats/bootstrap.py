"""The bootstrap over prompts: what a statistic would have been with other prompts.

Judgements of one prompt are not independent, so prompts are what is resampled. They get random
weights with a mean of 1 instead of being drawn, so that no resample lacks any of them: the Bayesian
bootstrap (D. B. Rubin 1981, Annals of Statistics 9). Every interval by it, whatever the statistic,
is BootstrapDistribution.interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import stats

from data.stats.estimate import MIN_CASES, MIN_PROMPTS, Estimate, EstimateJson, missing_json
from data.stats.intervals import Floats, Ints, t_quantile, wilson

Statistic = Callable[[Floats], Floats]
M = TypeVar("M")
"""What a figure is about: rewards, or predictions."""
DRAWS = 1000
"""Resamples."""
CHUNK = 200
"""Resamples at a time where a statistic needs a weight for every row."""
BLOCK = 1000
"""Prompts weighted at a time where the weights are not kept."""
HALVINGS = 4
"""Ways in which prompts are parted into two halves."""


@dataclass(frozen=True)
class Retraining:
    """What a statistic of a trained model would have been, had it learned from other prompts."""

    values: Floats
    """By the models of the first T draws, every prompt being asked about once (T,)."""
    variance: float
    """Of what all prompts have in common: how far the statistic goes with the model alone."""

    def added_variance(self, draws: Floats) -> float:
        """What is missing in draws (DRAWS,) that asked other prompts, but of one model; at least 0.

        The variance of a sum: that of the model, and twice the covariance, for a prompt that
        speaks for the common taste is predicted well and makes the model better, too.
        """
        both = np.stack([draws[: len(self.values)], self.values])
        both = both[:, np.isfinite(both).all(0)]
        if both.shape[1] < 2:
            return 0.0
        return max(0.0, self.variance + 2 * float(np.cov(both)[0, 1]))


def _difference(one: Retraining | None, other: Retraining | None) -> Retraining | None:
    """Of two statistics, of which either, or none, depends on a training."""
    if one is None or other is None:
        return one or (replace(other, values=-other.values) if other else None)
    return Retraining(one.values - other.values, one.variance + other.variance)


@dataclass(frozen=True)
class BootstrapDistribution:
    """A statistic, and what it would have been with other prompts."""

    value: float
    draws: Floats
    """(DRAWS,)"""
    n: int
    """Judgements."""
    prompts: int
    share: bool = False
    """It lies between 0 and 1."""
    ends: tuple[float, float] | None = None
    """The interval, where the draws do not tell it."""
    retraining: Retraining | None = None
    """Of cross-validated figures: the draws ask other prompts, but do not train on others."""

    def __sub__(self, other: BootstrapDistribution) -> BootstrapDistribution:
        """The paired difference, draw by draw.

        All right against all wrong is the same in every draw: the ends are then those furthest
        apart. Two that agree about everything do not differ.
        """
        (low, high), (other_low, other_high) = self.interval, other.interval
        both_constant = self.constant and other.constant
        differs = both_constant and abs(self.value - other.value) > 1e-9
        return BootstrapDistribution(
            self.value - other.value,
            self.draws - other.draws,
            self.n,
            self.prompts,
            ends=(low - other_high, high - other_low) if differs else None,
            retraining=_difference(self.retraining, other.retraining),
        )

    @property
    def constant(self) -> bool:
        """Every draw gives the same number."""
        known = self.draws[np.isfinite(self.draws)]
        return not len(known) or bool(np.ptp(known) < 1e-9)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% percentile interval, widened for few prompts as Student's t is.

        T. Hesterberg (2015), "What teachers should know about the bootstrap", American Statistician
        69, section 5.3. A share that no draw moves has Wilson's interval at that many prompts. The
        variance that training on other prompts adds makes it longer, at both ends alike.
        """
        if self.ends is not None:
            return self.ends
        known = self.draws[np.isfinite(self.draws)]
        if not len(known) or self.prompts < 2:
            return (0.0, 1.0) if self.share else (-math.inf, math.inf)
        if self.share and self.constant:
            return wilson(min(1.0, max(0.0, self.value)), self.prompts)
        # the normal quantile, stretched to t * sqrt(n / (n - 1)), as a share of the draws
        stretched = t_quantile(self.prompts) * math.sqrt(self.prompts / (self.prompts - 1))
        tail = float(stats.norm.cdf(-stretched))
        low, high = (float(end) for end in np.quantile(known, [tail, 1 - tail]))
        if self.retraining is None:
            return low, high
        half = (high - low) / 2
        added = math.sqrt(self.retraining.added_variance(self.draws))
        more = math.hypot(half, stretched * added) - half
        low, high = low - more, high + more
        return (max(0.0, low), min(1.0, high)) if self.share else (low, high)

    @property
    def stretched_draws(self) -> Floats:
        """The draws (DRAWS,), as far apart as they would be had each trained on other prompts."""
        if self.retraining is None or self.constant:
            return self.draws
        known = self.draws[np.isfinite(self.draws)]
        times = math.sqrt(1 + self.retraining.added_variance(self.draws) / float(known.var()))
        return np.asarray(known.mean() + times * (self.draws - known.mean()))

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.value, *self.interval, self.n)

    @property
    def enough(self) -> bool:
        """It is defined, and there are judgements and prompts enough to show it."""
        several = self.n >= MIN_CASES and self.prompts >= MIN_PROMPTS
        return several and math.isfinite(self.value)

    def as_json(self) -> EstimateJson:
        """value, low, high, n, prompts; with too little of either no number but what it takes."""
        if not self.enough:
            return missing_json(self.n, self.prompts)
        low, high = self.interval
        return {"value": self.value, "low": low, "high": high, "n": self.n, "prompts": self.prompts}


class Bootstrap:
    """Random weights of prompts, shared by all statistics, so that differences are paired."""

    def __init__(self, prompts: int, seed: int = 0) -> None:
        self.weights = np.ones((DRAWS + 1, prompts))
        """The first row is what was seen."""
        # Exponentials over their sum are Dirichlet(1, ..., 1); statistics here are ratios of sums,
        # which do not change with the scale, so nothing is divided.
        self.weights[1:] = np.random.default_rng(seed).standard_exponential((DRAWS, prompts))

    @classmethod
    def halves(cls, prompts: int, seed: int = 0) -> Bootstrap:
        """Weights that keep a random half of the prompts (1), not the other (0), and the reverse:
        2 * HALVINGS rows in place of random draws."""
        found = cls(0)
        rng = np.random.default_rng(seed)
        ones = [rng.permutation(prompts) % 2 for _ in range(HALVINGS)]
        found.weights = np.array([np.ones(prompts), *(h for one in ones for h in (one, 1 - one))])
        return found

    def retrained(
        self, figure: Callable[[Bootstrap, M], BootstrapDistribution], own: M, others: Sequence[M]
    ) -> BootstrapDistribution:
        """A figure of a model, with the variance that training on other prompts adds.

        figure: of this bootstrap, or another, and a model. others: what training made where the
        prompts had the weights of the first draws (T,). How far the figure goes with the model is
        the covariance of two halves of the prompts: within one, chance would count, too.
        """
        found = figure(self, own)
        if len(others) < 2 or not found.prompts:
            return found
        halves = Bootstrap.halves(self.weights.shape[1])
        made = [figure(halves, other) for other in others]
        by_half = np.stack([one.draws for one in made]).reshape(len(made), HALVINGS, 2)
        by_half = by_half[np.isfinite(by_half).all((1, 2))]
        variance = 0.0
        if len(by_half) > 1:
            variance = float(np.mean([np.cov(two.T)[0, 1] for two in by_half.swapaxes(0, 1)]))
        return replace(found, retraining=Retraining(np.array([o.value for o in made]), variance))

    def mean(self, values: Floats, prompt: Ints, share: bool = False) -> BootstrapDistribution:
        """The mean of values (n,), whose prompts are numbered (n,)."""
        rows = np.stack([np.asarray(values, float), np.ones(len(values))], 1)
        return self.of_sums(rows, prompt, lambda s: s[:, 0] / s[:, 1], share=share)

    def of_sums(
        self,
        rows: Floats,
        prompt: Ints,
        statistic: Statistic,
        n: int | None = None,
        share: bool = False,
    ) -> BootstrapDistribution:
        """A statistic, (draws, k) to (draws,), of the weighted sums of rows (rows, k)."""
        seen, sums = sums_by_prompt(rows, prompt)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = statistic(self.weights[:, seen] @ sums)
        n = len(rows) if n is None else n
        return BootstrapDistribution(float(found[0]), found[1:], n, len(seen), share)

    def of_weights(
        self, prompt: Ints, statistic: Statistic, share: bool = False
    ) -> BootstrapDistribution:
        """A statistic, (draws, n) to (draws,), of the weights of n rows, which no sum tells."""
        parts = np.array_split(self.weights, math.ceil(len(self.weights) / CHUNK))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.concatenate([statistic(part[:, prompt]) for part in parts])
        prompts = len(np.unique(prompt))
        return BootstrapDistribution(float(found[0]), found[1:], len(prompt), prompts, share)


def streamed(
    rows: Floats, prompts: npt.ArrayLike, statistic: Statistic, seed: int
) -> BootstrapDistribution:
    """A statistic of sums of rows (N, k) over prompts (N,), for many prompts and once only.

    statistic maps (draws, k) to (draws,). The same weights as Bootstrap's, made in blocks and not
    kept: a store may have 100,000 prompts.
    """
    sums = sums_by_prompt(rows, np.asarray(prompts))[1]
    rng = np.random.default_rng(seed)
    total, weight = np.zeros((DRAWS, sums.shape[1])), np.zeros((DRAWS, 1))
    for part in np.array_split(sums, 1 + len(sums) // BLOCK):
        weights = rng.standard_exponential((DRAWS, len(part)))
        total += weights @ part
        weight += weights.sum(axis=1, keepdims=True)
    draws = statistic(total * len(sums) / weight)  # alpha's n - 1 needs weights of mean 1
    value = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    return BootstrapDistribution(value, draws, len(rows), len(sums))


def sums_by_prompt(
    rows: Floats, prompts: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.generic], Floats]:
    """The distinct prompts (P,) of rows (N, k), and the rows' sums over each (P, k)."""
    seen, group = np.unique(prompts, return_inverse=True)
    sums = np.zeros((len(seen), rows.shape[1]))
    np.add.at(sums, group, rows)
    return seen, sums


def clustered_mean(values: Sequence[float], clusters: Sequence[object], seed: int = 0) -> Estimate:
    """The mean with a 95% interval by the bootstrap over clusters (prompts).

    Raises ValueError where there is nothing to average.
    """
    if not len(values):
        raise ValueError("nothing to average: give at least one value")
    _, index = np.unique(np.array([str(c) for c in clusters]), return_inverse=True)
    numbers = np.asarray(values, float)
    share = bool(numbers.min() >= 0 and numbers.max() <= 1)
    return Bootstrap(int(index.max()) + 1, seed).mean(numbers, index, share).estimate
