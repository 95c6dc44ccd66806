"""Where each annotator's search for the next task begins, and whose answers a task has.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("annotators", sa.Column("queue_from", sa.Float(), nullable=True))
    op.create_index("ix_judgements_task_id_annotator_id", "judgements", ["task_id", "annotator_id"])
    op.drop_index("ix_judgements_task_id", "judgements")
