"""Queries on runs: one row for each training or sampling process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from data.schema import canonical_json, now
from data.store import tables as t
from data.store.database import Database, Lock, ResultRow, take_lock

Status = Literal["starting", "running", "finished", "stopped", "failed", "died"]
LIVE: tuple[Status, ...] = ("starting", "running")


@dataclass(frozen=True)
class Run:
    """One run as the store knows it."""

    id: str
    kind: str
    config: Mapping[str, Any]
    status: Status
    pid: int | None
    pid_started: float | None
    """The process's start, in clock ticks since boot where known: a pid alone can be reused."""
    host: str | None
    """Name of the machine that the process is on."""
    heartbeat: str | None
    stop_requested: bool
    done: int
    total: int
    message: str
    created_at: str
    ended_at: str | None

    @property
    def live(self) -> bool:
        return self.status in LIVE


class RunRows:
    """The rows behind `data.runs`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, run_id: str, kind: str, config: Mapping[str, Any], alone: bool = False) -> None:
        """A run that starts. Raises ValueError if it is to be the only one of its kind and is not.

        Two that are added at once, by two servers too, cannot both be alone.
        """
        with self._db.write() as connection:
            if alone:
                take_lock(connection, Lock.RUNS)
                same = (t.runs.c.kind == kind, t.runs.c.status.in_(LIVE))
                other = connection.scalar(sa.select(t.runs.c.id).where(*same).limit(1))
                if other:
                    raise ValueError(
                        f"a {kind} run is going on already ({other}): wait for it or stop it first"
                    )
            row = {"id": run_id, "kind": kind, "config": canonical_json(dict(config))}
            row |= {"status": "starting", "message": "", "created_at": now()}
            zero = {"stop_requested": False, "done": 0, "total": 0}
            connection.execute(sa.insert(t.runs), row | zero)

    def get(self, run_id: str) -> Run | None:
        with self._db.read() as connection:
            row = connection.execute(sa.select(t.runs).where(t.runs.c.id == run_id)).one_or_none()
            return _run_of(row) if row else None

    def list(self, kind: str | None = None, limit: int = 200) -> list[Run]:
        """Newest first."""
        query = sa.select(t.runs).order_by(t.runs.c.created_at.desc(), t.runs.c.id.desc())
        if kind:
            query = query.where(t.runs.c.kind == kind)
        with self._db.read() as connection:
            return [_run_of(row) for row in connection.execute(query.limit(limit))]

    def update(self, run_id: str, **values: object) -> None:
        """Set columns of one run (status, pid, heartbeat, done, total, message, ...)."""
        with self._db.write() as connection:
            connection.execute(sa.update(t.runs).where(t.runs.c.id == run_id).values(**values))

    def beat(self, run_id: str) -> bool:
        """Mark a run alive; returns whether a stop was asked for."""
        with self._db.write() as connection:
            beat = sa.update(t.runs).where(t.runs.c.id == run_id).values(heartbeat=now())
            return bool(connection.scalar(beat.returning(t.runs.c.stop_requested)))

    def end(self, run_id: str, status: Status, message: str) -> None:
        """Close a live run; one that has ended stays as it ended."""
        live = sa.and_(t.runs.c.id == run_id, t.runs.c.status.in_(LIVE))
        values = {"status": status, "message": message, "ended_at": now()}
        with self._db.write() as connection:
            connection.execute(sa.update(t.runs).where(live), values)


def _run_of(row: ResultRow) -> Run:
    return Run(**row._asdict() | {"config": json.loads(row.config)})
