"""What a shape makes of a row, and the columns that every table may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from data.exchange.validation import JsonObject, either, show, spell_pair

Convert = Callable[[JsonObject, Counter[str]], Iterable[JsonObject]]
"""A row, and where to count what is left out, to lines of the exchange format.

A line may say two things more than that format has: `question`, the name of the question of which
a rating keeps the scale, and `source`, within which the line's external id is unique.
"""


class Unsaid(ValueError):
    """What the data leaves open and only the user can say: leaving rows out does not help."""


CONTENT_COLUMNS = ("created_at", "external_id")
_NAMING = ("from_name", "to_name", "selected", "choices", "value")
"""Where an answer of an annotation tool names what it is about, or what it chooses."""
COMMON_COLUMNS = ("annotator", "comment", *CONTENT_COLUMNS)


def check_columns(row: JsonObject, what: str, allowed: tuple[str, ...]) -> None:
    """Refuse a column that a shape does not have, so that nothing gets lost unnoticed."""
    for column in row:
        if column not in allowed:
            raise ValueError(
                f"column {show(column)} unknown in {what}: use {either(allowed)}, or leave it out "
                f"with --columns {spell_pair(column)}"
            )


def rename_columns(row: JsonObject, names: Mapping[str, str]) -> JsonObject:
    """A row with new names for columns; one with an empty new name is left out.

    In rows of annotation tools the same goes for fields, for questions, and for the words by which
    an answer names a completion or its side.
    """
    if not names:
        return row
    renamed = _rename_keys(row, names)
    for part in ("data", "fields", "responses"):
        if isinstance(renamed.get(part), dict):
            renamed[part] = _rename_keys(renamed[part], names)
    for part in ("annotations", "responses"):
        if isinstance(renamed.get(part), list | dict):
            renamed[part] = _rename_words(renamed[part], names)
    return renamed


def _rename_keys(found: JsonObject, names: Mapping[str, str]) -> JsonObject:
    kept = Counter(new for key in found if (new := names.get(key, key)))
    double = next((new for new, times in kept.items() if times > 1), None)
    if double is not None:
        raise ValueError(
            f"--columns makes two columns {show(double)}: leave one of them out, as with --columns"
            f" {spell_pair(double)}"
        )
    return {names.get(key, key): said for key, said in found.items() if names.get(key, key)}


def _rename_words(value: object, names: Mapping[str, str], key: str = "") -> object:
    """What annotators said, with new names where an answer is named."""
    if isinstance(value, dict):
        return {k: _rename_words(v, names, k) for k, v in value.items()}
    if isinstance(value, list):
        kept = [part for part in value if not _is_left_out(part, names)]
        return [_rename_words(part, names, key) for part in kept]
    if isinstance(value, str) and key in _NAMING:
        return ",".join(names.get(part.strip()) or part for part in value.split(","))
    return value


def _is_left_out(result: object, names: Mapping[str, str]) -> bool:
    """Whether it is a result of Label Studio to a question that is left out."""
    question = result.get("from_name") if isinstance(result, dict) else None
    return isinstance(question, str) and names.get(question) == ""
