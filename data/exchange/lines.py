"""One line of the exchange format: to a noun, and back. Pure; every refusal names its remedy.

{"type": "prompt", "prompt": "text" | [{"role", "content"}...], "tags": [...]}
{"type": "demonstration", "prompt": ..., "completion": "text"}
{"type": "document", "text": "..."}
{"type": "completion", "prompt": ..., "completion": "text", "model": "name", "sampling": {...}}
{"type": "judgement", "kind": "binary",   "prompt": ..., "completion": ..., "value": true, ...}
{"type": "judgement", "kind": "scalar",   "prompt": ..., "completion": ..., "value": 7, ...}
{"type": "judgement", "kind": "pairwise", "prompt": ..., "completion_a": ...,
 "completion_b": ..., "value": "a" | "b" | "tie", "annotator": "ann", ...}
{"type": "gold", "kind": ..., "prompt": ..., "completion": ..., "value": ...}  (a known answer)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from data.exchange.validation import either, read_json, show, wrong
from data.schema import (
    FLAGS,
    KINDS,
    PURPOSES,
    Answer,
    Completion,
    Demonstration,
    Document,
    Generation,
    Gold,
    Kind,
    Prompt,
    Purpose,
    Record,
    Task,
    check_answer,
    make_prompt,
    parse_timestamp,
)

TYPES = ("prompt", "demonstration", "document", "completion", "judgement", "gold")
_EVERY = ("type", "created_at", "external_id")
_JUDGED = (
    *("kind", "prompt", "value", "annotator"),
    *("comment", "flags", "seconds", "guidelines_version", "purpose"),
)
_SINGLE = (*_EVERY, *_JUDGED, "retracted_at", "completion", "finished", "model")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "prompt": (*_EVERY, "prompt", "tags"),
    "demonstration": (*_EVERY, "prompt", "completion"),
    "document": (*_EVERY, "text"),
    "completion": (*_EVERY, "prompt", "completion", "model", "sampling", "finished"),
    "binary": _SINGLE,
    "scalar": _SINGLE,
    "pairwise": (
        *(*_EVERY, *_JUDGED, "retracted_at", "completion_a", "completion_b"),
        *("strength", "both_bad", "shown_first", "finished_a", "finished_b", "model_a", "model_b"),
    ),
}
_GOLD = ("type", "kind", "prompt", "value", "created_at", "retired_at")
GOLD_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "binary": (*_GOLD, "completion", "finished"),
    "scalar": (*_GOLD, "completion", "finished"),
    "pairwise": (*_GOLD, "completion_a", "completion_b", "finished_a", "finished_b"),
}
LONGEST_MODEL, LARGEST_SAMPLING = 800, 1800
"""Bytes of a model's name, and of its settings."""
Noun = Prompt | Demonstration | Document | Completion | Generation | Record | Gold


@dataclass(frozen=True)
class Line:
    """What one line says."""

    type: str
    noun: Noun
    credits: tuple[Generation, ...] = ()
    """Which models a judgement's line says wrote its completions."""


