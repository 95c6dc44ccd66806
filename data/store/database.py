"""The connection: one engine, a read and a write transaction, and the schema brought up to date."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DatabaseError, OperationalError

MIGRATIONS = Path(__file__).with_name("migrations")
POOL = 20
"""Connections kept open; as many again while there is a rush."""
PATIENCE_SECONDS = 30.0
"""How long a write waits for others before it is given up."""
_LOCK_KEY = 7_206_100  # any number: one advisory lock for "this store is being migrated"


class Database:
    """An engine with the two kinds of transaction that the store uses.

    SQLite runs in WAL with synchronous FULL; a write transaction takes the write lock at once
    (BEGIN IMMEDIATE), so two writers queue instead of failing half way.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._turns = _Turns() if self.is_sqlite else nullcontext()
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

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that writes: all of it lands, or none."""
        with self._turns, self.engine.connect() as connection:
            with connection.execution_options(coach_write=True).begin():
                yield connection

    def close(self) -> None:
        self.engine.dispose()

    def _migrate(self) -> None:
        try:
            with self.read() as connection:
                current = MigrationContext.configure(connection).get_current_revision()
        except (OperationalError, DatabaseError) as error:
            raise ValueError(
                f"cannot open the store {_shown(self.url)}: {_reason(error)}; check the path or URL"
            ) from None
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        head = ScriptDirectory.from_config(config).get_current_head()
        if current == head:
            return
        if current is not None and current not in _revisions(config):
            raise ValueError(
                f"the store {_shown(self.url)} was made by a newer version (schema {current}, this"
                f" one knows {head}): update this installation"
            )
        with self.write() as connection:
            if not self.is_sqlite:
                connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


class _Turns:
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
                    self._next()
                else:
                    self._waiting.remove(turn)
            raise

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._next()

    def _next(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._busy = False


def one_at_a_time(connection: sa.Connection, what: str) -> None:
    """Wait until no other transaction does this, and keep others from it until the end.

    SQLite's writers queue by themselves.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": what})


def insert_ignore(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows, leaving those whose key is already there as they are."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def upsert(connection: sa.Connection, table: sa.Table, key: list[str], **update: Any) -> Any:
    """An insert that updates the row of this key, if there is one: `set_` and `where`."""
    return _insert(connection, table).on_conflict_do_update(index_elements=key, **update)


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        return sqlite_insert(table)
    from sqlalchemy.dialects.postgresql import insert as postgres_insert

    return postgres_insert(table)


def _engine(url: str) -> sa.Engine:
    try:
        engine = sa.create_engine(
            url, pool_pre_ping=not url.startswith("sqlite"), pool_size=POOL, max_overflow=POOL
        )
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError):
        raise ValueError(
            f"store {_masked(url)!r} is not a database URL: use a file path, sqlite:///PATH or "
            "postgresql://USER@HOST/NAME"
        ) from None
    except ModuleNotFoundError as error:
        raise ValueError(
            f"store {_shown(url)} needs the module {error.name}: pip install 'coach[postgres]'"
        ) from None
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event issues BEGIN, not the driver
    for pragma in (
        f"busy_timeout = {1000 * PATIENCE_SECONDS:.0f}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("coach_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revisions(config: Config) -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def _masked(url: str) -> str:
    """A text meant as a URL, without what may be a password."""
    return re.sub(r"://[^@/]*@", "://***@", url)


def _shown(url: str) -> str:
    return sa.engine.make_url(url).render_as_string(hide_password=True)


def _reason(error: DatabaseError | OperationalError) -> str:
    reason = str(error.orig).strip().splitlines()[0]
    return f"{reason} (perhaps the disk is full)" if "disk I/O" in reason else reason
