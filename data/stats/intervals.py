"""Estimates with their 95% intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ENOUGH = 20
"""Of what a figure counts, before it is shown."""
CONFIDENCE = 0.95
DRAWS = 1000
"""Of a bootstrap."""


@dataclass(frozen=True)
class Figure:
    """A number with its 95% interval and what it was taken over; or no number, and why."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    """What n counts."""
    needs: int | None = None
    """About how many it takes; None where there are enough."""
    note: str = ""
    """Why there is no number although there are enough."""


def missing(n: int, unit: str, needs: int = ENOUGH, note: str = "") -> Figure:
    """No number yet; with a note, none for another reason than too few."""
    return Figure(None, None, None, n, unit, None if note else needs, note)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of a share, for any n above 0, a fractional one too.

    scipy's binomtest gives the same for whole numbers (a test compares them). E. B. Wilson (1927),
    "Probable inference, the law of succession, and statistical inference", JASA 22.
    """
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def share(hits: npt.ArrayLike, prompts: npt.ArrayLike, unit: str) -> Figure:
    """The mean of numbers in [0, 1], hits (N,), with Wilson's interval at the effective n.

    Numbers of one prompt count for less where they are alike: n is divided by the design effect,
    the variance between prompts over that of independent answers (Dean and Pagano 2015,
    "Evaluating confidence interval methods for binomial proportions in clustered surveys").
    """
    x = np.asarray(hits, float)
    n = len(x)
    if n < ENOUGH:
        return missing(n, unit)
    value = float(x.mean())
    low, high = wilson(value, _worth(x - value, np.asarray(prompts), value))
    return Figure(value, low, high, n, unit)


def _worth(residuals: Floats, prompts: npt.NDArray[Any], value: float) -> float:
    """How many independent yes-or-no answers these are worth; at most one each."""
    _, group = np.unique(prompts, return_inverse=True)
    sums = np.bincount(group, residuals)
    n, groups = len(residuals), len(sums)
    if groups == 1:
        return 1.0
    variance = float((sums**2).sum()) / n**2 * groups / (groups - 1)
    if variance < 1e-12:
        return float(groups)
    return float(np.clip(value * (1 - value) / variance, 1, n))


def mean(numbers: npt.ArrayLike, unit: str) -> Figure:
    """The mean, with Student's interval."""
    x = np.asarray(numbers, float)
    if len(x) < ENOUGH:
        return missing(len(x), unit)
    half = float(stats.t.isf((1 - CONFIDENCE) / 2, len(x) - 1)) * float(stats.sem(x))
    middle = float(x.mean())
    return Figure(middle, middle - half, middle + half, len(x), unit)


def median(numbers: npt.ArrayLike, unit: str) -> Figure:
    """The median, with the interval that order statistics give: free of any distribution."""
    x = np.asarray(numbers, float)
    if len(x) < ENOUGH:
        return missing(len(x), unit)
    interval = stats.quantile_test(x, p=0.5).confidence_interval(CONFIDENCE)
    return Figure(float(np.median(x)), float(interval.low), float(interval.high), len(x), unit)


def change(early: npt.ArrayLike, late: npt.ArrayLike, unit: str) -> Figure:
    """The late mean less the early one, with Welch's interval; ENOUGH are needed on either side."""
    a, b = np.asarray(early, float), np.asarray(late, float)
    if min(len(a), len(b)) < ENOUGH:
        return missing(len(a) + len(b), unit, 2 * ENOUGH)
    value, error, freedom = welch(b, a)
    half = float(stats.t.isf((1 - CONFIDENCE) / 2, freedom)) * error
    return Figure(value, value - half, value + half, len(a) + len(b), unit)


def welch(a: Floats, b: Floats) -> tuple[float, float, float]:
    """Difference of two means, its standard error, and Welch's degrees of freedom.

    scipy's ttest_ind has the same inside (a test compares them), and warns of constant samples.
    """
    va, vb = float(a.var(ddof=1)) / len(a), float(b.var(ddof=1)) / len(b)
    parts = va**2 / (len(a) - 1) + vb**2 / (len(b) - 1)
    freedom = (va + vb) ** 2 / parts if parts > 0 else 1.0
    return float(a.mean() - b.mean()), math.sqrt(va + vb), freedom


def mapped(figure: Figure, rising: Callable[[float], float]) -> Figure:
    """The figure and its interval under a function that never falls."""
    ends = (figure.value, figure.low, figure.high)
    value, low, high = (None if end is None else rising(end) for end in ends)
    return Figure(value, low, high, figure.n, figure.unit, figure.needs, figure.note)
