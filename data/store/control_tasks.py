"""Control tasks: asked beside tasks of the queue, to see how far answers can be trusted.

Gold tasks have a known answer. Repeats are tasks that a person answered before, with their sides
swapped. They fill no place of a task; their answers are kept like any other.

Nothing that a browser receives tells them from other tasks: they are of the kind that is being
asked, come before or behind a task by a coin (so the last of all may be one), are lost and kept
with the task beside them, and choosing one takes the same queries as choosing none.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from data import task_planning
from data.schema import (
    Annotator,
    Answer,
    Gold,
    Judgement,
    Prompt,
    check_answer,
    now,
    other_side,
    repeat_id,
)
from data.store import tables as t
from data.store.assignments import (
    ANSWERED,
    HAD,
    NextTask,
    OpenTask,
    insert_repeats,
    insert_tasks,
    read_shares,
)
from data.store.content import load_completions, load_prompts
from data.store.database import Database, Lock, ResultRow, RowValues, take_lock, target, upsert
from data.store.judgement_rows import (
    count_for_each,
    judgement_of,
    select_judgements,
    standing,
    task_of,
)
from data.task_planning import OVERLAP, Shares

_IN_USE = t.gold.c.retired_at.is_(None)
_OF_KINDS = t.tasks.c.kind.in_(sa.bindparam("kinds", expanding=True))
_middle: sa.BindParameter[int] = sa.bindparam("middle")
_GOLD_IDS = sa.select(  # by the index from either end; min() and max() would read all of them
    sa.select(t.gold.c.id).where(_IN_USE).order_by(t.gold.c.id).limit(1).scalar_subquery(),
    sa.select(t.gold.c.id).where(_IN_USE).order_by(t.gold.c.id.desc()).limit(1).scalar_subquery(),
)
# The first that fits from a random place on, else the last that fits before it, among the NEAR rows
# on either side: so a search takes as long however many there are and however few of them fit.
NEAR = 200
_Halves = tuple[sa.Select[Any], sa.Select[Any]]


def _split_at_middle(
    candidates: sa.Select[Any],
    key: sa.Column[int],
    fitting: Callable[[sa.Subquery], sa.Select[Any]],
) -> _Halves:
    """Statements for either side; `fitting` selects, of these candidates, what could be asked."""
    behind = candidates.where(key >= _middle).order_by(key).limit(NEAR).subquery("near")
    before = candidates.where(key < _middle).order_by(key.desc()).limit(NEAR).subquery("near")
    return (
        fitting(behind).order_by(behind.c.id).limit(1),
        fitting(before).order_by(before.c.id.desc()).limit(1),
    )


_GOLD_LEFT = _split_at_middle(
    sa.select(t.gold.c.id, t.gold.c.task_id).where(_IN_USE),
    t.gold.c.id,
    lambda near: (
        sa.select(t.tasks.c.id, t.tasks.c.kind)
        .join(near, near.c.task_id == t.tasks.c.id)
        .where(~HAD, ~ANSWERED, _OF_KINDS)
    ),
)
_OLD_ANSWERS = (
    t.judgements.c.annotator_id == sa.bindparam("me"),
    t.judgements.c.purpose == "queue",
    t.judgements.c.created_at < sa.bindparam("before"),
)
_id = t.judgements.c.id
_OLD_ANSWER_IDS = sa.select(  # likewise
    sa.select(_id).where(*_OLD_ANSWERS).order_by(_id).limit(1).scalar_subquery(),
    sa.select(_id).where(*_OLD_ANSWERS).order_by(_id.desc()).limit(1).scalar_subquery(),
)
_copy, _held = t.tasks.alias("copy"), t.assignments.alias("held")
_ASKED_AGAIN = (
    count_for_each(
        t.judgements,
        _copy.join(_held, _held.c.task_id == _copy.c.id),
        _copy.c.repeats == t.judgements.c.task_id,
        _held.c.annotator_id == sa.bindparam("me"),
        _held.c.state != "released",
    )
    > 0
)
_DUE = _split_at_middle(
    sa.select(_id).where(*_OLD_ANSWERS),
    _id,
    lambda near: (
        sa.select(t.judgements.c.task_id, t.judgements.c.shown_first, t.tasks.c.kind)
        .join(near, near.c.id == t.judgements.c.id)
        .join(t.tasks, t.tasks.c.id == t.judgements.c.task_id)
        .where(standing(), ~_ASKED_AGAIN, _OF_KINDS)
    ),
)


@dataclass(frozen=True)
class _Found:
    """A control task that could be asked; `original` of a repeat is the task that it copies."""

    candidate: NextTask
    original: str = ""


def maybe_control_task(
    connection: sa.Connection,
    annotator: Annotator,
    rng: random.Random,
    beside: OpenTask,
    needed: bool = True,
) -> NextTask | None:
    """A control task of the same kind, as often as the shares say; else None.

    Both sorts are looked up whatever is drawn, and where none is needed: so the time that it takes
    tells nothing.
    """
    shares = beside.shares
    before = now(-timedelta(days=shares.repeat_days))
    me = {"me": annotator.id, "kinds": [beside.kind], "before": before}
    gold = _find_gold(connection, me, rng) if shares.gold else None
    again = _find_repeat(connection, annotator, me, rng) if shares.repeat else None
    # Of all that is asked, not of the queue's tasks alone, a share of `gold` and of `repeat`.
    draw = rng.random() * (1 - shares.gold - shares.repeat)
    found = gold if draw < shares.gold else again if draw < shares.gold + shares.repeat else None
    found = found if needed else None
    if shares.repeat:  # without an original it inserts nothing, in the same time
        copy = found.candidate.task_id if found else ""
        insert_repeats(connection, {copy: found.original if found else ""})
    return found.candidate if found else None


def _find_gold(connection: sa.Connection, me: RowValues, rng: random.Random) -> _Found | None:
    """A task with a known answer that they have not had."""
    row = _pick_near_middle(connection, _GOLD_IDS, _GOLD_LEFT, me, rng)
    if row is None:
        return None
    side = task_planning.side_order(rng) if row.kind == "pairwise" else None
    return _Found(NextTask(row.id, side, "gold"))


def _find_repeat(
    connection: sa.Connection, annotator: Annotator, me: RowValues, rng: random.Random
) -> _Found | None:
    """One that they answered then, its sides swapped."""
    row = _pick_near_middle(connection, _OLD_ANSWER_IDS, _DUE, me, rng)
    if row is None:
        return None
    swapped = other_side(row.shown_first)
    if row.kind == "pairwise" and swapped is None:  # the answer came from a file
        swapped = task_planning.side_order(rng)
    copy = repeat_id(row.task_id, annotator.name)
    return _Found(NextTask(copy, swapped, "repeat"), row.task_id)


def _pick_near_middle(
    connection: sa.Connection,
    between: sa.Select[Any],
    halves: _Halves,
    me: RowValues,
    rng: random.Random,
) -> ResultRow | None:
    """What fits first from a random id on, else last before it; `between`: the ids there are."""
    low, high = connection.execute(between, me).one()
    if low is None:
        return None
    middle = me | {"middle": rng.randint(low, high)}
    found = (connection.execute(half, middle).one_or_none() for half in halves)
    return next(filter(None, found), None)


class ControlTasks:
    """Gold tasks, repeats, and how often each is asked."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def shares(self) -> Shares:
        """How much of what is asked is a check; the usual shares where nobody has set any."""
        query = sa.select(t.settings.c.value).where(t.settings.c.name == "shares")
        with self._db.read() as connection:
            return read_shares(connection.scalar(query))

    def set_shares(self, shares: Shares) -> None:
        """From the next claim on."""
        row = {"value": json.dumps(asdict(shares)), "created_at": now()}
        with self._db.write() as connection:
            insert = upsert(connection.dialect.name, t.settings, ["name"], list(row))
            connection.execute(insert, row | {"name": "shares"})

    def mark(self) -> tuple[int, ...]:
        """Numbers that change when a judgement or a known answer is added or taken back."""
        j, g = t.judgements.c.id, t.gold.c
        query = sa.select(
            sa.select(sa.func.max(j)).scalar_subquery(),
            sa.select(sa.func.max(g.id)).scalar_subquery(),
            sa.select(sa.func.count(g.retired_at)).scalar_subquery(),
        )
        with self._db.read() as connection:
            return tuple(int(n or 0) for n in connection.execute(query).one())

    def gold(self) -> list[Gold]:
        """The known answers in use, oldest first."""
        with self._db.read() as connection:
            found = load_gold(connection, load_prompts(connection))
        return [known for known in found if known.retired_at is None]

    def add_gold(self, known: Mapping[str, str]) -> int:
        """Known answers by task; returns how many are new. One in use stays as it is.

        Raises ValueError for a task that is not there, or an answer that does not fit its kind.
        """
        with self._db.write() as connection:
            query = sa.select(t.tasks).where(t.tasks.c.id.in_(known))
            rows = connection.execute(query).all()
            texts = load_completions(connection, load_prompts(connection)) if rows else {}
            tasks = {row.id: task_of(row, texts) for row in rows}
            for task_id, value in known.items():
                if task_id not in tasks:
                    raise ValueError(f"task {task_id!r} unknown: its answer cannot be gold")
                check_answer(tasks[task_id].kind, Answer(value))
            return insert_gold(connection, [Gold(tasks[i], value) for i, value in known.items()])

    def retire_gold(self, task_ids: Iterable[str]) -> int:
        """Take these tasks out of the gold: nobody is asked or measured by them any more.

        Returns how many were in use.
        """
        update = sa.update(t.gold).where(t.gold.c.task_id.in_(list(task_ids)), _IN_USE)
        with self._db.write() as connection:
            return connection.execute(update.values(retired_at=now())).rowcount

    def agreed(self, at_least: int = OVERLAP) -> dict[str, str]:
        """Tasks that so many people answered, all alike, and that are not gold: what they said."""
        j = t.judgements.c
        query = (
            sa.select(j.task_id, sa.func.min(j.value))
            .where(standing(), j.purpose == "queue", j.task_id.not_in(sa.select(t.gold.c.task_id)))
            .group_by(j.task_id)
            .having(sa.func.count(j.annotator_id.distinct()) >= at_least)
            .having(sa.func.count(j.value.distinct()) == 1)
            .order_by(j.task_id)
        )
        with self._db.read() as connection:
            return {task_id: said for task_id, said in connection.execute(query)}  # noqa: C416

    def answers(self) -> list[tuple[Judgement, str]]:
        """Standing answers to gold tasks, each with the answer that is known."""
        query = (
            select_judgements(t.gold.c.value.label("known"))
            .join(t.gold, t.gold.c.task_id == t.judgements.c.task_id)
            .where(standing(), t.judgements.c.purpose == "gold", t.gold.c.retired_at.is_(None))
            .order_by(t.judgements.c.id)
        )
        with self._db.read() as connection:
            rows = connection.execute(query).all()
            texts = load_completions(connection, load_prompts(connection)) if rows else {}
            return [(judgement_of(row, texts), row.known) for row in rows]

    def repeats(self) -> list[tuple[Judgement, Judgement]]:
        """Standing answers to tasks that were asked twice: the first, and the one given later."""
        again = (
            select_judgements(t.tasks.c.repeats)
            .where(standing(), t.judgements.c.purpose == "repeat")
            .order_by(t.judgements.c.id)
        )
        asked = sa.select(t.tasks.c.repeats).where(t.tasks.c.repeats.is_not(None))
        firsts = select_judgements().where(standing(), t.judgements.c.task_id.in_(asked))
        with self._db.read() as connection:
            later = connection.execute(again).all()
            if not later:
                return []
            texts = load_completions(connection, load_prompts(connection))
            first = {
                (row.task_id, row.annotator_id): judgement_of(row, texts)
                for row in connection.execute(firsts)
            }
            pairs = ((first.get((row.repeats, row.annotator_id)), row) for row in later)
            return [(one, judgement_of(row, texts)) for one, row in pairs if one is not None]


