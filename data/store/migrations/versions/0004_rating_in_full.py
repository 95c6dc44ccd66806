"""Flags, skips that go to a lead, an order among held tasks, wrong passwords.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("tasks", sa.Column("skips", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "assignments", sa.Column("turn", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("assignments", sa.Column("flags", sa.Text(), nullable=True))
    op.add_column("assignments", sa.Column("comment", sa.Text(), nullable=True))
    op.add_column("judgements", sa.Column("flags", sa.Text(), nullable=True))
    op.drop_index("ix_tasks_remaining_position", "tasks")
    wanted = sa.text("remaining > 0")
    op.create_index(
        "ix_tasks_open",
        "tasks",
        ["position", "id"],
        sqlite_where=wanted,
        postgresql_where=wanted,
    )
    op.create_table(
        "wrong_passwords",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wrong_passwords")),
    )
    op.create_index("ix_wrong_passwords_key_hash", "wrong_passwords", ["key_hash"])
