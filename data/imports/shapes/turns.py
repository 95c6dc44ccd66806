"""Conversations of other tools: turns of {role, content}, or ShareGPT's {from, value}."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from data.exchange.turns import plain_turns
from data.exchange.validation import either, refuse, show
from data.imports.shapes.transcripts import check_no_template
from data.schema import JsonObject

SPEAKERS = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "assistant", "model", "bot", "bard", "bing"), "assistant"),
    "system": "system",
}
"""What ShareGPT's speakers are here."""


def read_turns(column: str, value: object) -> list[JsonObject]:
    """A conversation as turns of {role, content} with a text each; one turn may stand alone.

    Raises ValueError for anything else in it: tool calls, pictures, names.
    """
    listed = value if isinstance(value, list) else [value]
    turns = plain_turns(column, [_from_sharegpt(turn) for turn in listed])
    for turn, found in zip(turns, listed, strict=True):
        if not isinstance(turn["content"], str):
            refuse(f"turn of {column}", found, "{role, content} with a text")
        if not isinstance(turn["role"], str):
            raise ValueError(f"no role in a turn of {column}: use role and content")
    return turns


def _from_sharegpt(turn: object) -> object:
    """{from, value} as {role, content}; anything else as it is."""
    if not isinstance(turn, dict) or "from" not in turn or "role" in turn:
        return turn
    speaker = turn["from"]
    role = SPEAKERS.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        raise ValueError(f"speaker {show(speaker)} unknown: use {either([*SPEAKERS])}")
    rest = {key: said for key, said in turn.items() if key not in ("from", "value")}
    return {"role": role, "content": turn.get("value"), **rest}


def completion_text(column: str, value: object, prompt: object, may_be_empty: bool = True) -> str:
    """The text of a completion: a text, or the conversation's one turn after the prompt."""
    if value is None:
        remedy = '(in JSON, "" is an empty answer)' if may_be_empty else "or leave the row out"
        raise ValueError(f"{column} is missing: write the text of the answer {remedy}")
    if isinstance(value, list | dict):
        turns = read_turns(column, value)
        asked = _asked(prompt)
        begins = list(map(_said, turns[: len(asked)])) == list(map(_said, asked))
        after = turns[len(asked) :] if begins else turns
        if len(after) != 1 or after[0]["role"] != "assistant":
            roles = ", ".join(str(turn["role"]) for turn in after) or "nothing"
            raise ValueError(
                f"{column} holds {roles} after the prompt: it must be one turn of the assistant"
            )
        value = after[0]["content"]
    if not isinstance(value, str):
        refuse(column, value, "a text or a list of {role, content}")
    check_no_template(column, value)
    return value


def _asked(prompt: object) -> list[JsonObject]:
    if isinstance(prompt, list):
        return read_turns("prompt", prompt)
    return [{"role": "user", "content": prompt}]


def _said(turn: JsonObject) -> tuple[object, object]:
    """A turn for comparison: blanks at its ends do not count."""
    content = turn["content"]
    return turn["role"], content.strip() if isinstance(content, str) else content


def count_shared(one: Sequence[object], other: Sequence[object]) -> int:
    """How many turns, or characters, two conversations begin with alike."""
    places = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda place: place[0] == place[1], places))
