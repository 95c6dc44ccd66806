"""What one annotator has done: figures of the day, and their last answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import takewhile
from statistics import median

import sqlalchemy as sa

from data import leases
from data import tables as t
from data.judged import answer_of, standing
from data.schema import Annotator, Answer, now

PACE_OVER = 25
"""Answers that the pace is taken over."""


@dataclass(frozen=True)
class Progress:
    """How far one annotator has come. Days are days in UTC."""

    done: int
    done_today: int
    pace: float | None
    """Median seconds of the last answers today; None before the first."""
    streak: int
    """Days in a row with an answer, up to today or yesterday."""


@dataclass(frozen=True)
class Past:
    """An answer that stands, with what it answers."""

    assignment: leases.Assignment
    answer: Answer


def of(connection: sa.Connection, annotator: Annotator) -> Progress:
    """The figures of the day."""
    mine = sa.and_(t.judgements.c.annotator_id == annotator.id, standing())
    day = sa.func.substr(t.judgements.c.created_at, 1, 10)
    by_day = {
        row[0]: int(row[1])
        for row in connection.execute(sa.select(day, sa.func.count()).where(mine).group_by(day))
    }
    today = now()[:10]
    times = connection.scalars(
        sa.select(t.judgements.c.seconds)
        .where(mine, t.judgements.c.created_at >= today, t.judgements.c.seconds.is_not(None))
        .order_by(t.judgements.c.id.desc())
        .limit(PACE_OVER)
    ).all()
    pace = round(median(times), 1) if times else None
    return Progress(
        sum(by_day.values()), by_day.get(today, 0), pace, streak(by_day, date.fromisoformat(today))
    )


def streak(days: Iterable[str], today: date) -> int:
    """Days in a row with an answer; a day that has only begun does not break it."""
    worked = set(days)
    first = today if today.isoformat() in worked else today - timedelta(days=1)
    run = (first - timedelta(days=n) for n in range(len(worked) + 1))
    return sum(1 for _ in takewhile(lambda d: d.isoformat() in worked, run))


def left(connection: sa.Connection, annotator: Annotator) -> int:
    """Tasks that still want answers, less those this annotator answered or skipped."""
    wanted = leases.wanted_of(annotator)
    open_now = connection.scalar(sa.select(sa.func.count()).select_from(t.tasks).where(wanted))
    had = connection.scalar(
        sa.select(sa.func.count())
        .select_from(t.assignments)
        .join(t.tasks, t.tasks.c.id == t.assignments.c.task_id)
        .where(
            wanted,
            t.assignments.c.annotator_id == annotator.id,
            t.assignments.c.state.in_(["done", "skipped"]),
        )
    )
    a = t.assignments.alias("mine")
    imported = connection.scalar(
        sa.select(sa.func.count())
        .select_from(t.judgements)
        .join(t.tasks, t.tasks.c.id == t.judgements.c.task_id)
        .where(
            wanted,
            t.judgements.c.annotator_id == annotator.id,
            t.judgements.c.assignment_id.is_(None),
            standing(),
            ~sa.exists().where(
                a.c.task_id == t.tasks.c.id,
                a.c.annotator_id == annotator.id,
                a.c.state.in_(["done", "skipped"]),
            ),
        )
    )
    return int(open_now or 0) - int(had or 0) - int(imported or 0)


def last_answered(
    connection: sa.Connection, annotator_id: int, assignment_id: int | None = None
) -> int | None:
    """The assignment of the newest standing answer, or the one asked for if its answer stands."""
    mine = sa.and_(
        t.judgements.c.annotator_id == annotator_id,
        t.judgements.c.assignment_id.is_not(None)
        if assignment_id is None
        else t.judgements.c.assignment_id == assignment_id,
        standing(),
    )
    return connection.scalar(
        sa.select(t.judgements.c.assignment_id)
        .where(mine)
        .order_by(t.judgements.c.id.desc())
        .limit(1)
    )


def past(connection: sa.Connection, annotator: Annotator, limit: int) -> list[Past]:
    """The last standing answers, newest first."""
    rows = connection.execute(
        sa.select(t.judgements)
        .where(
            t.judgements.c.annotator_id == annotator.id,
            t.judgements.c.assignment_id.is_not(None),
            standing(),
        )
        .order_by(t.judgements.c.id.desc())
        .limit(limit)
    ).all()
    found = leases.assignments(connection, [row.assignment_id for row in rows])
    return [Past(a, answer_of(row)) for a, row in zip(found, rows, strict=True)]
