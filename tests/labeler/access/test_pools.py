"""A store that is locked, or slow, holds up nobody who does not ask it."""

from __future__ import annotations

import inspect
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from data import Store
from data.settings import disk_message
from data.store.database import Lock, take_lock
from labeler.access.auth import COOKIE
from labeler.access.middleware import PAGES
from labeler.access.pools import DOOR_THREADS, PAGE_THREADS, RATING_THREADS
from labeler.app import build_app
from labeler.rating import actions
from tests.support.labeler_helpers import add_person, add_tasks


@pytest.fixture
def hurried(store_url: str) -> Iterator[Store]:
    """A store that gives up soon where another program locks it."""
    with Store.open(store_url, patience=0.05) as opened:
        yield opened


@pytest.fixture
def client(hurried: Store, tmp_path: Path) -> Iterator[TestClient]:
    app = build_app(hurried, tmp_path, "a-model")
    with TestClient(app, base_url="http://coach.test", follow_redirects=False) as opened:
        yield opened


def test_files_health_and_sign_in_wait_for_nobody(
    hurried: Store, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While more calls than there are threads in all wait for the store."""
    unlocked, waiting = threading.Event(), threading.Semaphore(0)

    def look(*_: object) -> Any:
        waiting.release()
        unlocked.wait(30)
        raise OperationalError("BEGIN", None, sqlite3.OperationalError("database is locked"))

    monkeypatch.setattr(actions, "look", look)
    cookie = {"cookie": f"{COOKIE}={hurried.people.start_session(add_person(hurried, 'ann'))}"}
    calls = 60
    with ThreadPoolExecutor(calls) as pool:
        try:
            asked = [pool.submit(client.post, "/rate/tasks", headers=cookie) for _ in range(calls)]
            for _ in range(RATING_THREADS):
                assert waiting.acquire(timeout=30)
            assert client.get("/healthz").text == "ok"
            for path in ("/static/coach.css", "/sign-in", "/label/theme.css"):
                assert client.get(path).status_code == 200
            assert client.get("/label/", headers=cookie).status_code == 200
        finally:
            unlocked.set()
        assert {answer.result().status_code for answer in asked} == {503}


def test_health_asks_no_store(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sa.Engine, "connect", lambda _: pytest.fail("the store was asked"))
    assert client.get("/healthz").status_code == 200
    assert client.get("/static/coach.css").status_code == 200


def test_a_lock_of_another_program_is_told_of(
    hurried: Store, client: TestClient, store_url: str
) -> None:
    add_tasks(hurried, "binary", 1)
    cookie = {"cookie": f"{COOKIE}={hurried.people.start_session(add_person(hurried, 'ann'))}"}
    with Store.open(store_url) as other, other.database.write() as connection:
        take_lock(connection, Lock.QUEUE)
        answer = client.post("/rate/tasks", headers=cookie)
        assert answer.status_code == 503
        assert "another program has locked the store" in answer.json()["notice"]
    assert client.post("/rate/tasks", headers=cookie).json()["state"] == "task"


def test_the_words_for_a_lock() -> None:
    for said in ("database is locked", "canceling statement due to lock timeout"):
        error = OperationalError("BEGIN", None, sqlite3.OperationalError(said))
        assert "another program has locked the store" in disk_message(error)


def test_pools_leave_connections_for_the_rest() -> None:
    from data.store.database import POOL

    assert RATING_THREADS + 2 * PAGE_THREADS + DOOR_THREADS < 2 * POOL


def test_what_is_set_in_gradio_is_still_what_it_reads(hurried: Store, tmp_path: Path) -> None:
    """Its pages' own threads, and its queues, which nothing of ours waits in, at rest."""
    from gradio.queueing import Queue

    app = build_app(hurried, tmp_path, "a-model")
    mounts = [route.app for route in app.routes if getattr(route, "path", "") in PAGES]
    assert len(mounts) == len(PAGES)
    with TestClient(app, base_url="http://coach.test") as client:
        client.get("/healthz")
        for blocks in (mount.get_blocks() for mount in mounts):
            assert blocks.limiter.total_tokens == PAGE_THREADS
            assert blocks._queue.sleep_when_free >= 1
            assert blocks._queue.progress_update_sleep_when_free >= 1
            assert not any(fn.queue for fn in blocks.fns.values())
    source = inspect.getsource(Queue)
    for name in ("sleep_when_free", "progress_update_sleep_when_free"):
        assert f"sleep(self.{name})" in source
