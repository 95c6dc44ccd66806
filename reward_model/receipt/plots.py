"""Small plots as inline SVG, coloured by the page's variables; they fit a phone's width."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 42
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Axis:
    """From data to pixels, with its marks."""

    low: float
    high: float
    start: float
    end: float
    marks: Sequence[tuple[float, str]]
    log: bool = False

    def at(self, value: float) -> float:
        if self.log:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, part)) * (self.end - self.start)


def share_marks(low: float, high: float) -> list[tuple[float, str]]:
    """Round percentages, about five of them."""
    step = next(s for s in (0.05, 0.1, 0.2) if (high - low) / s <= 6)
    first = math.ceil(low / step - 1e-9)
    return [(k * step, f"{100 * k * step:.0f}%") for k in range(first, int(high / step + 1e-9) + 1)]


def across(low: float, high: float, marks: Sequence[tuple[float, str]], log: bool = False) -> Axis:
    return Axis(low, high, LEFT, WIDTH - RIGHT, marks, log)


def up(low: float, high: float, marks: Sequence[tuple[float, str]]) -> Axis:
    return Axis(low, high, HEIGHT - BOTTOM, TOP, marks)


def frame(x: Axis, y: Axis, x_name: str, inside: str, title: str) -> str:
    """The whole picture; `title` is what it shows, for those who do not see it."""
    grid = "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(v):.1f}"'
        f' y2="{y.at(v):.1f}"/><text x="{LEFT - 7}" y="{y.at(v) + 4:.1f}" text-anchor="end">'
        f"{escape(name)}</text>"
        for v, name in y.marks
    )
    marks = "".join(
        f'<text x="{x.at(v):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">'
        f"{escape(name)}</text>"
        for v, name in x.marks
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    name = f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{grid}{marks}{name}{inside}</svg>"
    )


def whiskers(points: Sequence[Point], x: Axis, y: Axis, of: Callable[[Point], float]) -> str:
    """A dot with its interval for each point that has a number."""
    return "".join(
        f'<line class="whisker" x1="{x.at(of(p)):.1f}" x2="{x.at(of(p)):.1f}"'
        f' y1="{y.at(p["low"]):.1f}" y2="{y.at(p["high"]):.1f}"/>'
        f'<circle class="dot" cx="{x.at(of(p)):.1f}" cy="{y.at(p["value"]):.1f}" r="4"/>'
        for p in points
        if p.get("value") is not None
    )


def path(points: Sequence[Point], x: Axis, y: Axis, of: Callable[[Point], float], kind: str) -> str:
    known = [p for p in points if p.get("value") is not None]
    spots = " ".join(f"{x.at(of(p)):.1f},{y.at(p['value']):.1f}" for p in known)
    return f'<polyline class="{kind}" points="{spots}"/>'


def band(points: Sequence[Point], x: Axis, y: Axis, of: Callable[[Point], float]) -> str:
    """The area between the intervals' ends."""
    upper = [f"{x.at(of(p)):.1f},{y.at(p['high']):.1f}" for p in points]
    lower = [f"{x.at(of(p)):.1f},{y.at(p['low']):.1f}" for p in reversed(points)]
    return f'<polygon class="band" points="{" ".join(upper + lower)}"/>'


# -- the plots


def reliability(bins: Sequence[Point], start: float, happened: str) -> str:
    """What came true of what was forecast; on the dashed line, both are the same."""
    points = [b for b in bins if b.get("value") is not None]
    marks = share_marks(start, 1)
    x, y = across(start, 1, marks), up(0, 1, share_marks(0, 1))
    line = (
        f'<line class="even" x1="{x.at(start):.1f}" y1="{y.at(start):.1f}"'
        f' x2="{x.at(1):.1f}" y2="{y.at(1):.1f}"/>'
    )
    inside = line + whiskers(points, x, y, lambda p: p["forecast"])
    return frame(x, y, "how likely it said", inside, f"{happened}, against how likely it was said")


def ties(bins: Sequence[Point]) -> str:
    """The same on a scale that fits rare events."""
    points = [b for b in bins if b.get("value") is not None]
    most = max((max(p["high"], p["forecast"]) for p in points), default=0.5)
    top = min(1.0, math.ceil(most * 10) / 10)
    x, y = across(0, top, share_marks(0, top)), up(0, top, share_marks(0, top))
    line = (
        f'<line class="even" x1="{x.at(0):.1f}" y1="{y.at(0):.1f}"'
        f' x2="{x.at(top):.1f}" y2="{y.at(top):.1f}"/>'
    )
    inside = line + whiskers(points, x, y, lambda p: p["forecast"])
    return frame(x, y, "how likely it said", inside, "Ties, against how likely a tie was said")


def learning(
    points: Sequence[Point], ahead: Sequence[Point], people: tuple[float, float] | None
) -> str:
    """Accuracy against judgements, its forecast dashed, and the human ceiling as a stripe."""
    known = [p for p in points if p.get("value") is not None]
    every = [*known, *ahead]
    lows, highs = [p["low"] for p in every], [p["high"] for p in every]
    ends = [*lows, *highs, 0.5, *(people or ())]
    low = max(0.0, math.floor(min(ends) * 20) / 20)
    high = min(1.0, math.ceil(max(ends) * 20) / 20)
    few, many = every[0]["judgements"] / 1.15, every[-1]["judgements"] * 1.15
    marks = [(p["judgements"], f"{p['judgements']:,}") for p in every[-1::-2]]
    x, y = across(few, many, marks, log=True), up(low, high, share_marks(low, high))

    def of(point: Point) -> float:
        return float(point["judgements"])

    inside = _stripe(y, *people) if people else ""
    inside += band([known[-1], *ahead], x, y, of) + path(known, x, y, of, "curve")
    inside += path([known[-1], *ahead], x, y, of, "ahead") + whiskers(known, x, y, of)
    return frame(x, y, "judgements collected", inside, "Accuracy against judgements collected")


def _stripe(y: Axis, low: float, high: float) -> str:
    top, bottom = y.at(high), y.at(low)
    return (
        f'<rect class="people" x="{LEFT}" width="{WIDTH - LEFT - RIGHT}" y="{top:.1f}"'
        f' height="{max(2.0, bottom - top):.1f}"/>'
        f'<text class="on" x="{LEFT + 6}" y="{(top + bottom) / 2 + 4:.1f}">human ceiling</text>'
    )


def best_of(points: Sequence[Point], start: float, share: bool) -> str:
    """What the best of n is worth, from one on."""
    first = {"best_of": 1, "value": start, "low": start, "high": start}
    every = [first, *points]
    marks = [(p["best_of"], str(p["best_of"])) for p in every]
    x = across(0.9, every[-1]["best_of"] * 1.1, marks, log=True)
    if share:
        low = math.floor(min(p["low"] for p in every) * 10) / 10
        high = min(1.0, math.ceil(max(p["high"] for p in every) * 10) / 10)
        y = up(low, high, share_marks(low, high))
    else:
        high = math.ceil(max(p["high"] for p in every) * 2) / 2 or 0.5
        step = 0.5 if high <= 3 else 1.0
        y = up(0, high, [(k * step, f"{k * step:.1f}") for k in range(int(high / step) + 1)])

    def of(point: Point) -> float:
        return float(point["best_of"])

    inside = path(every, x, y, of, "curve") + whiskers(every, x, y, of)
    return frame(x, y, "best of", inside, "Worth of the best of n")
