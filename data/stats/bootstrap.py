"""Bootstrap over prompts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from data.stats.intervals import CONFIDENCE, DRAWS, Floats


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
