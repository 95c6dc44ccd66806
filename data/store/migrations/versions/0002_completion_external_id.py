"""Completions keep the id that they had where they came from.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("completions", sa.Column("external_id", sa.Text(), nullable=True))
