"""An import is prepared beside the store and published in one short step.

Working out what a file's lines add takes most of the time, and no lock: rows go to temporary tables
of the import's own connection, which end with it, so one that is killed leaves nothing. The step
that publishes them copies table to table; it is all that anybody who rates may wait for. Where
somebody has added in between what the preparation would have looked at, it is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from data.store import tables as t
from data.store.database import (
    Database,
    Lock,
    Staging,
    ignoring_insert,
    stage_writes,
    take_lock,
)

TRIES = 3
"""Preparations that may be overtaken; the one after them keeps everybody waiting."""
CACHE_KIB = 100_000
_CONTENT = (t.prompts, t.demonstrations, t.documents, t.completions, t.generations)
_TABLES = (*_CONTENT, t.annotators, t.tasks, t.judgements, t.gold)
"""In the order in which rows refer to each other."""
_NUMBERED = (t.generations, t.gold)
"""Tables whose rows are given their ids when they are published."""
R = TypeVar("R")


class _Overtaken(Exception):
    """Raised in the step that publishes, of which nothing is kept."""


def _as_staged(table: sa.Table) -> sa.Table:
    """A temporary table for rows of this one: the same columns, keys and checks."""
    columns = [
        sa.Column(
            c.name,
            c.type,
            primary_key=c.primary_key,
            autoincrement=table in _NUMBERED and c.primary_key,
            server_default=getattr(c.server_default, "arg", None),
        )
        for c in table.c
    ]
    keys = [
        sa.UniqueConstraint(*(column.name for column in key.columns))
        for key in table.constraints
        if isinstance(key, sa.UniqueConstraint)
    ]
    checks = [
        sa.CheckConstraint(rule.sqltext)
        for rule in table.constraints
        if isinstance(rule, sa.CheckConstraint) and isinstance(rule.sqltext, sa.TextClause)
    ]
    by_id = isinstance(table.c[0].type, sa.String)  # kept in the order in which it is published
    return sa.Table(
        f"staged_{table.name}",
        sa.MetaData(),
        *columns,
        *keys,
        *checks,
        prefixes=["TEMPORARY"],
        sqlite_with_rowid=not by_id,
    )


_STAGED = {table: _as_staged(table) for table in _TABLES}
_THERE = sa.Table(  # tasks of the file that the store has already
    "staged_there",
    sa.MetaData(),
    sa.Column("id", sa.String(32), primary_key=True),
    prefixes=["TEMPORARY"],
)
_ASKED_BEFORE = t.tasks.c.id.in_(sa.select(_STAGED[t.tasks].c.id))
_QUESTIONS = sa.select(sa.func.count()).select_from(t.tasks).where(t.tasks.c.repeats.is_(None))
_ON_THERE = t.judgements.c.task_id.in_(sa.select(_THERE.c.id))
_ANSWERS = sa.select(sa.func.count(), sa.func.max(t.judgements.c.id)).where(_ON_THERE)
_ONE_MOMENT = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
_GOLD = sa.select(sa.func.count(), sa.func.max(t.gold.c.id), sa.func.count(t.gold.c.retired_at))


@dataclass(frozen=True)
class _Marks:
    """What the preparation has looked at, in numbers that change with it."""

    questions: int
    gold: Sequence[object]
    answers: Sequence[object]
    """Judgements on tasks of the file that were there already."""
    there: int
    """How many those are."""


def publish(database: Database, prepare: Callable[[sa.Connection], R]) -> R:
    """What `prepare` adds through a connection, in the store at once, or not at all."""
    if database.writing is not None:
        return prepare(database.writing)
    for _ in range(TRIES):
        with _own_connection(database) as connection:
            staging = Staging(_STAGED)
            with connection.begin():
                if not database.is_sqlite:  # whose snapshot is one statement's otherwise
                    connection.execute(_ONE_MOMENT)
                _make_tables(connection)
                with stage_writes(connection, staging):
                    result = prepare(connection)
                marks = _read_marks(connection)
            try:
                with database.write(on=connection):
                    _move(connection, staging, marks)
            except _Overtaken:
                continue
            return result
    with database.write() as connection:
        return prepare(connection)


@contextmanager
def _own_connection(database: Database) -> Iterator[sa.Connection]:
    """A connection that is closed afterwards, and its temporary tables with it."""
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        connection.detach()
        if database.is_sqlite and driver is not None:
            # Every row comes with those that it refers to; to look each up again takes half of
            # the time for which others wait.
            driver.execute("PRAGMA foreign_keys = OFF")
            for schema in ("main", "temp"):
                driver.execute(f"PRAGMA {schema}.cache_size = -{CACHE_KIB}")
            # Written out to the disk below, when nobody waits for it any more.
            driver.execute("PRAGMA synchronous = NORMAL")
            driver.execute("PRAGMA wal_autocheckpoint = 0")
        yield connection
        if database.is_sqlite and driver is not None:
            driver.execute("PRAGMA synchronous = FULL")
            driver.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _make_tables(connection: sa.Connection) -> None:
    for table in (*_STAGED.values(), _THERE):
        connection.execute(sa.schema.CreateTable(table))


def _read_marks(connection: sa.Connection) -> _Marks:
    there = sa.select(t.tasks.c.id).where(_ASKED_BEFORE)
    connection.execute(sa.insert(_THERE).from_select(["id"], there))
    return _Marks(
        int(connection.scalar(_QUESTIONS) or 0),
        connection.execute(_GOLD).one(),
        connection.execute(_ANSWERS).one(),
        int(connection.scalar(sa.select(sa.func.count()).select_from(_THERE)) or 0),
    )


def _move(connection: sa.Connection, staging: Staging, marks: _Marks) -> None:
    """From the temporary tables into the store. Raises _Overtaken."""
    take_lock(connection, Lock.CONTENT)
    if connection.scalar(_QUESTIONS) != marks.questions:
        raise _Overtaken
    if connection.execute(_GOLD).one() != marks.gold:
        raise _Overtaken
    with _unchecked(connection):
        for table in _CONTENT:
            _fill(connection, table)
            _copy(connection, table)
        _copy_all(connection, t.annotators)
        _copy_all(connection, t.tasks, but=marks.there)
        # Nobody can have been asked what was not there: only for the rest must answers wait.
        on_there = _STAGED[t.judgements].c.task_id.in_(sa.select(_THERE.c.id))
        _copy(connection, t.judgements, ~on_there if marks.there else sa.true())
        if marks.there or staging.steps:
            take_lock(connection, Lock.QUEUE)
            if connection.execute(_ANSWERS).one() != marks.answers:
                raise _Overtaken
            _copy(connection, t.judgements, on_there)
        _copy(connection, t.gold)
    for step in staging.steps:
        step(connection)


@contextmanager
def _unchecked(connection: sa.Connection) -> Iterator[None]:
    """The temporary tables have checked each row: SQLite need not, while others wait."""
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = OFF")


def _fill(connection: sa.Connection, table: sa.Table) -> None:
    """Give what is stored the tags and external ids that it lacks; what is there stays."""
    staged = _STAGED[table]
    for name in ("tags", "external_id"):
        if name in table.c:
            new, old = staged.c[name], table.c[name]
            lacks = old.is_(None) if name == "external_id" else old == "[]"
            given = new.is_not(None) if name == "external_id" else new != "[]"
            if connection.scalar(sa.select(sa.exists().where(given))):
                where = (table.c.id == staged.c.id, given, lacks)
                connection.execute(sa.update(table).where(*where).values({name: new}))


def _copy(
    connection: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool] | None = None
) -> int:
    """Copy rows whose key is not there yet, in the order of their ids; returns how many."""
    staged = _STAGED[table]
    names = [c.name for c in table.c if not (c.name == "id" and table in _NUMBERED)]
    query = sa.select(*(staged.c[name] for name in names)).order_by(staged.c.id)
    query = query.where(sa.true() if where is None else where)
    # Nothing was there: a conflict would be a fault of ours.
    plain = sa.insert(table) if table is t.judgements else ignoring_insert(connection, table)
    insert = plain.from_select(names, query)
    return connection.execute(insert, execution_options={"preserve_rowcount": True}).rowcount


def _copy_all(connection: sa.Connection, table: sa.Table, but: int = 0) -> None:
    """Copy all rows but those that were there. Raises _Overtaken where there are more of them."""
    count = sa.select(sa.func.count()).select_from(_STAGED[table])
    if _copy(connection, table) != int(connection.scalar(count) or 0) - but:
        raise _Overtaken
