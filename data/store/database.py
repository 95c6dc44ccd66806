"""The connection: one engine, a read and a write transaction, and the schema brought up to date."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

from data.places.store_address import show_address, without_secrets

MIGRATIONS = Path(__file__).with_name("migrations")
POOL = 20
"""Connections kept open; as many again while there is a rush."""
PATIENCE_SECONDS = 30.0
"""How long a write on SQLite waits for others before it is given up, where nothing else is said."""
BATCH = 500
"""Rows, or ids, in one statement."""
T = TypeVar("T")


class Lock(IntEnum):
    """What one transaction at a time does in a store, numbered in the order of taking them."""

    MIGRATION = 1
    CONTENT = 2
    """Adding texts, tasks and known answers."""
    QUEUE = 3
    """Giving tasks out and recording what is answered."""
    RUNS = 4
    GUIDELINES = 5
    INVITATIONS = 6
    PASSWORDS = 7


class Database:
    """An engine with the two kinds of transaction that the store uses.

    SQLite runs in WAL with synchronous FULL; a write transaction takes the write lock at once
    (BEGIN IMMEDIATE), so two writers queue instead of failing half way.

    `patience`: seconds that a write waits for others; None: as long as it takes on PostgreSQL.
    """

    def __init__(self, url: URL, patience: float | None = None) -> None:
        self.url = url
        self.engine = create_engine(url, patience)
        make_private(url)
        self._writers: AbstractContextManager[None] = (
            WriterQueue(patience or PATIENCE_SECONDS) if self.is_sqlite else nullcontext()
        )
        self._own = threading.local()  # this thread's open write transaction
        self._watching = threading.Lock()
        self._watcher: sqlite3.Connection | None = None
        self._migrate()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads: sees one moment of the store."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:  # whose snapshot is one statement's otherwise
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @property
    def writing(self) -> sa.Connection | None:
        """This thread's open write transaction."""
        found: sa.Connection | None = getattr(self._own, "connection", None)
        return found

    @contextmanager
    def write(self, on: sa.Connection | None = None) -> Iterator[sa.Connection]:
        """A transaction that writes: all of it lands, or none. `on`: a connection to write by.

        Within another one of the same thread it is part of that one.
        """
        if self.writing is not None:
            yield self.writing
            return
        with self._writers, self.engine.connect() if on is None else nullcontext(on) as connection:
            connection.info[_HELD] = set()
            self._own.connection = connection
            try:
                with connection.execution_options(coach_write=True).begin():
                    yield connection
            finally:
                self._own.connection = None

    def version(self) -> object:
        """Something that is another after each change by anybody, and equal while there is none."""
        if not self.is_sqlite:
            with self.read() as connection:
                return connection.scalar(sa.text("SELECT pg_current_snapshot()::text"))
        with self._watching:  # by a connection that never writes: it tells of others' changes alone
            try:
                if self._watcher is None:
                    file = str(self.engine.url.database)
                    self._watcher = sqlite3.connect(file, check_same_thread=False, timeout=1.0)
                return self._watcher.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                raise OperationalError("PRAGMA data_version", None, error) from None

    def close(self) -> None:
        with self._watching:
            if self._watcher is not None:
                self._watcher.close()
                self._watcher = None
        self.engine.dispose()

    def _migrate(self) -> None:
        try:
            with self.read() as connection:
                current = MigrationContext.configure(connection).get_current_revision()
        except (DBAPIError, sa.exc.ArgumentError, TypeError, ValueError) as error:  # e.g. an option
            original = error.orig if isinstance(error, DBAPIError) else error
            reason = next(iter(str(original).strip().splitlines()), type(original).__name__)
            perhaps = " (perhaps the disk is full)" if "disk I/O" in reason else ""
            raise ValueError(
                f"cannot open the store {show_address(self.url)}:"
                f" {without_secrets(reason, self.url)}{perhaps}; check the path or URL"
            ) from None
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        scripts = ScriptDirectory.from_config(config)
        head = scripts.get_current_head()
        if current == head:
            return
        known = (script.revision for script in scripts.walk_revisions())
        if current is not None and current not in known:
            raise ValueError(
                f"the store {show_address(self.url)} was made by a newer version (schema"
                f" {current}, this one knows {head}): update this installation"
            )
        with self.write() as connection:
            # Another process may have migrated since: the upgrade reads the revision again.
            take_lock(connection, Lock.MIGRATION)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


