"""What many tests start from: an empty store on each engine."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from data.places.store_address import parse_address
from data.store import Store
from data.store.database import create_engine
from data.store.tables import metadata
from tests.support.content import make_store

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when a library is imported, in children too

gc.disable()

pytest_plugins = ["tests.support.training", "tests.support.browser"]

POSTGRES = os.environ.get("COACH_TEST_POSTGRES", "")
CANDIDATES = (
    [POSTGRES]
    if POSTGRES
    else [f"postgresql://{user}@127.0.0.1:5432/test" for user in ("postgres", "root")]
)


def pytest_collection_finish() -> None:
    """What was loaded until here stays: no garbage is looked for in it."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def postgres() -> str:
    """URL of a server's database for tests, or a skip with the reason."""
    reason = ""
    for url in CANDIDATES:
        engine = sa.create_engine(
            url.replace("postgresql:", "postgresql+psycopg:"), connect_args={"connect_timeout": 2}
        )
        try:
            with engine.connect():
                return url
        except sa.exc.OperationalError as error:
            reason = str(error.orig).strip().splitlines()[0]
        finally:
            engine.dispose()
    pytest.skip(f"no PostgreSQL server answers: {reason}")


@contextmanager
def fresh_schema(base: str) -> Iterator[str]:
    """URL of an empty schema of this database; it is dropped at the end."""
    schema = f"coach_{secrets.token_hex(6)}"
    engine = sa.create_engine(base.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    try:
        yield f"{base}?options=-csearch_path%3D{schema}"
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store can be made, once for each engine."""
    if request.param == "sqlite":
        yield str(tmp_path / "store.db")
        return
    with fresh_schema(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def made_schema(postgres: str) -> Iterator[str]:
    """URL of a store to be emptied before each use."""
    with fresh_schema(postgres) as url:
        Store.open(url).close()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store is, once for each engine."""
    if request.param == "sqlite":
        return str(make_store(tmp_path))
    url: str = request.getfixturevalue("made_schema")
    engine = create_engine(parse_address(url))
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL lock_timeout = '30s'"))
        connection.execute(sa.text(f"TRUNCATE {tables} RESTART IDENTITY"))
    engine.dispose()
    return url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(make_store(tmp_path)) as opened:
        yield opened
