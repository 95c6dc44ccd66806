"""Judgements as rows, and back: what every query on them shares."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from data.schema import Answer, Completion, Judgement, Task
from data.store import tables as t
from data.store.database import ResultRow, RowValues

_later = t.judgements.alias("later")
_STANDING = sa.and_(
    t.judgements.c.value.is_not(None),
    ~sa.exists().where(_later.c.supersedes == t.judgements.c.id),
)


def standing() -> sa.ColumnElement[bool]:
    """True of a judgement that nothing supersedes and that was not taken back."""
    return _STANDING


def count_for_each(
    outer: sa.Table, counted: sa.FromClause, *where: sa.ColumnElement[bool]
) -> sa.ScalarSelect[int]:
    """How many rows of `counted` belong to the row of `outer` at hand.

    Asked as `count > 0` where NOT EXISTS would say the same: PostgreSQL turns that into a join over
    everything that an annotator ever had, which takes longer with each answer, while a count is
    looked up by index for the one row in question.
    """
    query = sa.select(sa.func.count()).select_from(counted).where(*where)
    return query.correlate(outer).scalar_subquery()


def select_judgements(*more: sa.ColumnElement[object]) -> sa.Select[tuple[object, ...]]:
    """Judgements with their annotator's name and their task's columns."""
    return (
        sa.select(
            t.judgements,
            t.annotators.c.name,
            *t.tasks.c["completion_a", "completion_b", "wanted", "position"],
            *more,
        )
        .join(t.annotators, t.annotators.c.id == t.judgements.c.annotator_id)
        .join(t.tasks, t.tasks.c.id == t.judgements.c.task_id)
    )


def task_of(row: ResultRow, texts: Mapping[str, Completion]) -> Task:
    second = texts[row.completion_b] if row.completion_b else None
    return Task(row.kind, texts[row.completion_a], second, row.wanted, row.position)


def answer_of(row: ResultRow) -> Answer:
    """What a judgement's row says."""
    flags = tuple(json.loads(row.flags)) if row.flags else ()
    said = row.value, row.strength, row.both_bad, row.comment, row.seconds
    return Answer(*said, flags, row.original)


def answer_columns(answer: Answer | None) -> RowValues:
    """An answer as it is stored; None, an answer taken back, is stored as empty columns."""
    return {
        "value": answer and answer.value,
        "strength": answer and answer.strength,
        "both_bad": answer and answer.both_bad,
        "comment": answer and answer.comment,
        "flags": answer and pack_flags(answer.flags),
        "seconds": answer and answer.seconds,
        "original": answer and answer.original,
    }


def judgement_of(row: ResultRow, texts: Mapping[str, Completion]) -> Judgement:
    """A standing judgement, from a row of `select_judgements`."""
    task = task_of(row, texts)
    return Judgement(row.id, task, row.name, answer_of(row), row.shown_first, row.created_at)


def pack_flags(flags: Iterable[str]) -> str | None:
    """Flags as they are stored; None for none."""
    listed = list(flags)
    return json.dumps(listed) if listed else None
