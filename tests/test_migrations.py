"""A migrated store is what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from data import tables as t
from data.store import Store


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


def test_opening_again_changes_nothing(store_url: str) -> None:
    with Store.open(store_url) as first:
        first.people.add("ann", "lead")
    with Store.open(store_url) as second:
        assert [a.name for a in second.people.all()] == ["ann"]


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, store.database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ValueError, match="made by a newer version"):
        Store.open(tmp_path)
