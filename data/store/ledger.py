"""The ledger: tasks, who holds which, and what was answered. One transaction a step.

Nothing is updated in place that a person has said: an edit or an undo is a new row that supersedes
the old one.

All steps hold the queue's lock, so each sees the queue as the step before has left it. Every step
makes its checks before it writes: one that raises ValueError has changed nothing, and a transaction
of several steps (`Database.write`) can go on after it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import sqlalchemy as sa

from data import task_planning
from data.schema import (
    Annotator,
    Answer,
    Judgement,
    Kind,
    Purpose,
    Task,
    check_answer,
    check_comment,
    check_flags,
    now,
)
from data.store import assignments, control_tasks, progress
from data.store import tables as t
from data.store.accounts.guidelines import newest_version
from data.store.assignments import (
    PLACES_LEASED_TO_OTHERS,
    Assignment,
    NextTask,
    OpenTask,
    insert_tasks,
)
from data.store.content import load_completions, load_prompts
from data.store.database import Database, Lock, take_lock
from data.store.judgement_rows import (
    answer_columns,
    judgement_of,
    pack_flags,
    select_judgements,
    standing,
)
from data.store.progress import Overview, PastAnswer

__all__ = ["Assignment", "Ledger", "Overview", "PastAnswer"]

_STANDING = (  # perhaps from an imported file
    sa.select(t.judgements.c.id)
    .where(
        t.judgements.c.task_id == t.assignments.c.task_id,
        t.judgements.c.annotator_id == t.assignments.c.annotator_id,
        standing(),
    )
    .correlate(t.assignments)
    .scalar_subquery()
)
_OWN = (
    sa.select(
        *t.assignments.c["id", "task_id", "annotator_id", "state", "shown_first", "purpose"],
        *t.tasks.c["kind", "remaining"],
        PLACES_LEASED_TO_OTHERS.label("leased_to_others"),
        _STANDING.label("stands"),
    )
    .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
    .where(
        t.assignments.c.id == sa.bindparam("assignment"),
        t.assignments.c.annotator_id == sa.bindparam("me"),
    )
)
_OF_TOKEN = sa.select(*t.judgements.c["id", "annotator_id", "assignment_id"]).where(
    t.judgements.c.client_token == sa.bindparam("token")
)
_INSERT = sa.insert(t.judgements).returning(t.judgements.c.id)
_OF_ASSIGNMENT = t.assignments.c.id == sa.bindparam("assignment")


class _Own(NamedTuple):
    """One of an annotator's assignments, with all that decides whether they may answer it."""

    id: int
    task_id: str
    annotator_id: int
    state: Literal["leased", "done", "skipped", "released"]
    shown_first: str | None
    purpose: Purpose
    kind: Kind
    remaining: int
    leased_to_others: int
    stands: int | None
    """Their judgement that stands on the task."""


