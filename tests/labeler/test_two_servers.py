"""Two servers on one store, people moving between them in mid task: nothing lost or doubled."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from data import Store
from data.store import tables as t
from labeler.access.auth import COOKIE
from tests.support.browser import free_port
from tests.support.labeler_helpers import add_person, add_tasks

PEOPLE, TASKS, WANTED = 6, 12, 2


@pytest.fixture
def store_at(postgres: str) -> Iterator[str]:
    schema = f"coach_{secrets.token_hex(6)}"
    engine = sa.create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    yield f"{postgres}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture
def people(store_at: str) -> list[str]:
    """The cookies of everybody. There are tasks before a server starts: none samples any."""
    with Store.open(store_at) as store:
        add_tasks(store, "pairwise", TASKS, wanted=WANTED)
        added = [add_person(store, f"p{i}") for i in range(PEOPLE)]
        return [store.people.start_session(person) for person in added]


@pytest.fixture
def servers(store_at: str, people: list[str], tmp_path: Path) -> Iterator[list[str]]:
    ports = [free_port(), free_port()]
    command = [sys.executable, "-m", "labeler", "serve", "--store", store_at]
    running = [
        subprocess.Popen(
            [*command, "--workspace", str(tmp_path / f"w{port}"), "--port", str(port)],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for port in ports
    ]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    try:
        for url in urls:
            wait_for(url)
        yield urls
    finally:
        for process in running:
            process.kill()
            process.wait()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/sign-in").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"no server at {url}")


def work(urls: list[str], cookie: str, seed: int) -> list[str]:
    """Rate until nothing is left, each call to another server; returns the tokens kept.

    Some calls are sent twice, to both servers at once, as a page does whose connection broke.
    """
    rng, kept = random.Random(seed), []
    with httpx.Client(cookies={COOKIE: cookie}, timeout=30) as client:
        while True:
            view: dict[str, Any] = client.post(f"{rng.choice(urls)}/rate/tasks").json()
            if not view["tasks"]:
                return kept
            task = view["tasks"][0]
            body = {k: task[k] for k in ("assignment", "token")} | {"value": rng.choice("ab")}
            answers = sent(client, urls, rng, "/rate/answer", body)
            assert len({answer["kept"] for answer in answers}) == 1
            if answers[0]["kept"]:
                kept.append(task["token"])
            if rng.random() < 0.1 and answers[-1]["last"] is not None:
                undone = {
                    "assignment": answers[-1]["last"],
                    "token": f"{rng.getrandbits(64):x}-undo",
                }
                sent(client, urls, rng, "/rate/undo", undone)


def sent(
    client: httpx.Client, urls: list[str], rng: random.Random, path: str, body: dict[str, Any]
) -> list[dict[str, Any]]:
    """The call's answers: from one server, or from both, asked at the same moment."""
    to = rng.sample(urls, rng.choice([1, 2]))
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda url: client.post(f"{url}{path}", json=body).json(), to))


def test_two_servers_lose_and_double_nothing(
    store_at: str, people: list[str], servers: list[str]
) -> None:
    with ThreadPoolExecutor(PEOPLE) as pool:
        kept = list(pool.map(lambda i: work(servers, people[i], i), range(PEOPLE)))
    with Store.open(store_at) as store:
        judgements = store.ledger.judgements()
        with store.database.read() as connection:
            stored = set(connection.scalars(sa.select(t.judgements.c.client_token)))
        assert store.content.counts().tasks_open == 0
    assert {token for tokens in kept for token in tokens} <= stored
    assert set(Counter(j.task.id for j in judgements).values()) == {WANTED}
    assert max(Counter((j.task.id, j.annotator) for j in judgements).values()) == 1
