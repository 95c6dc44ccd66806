"""What a reward model learns from: the standing judgements of all kinds, as arrays.

A judgement refers to completions, annotators and prompts by their place in one list each, so that a
text is read once however often it was judged. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np

from data.exports.training_rows import UNSTATED_STRENGTH
from data.schema import Completion, Judgement
from data.stats.intervals import Bools, Floats, Ints

A, B, TIE = 0, 1, 2
"""Outcomes of a comparison."""
_OUTCOME = {"a": A, "b": B, "tie": TIE}
_SIDE = {"a": 1.0, "b": -1.0}

R = TypeVar("R", "Pairs", "Binary", "Scalar")


def _no_ints() -> Ints:
    return np.zeros(0, np.int64)


class JudgementArrays:
    """Judgements of one kind, one a row (N,)."""

    annotator: Ints

    def __len__(self) -> int:
        return len(self.annotator)


@dataclass(frozen=True)
class Pairs(JudgementArrays):
    """Pairwise judgements, one a row (N,)."""

    a: Ints = field(default_factory=_no_ints)
    """Place of completion a."""
    b: Ints = field(default_factory=_no_ints)
    outcome: Ints = field(default_factory=_no_ints)
    """A, B or TIE."""
    side: Floats = field(default_factory=lambda: np.zeros(0))
    """1 where a was shown first, -1 where b was, 0 where it is not known."""
    strength: Ints = field(default_factory=_no_ints)
    """1 slightly, 2 clearly, 3 much better; 0 where it was not said, and in a tie."""
    annotator: Ints = field(default_factory=_no_ints)


@dataclass(frozen=True)
class Binary(JudgementArrays):
    """Good-or-bad judgements, one a row (N,)."""

    item: Ints = field(default_factory=_no_ints)
    """Place of the completion."""
    good: Ints = field(default_factory=_no_ints)
    """1 good, 0 bad."""
    annotator: Ints = field(default_factory=_no_ints)


@dataclass(frozen=True)
class Scalar(JudgementArrays):
    """Ratings, one a row (N,)."""

    item: Ints = field(default_factory=_no_ints)
    rating: Ints = field(default_factory=_no_ints)
    """1 to 10."""
    annotator: Ints = field(default_factory=_no_ints)


@dataclass(frozen=True)
class Examples:
    """Judged completions and what was said of them."""

    completions: Sequence[Completion] = ()
    prompt: Ints = field(default_factory=_no_ints)
    """Number of each completion's prompt (completions,)."""
    annotators: Sequence[str] = ()
    pairs: Pairs = field(default_factory=Pairs)
    binary: Binary = field(default_factory=Binary)
    scalar: Scalar = field(default_factory=Scalar)

    def __len__(self) -> int:
        return len(self.pairs) + len(self.binary) + len(self.scalar)

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return int(self.prompt.max(initial=-1)) + 1

    @property
    def kinds(self) -> dict[str, int]:
        """How many judgements there are of each kind."""
        return {"pairwise": len(self.pairs), "scalar": len(self.scalar), "binary": len(self.binary)}

    def where(self, keep: Bools) -> Examples:
        """The judgements of completions with `keep` (completions,); the lists stay as they are."""
        return replace(
            self,
            pairs=rows(self.pairs, keep[self.pairs.a] & keep[self.pairs.b]),
            binary=rows(self.binary, keep[self.binary.item]),
            scalar=rows(self.scalar, keep[self.scalar.item]),
        )


def group_rows(prompt: Ints) -> list[Ints]:
    """Places of the rows of each prompt, by its number; prompt (N,)."""
    order = np.argsort(prompt, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(prompt[order])) + 1) if len(order) else []


def rows(table: R, chosen: Bools | Ints) -> R:
    """The chosen rows: a mask (N,), or their places."""
    return type(table)(**{f.name: getattr(table, f.name)[chosen] for f in fields(table)})


def collect(judgements: Sequence[Judgement]) -> Examples:
    """Examples of all kinds. Of a person's several answers to a question the latest counts.

    The same two completions are one question whichever comes first.
    """
    stated = {j.annotator for j in judgements if j.answer.strength}
    completions: dict[str, Completion] = {}
    places: dict[str, int] = {}
    people: dict[str, int] = {}
    found: dict[str, list[tuple[Any, ...]]] = {"pairwise": [], "binary": [], "scalar": []}

    def place(completion: Completion) -> int:
        completions.setdefault(completion.id, completion)
        return places.setdefault(completion.id, len(places))

    for judgement in latest_answers(judgements):
        task, value = judgement.task, judgement.answer.value
        person = people.setdefault(judgement.annotator, len(people))
        if task.b is not None:
            side = _SIDE.get(judgement.shown_first or "", 0.0)
            # who states a strength at times means the least by stating none, as in an export
            unstated = UNSTATED_STRENGTH if judgement.annotator in stated else 0
            strength = 0 if value == "tie" else judgement.answer.strength or unstated
            row = (place(task.a), place(task.b), _OUTCOME[value], side, strength, person)
            found["pairwise"].append(row)
        elif judgement.kind == "binary":
            found["binary"].append((place(task.a), int(value == "good"), person))
        else:
            found["scalar"].append((place(task.a), int(value), person))
    prompts: dict[str, int] = {}
    texts = tuple(completions.values())
    return Examples(
        texts,
        np.array([prompts.setdefault(c.prompt.id, len(prompts)) for c in texts], np.int64),
        tuple(people),
        _make_columns(Pairs, found["pairwise"]),
        _make_columns(Binary, found["binary"]),
        _make_columns(Scalar, found["scalar"]),
    )


def latest_answers(judgements: Iterable[Judgement]) -> list[Judgement]:
    """Each person's last answer to each question, in the order in which they were given."""
    standing: dict[tuple[Any, ...], Judgement] = {}
    for judgement in judgements:
        task = judgement.task
        sides = frozenset({task.a.id, task.b.id if task.b else ""})
        key = (judgement.annotator, judgement.kind, sides)
        standing.pop(key, None)
        standing[key] = judgement
    return list(standing.values())


def _make_columns(kind: type[R], found: list[tuple[Any, ...]]) -> R:
    columns = list(zip(*found, strict=True)) if found else [()] * len(fields(kind))
    named = zip(fields(kind), columns, strict=True)
    return kind(**{f.name: np.array(c, float if f.name == "side" else int) for f, c in named})