class WriterQueue:
    """First come, first served among this process's writers.

    SQLite lets one write at a time and the others try again after a nap: without an order, one of
    many can wait half a minute.
    """

    def __init__(self, patience: float = PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._guard = threading.Lock()
        self._busy = False
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        with self._guard:
            if not self._busy:
                self._busy = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        try:
            if not turn.wait(self._patience):
                busy = sqlite3.OperationalError(f"the store was busy for {self._patience:g} s")
                raise OperationalError("BEGIN IMMEDIATE", None, busy)  # as SQLite itself would
        except BaseException:  # given up, or Ctrl-C: nobody may be left waiting for this one
            with self._guard:
                if turn.is_set():
                    self._wake_next()
                else:
                    self._waiting.remove(turn)
            raise

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._wake_next()

    def _wake_next(self) -> None:
        if self._waiting:  # the turn is handed over: never free in between, so nobody overtakes
            self._waiting.popleft().set()
        else:
            self._busy = False


_HELD, _STAGING = "locks held", "staging"
# Advisory locks belong to a whole PostgreSQL database. The first half of the key is therefore the
# object id of a table that every store has: the same for all who use this store, another for a
# store in another schema. (current_schema() would not do: two users who reach the same tables may
# differ in it. It stands in only while the store is being made.)
_TAKE_LOCK = sa.text(
    "SELECT pg_advisory_xact_lock("
    "coalesce(to_regclass('alembic_version')::oid::int, hashtext(current_schema())), :lock)"
)


def take_lock(connection: sa.Connection, lock: Lock) -> None:
    """Wait until no other transaction on this store holds the lock; hold it until the end.

    SQLite's writers queue by themselves, yet the order is checked there too: two transactions that
    take the same two locks in different orders would wait for each other on PostgreSQL.
    """
    held: set[Lock] = connection.info.setdefault(_HELD, set())
    if lock in held or staging_of(connection):
        return
    assert not held or lock > max(held), f"{lock.name} taken after {max(held).name}"
    held.add(lock)
    if connection.dialect.name == "postgresql":
        connection.execute(_TAKE_LOCK, {"lock": int(lock)})


@dataclass(frozen=True)
class Staging:
    """Where a connection's writes go while an import is prepared; see data/imports/staging.py."""

    tables: Mapping[sa.Table, sa.Table]
    """The temporary table that stands for each."""
    steps: list[Callable[[sa.Connection], None]] = field(default_factory=list)
    """What is done when all rows are in their tables."""


def staging_of(connection: sa.Connection) -> Staging | None:
    """What `stage_writes` has set."""
    found: Staging | None = connection.info.get(_STAGING)
    return found


@contextmanager
def stage_writes(connection: sa.Connection, staging: Staging) -> Iterator[None]:
    """Within it, what is added through this connection is put aside, and no lock is taken."""
    connection.info[_STAGING] = staging
    try:
        yield
    finally:
        del connection.info[_STAGING]


def target(connection: sa.Connection, table: sa.Table) -> sa.Table:
    """Where rows for this table go: there, or aside."""
    staging = staging_of(connection)
    return table if staging is None else staging.tables[table]


def when_stored(connection: sa.Connection, step: Callable[[sa.Connection], None]) -> None:
    """Do this once what was added before it is in its tables: now, or when it is published."""
    staging = staging_of(connection)
    if staging is None:
        step(connection)
    else:
        staging.steps.append(step)


RowValues = dict[str, Any]
"""Values to store, by column."""
ResultRow = sa.Row[*tuple[Any, ...]]
"""What a query found: columns are attributes."""


def in_batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of at most BATCH."""
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch


def existing(connection: sa.Connection, table: sa.Table, ids: Iterable[str]) -> set[str]:
    """Which of these ids the table holds."""
    query = sa.select(table.c.id)
    found = (connection.scalars(query.where(table.c.id.in_(b))) for b in in_batches(ids))
    return {i for ids_found in found for i in ids_found}


def insert_ignore(connection: sa.Connection, table: sa.Table, rows: Sequence[RowValues]) -> None:
    """Insert the rows, leaving those whose key is already there as they are."""
    if rows:
        connection.execute(ignoring_insert(connection, table), rows)


def ignoring_insert(
    connection: sa.Connection, table: sa.Table
) -> sqlite.Insert | postgresql.Insert:
    """The statement of `insert_ignore`."""
    into = target(connection, table)
    return _insert_into(connection.dialect.name, into).on_conflict_do_nothing()


def upsert(
    dialect: str,
    table: sa.Table,
    key: Sequence[str],
    update: Sequence[str],
    where: sa.ColumnElement[bool] | None = None,
) -> sqlite.Insert | postgresql.Insert:
    """An insert that, where a row with this key is there, sets these columns of it instead."""
    insert = _insert_into(dialect, table)
    set_ = {name: insert.excluded[name] for name in update}
    return insert.on_conflict_do_update(index_elements=key, set_=set_, where=where)


def _insert_into(dialect: str, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def make_private(url: URL) -> None:
    """Make a new SQLite store's file for its owner alone (mode 600); one that is there stays so.

    SQLite gives the files that it keeps beside a store the store's own permissions.
    """
    if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith("file:"):
        return
    with suppress(OSError, ValueError):  # SQLite says why not
        if url.database != ":memory:" and not Path(url.database).exists():
            Path(url.database).touch(mode=0o600)


def create_engine(url: URL, patience: float | None = None) -> sa.Engine:
    """SQLAlchemy's engine for a store; nothing is opened yet. `patience`: see `Database`.

    Raises ValueError for a URL that is none, and for a driver that is missing or asynchronous.
    """
    local = url.get_backend_name() == "sqlite"
    try:
        engine = sa.create_engine(url, pool_pre_ping=not local, pool_size=POOL, max_overflow=POOL)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError):
        raise ValueError(
            f"store {show_address(url)!r} is not a database URL: use a file path,"
            " sqlite:///PATH or postgresql://USER@HOST/NAME"
        ) from None
    except ModuleNotFoundError as error:
        plain = "use sqlite:///PATH" if local else "use postgresql://USER@HOST/NAME"
        remedy = "pip install 'coach[postgres]'" if error.name == "psycopg" else plain
        raise ValueError(
            f"store {show_address(url)} needs the module {error.name}: {remedy}"
        ) from None
    if engine.dialect.is_async:
        plain = "sqlite" if local else "postgresql"
        raise ValueError(f"store {show_address(url)} has an asynchronous driver: use {plain}://")
    if local:
        sa.event.listen(engine, "connect", partial(_configure_sqlite, patience or PATIENCE_SECONDS))
        sa.event.listen(engine, "begin", _begin_sqlite)
    elif patience is not None:
        sa.event.listen(engine, "connect", partial(_limit_waiting, patience))
    return engine


def _limit_waiting(patience: float, connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {1000 * patience:.0f}")
    connection.commit()


def _configure_sqlite(patience: float, connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event issues BEGIN, not the driver
    for pragma in (
        f"busy_timeout = {1000 * patience:.0f}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("coach_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
