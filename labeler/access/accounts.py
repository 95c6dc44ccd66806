"""Letting people in and out, in words: what the shell and the lead's page both do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from data.schema import Annotator
from data.store import Store
from data.store.accounts.people import Access

Change = Literal["off", "on", "sign-out", "withdraw"]


def change_access(store: Store, what: Change, name: str) -> str:
    """Switch a person off or on, end their sessions or withdraw their links; returns what came of
    it, in one line. Raises ValueError for a name that nobody has, or the only lead."""
    return _CHANGES[what](store, name)


def _switch_off(store: Store, name: str) -> str:
    person = store.people.switch_off(name)
    return f"{person.name} is switched off: no session and no link works; what they said stays"


def _switch_on(store: Store, name: str) -> str:
    person = store.people.switch_on(name)
    if store.people.access()[person.name].has_password:
        return f"{person.name} is switched on and can sign in with the password they had"
    return f"{person.name} is switched on: a new link lets them set a password"


def _sign_out(store: Store, name: str) -> str:
    return f"{name.strip()} is signed out: {_count(store.people.sign_out(name), 'session')} ended"


def _withdraw(store: Store, name: str) -> str:
    return f"{_count(store.people.withdraw(name), 'open link')} of {name.strip()} withdrawn"


_CHANGES: Mapping[Change, Callable[[Store, str], str]] = {
    "off": _switch_off,
    "on": _switch_on,
    "sign-out": _sign_out,
    "withdraw": _withdraw,
}


def state_of(person: Annotator, access: Access) -> str:
    """How a person can get in, in a few words."""
    if not person.active:
        return "switched off"
    can = "can sign in" if access.has_password else "no password"
    signed_in = _count(access.sessions, "session") if access.sessions else ""
    links = _count(access.links, "open link") if access.links else ""
    return ", ".join(filter(None, [can, signed_in, links]))


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