class Reader:
    """Reads lines; equal prompts and completions become the same object, hashed once."""

    def __init__(self) -> None:
        self._prompts: dict[Prompt, Prompt] = {}
        self._completions: dict[tuple[str, str, bool], Completion] = {}
        self._read: Mapping[str, Callable[[dict[str, Any]], Line]] = {
            "prompt": self._prompt_line,
            "demonstration": self._demonstration,
            "document": self._document,
            "completion": self._completion_line,
            "judgement": self._judgement,
            "gold": self._gold,
        }

    def read(self, raw: bytes) -> Line:
        """The noun of one line. Raises ValueError with the reason and the remedy."""
        return self.read_row(parse(raw))

    def read_row(self, row: dict[str, Any]) -> Line:
        """The same of a line that is parsed."""
        kind = row.get("type")
        if not isinstance(kind, str) or kind not in TYPES:
            raise ValueError(f"type {show(kind)} unknown: use {either(TYPES)}")
        return self._read[kind](row)

    def _prompt_line(self, row: dict[str, Any]) -> Line:
        _only(row, "prompt")
        tags = row.get("tags")
        if tags is not None and not (isinstance(tags, list) and all(map(_is_text, tags))):
            wrong("tags", tags, 'a list of texts, like ["advice"]')
        asked = self._prompt(row)
        noun = Prompt(
            asked.messages,
            tuple(_clean("tags", tag) for tag in tags or ()),
            _text(row, "external_id"),
            _moment(row, "created_at"),
        )
        return Line("prompt", noun)

    def _demonstration(self, row: dict[str, Any]) -> Line:
        _only(row, "demonstration")
        text, prompt = _needed(row, "completion"), self._prompt(row)
        external_id, moment = _text(row, "external_id"), _moment(row, "created_at")
        return Line("demonstration", Demonstration(prompt, text, external_id, moment))

    def _document(self, row: dict[str, Any]) -> Line:
        _only(row, "document")
        moment = _moment(row, "created_at")
        return Line("document", Document(_needed(row, "text"), _text(row, "external_id"), moment))

    def _completion_line(self, row: dict[str, Any]) -> Line:
        _only(row, "completion")
        moment, model = _moment(row, "created_at"), _model(row, "model")
        completion = Completion(
            self._prompt(row),
            _needed(row, "completion"),
            _flag(row, "finished", True),
            _text(row, "external_id"),
            moment,
        )
        sampling = row.get("sampling")
        if sampling is not None and not isinstance(sampling, dict):
            wrong("sampling", sampling, 'an object, like {"temperature": 1.0}')
        if sampling and model is None:
            raise ValueError("sampling goes with a model: name the model or leave sampling out")
        if model is None:
            return Line("completion", completion)
        return Line("completion", Generation(completion, model, _settings(sampling), moment))

    def _gold(self, row: dict[str, Any]) -> Line:
        kind = _kind(row)
        _only(row, kind, GOLD_COLUMNS)
        known = Gold(
            self._task(row, kind),
            _value(kind, row),
            _moment(row, "created_at"),
            _moment(row, "retired_at"),
        )
        return Line("gold", known)

    def _task(self, row: dict[str, Any], kind: Kind) -> Task:
        """What is asked, with nothing wanted of it."""
        sides = ("_a", "_b") if kind == "pairwise" else ("",)
        prompt = self._prompt(row)
        shown = [self._judged(row, prompt, side) for side in sides]
        return Task(kind, shown[0], shown[1] if len(shown) > 1 else None, wanted=0)

    def _judgement(self, row: dict[str, Any]) -> Line:
        kind = _kind(row)
        _only(row, kind)
        task = self._task(row, kind)
        answer = check_answer(
            kind,
            Answer(
                _value(kind, row),
                _strength(row),
                _flag(row, "both_bad", None),
                _text(row, "comment"),
                _seconds(row),
                _flags(row),
            ),
        )
        record = Record(
            task=task,
            annotator=_annotator(row),
            answer=answer,
            shown_first=_side(row),
            guidelines_version=_version(row),
            external_id=_text(row, "external_id"),
            created_at=_moment(row, "created_at"),
            retracted_at=_moment(row, "retracted_at"),
            purpose=_purpose(row),
        )
        shown = {"": task.a} if task.b is None else {"_a": task.a, "_b": task.b}
        models = ((_model(row, "model" + side), c) for side, c in shown.items())
        credits = tuple(Generation(c, model) for model, c in models if model is not None)
        return Line("judgement", record, credits)

    def _prompt(self, row: dict[str, Any]) -> Prompt:
        """The prompt of a line; its text is checked like any other."""
        if row.get("prompt") is None:
            raise ValueError('prompt is missing: write "prompt": "the question"')
        made = make_prompt(row["prompt"])
        known = self._prompts.get(made)
        if known is None:
            for message in made.messages:
                _clean("prompt", message.content)
            known = self._prompts[made] = made
        if isinstance(row["prompt"], list):
            for turn in row["prompt"]:
                if len(turn) > 2:
                    extra = next(k for k in turn if k not in ("role", "content"))
                    raise ValueError(f"{extra!r} in a turn of prompt unknown: use role and content")
        return known

    def _judged(self, row: dict[str, Any], prompt: Prompt, side: str) -> Completion:
        text, finished = _needed(row, "completion" + side), _flag(row, "finished" + side, True)
        key = (prompt.id, text, bool(finished))
        if key not in self._completions:
            self._completions[key] = Completion(prompt, text, bool(finished))
        return self._completions[key]


