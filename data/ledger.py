"""The ledger: tasks, who holds which, and what was answered. One transaction a step.

Nothing is updated in place that a person has said: an edit or an undo is a new row that supersedes
the old one.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
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
    load_completions,
    load_prompts,
    standing,
)
from data.database import Database, insert_ignore
from data.schema import (
    Annotator,
    Answer,
    Completion,
    Judgement,
    Kind,
    Prompt,
    Task,
    check_answer,
    now,
    timestamp,
)

_CLAIM_LOCK = 7_206_101  # any number: one advisory lock for "a task is being given out"


@dataclass(frozen=True)
class Assignment:
    """A task leased to one annotator, with the order in which its sides are shown."""

    id: int
    task: Task
    shown_first: str | None
    """"a" or "b" of the task; None where there is one completion."""


@dataclass(frozen=True)
class Progress:
    """How far one annotator has come."""

    done: int
    left: int
    """Tasks that this annotator could still be given."""
    done_today: int


class Ledger:
    """Claims, answers, and what stands."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_tasks(self, tasks: Iterable[Task]) -> int:
        """Queue tasks; those already there stay as they are. Returns how many are new."""
        with self._db.write() as connection:
            before = _count(connection, t.tasks)
            insert_tasks(connection, list(tasks))
            return _count(connection, t.tasks) - before

    def last_position(self) -> float:
        """The position behind which new tasks queue."""
        with self._db.read() as connection:
            return float(connection.scalar(sa.select(sa.func.max(t.tasks.c.position))) or 0.0)

    def claim(
        self, annotator: Annotator, rng: random.Random, kinds: Iterable[Kind] | None = None
    ) -> Assignment | None:
        """The task this annotator is to judge now; None when nothing is left for them.

        A task held already comes back with the same sides (a reload loses nothing). `kinds` limits
        a fresh claim. The side order is decided and stored here, once.
        """
        with self._db.write() as connection:
            _one_claim_at_a_time(connection)
            held = _held(connection, annotator.id)
            if held is not None:
                _renew(connection, held.id)
                return held
            task_id, kind = _next_task(connection, annotator.id, kinds) or (None, None)
            if task_id is None:
                return None
            shown_first = queue.side_order(rng) if kind == "pairwise" else None
            _lease(connection, task_id, annotator.id, shown_first)
            return _held(connection, annotator.id)

    def shown(self, annotator: Annotator, assignment_id: int) -> tuple[Kind, str | None] | None:
        """Kind and side order of one of this annotator's assignments; None for any other."""
        query = (
            sa.select(t.tasks.c.kind, t.assignments.c.shown_first)
            .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
            .where(
                t.assignments.c.id == assignment_id, t.assignments.c.annotator_id == annotator.id
            )
        )
        with self._db.read() as connection:
            row = connection.execute(query).one_or_none()
            return (row.kind, row.shown_first) if row else None

    def submit(
        self,
        annotator: Annotator,
        assignment_id: int,
        answer: Answer,
        client_token: str,
        guidelines_version: int | None = None,
    ) -> int:
        """Record an answer to a held task; returns the judgement's id.

        The same client token again returns the same id and stores nothing. Raises ValueError for
        an answer that does not fit the kind, or an assignment that is not this annotator's to
        answer (anybody else's, already answered under another token, or skipped).
        """
        with self._db.write() as connection:
            known = connection.execute(
                sa.select(t.judgements.c.id, t.judgements.c.annotator_id).where(
                    t.judgements.c.client_token == client_token
                )
            ).one_or_none()
            if known is not None:
                if known.annotator_id != annotator.id:
                    raise ValueError(
                        "this answer's token belongs to somebody else: reload the page"
                    )
                return int(known.id)
            row = _assignment_row(connection, assignment_id, annotator.id)
            if row is None or row.state in ("done", "skipped"):
                raise ValueError("this task is no longer yours to answer: reload the page")
            if row.remaining == 0:
                raise ValueError("this task has all its answers already: reload the page")
            check_answer(row.kind, answer)
            judgement_id = _insert_judgement(
                connection, row, annotator.id, answer, client_token, guidelines_version
            )
            _set_state(connection, assignment_id, "done")
            _shift_remaining(connection, row.task_id, -1)
            return judgement_id

    def skip(self, annotator: Annotator, assignment_id: int) -> None:
        """Give a task back for good: this annotator is not asked it again."""
        with self._db.write() as connection:
            row = _assignment_row(connection, assignment_id, annotator.id)
            if row is None or row.state == "done":
                raise ValueError("this task is no longer yours to skip: reload the page")
            _set_state(connection, assignment_id, "skipped")

    def release(self, annotator: Annotator) -> None:
        """Give back what is held (sign-out); it may come again, with the same sides."""
        with self._db.write() as connection:
            connection.execute(
                sa.update(t.assignments)
                .where(
                    t.assignments.c.annotator_id == annotator.id, t.assignments.c.state == "leased"
                )
                .values(state="released")
            )

    def undo(self, annotator: Annotator) -> Assignment | None:
        """Take the last standing judgement back and lease its task again, with the same sides.

        Returns the assignment, or None where there is nothing to take back.
        """
        with self._db.write() as connection:
            last = connection.execute(
                sa.select(t.judgements)
                .where(
                    t.judgements.c.annotator_id == annotator.id,
                    t.judgements.c.assignment_id.is_not(None),
                    standing(),
                )
                .order_by(t.judgements.c.id.desc())
                .limit(1)
            ).one_or_none()
            if last is None:
                return None
            connection.execute(
                sa.insert(t.judgements).values(
                    task_id=last.task_id,
                    annotator_id=annotator.id,
                    assignment_id=last.assignment_id,
                    kind=last.kind,
                    client_token=f"undo:{last.id}",
                    supersedes=last.id,
                    created_at=now(),
                )
            )
            _shift_remaining(connection, last.task_id, +1)
            connection.execute(
                sa.update(t.assignments)
                .where(
                    t.assignments.c.annotator_id == annotator.id, t.assignments.c.state == "leased"
                )
                .values(state="released")
            )
            _set_state(connection, last.assignment_id, "leased")
            _renew(connection, last.assignment_id)
            return _held(connection, annotator.id)

    def progress(self, annotator: Annotator) -> Progress:
        mine = sa.and_(t.judgements.c.annotator_id == annotator.id, standing())
        with self._db.read() as connection:
            done = connection.scalar(
                sa.select(sa.func.count()).select_from(t.judgements).where(mine)
            )
            today = connection.scalar(
                sa.select(sa.func.count())
                .select_from(t.judgements)
                .where(mine, t.judgements.c.created_at >= now()[:10])
            )
            left = connection.scalar(
                sa.select(sa.func.count()).select_from(t.tasks).where(_open_for(annotator.id))
            )
        return Progress(int(done or 0), int(left or 0), int(today or 0))

    def judgements(self, kinds: Iterable[Kind] | None = None) -> list[Judgement]:
        """What stands, oldest first: superseded and undone rows are left out."""
        query = (
            sa.select(
                t.judgements,
                t.annotators.c.name,
                t.tasks.c.completion_a,
                t.tasks.c.completion_b,
                t.tasks.c.wanted,
                t.tasks.c.position,
            )
            .join(t.annotators, t.annotators.c.id == t.judgements.c.annotator_id)
            .join(t.tasks, t.tasks.c.id == t.judgements.c.task_id)
            .where(standing())
            .order_by(t.judgements.c.id)
        )
        if kinds is not None:
            query = query.where(t.judgements.c.kind.in_(list(kinds)))
        with self._db.read() as connection:
            texts = load_completions(connection, load_prompts(connection))
            return [_judgement(row, texts) for row in connection.execute(query)]

    def by_annotator(self) -> dict[str, int]:
        """Standing judgements of each annotator."""
        query = (
            sa.select(t.annotators.c.name, sa.func.count(t.judgements.c.id))
            .join(t.judgements, t.judgements.c.annotator_id == t.annotators.c.id)
            .where(standing())
            .group_by(t.annotators.c.name)
            .order_by(t.annotators.c.name)
        )
        with self._db.read() as connection:
            return {name: n for name, n in connection.execute(query)}  # noqa: C416


