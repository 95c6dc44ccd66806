"""An annotator's own scale: where their ratings lie, and how far apart."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev

SHRINK = 5.0
"""An annotator's own mean and spread count as much as the crowd's after this many ratings."""
LEAST_SPREAD = 0.3


def own_scale(own: Sequence[float], crowd: Sequence[float]) -> tuple[float, float]:
    """An annotator's mean and spread, shrunk to the crowd's while they are few.

    own may be empty: then it is the crowd's. Standardised ratings are (rating - mean) / spread.
    """
    weight = len(own) / (len(own) + SHRINK)
    mean = (1 - weight) * fmean(crowd) + (weight * fmean(own) if own else 0.0)
    spread = (1 - weight) * pstdev(crowd) + (weight * pstdev(own) if own else 0.0)
    return mean, max(spread, LEAST_SPREAD)
