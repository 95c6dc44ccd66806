"""Guidelines: what annotators are asked to go by; each version is kept."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from data.store import tables as t


@dataclass(frozen=True)
class Guidelines:
    """One version of them."""

    version: int
    text: str
    created_at: str


_NEWEST_VERSION = sa.select(sa.func.max(t.guidelines.c.version))


def newest_version(connection: sa.Connection) -> int | None:
    """The number of the newest guidelines."""
    version: int | None = connection.scalar(_NEWEST_VERSION)
    return version


def newest_guidelines(connection: sa.Connection) -> Guidelines | None:
    query = sa.select(t.guidelines).order_by(t.guidelines.c.version.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return Guidelines(row.version, row.text, row.created_at) if row else None
