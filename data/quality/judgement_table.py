"""Judgements as a table of columns, so that figures over many of them are quick.

(a, b) and (b, a) of the same two completions are one question, and its answers are turned to face
one way. A question faces as its first judgement did; where the models behind its two sides are
known, in alphabetical order of these, so that one model being better than another counts as what
chance explains, and agreement is what goes beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.schema import KINDS, Completion, Judgement
from data.stats.intervals import Bools, Floats, Ints

Models = Mapping[str, frozenset[str]]

BINARY, SCALAR, PAIRWISE = (KINDS.index(kind) for kind in ("binary", "scalar", "pairwise"))
TIE = 1
"""The code of a tie; 0 is the question's second side, 2 its first."""
READING_SECONDS = 0.015
"""The least time a person takes to read a character."""
AT_ONCE = 10
"""Judgements that a person gave in one moment from which on that moment is an import's, or a day's:
in which order they were given is then not known."""
_SIGNED = {"a": 1, "b": -1, "tie": 0}


@dataclass(frozen=True)
class JudgementTable:
    """One row a judgement, in order of time; every column is (N,)."""

    kind: Ints
    """Index in KINDS."""
    person: Ints
    question: Ints
    prompt: Ints
    code: Ints
    """binary: 0 bad, 1 good; scalar: 0 to 9; pairwise: 0, 1 tie, 2."""
    level: Floats
    """Pairwise: -3 to 3, 0 a tie; nan without a strength."""
    first: Floats
    """1 where the side shown first was chosen, 0 where the other was; nan for a tie."""
    longer: Floats
    """1 where the longer side was chosen, 0 the shorter, 0.5 for equal ones; nan for a tie."""
    quick: Floats
    """1 where the answer came faster than anyone reads; nan without a time."""
    seconds: Floats
    id: Ints
    place: Floats
    """Where in all that this person said it comes, from 0 to below 1; nan where nobody knows when
    it was said."""

    def __len__(self) -> int:
        return len(self.kind)

    def where(self, rows: Bools | Ints) -> JudgementTable:
        return JudgementTable(*(column[rows] for column in vars(self).values()))

    def of(self, kind: int) -> JudgementTable:
        return self.where(self.kind == kind)

    def latest(self) -> Ints:
        """One row for each person and question: the last they said."""
        key = self.person * (int(self.question.max(initial=0)) + 1) + self.question
        _, last = np.unique(key[::-1], return_index=True)
        return np.sort(len(self) - 1 - last)

    @property
    def decided(self) -> JudgementTable:
        """The pairwise rows that are no tie."""
        return self.where((self.kind == PAIRWISE) & (self.code != TIE))

    @property
    def dated(self) -> JudgementTable:
        """The rows of which it is known when they were said."""
        return self.where(~np.isnan(self.place))

    @property
    def late(self) -> Bools:
        """In the later half of what the person said; of dated rows."""
        return self.place >= 0.5

    @property
    def points(self) -> Floats:
        """Answers as numbers: good 1 and bad 0, 1 to 10, a side 1 or -1."""
        shift = np.where(self.kind == SCALAR, 1, np.where(self.kind == PAIRWISE, -1, 0))
        return np.asarray(self.code + shift, float)


