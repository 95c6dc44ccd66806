"""Who holds which task: the SQL of giving tasks out, within the ledger's transactions.

A task has `wanted` places, one for each annotator who is to judge it. `remaining` counts those that
no standing answer fills. An assignment leases a place until `lease_until`. A place is free where
`remaining` is more than the leases that others hold now, so no task gets more answers than wanted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa

from data import task_planning
from data.schema import Annotator, Completion, Kind, Purpose, Role, Task, now
from data.store import tables as t
from data.store.content import distinct, insert_completions, prompt_from
from data.store.database import (
    Lock,
    ResultRow,
    RowValues,
    existing,
    ignoring_insert,
    insert_ignore,
    take_lock,
    target,
    upsert,
)
from data.store.judgement_rows import count_for_each, standing
from data.task_planning import Shares

# The statements of a press are built once: building them takes longer than running them.
_ME: sa.BindParameter[int] = sa.bindparam("me")
_NOW: sa.BindParameter[str] = sa.bindparam("now")
# A lease that would last longer than any can was made before the clock was set back: it is over.
_LATEST: sa.BindParameter[str] = sa.bindparam("latest")
CLOCKS_DIFFER = 1
"""Minutes by which the clocks of two servers of one store may differ."""
_POSITION: sa.BindParameter[float] = sa.bindparam("position")
# A literal, not a parameter: only a condition spelt like the index's own lets it be used.
_OPEN = t.tasks.c.remaining > sa.literal_column("0")
_other, _mine = t.assignments.alias("other"), t.assignments.alias("mine")
# Leases of others count while they last. The annotator's own do not: a place that is leased to
# them is theirs to fill. Control tasks ("gold", "repeat") lease no place.
PLACES_LEASED_TO_OTHERS = count_for_each(
    t.tasks,
    _other,
    _other.c.task_id == t.tasks.c.id,
    _other.c.annotator_id != _ME,
    _other.c.state == "leased",
    _other.c.purpose == "queue",
    _other.c.lease_until.between(_NOW, _LATEST),
)
HAD = (  # whether this annotator holds a task, answered it or skipped it
    count_for_each(
        t.tasks,
        _mine,
        _mine.c.task_id == t.tasks.c.id,
        _mine.c.annotator_id == _ME,
        _mine.c.state.in_(["leased", "done", "skipped"]),
    )
    > 0
)
ANSWERED = (  # whether an answer of this annotator stands; where not HAD, it came from a file
    count_for_each(
        t.tasks,
        t.judgements,
        t.judgements.c.task_id == t.tasks.c.id,
        t.judgements.c.annotator_id == _ME,
        standing(),
    )
    > 0
)
OVER = t.assignments.c.state.in_(["done", "skipped"])
_HAS_FREE_PLACE = t.tasks.c.remaining > PLACES_LEASED_TO_OTHERS

_IS_CONTROL = t.assignments.c.purpose != "queue"
_LEASED = (  # `there`: whether it is still theirs, though its lease may have run out
    sa.select(
        t.assignments.c.id,
        t.assignments.c.turn,
        _IS_CONTROL.label("control"),
        (~t.assignments.c.lease_until.between(_NOW, _LATEST)).label("late"),
        sa.or_(_IS_CONTROL, sa.and_(_OPEN, _HAS_FREE_PLACE)).label("there"),
    )
    .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
    .where(t.assignments.c.annotator_id == _ME, t.assignments.c.state == "leased", ~ANSWERED)
    .order_by(t.assignments.c.turn, t.assignments.c.id)
)
_AMONG_TASKS = t.tasks.c.id.in_(sa.bindparam("tasks", expanding=True))
_PLACES_FILLED = (  # distinct: an answer that was edited is two rows of one person
    sa.select(sa.func.count(t.judgements.c.annotator_id.distinct()))
    .where(t.judgements.c.task_id == t.tasks.c.id, t.judgements.c.purpose == "queue", standing())
    .correlate(t.tasks)
    .scalar_subquery()
)
_PLACES_LEFT = t.tasks.c.wanted - _PLACES_FILLED
# Counted anew, never counted down: edits, undos and imports then need no rule of their own.
_RECOUNT = (
    sa.update(t.tasks)
    .where(_AMONG_TASKS)
    .values(remaining=sa.case((_PLACES_LEFT > 0, _PLACES_LEFT), else_=0))
)
_FIRST_OPEN_POSITION = sa.select(sa.func.min(t.tasks.c.position)).where(_AMONG_TASKS, _OPEN)
_SEARCH_FROM = (
    sa.select(sa.func.coalesce(t.annotators.c.queue_from, sa.literal(-math.inf)))
    .where(t.annotators.c.id == _ME)
    .scalar_subquery()
)
_SET_SEARCH_FROM = (
    sa.update(t.annotators).where(t.annotators.c.id == _ME).values(queue_from=_POSITION)
)
_REWIND = (
    sa.update(t.annotators)
    .where(t.annotators.c.queue_from > _POSITION)
    .values(queue_from=_POSITION)
)
_SHARES = sa.select(t.settings.c.value).where(t.settings.c.name == "shares").scalar_subquery()
_AMONG_ASSIGNMENTS = t.assignments.c.id.in_(sa.bindparam("ids", expanding=True))
_first, _second = t.completions.alias("first"), t.completions.alias("second")
_WITH_TEXTS = (
    sa.select(
        *t.assignments.c["id", "shown_first"],
        *t.tasks.c["kind", "wanted", "position"],
        _first.c.text.label("text_a"),
        _first.c.finished.label("finished_a"),
        _second.c.text.label("text_b"),
        _second.c.finished.label("finished_b"),
        *t.prompts.c["messages", "tags", "external_id", "created_at"],
    )
    .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
    .join(t.prompts, t.prompts.c.id == t.tasks.c.prompt_id)
    .join(_first, _first.c.id == t.tasks.c.completion_a)
    .outerjoin(_second, _second.c.id == t.tasks.c.completion_b)
    .where(_AMONG_ASSIGNMENTS)
)
_RENEW = (
    sa.update(t.assignments)
    .where(_AMONG_ASSIGNMENTS)
    .values(
        lease_until=sa.case(
            (t.assignments.c.id == sa.bindparam("first"), sa.bindparam("end")),
            else_=sa.bindparam("end_ahead"),
        )
    )
)


class OpenTask(NamedTuple):
    """The next task of the queue for a person."""

    id: str
    kind: Kind
    shares: Shares
    """How often a control task comes beside it."""


@dataclass(frozen=True)
class NextTask:
    """A task that a person is about to be given."""

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
    """Queue tasks; those already there stay as they are, with their sides exchanged too.

    Returns by id the task that stands for each: itself, or the one with its sides exchanged.
    """
    take_lock(connection, Lock.CONTENT)  # nobody may add the exchanged pair meanwhile
    given = {task.id: task for task in tasks}
    turned = {i: task.turned() for i, task in given.items() if task.b is not None}
    stored = existing(connection, t.tasks, [*turned, *(task.id for task in turned.values())])
    stands_for: dict[str, Task] = {}
    for i, task in given.items():  # with its sides as stored, else as they come first among these
        other = turned.get(i, task)
        as_other = i not in stored and (other.id in stored or other.id in stands_for)
        stands_for[i] = stands_for.get(other.id, other) if as_other else task
    new = list({task.id: task for task in stands_for.values()}.values())
    insert_completions(connection, distinct(side for task in new for side in task.sides))
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
        for task in new
    ]
    insert_ignore(connection, t.tasks, rows)
    queued = [task.position for task in new if task.wanted > 0]
    if queued:
        rewind_queue(connection, min(queued))
    return stands_for


def insert_repeats(connection: sa.Connection, repeats: dict[str, str]) -> None:
    """Copies of stored tasks (the copy's id -> the task's) by which one person is asked again.

    Nothing is wanted of a copy, so nobody finds it in the queue.
    """
    c = target(connection, t.tasks).c
    columns: dict[str, sa.ColumnElement[Any]] = {
        "id": sa.bindparam("copy"),
        **dict(c["kind", "prompt_id", "completion_a", "completion_b", "position"].items()),
        "wanted": sa.literal(0),
        "remaining": sa.literal(0),
        "repeats": c.id,
        "created_at": sa.bindparam("created", type_=sa.String),
    }
    originals = sa.select(*columns.values()).where(c.id == sa.bindparam("original"))
    if repeats:
        copies = [{"copy": i, "original": of, "created": now()} for i, of in repeats.items()]
        insert = ignoring_insert(connection, t.tasks).from_select(list(columns), originals)
        connection.execute(insert, copies)


def wanted_of(role: Role) -> sa.ColumnElement[bool]:
    """True of a task that still wants answers, from people of this role."""
    if role == "lead":
        return _OPEN
    return sa.and_(_OPEN, t.tasks.c.skips < task_planning.SKIPS_TO_LEAD)


@cache
def _search_queue(role: Role) -> sa.Select[tuple[object, ...]]:
    """The first task with a free place, and three things that the claim needs besides, so that
    one statement does: where the search began, the first task that was not had, the shares.

    A task without a free place now may have one later (its leases run out), so the next search
    begins at the first task that was not had, `first`, and not at the one that was found.
    """
    search = sa.select(t.tasks).where(
        wanted_of(role), t.tasks.c.position >= _SEARCH_FROM, ~HAD, ~ANSWERED
    )
    search = search.order_by(t.tasks.c.position, t.tasks.c.id).limit(1)
    # Uncorrelated: a search of its own, though it stands within a query on the same table.
    first = search.with_only_columns(t.tasks.c.position).correlate(None).scalar_subquery()
    return search.with_only_columns(
        t.tasks.c.id,
        t.tasks.c.kind,
        _SEARCH_FROM.label("began"),
        first.label("first"),
        _SHARES.label("shares"),
    ).where(_HAS_FREE_PLACE)


def next_task(
    connection: sa.Connection, annotator: Annotator, kinds: Iterable[Kind] | None
) -> OpenTask | None:
    """The first task with a free place that this annotator has not had.

    What they have had at the head of the queue is not searched again: `queue_from` is stored with
    the annotator, and `rewind_queue` sets it back where a task before it is to be asked again.
    """
    me = as_of_now(annotator.id)
    query = _search_queue(annotator.role)
    if kinds is not None:
        query = query.where(t.tasks.c.kind.in_(list(kinds)))
    row = connection.execute(query, me).one_or_none()
    if row is None:
        return None
    if row.first > row.began:
        connection.execute(_SET_SEARCH_FROM, {"me": annotator.id, "position": row.first})
    return OpenTask(row.id, row.kind, read_shares(row.shares))


def read_shares(stored: str | None) -> Shares:
    """The shares as they are stored; the usual ones where nobody has set any."""
    return Shares(**json.loads(stored)) if stored else Shares()


def rewind_queue(connection: sa.Connection, position: float) -> None:
    """A task at this position may be asked again: no annotator's search begins behind it.

    The lock makes this wait for claims in progress. They have not seen the task, and would
    otherwise move their annotator's `queue_from` beyond it afterwards.
    """
    take_lock(connection, Lock.QUEUE)
    connection.execute(_REWIND, {"position": position})


def lease(
    connection: sa.Connection, candidate: NextTask, annotator_id: int, turn: int
) -> int | None:
    """Take the task for AHEAD_MINUTES; one released earlier is taken again with its sides.

    Returns the assignment's id; None where its annotator answered it a moment ago.
    """
    row = {
        "task_id": candidate.task_id,
        "annotator_id": annotator_id,
        "shown_first": candidate.shown_first,
        "purpose": candidate.purpose,
        "state": "leased",
        "turn": turn,
        "lease_until": lease_end(task_planning.AHEAD_MINUTES),
        "created_at": now(),
    }
    taken: int | None = connection.scalar(_lease_statement(connection.dialect.name), row)
    return taken


@cache
def _lease_statement(dialect: str) -> sa.Executable:
    key, renewed = ["task_id", "annotator_id"], ["purpose", "state", "turn", "lease_until"]
    # A row that is there and not released (answered a moment ago) stays; then no id is returned.
    released = t.assignments.c.state == "released"
    insert = upsert(dialect, t.assignments, key, renewed, released)
    return insert.returning(t.assignments.c.id)


def held_rows(connection: sa.Connection, annotator: Annotator) -> list[ResultRow]:
    """Rows (id, turn) of what this annotator holds, in turn.

    A lease that ran out is still its annotator's while the task has a place for them. A control
    task, which takes no place, goes with the task beside which it was given: one that never got
    lost would be known by that.
    """
    rows = connection.execute(_LEASED, as_of_now(annotator.id)).all()
    return [row for row in rows if row.there and not (row.control and _lost_beside(row, rows))]


def _lost_beside(control: ResultRow, rows: Sequence[ResultRow]) -> bool:
    """Whether a control task's lease ran out and others have the nearest task of the queue."""
    queue = [row for row in rows if not row.control]
    if not control.late or not queue:
        return False
    return not min(queue, key=lambda row: abs(row.turn - control.turn)).there


