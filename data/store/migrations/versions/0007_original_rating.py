"""A rating as it was given, where that was on another scale.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("judgements", sa.Column("original", sa.Text(), nullable=True))
