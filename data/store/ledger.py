"""The ledger: tasks, who holds which, and what was answered. One transaction a step.

Nothing is updated in place that a person has said: an edit or an undo is a new row that supersedes
the old one.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from data import task_planning
from data.schema import (
    Annotator,
    Answer,
    Judgement,
    Kind,
    Task,
    check_answer,
    check_comment,
    check_flags,
    now,
)
from data.store import assignments, control_tasks, progress
from data.store import tables as t
from data.store.assignments import Assignment, insert_tasks
from data.store.content import load_completions, load_prompts
from data.store.database import Database
from data.store.judgement_rows import judged, judgement_of, pack_flags, standing
from data.store.progress import Past, Progress

__all__ = ["Assignment", "Ledger", "Past", "Progress"]


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
        claimed = self.claim_ahead(annotator, rng, 1, kinds)
        return claimed[0] if claimed else None

    def claim_ahead(
        self,
        annotator: Annotator,
        rng: random.Random,
        count: int,
        kinds: Iterable[Kind] | None = None,
    ) -> list[Assignment]:
        """The task to judge now and those after it, at most `count`, in turn.

        The first is leased for LEASE_MINUTES from now, the others for AHEAD_MINUTES.
        """
        with self._db.write() as connection:
            assignments.one_claim_at_a_time(connection)
            ids = _claim(connection, annotator, rng, count, kinds)
            assignments.renew(connection, ids)
            return assignments.assignments(connection, ids)

    def shown(self, annotator: Annotator, assignment_id: int) -> tuple[Kind, str | None] | None:
        """Kind and side order of one of this annotator's assignments; None for any other."""
        with self._db.read() as connection:
            row = connection.execute(
                _OWN, {"assignment": assignment_id, "me": annotator.id}
            ).one_or_none()
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
        answer (anybody else's, already answered under another token, skipped, or lost to others
        because the lease ran out).
        """
        with self._judging() as connection:
            row = _assignment_row(connection, assignment_id, annotator.id)
            known = _of_token(connection, client_token, annotator.id, assignment_id)
            if known is not None:
                return known
            if row is None or row.state in ("done", "skipped"):
                raise ValueError("this task is no longer yours to answer: reload the page")
            stands = _standing(connection, row.task_id, annotator.id)
            full = row.purpose == "queue" and stands is None
            if full and row.remaining <= assignments.others(connection, row.task_id, annotator.id):
                raise ValueError("this task has all its answers already: reload the page")
            check_answer(row.kind, answer)
            judgement_id = _insert_judgement(
                connection, row, annotator.id, answer, client_token, guidelines_version, stands
            )
            _set_state(connection, assignment_id, "done")
            assignments.recount(connection, [row.task_id])
            return judgement_id

    def edit(
        self,
        annotator: Annotator,
        assignment_id: int,
        answer: Answer,
        client_token: str,
        guidelines_version: int | None = None,
    ) -> int:
        """Change an answer that stands: a new row supersedes it. Returns the judgement's id.

        The same client token again stores nothing. Raises ValueError where nothing of this
        annotator's stands, or the answer does not fit.
        """
        with self._judging() as connection:
            row = _assignment_row(connection, assignment_id, annotator.id)
            known = _of_token(connection, client_token, annotator.id, assignment_id)
            if known is not None:
                return known
            stands = row and _standing(connection, row.task_id, annotator.id)
            if row is None or row.state != "done" or stands is None:
                raise ValueError("there is no answer of yours to change: reload the page")
            check_answer(row.kind, answer)
            return _insert_judgement(
                connection, row, annotator.id, answer, client_token, guidelines_version, stands
            )

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
        with self._judging() as connection:
            row = _assignment_row(connection, assignment_id, annotator.id)
            if row is None or row.state == "done":
                raise ValueError("this task is no longer yours to skip: reload the page")
            if row.state == "skipped":
                return
            said = {"flags": pack_flags(reasons), "comment": comment}
            _set_state(connection, assignment_id, "skipped", **said)
            connection.execute(
                sa.update(t.tasks)
                .where(t.tasks.c.id == row.task_id)
                .values(skips=t.tasks.c.skips + 1)
            )

    def release(self, annotator: Annotator) -> None:
        """Give back what is held (sign-out); it may come again, with the same sides."""
        with self._db.write() as connection:
            assignments.one_claim_at_a_time(connection)
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
        with self._judging() as connection:
            assignments.one_claim_at_a_time(connection)
            if assignment_id is not None:  # locked first: the same undo may come twice at once
                _assignment_row(connection, assignment_id, annotator.id)
            known = client_token and _of_token(
                connection, client_token, annotator.id, assignment_id
            )
            if known:
                return True
            last = progress.last_answered(connection, annotator.id, assignment_id)
            if last is None:
                return False
            row = _assignment_row(connection, last, annotator.id)
            stands = row and _standing(connection, row.task_id, annotator.id)
            if row is None or stands is None:
                return False
            connection.execute(
                sa.insert(t.judgements).values(
                    task_id=row.task_id,
                    annotator_id=annotator.id,
                    assignment_id=row.id,
                    kind=row.kind,
                    purpose=row.purpose,
                    client_token=client_token or f"undo:{stands}",
                    supersedes=stands,
                    created_at=now(),
                )
            )
            assignments.recount(connection, [row.task_id])
            assignments.reopen(connection, [row.task_id])
            turns = [other.turn for other in assignments.held(connection, annotator)]
            turn = min(turns, default=1) - 1
            _set_state(connection, row.id, "leased", turn=turn, lease_until=assignments.lease_end())
            return True

    @contextmanager
    def _judging(self) -> Iterator[sa.Connection]:
        """A write transaction that adds a judgement, or changes what a task wants.

        An import holds the table while it reads what stands. It is waited for before a task's row
        is locked, which the import needs as well.
        """
        with self._db.write() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("LOCK TABLE judgements IN ROW EXCLUSIVE MODE"))
            yield connection

    def progress(self, annotator: Annotator) -> Progress:
        """How far one annotator has come; see Progress."""
        with self._db.read() as connection:
            return progress.of(connection, annotator)

    def left(self, annotator: Annotator) -> int:
        """Tasks that this annotator could still be given, those held by others included."""
        with self._db.read() as connection:
            return progress.left(connection, annotator)

    def past(self, annotator: Annotator, limit: int) -> list[Past]:
        """This annotator's last standing answers, newest first."""
        with self._db.read() as connection:
            return progress.past(connection, annotator, limit)

    def for_leads(self) -> int:
        """Open tasks that annotators skipped and that no lead has answered or skipped yet."""
        with self._db.read() as connection:
            return progress.for_leads(connection)

    def judgements(self, kinds: Iterable[Kind] | None = None) -> list[Judgement]:
        """What stands, oldest first: superseded and undone rows are left out.

        So are answers to tasks that were asked a second time: nobody counts twice.
        """
        first = t.judgements.c.purpose != "repeat"
        query = judged().where(standing(), first).order_by(t.judgements.c.id)
        if kinds is not None:
            query = query.where(t.judgements.c.kind.in_(list(kinds)))
        with self._db.read() as connection:
            texts = load_completions(connection, load_prompts(connection))
            return [judgement_of(row, texts) for row in connection.execute(query)]

    def by_annotator(self) -> dict[str, int]:
        """Standing judgements of each annotator."""
        with self._db.read() as connection:
            return progress.by_annotator(connection)


