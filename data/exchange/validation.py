"""How a refusal puts a value and the choices into words."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

_MOST_DIGITS = 300


def wrong(what: str, value: object, allowed: str) -> NoReturn:
    """Refuse a value, naming it and what is allowed."""
    raise ValueError(f"{what} {show(value)} not allowed: use {allowed}")


def show(value: object) -> str:
    """A value as the file spells it, cut to a readable length."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else _json(value)
    return _cut(text)


def either(words: Sequence[str]) -> str:
    """The words as a choice: "a, b or c"."""
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "nothing"


def read_json(text: str) -> Any:
    """The value that a JSON text spells, if an export can spell it again.

    Raises json.JSONDecodeError where it is no JSON, and ValueError with the remedy for NaN and
    Infinity, for a number that is too large to keep, a key that stands twice, and deep nesting.
    """
    try:
        return json.loads(
            text,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_once,
        )
    except RecursionError:
        raise ValueError("not JSON that can be read: it is nested too deeply") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"not JSON ({name} is no JSON number): write a number or leave it out")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"number {_cut(digits)} is too large: use one below 1e308")
    return number


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(
            f"number {_cut(digits)} has {len(digits):,} digits: use at most {_MOST_DIGITS}"
        )
    return int(digits)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{show(twice)} stands twice in one object: keep one of the two")
    return found


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
