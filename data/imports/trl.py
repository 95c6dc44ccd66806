"""Rows of TRL's data sets as lines of the exchange format.

TRL preference   prompt, chosen, rejected, margin: a comparison that `chosen` won. Without a prompt,
                 it is what the two begin with. A margin of 1, 2 or 3 is kept as the strength.
TRL unpaired     prompt, completion, label: good or bad.
TRL prompts      prompt, tags.

Texts, or lists of {role, content}. All may also say annotator, comment, created_at, external_id.
A column that a shape does not have is refused, so that nothing gets lost unnoticed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from data.exchange.validation import JsonObject, either, refuse, show

Convert = Callable[[JsonObject, Counter[str]], Iterable[JsonObject]]
"""A row, and where to count what is left out, to lines of the exchange format."""
COMMON_COLUMNS = ("annotator", "comment", "created_at", "external_id")
PREFERENCE_COLUMNS = ("prompt", "chosen", "rejected", "margin", *COMMON_COLUMNS)
UNPAIRED_COLUMNS = ("prompt", "completion", "label", *COMMON_COLUMNS)
PROMPT_COLUMNS = ("prompt", "tags", "created_at", "external_id")


def preference(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """A comparison; the prompt may be what both sides begin with."""
    _check_columns(row, "TRL preference", PREFERENCE_COLUMNS)
    prompt, chosen, rejected = row.get("prompt"), row.get("chosen"), row.get("rejected")
    if prompt is None:
        prompt, chosen, rejected = _split_off_prompt(chosen, rejected)
    better = _completion_text("chosen", chosen, prompt)
    worse = _completion_text("rejected", rejected, prompt)
    if better == worse:
        raise ValueError(f"chosen and rejected both say {show(better)}: leave the row out")
    said = {
        **{"type": "judgement", "kind": "pairwise", "prompt": prompt, "value": "a"},
        **{"completion_a": better, "completion_b": worse},
        "strength": _strength_of_margin(row.get("margin"), left_out),
    }
    return [said | {column: row.get(column) for column in COMMON_COLUMNS}]


def unpaired(row: JsonObject, _: Counter[str]) -> list[JsonObject]:
    """One completion that was found good or bad."""
    _check_columns(row, "TRL unpaired preference", UNPAIRED_COLUMNS)
    label, prompt = row.get("label"), row.get("prompt")
    if label is None or not (isinstance(label, bool) or label in (0, 1)):
        refuse("label", label, "true or false")
    said = {
        **{"type": "judgement", "kind": "binary", "prompt": prompt, "value": bool(label)},
        "completion": _completion_text("completion", row.get("completion"), prompt),
    }
    return [said | {column: row.get(column) for column in COMMON_COLUMNS}]


def prompt_only(row: JsonObject, _: Counter[str]) -> list[JsonObject]:
    """A prompt to sample answers to."""
    _check_columns(row, "TRL prompts", PROMPT_COLUMNS)
    return [{"type": "prompt"} | row]


def _check_columns(row: JsonObject, what: str, allowed: tuple[str, ...]) -> None:
    for column in row:
        if column not in allowed:
            raise ValueError(
                f"column {show(column)} unknown in {what}: use {either(allowed)}, or leave it out "
                f"with --columns {column}="
            )


def _strength_of_margin(margin: object, left_out: Counter[str]) -> int | None:
    """Coach keeps a margin that is one of its three strengths; others are counted."""
    if margin is None:
        return None
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        refuse("margin", margin, "a number")
    if margin in (1, 2, 3):
        return int(margin)
    left_out["margin that is not 1, 2 or 3"] += 1
    return None


def _completion_text(column: str, value: object, prompt: object) -> str:
    """The text of a completion: a text, or the conversation's one turn after the prompt."""
    if value is None:
        raise ValueError(f"{column} is missing: write the text of the answer")
    if isinstance(value, list):
        turns = _check_turns(column, value)
        plain: list[JsonObject] = [{"role": "user", "content": prompt}]
        asked = _check_turns("prompt", prompt) if isinstance(prompt, list) else plain
        after = turns[len(asked) :] if turns[: len(asked)] == asked else turns
        if len(after) != 1 or after[0]["role"] != "assistant":
            roles = ", ".join(str(turn["role"]) for turn in after) or "nothing"
            raise ValueError(
                f"{column} holds {roles} after the prompt: it must be one turn of the assistant"
            )
        value = after[0]["content"]
    if not isinstance(value, str):
        refuse(column, value, "a text or a list of {role, content}")
    if not value.strip():
        raise ValueError(f"{column} {value!r} has no text: write it or leave the row out")
    return value


def _check_turns(column: str, value: list[JsonObject]) -> list[JsonObject]:
    """A conversation that holds nothing but roles and texts."""
    for turn in value:
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            refuse(f"turn of {column}", turn, "{role, content} with a text")
        if set(turn) != {"role", "content"}:
            extra = next((key for key in turn if key not in ("role", "content")), "no role")
            raise ValueError(f"{show(extra)} in a turn of {column} unknown: use role and content")
    return list(value)


def _split_off_prompt(chosen: object, rejected: object) -> tuple[object, object, object]:
    """(prompt, chosen, rejected) of two conversations, or two texts, that begin alike."""
    found: tuple[object, object, object]
    if isinstance(chosen, list) and isinstance(rejected, list):
        longest = min(len(chosen), len(rejected)) - 1  # the last turn of each is its answer
        shared = 0
        while shared < longest and chosen[shared] == rejected[shared]:
            shared += 1
        found = chosen[:shared], chosen[shared:], rejected[shared:]
    elif isinstance(chosen, str) and isinstance(rejected, str):
        found = _split_texts(chosen, rejected)
    else:
        odd = ("rejected", rejected) if isinstance(chosen, str | list) else ("chosen", chosen)
        refuse(*odd, "a text or a list of {role, content}, like the other side")
    if not found[0]:
        raise ValueError("chosen and rejected begin differently: name what was asked in a prompt")
    return found


_ASSISTANT = "\n\nAssistant:"
_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def _split_texts(chosen: str, rejected: str) -> tuple[object, str, str]:
    """The same of two texts: cut where the last shared "Assistant:" ends, else between words."""
    pairs = enumerate(zip(chosen, rejected, strict=False))
    length = next((n for n, (one, other) in pairs if one != other), min(len(chosen), len(rejected)))
    shared = chosen[:length]
    cut = shared.rfind(_ASSISTANT)
    if cut >= 0:
        before, *parts = _SPEAKER.split(chosen[:cut])
        roles = {"Human": "user", "Assistant": "assistant"}
        turns = [
            {"role": roles[who], "content": text.strip()}
            for who, text in zip(parts[::2], parts[1::2], strict=True)
        ]
        if before.strip():
            turns.insert(0, {"role": "system", "content": before.strip()})
        end = cut + len(_ASSISTANT)
        return turns, chosen[end:].strip(), rejected[end:].strip()
    end = max(shared.rfind(" "), shared.rfind("\n")) + 1
    return shared[:end].strip(), chosen[end:].strip(), rejected[end:].strip()
