"""What many tests start from: an empty store on each engine."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from data.store import Store

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when a library is imported, in children too

pytest_plugins = ["tests.support.training", "tests.support.browser"]

POSTGRES = os.environ.get("COACH_TEST_POSTGRES", "")
CANDIDATES = (
    [POSTGRES]
    if POSTGRES
    else [f"postgresql://{user}@127.0.0.1:5432/test" for user in ("postgres", "root")]
)


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
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty store can be made, once for each engine."""
    if request.param == "sqlite":
        yield str(tmp_path / "store.db")
        return
    with fresh_schema(request.getfixturevalue("postgres")) as url:
        yield url


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened
