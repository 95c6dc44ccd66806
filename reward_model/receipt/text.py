"""The receipt in lines of text, for a terminal, and the files that hold it. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from data.stats.estimate import format_estimate
from reward_model.receipt.contents import Receipt
from reward_model.receipt.html import receipt_html
from reward_model.receipt.model_card import model_card
from reward_model.receipt.wording import (
    BASELINES,
    MEASURES,
    SHORT_SOURCES,
    further_measures,
    limits,
)

RECEIPT_HTML, RECEIPT_JSON, CARD = "receipt.html", "receipt.json", "README.md"


def lines(report: Mapping[str, object]) -> list[str]:
    """The summary first, then each figure with its interval and n beside what it must beat.

    report: a receipt's JSON, or the report of a reward model's run, which holds it.
    """
    receipt = Receipt.read(report)
    held_out, rows = receipt.held_out, []
    if held_out.accuracy.value is not None:
        rows = [(f"pairwise accuracy, {held_out.of}", format_estimate(held_out.accuracy))]
        rows += [
            (f"  {BASELINES[name]}", format_estimate(estimate))
            for name, estimate in held_out.baselines.items()
            if estimate.value is not None
        ]
    rows += further_measures(receipt)
    text = [receipt.summary, *(f"{name:<34} {figure}" for name, figure in rows)]
    for source, scores in receipt.scores.items():
        known = {k: m for k, m in scores.items() if m.value is not None and k != "accuracy"}
        text += [f"{SHORT_SOURCES[source]}:"] * bool(known)
        for key, measure in known.items():
            words = MEASURES[key]
            text.append(f"  {words.name:<32} {format_estimate(measure, words.style)}")
    text += limits(receipt)
    return text + [f"left out or cut: {n} {what}" for what, n in receipt.dropped.items() if n]


def write_receipt(report: Mapping[str, object], folder: Path) -> None:
    """Write receipt.html, receipt.json and README.md (a model card) into the folder."""
    receipt = Receipt.read(report)
    for name, content in (
        (RECEIPT_HTML, receipt_html(receipt)),
        (RECEIPT_JSON, json.dumps(report, indent=1)),
        (CARD, model_card(receipt)),
    ):
        (folder / name).write_text(content, encoding="utf-8")
