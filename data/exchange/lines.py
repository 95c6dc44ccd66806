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

`data.exchange.models` lists all columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from data.exchange import models
from data.schema import (
    Answer,
    Completion,
    Demonstration,
    Document,
    Generation,
    Gold,
    JsonObject,
    Prompt,
    Record,
    Task,
    check_answer,
)

ExchangeItem = Prompt | Demonstration | Document | Completion | Generation | Record | Gold


@dataclass(frozen=True)
class Line:
    type: str
    noun: ExchangeItem
    credits: tuple[Generation, ...] = ()
    """Which models a judgement's line says wrote its completions."""


class LineReader:
    """Reads lines; equal prompts and completions become the same object, hashed once."""

    def __init__(self) -> None:
        self._prompts: dict[Prompt, Prompt] = {}
        self._completions: dict[tuple[str, str, bool], Completion] = {}

    def read_row(self, row: JsonObject) -> Line:
        """The noun of one parsed line. Raises ValueError with the reason and the remedy."""
        line = models.validate(row)
        if isinstance(line, models.AnyJudgement):
            return self._read_judgement(line)
        return Line(line.type, self._read_noun(line))

    def _read_noun(self, line: models.AnyContent | models.AnyGold) -> ExchangeItem:
        if isinstance(line, models.DocumentLine):
            return Document(line.text, line.external_id, line.created_at)
        prompt = self._prompts.setdefault(line.prompt, line.prompt)
        if isinstance(line, models.PromptLine):
            tags = tuple(line.tags or ())
            return Prompt(prompt.messages, tags, line.external_id, line.created_at)
        if isinstance(line, models.DemonstrationLine):
            return Demonstration(prompt, line.completion, line.external_id, line.created_at)
        if isinstance(line, models.CompletionLine):
            finished = line.finished is not False
            made = Completion(prompt, line.completion, finished, line.external_id, line.created_at)
            if line.model is None:
                return made
            return Generation(made, line.model, line.sampling or {}, line.created_at)
        value = _stored_value(line.value)
        return Gold(self._read_task(line), value, line.created_at, line.retired_at)

    def _read_judgement(self, line: models.AnyJudgement) -> Line:
        task = self._read_task(line)
        pair = line if isinstance(line, models.PairwiseJudgement) else None
        answer = Answer(
            _stored_value(line.value),
            strength=pair.strength if pair else None,
            both_bad=pair.both_bad if pair else None,
            comment=line.comment,
            seconds=line.seconds,
            flags=tuple(line.flags or ()),
            original=line.original if isinstance(line, models.ScalarJudgement) else None,
        )
        record = Record(
            task=task,
            annotator=line.annotator,
            answer=check_answer(line.kind, answer),
            shown_first=pair.shown_first if pair else None,
            guidelines_version=line.guidelines_version,
            external_id=line.external_id,
            created_at=line.created_at,
            retracted_at=line.retracted_at,
            purpose=line.purpose or "queue",
        )
        if isinstance(line, models.PairwiseJudgement):
            named = [(task.a, line.model_a), (task.b or task.a, line.model_b)]
        else:
            named = [(task.a, line.model)]
        credits = tuple(Generation(c, model) for c, model in named if model is not None)
        return Line("judgement", record, credits)

    def _read_task(self, line: models.AnyJudgement | models.AnyGold) -> Task:
        """What is asked, with nothing wanted of it: it was answered elsewhere."""
        prompt = self._prompts.setdefault(line.prompt, line.prompt)
        if isinstance(line, models.PairwiseAnswer):
            a = self._shared_completion(prompt, line.completion_a, line.finished_a)
            b = self._shared_completion(prompt, line.completion_b, line.finished_b)
            return Task("pairwise", a, b, wanted=0)
        a = self._shared_completion(prompt, line.completion, line.finished)
        return Task(line.kind, a, wanted=0)

    def _shared_completion(self, prompt: Prompt, text: str, finished: bool | None) -> Completion:
        key = (prompt.id, text, finished is not False)
        if key not in self._completions:
            self._completions[key] = Completion(prompt, text, finished is not False)
        return self._completions[key]


def completions_of(noun: ExchangeItem) -> list[Completion]:
    """What models wrote, of all that a noun says."""
    if isinstance(noun, Record | Gold):
        return list(noun.task.sides)
    if isinstance(noun, Generation):
        return [noun.completion]
    return [noun] if isinstance(noun, Completion) else []


def _stored_value(value: bool | int | str) -> str:
    """The store's spelling of an answer."""
    return ("good" if value else "bad") if isinstance(value, bool) else str(value)


def to_line(noun: ExchangeItem) -> JsonObject:
    """The one line that says this noun; what is at its default is left out.

    The order of columns is part of the format: exports of equal stores are equal bytes.
    """
    row: JsonObject
    if isinstance(noun, Record | Gold):
        row = _spell_judged(noun)
    elif isinstance(noun, Prompt):
        row = {"type": "prompt", "prompt": noun.plain(), "tags": list(noun.tags) or None}
    elif isinstance(noun, Demonstration):
        row = {"type": "demonstration", "prompt": noun.prompt.plain(), "completion": noun.text}
    elif isinstance(noun, Document):
        row = {"type": "document", "text": noun.text}
    else:
        made = noun.completion if isinstance(noun, Generation) else noun
        row = {"type": "completion", "prompt": made.prompt.plain(), "completion": made.written}
        row["finished"] = None if made.finished else False
    if isinstance(noun, Generation):
        row |= {"model": noun.model, "sampling": dict(noun.sampling) or None}
    if not isinstance(noun, Gold):
        source = noun.completion if isinstance(noun, Generation) else noun
        row["external_id"] = source.external_id
    row["created_at"] = noun.created_at
    if isinstance(noun, Record):
        row["retracted_at"] = noun.retracted_at
    if isinstance(noun, Gold):
        row["retired_at"] = noun.retired_at
    return {column: value for column, value in row.items() if value is not None}


def _spell_judged(noun: Record | Gold) -> JsonObject:
    """A task and what is said of it: by an annotator, or as the known answer."""
    task = noun.task
    row: JsonObject = {
        "type": "judgement" if isinstance(noun, Record) else "gold",
        "kind": task.kind,
        "prompt": task.a.prompt.plain(),
    }
    sides = {"": task.a} if task.b is None else {"_a": task.a, "_b": task.b}
    for side, completion in sides.items():
        row["completion" + side] = completion.written
        row["finished" + side] = None if completion.finished else False
    value = noun.answer.value if isinstance(noun, Record) else noun.value
    typed = {"good": True, "bad": False}.get(value, value)
    row["value"] = int(value) if task.kind == "scalar" else typed
    if isinstance(noun, Gold):
        return row
    answer = noun.answer
    return row | {
        "original": answer.original,
        "strength": answer.strength,
        "both_bad": answer.both_bad,
        "shown_first": noun.shown_first,
        "annotator": noun.annotator,
        "comment": answer.comment,
        "flags": list(answer.flags) or None,
        "seconds": answer.seconds,
        "guidelines_version": noun.guidelines_version,
        "purpose": None if noun.purpose == "queue" else noun.purpose,
    }
