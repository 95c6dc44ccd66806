"""What kind of table a file holds, told from its columns, and CSV cells as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from data.exchange.validation import JsonObject, read_json, show
from data.imports import annotation_tools, trl
from data.imports.trl import Convert

Shape = Literal[
    "exchange", "trl-preference", "trl-unpaired", "trl-prompts", "argilla", "label-studio"
]
SHAPES: Mapping[Shape, tuple[str, Convert]] = {
    "exchange": ("the exchange format", lambda row, _: [row]),
    "trl-preference": ("TRL preference", trl.preference),
    "trl-unpaired": ("TRL unpaired preference", trl.unpaired),
    "trl-prompts": ("TRL prompts", trl.prompt_only),
    "argilla": ("Argilla records", annotation_tools.argilla),
    "label-studio": ("Label Studio tasks", annotation_tools.label_studio),
}
"""What each is called, and what makes lines of the exchange format of a row."""


def detect(row: JsonObject) -> Shape:
    """The shape that a file's first row has. Raises ValueError naming columns that fit none."""
    columns = {column for column, cell in row.items() if cell is not None}
    if "type" in columns:
        return "exchange"
    if {"fields", "responses"} <= columns:
        return "argilla"
    if "data" in columns and columns & {"annotations", "predictions"}:
        return "label-studio"
    if {"chosen", "rejected"} <= columns:
        return "trl-preference"
    if {"prompt", "completion", "label"} <= columns:
        return "trl-unpaired"
    if "prompt" in columns and columns <= set(trl.PROMPT_COLUMNS):
        return "trl-prompts"
    raise ValueError(
        f"columns {', '.join(map(show, row)) or 'of no name'} fit no known format: name it with "
        "--as, or rename them with --columns"
    )


_NUMBERS = ("strength", "guidelines_version", "seconds", "margin")
_FLAGS = ("both_bad", "finished", "finished_a", "finished_b", "label")
_LISTS = ("tags", "flags", "sampling")
_CONVERSATIONS = ("prompt", "chosen", "rejected", "completion")


def retype(row: JsonObject) -> JsonObject:
    """A row of a table whose cells lost their types: what is null is left out, numbers in text are
    numbers again, and so are true, false and lists."""
    kind = row.get("kind")
    return {k: _retype_cell(k, v, kind) for k, v in row.items() if v is not None}


def _retype_cell(column: str, cell: object, kind: object) -> object:
    number = column in _NUMBERS or (column == "value" and kind == "scalar")
    if isinstance(cell, float) and cell.is_integer() and number:
        return int(cell)
    if not isinstance(cell, str):
        return cell
    flag = column in _FLAGS or (column == "value" and kind == "binary")
    if flag and cell.lower() in ("true", "false", "0", "1"):
        return cell.lower() in ("true", "1")
    if number or column in _LISTS or (column in _CONVERSATIONS and cell.startswith("[{")):
        try:
            return read_json(cell)
        except json.JSONDecodeError:
            return cell
    return cell
