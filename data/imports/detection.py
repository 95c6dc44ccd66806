"""What kind of table a file holds, told from its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from data.exchange.validation import show
from data.imports.shapes import demonstrations, trl
from data.imports.shapes.argilla import argilla, is_flat
from data.imports.shapes.label_studio import label_studio
from data.imports.shapes.lines import Convert
from data.schema import JsonObject

Shape = Literal[
    "exchange",
    "trl-preference",
    "trl-unpaired",
    "trl-prompts",
    "messages",
    "prompt-completion",
    "sharegpt",
    "alpaca",
    "documents",
    "argilla",
    "label-studio",
]
SHAPES: Mapping[Shape, tuple[str, Convert]] = {
    "exchange": ("the exchange format", lambda row, _: [row]),
    "trl-preference": ("TRL preference", trl.preference),
    "trl-unpaired": ("TRL unpaired preference", trl.unpaired),
    "trl-prompts": ("TRL prompts", trl.prompt_only),
    "messages": ("messages, as demonstrations", demonstrations.messages),
    "prompt-completion": ("prompt and completion", demonstrations.prompt_completion),
    "sharegpt": ("ShareGPT conversations, as demonstrations", demonstrations.sharegpt),
    "alpaca": ("Alpaca, as demonstrations", demonstrations.alpaca),
    "documents": ("documents", demonstrations.documents),
    "argilla": ("Argilla records", argilla),
    "label-studio": ("Label Studio tasks", label_studio),
}
"""What each is called, and what makes lines of the exchange format of a row."""
_OTHER_EXPORTS = (
    ({"annotation_id", "annotator"}, "Label Studio's JSON-MIN or CSV: export it as JSON"),
    ({"prediction", "annotation", "inputs"}, "Argilla 1's classic records: log them as Argilla 2"),
    (
        {"input", "preferred_output", "non_preferred_output"},
        "OpenAI's preferences: write chosen and rejected, with input.messages as the prompt",
    ),
)
"""Columns by which what cannot be read is known, and what to do."""


def detect(row: JsonObject) -> Shape:
    """The shape that a file's first row has. Raises ValueError naming columns that fit none.

    Columns that hold nothing there count only where the others fit none.
    """
    if not row:
        raise ValueError("the first row holds nothing: write its columns, or leave it out")
    found = _detect(row, {column for column, cell in row.items() if cell is not None})
    found = found or _detect(row, set(row))
    if found:
        return found
    for known, remedy in _OTHER_EXPORTS:
        if known <= row.keys():
            raise ValueError(f"columns {', '.join(map(show, sorted(known)))} are of {remedy}")
    raise ValueError(
        f"columns {', '.join(map(show, row))} fit no known format: name it with --as, or rename "
        "them with --columns"
    )


def _detect(row: JsonObject, columns: set[str]) -> Shape | None:
    if "type" in columns:
        return "exchange"
    if ("fields" in columns and columns | row.keys() >= {"responses"}) or is_flat(row):
        return "argilla"
    if "data" in columns and row.keys() & {"annotations", "predictions", "completions"}:
        return "label-studio"
    if {"chosen", "rejected"} <= columns:
        return "trl-preference"
    if {"prompt", "completion", "label"} <= columns:
        return "trl-unpaired"
    demonstrated = _detect_demonstration(columns)
    if demonstrated:
        return demonstrated
    if "prompt" in columns and columns <= set(trl.PROMPT_COLUMNS):
        return "trl-prompts"
    return None


def _detect_demonstration(columns: set[str]) -> Shape | None:
    """A shape of data for supervised fine-tuning, or of documents."""
    if "messages" in columns:
        return "messages"
    if "conversations" in columns:
        return "sharegpt"
    if {"instruction", "output"} <= columns:
        return "alpaca"
    if {"prompt", "completion"} <= columns:
        return "prompt-completion"
    return "documents" if columns and columns <= set(demonstrations.DOCUMENT_COLUMNS) else None
