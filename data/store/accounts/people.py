"""Queries on people: annotators, sessions, invitations, and the guidelines they read."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from difflib import get_close_matches

import sqlalchemy as sa

from data.schema import ROLES, Annotator, Role, now
from data.store import tables as t
from data.store.accounts.guidelines import Guidelines, newest_guidelines
from data.store.accounts.invitations import (
    FOR_A_FIRST_LEAD,
    INVITATION_DAYS,
    Invitation,
    find_invitation,
    hash_of,
    still_open,
    withdraw_invitations,
)
from data.store.accounts.look_alikes import can_be_seen, look_alike, skeletons
from data.store.assignments import give_back
from data.store.database import Database, Lock, ResultRow, insert_ignore, take_lock

SESSION_DAYS = 30


@dataclass(frozen=True)
class Access:
    """How one person can get in."""

    has_password: bool
    sessions: int
    """Browsers in which they are signed in."""
    links: int
    """Invitations that are still open."""


class People:
    """Who may do what."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, name: str, role: Role, password_hash: str | None = None) -> Annotator:
        """A new person. A lead who can sign in ends the links that were open for a first one.

        Raises ValueError if the name is empty, taken, or looks like another's, or the role is
        unknown.
        """
        name = _check_name(name)
        if role not in ROLES:
            raise ValueError(f"role {role!r} unknown: use {' or '.join(ROLES)}")
        with self._db.write() as connection:
            take_lock(connection, Lock.INVITATIONS)  # two that look alike may be added at once
            _check_free(connection, name)
            if role == "lead" and password_hash is not None:
                withdraw_invitations(connection, FOR_A_FIRST_LEAD)
            return _insert(connection, name=name, role=role, password_hash=password_hash)

    def find(self, name: str) -> Annotator | None:
        """Whoever has exactly this name."""
        with self._db.read() as connection:
            return _find_by_name(connection, name.strip()) if name.isprintable() else None

    def known_as(self, name: str) -> Annotator | None:
        """Whom somebody means who types this name: exactly, or but for case and composition.

        Nobody, where that could be two people.
        """
        found = self.find(name)
        if found or not name.isprintable():
            return found
        alike = [person for person in self.all() if _same(person.name) == _same(name.strip())]
        return alike[0] if len(alike) == 1 else None

    def all(self) -> list[Annotator]:
        with self._db.read() as connection:
            rows = connection.execute(sa.select(t.annotators).order_by(t.annotators.c.id))
            return [_annotator_of(row) for row in rows]

    def has_lead(self) -> bool:
        """Whether a lead who can sign in exists yet."""
        query = sa.select(sa.func.count()).select_from(t.annotators).where(*_CAN_LEAD)
        with self._db.read() as connection:
            return bool(connection.scalar(query))

    def password_hash(self, name: str) -> str | None:
        query = sa.select(t.annotators.c.password_hash).where(
            t.annotators.c.name == name.strip(), t.annotators.c.active
        )
        with self._db.read() as connection:
            return connection.scalar(query) if name.isprintable() else None

    def invite(self, role: Role, name: str | None = None) -> str:
        """A fresh one-time token, good for a week. Raises ValueError for who is switched off."""
        person = self.find(name) if name else None
        if person and not person.active:
            raise ValueError(f"{person.name} is switched off: switch them on first")
        return self._insert_token(t.invitations, INVITATION_DAYS, name=name, role=role)

    def invitation(self, token: str) -> Invitation | None:
        """What an unused, unexpired token invites to."""
        with self._db.read() as connection:
            return find_invitation(connection, token)

    def accept(self, token: str, name: str, password_hash: str) -> Annotator:
        """Use a token up: the person exists from now on, with this password.

        Raises ValueError if the token is used, withdrawn, expired or unknown, or the name is taken
        or looks like another's, or it would make the only lead an annotator.
        """
        with self._db.write() as connection:
            take_lock(connection, Lock.INVITATIONS)  # two people may use one link at once
            invitation = find_invitation(connection, token)
            if invitation is None:
                raise ValueError("this link was used or has expired: ask for a new one")
            name = invitation.name or _check_name(name)
            existing = _find_by_name(connection, name)
            if existing and not existing.active:
                raise ValueError(f"{name} is switched off: ask a lead to be switched on")
            if invitation.name is None or not existing:
                _check_free(connection, name)
            values: dict[str, object] = {"role": invitation.role, "password_hash": password_hash}
            if existing:
                if invitation.role != "lead":
                    _check_other_lead(connection, existing)
                values["queue_from"] = None  # a lead is asked what others are not
                person = _update(connection, existing, **values)
                _end_sessions(connection, existing)  # of whoever knew the old password
            else:
                person = _insert(connection, name=name, **values)
            i = t.invitations.c
            used = i.name == name  # any other link of theirs would set another password later
            used |= i.token_hash == hash_of(token)
            if invitation.role == "lead":
                used |= FOR_A_FIRST_LEAD
            withdraw_invitations(connection, used)
            return person

    def switch_off(self, name: str) -> Annotator:
        """Nobody gets in by this name any more: sessions end, links are withdrawn.

        What they said stays; what they hold goes back to the queue. Raises ValueError for a name
        that nobody has, or the only lead who can sign in.
        """
        with self._db.write() as connection:
            take_lock(connection, Lock.QUEUE)
            take_lock(connection, Lock.INVITATIONS)
            person = _named(connection, name)
            _check_other_lead(connection, person)
            _end_sessions(connection, person)
            withdraw_invitations(connection, t.invitations.c.name == person.name)
            give_back(connection, person.id)
            return _update(connection, person, active=False)

    def switch_on(self, name: str) -> Annotator:
        """They may sign in again, with the password they had; withdrawn links stay withdrawn."""
        with self._db.write() as connection:
            return _update(connection, _named(connection, name), active=True)

    def sign_out(self, name: str) -> int:
        """End all sessions of a person; returns how many there were."""
        with self._db.write() as connection:
            return _end_sessions(connection, _named(connection, name))

    def withdraw(self, name: str) -> int:
        """Withdraw a person's open invitations; returns how many there were."""
        with self._db.write() as connection:
            take_lock(connection, Lock.INVITATIONS)  # one may be in use
            person = _named(connection, name)
            return withdraw_invitations(connection, t.invitations.c.name == person.name)

    def access(self) -> dict[str, Access]:
        """How each person can get in, by name."""
        a, s, i = t.annotators.c, t.sessions.c, t.invitations.c
        sessions = sa.select(s.annotator_id, sa.func.count()).where(s.expires_at > now())
        links = sa.select(i.name, sa.func.count()).where(*still_open(), i.name.is_not(None))
        people = sa.select(a.id, a.name, a.password_hash.is_not(None).label("has_password"))
        with self._db.read() as connection:
            signed_in = {who: n for who, n in connection.execute(sessions.group_by(s.annotator_id))}  # noqa: C416
            invited = {who: n for who, n in connection.execute(links.group_by(i.name))}  # noqa: C416
            return {
                row.name: Access(
                    bool(row.has_password), signed_in.get(row.id, 0), invited.get(row.name, 0)
                )
                for row in connection.execute(people)
            }

    def secret(self, name: str) -> str:
        """A key of this store that no browser is told; made when it is first asked for."""
        row = {"name": f"secret {name}", "value": secrets.token_urlsafe(32), "created_at": now()}
        query = sa.select(t.settings.c.value).where(t.settings.c.name == row["name"])
        with self._db.read() as connection:
            found = connection.scalar(query)
        if found is None:
            with self._db.write() as connection:
                insert_ignore(connection, t.settings, [row])  # another server may be as quick
                found = connection.scalar(query)
        return str(found)

    def start_session(self, annotator: Annotator) -> str:
        """A fresh session token, good for a month."""
        return self._insert_token(t.sessions, SESSION_DAYS, annotator_id=annotator.id)

    def _insert_token(self, table: sa.Table, days: int, **about: object) -> str:
        token = secrets.token_urlsafe(24)
        ends = now(timedelta(days=days))
        row = {"token_hash": hash_of(token), "expires_at": ends, "created_at": now(), **about}
        with self._db.write() as connection:
            connection.execute(sa.insert(table), row)
        return token

    def session(self, token: str) -> Annotator | None:
        """Who a session token belongs to, while it lasts."""
        with self._db.read() as connection:
            mine = {"token_hash": hash_of(token), "now": now()}
            row = connection.execute(_OF_SESSION, mine).one_or_none()
            return _annotator_of(row) if row else None

    def end_session(self, token: str) -> None:
        mine = t.sessions.c.token_hash == hash_of(token)
        with self._db.write() as connection:
            connection.execute(sa.update(t.sessions).where(mine).values(expires_at=now()))

    def try_password(self, allowed: Mapping[str, int], within: timedelta) -> bool:
        """Note a try under each key; False, noting none, where one is full.

        `allowed`: how many tries each key has within the time. Others are forgotten (ones from
        before the clock was set back too), so there are never more rows than passwords can be
        checked in that time.
        """
        w = t.wrong_passwords.c
        hashes = {hash_of(key): most for key, most in allowed.items()}
        within_it = w.created_at.between(now(-within), now(within))
        recent = (
            sa.select(w.key_hash, sa.func.count())
            .where(w.key_hash.in_(hashes), within_it)
            .group_by(w.key_hash)
        )
        with self._db.write() as connection:
            take_lock(connection, Lock.PASSWORDS)  # tries at once are counted one by one
            if any(n >= hashes[key] for key, n in connection.execute(recent)):
                return False
            connection.execute(sa.delete(t.wrong_passwords).where(~within_it))
            rows = [{"key_hash": key, "created_at": now()} for key in hashes]
            connection.execute(sa.insert(t.wrong_passwords), rows)
            return True

    def right_password(self, forget: str, less: Iterable[str] = ()) -> None:
        """The try was right: one key's count starts anew, others' are less by this one."""
        w = t.wrong_passwords.c
        with self._db.write() as connection:
            connection.execute(sa.delete(t.wrong_passwords).where(w.key_hash == hash_of(forget)))
            for key in less:
                last = sa.select(sa.func.max(w.id)).where(w.key_hash == hash_of(key))
                one = w.id == last.scalar_subquery()
                connection.execute(sa.delete(t.wrong_passwords).where(one))

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


