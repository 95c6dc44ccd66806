"""The tables, in SQLAlchemy Core. The database itself refuses what must not be.

Judgements are never updated or deleted: a later row supersedes an earlier one, and an undo is a
superseding row without a value.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, Float, ForeignKey, Integer, String, Text
from sqlalchemy.schema import SchemaItem

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _table(name: str, *columns: SchemaItem) -> sa.Table:
    """A table of these columns and constraints, and the moment at which a row was made."""
    return sa.Table(name, metadata, *columns, _moment())


def _noun(name: str, *columns: SchemaItem) -> sa.Table:
    """The table of one of the nouns that are one by content."""
    key = Column("id", String(32), primary_key=True)
    return _table(name, key, *columns, Column("external_id", Text))


def _prompt_id() -> Column[str]:
    return Column("prompt_id", ForeignKey("prompts.id"), nullable=False)


def _flag(name: str, nullable: bool = False) -> Column[bool]:
    return Column(name, sa.Boolean(create_constraint=True, name=name), nullable=nullable)


def _moment(name: str = "created_at", nullable: bool = False) -> Column[str]:
    return Column(name, String(32), nullable=nullable)


def _index_where(
    name: str, condition: sa.ColumnElement[bool], *columns: Column[Any], unique: bool = False
) -> None:
    """An index on the rows of which the condition is true."""
    sa.Index(name, *columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _purpose() -> Column[str]:
    """Why it was asked: it stood in the queue, its answer is known, or it is asked again."""
    return Column("purpose", String(16), nullable=False, server_default="queue")


_PURPOSES = "purpose IN ('queue', 'gold', 'repeat')"

prompts = _noun(
    "prompts", Column("messages", Text, nullable=False), Column("tags", Text, nullable=False)
)
demonstrations = _noun("demonstrations", _prompt_id(), Column("text", Text, nullable=False))
documents = _noun("documents", Column("text", Text, nullable=False))
completions = _noun(
    "completions", _prompt_id(), Column("text", Text, nullable=False), _flag("finished")
)
generations = _table(
    "generations",
    Column("id", Integer, primary_key=True),
    Column("completion_id", ForeignKey("completions.id"), nullable=False),
    Column("model", Text, nullable=False),
    Column("sampling", Text, nullable=False),
    sa.UniqueConstraint("completion_id", "model", "sampling"),
)
annotators = _table(
    "annotators",
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", Text),
    _flag("active"),
    Column("queue_from", Float),  # no task before this position is open to them; a shortcut
    CheckConstraint("role IN ('annotator', 'lead')", name="role"),
)
tasks = _table(
    "tasks",
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    _prompt_id(),
    Column("completion_a", ForeignKey("completions.id"), nullable=False),
    Column("completion_b", ForeignKey("completions.id")),
    Column("wanted", Integer, nullable=False),
    Column("remaining", Integer, nullable=False),
    Column("position", Float, nullable=False),
    Column("skips", Integer, nullable=False, server_default="0"),
    Column("repeats", ForeignKey("tasks.id"), index=True),  # asks one person again what this asked
    CheckConstraint("kind IN ('binary', 'scalar', 'pairwise')", name="kind"),
    CheckConstraint("(kind = 'pairwise') = (completion_b IS NOT NULL)", name="pair"),
    CheckConstraint("completion_a <> completion_b", name="distinct"),
    CheckConstraint("remaining >= 0 AND remaining <= wanted", name="remaining"),
)
# the queue: what still wants answers, in its order
_index_where("ix_tasks_open", tasks.c.remaining > 0, tasks.c.position, tasks.c.id)
assignments = _table(
    "assignments",
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
    sa.UniqueConstraint("task_id", "annotator_id"),
    CheckConstraint("state IN ('leased', 'done', 'skipped', 'released')", name="state"),
    CheckConstraint(_PURPOSES, name="purpose"),
    CheckConstraint("shown_first IN ('a', 'b')", name="shown_first"),
    sa.Index("ix_assignments_annotator_id_state", "annotator_id", "state"),
)
judgements = _table(
    "judgements",
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False, index=True),
    Column("assignment_id", ForeignKey("assignments.id")),
    Column("kind", String(16), nullable=False),
    Column("value", String(8)),
    Column("strength", Integer),
    _flag("both_bad", nullable=True),
    Column("shown_first", String(1)),
    Column("comment", Text),
    Column("flags", Text),
    Column("seconds", Float),
    Column("client_token", Text, nullable=False, unique=True),
    Column("supersedes", ForeignKey("judgements.id"), unique=True),
    Column("guidelines_version", Integer),
    Column("external_id", Text),
    Column("original", Text),
    _purpose(),
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
    sa.Index("ix_judgements_task_id_annotator_id", "task_id", "annotator_id"),
)
gold = _table(  # known answers; one that turns out to be wrong is retired
    "gold",
    Column("id", Integer, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("value", String(8), nullable=False),
    _moment("retired_at", nullable=True),
)
_index_where("ix_gold_now", gold.c.retired_at.is_(None), gold.c.task_id, unique=True)
settings = _table(
    "settings",
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
guidelines = _table(
    "guidelines",
    Column("version", Integer, primary_key=True),
    Column("text", Text, nullable=False),
)
sessions = _table(
    "sessions",
    Column("token_hash", String(64), primary_key=True),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False),
    _moment("expires_at"),
)
invitations = _table(
    "invitations",
    Column("token_hash", String(64), primary_key=True),
    Column("name", Text),
    Column("role", String(16), nullable=False),
    _moment("expires_at"),
    _moment("used_at", nullable=True),
)
wrong_passwords = _table(
    "wrong_passwords",
    Column("id", Integer, primary_key=True),
    Column("key_hash", String(64), nullable=False, index=True),
)
runs = _table(
    "runs",
    Column("id", String(64), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("config", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("pid", Integer),
    Column("pid_started", Float),
    Column("host", Text),
    Column("heartbeat", String(32)),
    _flag("stop_requested"),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("message", Text, nullable=False),
    _moment("ended_at", nullable=True),
    CheckConstraint(
        "status IN ('starting', 'running', 'finished', 'stopped', 'failed', 'died')", name="status"
    ),
)
