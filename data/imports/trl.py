"""Rows of other tools as lines of the exchange format: TRL here, two platforms in `platforms`.

Which shape a file has is told from the columns of its first row. A column that a shape does not
have is refused: a recipe (`data.recipe`) says what other columns mean.

TRL preference   prompt, chosen, rejected, margin: a comparison that `chosen` won. Without a prompt,
                 it is what the two begin with. A margin of 1, 2 or 3 is kept as the strength.
TRL unpaired     prompt, completion, label: good or bad.
TRL prompts      prompt, tags.

Texts, or lists of {role, content}. All may also say annotator, comment, created_at, external_id.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from data.exchange.validation import either, show, wrong

Source = dict[str, Any]
Convert = Callable[[Source, Counter[str]], list[Source]]
"""A row, and where to count what is left out, to lines of the exchange format."""
_KEPT = ("annotator", "comment", "created_at", "external_id")
_ASKED = ("prompt", "tags", "created_at", "external_id")


def preference(row: Source, left_out: Counter[str]) -> list[Source]:
    """A comparison of TRL's; the prompt may be what both sides begin with."""
    _only(row, "TRL preference", ("prompt", "chosen", "rejected", "margin", *_KEPT))
    prompt, chosen, rejected = row.get("prompt"), row.get("chosen"), row.get("rejected")
    if prompt is None:
        prompt, chosen, rejected = _implicit(chosen, rejected)
    better, worse = _reply("chosen", chosen, prompt), _reply("rejected", rejected, prompt)
    if better == worse:
        raise ValueError(f"chosen and rejected both say {show(better)}: leave the row out")
    said = {
        "kind": "pairwise",
        "prompt": prompt,
        "completion_a": better,
        "completion_b": worse,
        "value": "a",
        "strength": _strength(row.get("margin"), left_out),
    }
    return [_judgement(row, said)]


def unpaired(row: Source, _: Counter[str]) -> list[Source]:
    """One completion that was found good or bad."""
    _only(row, "TRL unpaired preference", ("prompt", "completion", "label", *_KEPT))
    found = row.get("label")
    if found is None or not (isinstance(found, bool) or found in (0, 1)):
        wrong("label", found, "true or false")
    prompt = row.get("prompt")
    said = {
        "kind": "binary",
        "prompt": prompt,
        "completion": _reply("completion", row.get("completion"), prompt),
        "value": bool(found),
    }
    return [_judgement(row, said)]


def prompt_only(row: Source, _: Counter[str]) -> list[Source]:
    """A prompt to sample answers to."""
    _only(row, "TRL prompts", _ASKED)
    return [{"type": "prompt"} | row]


def _judgement(row: Source, said: Source) -> Source:
    known = {column: row[column] for column in _KEPT if row.get(column) is not None}
    return {"type": "judgement"} | said | known


def _only(row: Source, what: str, allowed: tuple[str, ...]) -> None:
    for column in row:
        if column not in allowed:
            raise ValueError(
                f"column {show(column)} unknown in {what}: use {either(allowed)}, or say with "
                "--recipe what it means"
            )


def _strength(margin: Any, left_out: Counter[str]) -> int | None:
    """Coach keeps a margin that is one of its three strengths; others are counted."""
    if margin is None:
        return None
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        wrong("margin", margin, "a number")
    if margin in (1, 2, 3):
        return int(margin)
    left_out["margin that is not 1, 2 or 3"] += 1
    return None


def _reply(column: str, value: Any, prompt: Any) -> str:
    """The text of a completion: a text, or the conversation's one turn after the prompt."""
    if value is None:
        raise ValueError(f"{column} is missing: write the text of the answer")
    if isinstance(value, list):
        value = _turns(column, value)
        asked = _turns("prompt", prompt) if isinstance(prompt, list) else [_user(prompt)]
        after = value[len(asked) :] if value[: len(asked)] == asked else value
        if len(after) != 1 or after[0]["role"] != "assistant":
            roles = ", ".join(turn["role"] for turn in after) or "nothing"
            raise ValueError(
                f"{column} holds {roles} after the prompt: it must be one turn of the assistant"
            )
        value = after[0]["content"]
    if not isinstance(value, str):
        wrong(column, value, "a text or a list of {role, content}")
    if not value.strip():
        raise ValueError(f"{column} {value!r} has no text: write it or leave the row out")
    return value


def _turns(column: str, value: Any) -> list[dict[str, str]]:
    """A conversation that holds nothing but roles and texts."""
    for turn in value:
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            wrong(f"turn of {column}", turn, "{role, content} with a text")
        if set(turn) != {"role", "content"}:
            extra = next((key for key in turn if key not in ("role", "content")), "no role")
            raise ValueError(f"{show(extra)} in a turn of {column} unknown: use role and content")
    return list(value)


def _user(text: Any) -> dict[str, str]:
    return {"role": "user", "content": text}


def _implicit(chosen: Any, rejected: Any) -> tuple[Any, Any, Any]:
    """(prompt, chosen, rejected) of two conversations that begin alike."""
    if isinstance(chosen, list) and isinstance(rejected, list):
        longest = min(len(chosen), len(rejected)) - 1  # the last turn of each is its answer
        shared = 0
        while shared < longest and chosen[shared] == rejected[shared]:
            shared += 1
        found: tuple[Any, Any, Any] = chosen[:shared], chosen[shared:], rejected[shared:]
    elif isinstance(chosen, str) and isinstance(rejected, str):
        found = _transcripts(chosen, rejected)
    else:
        column, odd = (
            ("rejected", rejected) if isinstance(chosen, str | list) else ("chosen", chosen)
        )
        wrong(column, odd, "a text or a list of {role, content}, like the other side")
    if not found[0]:
        raise ValueError("chosen and rejected begin differently: name what was asked in a prompt")
    return found


def _beginning(one: str, other: str) -> str:
    length = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        length += 1
    return one[:length]


_ANSWERS = "\n\nAssistant:"
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def _transcripts(chosen: str, rejected: str) -> tuple[Any, str, str]:
    """The same of two texts: cut where the last shared "Assistant:" ends, else between words."""
    shared = _beginning(chosen, rejected)
    cut = shared.rfind(_ANSWERS)
    if cut >= 0:
        before, *parts = _SPEAKER.split(chosen[:cut])
        roles = {"Human": "user", "Assistant": "assistant"}
        turns = [
            {"role": roles[who], "content": text.strip()}
            for who, text in zip(parts[::2], parts[1::2], strict=True)
        ]
        if before.strip():
            turns.insert(0, {"role": "system", "content": before.strip()})
        end = cut + len(_ANSWERS)
        return turns, chosen[end:].strip(), rejected[end:].strip()
    end = max(shared.rfind(" "), shared.rfind("\n")) + 1
    return shared[:end].strip(), chosen[end:].strip(), rejected[end:].strip()
