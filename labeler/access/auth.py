"""Who is asking: passwords, the session cookie, and the check that every handler makes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from data.schema import Annotator, Role
from data.store import Store

COOKIE = "coach_session"
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
SIGNED_OUT = "You are signed out. Reload the page to sign in again."
LEADS_ONLY = "Only a lead may do this. Ask one, or sign in as a lead."

_hasher = PasswordHasher()
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)  # checked where the name is unknown, so that both answers take as long


class AccessRefused(Exception):
    """Who asks may not do this; the text says what would let them."""


def hash_password(password: str) -> str:
    """An argon2id hash. Raises ValueError for a password that is too short or far too long."""
    if len(password) < SHORTEST_PASSWORD:
        raise ValueError(
            f"a password of {len(password)} characters is too short: "
            f"use {SHORTEST_PASSWORD} or more"
        )
    if len(password) > LONGEST_PASSWORD:
        raise ValueError(f"a password may have at most {LONGEST_PASSWORD} characters")
    return _hasher.hash(password)


def check_password(store: Store, name: str, password: str) -> Annotator | None:
    """The person, if this is their password."""
    person = store.people.known_as(name)
    known = store.people.password_hash(person.name) if person else None
    try:
        _hasher.verify(known or _NOBODY, password[: LONGEST_PASSWORD + 1])
    except (VerificationError, InvalidHashError):
        return None
    return person if known else None


def person_of(store: Store, request: Any) -> Annotator | None:
    """Who a request's session cookie belongs to. Takes a FastAPI or a Gradio request.

    Looked up once: the door asks first, and keeps the answer with the request for those after it.
    """
    state = getattr(request, "state", None)
    if state is not None and hasattr(state, "person"):
        found: Annotator | None = state.person
        return found
    token = (getattr(request, "cookies", None) or {}).get(COOKIE, "")
    person = store.people.session(token) if token else None
    if state is not None:
        state.person = person
    return person


def admit(store: Store, request: Any, role: Role) -> Annotator:
    """The person behind a request, if their role allows it; else Refused.

    A lead may do what an annotator may.
    """
    person = person_of(store, request)
    if person is None:
        raise AccessRefused(SIGNED_OUT)
    if role == "lead" and person.role != "lead":
        raise AccessRefused(LEADS_ONLY)
    return person


def home_of(person: Annotator) -> str:
    """Where a person starts."""
    return "/lead/" if person.role == "lead" else "/label/"


def welcome_link(base: str, token: str) -> str:
    """The address behind an invitation."""
    return f"{base}/welcome?token={quote(token)}"
