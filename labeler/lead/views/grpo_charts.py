"""The charts of a GRPO run: four that tell how it goes, and the rest.

Each is drawn from the run's steps, its settings and what its preflight measured. A verdict stands
as a thin line at its step in the chart of its metric.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import plotly.graph_objects as go

from labeler.lead.snapshot import JsonMapping
from labeler.lead.views import charts
from labeler.rendering import short

MARKS = {"stop": charts.RED, "watch": charts.AMBER}


@dataclass(frozen=True)
class ChartInputs:
    """What the charts of a run rest on."""

    rows: charts.MetricRows
    config: JsonMapping
    """The run's settings."""
    start: JsonMapping
    """The baseline that the preflight measured; empty where there is none."""
    verdicts: charts.MetricRows = ()


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
        ours = verdict.get("metric") in chart.metrics
        if colour and ours and charts.is_number(verdict.get("step")):
            made.add_vline(x=verdict["step"], line={"color": colour, "width": 1.5})
    return made


def has_data(chart: Chart, rows: charts.MetricRows) -> bool:
    values = [row.get(chart.needs, 0) for row in rows] if chart.needs else [1]
    return any(charts.is_number(value) and value > 0 for value in values)


def reward_chart(inputs: ChartInputs) -> go.Figure:
    """What GRPO climbs, its two spreads, and the reward model's own mean where that differs."""
    chart = charts.figure(
        "Reward", f"now {charts.latest_value(inputs.rows, 'reward_mean')}; bands of one deviation"
    )
    charts.band(chart, inputs.rows, "reward_mean", "reward_std", "of all answers", 0.13)
    charts.band(chart, inputs.rows, "reward_mean", "group_std", "within a group", 0.3)
    charts.line(chart, inputs.rows, "reward_mean", charts.ACCENT, "mean")
    both = [(row.get("model_reward"), row.get("reward_mean")) for row in inputs.rows]
    known = [(m, r) for m, r in both if charts.is_number(m) and charts.is_number(r)]
    if any(abs(by_model - mean) > 1e-6 for by_model, mean in known):
        charts.line(chart, inputs.rows, "model_reward", charts.BLUE, "reward model", dash="dot")
    return charts.with_legend(chart)


def kl_chart(inputs: ChartInputs) -> go.Figure:
    """KL to the SFT policy in nats per answer, its target, and per token in the hover."""
    answer, token = (charts.latest_value(inputs.rows, key) for key in ("kl_nats", "kl"))
    chart = charts.figure("KL to SFT", f"now {answer} nats an answer, {token} a token")
    hover = "%{y:.3g} nats an answer, %{customdata:.3g} a token"
    charts.line(chart, inputs.rows, "kl_nats", charts.BLUE, "KL", hover=hover, beside="kl")
    target = inputs.config.get("kl_target")
    if charts.is_number(target) and target:
        charts.level(chart, float(target), f"target {short(target)}")
    return chart.update_yaxes(rangemode="tozero")


def entropy_chart(inputs: ChartInputs) -> go.Figure:
    """Entropy of the policy's next token, where it started, and the share of that set as target."""
    chart = charts.figure(
        "Entropy", f"now {charts.latest_value(inputs.rows, 'entropy')} nats per token"
    )
    charts.line(chart, inputs.rows, "entropy", charts.PURPLE, "entropy")
    _mark_start(chart, inputs, "entropy")
    begun, share = inputs.start.get("entropy"), inputs.config.get("entropy_target")
    if charts.is_number(begun) and charts.is_number(share) and share:
        charts.level(chart, share * begun, f"target, {share:.0%} of it")
    return chart


def length_chart(inputs: ChartInputs) -> go.Figure:
    """Mean length of a completion, and where it started."""
    chart = charts.figure(
        "Length", f"now {charts.latest_value(inputs.rows, 'length')} tokens an answer"
    )
    charts.line(chart, inputs.rows, "length", charts.ACCENT, "length")
    _mark_start(chart, inputs, "length")
    return chart


def _mark_start(chart: go.Figure, inputs: ChartInputs, metric: str) -> None:
    if charts.is_number(inputs.start.get(metric)):
        charts.level(chart, inputs.start[metric], "at the start", charts.GREY)


def _one_metric(title: str, key: str, colour: str, unit: str, inputs: ChartInputs) -> go.Figure:
    """One metric from 0 up."""
    chart = charts.figure(title, f"now {charts.latest_value(inputs.rows, key)}{unit}")
    charts.line(chart, inputs.rows, key, colour, title.lower())
    return chart.update_yaxes(rangemode="tozero")


def _several_metrics(
    inputs: ChartInputs, title: str, about: str, share: bool, **lines: tuple[str, str]
) -> go.Figure:
    """Some metrics from 0 up, each with its colour and its name in the legend."""
    chart = charts.figure(title, about)
    hover = "%{y:.0%}" if share else "%{y:.3g}"
    for key, (colour, name) in lines.items():
        charts.line(chart, inputs.rows, key, colour, name, hover=hover)
    chart.update_yaxes(rangemode="tozero", tickformat=".0%" if share else None)
    return charts.with_legend(chart)


grad_chart = partial(_one_metric, "Grad norm", "grad_norm", charts.GREY, "")
variety_chart = partial(
    _several_metrics,
    title="Variety",
    about="distinct answers, repeated word pairs",
    share=True,
    unique=(charts.ACCENT, "distinct"),
    repetition=(charts.AMBER, "repeated"),
)
lost_chart = partial(
    _several_metrics,
    title="Lost",
    about="what teaches little or nothing",
    share=True,
    truncated=(charts.AMBER, "answers cut off"),
    dropped=(charts.PURPLE, "groups dropped"),
)
signal_chart = partial(
    _several_metrics,
    title="Signal and noise",
    about="spread in a group; doubt of the reward, and its price",
    share=False,
    group_std=(charts.ACCENT, "spread"),
    noise=(charts.AMBER, "its noise"),
    disagreement=(charts.GREY, "doubt"),
    risk_premium=(charts.PURPLE, "risk premium"),
)
MAIN = (
    Chart(reward_chart, ("reward_mean", "reward_std", "model_reward")),
    Chart(kl_chart, ("kl", "kl_nats")),
    Chart(entropy_chart, ("entropy",)),
    Chart(grad_chart, ("grad_norm",)),
)
MORE = (
    Chart(signal_chart, ("group_std", "noise", "disagreement", "risk_premium")),
    Chart(variety_chart, ("unique", "repetition")),
    Chart(lost_chart, ("truncated", "dropped")),
    Chart(length_chart, ("length", "length_corr")),
    Chart(partial(_one_metric, "KL coefficient", "kl_weight", charts.BLUE, ""), ("kl_weight",)),
    Chart(
        partial(_one_metric, "Weights moved", "moved", charts.GREY, " of their size"), ("moved",)
    ),
    Chart(partial(_one_metric, "Speed", "tokens_per_second", charts.GREY, " tokens a second"), ()),
    Chart(
        partial(_one_metric, "Clipped", "clip_ratio", charts.PURPLE, " of all tokens"),
        ("clip_ratio",),
        needs="clip_ratio",
    ),
)
