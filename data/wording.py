"""How a refusal puts a value and the choices into words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NoReturn


def wrong(what: str, value: object, allowed: str) -> NoReturn:
    """Refuse a value, naming it and what is allowed."""
    raise ValueError(f"{what} {show(value)} not allowed: use {allowed}")


def show(value: object) -> str:
    """A value as the file spells it, cut to a readable length."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else _json(value)
    return text if len(text) <= 60 else text[:57] + "..."


def either(words: Sequence[str]) -> str:
    """The words as a choice: "a, b or c"."""
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]])) or "nothing"


def no_constant(name: str) -> NoReturn:
    """For `json.loads`: refuse NaN and Infinity."""
    raise ValueError(f"not JSON ({name} is no JSON number): write a number or leave it out")


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