def spell(noun: Noun) -> dict[str, Any]:
    """The one line that says this noun; what is at its default is left out."""
    if isinstance(noun, Prompt):
        row = {"type": "prompt", "prompt": noun.plain(), "tags": list(noun.tags) or None}
    elif isinstance(noun, Demonstration):
        row = {"type": "demonstration", "prompt": noun.prompt.plain(), "completion": noun.text}
    elif isinstance(noun, Document):
        row = {"type": "document", "text": noun.text}
    elif isinstance(noun, Record):
        row = _spell_judgement(noun)
    elif isinstance(noun, Gold):
        row = {"type": "gold"} | _spell_task(noun.task) | {"value": _spell_value(noun)}
    else:
        row = _spell_completion(noun)
    if not isinstance(noun, Gold):
        source = noun.completion if isinstance(noun, Generation) else noun
        row["external_id"] = source.external_id
    row["created_at"] = noun.created_at
    if isinstance(noun, Record):
        row["retracted_at"] = noun.retracted_at
    if isinstance(noun, Gold):
        row["retired_at"] = noun.retired_at
    return {key: value for key, value in row.items() if value is not None}


def _spell_completion(noun: Completion | Generation) -> dict[str, Any]:
    made = noun.completion if isinstance(noun, Generation) else noun
    row: dict[str, Any] = {
        "type": "completion",
        "prompt": made.prompt.plain(),
        "completion": made.text,
        "finished": None if made.finished else False,
    }
    if isinstance(noun, Generation):
        row |= {"model": noun.model, "sampling": dict(noun.sampling) or None}
    return row


def _spell_task(task: Task) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": task.kind, "prompt": task.a.prompt.plain()}
    sides = {"": task.a} if task.b is None else {"_a": task.a, "_b": task.b}
    for side, completion in sides.items():
        row["completion" + side] = completion.text
        row["finished" + side] = None if completion.finished else False
    return row


def _spell_value(noun: Gold | Record) -> Any:
    value = noun.value if isinstance(noun, Gold) else noun.answer.value
    if noun.task.kind == "binary":
        return value == "good"
    return int(value) if noun.task.kind == "scalar" else value


def _spell_judgement(record: Record) -> dict[str, Any]:
    answer = record.answer
    return (
        {"type": "judgement"}
        | _spell_task(record.task)
        | {
            "value": _spell_value(record),
            "strength": answer.strength,
            "both_bad": answer.both_bad,
            "shown_first": record.shown_first,
            "annotator": record.annotator,
            "comment": answer.comment,
            "flags": list(answer.flags) or None,
            "seconds": answer.seconds,
            "guidelines_version": record.guidelines_version,
            "purpose": None if record.purpose == "queue" else record.purpose,
        }
    )


def parse(raw: bytes) -> dict[str, Any]:
    """The object that a line of JSON holds. Raises ValueError with the reason and the remedy."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 (byte {raw[error.start]:#04x}): save the file as UTF-8"
        ) from None
    try:
        row = read_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"not JSON ({error.msg} at character {error.pos + 1}): write one JSON object a line"
        ) from None
    if not isinstance(row, dict):
        raise ValueError(f"{show(row)} is not an object: write {{...}} with a type")
    return row


def _kind(row: Mapping[str, Any]) -> Kind:
    kind = row.get("kind")
    for known in KINDS:
        if kind == known:
            return known
    raise ValueError(f"kind {show(kind)} unknown: use {either(KINDS)}")


def _purpose(row: Mapping[str, Any]) -> Purpose:
    """Why it was asked."""
    purpose = row.get("purpose")
    for known in PURPOSES:
        if purpose == known or purpose is None:
            return known
    wrong("purpose", purpose, either(PURPOSES))


def _only(
    row: Mapping[str, Any], what: str, columns: Mapping[str, tuple[str, ...]] = COLUMNS
) -> None:
    allowed = columns[what]
    for column in row:
        if column not in allowed:
            line = f"{what} judgement" if what in KINDS else what
            raise ValueError(f"column {show(column)} unknown in a {line}: use {either(allowed)}")


def _needed(row: Mapping[str, Any], column: str) -> str:
    """A text that must be there and say something."""
    value = _text(row, column)
    if value is None:
        raise ValueError(f'{column} is missing: write "{column}": "text"')
    if not value.strip():
        raise ValueError(f"{column} {value!r} has no text: write it or leave the line out")
    return value


def _text(row: Mapping[str, Any], column: str) -> str | None:
    value = row.get(column)
    if value is not None and not _is_text(value):
        wrong(column, value, "a text")
    return None if value is None else _clean(column, value)


def _model(row: Mapping[str, Any], column: str) -> str | None:
    """A model's name; none is none, and not an empty text."""
    name = None if row.get(column) is None else _needed(row, column)
    if name is not None:
        _short_enough(column, name, LONGEST_MODEL)
    return name


