"""The first tables.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "annotators",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(create_constraint=True, name="active"), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.CheckConstraint("role IN ('annotator', 'lead')", name=op.f("ck_annotators_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotators")),
        sa.UniqueConstraint("name", name=op.f("uq_annotators_name")),
    )
    op.create_table(
        "documents",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
    )
    op.create_table(
        "guidelines",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_guidelines")),
    )
    op.create_table(
        "invitations",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.Column("used_at", sa.String(length=32), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_invitations")),
    )
    op.create_table(
        "prompts",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("messages", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompts")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("pid_started", sa.Float(), nullable=True),
        sa.Column("heartbeat", sa.String(length=32), nullable=True),
        sa.Column(
            "stop_requested",
            sa.Boolean(create_constraint=True, name="stop_requested"),
            nullable=False,
        ),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.Column("ended_at", sa.String(length=32), nullable=True),
        sa.CheckConstraint(
            "status IN ('starting', 'running', 'finished', 'stopped', 'failed', 'died')",
            name=op.f("ck_runs_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_table(
        "completions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("finished", sa.Boolean(create_constraint=True, name="finished"), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.id"], name=op.f("fk_completions_prompt_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_completions")),
    )
    op.create_index(op.f("ix_completions_prompt_id"), "completions", ["prompt_id"], unique=False)
    op.create_table(
        "demonstrations",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["prompt_id"], ["prompts.id"], name=op.f("fk_demonstrations_prompt_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_demonstrations")),
    )
    op.create_index(
        op.f("ix_demonstrations_prompt_id"), "demonstrations", ["prompt_id"], unique=False
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.id"], name=op.f("fk_sessions_annotator_id")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_table(
        "generations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("completion_id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("sampling", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["completion_id"], ["completions.id"], name=op.f("fk_generations_completion_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
        sa.UniqueConstraint(
            "completion_id",
            "model",
            "sampling",
            name=op.f("uq_generations_completion_id_model_sampling"),
        ),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("prompt_id", sa.String(length=32), nullable=False),
        sa.Column("completion_a", sa.String(length=32), nullable=False),
        sa.Column("completion_b", sa.String(length=32), nullable=True),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("position", sa.Float(), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.CheckConstraint(
            "(kind = 'pairwise') = (completion_b IS NOT NULL)", name=op.f("ck_tasks_pair")
        ),
        sa.CheckConstraint("kind IN ('binary', 'scalar', 'pairwise')", name=op.f("ck_tasks_kind")),
        sa.CheckConstraint("completion_a <> completion_b", name=op.f("ck_tasks_distinct")),
        sa.CheckConstraint(
            "remaining >= 0 AND remaining <= wanted", name=op.f("ck_tasks_remaining")
        ),
        sa.ForeignKeyConstraint(
            ["completion_a"], ["completions.id"], name=op.f("fk_tasks_completion_a")
        ),
        sa.ForeignKeyConstraint(
            ["completion_b"], ["completions.id"], name=op.f("fk_tasks_completion_b")
        ),
        sa.ForeignKeyConstraint(["prompt_id"], ["prompts.id"], name=op.f("fk_tasks_prompt_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_index(op.f("ix_tasks_prompt_id"), "tasks", ["prompt_id"], unique=False)
    op.create_index("ix_tasks_remaining_position", "tasks", ["remaining", "position"], unique=False)
    op.create_table(
        "assignments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.String(length=32), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("shown_first", sa.String(length=1), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("lease_until", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.CheckConstraint("shown_first IN ('a', 'b')", name=op.f("ck_assignments_shown_first")),
        sa.CheckConstraint(
            "state IN ('leased', 'done', 'skipped', 'released')", name=op.f("ck_assignments_state")
        ),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.id"], name=op.f("fk_assignments_annotator_id")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_assignments_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assignments")),
        sa.UniqueConstraint(
            "task_id", "annotator_id", name=op.f("uq_assignments_task_id_annotator_id")
        ),
    )
    op.create_index(
        "ix_assignments_annotator_id_state", "assignments", ["annotator_id", "state"], unique=False
    )
    op.create_table(
        "judgements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.String(length=32), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("assignment_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=8), nullable=True),
        sa.Column("strength", sa.Integer(), nullable=True),
        sa.Column("both_bad", sa.Boolean(create_constraint=True, name="both_bad"), nullable=True),
        sa.Column("shown_first", sa.String(length=1), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("client_token", sa.Text(), nullable=False),
        sa.Column("supersedes", sa.Integer(), nullable=True),
        sa.Column("guidelines_version", sa.Integer(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=32), nullable=False),
        sa.CheckConstraint(
            "(value IS NULL AND supersedes IS NOT NULL) OR (value IS NOT NULL AND "
            "((kind = 'binary' AND value IN ('good', 'bad')) OR (kind = 'pairwise' "
            "AND value IN ('a', 'b', 'tie')) OR (kind = 'scalar' AND value IN "
            "('1','2','3','4','5','6','7','8','9','10'))))",
            name=op.f("ck_judgements_value"),
        ),
        sa.CheckConstraint("shown_first IN ('a', 'b')", name=op.f("ck_judgements_shown_first")),
        sa.CheckConstraint(
            "strength IS NULL OR (value IS NOT NULL AND kind = 'pairwise' AND "
            "value <> 'tie' AND strength BETWEEN 1 AND 3)",
            name=op.f("ck_judgements_strength"),
        ),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.id"], name=op.f("fk_judgements_annotator_id")
        ),
        sa.ForeignKeyConstraint(
            ["assignment_id"], ["assignments.id"], name=op.f("fk_judgements_assignment_id")
        ),
        sa.ForeignKeyConstraint(
            ["supersedes"], ["judgements.id"], name=op.f("fk_judgements_supersedes")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_judgements_task_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgements")),
        sa.UniqueConstraint("client_token", name=op.f("uq_judgements_client_token")),
        sa.UniqueConstraint("supersedes", name=op.f("uq_judgements_supersedes")),
    )
    op.create_index(
        op.f("ix_judgements_annotator_id"), "judgements", ["annotator_id"], unique=False
    )
    op.create_index(op.f("ix_judgements_task_id"), "judgements", ["task_id"], unique=False)
