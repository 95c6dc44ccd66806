"""Where the labeler is measured: an empty store on either engine, a served app, made-up tasks."""

from __future__ import annotations

import random
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from data.schema import KINDS, Completion, Prompt, Task, make_prompt
from data.store import Store
from tests.conftest import CANDIDATES
from tests.support.browser import Server

Engine = Literal["sqlite", "postgresql"]
BATCH = 5_000
CUT_SECONDS = 30.0
"""How long the server lives between two power cuts."""


class Absent(Exception):
    """What a part needs is not on this machine."""


@dataclass(frozen=True)
class Ground:
    """Where one part is measured: an empty store, and a folder."""

    folder: Path
    url: str

    def open(self) -> Store:
        return Store.open(self.url)

    @contextmanager
    def served(self) -> Iterator[Server]:
        """The app over this store, as a child process that does not outlive the part."""
        server = Server(self.folder, "--store", self.url)
        try:
            server.start()
            yield server
        finally:
            if server.process.poll() is None:
                server.kill()


@dataclass
class PowerCuts:
    """Kills the server every so often and starts it again, until left."""

    server: Server
    count: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> PowerCuts:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(CUT_SECONDS):
            self.server.kill()
            self.count += 1
            self.server.start()


def fill(ground: Ground, tasks: int, wanted: Sequence[int] = (1,)) -> None:
    """Queue made-up tasks of all kinds; how many annotators each wants goes round `wanted`."""
    rng = random.Random(0)
    words = (
        "the leaves of a plant turn yellow when it gets too much water or too little light".split()
    )

    def text(prompt: Prompt, n: int) -> Completion:
        return Completion(prompt, f"{n}: {' '.join(rng.choices(words, k=rng.randint(15, 45)))}.")

    batch: list[Task] = []
    with ground.open() as store:
        for i in range(tasks):
            kind = KINDS[i // 6 % len(KINDS)]
            prompt = make_prompt(f"What ails plant number {i}, and what should I do about it?")
            b = text(prompt, 2) if kind == "pairwise" else None
            batch.append(Task(kind, text(prompt, 1), b, wanted[i % len(wanted)], float(i + 1)))
            if len(batch) == BATCH or i == tasks - 1:
                store.ledger.add_tasks(batch)
                batch = []


@contextmanager
def sqlite_ground() -> Iterator[Ground]:
    with tempfile.TemporaryDirectory() as folder:
        yield Ground(Path(folder), str(Path(folder) / "store.db"))


@contextmanager
def postgres_ground() -> Iterator[Ground]:
    """A schema of its own, dropped afterwards."""
    base, engine = postgres()
    schema = f"coach_{secrets.token_hex(6)}"
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Ground(Path(folder), f"{base}?options=-csearch_path%3D{schema}")
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


def postgres() -> tuple[str, sa.Engine]:
    """URL and engine of the first server that answers; Absent with the reason if none does."""
    reason = ""
    for url in CANDIDATES:
        driver = url.replace("postgresql:", "postgresql+psycopg:")
        engine = sa.create_engine(driver, connect_args={"connect_timeout": 2})
        try:
            engine.connect().close()
            return url, engine
        except sa.exc.OperationalError as error:
            reason = str(error.orig).strip().splitlines()[0]
            engine.dispose()
    raise Absent(f"no PostgreSQL server answers: {reason}")


ENGINES: Mapping[Engine, Callable[[], AbstractContextManager[Ground]]] = {
    "sqlite": sqlite_ground,
    "postgresql": postgres_ground,
}