_CAN_LEAD = (
    t.annotators.c.role == "lead",
    t.annotators.c.password_hash.is_not(None),
    t.annotators.c.active,
)
_OF_SESSION = (
    sa.select(t.annotators)
    .join(t.sessions, t.sessions.c.annotator_id == t.annotators.c.id)
    .where(
        t.sessions.c.token_hash == sa.bindparam("token_hash"),
        t.sessions.c.expires_at > sa.bindparam("now"),
        t.annotators.c.active,
    )
)


def _find_by_name(connection: sa.Connection, name: str) -> Annotator | None:
    """Whoever has this name, in whichever composition of its accents it is stored."""
    spelt = {name, unicodedata.normalize("NFC", name)}
    rows = connection.execute(sa.select(t.annotators).where(t.annotators.c.name.in_(spelt))).all()
    rows = sorted(rows, key=lambda row: bool(row.name != name))
    return _annotator_of(rows[0]) if rows else None


def _named(connection: sa.Connection, name: str) -> Annotator:
    """Whoever has this name; ValueError with the closest ones where nobody has."""
    found = _find_by_name(connection, name.strip()) if name.isprintable() else None
    if found is None:
        names = connection.scalars(sa.select(t.annotators.c.name)).all()
        looks = {each: min(skeletons(each)) for each in names}  # without case and accents
        alike = get_close_matches(min(skeletons(name)), set(looks.values()), n=2)
        close = " or ".join(each for look in alike for each in names if looks[each] == look)
        close = close or "a name from the list of people"
        raise ValueError(f"nobody is called {name!r}: use {close}")
    return found


