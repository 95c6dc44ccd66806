"""Numbers about judgements that say how sure they are: agreement, chance, and the human ceiling.

Pure functions on arrays. A share's interval is Wilson's, for as many judgements as it is worth:
those of one prompt are not independent. Alpha and kappa have a bootstrap over prompts. Nothing is
said before there are ENOUGH of what a figure counts: at 20 a share's interval reaches 20 points to
either side, and below that it hides more than it tells. Intervals are about other prompts that the
same people judge: other people may differ more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import krippendorff
import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Level = Literal["nominal", "ordinal", "interval"]

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


def bootstrap(
    sums: Floats, statistic: Callable[[Floats], Floats], seed: int
) -> tuple[float, float] | None:
    """The 95% percentile interval of a statistic of sums over prompts; None where it has none.

    sums (prompts, k); statistic maps (draws, k) to (draws,). Prompts get random weights with a mean
    of 1 instead of being drawn: no draw is without some of them (D. B. Rubin 1981, "The Bayesian
    bootstrap", Annals of Statistics 9).
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((DRAWS, sums.shape[1]))
    weight = np.zeros((DRAWS, 1))
    for part in np.array_split(sums, 1 + len(sums) // 1000):
        weights = rng.standard_exponential((DRAWS, len(part)))
        total += weights @ part
        weight += weights.sum(axis=1, keepdims=True)
    found = statistic(total * len(sums) / weight)
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def by_prompt(rows: Floats, prompts: npt.ArrayLike) -> Floats:
    """Sums of rows (N, k) over each prompt, (prompts, k)."""
    _, group = np.unique(np.asarray(prompts), return_inverse=True)
    summed = np.zeros((int(group.max(initial=-1)) + 1, rows.shape[1]))
    np.add.at(summed, group, rows)
    return summed


def alpha(
    counts: npt.ArrayLike, prompts: npt.ArrayLike, level: Level, unit: str, seed: int = 0
) -> Figure:
    """Krippendorff's alpha: 1 - observed over expected disagreement; 0 is what chance would give.

    counts (N, V): how many annotators gave each of V ordered values to a unit. Units with one
    annotator say nothing and do not count. K. Krippendorff (2011), "Computing Krippendorff's
    alpha-reliability".
    """
    table = np.asarray(counts, float)
    several = table.sum(axis=1) > 1
    table, n = table[several], int(several.sum())
    if n < ENOUGH:
        return missing(n, unit)
    if (table.sum(axis=0) > 0).sum() < 2:
        return missing(n, unit, note="every answer is the same: alpha is not defined")
    value = float(krippendorff.alpha(value_counts=table, level_of_measurement=level))
    sums = by_prompt(coincidences(table).reshape(n, -1), np.asarray(prompts)[several])
    interval = bootstrap(sums, lambda s: alpha_of(s, level), seed)
    low, high = interval if interval else (None, None)
    return Figure(value, low, high, n, unit)


def coincidences(counts: Floats) -> Floats:
    """Each unit's pairs of values, (N, V) to (N, V, V); their sum is the coincidence matrix."""
    pairs = counts[:, :, None] * counts[:, None, :]
    values = np.arange(counts.shape[1])
    pairs[:, values, values] -= counts
    return np.asarray(pairs / np.maximum(counts.sum(axis=1) - 1, 1)[:, None, None])


def alpha_of(coincident: Floats, level: Level) -> Floats:
    """Alpha of many coincidence matrices at once, (B, V * V) to (B,); nan where undefined.

    The library takes one at a time, which is too slow for a bootstrap; a test compares the two.
    """
    v = math.isqrt(coincident.shape[1])
    observed = coincident.reshape(-1, v, v)
    n_v = observed.sum(axis=2)
    n = n_v.sum(axis=1)
    if level == "ordinal":
        rank = np.cumsum(n_v, axis=1) - n_v / 2
    else:
        rank = np.broadcast_to(np.arange(float(v)), n_v.shape)
    apart = (rank[:, :, None] - rank[:, None, :]) ** 2
    if level == "nominal":
        apart = (apart > 0).astype(float)
    chance = (n_v[:, :, None] * n_v[:, None, :] * apart).sum(axis=(1, 2))
    found = (observed * apart).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - (n - 1) * found / chance)


def kappa(
    first: npt.ArrayLike, second: npt.ArrayLike, prompts: npt.ArrayLike, unit: str, seed: int = 0
) -> Figure:
    """Cohen's kappa of two annotators' answers to the same tasks, codes (N,) from 0 up.

    J. Cohen (1960), "A coefficient of agreement for nominal scales".
    """
    a, b = np.asarray(first, int), np.asarray(second, int)
    n = len(a)
    if n < ENOUGH:
        return missing(n, unit)
    v = int(max(a.max(), b.max())) + 1
    cells = np.zeros((n, v * v))
    cells[np.arange(n), a * v + b] = 1
    value = float(kappa_of(cells.sum(axis=0, keepdims=True))[0])
    if not math.isfinite(value):
        return missing(n, unit, note="both gave one and the same answer: kappa is not defined")
    interval = bootstrap(by_prompt(cells, prompts), kappa_of, seed)
    low, high = interval if interval else (None, None)
    return Figure(value, low, high, n, unit)


def kappa_of(cells: Floats) -> Floats:
    """Kappa of many tables of two annotators at once, (B, V * V) to (B,); nan where undefined."""
    v = math.isqrt(cells.shape[1])
    table = cells.reshape(-1, v, v) / cells.sum(axis=1)[:, None, None]
    observed = table.trace(axis1=1, axis2=2)
    chance = (table.sum(axis=1) * table.sum(axis=2)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(chance < 1 - 1e-12, (observed - chance) / (1 - chance), np.nan)


@dataclass(frozen=True)
class Ceiling:
    """Between what and what the best possible reward model would be right about one judgement."""

    at_least: Figure
    at_most: Figure
    majority: Figure
    """How often the others' majority is right about one annotator, where three or more answered."""

    @property
    def sentence(self) -> str:
        low, high = self.at_least, self.at_most
        if low.value is None or low.low is None or high.value is None or high.high is None:
            return f"Human ceiling: not enough data yet ({low.n} of about {low.needs} {low.unit})."
        return (
            f"The best possible reward model would be right about {low.value:.0%} to"
            f" {high.value:.0%} of the comparisons without a tie (95%: {low.low:.0%} to"
            f" {high.high:.0%}): no further do people agree with one another."
        )


def ceiling(agreement: Figure, majority: Figure) -> Ceiling:
    """The human ceiling from the agreement on comparisons without ties.

    Let p be the probability that an annotator drawn at random prefers a. Two annotators agree with
    A = E[p^2 + (1-p)^2] = (1 + E[x^2]) / 2 where x = 2p - 1, and the best prediction of one answer
    is right with E[max(p, 1-p)] = (1 + E|x|) / 2. As |x| <= 1, that is at least A; as
    E|x| <= sqrt(E[x^2]) (Jensen), it is at most (1 + sqrt(2A - 1)) / 2.
    """
    return Ceiling(mapped(agreement, _floor), mapped(agreement, _roof), majority)


def _floor(a: float) -> float:
    return max(a, 0.5)


def _roof(a: float) -> float:
    return (1 + math.sqrt(max(0.0, 2 * a - 1))) / 2


def mapped(figure: Figure, rising: Callable[[float], float]) -> Figure:
    """The figure and its interval under a function that never falls."""
    ends = (figure.value, figure.low, figure.high)
    value, low, high = (None if end is None else rising(end) for end in ends)
    return Figure(value, low, high, figure.n, figure.unit, figure.needs, figure.note)
