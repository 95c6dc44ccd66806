"""What a run's metrics say in numbers: levels, starts and trends, whatever is missing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

OF_BATCH = frozenset(
    "reward_mean reward_std group_std model_reward disagreement noise risk_premium dropped length"
    " truncated unique repetition length_corr".split()
)
"""Figures of a sampled batch: the same in every step that is made on it."""


def finite_or_none(value: object) -> float | None:
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
    """For each row: the first metric in it that is no number any more, or nothing."""
    settings: Mapping[str, object]
    baseline: Mapping[str, object]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def planned(self) -> int:
        """Steps the run is to take; so far where that is not known."""
        return int(max(self.setting("steps") or 0, self.steps[-1] if self.steps else 0, 1))

    @property
    def every(self) -> int:
        """Steps that are made on one sampled batch."""
        return int(max(self.setting("iterations") or 1, 1))

    def batches(self, t: int) -> int:
        """Batches sampled up to row t."""
        return t // self.every + 1

    @property
    def window(self) -> int:
        """Values that a level is the median of: a tenth of the batches, at least 5, at most 50."""
        return max(5, min(50, self.planned // self.every // 10))

    @property
    def groups(self) -> float:
        return max(self.setting("prompts_per_step") or 4, 1)

    @property
    def contrasts(self) -> float:
        """Independent comparisons within the groups of a batch: one less than completions each."""
        return self.groups * max((self.setting("group_size") or 8) - 1, 1)

    def at(self, name: str, t: int) -> float | None:
        column = self.columns.get(name)
        return column[t] if column is not None else None

    def rows_of(self, each: float) -> int:
        """Batches that hold 20 of what each has `each` of."""
        return math.ceil(20 / each)

    def recent(self, name: str, t: int, width: int, apart: bool = False) -> list[float]:
        """What is known of a metric in the last `width` rows up to row t; of a batch's figures, and
        where they are to be `apart`, in one row of each of the last `width` batches."""
        stride = self.every if apart or name in OF_BATCH else 1
        end = t - width * stride
        rows = self.columns.get(name, ())[t : end if end >= 0 else None : -stride]
        return [v for v in reversed(rows) if v is not None]

    def going(self, name: str, t: int, width: int, sure: float = 1.96) -> Trend:
        """Where it is going over the last `width` batches, a step."""
        return trend(self.recent(name, t, width, apart=True), sure, self.every)

    def level(self, name: str, t: int, width: int | None = None) -> float | None:
        """Its median over that window, or None where it is not known."""
        found = self.recent(name, t, width or self.window)
        return median(found) if found else None

    def measured(self, name: str) -> float | None:
        """What preflight measured."""
        return finite_or_none(self.baseline.get(name))

    def first(self, name: str) -> list[float]:
        """What its start is the median of: what preflight measured, or else the first three known
        values; and as many values more as hold 20 comparisons, where batches are small."""
        known = self.measured(name)
        rows = self.columns.get(name, ())[:: self.every if name in OF_BATCH else 1]
        seen = [v for v in rows if v is not None]
        least = self.rows_of(self.contrasts)
        return seen[: max(3, least)] if known is None else [known, *seen[: max(0, least - 1)]]

    def start(self, name: str) -> float | None:
        found = self.first(name)
        return median(found) if found else None

    def setting(self, name: str) -> float | None:
        """A number among the settings; a dot leads into a group of them."""
        value: object = self.settings
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return finite_or_none(value)

    def learning(self, t: int) -> float:
        """The learning rate as a share of its largest so far: it falls to 0 over a run."""
        rates = self.recent("learning_rate", t, t + 1)
        now = self.at("learning_rate", t)
        if now is None or not rates or max(rates) <= 0:
            return max(0.0, 1 - self.steps[t] / self.planned)
        return now / max(rates)


def curves(
    rows: Sequence[Mapping[str, object]],
    settings: Mapping[str, object],
    baseline: Mapping[str, object] | None,
) -> Curves:
    """The metrics of a run as columns; rows need not have the same keys."""
    names = {name: None for row in rows for name in row}
    known: set[str] = set()
    broken = []
    for i, row in enumerate(rows):
        # A file has None in the place of what was infinite or NaN; what no row has known yet may be
        # None for other reasons.
        lost = (k for k, v in row.items() if v is None and (i == 0 or k in known))
        bad = (k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v))
        broken.append(next(bad, "") or next(lost, ""))
        known |= {k for k, v in row.items() if v is not None}
    return Curves(
        {name: [finite_or_none(row.get(name)) for row in rows] for name in names},
        [int(finite_or_none(row.get("step")) or i + 1) for i, row in enumerate(rows)],
        broken,
        settings,
        baseline or {},
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


def jitter(values: Sequence[float]) -> float:
    """Standard deviation of normal values about where they are going: from the median size of their
    successive differences, which neither a trend nor a single jump moves far."""
    sizes = [abs(b / 2 - a / 2) for a, b in pairwise(values)]
    return 2 * 1.4826 / math.sqrt(2) * median(sizes) if sizes else 0.0


def trend(values: Sequence[float], sure: float = 1.96, every: int = 1) -> Trend:
    """Sen's slope with its interval, and Mann-Kendall's test, which assume no distribution.

    `sure`: half the interval's width in standard deviations. `every`: steps between two values.
    Not scipy's theilslopes and kendalltau: a page diagnoses a run live, which takes seven times as
    long with them, and their z has no continuity correction.

    P. K. Sen (1968), JASA 63; H. B. Mann (1945), Econometrica 13.
    """
    stride = max(1, math.ceil(len(values) / 60))  # for pairs grow with the square
    kept = values[::stride]
    n = len(kept)
    if n < 4:
        return Trend(0.0, 0.0, -math.inf, math.inf)
    slopes = sorted(
        (kept[j] - kept[i]) / ((j - i) * stride * every) for i in range(n) for j in range(i + 1, n)
    )
    rises = sum(s > 0 for s in slopes) - sum(s < 0 for s in slopes)
    sigma = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    z = (rises - math.copysign(1, rises)) / sigma if rises else 0.0
    reach = max(0, round((len(slopes) - sure * sigma) / 2))
    return Trend(z, median(slopes), slopes[reach], slopes[-1 - reach])
