"""The receipt as lines for a terminal, as a model card, and the files of it. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from data.stats.estimate import format_estimate, format_value
from reward_model.receipt.contents import Receipt
from reward_model.receipt.html import receipt_html
from reward_model.receipt.wording import (
    BASELINES,
    MEASURES,
    SHORT_SOURCES,
    SOURCES,
    further_measures,
    limits,
)

RECEIPT_HTML, RECEIPT_JSON, CARD = "receipt.html", "receipt.json", "README.md"
CARD_TEMPLATE = Path(__file__).with_name("templates") / "model_card.md"


def receipt_lines(report: Mapping[str, object]) -> list[str]:
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


def model_card(receipt: Receipt) -> str:
    """README.md of a reward model: its summary, how to use it, its measures, limits and origin.

    Texts from outside stand in table cells only, without HTML and on one line.
    """
    judged = ", ".join(f"{n:,} {kind}" for kind, n in receipt.judgements.items())
    made = {
        "judgements": f"{judged}, by {receipt.annotators_count} annotators",
        "objective": receipt.objective,
        "tuning": receipt.tuning,
        **receipt.facts,
        **{f"left out or cut: {what}": n for what, n in receipt.dropped.items() if n},
    }
    scores = {
        SOURCES[source]: {
            MEASURES[key]: measure for key, measure in measures.items() if measure.value is not None
        }
        for source, measures in receipt.scores.items()
    }
    card = ModelCard.from_template(
        ModelCardData(pipeline_tag="text-classification", tags=["reward-model", "coach"]),
        template_path=str(CARD_TEMPLATE),
        summary=receipt.summary,
        unit=_escape_cell(receipt.facts.get("reward unit", "")),
        scores={source: measures for source, measures in scores.items() if measures},
        baselines=BASELINES,
        text=format_estimate,
        value=format_value,
        further=further_measures(receipt),
        limits=limits(receipt),
        made={_escape_cell(key): _escape_cell(value) for key, value in made.items()},
    )
    return f"{card}\n"


def _escape_cell(value: object) -> str:
    """A text from outside as one cell of a Markdown table, without HTML."""
    return escape(str(value), quote=False).replace("|", "\\|").replace("\n", " ")


def write_receipt(report: Mapping[str, object], folder: Path) -> None:
    """Write receipt.html, receipt.json and README.md (a model card) into the folder."""
    receipt = Receipt.read(report)
    for name, content in (
        (RECEIPT_HTML, receipt_html(receipt)),
        (RECEIPT_JSON, json.dumps(report, indent=1)),
        (CARD, model_card(receipt)),
    ):
        (folder / name).write_text(content, encoding="utf-8")
