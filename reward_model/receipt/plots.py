"""Small plots: their axes and data; templates/plot.svg draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reward_model.receipt.contents import BestOfN, CalibrationBin, CurvePoint, ReceiptEstimate

LEFT, RIGHT, TOP, BOTTOM = 50, 398, 12, 208
"""Edges of the plot area in a picture of 420 x 250 pixels."""
Points = Sequence[tuple[float, ReceiptEstimate]]
"""x, and an estimate over it."""


@dataclass(frozen=True)
class Axis:
    """From data to pixels, with its ticks; data beyond its ends lie at the ends."""

    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        part = min(1.0, max(0.0, (value - low) / (high - low)))
        return round(self.start + part * (self.end - self.start), 1)


@dataclass(frozen=True)
class Plot:
    """One picture."""

    title: str
    """What it shows, for those who do not see it."""
    x: Axis
    y: Axis
    x_name: str
    points: Points
    """With whiskers."""
    curve: bool = False
    """A line joins the points."""
    ahead: Points = ()
    """A dashed line with a band goes on through these."""
    even: tuple[float, float] | None = None
    """Ends of a dashed line of equal x and y."""
    people: tuple[float, float] | None = None
    """The human ceiling."""


def reliability_diagram(
    bins: Sequence[CalibrationBin], low: float, high: float | None, title: str
) -> Plot:
    """A reliability diagram: how often it happened against its predicted probability, both shares.

    low, high: the range of predicted probabilities that is drawn, e.g. from 0.5 for the side that
    is preferred. high None: as far as rare events need.
    """
    points = [(b.forecast, b) for b in bins if b.value is not None]
    if high is None:
        most = max((max(b.high or 0.0, forecast) for forecast, b in points), default=0.5)
        high = min(1.0, math.ceil(most * 10) / 10)
    x = Axis(low, high, LEFT, RIGHT, _round_ticks(low, high))
    y = Axis(0.0, high, BOTTOM, TOP, _round_ticks(0.0, high))
    return Plot(title, x, y, "predicted probability", points, even=(low, high))


def learning(
    points: Sequence[CurvePoint], ahead: Sequence[CurvePoint], people: tuple[float, float] | None
) -> Plot:
    """Pairwise accuracy against judgements on a log scale, extrapolated, beside the human ceiling.

    points: at least one, with values; people: the ceiling's range, as shares.
    """
    every = [*points, *ahead]
    ticks = [(p.judgements, f"{p.judgements:,}") for p in every[-1::-2]]
    x = Axis(every[0].judgements / 1.15, every[-1].judgements * 1.15, LEFT, RIGHT, ticks, log=True)
    y = _fit_vertical(every, [0.5, *(people or ())], step=0.05)
    known, further = ([(p.judgements, p) for p in part] for part in (points, ahead))
    title = "Pairwise accuracy against judgements collected"
    return Plot(title, x, y, "judgements collected", known, True, further, people=people)


def best_of(found: Sequence[BestOfN], share: bool) -> Plot:
    """What the best of n answers is worth, on a log scale from n = 1 on.

    share: values are shares, and start at a half; else reward units, from 0.
    """
    start, title = 0.5 if share else 0.0, "Worth of the best of n answers"
    every = [BestOfN(best_of=1, value=start, low=start, high=start), *found]
    ticks = [(p.best_of, str(p.best_of)) for p in every]
    x = Axis(0.9, every[-1].best_of * 1.1, LEFT, RIGHT, ticks, log=True)
    y = _fit_vertical(every, [], step=0.1 if share else 0.5, share=share)
    return Plot(title, x, y, "n", [(p.best_of, p) for p in every], curve=True)


def _fit_vertical(
    estimates: Iterable[ReceiptEstimate], more: list[float], step: float, share: bool = True
) -> Axis:
    """An axis from and to a multiple of `step` that holds all intervals, and `more`."""
    ends = [end or 0.0 for e in estimates for end in (e.low, e.high)] + more
    low = math.floor(min(ends) / step + 1e-9) * step
    high = max(low + step, math.ceil(max(ends) / step - 1e-9) * step)
    return Axis(low, high, BOTTOM, TOP, _round_ticks(low, high, share))


def _round_ticks(low: float, high: float, share: bool = True) -> list[tuple[float, str]]:
    """Round numbers, about five of them."""
    step = next((s for s in (0.05, 0.1, 0.2, 0.5, 1.0) if (high - low) / s <= 6.001), 2.0)
    values = [k * step for k in range(math.ceil(low / step - 1e-9), int(high / step + 1e-9) + 1)]
    return [(v, f"{100 * v:.0f}%" if share else f"{v:.1f}") for v in values]
