"""JSON that an export can spell again, and how a refusal puts a value and the choices into words.

Every refusal is a ValueError of one line that names the value, what is allowed and the remedy.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from data.schema import JsonObject, cut_short

MOST_DIGITS = 300


def parse_line(raw: bytes) -> JsonObject:
    """The object that one line of JSON holds. Raises ValueError with the reason and the remedy."""
    try:
        row = decode_json(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 (byte {raw[error.start]:#04x}): save the file as UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not JSON ({error.msg} at character {error.pos + 1}): write one JSON object a line"
        ) from None
    if not isinstance(row, dict):
        raise ValueError(f"{show(row)} is not an object: write {{...}} with a type")
    return row


def decode_json(text: str) -> Any:
    """The value that a JSON text spells, if an export can spell it again.

    Raises json.JSONDecodeError where it is no JSON, and ValueError with the remedy for NaN and
    Infinity, for a number that is too large to keep, a key that stands twice, and deep nesting.
    """
    try:
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
            parse_int=_short_integer,
            object_pairs_hook=_object_of_distinct_keys,
        )
    except RecursionError:
        raise ValueError("not JSON that can be read: it is nested too deeply") from None


def check_value(text: str) -> JsonObject | ValueError:
    """The object that a JSON text spells, or why it is none that can be taken."""
    try:
        found = decode_json(text)
    except ValueError as error:
        return error
    if not isinstance(found, dict):
        return ValueError(f"{show(found)} is not an object: write {{...}}")
    return found


def refuse(what: str, value: object, allowed: str) -> NoReturn:
    """Refuse a value, naming it and what is allowed."""
    raise ValueError(f"{what} {show(value)} not allowed: use {allowed}")


def show(value: object) -> str:
    """A value as the file spells it, cut to a readable length."""
    if isinstance(value, str) and not value.isprintable():
        return cut_short(ascii(value))
    try:
        return cut_short(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError, RecursionError):
        return cut_short(repr(value))


def spell_pair(old: object, new: object = "") -> str:
    """OLD=NEW as a word of the shell; escaped where it cannot be printed in one line."""
    word = f"{old}={new}"
    if not word.isprintable():
        word = ascii(word)[1:-1]
    return shlex.quote(word) if re.search(r"[^\w@%+=:,./-]", word) else word


def unescape(name: str) -> str:
    """The name that `spell_pair` escapes so; any other as it is."""
    try:
        found = name.encode("latin-1", "backslashreplace").decode("unicode_escape")
    except UnicodeDecodeError:
        return name
    return name if found.isprintable() else found


def either(words: Sequence[str]) -> str:
    """The words as a choice: "a, b or c"."""
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "nothing"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON ({name} is no JSON number): write a number or leave it out")


def _finite_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"number {cut_short(digits)} is too large: use one below 1e308")
    return number


def _short_integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(
            f"number {cut_short(digits)} has {len(digits):,} digits: use at most {MOST_DIGITS}"
        )
    return int(digits)


def _object_of_distinct_keys(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{show(twice)} stands twice in one object: keep one of the two")
    return found
