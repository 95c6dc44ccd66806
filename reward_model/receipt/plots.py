"""Small plots: data brought to the pixels of an SVG that templates/plot.svg draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reward_model.receipt.contents import BestOfN, CalibrationBin, CurvePoint, ReceiptEstimate

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 46, WIDTH - 20, 12, HEIGHT - 42
Ticks = Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Axis:
    """From data to pixels, with its ticks; data beyond its ends lie at the ends."""

    low: float
    high: float
    start: float
    end: float
    ticks: Ticks
    log: bool = False

    def at(self, value: float) -> float:
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(self.start + min(1.0, max(0.0, part)) * (self.end - self.start), 1)


class Point(NamedTuple):
    """A value over x with its 95% interval, in pixels."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Plot:
    """One picture; its points are in pixels."""

    title: str
    """What it shows, for those who do not see it."""
    x: Axis
    y: Axis
    x_name: str
    points: Sequence[Point]
    """With whiskers."""
    curve: bool = False
    """A line joins the points."""
    ahead: Sequence[Point] = ()
    """A dashed line with a band, from the last point on."""
    even: tuple[float, float] | None = None
    """Ends of a dashed line of equal x and y, in data."""
    people: tuple[float, float] | None = None
    """The human ceiling, in data."""


def reliability(bins: Sequence[CalibrationBin], low: float, high: float, title: str) -> Plot:
    """How often it happened against how likely it was said to be, on low to high."""
    x, y = Axis(low, high, LEFT, RIGHT, share_ticks(low, high)), _vertical(0.0, high)
    points = _place([(b.forecast, b) for b in bins], x, y)
    return Plot(title, x, y, "predicted probability", points, even=(low, high))


def ties(bins: Sequence[CalibrationBin], title: str) -> Plot:
    """The same on a scale that fits rare events."""
    ends = [max(b.high or 0.0, b.forecast) for b in bins if b.value is not None]
    return reliability(bins, 0.0, min(1.0, math.ceil(max(ends, default=0.5) * 10) / 10), title)


def learning(
    known: Sequence[CurvePoint],
    ahead: Sequence[CurvePoint],
    people: tuple[float, float] | None,
) -> Plot:
    """Pairwise accuracy against judgements, extrapolated, beside the human ceiling."""
    every = [*known, *ahead]
    ends = [end for p in every for end in (p.low or 0.0, p.high or 0.0)] + [0.5, *(people or ())]
    few, many = every[0].judgements / 1.15, every[-1].judgements * 1.15
    ticks = [(p.judgements, f"{p.judgements:,}") for p in every[-1::-2]]
    x = Axis(few, many, LEFT, RIGHT, ticks, log=True)
    y = _vertical(
        max(0.0, math.floor(min(ends) * 20) / 20), min(1.0, math.ceil(max(ends) * 20) / 20)
    )
    points, beyond = (_place([(p.judgements, p) for p in part], x, y) for part in (known, ahead))
    title = "Pairwise accuracy against judgements collected"
    return Plot(title, x, y, "judgements collected", points, True, beyond, people=people)


def best_of(found: Sequence[BestOfN], start: float, share: bool, title: str) -> Plot:
    """What the best of n is worth, from n = 1 on, where it is `start`."""
    first = BestOfN(best_of=1, value=start, low=start, high=start)
    every = [first, *found]
    x_ticks = [(p.best_of, str(p.best_of)) for p in every]
    x = Axis(0.9, every[-1].best_of * 1.1, LEFT, RIGHT, x_ticks, log=True)
    lowest, highest = min(p.low or 0.0 for p in every), max(p.high or 0.0 for p in every)
    if share:
        y = _vertical(math.floor(lowest * 10) / 10, min(1.0, math.ceil(highest * 10) / 10))
    else:
        top = math.ceil(highest * 2) / 2 or 0.5
        step = 0.5 if top <= 3 else 1.0
        ticks = [(k * step, f"{k * step:.1f}") for k in range(int(top / step) + 1)]
        y = Axis(0, top, BOTTOM, TOP, ticks)
    points = _place([(p.best_of, p) for p in every], x, y)
    return Plot(title, x, y, "n", points, curve=True)


def share_ticks(low: float, high: float) -> Ticks:
    """Round percentages, about five of them."""
    step = next(s for s in (0.05, 0.1, 0.2) if (high - low) / s <= 6)
    first = math.ceil(low / step - 1e-9)
    return [(k * step, f"{100 * k * step:.0f}%") for k in range(first, int(high / step + 1e-9) + 1)]


def _vertical(low: float, high: float) -> Axis:
    return Axis(low, high, BOTTOM, TOP, share_ticks(low, high))


def _place(estimates: Sequence[tuple[float, ReceiptEstimate]], x: Axis, y: Axis) -> Sequence[Point]:
    """In pixels, those that have a value."""
    return [
        Point(x.at(at), y.at(e.value), y.at(e.low or 0.0), y.at(e.high or 0.0))
        for at, e in estimates
        if e.value is not None
    ]
