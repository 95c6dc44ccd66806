"""Agreement between annotators beyond chance, and the human ceiling: pure functions on arrays.

Alpha and kappa have a bootstrap over prompts, with the same widening for few prompts as everything
else; both need MIN_ANSWERS units judged by several.
Intervals are about other prompts that the same people judge: other people may differ more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import krippendorff
import numpy as np
import numpy.typing as npt

from data.stats.bootstrap import BootstrapDistribution, streamed
from data.stats.estimate import MIN_ANSWERS, Estimate, missing
from data.stats.intervals import Floats, wilson

MeasurementLevel = Literal["nominal", "ordinal", "interval"]


def alpha(
    counts: npt.ArrayLike, prompts: npt.ArrayLike, level: MeasurementLevel, unit: str, seed: int = 0
) -> Estimate:
    """Krippendorff's alpha: 1 - observed over expected disagreement; 0 is what chance would give.

    counts (N, V): how many annotators gave each of V ordered values to a unit. Units with one
    annotator say nothing and do not count. K. Krippendorff (2011), "Computing Krippendorff's
    alpha-reliability".
    """
    table = np.asarray(counts, float)
    several = table.sum(axis=1) > 1
    table, n = table[several], int(several.sum())
    if n < MIN_ANSWERS:
        return missing(n, unit)
    if (table.sum(axis=0) > 0).sum() < 2:
        return missing(n, unit, note="every answer is the same: alpha is not defined")
    value = float(krippendorff.alpha(value_counts=table, level_of_measurement=level))
    pairs, prompts = coincidences(table).reshape(n, -1), np.asarray(prompts)[several]
    found = streamed(pairs, prompts, lambda s: alphas_of(s, level), seed)
    shares = table.sum(axis=0) / table.sum()
    return Estimate(value, *_interval(found, float(np.square(shares).sum())), n, unit)


def coincidences(counts: Floats) -> Floats:
    """Each unit's pairs of values, (N, V) to (N, V, V); their sum is the coincidence matrix."""
    # Of m answers each is paired with m - 1 others: over m - 1, every answer counts once.
    pairs = counts[:, :, None] * counts[:, None, :]
    values = np.arange(counts.shape[1])
    pairs[:, values, values] -= counts
    return np.asarray(pairs / np.maximum(counts.sum(axis=1) - 1, 1)[:, None, None])


def alphas_of(coincident: Floats, level: MeasurementLevel) -> Floats:
    """Alpha of many coincidence matrices at once, (B, V * V) to (B,); nan where undefined.

    The library takes one at a time, which is too slow for a bootstrap; a test compares the two.
    """
    v = math.isqrt(coincident.shape[1])
    observed = coincident.reshape(-1, v, v)
    n_v = observed.sum(axis=2)
    n = n_v.sum(axis=1)
    if level == "ordinal":  # as far apart as their midranks, by how often each value was given
        rank = np.cumsum(n_v, axis=1) - n_v / 2
    else:
        rank = np.broadcast_to(np.arange(float(v)), n_v.shape)
    apart = (rank[:, :, None] - rank[:, None, :]) ** 2
    if level == "nominal":
        apart = (apart > 0).astype(float)
    # pairs drawn without replacement from all n answers: n_v * n_w / (n - 1) of each sort
    chance = (n_v[:, :, None] * n_v[:, None, :] * apart).sum(axis=(1, 2))
    found = (observed * apart).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - (n - 1) * found / chance)


def kappa(
    first: npt.ArrayLike, second: npt.ArrayLike, prompts: npt.ArrayLike, unit: str, seed: int = 0
) -> Estimate:
    """Cohen's kappa of two annotators' answers to the same tasks, codes (N,) from 0 up.

    J. Cohen (1960), "A coefficient of agreement for nominal scales".
    """
    a, b = np.asarray(first, int), np.asarray(second, int)
    n = len(a)
    if n < MIN_ANSWERS:
        return missing(n, unit)
    v = int(max(a.max(), b.max())) + 1
    cells = np.zeros((n, v * v))
    cells[np.arange(n), a * v + b] = 1
    value = float(kappas_of(cells.sum(axis=0, keepdims=True))[0])
    if not math.isfinite(value):
        return missing(n, unit, note="both gave one and the same answer: kappa is not defined")
    found = streamed(cells, prompts, kappas_of, seed)
    chance = float((np.bincount(a, minlength=v) / n) @ (np.bincount(b, minlength=v) / n))
    return Estimate(value, *_interval(found, chance), n, unit)


def _interval(found: BootstrapDistribution, chance: float) -> tuple[float, float]:
    """Between -1 and 1, which alpha and kappa do not leave. chance: of agreeing by luck.

    Where everybody agrees about everything no draw differs: the lower end is then that at which the
    agreement is the lower end of Wilson's interval of all prompts.
    """
    low, high = found.interval
    if found.constant and found.prompts > 1:
        low = (wilson(1.0, found.prompts)[0] - chance) / (1 - chance)
    return max(-1.0, low), min(1.0, high)


def kappas_of(cells: Floats) -> Floats:
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

    at_least: Estimate
    at_most: Estimate
    majority: Estimate
    """How often the others' majority is right about one annotator, where three or more answered."""

    @property
    def sentence(self) -> str:
        """The ceiling in words, or how many comparisons it would need."""
        low, high = self.at_least, self.at_most
        if low.value is None or low.low is None or high.value is None or high.high is None:
            return f"Human ceiling: not enough data yet ({low.n} of about {low.needs} {low.unit})."
        return (
            f"The best possible reward model would be right about {low.value:.0%} to"
            f" {high.value:.0%} of the comparisons without a tie (95%: {low.low:.0%} to"
            f" {high.high:.0%}): no further do people agree with one another."
        )


def ceiling(agreement: Estimate, majority: Estimate) -> Ceiling:
    """The human ceiling from the agreement on comparisons without ties.

    Let p be the probability that an annotator drawn at random prefers a. Two annotators agree with
    A = E[p^2 + (1-p)^2] = (1 + E[x^2]) / 2 where x = 2p - 1, and the best prediction of one answer
    is right with E[max(p, 1-p)] = (1 + E|x|) / 2. As |x| <= 1, that is at least A; as
    E|x| <= sqrt(E[x^2]) (Jensen), it is at most (1 + sqrt(2A - 1)) / 2.
    """
    at_least = agreement.map(lambda a: max(a, 0.5))
    at_most = agreement.map(lambda a: (1 + math.sqrt(max(0.0, 2 * a - 1))) / 2)
    return Ceiling(at_least, at_most, majority)
