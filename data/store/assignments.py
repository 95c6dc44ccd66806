"""Who holds which task: the SQL of giving tasks out, within the ledger's transactions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from data import task_planning
from data.schema import Annotator, Completion, Kind, Purpose, Role, Task, now, timestamp
from data.store import tables as t
from data.store.content import BATCH, distinct, insert_completions, one_writer, prompt_from
from data.store.database import insert_ignore, one_at_a_time, upsert
from data.store.judgement_rows import standing
from data.task_planning import Shares

_OPEN = t.tasks.c.remaining > sa.literal_column("0")  # spelt like this, the index on it is used

# The conditions of the hot statements are built once: building them takes longer than running them.
_ME: sa.BindParameter[int] = sa.bindparam("me")
_NOW: sa.BindParameter[str] = sa.bindparam("now")
_FROM: sa.BindParameter[float] = sa.bindparam("from")
_other, _mine = t.assignments.alias("other"), t.assignments.alias("mine")
_HELD_BY_OTHERS = (  # how many of a task's places are leased to other people now
    sa.select(sa.func.count())
    .select_from(_other)
    .where(
        _other.c.task_id == t.tasks.c.id,
        _other.c.annotator_id != _ME,
        _other.c.state == "leased",
        _other.c.purpose == "queue",
        _other.c.lease_until > _NOW,
    )
    .correlate(t.tasks)
    .scalar_subquery()
)
# Counted, since PostgreSQL makes of NOT EXISTS a join over all that the annotator ever had.
HAD = (  # whether this annotator has a task, answered it or skipped it
    sa.select(sa.func.count())
    .select_from(_mine)
    .where(
        _mine.c.task_id == t.tasks.c.id,
        _mine.c.annotator_id == _ME,
        _mine.c.state.in_(["leased", "done", "skipped"]),
    )
    .correlate(t.tasks)
    .scalar_subquery()
) > 0
ANSWERED = (  # whether an answer of this annotator stands; where not HAD, it is from a file
    sa.select(sa.func.count())
    .select_from(t.judgements)
    .where(
        t.judgements.c.task_id == t.tasks.c.id,
        t.judgements.c.annotator_id == _ME,
        standing(),
    )
    .correlate(t.tasks)
    .scalar_subquery()
) > 0
_FREE = t.tasks.c.remaining > _HELD_BY_OTHERS

_OTHERS = sa.select(_HELD_BY_OTHERS).where(t.tasks.c.id == sa.bindparam("task"))
_HELD = (
    sa.select(t.assignments.c.id, t.assignments.c.turn)
    .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
    .where(
        t.assignments.c.annotator_id == _ME,
        t.assignments.c.state == "leased",
        ~ANSWERED,
        sa.or_(t.assignments.c.purpose != "queue", sa.and_(_OPEN, _FREE)),
    )
    .order_by(t.assignments.c.turn, t.assignments.c.id)
)
_THESE = t.tasks.c.id.in_(sa.bindparam("tasks", expanding=True))
_PLACES_FILLED = (
    sa.select(sa.func.count(t.judgements.c.annotator_id.distinct()))
    .where(t.judgements.c.task_id == t.tasks.c.id, t.judgements.c.purpose == "queue", standing())
    .correlate(t.tasks)
    .scalar_subquery()
)
_LEFT = t.tasks.c.wanted - _PLACES_FILLED
_RECOUNT = sa.update(t.tasks).where(_THESE).values(remaining=sa.case((_LEFT > 0, _LEFT), else_=0))
_FIRST_OPEN = sa.select(sa.func.min(t.tasks.c.position)).where(_THESE, _OPEN)
_BEGIN = (
    sa.select(sa.func.coalesce(t.annotators.c.queue_from, sa.literal(-math.inf)))
    .where(t.annotators.c.id == _ME)
    .scalar_subquery()
)
_SHARES = sa.select(t.settings.c.value).where(t.settings.c.name == "shares").scalar_subquery()
_ASKED = t.assignments.c.id.in_(sa.bindparam("ids", expanding=True))
_first, _second = t.completions.alias("first"), t.completions.alias("second")
_IN_FULL = (
    sa.select(
        t.assignments.c.id,
        t.assignments.c.shown_first,
        t.tasks.c.kind,
        t.tasks.c.wanted,
        t.tasks.c.position,
        _first.c.text.label("text_a"),
        _first.c.finished.label("finished_a"),
        _second.c.text.label("text_b"),
        _second.c.finished.label("finished_b"),
        t.prompts.c.messages,
        t.prompts.c.tags,
        t.prompts.c.external_id,
        t.prompts.c.created_at,
    )
    .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
    .join(t.prompts, t.prompts.c.id == t.tasks.c.prompt_id)
    .join(_first, _first.c.id == t.tasks.c.completion_a)
    .outerjoin(_second, _second.c.id == t.tasks.c.completion_b)
    .where(_ASKED)
)
_RENEW = (
    sa.update(t.assignments)
    .where(_ASKED)
    .values(
        lease_until=sa.case(
            (t.assignments.c.id == sa.bindparam("first"), sa.bindparam("end")),
            else_=sa.bindparam("end_ahead"),
        )
    )
)
_SET_QUEUE_FROM = sa.update(t.annotators).where(t.annotators.c.id == _ME).values(queue_from=_FROM)
_SET_BACK = (
    sa.update(t.annotators).where(t.annotators.c.queue_from > _FROM).values(queue_from=_FROM)
)


@dataclass(frozen=True)
class Asked:
    """What a person is about to be asked."""

    task_id: str
    shown_first: str | None
    purpose: Purpose = "queue"


@dataclass(frozen=True)
class Assignment:
    """A task leased to one annotator, with the order in which its sides are shown."""

    id: int
    task: Task
    shown_first: str | None
    """"a" or "b" of the task; None where there is one completion."""


def insert_tasks(connection: sa.Connection, tasks: Iterable[Task]) -> dict[str, Task]:
    """Queue tasks; those already there stay as they are, the other way round too.

    Returns by id the task that stands for each: itself, or the one with its sides exchanged.
    """
    one_writer(connection)  # nobody may add the other way round meanwhile
    ways = _ways(connection, {task.id: task for task in tasks})
    new = list({task.id: task for task in ways.values()}.values())
    _insert_new(connection, new)
    return ways


def _ways(connection: sa.Connection, tasks: dict[str, Task]) -> dict[str, Task]:
    """Which way round each task is asked: as it is stored, else as it comes first here."""
    turned = {i: task.turned() for i, task in tasks.items() if task.b is not None}
    ids = [*turned, *(task.id for task in turned.values())]
    stored: set[str] = set()
    for start in range(0, len(ids), BATCH):
        chunk = ids[start : start + BATCH]
        stored.update(connection.scalars(sa.select(t.tasks.c.id).where(t.tasks.c.id.in_(chunk))))
    ways: dict[str, Task] = {}
    for i, task in tasks.items():
        other = turned.get(i)
        if other is not None and i not in stored and (other.id in stored or other.id in ways):
            ways[i] = ways.get(other.id, other)
        else:
            ways[i] = task
    return ways


def _insert_new(connection: sa.Connection, tasks: list[Task]) -> None:
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
    asked = [task.position for task in tasks if task.wanted > 0]
    if asked:
        reopened(connection, min(asked))


def one_claim_at_a_time(connection: sa.Connection) -> None:
    """Two claims must not both see a place as free."""
    one_at_a_time(connection, "coach: give a task out")


def wanted_of(role: Role) -> sa.ColumnElement[bool]:
    """True of a task that still wants answers, from people of this role."""
    if role == "lead":
        return _OPEN
    return sa.and_(_OPEN, t.tasks.c.skips < task_planning.SKIPS_TO_LEAD)


@cache
def _next(role: Role) -> sa.Select[Any]:
    """The first task with a free place; where the search began; the first task not had; and what
    may come in its stead."""
    search = sa.select(t.tasks).where(
        wanted_of(role), t.tasks.c.position >= _BEGIN, ~HAD, ~ANSWERED
    )
    search = search.order_by(t.tasks.c.position, t.tasks.c.id).limit(1)
    first = search.with_only_columns(t.tasks.c.position).correlate(None).scalar_subquery()
    return search.with_only_columns(
        t.tasks.c.id,
        t.tasks.c.kind,
        _BEGIN.label("began"),
        first.label("first"),
        _SHARES.label("shares"),
    ).where(_FREE)


def others(connection: sa.Connection, task_id: str, annotator_id: int) -> int:
    """How many of a task's places are leased to other people now."""
    found = connection.scalar(_OTHERS, {"me": annotator_id, "now": now(), "task": task_id})
    return int(found or 0)