def _settings(sampling: dict[str, Any] | None) -> dict[str, Any]:
    """Sampling settings, if every database can keep them and an export can spell them."""
    try:
        text = json.dumps(sampling or {}, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError):
        wrong("sampling", sampling, "texts, numbers, true, false, lists and objects of these")
    _short_enough("sampling", _clean("sampling", text), LARGEST_SAMPLING)
    return sampling or {}


def _short_enough(column: str, text: str, most: int) -> None:
    """Together a model's name and its settings must fit a row of PostgreSQL's index."""
    size = len(text.encode())
    if size > most:
        raise ValueError(f"{column} of {size:,} bytes is too long: use at most {most:,}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _clean(column: str, text: str) -> str:
    """The text itself if every database can keep it."""
    if "\x00" in text:
        raise ValueError(f"{column} holds a NUL character (\\u0000): remove it")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{column} holds half a character ({text[error.start]!a}): remove it"
        ) from None
    return text


def _flag(row: Mapping[str, Any], column: str, default: Any) -> Any:
    value = row.get(column)
    if value is None:
        return default
    if not isinstance(value, bool):
        wrong(column, value, "true or false")
    return value


def _value(kind: str, row: Mapping[str, Any]) -> str:
    """The stored spelling of a judgement's value."""
    if row.get("value") is None:
        raise ValueError(f"value is missing: a {kind} judgement takes {_ALLOWED[kind]}")
    value = row["value"]
    if kind == "binary" and isinstance(value, bool):
        return "good" if value else "bad"
    if kind == "scalar" and type(value) is int and 1 <= value <= 10:
        return str(value)
    if kind == "pairwise" and value in ("a", "b", "tie"):
        return str(value)
    wrong(f"{kind} value", value, _ALLOWED[kind])


_ALLOWED = {
    "binary": "true or false",
    "scalar": "a whole number from 1 to 10",
    "pairwise": '"a", "b" or "tie"',
}


def _strength(row: Mapping[str, Any]) -> int | None:
    value = row.get("strength")
    if value is not None and not (type(value) is int and 1 <= value <= 3):
        wrong("strength", value, "1 slightly, 2 clearly or 3 much better")
    return value


def _side(row: Mapping[str, Any]) -> str | None:
    value = row.get("shown_first")
    if value is not None and not (_is_text(value) and value in ("a", "b")):
        wrong("shown_first", value, '"a" or "b"')
    return value


def _flags(row: Mapping[str, Any]) -> tuple[str, ...]:
    value = row.get("flags")
    if value is None:
        return ()
    if not (isinstance(value, list) and all(map(_is_text, value))):
        wrong("flags", value, f"a list of {either(FLAGS)}")
    return tuple(value)


def _seconds(row: Mapping[str, Any]) -> float | None:
    value = row.get("seconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        wrong("seconds", value, "a number of seconds, 0 or more")
    return float(value)


def _version(row: Mapping[str, Any]) -> int | None:
    value = row.get("guidelines_version")
    if value is not None and not (type(value) is int and 1 <= value < 2**31):
        wrong("guidelines_version", value, "a whole number, 1 or more")
    return value


def _annotator(row: Mapping[str, Any]) -> str:
    name = _needed(row, "annotator").strip()
    if len(name) > 80:
        wrong("annotator", name, "a name of 1 to 80 characters")
    return name


def _moment(row: Mapping[str, Any], column: str) -> str | None:
    value = row.get(column)
    if value is None:
        return None
    try:
        return parse_timestamp(value)
    except (ValueError, OverflowError):
        wrong(column, value, "ISO 8601, like 2026-01-31T12:00:00Z")
