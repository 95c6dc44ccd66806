"""The tables, in SQLAlchemy Core. The database itself refuses what must not be.

Judgements are never updated or deleted: a later row supersedes an earlier one, and an undo is a
superseding row without a value.
"""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _moment(name: str = "created_at", nullable: bool = False) -> Column[str]:
    return Column(name, String(32), nullable=nullable)


def _purpose() -> Column[str]:
    """Why it was asked: it stood in the queue, its answer is known, or it is asked again."""
    return Column("purpose", String(16), nullable=False, server_default="queue")


_PURPOSES = "purpose IN ('queue', 'gold', 'repeat')"

prompts = Table(
    "prompts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("messages", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("external_id", Text),
    _moment(),
)
demonstrations = Table(
    "demonstrations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("prompt_id", ForeignKey("prompts.id"), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("external_id", Text),
    _moment(),
)
documents = Table(
    "documents",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("text", Text, nullable=False),
    Column("external_id", Text),
    _moment(),
)
completions = Table(
    "completions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("prompt_id", ForeignKey("prompts.id"), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("finished", Boolean(create_constraint=True, name="finished"), nullable=False),
    Column("external_id", Text),
    _moment(),
)
generations = Table(
    "generations",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("completion_id", ForeignKey("completions.id"), nullable=False),
    Column("model", Text, nullable=False),
    Column("sampling", Text, nullable=False),
    _moment(),
    UniqueConstraint("completion_id", "model", "sampling"),
)
annotators = Table(
    "annotators",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", Text),
    Column("active", Boolean(create_constraint=True, name="active"), nullable=False),
    Column("queue_from", Float),  # no task before this position is open to them; a shortcut
    _moment(),
    CheckConstraint("role IN ('annotator', 'lead')", name="role"),
)
tasks = Table(
    "tasks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("prompt_id", ForeignKey("prompts.id"), nullable=False, index=True),
    Column("completion_a", ForeignKey("completions.id"), nullable=False),
    Column("completion_b", ForeignKey("completions.id")),
    Column("wanted", Integer, nullable=False),
    Column("remaining", Integer, nullable=False),
    Column("position", Float, nullable=False),
    Column("skips", Integer, nullable=False, server_default="0"),
    Column("repeats", ForeignKey("tasks.id"), index=True),  # asks one person again what this asked
    _moment(),
    CheckConstraint("kind IN ('binary', 'scalar', 'pairwise')", name="kind"),
    CheckConstraint("(kind = 'pairwise') = (completion_b IS NOT NULL)", name="pair"),
    CheckConstraint("completion_a <> completion_b", name="distinct"),
    CheckConstraint("remaining >= 0 AND remaining <= wanted", name="remaining"),
)
Index(  # the queue: what still wants answers, in its order
    "ix_tasks_open",
    tasks.c.position,
    tasks.c.id,
    sqlite_where=tasks.c.remaining > 0,
    postgresql_where=tasks.c.remaining > 0,
)
assignments = Table(
    "assignments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False),
    Column("shown_first", String(1)),
    Column("state", String(16), nullable=False),
    Column("turn", Integer, nullable=False, server_default="0"),
    _purpose(),
    Column("flags", Text),
    Column("comment", Text),
    _moment("lease_until"),
    _moment(),
    UniqueConstraint("task_id", "annotator_id"),
    CheckConstraint("state IN ('leased', 'done', 'skipped', 'released')", name="state"),
    CheckConstraint(_PURPOSES, name="purpose"),
    CheckConstraint("shown_first IN ('a', 'b')", name="shown_first"),
    Index("ix_assignments_annotator_id_state", "annotator_id", "state"),
)
judgements = Table(
    "judgements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False, index=True),
    Column("assignment_id", ForeignKey("assignments.id")),
    Column("kind", String(16), nullable=False),
    Column("value", String(8)),
    Column("strength", Integer),
    Column("both_bad", Boolean(create_constraint=True, name="both_bad")),
    Column("shown_first", String(1)),
    Column("comment", Text),
    Column("flags", Text),
    Column("seconds", Float),
    Column("client_token", Text, nullable=False, unique=True),
    Column("supersedes", ForeignKey("judgements.id"), unique=True),
    Column("guidelines_version", Integer),
    Column("external_id", Text),
    _purpose(),
    _moment(),
    CheckConstraint(
        "(value IS NULL AND supersedes IS NOT NULL) OR (value IS NOT NULL AND ("
        "(kind = 'binary' AND value IN ('good', 'bad'))"
        " OR (kind = 'pairwise' AND value IN ('a', 'b', 'tie'))"
        " OR (kind = 'scalar' AND value IN ('1','2','3','4','5','6','7','8','9','10'))))",
        name="value",
    ),
    CheckConstraint(
        "strength IS NULL OR (value IS NOT NULL AND kind = 'pairwise' AND value <> 'tie'"
        " AND strength BETWEEN 1 AND 3)",
        name="strength",
    ),
    CheckConstraint("shown_first IN ('a', 'b')", name="shown_first"),
    CheckConstraint(_PURPOSES, name="purpose"),
    Index("ix_judgements_task_id_annotator_id", "task_id", "annotator_id"),
)
gold = Table(  # known answers; one that turns out to be wrong is retired
    "gold",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("value", String(8), nullable=False),
    _moment(),
    _moment("retired_at", nullable=True),
)
Index(
    "ix_gold_now",
    gold.c.task_id,
    unique=True,
    sqlite_where=gold.c.retired_at.is_(None),
    postgresql_where=gold.c.retired_at.is_(None),
)
settings = Table(
    "settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    _moment(),
)
guidelines = Table(
    "guidelines",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    _moment(),
)
sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False),
    _moment("expires_at"),
    _moment(),
)
invitations = Table(
    "invitations",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("name", Text),
    Column("role", String(16), nullable=False),
    _moment("expires_at"),
    _moment("used_at", nullable=True),
    _moment(),
)
wrong_passwords = Table(
    "wrong_passwords",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key_hash", String(64), nullable=False, index=True),
    _moment(),
)
runs = Table(
    "runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("config", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("pid", Integer),
    Column("pid_started", Float),
    Column("host", Text),
    Column("heartbeat", String(32)),
    Column(
        "stop_requested", Boolean(create_constraint=True, name="stop_requested"), nullable=False
    ),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("message", Text, nullable=False),
    _moment(),
    _moment("ended_at", nullable=True),
    CheckConstraint(
        "status IN ('starting', 'running', 'finished', 'stopped', 'failed', 'died')", name="status"
    ),
)
