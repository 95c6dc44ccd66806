"""Figures in words: numbers with their intervals, durations, states."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from data.stats.estimate import MIN_CASES
from data.store.run_rows import Run

STATES = {
    "starting": "starting",
    "running": "running",
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "died": "died",
}


def percent(figure: Mapping[str, Any] | None) -> str:
    """A share with its interval and n, e.g. "71% [66, 75], n 184"."""
    short = too_few(figure)
    if short or figure is None:
        return short
    return f"{_share(figure['value'])}% {bounds(figure)}"


def bounds(figure: Mapping[str, Any]) -> str:
    """The interval of a share and its n; what is not known is left out."""
    low, high, n = figure.get("low"), figure.get("high"), figure.get("n")
    interval = f"[{_share(low)}, {_share(high)}]" if low is not None and high is not None else ""
    count = f"n {n:,}" if isinstance(n, int) else ""
    return ", ".join(part for part in (interval, count) if part)


def too_few(figure: Mapping[str, Any] | None) -> str:
    """Why a share is not shown; empty where it can be."""
    if not figure or figure.get("value") is None:
        return "not enough data yet"
    n = figure.get("n")
    if isinstance(n, int) and n < MIN_CASES:
        return f"not enough data yet (n {n}, about {MIN_CASES} needed)"
    return ""


def number(value: object, digits: int = 2) -> str:
    """A plain number; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:,.{digits}f}" if isinstance(value, float) else f"{value:,}"


def short(value: object) -> str:
    """A number of any size in three digits; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def age(run: Run, now: datetime | None = None) -> float:
    """Seconds from a run's start to its end, or to now."""
    end = datetime.fromisoformat(run.ended_at) if run.ended_at else now or datetime.now(UTC)
    return max(0.0, (end - datetime.fromisoformat(run.created_at)).total_seconds())


def clock(moment: str | None) -> str:
    """A stored moment, short: "22 Nov 21:05 UTC"."""
    return datetime.fromisoformat(moment).strftime("%d %b %H:%M UTC") if moment else ""


def remaining(run: Run) -> str:
    """About how long a live run still takes, from its pace so far.

    Nothing of a reward model's: its stages count from 0, each at a pace of its own.
    """
    if not (run.live and run.kind != "reward" and 0 < run.done < run.total):
        return ""
    return f"about {duration(age(run) / run.done * (run.total - run.done))} left"


def _share(value: float) -> str:
    return f"{100 * value:.0f}"
