"""Shares, means, medians and differences of answers, each with its 95% interval."""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
from scipy import stats

from data.stats.estimate import MIN_ANSWERS, Estimate, missing

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
CONFIDENCE = 0.95


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of a share, for any n above 0.

    scipy's binomtest gives the same for whole numbers (a test compares them), but n is fractional
    where it is an effective sample size. E. B. Wilson (1927), "Probable inference, the law of
    succession, and statistical inference", JASA 22.
    """
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def t_quantile(groups: int) -> float:
    """Student's t for a 95% interval from so many groups, at least two."""
    return float(stats.t.isf(round((1 - CONFIDENCE) / 2, 9), groups - 1))  # 0.025 exactly


def share(hits: npt.ArrayLike, prompts: npt.ArrayLike, unit: str) -> Estimate:
    """The mean of numbers in [0, 1], hits (N,), with Wilson's interval at the effective n.

    Answers about one prompt (N,) count for less where they are alike: n is divided by the design
    effect, the variance between prompts over that of independent answers (Dean and Pagano 2015,
    "Evaluating confidence interval methods for binomial proportions in clustered surveys"), and for
    few prompts by the square of Student's quantile over the normal one (E. L. Korn and B. I.
    Graubard 1998, Survey Methodology 24).
    """
    x = np.asarray(hits, float)
    if len(x) < MIN_ANSWERS:
        return missing(len(x), unit)
    value = float(x.mean())
    low, high = wilson(value, _effective_n(x - value, np.asarray(prompts), value))
    return Estimate(value, low, high, len(x), unit)


def _effective_n(residuals: Floats, prompts: npt.NDArray[np.generic], value: float) -> float:
    """How many independent yes-or-no answers these residuals (N,) are worth; at most N."""
    _, group = np.unique(prompts, return_inverse=True)
    sums = np.bincount(group, residuals)
    n, groups = len(residuals), len(sums)
    if groups == 1:
        return 1.0
    # of the mean, from the prompts' totals: answers that are alike within a prompt add up in them
    variance = float((sums**2).sum()) / n**2 * groups / (groups - 1)
    if variance < 1e-12:
        return float(groups)
    found = float(np.clip(value * (1 - value) / variance, 1, n))
    if groups == n:  # no two of one prompt: the variance is known from the share alone
        return found
    return found * (float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) / t_quantile(groups)) ** 2


def mean(numbers: npt.ArrayLike, unit: str) -> Estimate:
    """The mean, with Student's interval."""
    x = np.asarray(numbers, float)
    if len(x) < MIN_ANSWERS:
        return missing(len(x), unit)
    half = float(stats.t.isf((1 - CONFIDENCE) / 2, len(x) - 1)) * float(stats.sem(x))
    middle = float(x.mean())
    return Estimate(middle, middle - half, middle + half, len(x), unit)


def median(numbers: npt.ArrayLike, unit: str) -> Estimate:
    """The median, with the interval of order statistics, which assumes no distribution."""
    x = np.asarray(numbers, float)
    if len(x) < MIN_ANSWERS:
        return missing(len(x), unit)
    interval = stats.quantile_test(x, p=0.5).confidence_interval(CONFIDENCE)
    return Estimate(float(np.median(x)), float(interval.low), float(interval.high), len(x), unit)


def change(early: npt.ArrayLike, late: npt.ArrayLike, unit: str) -> Estimate:
    """The late mean less the early one, with Welch's interval; MIN_ANSWERS on either side."""
    a, b = np.asarray(early, float), np.asarray(late, float)
    n = len(a) + len(b)
    if min(len(a), len(b)) < MIN_ANSWERS:
        return missing(n, unit, 2 * MIN_ANSWERS)
    value = float(b.mean() - a.mean())
    if np.ptp(a) == 0 == np.ptp(b):
        return Estimate(value, value, value, n, unit)
    _, low, high = welch(b, a)
    return Estimate(value, low, high, n, unit)


def welch(a: Floats, b: Floats) -> tuple[float, float, float]:
    """Welch's t-test: the chance of a mean so far above b's, and the difference's 95% interval.

    One of the two has to vary. scipy warns of a sample that is constant; here that is no loss of
    precision but common: who called everything good in one half of their work.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        test = stats.ttest_ind(a, b, equal_var=False)
    interval = test.confidence_interval(CONFIDENCE)
    return float(stats.t.sf(test.statistic, test.df)), float(interval.low), float(interval.high)
