"""The loop's report as one self-contained HTML page."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

CHARTS = (
    ("reward_mean", "Reward", "standard deviations of SFT's answers"),
    ("kl_nats", "KL to SFT", "nats per answer"),
    ("entropy", "Entropy", "nats per token"),
    ("grad_norm", "Grad norm", ""),
)
STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;
margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .8rem;
text-align:right;border-bottom:1px solid #8884}
td:first-child,th:first-child{text-align:left}.charts{display:grid;
grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1rem}.pair{display:grid;gap:1rem;
grid-template-columns:1fr 1fr;margin:.5rem 0 1.5rem}.pair div{border:1px solid #8884;
border-radius:8px;padding:.7rem;white-space:pre-wrap}small{opacity:.7}.ok{color:#0f766e}.no{color:#b45309}
"""


def write_html(report: dict[str, Any], path: Path) -> Path:
    """Write the page; nothing in it is loaded from elsewhere."""
    body = "".join(_seed(result) for result in report["seeds"])
    head = f"{report['date']} · {report['processor']} · {report['precision']} · {report['model']}"
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Coach: the loop</title>'
        f"<style>{STYLE}</style><script>{get_plotlyjs()}</script>"
        f"<h1>The loop, end to end</h1><p><small>{html.escape(head)}</small></p>{body}</html>"
    )
    path.write_text(page, encoding="utf-8")
    return path


def _seed(result: dict[str, Any]) -> str:
    compared = result["compare"]
    kinds = ", ".join(f"{n} {kind}" for kind, n in result["judgements"].items())
    return (
        f"<h2>Seed {result['seed']}</h2><p>{result['minutes']} minutes · judgements: {kinds}</p>"
        f"<p>{html.escape(compared['summary'])}</p>{_rows(compared['rows'])}{_wins(compared)}"
        f"<h3>Reward model</h3><p>{html.escape(result['reward']['summary'])}</p>"
        f"<h3>GRPO</h3>{_verdicts(result['grpo'])}"
        f'<div class="charts">{_charts(result["metrics"])}</div>'
        f"<h3>The same questions, before and after</h3>{_samples(compared['samples'])}"
    )


def _rows(rows: list[dict[str, Any]]) -> str:
    cells = "".join(
        f"<tr><td>{html.escape(r['measure'])}</td><td>{r['reference']:.2f}</td><td>{r['policy']:.2f}"
        f"</td><td>{r['difference']:+.2f}</td><td>[{r['low']:+.2f}, {r['high']:+.2f}]</td>"
        f"<td>{r['n']}</td></tr>"
        for r in rows
    )
    return (
        "<table><tr><th></th><th>SFT</th><th>GRPO</th><th>difference</th><th>95% interval</th>"
        f"<th>n</th></tr>{cells}</table>"
    )


def _wins(compared: dict[str, Any]) -> str:
    lines = (
        f"GRPO wins by {html.escape(name)}: <b>{w['value']:.0%}</b>"
        f" [{w['low']:.0%}, {w['high']:.0%}], n={w['n']}"
        for name, w in compared["win_rates"].items()
    )
    return f"<p>{'<br>'.join(lines)}</p>"


def _verdicts(report: dict[str, Any]) -> str:
    items = "".join(
        f'<li class="{"ok" if v["level"] == "fine" else "no"}">{html.escape(v["text"])}'
        f" {_action(v)}</li>"
        for v in report.get("verdicts", [])
    )
    return f"<p>{html.escape(report['summary'])}</p><ul>{items}</ul>"


def _action(verdict: dict[str, Any]) -> str:
    action = html.escape(verdict.get("action", ""))
    return f"<i>{action}</i>" if action else ""


def _charts(metrics: list[dict[str, Any]]) -> str:
    steps = [m for m in metrics if "reward_mean" in m]
    return "".join(_chart(steps, *chart) for chart in CHARTS)


def _chart(steps: list[dict[str, Any]], key: str, title: str, unit: str) -> str:
    x = [m["step"] for m in steps]
    figure = go.Figure(go.Scatter(x=x, y=[m[key] for m in steps], mode="lines", name=title))
    if key == "reward_mean":
        for sign in (1, -1):
            band = [m[key] + sign * m["group_std"] for m in steps]
            figure.add_scatter(
                x=x,
                y=band,
                mode="lines",
                line={"dash": "dot", "width": 1},
                name="spread in a group",
            )
    figure.update_layout(
        title=title, xaxis_title="step", yaxis_title=unit, height=320, showlegend=False,
        margin={"l": 50, "r": 20, "t": 50, "b": 40}, template="plotly_white",
    )  # fmt: skip
    text: str = figure.to_html(full_html=False, include_plotlyjs=False)
    return text


def _samples(samples: list[dict[str, Any]]) -> str:
    return "".join(
        f"<p><b>{html.escape(s['prompt'])}</b></p><div class='pair'>"
        f"<div><small>SFT · reward {s['reward_before']:+.2f}</small>\n"
        f"{html.escape(s['before'])}</div>"
        f"<div><small>GRPO · reward {s['reward_after']:+.2f}</small>\n"
        f"{html.escape(s['after'])}</div>"
        "</div>"
        for s in samples
    )
