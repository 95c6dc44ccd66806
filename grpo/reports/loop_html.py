"""The loop's report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from data.html_templates import environment
from grpo.reports.records import LoopReport

CHARTS = (
    ("reward_mean", "Reward", "standard deviations of SFT's answers"),
    ("kl_nats", "KL to SFT", "nats per answer"),
    ("entropy", "Entropy", "nats per token"),
    ("grad_norm", "Grad norm", ""),
)
"""Metric, title and unit of each chart."""


def write_html(report: LoopReport, path: Path) -> Path:
    """Write the page; nothing in it is loaded from elsewhere."""
    template = environment("grpo.reports").get_template("loop.html")
    page = template.render(report=report, charts=draw_charts, plotly=get_plotlyjs())
    path.write_text(page, encoding="utf-8")
    return path


def draw_charts(metrics: Sequence[Mapping[str, float]]) -> list[str]:
    """The four curves of a run as HTML, without plotly itself."""
    steps = [m for m in metrics if "reward_mean" in m]
    x = [m["step"] for m in steps]
    found: list[str] = []
    for metric, title, unit in CHARTS:
        figure = go.Figure(go.Scatter(x=x, y=[m[metric] for m in steps], mode="lines", name=title))
        for sign in (1, -1) if metric == "reward_mean" else ():
            figure.add_scatter(
                x=x,
                y=[m[metric] + sign * m["group_std"] for m in steps],
                mode="lines",
                line={"dash": "dot", "width": 1},
                name="spread in a group",
            )
        figure.update_layout(
            title=title, xaxis_title="step", yaxis_title=unit, height=320, showlegend=False,
            margin={"l": 50, "r": 20, "t": 50, "b": 40}, template="plotly_white",
        )  # fmt: skip
        found.append(figure.to_html(full_html=False, include_plotlyjs=False))
    return found