def give_back(connection: sa.Connection, annotator_id: int) -> None:
    """End this annotator's leases: others may have the tasks.

    What nobody took meanwhile comes back to them as it was, in the same order, control tasks too.
    """
    mine = sa.and_(t.assignments.c.annotator_id == annotator_id, t.assignments.c.state == "leased")
    connection.execute(sa.update(t.assignments).where(mine).values(lease_until=now()))


def recount(connection: sa.Connection, task_ids: Iterable[str]) -> None:
    """Set what tasks still want: each annotator whose answer stands fills a place."""
    connection.execute(_RECOUNT, {"tasks": list(task_ids)})


def reopen_tasks(connection: sa.Connection, task_ids: Iterable[str]) -> None:
    """Places of these tasks were given up: those that are open may be asked again."""
    first = connection.scalar(_FIRST_OPEN_POSITION, {"tasks": list(task_ids)})
    if first is not None:
        rewind_queue(connection, first)


def renew(connection: sa.Connection, ids: Sequence[int]) -> None:
    """Leases run from now, the first for LEASE_MINUTES, those after it for AHEAD_MINUTES."""
    ends = {"end": lease_end(), "end_ahead": lease_end(task_planning.AHEAD_MINUTES)}
    if ids:
        connection.execute(_RENEW, {"first": ids[0], "ids": list(ids)} | ends)


def load_assignments(connection: sa.Connection, ids: Sequence[int]) -> list[Assignment]:
    """These assignments with their tasks and texts, in the order asked."""
    found = {}
    for row in connection.execute(_WITH_TEXTS, {"ids": list(ids)}):
        prompt = prompt_from(row)
        first = Completion(prompt, row.text_a, row.finished_a)
        second = None if row.text_b is None else Completion(prompt, row.text_b, row.finished_b)
        task = Task(row.kind, first, second, row.wanted, row.position)
        found[row.id] = Assignment(row.id, task, row.shown_first)
    return [found[i] for i in ids if i in found]


def as_of_now(annotator_id: int) -> RowValues:
    """What the statements on leases are asked with."""
    latest = lease_end(task_planning.LEASE_MINUTES + CLOCKS_DIFFER)
    return {"me": annotator_id, "now": now(), "latest": latest}


def lease_end(minutes: float = task_planning.LEASE_MINUTES) -> str:
    """The moment at which a lease that begins now runs out."""
    return now(timedelta(minutes=minutes))
