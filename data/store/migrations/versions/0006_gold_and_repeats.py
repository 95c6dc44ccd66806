"""Tasks with a known answer, tasks asked again, and the shares in which they come.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_PURPOSE = (
    "ALTER TABLE {table} ADD COLUMN purpose VARCHAR(16) DEFAULT 'queue' NOT NULL"
    " CONSTRAINT ck_{table}_purpose CHECK (purpose IN ('queue', 'gold', 'repeat'))"
)


def upgrade() -> None:
    for table in ("assignments", "judgements"):  # spelt out: SQLite adds a check in no other way
        op.execute(_PURPOSE.format(table=table))
    op.execute(
        "ALTER TABLE tasks ADD COLUMN repeats VARCHAR(32)"
        " CONSTRAINT fk_tasks_repeats REFERENCES tasks (id)"
    )
    op.create_index("ix_tasks_repeats", "tasks", ["repeats"])
    op.create_table(
        "gold",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.String(32), nullable=False),
        sa.Column("value", sa.String(8), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("retired_at", sa.String(32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gold")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_gold_task_id")),
    )
    now = sa.text("retired_at IS NULL")
    op.create_index(
        "ix_gold_now", "gold", ["task_id"], unique=True, sqlite_where=now, postgresql_where=now
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
