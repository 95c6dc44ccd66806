"""What kind of table a file holds, told from its columns, and CSV cells as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, get_args

from data.exchange.validation import either, read_json, show
from data.imports import annotation_tools
from data.imports.trl import _ASKED, Convert, Source, preference, prompt_only, unpaired

Shape = Literal[
    "exchange", "trl-preference", "trl-unpaired", "trl-prompts", "argilla", "label-studio"
]
SHAPES: tuple[Shape, ...] = get_args(Shape)
IN_WORDS: Mapping[Shape, str] = {
    "exchange": "the exchange format",
    "trl-preference": "TRL preference",
    "trl-unpaired": "TRL unpaired preference",
    "trl-prompts": "TRL prompts",
    "argilla": "Argilla records",
    "label-studio": "Label Studio tasks",
}


def detect(row: Source) -> Shape:
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
    if "prompt" in columns and columns <= set(_ASKED):
        return "trl-prompts"
    raise ValueError(
        f"columns {', '.join(map(show, row)) or 'of no name'} fit no known format: name it with "
        "--as, or say with --recipe what they mean"
    )


def converter(shape: Shape) -> Convert:
    """What makes lines of the exchange format of a row. Raises ValueError for an unknown shape."""
    known: dict[Shape, Convert] = {
        "exchange": lambda row, _: [row],
        "trl-preference": preference,
        "trl-unpaired": unpaired,
        "trl-prompts": prompt_only,
        "argilla": annotation_tools.argilla,
        "label-studio": annotation_tools.label_studio,
    }
    if shape not in known:
        raise ValueError(f"format {show(shape)} unknown: use {either(SHAPES)}")
    return known[shape]


_NUMBERS = ("strength", "guidelines_version", "seconds", "margin")
_FLAGS = ("both_bad", "finished", "finished_a", "finished_b", "label")
_LISTS = ("tags", "flags", "sampling")
_TALKS = ("prompt", "chosen", "rejected", "completion")


def retype(row: Source) -> Source:
    """A row of a table whose cells lost their types: what is null is left out, numbers in text are
    numbers again, and so are true, false and lists."""
    kind = row.get("kind")
    return {k: _cell(k, v, kind) for k, v in row.items() if v is not None}


def _cell(column: str, cell: Any, kind: Any) -> Any:
    number = column in _NUMBERS or (column == "value" and kind == "scalar")
    if isinstance(cell, float) and cell.is_integer() and number:
        return int(cell)
    if not isinstance(cell, str):
        return cell
    flag = column in _FLAGS or (column == "value" and kind == "binary")
    if flag and cell.lower() in ("true", "false", "0", "1"):
        return cell.lower() in ("true", "1")
    if number or column in _LISTS or (column in _TALKS and cell.startswith("[{")):
        try:
            return read_json(cell)
        except json.JSONDecodeError:
            return cell
    return cell
