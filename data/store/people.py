"""Queries on people: annotators, sessions, invitations, and the guidelines they read.

Tokens are stored as SHA-256 hashes only, so a copy of the store signs nobody in.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from data.schema import ROLES, Annotator, Role, now, timestamp
from data.store import tables as t
from data.store.database import Database, Lock, ResultRow, take_lock

SESSION_DAYS = 30
INVITATION_DAYS = 7
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Guidelines:
    """What annotators are asked to go by; each version is kept."""

    version: int
    text: str
    created_at: str


@dataclass(frozen=True)
class Invitation:
    """A link that lets one person choose a password. `name` is None where they choose it too."""

    name: str | None
    role: Role


class People:
    """Who may do what."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, name: str, role: Role, password_hash: str | None = None) -> Annotator:
        """A new person. Raises ValueError if the name is taken, empty, or the role unknown."""
        name = _check_name(name)
        if role not in ROLES:
            raise ValueError(f"role {role!r} unknown: use {' or '.join(ROLES)}")
        with self._db.write() as connection:
            if _find_by_name(connection, name):
                raise ValueError(f"name {name!r} is taken: choose another")
            row = {"name": name, "role": role, "password_hash": password_hash, "active": True}
            try:
                return _annotator_of(connection.execute(_ADD, row | {"created_at": now()}).one())
            except IntegrityError:  # added by somebody else a moment ago
                raise ValueError(f"name {name!r} is taken: choose another") from None

    def find(self, name: str) -> Annotator | None:
        with self._db.read() as connection:
            return _find_by_name(connection, name.strip()) if name.isprintable() else None

    def all(self) -> list[Annotator]:
        with self._db.read() as connection:
            rows = connection.execute(sa.select(t.annotators).order_by(t.annotators.c.id))
            return [_annotator_of(row) for row in rows]

    def has_lead(self) -> bool:
        """Whether a lead who can sign in exists yet."""
        query = sa.select(sa.func.count()).where(
            t.annotators.c.role == "lead",
            t.annotators.c.password_hash.is_not(None),
            t.annotators.c.active,
        )
        with self._db.read() as connection:
            return bool(connection.scalar(query))

    def password_hash(self, name: str) -> str | None:
        query = sa.select(t.annotators.c.password_hash).where(
            t.annotators.c.name == name.strip(), t.annotators.c.active
        )
        with self._db.read() as connection:
            return connection.scalar(query) if name.isprintable() else None

    def invite(self, role: Role, name: str | None = None) -> str:
        """A fresh one-time token, good for a week."""
        return self._insert_token(t.invitations, INVITATION_DAYS, name=name, role=role)

    def invitation(self, token: str) -> Invitation | None:
        """What an unused, unexpired token invites to."""
        with self._db.read() as connection:
            return _open_invitation(connection, token)

    def accept(self, token: str, name: str, password_hash: str) -> Annotator:
        """Use a token up: the person exists from now on, with this password.

        Raises ValueError if the token is used, expired or unknown, or the name is taken.
        """
        with self._db.write() as connection:
            take_lock(connection, Lock.INVITATIONS)  # two people may use one link at once
            invitation = _open_invitation(connection, token)
            if invitation is None:
                raise ValueError("this link was used or has expired: ask for a new one")
            name = _check_name(invitation.name or name)
            existing = _find_by_name(connection, name)
            if existing and invitation.name is None:
                raise ValueError(f"name {name!r} is taken: choose another")
            values = {"role": invitation.role, "password_hash": password_hash, "active": True}
            values["queue_from"] = None  # a lead is asked what others are not
            if existing:
                mine = t.annotators.c.id == existing.id
                change = sa.update(t.annotators).where(mine).returning(t.annotators)
                row = connection.execute(change, values).one()
                connection.execute(  # whoever knew the old password is signed out
                    sa.update(t.sessions)
                    .where(t.sessions.c.annotator_id == existing.id)
                    .values(expires_at=now())
                )
            else:
                row = connection.execute(_ADD, values | {"name": name, "created_at": now()}).one()
            i = t.invitations.c
            used = i.token_hash == _hash_of(token)
            if invitation.role == "lead":  # nor is any other open link for a first lead wanted now
                used |= sa.and_(i.role == "lead", i.name.is_(None), i.used_at.is_(None))
            connection.execute(sa.update(t.invitations).where(used).values(used_at=now()))
            return _annotator_of(row)

    def start_session(self, annotator: Annotator) -> str:
        """A fresh session token, good for a month."""
        return self._insert_token(t.sessions, SESSION_DAYS, annotator_id=annotator.id)

    def _insert_token(self, table: sa.Table, days: int, **about: object) -> str:
        token = secrets.token_urlsafe(24)
        ends = timestamp(datetime.now(UTC) + timedelta(days=days))
        row = {"token_hash": _hash_of(token), "expires_at": ends, "created_at": now(), **about}
        with self._db.write() as connection:
            connection.execute(sa.insert(table), row)
        return token

    def session(self, token: str) -> Annotator | None:
        """Who a session token belongs to, while it lasts."""
        with self._db.read() as connection:
            mine = {"token_hash": _hash_of(token), "now": now()}
            row = connection.execute(_OF_SESSION, mine).one_or_none()
            return _annotator_of(row) if row else None

    def end_session(self, token: str) -> None:
        mine = t.sessions.c.token_hash == _hash_of(token)
        with self._db.write() as connection:
            connection.execute(sa.update(t.sessions).where(mine).values(expires_at=now()))

    def try_password(self, allowed: Mapping[str, int], within: timedelta) -> bool:
        """Note a try under each key (a name, an address); False, noting none, where one is full.

        `allowed`: how many tries each key has within the time.
        """
        w = t.wrong_passwords.c
        hashes = {_hash_of(key): most for key, most in allowed.items()}
        recent = (
            sa.select(w.key_hash, sa.func.count())
            .where(w.key_hash.in_(hashes), w.created_at > _moment_ago(within))
            .group_by(w.key_hash)
        )
        with self._db.write() as connection:
            take_lock(connection, Lock.PASSWORDS)  # tries at once are counted one by one
            if any(n >= hashes[key] for key, n in connection.execute(recent)):
                return False
            connection.execute(sa.delete(t.wrong_passwords).where(w.created_at < _moment_ago(DAY)))
            rows = [{"key_hash": key, "created_at": now()} for key in hashes]
            connection.execute(sa.insert(t.wrong_passwords), rows)
            return True

    def right_password(self, name: str, address: str) -> None:
        """The try was right: the name's count starts anew, the address's is less by this one."""
        w = t.wrong_passwords.c
        with self._db.write() as connection:
            connection.execute(sa.delete(t.wrong_passwords).where(w.key_hash == _hash_of(name)))
            last = sa.select(sa.func.max(w.id)).where(w.key_hash == _hash_of(address))
            connection.execute(sa.delete(t.wrong_passwords).where(w.id == last.scalar_subquery()))

    def guidelines(self) -> Guidelines | None:
        """The newest version."""
        with self._db.read() as connection:
            return newest_guidelines(connection)

    def set_guidelines(self, text: str) -> Guidelines:
        """Add a version; the same text as the newest adds none."""
        if not text.strip():
            raise ValueError("the guidelines have no text: write what annotators should go by")
        with self._db.write() as connection:
            take_lock(connection, Lock.GUIDELINES)  # two leads may save at once
            current = newest_guidelines(connection)
            if current and current.text == text:
                return current
            version = (current.version if current else 0) + 1
            added = Guidelines(version, text, now())
            connection.execute(sa.insert(t.guidelines).values(asdict(added)))
            return added


