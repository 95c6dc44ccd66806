"""A reward model's report in lines of text."""

from __future__ import annotations

from typing import Any

from reward_model.evaluate import Figure

NAMES = {
    "accuracy": "held-out accuracy",
    "longer": "  always the longer",
    "shorter": "  always the shorter",
    "majority": "  always the same side",
    "frozen": "  head on the frozen policy",
}


def lines(report: dict[str, Any]) -> list[str]:
    """The summary first, then each figure with its interval and n beside its baselines."""
    held = report["held_out"]
    figures = {"accuracy": held["accuracy"], **held["baselines"]}
    if "frozen_head" in report:
        figures["frozen"] = report["frozen_head"]["accuracy"]
    text = [report["summary"]]
    text += [f"{NAMES[name]:<28} {Figure(**f)}" for name, f in figures.items() if f]
    if held["spearman"]:
        rho = held["spearman"]
        text.append(
            f"{'rank correlation, 1 to 10':<28} {rho['value']:.2f}"
            f" [{rho['low']:.2f}, {rho['high']:.2f}], n={rho['n']}"
        )
    text += [f"left out: {n} {what}" for what, n in report.get("dropped", {}).items() if n]
    return text
