"""Who holds which task: the SQL of giving tasks out, within the ledger's transactions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from data import queue
from data import tables as t
from data.content import (
    completion_columns,
    distinct,
    insert_completions,
    prompt_from,
)
from data.database import insert_ignore
from data.judged import standing, task_of
from data.schema import Annotator, Completion, Kind, Task, now, timestamp

_CLAIM_LOCK = 7_206_101  # any number: one advisory lock for "a task is being given out"
_OPEN = t.tasks.c.remaining > sa.literal_column("0")  # spelt like this, the index on it is used


@dataclass(frozen=True)
class Assignment:
    """A task leased to one annotator, with the order in which its sides are shown."""

    id: int
    task: Task
    shown_first: str | None
    """"a" or "b" of the task; None where there is one completion."""


def insert_tasks(connection: sa.Connection, tasks: list[Task]) -> None:
    """Queue tasks; those already there stay as they are."""
    sides = (c for task in tasks for c in (task.a, task.b) if c is not None)
    insert_completions(connection, distinct(sides))
    rows = [
        {
            "id": task.id,
            "kind": task.kind,
            "prompt_id": task.a.prompt.id,
            "completion_a": task.a.id,
            "completion_b": task.b.id if task.b else None,
            "wanted": task.wanted,
            "remaining": task.wanted,
            "position": task.position,
            "created_at": now(),
        }
        for task in tasks
    ]
    insert_ignore(connection, t.tasks, rows)


def one_claim_at_a_time(connection: sa.Connection) -> None:
    """Two claims must not both see a place as free. SQLite's writers queue by themselves."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_CLAIM_LOCK})"))


def wanted_of(annotator: Annotator) -> sa.ColumnElement[bool]:
    """True of a task that still wants answers, from people like this one."""
    if annotator.role == "lead":
        return _OPEN
    return sa.and_(_OPEN, t.tasks.c.skips < queue.SKIPS_TO_LEAD)


def held_by_others(annotator_id: int) -> sa.ScalarSelect[int]:
    """How many of a task's places are leased to other people now."""
    a = t.assignments.alias("other")
    return (
        sa.select(sa.func.count())
        .select_from(a)
        .where(
            a.c.task_id == t.tasks.c.id,
            a.c.annotator_id != annotator_id,
            a.c.state == "leased",
            a.c.lease_until > now(),
        )
        .correlate(t.tasks)
        .scalar_subquery()
    )


def _answered_by(annotator_id: int) -> sa.ColumnElement[bool]:
    """True of a task on which an answer of this annotator stands: it came from a file."""
    return (
        sa.exists()
        .where(
            t.judgements.c.task_id == t.tasks.c.id,
            t.judgements.c.annotator_id == annotator_id,
            standing(),
        )
        .correlate(t.tasks)
    )


def next_task(
    connection: sa.Connection, annotator: Annotator, kinds: Iterable[Kind] | None
) -> tuple[str, str] | None:
    """(id, kind) of the first task with a free place that this annotator has not had."""
    a = t.assignments.alias("mine")
    had = (
        sa.exists()
        .where(
            a.c.task_id == t.tasks.c.id,
            a.c.annotator_id == annotator.id,
            a.c.state.in_(["leased", "done", "skipped"]),
        )
        .correlate(t.tasks)
    )
    query = sa.select(t.tasks.c.id, t.tasks.c.kind).where(
        wanted_of(annotator),
        ~had,
        ~_answered_by(annotator.id),
        t.tasks.c.remaining > held_by_others(annotator.id),
    )
    if kinds is not None:
        query = query.where(t.tasks.c.kind.in_(list(kinds)))
    query = query.order_by(t.tasks.c.position, t.tasks.c.id).limit(1)
    row = connection.execute(query).one_or_none()
    return (row.id, row.kind) if row else None


def lease(
    connection: sa.Connection,
    task_id: str,
    annotator_id: int,
    shown_first: str | None,
    turn: int,
) -> None:
    """Take the task; one released earlier is taken again with the sides it had."""
    held = {"state": "leased", "turn": turn, "lease_until": lease_end()}
    fresh = {
        "task_id": task_id,
        "annotator_id": annotator_id,
        "shown_first": shown_first,
        "created_at": now(),
    }
    insert_ignore(connection, t.assignments, [fresh | held])
    connection.execute(
        sa.update(t.assignments)
        .where(
            t.assignments.c.task_id == task_id,
            t.assignments.c.annotator_id == annotator_id,
            t.assignments.c.state == "released",  # not one that was answered a moment ago
        )
        .values(**held)
    )


def held(connection: sa.Connection, annotator: Annotator) -> list[Any]:
    """Rows of what this annotator holds, in turn.

    A lease that ran out is still theirs while the task has a place for them.
    """
    query = (
        sa.select(t.assignments.c.id, t.assignments.c.turn)
        .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
        .where(
            t.assignments.c.annotator_id == annotator.id,
            t.assignments.c.state == "leased",
            _OPEN,
            ~_answered_by(annotator.id),
            t.tasks.c.remaining > held_by_others(annotator.id),
        )
        .order_by(t.assignments.c.turn, t.assignments.c.id)
    )
    return list(connection.execute(query))


def recount(connection: sa.Connection, task_ids: Iterable[str]) -> None:
    """Set what tasks still want: each annotator whose answer stands fills a place."""
    places = (
        sa.select(sa.func.count(t.judgements.c.annotator_id.distinct()))
        .where(t.judgements.c.task_id == t.tasks.c.id, standing())
        .correlate(t.tasks)
        .scalar_subquery()
    )
    wants = t.tasks.c.wanted - places
    left = sa.case((wants > 0, wants), else_=0)
    connection.execute(
        sa.update(t.tasks).where(t.tasks.c.id.in_(list(task_ids))).values(remaining=left)
    )


def renew(connection: sa.Connection, assignment_id: int, minutes: float) -> None:
    """A sign of life: the lease runs from now."""
    connection.execute(
        sa.update(t.assignments)
        .where(t.assignments.c.id == assignment_id)
        .values(lease_until=lease_end(minutes))
    )


def assignments(connection: sa.Connection, ids: list[int]) -> list[Assignment]:
    """These assignments with their tasks and texts, in the order asked."""
    query = (
        sa.select(
            t.assignments.c.id,
            t.assignments.c.shown_first,
            t.tasks.c.kind,
            t.tasks.c.completion_a,
            t.tasks.c.completion_b,
            t.tasks.c.wanted,
            t.tasks.c.position,
        )
        .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
        .where(t.assignments.c.id.in_(ids))
    )
    rows = {row.id: row for row in connection.execute(query)}
    sides = {c for row in rows.values() for c in (row.completion_a, row.completion_b) if c}
    texts = completions(connection, sides)
    return [Assignment(i, task_of(rows[i], texts), rows[i].shown_first) for i in ids if i in rows]


def completions(connection: sa.Connection, ids: Iterable[str]) -> dict[str, Completion]:
    """Completions by id, with their prompts."""
    found = connection.execute(
        sa.select(t.completions.c.id, *completion_columns()).where(
            t.completions.c.id.in_(list(ids))
        )
    ).all()
    prompts = connection.execute(
        sa.select(t.prompts).where(t.prompts.c.id.in_({row.prompt_id for row in found}))
    )
    asked = {row.id: prompt_from(row) for row in prompts}
    return {r.id: Completion(asked[r.prompt_id], r.text, r.finished) for r in found}


def lease_end(minutes: float = queue.LEASE_MINUTES) -> str:
    """The moment at which a lease that begins now runs out."""
    return timestamp(datetime.now(UTC) + timedelta(minutes=minutes))
