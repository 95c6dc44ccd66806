"""Turns of a conversation as other programs write them, to {role, content} with a text."""

from __future__ import annotations

from collections.abc import Sequence

from data.exchange.validation import show
from data.schema import JsonObject

_TEXT_PARTS = ("text", "input_text", "output_text")
"""What a part of a content is called that is a text."""


def plain_turns(what: str, turns: Sequence[object]) -> list[JsonObject]:
    """Turns that hold a role and a content alone; a content of text parts is joined.

    What is null is left out, as everywhere. Raises ValueError, naming `what`, for any other key,
    and for a part that is no text. Whether role and content are right is for the reader to check.
    """
    return [_plain_turn(what, turn) for turn in turns]


def _plain_turn(what: str, turn: object) -> JsonObject:
    if not isinstance(turn, dict):
        raise ValueError(f"turn {show(turn)} of {what} not allowed: use {{role, content}}")
    extra = next((k for k, v in turn.items() if v is not None and k not in ("role", "content")), "")
    if extra:
        raise ValueError(f"{show(extra)} in a turn of {what} unknown: use role and content")
    content = turn.get("content")
    text = join_parts(what, content) if isinstance(content, list) and content else content
    return {"role": turn.get("role"), "content": text}


def join_parts(what: str, parts: Sequence[object]) -> str:
    """The text of a content in parts. Raises ValueError for a part that is no text."""
    texts: list[str] = []
    for part in parts:
        said = {k: v for k, v in part.items() if v is not None} if isinstance(part, dict) else {}
        text = said.get("text")
        if said.get("type") not in _TEXT_PARTS or not isinstance(text, str) or len(said) > 2:
            raise ValueError(
                f"part {show(part)} in a turn of {what} is no text: use parts of type text alone"
            )
        texts.append(text)
    return "".join(texts)