def _claim(
    connection: sa.Connection,
    annotator: Annotator,
    rng: random.Random,
    count: int,
    kinds: Iterable[Kind] | None,
) -> list[int]:
    """Assignments held, filled up to `count` with what comes next; in turn."""
    held = assignments.held(connection, annotator)
    ids = [row.id for row in held]
    turn = held[-1].turn if held else 0
    while len(ids) < count:
        found = assignments.next_task(connection, annotator, kinds)
        if found is None:
            break
        task_id, kind, shares = found
        turn += 1
        asked = control_tasks.instead(connection, annotator, rng, shares, kinds)
        if asked is None:
            asked = assignments.Asked(
                task_id, task_planning.side_order(rng) if kind == "pairwise" else None
            )
        taken = assignments.lease(connection, asked, annotator.id, turn)
        if taken is not None:
            ids.append(taken)
    return ids[:count]


_OF_TOKEN = sa.select(
    t.judgements.c.id, t.judgements.c.annotator_id, t.judgements.c.assignment_id
).where(t.judgements.c.client_token == sa.bindparam("token"))
_OWN = (
    sa.select(
        t.assignments.c.id,
        t.assignments.c.task_id,
        t.assignments.c.state,
        t.assignments.c.shown_first,
        t.assignments.c.purpose,
        t.tasks.c.kind,
        t.tasks.c.remaining,
    )
    .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
    .where(
        t.assignments.c.id == sa.bindparam("assignment"),
        t.assignments.c.annotator_id == sa.bindparam("me"),
    )
)
_OWN_LOCKED = _OWN.with_for_update(key_share=True)  # rows that refer to it may come meanwhile
_STANDING = sa.select(t.judgements.c.id).where(
    t.judgements.c.task_id == sa.bindparam("task"),
    t.judgements.c.annotator_id == sa.bindparam("me"),
    standing(),
)
_INSERT = sa.insert(t.judgements).returning(t.judgements.c.id)


def _of_token(
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


def _assignment_row(connection: sa.Connection, assignment_id: int, annotator_id: int) -> Any | None:
    """One of this annotator's assignments with its task, locked until the transaction ends."""
    mine = {"assignment": assignment_id, "me": annotator_id}
    return connection.execute(_OWN_LOCKED, mine).one_or_none()


def _insert_judgement(
    connection: sa.Connection,
    row: Any,
    annotator_id: int,
    answer: Answer,
    client_token: str,
    guidelines_version: int | None,
    supersedes: int | None,
) -> int:
    said = {
        "task_id": row.task_id,
        "annotator_id": annotator_id,
        "assignment_id": row.id,
        "kind": row.kind,
        "value": answer.value,
        "strength": answer.strength,
        "both_bad": answer.both_bad,
        "shown_first": row.shown_first,
        "comment": answer.comment,
        "flags": pack_flags(answer.flags),
        "seconds": answer.seconds,
        "client_token": client_token,
        "supersedes": supersedes,
        "guidelines_version": guidelines_version,
        "purpose": row.purpose,
        "created_at": now(),
    }
    return int(connection.execute(_INSERT, said).scalar_one())


def _standing(connection: sa.Connection, task_id: str, annotator_id: int) -> int | None:
    """The judgement of this annotator that stands on the task, e.g. from an imported file."""
    return connection.scalar(_STANDING, {"task": task_id, "me": annotator_id})


def _set_state(connection: sa.Connection, assignment_id: int, state: str, **more: Any) -> None:
    connection.execute(
        sa.update(t.assignments)
        .where(t.assignments.c.id == assignment_id)
        .values(state=state, **more)
    )


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
