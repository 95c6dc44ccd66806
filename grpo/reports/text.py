"""Reports of policy runs in lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from data.stats.estimate import format_estimate
from grpo.reports.records import ComparisonReport, ComparisonRow, GrpoReport, Report


def report_lines(report: Report) -> list[str]:
    """The summary, then what this kind of run has beside it."""
    text = [report.summary]
    if isinstance(report, GrpoReport):
        for verdict in report.verdicts:
            text.append(f"{verdict.level}: {verdict.text}")
            if verdict.action:
                text.append(f"  do: {verdict.action}")
    if isinstance(report, ComparisonReport):
        text += ["", *table(report.rows)]
        text += [f"wins by {name}: {format_estimate(w)}" for name, w in report.win_rates.items()]
    return text


def table(rows: Sequence[ComparisonRow]) -> list[str]:
    """SFT against the policy, the difference with its 95% interval."""
    head = f"{'':<28} {'SFT':>8} {'GRPO':>8} {'difference':>11}  95% interval      n"
    return [head] + [
        f"{r.measure:<28} {r.reference:>8.2f} {r.policy:>8.2f} {r.difference:>+11.2f}"
        f"  [{r.low:+.2f}, {r.high:+.2f}]  {r.n:>4}"
        for r in rows
    ]
