"""The charts of a GRPO run: four that tell how it goes, and the rest.

Each is drawn from the run's steps, its settings and what its preflight measured. A verdict stands
as a thin line at its step in the chart of its metric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import plotly.graph_objects as go

from labeler.lead.snapshot import Json
from labeler.lead.views.charts import (
    ACCENT,
    AMBER,
    BLUE,
    GREY,
    PURPLE,
    RED,
    Rows,
    band,
    figure,
    is_number,
    latest,
    level,
    line,
    with_legend,
)
from labeler.rendering import short

Named = tuple[str, str]
"""A line's colour and its name in the legend."""
MARKS = {"stop": RED, "watch": AMBER}


@dataclass(frozen=True)
class ChartInputs:
    """What the charts of a run rest on."""

    rows: Rows
    config: Json
    """The run's settings."""
    start: Json
    """The baseline that the preflight measured; empty where there is none."""
    verdicts: Rows = ()


@dataclass(frozen=True)
class Chart:
    """A chart, and the metrics whose verdicts are marked in it."""

    draw: Callable[[ChartInputs], go.Figure]
    metrics: tuple[str, ...]
    needs: str = ""
    """It is shown only if this metric is ever above 0."""


def drawn(chart: Chart, inputs: ChartInputs) -> go.Figure:
    """A chart with its verdicts marked."""
    made = chart.draw(inputs)
    for verdict in inputs.verdicts:
        colour = MARKS.get(str(verdict.get("level")))
        if colour and verdict.get("metric") in chart.metrics and is_number(verdict.get("step")):
            made.add_vline(x=verdict["step"], line={"color": colour, "width": 1.5})
    return made


def has_data(chart: Chart, rows: Rows) -> bool:
    """Whether there is anything to see in a chart."""
    values = [row.get(chart.needs, 0) for row in rows] if chart.needs else [1]
    return any(is_number(value) and value > 0 for value in values)


def reward_chart(inputs: ChartInputs) -> go.Figure:
    """What GRPO climbs, its two spreads, and the reward model's own mean where that differs."""
    chart = figure("Reward", f"now {latest(inputs.rows, 'reward_mean')}; bands of one deviation")
    band(chart, inputs.rows, "reward_mean", "reward_std", "of all answers", 0.13)
    band(chart, inputs.rows, "reward_mean", "group_std", "within a group", 0.3)
    line(chart, inputs.rows, "reward_mean", ACCENT, "mean")
    if any(_differ(row.get("model_reward"), row.get("reward_mean")) for row in inputs.rows):
        line(chart, inputs.rows, "model_reward", BLUE, "reward model", dash="dot")
    return with_legend(chart)


def _differ(one: object, other: object) -> bool:
    return is_number(one) and is_number(other) and abs(one - other) > 1e-6


def kl_chart(inputs: ChartInputs) -> go.Figure:
    """KL to the SFT policy in nats per answer, its target, and per token in the hover."""
    units = f"{latest(inputs.rows, 'kl_nats')} nats an answer, {latest(inputs.rows, 'kl')} a token"
    chart = figure("KL to SFT", f"now {units}")
    hover = "%{y:.3g} nats an answer, %{customdata:.3g} a token"
    line(chart, inputs.rows, "kl_nats", BLUE, "KL", hover=hover, beside="kl")
    target = inputs.config.get("kl_target")
    if is_number(target) and target:
        level(chart, float(target), f"target {short(target)}")
    return chart.update_yaxes(rangemode="tozero")


def entropy_chart(inputs: ChartInputs) -> go.Figure:
    """Entropy of the policy's next token, where it started, and the share of that set as target."""
    chart = figure("Entropy", f"now {latest(inputs.rows, 'entropy')} nats per token")
    line(chart, inputs.rows, "entropy", PURPLE, "entropy")
    _mark_start(chart, inputs, "entropy")
    begun, share = inputs.start.get("entropy"), inputs.config.get("entropy_target")
    if is_number(begun) and is_number(share) and share:
        level(chart, share * begun, f"target, {share:.0%} of it")
    return chart


def length_chart(inputs: ChartInputs) -> go.Figure:
    """Mean length of a completion, and where it started."""
    chart = figure("Length", f"now {latest(inputs.rows, 'length')} tokens an answer")
    line(chart, inputs.rows, "length", ACCENT, "length")
    _mark_start(chart, inputs, "length")
    return chart


def _mark_start(chart: go.Figure, inputs: ChartInputs, metric: str) -> None:
    if is_number(inputs.start.get(metric)):
        level(chart, inputs.start[metric], "at the start", GREY)


def _one_metric(
    inputs: ChartInputs, title: str, key: str, colour: str = GREY, unit: str = ""
) -> go.Figure:
    """One metric from 0 up."""
    chart = figure(title, f"now {latest(inputs.rows, key)}{unit}")
    line(chart, inputs.rows, key, colour, title.lower())
    return chart.update_yaxes(rangemode="tozero")


def _several_metrics(
    inputs: ChartInputs, title: str, about: str, share: bool, **lines: tuple[str, str]
) -> go.Figure:
    """Some metrics from 0 up, each with its colour and its name in the legend."""
    chart = figure(title, about)
    hover = "%{y:.0%}" if share else "%{y:.3g}"
    for key, (colour, name) in lines.items():
        line(chart, inputs.rows, key, colour, name, hover=hover)
    chart.update_yaxes(rangemode="tozero", tickformat=".0%" if share else None)
    return with_legend(chart)


grad_chart = partial(_one_metric, title="Grad norm", key="grad_norm")
variety_chart = partial(
    _several_metrics,
    title="Variety",
    about="distinct answers, repeated word pairs",
    share=True,
    unique=(ACCENT, "distinct"),
    repetition=(AMBER, "repeated"),
)
lost_chart = partial(
    _several_metrics,
    title="Lost",
    about="what teaches little or nothing",
    share=True,
    truncated=(AMBER, "answers cut off"),
    dropped=(PURPLE, "groups dropped"),
)
signal_chart = partial(
    _several_metrics,
    title="Signal and noise",
    about="spread in a group, doubt of the reward",
    share=False,
    group_std=(ACCENT, "spread"),
    noise=(AMBER, "its noise"),
    disagreement=(GREY, "doubt"),
)
MAIN = (
    Chart(reward_chart, ("reward_mean", "reward_std", "model_reward")),
    Chart(kl_chart, ("kl", "kl_nats")),
    Chart(entropy_chart, ("entropy",)),
    Chart(grad_chart, ("grad_norm",)),
)
MORE = (
    Chart(signal_chart, ("group_std", "noise", "disagreement")),
    Chart(variety_chart, ("unique", "repetition")),
    Chart(lost_chart, ("truncated", "dropped")),
    Chart(length_chart, ("length", "length_corr")),
    Chart(partial(_one_metric, title="KL weight", key="kl_weight", colour=BLUE), ("kl_weight",)),
    Chart(
        partial(_one_metric, title="Weights moved", key="moved", unit=" of their size"), ("moved",)
    ),
    Chart(
        partial(_one_metric, title="Speed", key="tokens_per_second", unit=" tokens a second"), ()
    ),
    Chart(
        partial(
            _one_metric, title="Clipped", key="clip_ratio", colour=PURPLE, unit=" of all tokens"
        ),
        ("clip_ratio",),
        needs="clip_ratio",
    ),
)