def insert_tasks(connection: sa.Connection, tasks: list[Task]) -> None:
    """Queue tasks within a transaction; those already there stay as they are."""
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


def _one_claim_at_a_time(connection: sa.Connection) -> None:
    """Two claims must not both see a task as free. SQLite's writers queue by themselves."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_CLAIM_LOCK})"))


def _open_for(annotator_id: int) -> sa.ColumnElement[bool]:
    """True of a task that this annotator may be given: wanted, not theirs yet, not all held."""
    a = t.assignments.alias("other")
    mine = (
        sa.exists()
        .correlate(t.tasks)
        .where(
            a.c.task_id == t.tasks.c.id,
            a.c.annotator_id == annotator_id,
            a.c.state.in_(["done", "skipped"]),
        )
    )
    held_by_others = (
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
    return sa.and_(t.tasks.c.remaining > 0, ~mine, t.tasks.c.remaining > held_by_others)


def _next_task(
    connection: sa.Connection, annotator_id: int, kinds: Iterable[Kind] | None
) -> tuple[str, str] | None:
    query = sa.select(t.tasks.c.id, t.tasks.c.kind).where(_open_for(annotator_id))
    if kinds is not None:
        query = query.where(t.tasks.c.kind.in_(list(kinds)))
    row = connection.execute(
        query.order_by(t.tasks.c.position, t.tasks.c.id).limit(1)
    ).one_or_none()
    return (row.id, row.kind) if row else None


def _lease(
    connection: sa.Connection, task_id: str, annotator_id: int, shown_first: str | None
) -> None:
    """Take the task; one released earlier is taken again with the sides it had."""
    insert_ignore(
        connection,
        t.assignments,
        [
            {
                "task_id": task_id,
                "annotator_id": annotator_id,
                "shown_first": shown_first,
                "state": "leased",
                "lease_until": _lease_end(),
                "created_at": now(),
            }
        ],
    )
    connection.execute(
        sa.update(t.assignments)
        .where(t.assignments.c.task_id == task_id, t.assignments.c.annotator_id == annotator_id)
        .values(state="leased", lease_until=_lease_end())
    )


def _held(connection: sa.Connection, annotator_id: int) -> Assignment | None:
    """The task this annotator holds, unless its lease ran out and all its places are taken."""
    row = connection.execute(
        sa.select(t.assignments, t.tasks)
        .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
        .where(
            t.assignments.c.annotator_id == annotator_id,
            t.assignments.c.state == "leased",
            _open_for(annotator_id),
        )
        .order_by(t.assignments.c.lease_until.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    columns = row._mapping
    prompt_id = columns[t.tasks.c.prompt_id]
    prompts = _prompts(connection, prompt_id)
    texts = _completions(
        connection, prompts, [columns[t.tasks.c.completion_a], columns[t.tasks.c.completion_b]]
    )
    task = Task(
        columns[t.tasks.c.kind],
        texts[columns[t.tasks.c.completion_a]],
        texts.get(columns[t.tasks.c.completion_b]),
        columns[t.tasks.c.wanted],
        columns[t.tasks.c.position],
    )
    return Assignment(columns[t.assignments.c.id], task, columns[t.assignments.c.shown_first])


def _prompts(connection: sa.Connection, prompt_id: str) -> dict[str, Prompt]:
    from data.content import prompt_from

    row = connection.execute(sa.select(t.prompts).where(t.prompts.c.id == prompt_id)).one()
    return {prompt_id: prompt_from(row)}


def _completions(
    connection: sa.Connection, prompts: Mapping[str, Prompt], ids: list[str | None]
) -> dict[str | None, Completion]:
    rows = connection.execute(
        sa.select(t.completions.c.id, *completion_columns()).where(
            t.completions.c.id.in_([i for i in ids if i])
        )
    )
    return {r.id: Completion(prompts[r.prompt_id], r.text, r.finished) for r in rows}


def _assignment_row(connection: sa.Connection, assignment_id: int, annotator_id: int) -> Any | None:
    query = (
        sa.select(
            t.assignments.c.id,
            t.assignments.c.task_id,
            t.assignments.c.state,
            t.assignments.c.shown_first,
            t.tasks.c.kind,
            t.tasks.c.remaining,
        )
        .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
        .where(t.assignments.c.id == assignment_id, t.assignments.c.annotator_id == annotator_id)
    )
    if connection.dialect.name == "postgresql":
        query = query.with_for_update()
    return connection.execute(query).one_or_none()


def _insert_judgement(
    connection: sa.Connection,
    row: Any,
    annotator_id: int,
    answer: Answer,
    client_token: str,
    guidelines_version: int | None,
) -> int:
    result = connection.execute(
        sa.insert(t.judgements)
        .values(
            task_id=row.task_id,
            annotator_id=annotator_id,
            assignment_id=row.id,
            kind=row.kind,
            value=answer.value,
            strength=answer.strength,
            both_bad=answer.both_bad,
            shown_first=row.shown_first,
            comment=answer.comment,
            seconds=answer.seconds,
            client_token=client_token,
            supersedes=_standing_id(connection, row.task_id, annotator_id),
            guidelines_version=guidelines_version,
            created_at=now(),
        )
        .returning(t.judgements.c.id)
    )
    return int(result.scalar_one())


def _standing_id(connection: sa.Connection, task_id: str, annotator_id: int) -> int | None:
    """What this annotator has said of the task already, e.g. in a file that was imported."""
    return connection.scalar(
        sa.select(t.judgements.c.id).where(
            t.judgements.c.task_id == task_id,
            t.judgements.c.annotator_id == annotator_id,
            standing(),
        )
    )


def _judgement(row: Any, texts: Mapping[str, Completion]) -> Judgement:
    task = Task(
        row.kind,
        texts[row.completion_a],
        texts[row.completion_b] if row.completion_b else None,
        row.wanted,
        row.position,
    )
    answer = Answer(row.value, row.strength, row.both_bad, row.comment, row.seconds)
    return Judgement(row.id, task, row.name, answer, row.shown_first, row.created_at)


def _set_state(connection: sa.Connection, assignment_id: int, state: str) -> None:
    connection.execute(
        sa.update(t.assignments).where(t.assignments.c.id == assignment_id).values(state=state)
    )


def _renew(connection: sa.Connection, assignment_id: int) -> None:
    connection.execute(
        sa.update(t.assignments)
        .where(t.assignments.c.id == assignment_id)
        .values(lease_until=_lease_end())
    )


def _shift_remaining(connection: sa.Connection, task_id: str, by: int) -> None:
    connection.execute(
        sa.update(t.tasks).where(t.tasks.c.id == task_id).values(remaining=t.tasks.c.remaining + by)
    )


def _lease_end() -> str:
    return timestamp(datetime.now(UTC) + timedelta(minutes=queue.LEASE_MINUTES))


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