class JudgementTableBuilder:
    """Turns judgements into rows; the same question, person and prompt get the same numbers."""

    def __init__(self, people: Sequence[str], models: Models) -> None:
        self.sides: list[tuple[Completion, Completion | None]] = []
        """Of each question, as it faces."""
        self.writers: list[tuple[frozenset[str], frozenset[str]]] = []
        """Which models wrote them."""
        self._people = {name: i for i, name in enumerate(people)}
        self._models = models
        self._questions: dict[tuple[str, frozenset[str]], int] = {}
        self._prompts: dict[str, int] = {}
        self._read: dict[str, int] = {}

    def build(self, judgements: Iterable[Judgement]) -> JudgementTable:
        """The rows, in order of time."""
        ordered = sorted(judgements, key=lambda j: (j.created_at, j.id))
        stated = {j.annotator for j in ordered if j.answer.strength is not None}
        rows = [(*self._number_task(j), *_number_answer(j, j.annotator in stated)) for j in ordered]
        columns = np.array(rows, float).reshape(len(rows), 11).T
        kind, person, question, prompt, facing, read, answer, strength, *sides, seconds = columns
        pair, person = kind == PAIRWISE, person.astype(np.int64)
        signed = answer * facing
        _, moment = np.unique([j.created_at for j in ordered], return_inverse=True)
        # how much of each person's dated rows came before
        given = person * (int(moment.max(initial=0)) + 1) + moment
        _, at, together = np.unique(given, return_inverse=True, return_counts=True)
        dated = np.flatnonzero(together[at] < AT_ONCE)
        order = dated[np.argsort(person[dated], kind="stable")]
        _, start, size = np.unique(person[order], return_index=True, return_counts=True)
        place = np.full(len(person), np.nan)
        place[order] = (np.arange(len(order)) - np.repeat(start, size)) / np.repeat(size, size)
        return JudgementTable(
            kind=kind.astype(np.int64),
            person=person,
            question=question.astype(np.int64),
            prompt=prompt.astype(np.int64),
            code=np.where(pair, signed + TIE, answer).astype(np.int64),
            level=np.where(pair, signed * strength, np.nan),
            first=sides[0],
            longer=sides[1],
            quick=np.where(seconds >= 0, seconds < READING_SECONDS * read, np.nan),
            seconds=seconds,
            id=np.array([judgement.id for judgement in ordered], np.int64),
            place=place,
        )

    def _number_task(self, judgement: Judgement) -> tuple[int, int, int, int, int, int]:
        """Numbers of kind, person, question, prompt; how it faces; characters to read."""
        task, prompt = judgement.task, judgement.prompt
        sides = frozenset(side.id for side in task.sides)
        question = self._questions.setdefault((task.kind, sides), len(self.sides))
        if question == len(self.sides):
            # Its sides in order of their models' names, or as the task has them.
            a, b = task.a, task.b
            one = self._models.get(a.id, frozenset())
            other = self._models.get(b.id, frozenset()) if b else frozenset()
            if b and one and other and sorted(one) > sorted(other):
                a, b, one, other = b, a, other, one
            self.sides.append((a, b))
            self.writers.append((one, other))
        if prompt.id not in self._read:
            self._read[prompt.id] = len(prompt.text)
        read = self._read[prompt.id] + sum(len(side.text) for side in task.sides)
        return (
            KINDS.index(task.kind),
            self._people[judgement.annotator],
            question,
            self._prompts.setdefault(prompt.id, len(self._prompts)),
            1 if self.sides[question][0].id == task.a.id else -1,
            read,
        )


def _number_answer(judgement: Judgement, states: bool) -> tuple[float, float, float, float, float]:
    """The answer as a number, as the task faces; strength; first and longer chosen; seconds.

    `states`: whether the annotator states strengths at times: a tie is one of them, 0, only then.
    """
    task, answer = judgement.task, judgement.answer
    nan = float("nan")
    seconds = nan if answer.seconds is None else answer.seconds
    if task.b is None:
        number = float(answer.value == "good") if task.kind == "binary" else int(answer.value) - 1
        return number, nan, nan, nan, seconds
    sign = _SIGNED[answer.value]
    if sign == 0:
        return 0, 1 if states else nan, nan, nan, seconds
    more = (len(task.a.text) - len(task.b.text)) * sign
    shown = judgement.shown_first
    return (
        sign,
        nan if answer.strength is None else answer.strength,
        nan if shown is None else float(answer.value == shown),
        0.5 if more == 0 else float(more > 0),
        seconds,
    )


def counts(table: JudgementTable, values: int) -> tuple[Floats, Ints]:
    """How many gave each value to a question, (questions, values), and each row's question there.

    Only questions that these rows are about.
    """
    _, at = np.unique(table.question, return_inverse=True)
    size = int(at.max(initial=-1)) + 1
    found = np.bincount(at * values + table.code, minlength=size * values)
    return found.reshape(size, values).astype(float), at


def with_others(table: JudgementTable, values: int, within: int = 0) -> Floats:
    """The share of the others who answered each row's question alike; nan for who is alone."""
    given, at = counts(table, values)
    near = np.abs(np.subtract.outer(np.arange(values), np.arange(values))) <= within
    alike = (given @ near.astype(float))[at, table.code] - 1
    others = given.sum(axis=1)[at] - 1
    return np.where(others > 0, alike / np.maximum(others, 1), np.nan)


def pairs(table: JudgementTable) -> tuple[Ints, Ints]:
    """All pairs of rows about one question: the earlier rows, and the later ones."""
    order = np.argsort(table.question, kind="stable")
    _, start, size = np.unique(table.question[order], return_index=True, return_counts=True)
    early, late = [np.zeros(0, int)], [np.zeros(0, int)]
    for m in np.unique(size[size > 1]):
        rows = order[start[size == m][:, None] + np.arange(m)]
        i, j = np.triu_indices(m, 1)
        early.append(rows[:, i].ravel())
        late.append(rows[:, j].ravel())
    return np.concatenate(early), np.concatenate(late)
