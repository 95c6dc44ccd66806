"""Reports of policy runs in lines of text."""

from __future__ import annotations

from typing import Any

from data.stats.estimate import format_estimate


def lines(report: dict[str, Any]) -> list[str]:
    """The summary, then what this kind of run has to say."""
    text = [report["summary"]]
    for v in report.get("verdicts", []):
        text.append(f"{v['level']}: {v['text']}")
        if v.get("action"):
            text.append(f"  do: {v['action']}")
    if "rows" in report:
        text += ["", *table(report["rows"])]
        text += [f"wins by {name}: {format_estimate(f)}" for name, f in report["win_rates"].items()]
    return text


def table(rows: list[dict[str, Any]]) -> list[str]:
    """SFT against the policy, the difference with its 95% interval."""
    head = f"{'':<28} {'SFT':>8} {'GRPO':>8} {'difference':>11}  95% interval      n"
    return [head] + [
        f"{r['measure']:<28} {r['reference']:>8.2f} {r['policy']:>8.2f} {r['difference']:>+11.2f}"
        f"  [{r['low']:+.2f}, {r['high']:+.2f}]  {r['n']:>4}"
        for r in rows
    ]
