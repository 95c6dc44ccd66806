"""The receipt in lines of text, for a terminal, and the files that hold it. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reward_model.receipt.html import receipt_html
from reward_model.receipt.model_card import card
from reward_model.receipt.wording import (
    BASELINES,
    MEASURES,
    SHORT_SOURCES,
    further,
    known,
    people,
    written,
)

RECEIPT_HTML, RECEIPT_JSON, CARD = "receipt.html", "receipt.json", "README.md"
WIDTH = 34


def lines(receipt: Mapping[str, Any]) -> list[str]:
    """The summary first, then each figure with its interval and n beside what it must beat."""
    text = [receipt["summary"]]
    held = receipt["held_out"]
    if known(held["accuracy"]):
        text.append(_row(f"picks the better of {held['of']}", written(held["accuracy"], "share")))
        text += [
            _row(f"  {BASELINES[name]}", written(figure, "share"))
            for name, figure in held["baselines"].items()
            if known(figure)
        ]
    text += [_row(name, figure) for name, figure in further(receipt)]
    for source, scores in receipt["scores"].items():
        found = [(MEASURES[key], f) for key, f in scores.items() if known(f) and key != "accuracy"]
        if found:
            text.append(f"{SHORT_SOURCES[source]}:")
        text += [_row(f"  {words.name}", written(f, words.unit)) for words, f in found]
    if people(receipt):
        text.append(people(receipt))
    if receipt.get("ceiling"):
        text.append(receipt["ceiling"]["sentence"])
    for part in ("learning", "spread"):
        if receipt.get(part):
            text.append(receipt[part]["sentence"])
    return text + [f"left out or cut: {n} {what}" for what, n in receipt["dropped"].items() if n]


def write_receipt(receipt: Mapping[str, Any], folder: Path) -> None:
    """receipt.html, receipt.json and README.md (a model card) in the folder."""
    for name, content in (
        (RECEIPT_HTML, receipt_html(receipt)),
        (RECEIPT_JSON, json.dumps(receipt, indent=1)),
        (CARD, card(receipt)),
    ):
        (folder / name).write_text(content, encoding="utf-8")


def _row(name: str, figure: str) -> str:
    return f"{name:<{WIDTH}} {figure}"
