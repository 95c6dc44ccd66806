"""Rank statistics under many weightings of the same rows at once, for the bootstrap, or by group.

scipy and sklearn compute one at a time; tests hold these against theirs.
"""

from __future__ import annotations

import numpy as np

from data.stats.intervals import Floats, Ints


def midranks(weights: Floats, values: Floats) -> Floats:
    """Weight below each value and half of that at it: (draws, n) of weights and (n,) of values."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    at = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: Floats = (np.cumsum(at, axis=1) - at / 2)[:, group]
    return ranks


def rank_correlation(weights: Floats, x: Floats, y: Floats) -> Floats:
    """Spearman's rank correlation (draws,); 0 where x is constant, nan where y is."""
    total = weights.sum(1, keepdims=True)
    a, b = midranks(weights, x), midranks(weights, y)
    a = a - (weights * a).sum(1, keepdims=True) / total
    b = b - (weights * b).sum(1, keepdims=True) / total
    scale_a, scale_b = (weights * a * a).sum(1), (weights * b * b).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (weights * a * b).sum(1) / np.sqrt(scale_a * scale_b)
    found = np.where(scale_a > 1e-9 * total[:, 0], found, 0.0)
    return np.where(scale_b > 1e-9 * total[:, 0], found, np.nan)


def auc(weights: Floats, score: Floats, good: Floats) -> Floats:
    """The area under the ROC curve (draws,): how often a good one scores above a bad one.

    score, good: (n,), good 1 or 0. Equal scores count half.
    """
    bad = weights * (1 - good)
    below = midranks(bad, score)
    found: Floats = (weights * good * below).sum(1) / ((weights * good).sum(1) * bad.sum(1))
    return found


def ranks_within(groups: Ints, values: Floats) -> Floats:
    """The rank of each value in its group, from 1 up; equal ones share their mean (n,)."""
    order = np.lexsort((values, groups))
    group, value = groups[order], values[order]
    first = np.diff(group, prepend=-1) != 0  # groups are numbered from 0
    apart = first | (np.diff(value, prepend=np.nan) != 0)
    starts = np.flatnonzero(apart)
    equal = np.diff(starts, append=len(order))
    ranks = np.repeat(starts + (equal + 1) / 2, equal)
    begin = np.flatnonzero(first)
    found = np.empty(len(order))
    found[order] = ranks - np.repeat(begin, np.diff(begin, append=len(order)))
    return found
