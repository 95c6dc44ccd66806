"""What holds up who guesses passwords, and not the person whose password it is.

Wrong passwords are counted for an address and a name together, for an address over all names, and
for a name over all addresses: whoever guesses from one place locks nobody out but themselves, and
from many places they are slow. A browser in which somebody has
signed in before is known by a signed cookie. It has a count of its own for that person, so they
get in from there whatever is guessed meanwhile, behind the same address too.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import TypeVar

from fastapi.responses import Response
from itsdangerous import BadData, URLSafeSerializer

from data.schema import Annotator
from data.store import Store

DEVICE_COOKIE = "coach_device"
DEVICE_SECONDS = 400 * 86_400
"""As long as browsers keep a cookie."""
PEOPLE_OF_A_DEVICE = 20
TRIES = 8
TRIES_FROM_ONE_ADDRESS = 60
"""Many people may sit behind one address."""
TRIES_AT_ONE_NAME = 40
"""From addresses however many, in browsers in which its person has not signed in before."""
TRY_WINDOW = timedelta(minutes=5)
PASSWORDS_AT_ONCE = 2
"""Each takes 64 MiB while it is checked."""
MOST_WAITING = 200
"""Requests that wait for that, twice as many from known browsers; a check takes about 50 ms."""
T = TypeVar("T")


class Busy(Exception):
    """More passwords are waiting to be checked than may wait."""


@dataclass(frozen=True)
class Device:
    """A browser, and who has signed in with it."""

    id: str
    people: tuple[int, ...] = ()


class PasswordPool:
    """Threads of its own for what checks and makes password hashes.

    However many sign in at once, their memory is that of two, and no thread that answers other
    requests waits for them.
    """

    def __init__(self, at_once: int = PASSWORDS_AT_ONCE, most_waiting: int = MOST_WAITING) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._most = most_waiting
        self._here = 0  # counted on the event loop's thread alone

    async def run(self, work: Callable[[], T], device: Device | None = None) -> T:
        """What `work` returns, when it is its turn. Raises Busy, at once, if too many wait."""
        if self._here >= (2 if device else 1) * self._most:
            raise Busy
        self._here += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._here -= 1


class Devices:
    """Browsers known by a cookie that only this store can have signed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @cached_property
    def _signer(self) -> URLSafeSerializer:
        return URLSafeSerializer(self._store.people.secret("devices"), salt=DEVICE_COOKIE)

    def read(self, cookies: Mapping[str, str]) -> Device | None:
        """The browser behind a request's cookies, if it is known."""
        cookie = cookies.get(DEVICE_COOKIE)
        if not cookie:
            return None
        try:
            device, people = self._signer.loads(cookie)
            return Device(str(device), tuple(map(int, people)))
        except (BadData, TypeError, ValueError):
            return None

    def remember(
        self, response: Response, device: Device | None, person: Annotator, secure: bool, path: str
    ) -> None:
        """From now on the browser that gets this response is known for this person."""
        device = device or Device(secrets.token_urlsafe(12))
        others = [one for one in device.people if one != person.id]
        people = [*others, person.id][-PEOPLE_OF_A_DEVICE:]
        response.set_cookie(
            DEVICE_COOKIE,
            self._signer.dumps([device.id, people]),
            max_age=DEVICE_SECONDS,
            path=path,
            httponly=True,
            samesite="lax",
            secure=secure,
        )


class RateLimit:
    """Wrong passwords within a window; kept in the store, so that every server counts."""

    def __init__(self, store: Store, tries: int = TRIES, window: timedelta = TRY_WINDOW) -> None:
        self._people, self._tries, self._window = store.people, tries, window

    def may_try(self, name: str, address: str, device: Device | None = None) -> bool:
        """Whether a password may be tried; it counts as wrong until `right` is told of it.

        So no more are tried at once than one after the other.
        """
        own, shared = self._keys(name, address, device)
        return self._people.try_password({own: self._tries, **shared}, self._window)

    def right(self, name: str, address: str, device: Device | None = None) -> None:
        """The try was no guess."""
        own, shared = self._keys(name, address, device)
        self._people.right_password(own, shared)

    def _keys(self, name: str, address: str, device: Device | None) -> tuple[str, dict[str, int]]:
        """Under what a try is counted, and under what with others' tries, of how many."""
        person = self._people.known_as(name)
        if person and device and person.id in device.people:
            return f"device:{device.id} {person.id}", {}
        where = network_of(address)
        typed = unicodedata.normalize("NFC", name.strip()).casefold()
        who = f"name:{person.id if person else typed}"
        shared = {f"from:{where}": TRIES_FROM_ONE_ADDRESS, who: TRIES_AT_ONE_NAME}
        return f"{who} from {where}", shared


def network_of(address: str) -> str:
    """What one guesser has to themselves: an IPv4 address, or 64 bits of an IPv6 network."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ip_network((found, 64), strict=False))
    return str(found.ipv4_mapped or found) if found.version == 6 else str(found)
