"""What a run's metrics say in numbers: levels, starts and trends, whatever is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

FIRST = 3
"""Steps that stand for the start where no preflight measured it."""
LONGEST = 60
"""Steps in a trend; longer ones are thinned out, for their pairs grow with the square."""


def number(value: Any) -> float | None:
    """A finite float, or None: for what is missing, infinite, NaN, or no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


@dataclass(frozen=True)
class Curves:
    """The rows as columns, with the run's settings and what preflight measured."""

    columns: Mapping[str, Sequence[float | None]]
    steps: Sequence[int]
    broken: Sequence[str]
    """For each row: the first metric in it that is infinite or NaN, or nothing."""
    settings: Mapping[str, Any]
    baseline: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def planned(self) -> int:
        """Steps the run is to take; so far where that is not known."""
        return int(max(self.setting("steps") or 0, self.steps[-1] if self.steps else 0, 1))

    @property
    def window(self) -> int:
        """Steps that a level is the median of: a tenth of the run, at least 5, at most 50."""
        return max(5, min(50, self.planned // 10))

    def at(self, name: str, t: int) -> float | None:
        column = self.columns.get(name)
        return column[t] if column is not None else None

    def recent(self, name: str, t: int, width: int) -> list[float]:
        """What is known of a metric in the last `width` rows up to row t."""
        column = self.columns.get(name, ())
        return [v for v in column[max(0, t - width + 1) : t + 1] if v is not None]

    def level(self, name: str, t: int, width: int | None = None) -> float | None:
        """Its median over that window, or None where it is not known."""
        found = self.recent(name, t, width or self.window)
        return median(found) if found else None

    def measured(self, name: str) -> float | None:
        """What preflight measured."""
        return number(self.baseline.get(name))

    def start(self, name: str) -> float | None:
        """What preflight measured; else the median of the first known values."""
        known = self.measured(name)
        if known is not None:
            return known
        first = [v for v in self.columns.get(name, ()) if v is not None][:FIRST]
        return median(first) if first else None

    def setting(self, name: str) -> float | None:
        """A number among the settings; a dot leads into a group of them."""
        value: Any = self.settings
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return number(value)

    def learning(self, t: int) -> float:
        """The learning rate as a share of its largest so far: it falls to 0 over a run."""
        rates = self.recent("learning_rate", t, t + 1)
        now = self.at("learning_rate", t)
        if now is None or not rates or max(rates) <= 0:
            return max(0.0, 1 - self.steps[t] / self.planned)
        return now / max(rates)


def curves(
    rows: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    baseline: Mapping[str, Any] | None,
) -> Curves:
    """The metrics of a run as columns; rows need not have the same keys."""
    names = {name: None for row in rows for name in row}
    return Curves(
        {name: [number(row.get(name)) for row in rows] for name in names},
        [int(number(row.get("step")) or i + 1) for i, row in enumerate(rows)],
        [_broken(row) for row in rows],
        settings,
        baseline or {},
    )


def _broken(row: Mapping[str, Any]) -> str:
    return next(
        (k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)),
        "",
    )


@dataclass(frozen=True)
class Trend:
    """Where a series of values is going."""

    z: float
    """Mann-Kendall's statistic, standard normal where there is no trend."""
    slope: float
    """Sen's: the median over all pairs, a step."""
    low: float
    high: float
    """Interval of the slope: 95% where nothing else is asked."""


NO_TREND = Trend(0.0, 0.0, -math.inf, math.inf)


def trend(values: Sequence[float], sure: float = 1.96) -> Trend:
    """Sen's slope with its interval, and Mann-Kendall's test, which assume no distribution.

    `sure`: half the interval's width in standard deviations.

    P. K. Sen (1968), JASA 63; H. B. Mann (1945), Econometrica 13.
    """
    stride = math.ceil(len(values) / LONGEST) if values else 1
    kept = values[:: stride or 1]
    n = len(kept)
    if n < 4:
        return NO_TREND
    slopes = sorted(
        (kept[j] - kept[i]) / ((j - i) * stride) for i in range(n) for j in range(i + 1, n)
    )
    rises = sum(s > 0 for s in slopes) - sum(s < 0 for s in slopes)
    sigma = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    z = (rises - math.copysign(1, rises)) / sigma if rises else 0.0
    reach = round((len(slopes) - sure * sigma) / 2)
    low = slopes[max(0, reach)]
    high = slopes[min(len(slopes) - 1, len(slopes) - 1 - reach)]
    return Trend(z, median(slopes), low, high)