class Ledger:
    """Claims, answers, and what stands."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @contextmanager
    def _queue_step(self) -> Iterator[sa.Connection]:
        """A write transaction in which nobody else gives tasks out or records answers."""
        with self._db.write() as connection:
            take_lock(connection, Lock.QUEUE)
            yield connection

    def add_tasks(self, tasks: Iterable[Task]) -> int:
        """Queue tasks; those already there stay as they are. Returns how many are new."""
        count = sa.select(sa.func.count()).select_from(t.tasks)
        with self._db.write() as connection:
            before = connection.scalar(count) or 0
            insert_tasks(connection, list(tasks))
            return (connection.scalar(count) or 0) - before

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
        with self._queue_step() as connection:
            ids = self.lease_ahead(annotator, rng, 1, kinds)
            return next(iter(assignments.load_assignments(connection, ids)), None)

    def lease_ahead(
        self,
        annotator: Annotator,
        rng: random.Random,
        count: int,
        kinds: Iterable[Kind] | None = None,
    ) -> list[int]:
        """Ids of the assignments to judge now and after it, at most `count`, in turn.

        The first is leased for LEASE_MINUTES from now, the others for AHEAD_MINUTES. Their texts
        can be read without the lock, see `overview`.

        A control task is leased together with the task beside it, so now and then one more is held
        than was asked for. The queue is searched all the same: that it takes less time to answer
        would tell.
        """
        with self._queue_step() as connection:
            held = assignments.held_rows(connection, annotator)
            ids = [row.id for row in held]
            turn = held[-1].turn if held else 0
            while found := assignments.next_task(connection, annotator, kinds):
                needed = len(ids) < count
                for task in _with_control_task(connection, annotator, rng, found, needed):
                    turn += 1
                    taken = assignments.lease(connection, task, annotator.id, turn)
                    ids += [] if taken is None else [taken]
                if len(ids) >= count:
                    break
            assignments.renew(connection, ids[:count])
            return ids[:count]

    def submit(
        self,
        annotator: Annotator,
        assignment_id: int,
        answer: Answer,
        client_token: str,
        guidelines_version: int | None = None,
        as_shown: bool = False,
    ) -> int:
        """Record an answer to a held task; returns the judgement's id.

        With `as_shown`, "a" in the answer is the side that was shown first. The same client token
        again returns the same id and stores nothing. Raises ValueError for an answer that does not
        fit the kind, guidelines that do not exist, or an assignment that is not this annotator's
        to answer (anybody else's, already answered under another token, skipped, or lost to others
        because the lease ran out).
        """
        with self._queue_step() as connection:
            known = _find_token(connection, client_token, annotator.id, assignment_id)
            if known is not None:
                return known
            own = _find_own(connection, assignment_id, annotator.id)
            if own is None or own.state in ("done", "skipped"):
                raise ValueError("this task is not yours to answer any more: reload the page")
            fills_a_place = own.purpose == "queue" and own.stands is None
            if fills_a_place and own.remaining <= own.leased_to_others:
                raise ValueError("this task has all its answers already: reload the page")
            given = _check_given(connection, own, answer, guidelines_version, as_shown)
            added = _insert_judgement(connection, own, client_token, given, guidelines_version)
            _set_state(connection, assignment_id, "done", lease_until=now())
            assignments.recount(connection, [own.task_id])
            return added

    def edit(
        self,
        annotator: Annotator,
        assignment_id: int,
        answer: Answer,
        client_token: str,
        guidelines_version: int | None = None,
        as_shown: bool = False,
    ) -> int:
        """Change an answer that stands: a new row supersedes it. Returns the judgement's id.

        Otherwise as `submit`. Raises ValueError where nothing of this annotator's stands.
        """
        with self._queue_step() as connection:
            known = _find_token(connection, client_token, annotator.id, assignment_id)
            if known is not None:
                return known
            own = _find_own(connection, assignment_id, annotator.id)
            if own is None or own.state != "done" or own.stands is None:
                raise ValueError("there is no answer of yours to change: reload the page")
            given = _check_given(connection, own, answer, guidelines_version, as_shown)
            return _insert_judgement(connection, own, client_token, given, guidelines_version)

    def skip(
        self,
        annotator: Annotator,
        assignment_id: int,
        flags: Iterable[str] = (),
        comment: str | None = None,
    ) -> None:
        """Give a task back for good: this annotator is not asked it again, its place is free.

        After SKIPS_TO_LEAD skips only leads are asked. Skipping twice is skipping once. Raises
        ValueError for a task that is not theirs, or answered.
        """
        reasons = tuple(flags)
        check_flags(reasons)
        check_comment(comment)
        with self._queue_step() as connection:
            own = _find_own(connection, assignment_id, annotator.id)
            if own is None or own.state == "done":
                raise ValueError("this task is not yours to skip any more: reload the page")
            if own.state == "skipped":
                return
            said = {"flags": pack_flags(reasons), "comment": comment, "lease_until": now()}
            _set_state(connection, assignment_id, "skipped", **said)
            skipped = sa.update(t.tasks).where(t.tasks.c.id == own.task_id)
            connection.execute(skipped.values(skips=t.tasks.c.skips + 1))

    def release(self, annotator: Annotator) -> None:
        """Give back what is held (sign-out); what others do not take comes again as it was."""
        with self._queue_step() as connection:
            assignments.give_back(connection, annotator.id)

    def undo(
        self,
        annotator: Annotator,
        assignment_id: int | None = None,
        client_token: str | None = None,
    ) -> bool:
        """Take a standing judgement back and lease its task again, before all others.

        Without an assignment, the last one. Returns False where there is nothing to take back. The
        same client token again takes nothing back, whatever was answered since.
        """
        with self._queue_step() as connection:
            if client_token and _find_token(connection, client_token, annotator.id, assignment_id):
                return True
            last = progress.last_answered(connection, annotator.id, assignment_id)
            own = last and _find_own(connection, last, annotator.id)
            if not own or own.stands is None:
                return False
            _insert_judgement(connection, own, client_token or f"undo:{own.stands}", None)
            assignments.recount(connection, [own.task_id])
            assignments.reopen_tasks(connection, [own.task_id])
            turns = [other.turn for other in assignments.held_rows(connection, annotator)]
            turn = min(turns, default=1) - 1
            _set_state(connection, own.id, "leased", turn=turn, lease_until=assignments.lease_end())
            return True

    def overview(
        self, annotator: Annotator, leased: Sequence[int] = (), count_left: bool = False
    ) -> Overview:
        """What a page shows of these assignments and beside them; see Overview."""
        with self._db.read() as connection:
            return progress.load_overview(connection, annotator, leased, count_left)

    def past(self, annotator: Annotator, limit: int) -> list[PastAnswer]:
        """This annotator's last standing answers, newest first."""
        with self._db.read() as connection:
            return progress.load_past(connection, annotator, limit)

    def for_leads(self) -> int:
        """Open tasks that annotators skipped and that no lead has answered or skipped yet."""
        a, tasks = t.assignments.c, t.tasks.c
        leads = sa.select(t.annotators.c.id).where(t.annotators.c.role == "lead")
        seen = sa.exists().where(a.task_id == tasks.id, assignments.OVER, a.annotator_id.in_(leads))
        skipped = (tasks.remaining > 0, tasks.skips >= task_planning.SKIPS_TO_LEAD)
        query = sa.select(sa.func.count()).where(*skipped, ~seen.correlate(t.tasks))
        with self._db.read() as connection:
            return int(connection.scalar(query.select_from(t.tasks)) or 0)

    def judgements(self, kinds: Iterable[Kind] | None = None) -> list[Judgement]:
        """What stands, oldest first: superseded and undone rows are left out.

        So are answers to tasks that were asked a second time: nobody counts twice.
        """
        first = t.judgements.c.purpose != "repeat"
        query = select_judgements().where(standing(), first).order_by(t.judgements.c.id)
        if kinds is not None:
            query = query.where(t.judgements.c.kind.in_(list(kinds)))
        with self._db.read() as connection:
            texts = load_completions(connection, load_prompts(connection))
            return [judgement_of(row, texts) for row in connection.execute(query)]

    def by_annotator(self) -> dict[str, int]:
        """Standing judgements of each annotator."""
        name = t.annotators.c.name
        query = (
            sa.select(name, sa.func.count(t.judgements.c.id))
            .join(t.judgements, t.judgements.c.annotator_id == t.annotators.c.id)
            .where(standing())
            .group_by(name)
            .order_by(name)
        )
        with self._db.read() as connection:
            return {name: n for name, n in connection.execute(query)}  # noqa: C416


