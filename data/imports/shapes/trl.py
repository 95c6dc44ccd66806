"""Rows of TRL's data sets as lines of the exchange format.

TRL preference   prompt, chosen, rejected, margin: a comparison that `chosen` won. Without a prompt,
                 it is what the two begin with. A margin of 1, 2 or 3 is kept as the strength.
TRL unpaired     prompt, completion, label: good or bad.
TRL prompts      prompt, tags.

Texts, or lists of {role, content}. All may also say annotator, comment, created_at, external_id.
A column that a shape does not have is refused, so that nothing gets lost unnoticed.
"""

from __future__ import annotations

from collections import Counter

from data.exchange.validation import refuse, show
from data.imports.shapes.lines import COMMON_COLUMNS, CONTENT_COLUMNS, check_columns
from data.imports.shapes.transcripts import (
    check_no_template,
    check_no_turns,
    check_one_turn,
    read_open_transcript,
    read_transcript,
)
from data.imports.shapes.turns import completion_text, count_shared, read_turns
from data.schema import JsonObject

PREFERENCE_COLUMNS = ("prompt", "chosen", "rejected", "margin", *COMMON_COLUMNS)
UNPAIRED_COLUMNS = ("prompt", "completion", "label", *COMMON_COLUMNS)
PROMPT_COLUMNS = ("prompt", "tags", *CONTENT_COLUMNS)


def preference(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """A comparison; the prompt may be what both sides begin with."""
    check_columns(row, "TRL preference", PREFERENCE_COLUMNS)
    prompt, chosen, rejected = row.get("prompt"), row.get("chosen"), row.get("rejected")
    if prompt is None:
        prompt, chosen, rejected = _split_off_prompt(chosen, rejected, left_out)
    asked, in_transcript = read_prompt(prompt, left_out)
    better = read_answer("chosen", chosen, asked, in_transcript)
    worse = read_answer("rejected", rejected, asked, in_transcript)
    if better == worse:
        raise ValueError(f"chosen and rejected both say {show(better)}: leave the row out")
    said = {
        **{"type": "judgement", "kind": "pairwise", "prompt": asked, "value": "a"},
        **{"completion_a": better, "completion_b": worse},
        "strength": _strength_of_margin(row.get("margin"), left_out),
    }
    return [said | {column: row.get(column) for column in COMMON_COLUMNS}]


def unpaired(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """One completion that was found good or bad."""
    check_columns(row, "TRL unpaired preference", UNPAIRED_COLUMNS)
    label = row.get("label")
    if label is None or not (isinstance(label, bool) or label in (0, 1)):
        refuse("label", label, "true or false")
    prompt, in_transcript = read_prompt(row.get("prompt"), left_out)
    said = {
        **{"type": "judgement", "kind": "binary", "prompt": prompt, "value": bool(label)},
        "completion": read_answer("completion", row.get("completion"), prompt, in_transcript),
    }
    return [said | {column: row.get(column) for column in COMMON_COLUMNS}]


def prompt_only(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """A prompt to sample answers to."""
    check_columns(row, "TRL prompts", PROMPT_COLUMNS)
    prompt, _ = read_prompt(row.get("prompt"), left_out)
    return [{"type": "prompt"} | row | {"prompt": prompt}]


def read_prompt(prompt: object, left_out: Counter[str]) -> tuple[object, bool]:
    """A prompt, and whether it was a transcript that waits for an answer: it is turns then."""
    if isinstance(prompt, list):
        return read_turns("prompt", prompt), False
    if not isinstance(prompt, str):
        return prompt, False
    turns = read_open_transcript(prompt)
    if turns is None:
        check_no_template("prompt", prompt)
        return prompt, False
    left_out["prompt spelled as a transcript: read as turns"] += 1
    return turns, True


def read_answer(
    column: str, value: object, prompt: object, in_transcript: bool, may_be_empty: bool = True
) -> str:
    """The one turn that answers a prompt from `read_prompt`."""
    text = completion_text(column, value, prompt, may_be_empty)
    if isinstance(value, str):
        check_one_turn(column, text, in_transcript)
        return text.strip() if in_transcript else text
    return text


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


def _split_off_prompt(
    chosen: object, rejected: object, left_out: Counter[str]
) -> tuple[object, object, object]:
    """(prompt, chosen, rejected) of two conversations, or two texts, that begin alike."""
    found: tuple[object, object, object]
    if isinstance(chosen, list) and isinstance(rejected, list):
        found = _split_turns(read_turns("chosen", chosen), read_turns("rejected", rejected))
    elif isinstance(chosen, str) and isinstance(rejected, str):
        found = _split_texts(chosen, rejected, left_out)
    else:
        odd = ("rejected", rejected) if isinstance(chosen, str | list) else ("chosen", chosen)
        refuse(*odd, "a text or a list of {role, content}, like the other side")
    if not found[0]:
        raise ValueError("chosen and rejected begin differently: name what was asked in a prompt")
    return found


def _split_turns(
    chosen: list[JsonObject], rejected: list[JsonObject]
) -> tuple[list[JsonObject], list[JsonObject], list[JsonObject]]:
    shared = count_shared(chosen[:-1], rejected[:-1])  # the last turn of each is its answer
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _split_texts(
    chosen: str, rejected: str, left_out: Counter[str]
) -> tuple[object, object, object]:
    """The same of two texts: as the transcripts that they are, else cut between words, as TRL's
    `extract_prompt` does, which is told."""
    better, worse = read_transcript(chosen), read_transcript(rejected)
    if better and worse:
        return _split_turns(better, worse)
    check_no_turns(chosen, rejected)
    shared = chosen[: count_shared(chosen, rejected)]
    end = max(shared.rfind(" "), shared.rfind("\n")) + 1
    left_out["prompt that no column holds: the words that both texts begin with"] += bool(end)
    return chosen[:end].strip(), chosen[end:].strip(), rejected[end:].strip()
