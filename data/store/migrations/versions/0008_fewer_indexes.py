"""Indexes that no query asked, each of which every import had to fill.

Revision ID: 0008
"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for table in ("completions", "demonstrations", "tasks"):
        op.drop_index(f"ix_{table}_prompt_id", table)