def next_task(
    connection: sa.Connection, annotator: Annotator, kinds: Iterable[Kind] | None
) -> tuple[str, Kind, Shares] | None:
    """The first task with a free place that this annotator has not had, its kind, and the shares
    of what is asked beside the queue.

    What they have had at the head of the queue is not searched again: `queue_from` is stored with
    the annotator, and `reopened` sets it back where a task behind it is to be asked again.
    """
    me = {"me": annotator.id, "now": now()}
    query = _next(annotator.role)
    if kinds is not None:
        query = query.where(t.tasks.c.kind.in_(list(kinds)))
    row = connection.execute(query, me).one_or_none()
    if row is None:
        return None
    if row.first > row.began:
        connection.execute(_SET_QUEUE_FROM, me | {"from": row.first})
    return row.id, row.kind, read_shares(row.shares)


def read_shares(stored: str | None) -> Shares:
    """The shares as they are stored; the usual ones where nobody has set any."""
    return Shares(**json.loads(stored)) if stored else Shares()


def reopened(connection: sa.Connection, position: float) -> None:
    """A task at this place of the queue may be asked again: nobody passes over it.

    Waits for claims that are being made, which have not seen it.
    """
    one_claim_at_a_time(connection)
    connection.execute(_SET_BACK, {"from": position})


