"""Rows within one JSON value: a list, an object around a list, or an object of columns."""

from __future__ import annotations

import json
from collections.abc import Iterator

from data.exchange.validation import check_value, show
from data.schema import JsonObject

_COLUMNS = frozenset(
    """type prompt chosen rejected completion label messages conversations instruction output text
    fields responses annotations predictions""".split()
)
"""What columns of rows are called, as opposed to a list around them."""
Found = tuple[str, list[object]]
"""What the value is in words, and its rows."""


def find_rows(value: object, in_lines: bool = False) -> Found | None:
    """The rows that a JSON value holds; None for an object that is a row itself.

    `in_lines`: it is a line of a file of lines, so that an object of several keys is a row,
    whatever lists it has.

    Objects of columns are {column: [cells]} or {column: {"0": cell}}; pandas' other ways to write a
    table, {"0": row} and {"columns", "data"}, are known too.
    """
    if isinstance(value, list):
        return "a JSON array", value
    if not isinstance(value, dict) or not value:
        return None
    found = _split_table(value) or _by_columns(value)
    return found or (None if in_lines and len(value) > 1 else _around_list(value))


def split_values(text: str) -> Iterator[tuple[int, JsonObject | ValueError]]:
    """The JSON values of a text that stand one after another, each with its line.

    Raises json.JSONDecodeError where a value is cut off or is none.
    """
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        line = text.count("\n", 0, place) + 1
        try:
            _, end = decoder.raw_decode(text, place)
        except RecursionError:
            raise ValueError("not JSON that can be read: it is nested too deeply") from None
        yield line, check_value(text[place:end])
        place = end


def _split_table(value: JsonObject) -> Found | None:
    """{"columns": [names], "data": [[cells], ...]}; {"features", "rows": [{"row": {}}]}."""
    if {"columns", "data"} <= value.keys() <= {"columns", "data", "index"}:
        names, rows = value["columns"], value["data"]
        if _all(names, str) and _all(rows, list):
            whole = all(len(cells) == len(names) for cells in rows)
            if whole:
                return "a JSON table", [dict(zip(names, cells, strict=True)) for cells in rows]
    if {"features", "rows"} <= value.keys() and _all(value["rows"], dict):
        rows, total = value["rows"], value.get("num_rows_total")
        cut = next((row for row in rows if row.get("truncated_cells")), None)
        if cut is not None:
            raise ValueError(
                f"cells are cut short in row {cut.get('row_idx')} ({show(cut['truncated_cells'])}):"
                " download the data set's files instead of the viewer's answer"
            )
        some = isinstance(total, int) and total > len(rows)
        kind = "a JSON table" + (f" ({len(rows)} of the {total} rows of the set)" if some else "")
        return kind, [row.get("row", row) for row in rows]
    return None


def _by_columns(value: JsonObject) -> Found | None:
    cells = list(value.values())
    if _all(cells, dict):
        if value.keys() <= _COLUMNS and not _are_numbers(cells[0]):
            return None  # one row, of objects
        if _are_numbers(value):
            return "JSON by rows", cells
        keys = list(cells[0])
        if _are_numbers(cells[0]) and all(list(each) == keys for each in cells):
            rows: list[object] = [{c: value[c][key] for c in value} for key in keys]
            return "JSON by columns", rows
    if _all(cells, list) and len({len(each) for each in cells}) == 1 and cells[0]:
        turns = any(_are_turns(each) for each in cells)
        around = not value.keys() & _COLUMNS and all(_all(each, dict) for each in cells)
        if not turns and not around:
            rows = [dict(zip(value, row, strict=True)) for row in zip(*cells, strict=True)]
            return "JSON by columns", rows
    return None


def _around_list(value: JsonObject) -> Found | None:
    """All lists of objects within an object that is no row itself."""
    if value.keys() & _COLUMNS:
        return None
    lists = {k: v for k, v in value.items() if v and _all(v, dict) and not _are_turns(v)}
    if lists:
        beside = ", ".join(map(show, value.keys() - lists.keys()))
        kind = f"{' and '.join(map(show, lists))} of a JSON object"
        kind += f" (not taken over beside it: {beside})" if beside else ""
        return kind, [row for each in lists.values() for row in each]
    if len(value) == 1:
        return find_rows(next(iter(value.values())))
    return None


def _are_turns(value: list[object]) -> bool:
    return any(isinstance(part, dict) and part.keys() & {"role", "from"} for part in value)


def _are_numbers(value: JsonObject) -> bool:
    return bool(value) and all(key.isdecimal() for key in value)


def _all(value: object, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(part, kind) for part in value)