def load_gold(connection: sa.Connection, prompts: Mapping[str, Prompt]) -> list[Gold]:
    """Every known answer, retired ones too, oldest first."""
    g = t.gold.c
    query = (
        sa.select(t.tasks, g.value, g.created_at.label("since"), g.retired_at)
        .join(t.gold, g.task_id == t.tasks.c.id)
        .order_by(g.id)
    )
    rows = connection.execute(query).all()
    texts = load_completions(connection, prompts) if rows else {}
    return [
        Gold(replace(task_of(r, texts), wanted=0, position=0.0), r.value, r.since, r.retired_at)
        for r in rows
    ]


def insert_gold(connection: sa.Connection, items: Iterable[Gold]) -> int:
    """Add known answers; returns how many are new. One that is in use stays as it is.

    Raises ValueError where another answer to the same task is in use.
    """
    take_lock(connection, Lock.CONTENT)
    listed = list(items)
    stands_for = insert_tasks(connection, [known.task for known in listed])
    there = connection.execute(sa.select(t.gold)).all()
    used = {row.task_id: row.value for row in there if row.retired_at is None}
    retired = {(row.task_id, row.value, row.created_at) for row in there if row.retired_at}
    rows = []
    for known in listed:
        task, value = stands_for[known.task.id], known.value
        if task.id != known.task.id:  # stored with its sides exchanged
            value = other_side(value)
        if known.retired_at and (task.id, value, known.created_at) in retired:
            continue
        if known.retired_at is None and task.id in used:
            if used[task.id] != value:
                raise ValueError(
                    f"gold {value!r}: {used[task.id]!r} is known already as the answer"
                    f" to {task.a.prompt.text[:60]!r}: retire that one first"
                )
            continue
        if known.retired_at is None:
            used[task.id] = value
        row = {"task_id": task.id, "value": value, "retired_at": known.retired_at}
        rows.append(row | {"created_at": known.created_at or now()})
    if rows:
        connection.execute(sa.insert(target(connection, t.gold)), rows)
    return len(rows)