def lease(connection: sa.Connection, asked: Asked, annotator_id: int, turn: int) -> int | None:
    """Take the task; one released earlier is taken again with the sides it had.

    Returns the assignment's id; None where its annotator answered it a moment ago.
    """
    held = {"state": "leased", "turn": turn, "lease_until": lease_end()}
    held["purpose"] = asked.purpose
    fresh = {
        "task_id": asked.task_id,
        "annotator_id": annotator_id,
        "shown_first": asked.shown_first,
        "created_at": now(),
    }
    insert = upsert(
        connection,
        t.assignments,
        ["task_id", "annotator_id"],
        set_=held,
        where=t.assignments.c.state == "released",
    )
    taken: int | None = connection.scalar(insert.returning(t.assignments.c.id), fresh | held)
    return taken


def held(connection: sa.Connection, annotator: Annotator) -> list[Any]:
    """Rows of what this annotator holds, in turn.

    A lease that ran out is still theirs while the task has a place for them.
    """
    return list(connection.execute(_HELD, {"me": annotator.id, "now": now()}))


def give_back(connection: sa.Connection, annotator_id: int) -> None:
    """Release what this annotator holds; it may come to them again."""
    mine = sa.and_(t.assignments.c.annotator_id == annotator_id, t.assignments.c.state == "leased")
    first = connection.scalar(
        sa.select(sa.func.min(t.tasks.c.position))
        .join(t.assignments, t.assignments.c.task_id == t.tasks.c.id)
        .where(mine)
    )
    if first is not None:
        connection.execute(sa.update(t.assignments).where(mine).values(state="released"))
        own = t.annotators.c.id == annotator_id  # to others these tasks were never closed
        connection.execute(_SET_BACK.where(own), {"from": first})


def recount(connection: sa.Connection, task_ids: Iterable[str]) -> None:
    """Set what tasks still want: each annotator whose answer stands fills a place."""
    connection.execute(_RECOUNT, {"tasks": list(task_ids)})


def reopen(connection: sa.Connection, task_ids: Iterable[str]) -> None:
    """Places of these tasks were given up: those that are open may be asked again."""
    first = connection.scalar(_FIRST_OPEN, {"tasks": list(task_ids)})
    if first is not None:
        reopened(connection, first)


def renew(connection: sa.Connection, ids: Sequence[int]) -> None:
    """A sign of life: leases run from now, the first for LEASE_MINUTES, those after it shorter."""
    ends = {"end": lease_end(), "end_ahead": lease_end(task_planning.AHEAD_MINUTES)}
    if ids:
        connection.execute(_RENEW, {"first": ids[0], "ids": list(ids)} | ends)


def assignments(connection: sa.Connection, ids: list[int]) -> list[Assignment]:
    """These assignments with their tasks and texts, in the order asked."""
    found = {}
    for row in connection.execute(_IN_FULL, {"ids": ids}):
        prompt = prompt_from(row)
        first = Completion(prompt, row.text_a, row.finished_a)
        second = None if row.text_b is None else Completion(prompt, row.text_b, row.finished_b)
        task = Task(row.kind, first, second, row.wanted, row.position)
        found[row.id] = Assignment(row.id, task, row.shown_first)
    return [found[i] for i in ids if i in found]


def lease_end(minutes: float = task_planning.LEASE_MINUTES) -> str:
    """The moment at which a lease that begins now runs out."""
    return timestamp(datetime.now(UTC) + timedelta(minutes=minutes))
