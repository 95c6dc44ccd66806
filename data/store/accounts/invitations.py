"""Invitations: links by which one person chooses a password, once, within a week.

Tokens are stored as SHA-256 hashes only, so a copy of the store signs nobody in.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa

from data.schema import Role, now
from data.store import tables as t

INVITATION_DAYS = 7
FOR_A_FIRST_LEAD = sa.and_(t.invitations.c.role == "lead", t.invitations.c.name.is_(None))
"""Links that the server gives out while nobody leads: whoever has one chooses a name."""


@dataclass(frozen=True)
class Invitation:
    """What a link invites to. `name` is None where they choose it too."""

    name: str | None
    role: Role


def find_invitation(connection: sa.Connection, token: str) -> Invitation | None:
    """What an unused, unexpired token invites to."""
    i = t.invitations.c
    query = sa.select(i.name, i.role).where(i.token_hash == hash_of(token), *still_open())
    row = connection.execute(query).one_or_none()
    return Invitation(row.name, row.role) if row else None


def withdraw_invitations(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    """Use open invitations up; returns how many there were."""
    change = sa.update(t.invitations).where(which, *still_open())
    return connection.execute(change.values(used_at=now())).rowcount


def still_open() -> tuple[sa.ColumnElement[bool], ...]:
    """What holds of an invitation that can be used."""
    return (t.invitations.c.used_at.is_(None), t.invitations.c.expires_at > now())


def hash_of(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()