_ADD = sa.insert(t.annotators).returning(t.annotators)
_OF_SESSION = (
    sa.select(t.annotators)
    .join(t.sessions, t.sessions.c.annotator_id == t.annotators.c.id)
    .where(
        t.sessions.c.token_hash == sa.bindparam("token_hash"),
        t.sessions.c.expires_at > sa.bindparam("now"),
        t.annotators.c.active,
    )
)
_NEWEST_VERSION = sa.select(sa.func.max(t.guidelines.c.version))


def newest_version(connection: sa.Connection) -> int | None:
    """The number of the newest guidelines."""
    version: int | None = connection.scalar(_NEWEST_VERSION)
    return version


def newest_guidelines(connection: sa.Connection) -> Guidelines | None:
    query = sa.select(t.guidelines).order_by(t.guidelines.c.version.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    return Guidelines(row.version, row.text, row.created_at) if row else None


def _find_by_name(connection: sa.Connection, name: str) -> Annotator | None:
    query = sa.select(t.annotators).where(t.annotators.c.name == name)
    row = connection.execute(query).one_or_none()
    return _annotator_of(row) if row else None


def _check_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= 80 or not name.isprintable():
        raise ValueError(f"name {name!r} not allowed: use 1 to 80 characters that can be seen")
    return name


def _annotator_of(row: ResultRow) -> Annotator:
    return Annotator(row.id, row.name, row.role, row.active, row.created_at)


def _open_invitation(connection: sa.Connection, token: str) -> Invitation | None:
    i = t.invitations.c
    still = (i.token_hash == _hash_of(token), i.used_at.is_(None), i.expires_at > now())
    row = connection.execute(sa.select(i.name, i.role).where(*still)).one_or_none()
    return Invitation(row.name, row.role) if row else None


def _hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _moment_ago(span: timedelta) -> str:
    return timestamp(datetime.now(UTC) - span)
