"""What one annotator has done and what is left, and their last answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import takewhile
from statistics import median
from typing import NamedTuple

import sqlalchemy as sa

from data.schema import Annotator, Answer, now
from data.store import assignments
from data.store import tables as t
from data.store.accounts.guidelines import newest_version
from data.store.judgement_rows import answer_of, standing
from data.store.run_rows import LIVE

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
    last: int | None = None
    """The assignment that an undo would take back."""


@dataclass(frozen=True)
class Overview:
    """All that a rating page shows."""

    tasks: tuple[assignments.Assignment, ...]
    progress: Progress
    left: int | None
    """Tasks that this annotator could still be given, those held by others included, less the
    control tasks that were over today: so it falls by one with each task, whatever it was for.
    Never less than what is held. None where it was not asked for."""
    guidelines: int | None
    """The newest version, if there is one."""
    sampling: tuple[int, int] | None
    """Completions sampled so far and wanted, while a run samples."""


class PastAnswer(NamedTuple):
    """An answer that stands, with what it answers."""

    assignment: assignments.Assignment
    answer: Answer


_ME: sa.BindParameter[int] = sa.bindparam("me")
_day = sa.func.substr(t.judgements.c.created_at, 1, 10)
_BY_DAY = (
    sa.select(_day, sa.func.count(t.judgements.c.value))
    .where(t.judgements.c.annotator_id == _ME)
    .group_by(_day)
)
_later = t.judgements.alias("later")
_GONE_BY_DAY = (  # superseded later: counted from the few that supersede, not from all that stand
    sa.select(_day, sa.func.count())
    .join(_later, _later.c.supersedes == t.judgements.c.id)
    .where(_later.c.annotator_id == _ME, _later.c.supersedes.is_not(None))
    .group_by(_day)
)
_PACE = (
    sa.select(t.judgements.c.seconds)
    .where(
        t.judgements.c.annotator_id == _ME,
        t.judgements.c.created_at >= sa.bindparam("today"),
        t.judgements.c.seconds.is_not(None),
        standing(),
    )
    .order_by(t.judgements.c.id.desc())
    .limit(PACE_OVER)
)
_LAST = (
    sa.select(t.judgements.c.assignment_id)
    .where(
        t.judgements.c.annotator_id == _ME, t.judgements.c.assignment_id.is_not(None), standing()
    )
    .order_by(t.judgements.c.id.desc())
    .limit(1)
)
_SAMPLING = (
    sa.select(t.runs.c.done, t.runs.c.total)
    .where(t.runs.c.kind == "sample", t.runs.c.status.in_(LIVE))
    .order_by(t.runs.c.created_at.desc(), t.runs.c.id.desc())
    .limit(1)
)


def load_overview(
    connection: sa.Connection, annotator: Annotator, leased: Sequence[int], count_left: bool
) -> Overview:
    """What an annotator's page shows beside the task. leased: ids of the assignments they hold."""
    sampling = connection.execute(_SAMPLING).one_or_none()
    held = tuple(assignments.load_assignments(connection, leased))
    today = now()[:10]
    me = {"me": annotator.id, "today": today}
    by_day = {day: int(n) for day, n in connection.execute(_BY_DAY, me)}
    for day, n in connection.execute(_GONE_BY_DAY, me):
        by_day[day] -= int(n)
    times = connection.scalars(_PACE, me).all()
    return Overview(
        held,
        Progress(
            done=sum(by_day.values()),
            done_today=by_day.get(today, 0),
            pace=round(median(times), 1) if times else None,
            streak=streak((day for day, n in by_day.items() if n > 0), date.fromisoformat(today)),
            last=last_answered(connection, annotator.id),
        ),
        max(len(leased), _count_left(connection, annotator)) if count_left else None,
        newest_version(connection),
        (sampling.done, sampling.total) if sampling else None,
    )


def streak(days: Iterable[str], today: date) -> int:
    """Days in a row with an answer; a day that has only begun does not break it."""
    worked = set(days)
    first = today if today.isoformat() in worked else today - timedelta(days=1)
    run = (first - timedelta(days=n) for n in range(len(worked) + 1))
    return sum(1 for _ in takewhile(lambda d: d.isoformat() in worked, run))


def _count_left(connection: sa.Connection, annotator: Annotator) -> int:
    """Tasks that still want answers, less those this annotator answered or skipped, less their
    control tasks of today.

    A control task takes nothing from the queue, and who saw that would know it for one.
    """
    wanted = assignments.wanted_of(annotator.role)
    count = sa.select(sa.func.count()).select_from
    a, j = t.assignments.c, t.judgements.c
    mine = sa.and_(a.annotator_id == annotator.id, assignments.OVER)
    imported = sa.select(j.task_id).where(
        j.annotator_id == annotator.id, j.assignment_id.is_(None), standing()
    )
    had = t.tasks.c.id.in_(sa.select(a.task_id).where(mine).union(imported))
    # `lease_until` of one that is over is the moment at which it was. Those that the queue wants
    # as well are among the others already.
    beside = (a.purpose != "queue", a.lease_until >= now()[:10], ~wanted)
    controls = count(t.assignments.join(t.tasks, t.tasks.c.id == a.task_id)).where(mine, *beside)
    there = connection.scalar(count(t.tasks).where(wanted)) or 0
    less = (count(t.tasks).where(wanted, had), controls)
    return there - sum(connection.scalar(query) or 0 for query in less)


def last_answered(
    connection: sa.Connection, annotator_id: int, assignment_id: int | None = None
) -> int | None:
    """The assignment of the newest standing answer, or the one asked for if its answer stands."""
    query = _LAST
    if assignment_id is not None:
        query = query.where(t.judgements.c.assignment_id == assignment_id)
    return connection.scalar(query, {"me": annotator_id})


def load_past(connection: sa.Connection, annotator: Annotator, limit: int) -> list[PastAnswer]:
    """The last standing answers, newest first."""
    query = _LAST.with_only_columns(t.judgements).limit(limit)
    rows = connection.execute(query, {"me": annotator.id}).all()
    found = assignments.load_assignments(connection, [row.assignment_id for row in rows])
    return [PastAnswer(a, answer_of(row)) for a, row in zip(found, rows, strict=True)]
