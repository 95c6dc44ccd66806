"""The receipt as a model card: Markdown below the front matter that model hubs read. No torch."""

from __future__ import annotations

from html import escape
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from data.stats.estimate import format_estimate, format_value
from reward_model.receipt.contents import Receipt
from reward_model.receipt.wording import BASELINES, MEASURES, SOURCES, further_measures, limits

TEMPLATE = Path(__file__).parent / "templates" / "model_card.md"


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
        template_path=str(TEMPLATE),
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
