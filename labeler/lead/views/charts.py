"""Charts of a run's metrics, as Plotly figures. Text takes its colour from the page's style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import plotly.graph_objects as go

from labeler.lead.snapshot import JsonMapping
from labeler.rendering import short

ACCENT, BLUE, PURPLE, GREY, AMBER = "#14a394", "#4f86f7", "#a463f2", "#8292a5", "#d98a29"
RED = "#dc4437"
Numbers = list[float | None]
MetricRows = Sequence[JsonMapping]


def loss_chart(rows: MetricRows) -> go.Figure:
    """Training loss, and validation loss where it was measured."""
    chart = figure("Loss")
    line(chart, rows, "loss", ACCENT, "training")
    if any("validation_loss" in row for row in rows):
        line(chart, rows, "validation_loss", AMBER, "validation", mode="lines+markers")
        with_legend(chart)
    return chart


def line(
    chart: go.Figure,
    rows: MetricRows,
    key: str,
    colour: str,
    name: str,
    *,
    mode: str = "lines",
    dash: str = "solid",
    hover: str = "%{y:.3g}",
    beside: str = "",
) -> None:
    """A metric over the steps; `beside` names another that `hover` shows as its customdata."""
    kept = [row for row in rows if is_number(row.get(key)) and "step" in row]
    steps: Numbers = []
    values: Numbers = []
    for row in kept:
        if steps and (row["step"] or 0) < (steps[-1] or 0):
            steps.append(None)  # a gap: the steps begin anew, with another model of an ensemble
            values.append(None)
        steps.append(row["step"])
        values.append(row[key])
    chart.add_scatter(
        x=steps,
        y=values,
        customdata=[row.get(beside) for row in kept] if beside else None,
        name=name,
        mode=mode if len(kept) > 1 else "markers",
        line={"color": colour, "width": 2.5, "dash": dash},
        hovertemplate=f"step %{{x}}: {hover}<extra>{name}</extra>",
    )


def band(
    chart: go.Figure, rows: MetricRows, middle: str, spread: str, name: str, fill: float
) -> None:
    """One standard deviation around a mean, in the accent's colour at a strength of `fill`."""
    kept = [row for row in rows if is_number(row.get(middle)) and is_number(row.get(spread))]
    steps = [row["step"] for row in kept]
    upper = [row[middle] + row[spread] for row in kept]
    lower = [row[middle] - row[spread] for row in kept]
    chart.add_scatter(
        x=steps + steps[::-1],
        y=upper + lower[::-1],
        name=name,
        mode="lines",
        fill="toself",
        fillcolor=f"rgba(20,163,148,{fill})",
        line={"width": 0},
        hoverinfo="skip",
    )


def level(chart: go.Figure, value: float, words: str, colour: str = AMBER) -> None:
    """A level across the chart, with its name."""
    named = {"annotation_text": words, "annotation_position": "top right"}
    dashed = {"color": colour, "dash": "dash", "width": 1.5}
    chart.add_hline(y=value, line=dashed, **named, annotation_font_size=11)


def figure(title: str, about: str = "") -> go.Figure:
    """An empty chart in the style of all."""
    text = f"<b>{title}</b>" + (f"  <span style='font-size:12px'>{about}</span>" if about else "")
    chart = go.Figure()
    chart.update_layout(
        title={"text": text, "x": 0.01, "xref": "container", "y": 0.96, "font": {"size": 14}},
        height=216,
        margin={"l": 44, "r": 12, "t": 38, "b": 30},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, 'DejaVu Sans', sans-serif", "size": 12},
        showlegend=False,
        modebar={"remove": ["all"]},
        uirevision="kept",
    )
    grid = {"gridcolor": "rgba(130,146,165,0.22)", "zeroline": False, "automargin": True}
    chart.update_xaxes(**grid, tickformat="d", nticks=7)
    chart.update_yaxes(**grid, nticks=5)
    return chart


def with_legend(chart: go.Figure) -> go.Figure:
    """Name the lines below the chart, where there is room for it on a phone too."""
    below = {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.14, "yanchor": "top"}
    return chart.update_layout(showlegend=True, legend=below, margin_b=50)


def latest_value(rows: MetricRows, key: str) -> str:
    """The last value of a metric, in words."""
    values = [row[key] for row in rows if is_number(row.get(key))]
    return short(values[-1]) if values else "–"


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value can be drawn: no text, no truth value, no NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
