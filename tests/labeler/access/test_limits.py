"""Wrong passwords hold up the guesser, not the person; few hashes are made at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from data import Store
from data.store import tables as t
from labeler.access.limits import (
    DEVICE_COOKIE,
    PASSWORDS_AT_ONCE,
    Busy,
    Device,
    PasswordPool,
    RateLimit,
    network_of,
)
from labeler.app import build_app
from tests.support.labeler_helpers import PASSWORD, add_person, open_store


def browser(app: Any, address: str) -> TestClient:
    return TestClient(app, "http://coach.test", follow_redirects=False, client=(address, 50000))


def sign_in(client: TestClient, name: str, password: str = PASSWORD) -> int:
    return client.post("/sign-in", data={"name": name, "password": password}).status_code


def test_a_guesser_locks_out_nobody_but_themselves(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        add_person(store, "ann")
        app = build_app(store, tmp_path, "m")
        home, office, guesser = (browser(app, a) for a in ("10.0.0.1", "10.0.0.9", "10.0.0.9"))
        assert sign_in(home, "ann") == sign_in(office, "ann") == 303
        guesses = [sign_in(guesser, "ann", "guess") for _ in range(9)]
        assert guesses == [401] * 8 + [429]
        assert sign_in(guesser, "ann") == 429  # the right one too: it could be a guess
        assert sign_in(guesser, "ANN") == 429  # however the name is spelled
        assert sign_in(browser(app, "10.0.0.2"), "ann") == 303  # from anywhere else
        # Behind the guesser's own address, in the browser that ann has used before:
        office.post("/sign-out")
        assert sign_in(office, "ann") == 303


def test_a_known_browser_has_tries_of_its_own_and_only_for_its_people(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for name in ("ann", "ben"):
            add_person(store, name)
        app = build_app(store, tmp_path, "m")
        office = browser(app, "10.0.0.9")
        assert sign_in(office, "ann") == 303
        cookie = office.cookies[DEVICE_COOKIE]
        assert [sign_in(office, "ben", "guess") for _ in range(9)] == [401] * 8 + [429]
        assert sign_in(office, "ben") == 429  # known for ann, not for ben
        assert sign_in(office, "ann") == 303
        assert [sign_in(office, "ann", "guess") for _ in range(9)] == [401] * 8 + [429]
        assert sign_in(browser(app, "10.0.0.2"), "ann") == 303
        forged = browser(app, "10.0.0.9")
        for wrong in (cookie[:-1] + "x", "", "a.b", cookie.split(".")[0]):
            forged.cookies.set(DEVICE_COOKIE, wrong)
            assert sign_in(forged, "ben") == 429


def test_guesses_from_many_addresses_are_few_and_hold_up_no_known_browser(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for name in ("ann", "ben"):
            add_person(store, name)
        app = build_app(store, tmp_path, "m")
        home = browser(app, "10.0.0.1")
        assert sign_in(home, "ann") == 303
        guesses = [sign_in(browser(app, f"10.1.{n // 4}.1"), "ann", "guess") for n in range(48)]
        assert guesses == [401] * 40 + [429] * 8
        assert sign_in(browser(app, "10.0.0.2"), "ann") == 429  # new here: after the others' tries
        assert sign_in(browser(app, "10.1.1.1"), "ben") == 303
        home.post("/sign-out")
        assert [sign_in(home, "ann", "typo"), sign_in(home, "ann")] == [401, 303]


def test_signing_in_again_and_again_is_no_guessing(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        limit = RateLimit(store)
        for n in range(60):
            assert limit.may_try("ann", f"10.0.0.{n}")
            limit.right("ann", f"10.0.0.{n}")


def test_the_device_cookie_is_out_of_reach(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        add_person(store, "ann")
        app = build_app(store, tmp_path, "m")
        for scheme in ("http", "https"):
            client = TestClient(app, f"{scheme}://coach.test", follow_redirects=False)
            data = {"name": "ann", "password": PASSWORD}
            set_ = client.post("/sign-in", data=data).headers.get_list("set-cookie")
            [cookie] = [one for one in set_ if one.startswith(DEVICE_COOKIE)]
            assert "HttpOnly" in cookie and "SameSite=lax" in cookie
            assert ("Secure" in cookie) == (scheme == "https")


def test_one_address_guesses_at_few_names(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        limit = RateLimit(store)
        assert sum(limit.may_try(f"name {n}", "10.0.0.9") for n in range(80)) == 60
        assert limit.may_try("name 3", "10.0.0.8")


def test_the_limit_is_shared_by_servers_and_forgets(tmp_path: Path) -> None:
    with open_store(tmp_path) as one, open_store(tmp_path) as other:
        ann = add_person(one, "ann")
        limit, elsewhere = RateLimit(one, tries=2), RateLimit(other, tries=2)
        assert limit.may_try("ann", "a") and elsewhere.may_try("Ann", "a")
        assert not limit.may_try("ann", "a")
        assert limit.may_try("ann", "b") and limit.may_try("ben", "a")
        assert limit.may_try("ann", "a", Device("d", (ann.id,)))
        limit.right("ann", "a")
        assert limit.may_try("ann", "a")
        with one.database.read() as connection:
            kept = connection.scalars(sa.select(t.wrong_passwords.c.key_hash)).all()
        assert len(set(kept)) == 8 and not any("ann" in key for key in kept)
        later = RateLimit(other, tries=2, window=timedelta())
        assert later.may_try("ann", "a")
        with one.database.read() as connection:  # what no longer counts is no longer there
            assert connection.scalar(sa.select(sa.func.count(t.wrong_passwords.c.id))) == 3


def test_tries_from_before_the_clock_was_set_back_do_not_count(store: Store) -> None:
    limit = RateLimit(store, tries=1)
    assert limit.may_try("ann", "a") and not limit.may_try("ann", "a")
    with store.database.write() as connection:
        connection.execute(t.wrong_passwords.update().values(created_at="2999-01-01T00:00:00Z"))
    assert limit.may_try("ann", "a")


def test_many_at_once_get_no_more_tries(store_url: str) -> None:
    with Store.open(store_url) as store, ThreadPoolExecutor(8) as pool:
        limit = RateLimit(store, tries=3)
        assert sum(pool.map(lambda _: limit.may_try("ann", "a"), range(24))) == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),  # one customer's network
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("testclient", "unknown", False),
    ],
)
def test_what_is_one_guesser(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) == same


def test_few_passwords_are_checked_at_once_and_the_others_wait_their_turn() -> None:
    pool = PasswordPool(most_waiting=60)
    guard, inside, most, held = threading.Lock(), 0, 0, threading.Event()

    def check() -> bool:
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        held.wait(10)
        with guard:
            inside -= 1
        return True

    async def sixty() -> list[Any]:
        calls = [asyncio.ensure_future(pool.run(check)) for _ in range(60)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await pool.run(check)
        known = asyncio.ensure_future(pool.run(check, Device("d", (1,))))
        await asyncio.sleep(0)
        held.set()
        return list(await asyncio.gather(*calls, known))

    assert asyncio.run(sixty()) == [True] * 61
    assert 1 <= most <= PASSWORDS_AT_ONCE


def test_too_many_at_once_are_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labeler.access.limits.PasswordPool.run", _refuse)
    with open_store(tmp_path) as store:
        token = store.people.invite("annotator", "ann")
        client = browser(build_app(store, tmp_path, "m"), "10.0.0.1")
        assert sign_in(client, "ann") == 503
        sent = {"token": token, "name": "ann", "password": PASSWORD}
        busy = client.post("/welcome", data=sent)
        assert busy.status_code == 503 and "your link still works" in busy.text


async def _refuse(*_: object) -> None:
    raise Busy
