"""The live charts of a run, as Plotly figures. Text takes its colour from the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

ACCENT, BLUE, PURPLE, GREY, AMBER = "#14a394", "#4f86f7", "#a463f2", "#8292a5", "#d98a29"
Rows = Sequence[Mapping[str, Any]]


def loss_chart(rows: Rows) -> go.Figure:
    """Training loss, and validation loss where it was measured."""
    figure = _figure("Loss")
    _line(figure, rows, "loss", ACCENT, "training")
    if any("validation_loss" in row for row in rows):
        _line(figure, rows, "validation_loss", AMBER, "validation", "lines+markers")
        figure.update_layout(showlegend=True)
    return figure


def reward_chart(rows: Rows) -> go.Figure:
    """Mean reward of a step's completions, with a band of one standard deviation."""
    figure = _figure("Reward", "mean and standard deviation")
    kept = [r for r in rows if _is_number(r.get("reward_mean")) and _is_number(r.get("reward_std"))]
    steps = [r["step"] for r in kept]
    upper = [r["reward_mean"] + r["reward_std"] for r in kept]
    lower = [r["reward_mean"] - r["reward_std"] for r in kept]
    figure.add_scatter(
        x=steps + steps[::-1],
        y=upper + lower[::-1],
        fill="toself",
        fillcolor="rgba(20,163,148,0.18)",
        line={"width": 0},
        hoverinfo="skip",
    )
    _line(figure, rows, "reward_mean", ACCENT, "mean")
    return figure


def kl_chart(rows: Rows, target: float) -> go.Figure:
    """KL to the SFT policy in nats per answer, with its target."""
    about = f"nats per answer, target {target:g}" if target else "nats per answer"
    figure = _figure("KL to SFT", about)
    _line(figure, rows, "kl_nats", BLUE, "KL")
    if target:
        figure.add_hline(y=target, line={"color": AMBER, "dash": "dash", "width": 1.5})
    figure.update_yaxes(rangemode="tozero")
    return figure


def entropy_chart(rows: Rows) -> go.Figure:
    """Entropy of the policy's next token."""
    figure = _figure("Entropy", "nats per token")
    _line(figure, rows, "entropy", PURPLE, "entropy")
    return figure


def grad_chart(rows: Rows) -> go.Figure:
    """Norm of the gradient at each step."""
    figure = _figure("Grad norm")
    _line(figure, rows, "grad_norm", GREY, "grad norm")
    figure.update_yaxes(rangemode="tozero")
    return figure


def _line(
    figure: go.Figure, rows: Rows, key: str, colour: str, name: str, mode: str = "lines"
) -> None:
    kept = [row for row in rows if _is_number(row.get(key)) and "step" in row]
    steps, values = _apart([row["step"] for row in kept], [row[key] for row in kept])
    figure.add_scatter(
        x=steps,
        y=values,
        name=name,
        mode=mode if len(kept) > 1 else "markers",
        line={"color": colour, "width": 2.5},
        hovertemplate=f"step %{{x}}: %{{y:.3g}}<extra>{name}</extra>",
    )


def _apart(steps: list[Any], values: list[Any]) -> tuple[list[Any], list[Any]]:
    """With a gap where the steps begin anew, as each model of an ensemble does."""
    x: list[Any] = []
    y: list[Any] = []
    for step, value in zip(steps, values, strict=True):
        if x and step < x[-1]:
            x.append(None)
            y.append(None)
        x.append(step)
        y.append(value)
    return x, y


def _figure(title: str, about: str = "") -> go.Figure:
    text = f"<b>{title}</b>" + (f"  <span style='font-size:12px'>{about}</span>" if about else "")
    figure = go.Figure()
    figure.update_layout(
        title={"text": text, "x": 0, "xref": "paper", "y": 0.96, "font": {"size": 14}},
        height=200,
        margin={"l": 44, "r": 12, "t": 38, "b": 30},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, 'DejaVu Sans', sans-serif", "size": 12},
        showlegend=False,
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.16},
        modebar={"remove": ["all"]},
        uirevision="kept",
    )
    grid = {"gridcolor": "rgba(130,146,165,0.22)", "zeroline": False, "automargin": True}
    figure.update_xaxes(**grid, tickformat="d", nticks=7)
    figure.update_yaxes(**grid, nticks=5)
    return figure


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