def _check_other_lead(connection: sa.Connection, person: Annotator) -> None:
    """ValueError for the only lead who can sign in."""
    leads = connection.scalars(sa.select(t.annotators.c.id).where(*_CAN_LEAD)).all()
    if list(leads) == [person.id]:
        raise ValueError(f"{person.name} is the only lead who can sign in: make another lead first")


def _same(name: str) -> str:
    """What is one and the same name, whoever types it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_name(name: str) -> str:
    name = unicodedata.normalize("NFC", name.strip())
    if not 1 <= len(name) <= 80 or not can_be_seen(name):
        raise ValueError(f"name {name!r} not allowed: use 1 to 80 characters that can be seen")
    return name


def _check_free(connection: sa.Connection, name: str) -> None:
    """ValueError for a name that somebody has, or that would be taken for somebody's."""
    names = connection.scalars(sa.select(t.annotators.c.name)).all()
    if name in names:
        raise ValueError(f"name {name!r} is taken: choose another")
    other = look_alike(name, names)
    if other is not None:
        raise ValueError(
            f"name {name!r} looks like {other!r}, who is here: use that name, or add something"
            " that tells them apart, such as a surname"
        )


def _insert(connection: sa.Connection, **values: object) -> Annotator:
    row = {"active": True, "created_at": now(), **values}
    added = sa.insert(t.annotators).returning(t.annotators)
    return _annotator_of(connection.execute(added, row).one())


def _update(connection: sa.Connection, person: Annotator, **values: object) -> Annotator:
    change = sa.update(t.annotators).where(t.annotators.c.id == person.id)
    return _annotator_of(connection.execute(change.returning(t.annotators), values).one())


def _end_sessions(connection: sa.Connection, person: Annotator) -> int:
    """Sign a person out everywhere; returns how many sessions that ended."""
    s = t.sessions.c
    theirs = sa.update(t.sessions).where(s.annotator_id == person.id, s.expires_at > now())
    return connection.execute(theirs.values(expires_at=now())).rowcount


def _annotator_of(row: ResultRow) -> Annotator:
    return Annotator(row.id, row.name, row.role, row.active, row.created_at)
