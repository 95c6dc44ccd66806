"""Data for supervised fine-tuning as demonstrations, and texts as documents.

messages           messages: [{role, content}, ...], as TRL has it: the last answer, after the rest
prompt-completion  prompt, completion, as TRL has it
sharegpt           conversations: [{from, value}, ...], system
alpaca             instruction, input, output, system, history
documents          text

A conversation is one demonstration: its last turn, the assistant's, of which the turns before are
the prompt. Answers before the last are kept there, and counted.
"""

from __future__ import annotations

from collections import Counter

from data.exchange.validation import show
from data.imports.shapes.lines import CONTENT_COLUMNS, check_columns
from data.imports.shapes.transcripts import check_no_template, template_mark
from data.imports.shapes.trl import read_answer, read_prompt
from data.imports.shapes.turns import read_turns
from data.schema import JsonObject

MESSAGES_COLUMNS = ("messages", "prompt", *CONTENT_COLUMNS)
COMPLETION_COLUMNS = ("prompt", "completion", *CONTENT_COLUMNS)
SHAREGPT_COLUMNS = ("conversations", "system", "id", *CONTENT_COLUMNS)
ALPACA_COLUMNS = (
    *("instruction", "input", "output", "system", "history", "text"),
    *CONTENT_COLUMNS,
)
DOCUMENT_COLUMNS = ("text", *CONTENT_COLUMNS)


def messages(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """A conversation; a prompt beside it must be what it begins with."""
    check_columns(row, "messages", MESSAGES_COLUMNS)
    turns = _read_conversation("messages", row.get("messages"))
    _check_prompt(row.get("prompt"), turns, left_out)
    return [_demonstrate("messages", turns, left_out) | _common(row)]


def prompt_completion(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """A prompt and its answer, as texts or conversations."""
    check_columns(row, "prompt and completion", COMPLETION_COLUMNS)
    prompt, in_transcript = read_prompt(row.get("prompt"), left_out)
    text = read_answer("completion", row.get("completion"), prompt, in_transcript, False)
    return [{"type": "demonstration", "prompt": prompt, "completion": text} | _common(row)]


def sharegpt(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """A conversation of {from, value}, or of {role, content}."""
    check_columns(row, "ShareGPT", SHAREGPT_COLUMNS)
    turns = _read_conversation("conversations", row.get("conversations"))
    turns = [*_system_turn(row.get("system")), *turns]
    named = {} if row.get("id") is None else {"external_id": str(row["id"])}
    return [_demonstrate("conversations", turns, left_out) | named | _common(row)]


def alpaca(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """An instruction with its input below it, and the output."""
    check_columns(row, "Alpaca", ALPACA_COLUMNS)
    left_out["text of Alpaca's template, which says the same: left out"] += bool(row.get("text"))
    parts = [row.get("instruction"), row.get("input")]
    for part in parts:
        if part is not None and not isinstance(part, str):
            raise ValueError(f"instruction or input {show(part)} not allowed: use a text")
    asked = "\n\n".join(part for part in parts if isinstance(part, str) and part.strip())
    before = [*_system_turn(row.get("system")), *_read_history(row.get("history"))]
    prompt: object = [*before, {"role": "user", "content": asked}]
    in_transcript = False
    if not before:
        prompt, in_transcript = read_prompt(asked, left_out)
    text = read_answer("output", row.get("output"), asked, in_transcript, False)
    return [{"type": "demonstration", "prompt": prompt, "completion": text} | _common(row)]


def documents(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """A text for continued pretraining."""
    check_columns(row, "documents", DOCUMENT_COLUMNS)
    text = row.get("text")
    left_out["text in a model's chat template: kept as a text with its marks"] += bool(
        isinstance(text, str) and template_mark(text)
    )
    return [{"type": "document"} | row]


def _read_conversation(column: str, value: object) -> list[JsonObject]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{column} {show(value)} not allowed: use a list of {{role, content}}")
    return read_turns(column, value)


def _demonstrate(column: str, turns: list[JsonObject], left_out: Counter[str]) -> JsonObject:
    """The last answer of a conversation; without one, the prompt that waits for it."""
    *before, last = turns
    if last["role"] == "user":
        left_out[f"{column} that end with the user's turn: read as a prompt"] += 1
        return {"type": "prompt", "prompt": turns}
    if last["role"] != "assistant" or not before:
        raise ValueError(
            f"{column} hold {', '.join(str(turn['role']) for turn in turns)}: they must end with "
            "a turn whose role is user and one of role assistant, the answer"
        )
    answers = sum(1 for turn in before if turn["role"] == "assistant")
    left_out["answer before the last one: kept in the prompt"] += answers
    check_no_template(f"the answer of {column}", str(last["content"]))
    return {"type": "demonstration", "prompt": before, "completion": last["content"]}


def _check_prompt(prompt: object, turns: list[JsonObject], left_out: Counter[str]) -> None:
    """Leave out a prompt that repeats what the messages begin with; refuse any other."""
    if prompt is None:
        return
    asked = read_turns("prompt", prompt) if isinstance(prompt, list) else None
    first = next((turn["content"] for turn in turns if turn["role"] == "user"), None)
    if asked != turns[: len(asked or ())] or not asked:
        if not (isinstance(prompt, str) and isinstance(first, str)):
            raise ValueError("prompt is not what messages begin with: leave one of the two out")
        if prompt.strip() != first.strip():
            raise ValueError(
                f"prompt {show(prompt)} is not what messages begin with: leave one of the two out "
                "(--columns prompt=)"
            )
    left_out["prompt that messages begin with: left out"] += 1


def _system_turn(text: object) -> list[JsonObject]:
    if text is None or text == "":
        return []
    if not isinstance(text, str):
        raise ValueError(f"system {show(text)} not allowed: use a text")
    return [{"role": "system", "content": text}]


def _read_history(value: object) -> list[JsonObject]:
    """Earlier turns as LLaMA-Factory writes them: [[question, answer], ...]."""
    pairs = [] if value is None else value
    if not isinstance(pairs, list):
        raise ValueError(f"history {show(value)} not allowed: use a list of [question, answer]")
    turns: list[JsonObject] = []
    for pair in pairs:
        if not (isinstance(pair, list) and list(map(type, pair)) == [str, str]):
            raise ValueError(f"history {show(pair)} not allowed: use [question, answer], two texts")
        turns += [{"role": "user", "content": pair[0]}, {"role": "assistant", "content": pair[1]}]
    return turns


def _common(row: JsonObject) -> JsonObject:
    return {column: row[column] for column in CONTENT_COLUMNS if row.get(column) is not None}
