"""A migrated store is what the tables say."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from data.places.store_address import parse_address
from data.schema import Answer
from data.store import Store
from data.store import tables as t
from data.store.database import MIGRATIONS, create_engine


def test_migrations_lead_to_the_tables(store: Store) -> None:
    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, t.metadata) == []


def test_check_constraints_are_migrated_too(store: Store) -> None:
    """Autogenerate does not compare these. A native boolean needs none."""
    with store.database.read() as connection:
        inspector = sa.inspect(connection)
        for table in t.metadata.tables.values():
            there = {c["name"] for c in inspector.get_check_constraints(table.name)}
            flags = {f"ck_{table.name}_{c.name}" for c in table.c if isinstance(c.type, sa.Boolean)}
            wanted = {str(c.name) for c in table.constraints if isinstance(c, sa.CheckConstraint)}
            if not store.database.is_sqlite:
                wanted -= flags
            assert wanted <= {str(name) for name in there}, table.name


def test_opening_again_changes_nothing(new_url: str) -> None:
    with Store.open(new_url) as first:
        first.people.add("ann", "lead")
    with Store.open(new_url) as second:
        assert [a.name for a in second.people.all()] == ["ann"]


def test_rows_of_an_older_store_are_kept(new_url: str) -> None:
    """A judgement from the time before flags, skips and turns can be read, and taken back."""
    now = "2026-01-01T00:00:00.000000Z"
    rows = {
        "prompts": {"id": "p", "messages": '[{"role": "user", "content": "Why?"}]', "tags": "[]"},
        "completions": {"id": "c", "prompt_id": "p", "text": "So.", "finished": True},
        "annotators": {"id": 100, "name": "ann", "role": "annotator", "active": True},
        "tasks": {"id": "t", "kind": "binary", "prompt_id": "p", "completion_a": "c"}
        | {"wanted": 2, "remaining": 1, "position": 1.0},
        "assignments": {"id": 100, "task_id": "t", "annotator_id": 100, "state": "done"}
        | {"lease_until": now},
        "judgements": {"id": 100, "task_id": "t", "annotator_id": 100, "assignment_id": 100}
        | {"kind": "binary", "value": "good", "client_token": "token"},
    }
    engine = create_engine(parse_address(new_url))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        for table, row in rows.items():
            row["created_at"] = now
            places = ", ".join(f":{column}" for column in row)
            insert = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})"
            connection.execute(sa.text(insert), row)
    engine.dispose()
    with Store.open(new_url) as store:
        [judgement] = store.ledger.judgements()
        assert (judgement.annotator, judgement.answer) == ("ann", Answer("good"))
        ann = store.people.find("ann")
        assert ann is not None and store.ledger.overview(ann, count_left=True).left == 0
        ben = store.people.add("ben", "annotator")
        held = store.ledger.claim(ben, random.Random(0))
        assert held is not None and held.task == judgement.task
        assert store.ledger.undo(ann)
        assert store.ledger.judgements() == []


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, store.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ValueError, match="made by a newer version"):
        Store.open(tmp_path)