def _with_control_task(
    connection: sa.Connection,
    annotator: Annotator,
    rng: random.Random,
    found: OpenTask,
    needed: bool,
) -> list[NextTask]:
    """The task of the queue, and perhaps a control task before or behind it.

    Where none is needed, none; after the same search.
    """
    side = task_planning.side_order(rng) if found.kind == "pairwise" else None
    task = NextTask(found.id, side)
    control = control_tasks.maybe_control_task(connection, annotator, rng, found, needed)
    if not needed:
        return []
    if control is None:
        return [task]
    if control.task_id == found.id:  # its answer is known
        return [control]
    return [control, task] if rng.random() < 0.5 else [task, control]


def _find_token(
    connection: sa.Connection, client_token: str, annotator_id: int, assignment_id: int | None
) -> int | None:
    """The judgement that was stored under this token, if it was."""
    known = connection.execute(_OF_TOKEN, {"token": client_token}).one_or_none()
    if known is None:
        return None
    if known.annotator_id != annotator_id:
        raise ValueError("this answer's token belongs to somebody else: reload the page")
    if assignment_id not in (None, known.assignment_id):
        raise ValueError("this answer's token was used for another task: reload the page")
    return int(known.id)


def _find_own(connection: sa.Connection, assignment_id: int, annotator_id: int) -> _Own | None:
    """One of this annotator's assignments; None for anybody else's."""
    mine = {"assignment": assignment_id, **assignments.as_of_now(annotator_id)}
    row = connection.execute(_OWN, mine).one_or_none()
    return None if row is None else _Own._make(row)


def _check_given(
    connection: sa.Connection, own: _Own, answer: Answer, guidelines: int | None, as_shown: bool
) -> Answer:
    """The answer in the task's order of sides, if it and the guidelines' version can be taken."""
    if as_shown and own.shown_first == "b":
        answer = answer.turned()
    check_answer(own.kind, answer)
    if guidelines is not None and guidelines > (newest_version(connection) or 0):
        raise ValueError(f"there is no version {guidelines} of the guidelines: reload the page")
    return answer


def _insert_judgement(
    connection: sa.Connection,
    own: _Own,
    client_token: str,
    answer: Answer | None,
    guidelines_version: int | None = None,
) -> int:
    """Add a judgement that supersedes what stands; without an answer it only takes that back."""
    row = {
        "task_id": own.task_id,
        "annotator_id": own.annotator_id,
        "assignment_id": own.id,
        "kind": own.kind,
        "shown_first": answer and own.shown_first,
        "client_token": client_token,
        "supersedes": own.stands,
        "guidelines_version": guidelines_version,
        "purpose": own.purpose,
        "created_at": now(),
        **answer_columns(answer),
    }
    return int(connection.execute(_INSERT, row).scalar_one())


def _set_state(connection: sa.Connection, assignment_id: int, state: str, **more: object) -> None:
    update = sa.update(t.assignments).where(_OF_ASSIGNMENT).values(state=state, **more)
    connection.execute(update, {"assignment": assignment_id})
