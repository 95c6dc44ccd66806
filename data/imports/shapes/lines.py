"""What a shape makes of a row, and the columns that every table may have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from data.exchange.validation import either, show, spell_pair
from data.schema import JsonObject

Convert = Callable[[JsonObject, Counter[str]], Iterable[JsonObject]]
"""A row, and where to count what is left out, to lines of the exchange format.

A line may say two things more than that format has: `question`, the name of the question of which
a rating keeps the scale, and `source`, within which the line's external id is unique.
"""


class Unsaid(ValueError):
    """What the data leaves open and only the user can say: leaving rows out does not help."""


CONTENT_COLUMNS = ("created_at", "external_id")
_NAMING = ("from_name", "selected", "choices", "value")
"""Where an answer of an annotation tool names its question, or what it chooses."""
_STRUCTURE = frozenset(
    """id project external_id data fields annotations completions responses predictions
    suggestions drafts status""".split()
)
"""What rows of annotation tools are made of; a field may have such a name too."""
_FLAT = re.compile(r"\.(?:responses|suggestion)(?:\.\w+)?$")
"""How columns of Argilla's flat table end, behind the name of the question."""
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
    an answer names a completion or its side. What such a row itself is made of stays.
    """
    if not names:
        return row
    of_a_tool = any(isinstance(row.get(part), dict) for part in ("data", "fields"))
    renamed = _rename_keys(row, names, _STRUCTURE if of_a_tool else frozenset())
    for part in ("data", "fields", "responses"):
        if isinstance(renamed.get(part), dict):
            renamed[part] = _rename_keys(renamed[part], names)
    for part, said in renamed.items():
        if part in ("annotations", "completions", "responses") and isinstance(said, list | dict):
            renamed[part] = _rename_words(said, names)
        elif part.endswith(".responses"):
            renamed[part] = _rename_words(said, names, "value")
    return renamed


def _rename_keys(
    found: JsonObject, names: Mapping[str, str], stay: frozenset[str] = frozenset()
) -> JsonObject:
    """An object with new names for its keys, but for those that stay."""
    pairs = [(key, key if key in stay else _new_name(key, names)) for key in found]
    kept = Counter(new for _, new in pairs if new)
    double = next((new for new, times in kept.items() if times > 1), None)
    if double is not None:
        stem = _FLAT.sub("", double)
        remedy = f"leave one of them out, as with --columns {spell_pair(stem)}"
        if double in stay:
            remedy = "call the other one otherwise"
        raise ValueError(f"--columns makes two columns {show(stem)}: {remedy}")
    left = {key: None for key, new in pairs if not new and key.endswith(".responses")}
    return left | {new: found[key] for key, new in pairs if new}


def _new_name(key: str, names: Mapping[str, str]) -> str:
    """What a column is called now; a column of Argilla's flat table goes by its question."""
    end = _FLAT.search(key)
    if key in names or end is None:
        return names.get(key, key)
    stem = key[: end.start()]
    new = names.get(stem, stem)
    return new and new + end[0]


def _rename_words(value: object, names: Mapping[str, str], key: str = "") -> object:
    """What annotators said, with new names where an answer is named."""
    if isinstance(value, dict):
        if isinstance(value.get("values"), dict):  # Argilla 1
            value = value | {"values": _rename_keys(value["values"], names)}
        return {k: _rename_words(v, names, k) for k, v in value.items()}
    if isinstance(value, list):
        kept = [part for part in value if not _is_left_out(part, names)]
        return [_rename_words(part, names, key) for part in kept]
    if isinstance(value, str) and key == "to_name":
        return ",".join(names.get(part.strip()) or part for part in value.split(","))
    if isinstance(value, str) and key in _NAMING:
        return names.get(value.strip()) or value
    return value


def _is_left_out(result: object, names: Mapping[str, str]) -> bool:
    """Whether it is a result of Label Studio to a question that is left out."""
    question = result.get("from_name") if isinstance(result, dict) else None
    return isinstance(question, str) and names.get(question) == ""
