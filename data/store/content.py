"""Queries on what models are asked and what they answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa

from data.schema import (
    KINDS,
    Completion,
    Demonstration,
    Document,
    Generation,
    Message,
    Prompt,
    canonical_json,
    now,
)
from data.store import tables as t
from data.store.database import (
    Database,
    Lock,
    ResultRow,
    RowValues,
    T,
    in_batches,
    insert_ignore,
    take_lock,
    target,
)
from data.store.judgement_rows import standing
from data.task_planning import Question

N = TypeVar("N", Prompt, Completion)
ContentItem = Prompt | Demonstration | Document | Completion


@dataclass(frozen=True)
class Counts:
    """How much is stored."""

    prompts: int
    demonstrations: int
    documents: int
    completions: int
    judgements: dict[str, int]
    """Standing judgements by kind."""
    tasks_open: int
    """Judgements still wanted, over all tasks."""

    @property
    def judgements_total(self) -> int:
        return sum(self.judgements.values())


class Content:
    """Prompts, demonstrations, documents, completions. Adding what is there already is a no-op."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add_generations(self, generations: Iterable[Generation]) -> None:
        """Completions with the model that wrote them."""
        with self._db.write() as connection:
            insert_generations(connection, generations)

    def prompts(self) -> list[Prompt]:
        """All prompts, in a fixed order (by id)."""
        with self._db.read() as connection:
            return list(load_prompts(connection).values())

    def demonstrations(self) -> list[Demonstration]:
        with self._db.read() as connection:
            return load_demonstrations(connection, load_prompts(connection))

    def documents(self) -> list[Document]:
        with self._db.read() as connection:
            return load_documents(connection)

    def generations(self, model: str | None = None) -> list[Generation]:
        """Completions with their model, of one model or of all."""
        with self._db.read() as connection:
            return load_generations(connection, load_prompts(connection), model)

    def models(self) -> dict[str, int]:
        """How many completions each model has written."""
        query = sa.select(t.generations.c.model, sa.func.count()).group_by(t.generations.c.model)
        with self._db.read() as connection:
            return {name: n for name, n in connection.execute(query)}  # noqa: C416

    def texts(self) -> list[str]:
        """What all completions say."""
        with self._db.read() as connection:
            return list(connection.scalars(sa.select(t.completions.c.text)))

    def writers(self) -> dict[str, frozenset[str]]:
        """Which models have written a completion, by its id."""
        g = t.generations.c
        found: dict[str, frozenset[str]] = {}
        with self._db.read() as connection:
            for completion, model in connection.execute(sa.select(g.completion_id, g.model)):
                found[completion] = found.get(completion, frozenset()) | {model}
        return found

    def questions(self) -> set[Question]:
        """What is asked already, by any task."""
        query = sa.select(*t.tasks.c["kind", "completion_a", "completion_b"])
        with self._db.read() as connection:
            rows = connection.execute(query)
            return {(kind, frozenset(filter(None, ids))) for kind, *ids in rows}

    def counts(self) -> Counts:
        """How many of each are stored; of judgements those that stand."""
        kind, count = t.judgements.c.kind, sa.func.count()
        standing_by_kind = sa.select(kind, count).where(standing()).group_by(kind)
        nouns = (t.prompts, t.demonstrations, t.documents, t.completions)
        with self._db.read() as connection:
            by_kind = {name: n for name, n in connection.execute(standing_by_kind)}  # noqa: C416
            prompts, demonstrations, documents, completions = (
                int(connection.scalar(sa.select(count).select_from(noun)) or 0) for noun in nouns
            )
            still = connection.scalar(sa.select(sa.func.sum(t.tasks.c.remaining)))
        judgements = {kind: int(by_kind.get(kind, 0)) for kind in map(str, KINDS)}
        wanted = int(still or 0)
        return Counts(prompts, demonstrations, documents, completions, judgements, wanted)


def load_prompts(connection: sa.Connection) -> dict[str, Prompt]:
    rows = connection.execute(sa.select(t.prompts).order_by(t.prompts.c.id))
    return {row.id: prompt_from(row) for row in rows}


def prompt_from(row: ResultRow) -> Prompt:
    messages = tuple(Message(**m) for m in json.loads(row.messages))
    return Prompt(messages, tuple(json.loads(row.tags)), row.external_id, row.created_at)


def load_demonstrations(
    connection: sa.Connection, prompts: Mapping[str, Prompt]
) -> list[Demonstration]:
    rows = connection.execute(sa.select(t.demonstrations).order_by(t.demonstrations.c.id))
    return [Demonstration(prompts[r.prompt_id], r.text, r.external_id, r.created_at) for r in rows]


def load_documents(connection: sa.Connection) -> list[Document]:
    rows = connection.execute(sa.select(t.documents).order_by(t.documents.c.id))
    return [Document(r.text, r.external_id, r.created_at) for r in rows]


def load_generations(
    connection: sa.Connection, prompts: Mapping[str, Prompt], model: str | None = None
) -> list[Generation]:
    """Completions with the model that gave each, in the order of their ids; of one model, if named.

    prompts: by id, those that the completions belong to.
    """
    query = (
        sa.select(
            *t.generations.c["model", "sampling", "created_at"],
            *t.completions.c["prompt_id", "text", "finished", "external_id"],
        )
        .join(t.completions, t.completions.c.id == t.generations.c.completion_id)
        .order_by(t.completions.c.id, t.generations.c.id)
    )
    if model is not None:
        query = query.where(t.generations.c.model == model)
    return [
        Generation(
            Completion(prompts[r.prompt_id], r.text, r.finished, r.external_id),
            r.model,
            json.loads(r.sampling),
            r.created_at,
        )
        for r in connection.execute(query)
    ]


def load_completions(
    connection: sa.Connection, prompts: Mapping[str, Prompt]
) -> dict[str, Completion]:
    rows = connection.execute(sa.select(*t.completions.c["id", "prompt_id", "text", "finished"]))
    return {r.id: Completion(prompts[r.prompt_id], r.text, r.finished) for r in rows}


# Two transactions that wrote the same texts in different orders would wait for each other, each for
# a row that the other has inserted: each of these functions takes the content's lock first.


def insert_prompts(connection: sa.Connection, prompts: Iterable[Prompt]) -> None:
    def row(prompt: Prompt) -> RowValues:
        messages = canonical_json([m.as_dict() for m in prompt.messages])
        return _common_columns(prompt) | {"messages": messages, "tags": canonical_json(prompt.tags)}

    _insert_new(connection, t.prompts, prompts, row)


def insert_demonstrations(connection: sa.Connection, items: Iterable[Demonstration]) -> None:
    def row(item: Demonstration) -> RowValues:
        return _common_columns(item) | {"prompt_id": item.prompt.id, "text": item.text}

    listed = list(items)
    insert_prompts(connection, distinct(d.prompt for d in listed))
    _insert_new(connection, t.demonstrations, listed, row)


def insert_documents(connection: sa.Connection, items: Iterable[Document]) -> None:
    _insert_new(connection, t.documents, items, lambda d: _common_columns(d) | {"text": d.text})


def insert_completions(connection: sa.Connection, items: Iterable[Completion]) -> None:
    def row(c: Completion) -> RowValues:
        said = {"prompt_id": c.prompt.id, "text": c.written, "finished": c.finished}
        return _common_columns(c) | said

    listed = list(items)
    insert_prompts(connection, distinct(c.prompt for c in listed))
    _insert_new(connection, t.completions, listed, row)


def insert_generations(connection: sa.Connection, items: Iterable[Generation]) -> None:
    """Store completions, their prompts and who gave them; what is there already stays as it is."""

    def row(generation: Generation) -> RowValues:
        return {
            "completion_id": generation.completion.id,
            "model": generation.model,
            "sampling": canonical_json(dict(generation.sampling)),
            "created_at": generation.created_at or now(),
        }

    listed = list(items)
    insert_completions(connection, distinct(g.completion for g in listed))
    _insert_new(connection, t.generations, listed, row)


def _insert_new(
    connection: sa.Connection, table: sa.Table, items: Iterable[T], row: Callable[[T], RowValues]
) -> None:
    """Insert those that are not there yet, BATCH rows at a time."""
    take_lock(connection, Lock.CONTENT)
    for chunk in in_batches(items):
        insert_ignore(connection, table, [row(item) for item in chunk])


def _common_columns(item: ContentItem) -> RowValues:
    created = item.created_at or now()
    return {"id": item.id, "external_id": item.external_id, "created_at": created}


def fill_prompts(connection: sa.Connection, prompts: Iterable[Prompt]) -> None:
    """Give stored prompts the tags and external ids that they lack; what is there stays."""
    into = target(connection, t.prompts)
    p = into.c
    for chunk in in_batches(prompts):
        tags = [{"key": x.id, "new": canonical_json(x.tags)} for x in chunk if x.tags]
        if tags:
            update = sa.update(into).where(p.id == sa.bindparam("key"), p.tags == "[]")
            connection.execute(update.values(tags=sa.bindparam("new")), tags)
        fill_external_ids(connection, t.prompts, chunk)


def fill_external_ids(
    connection: sa.Connection, table: sa.Table, items: Iterable[ContentItem]
) -> None:
    """Give what is stored in this table the external ids that it lacks; what is there stays."""
    into = target(connection, table)
    c = into.c
    for chunk in in_batches(items):
        rows = [{"key": x.id, "new": x.external_id} for x in chunk if x.external_id is not None]
        if rows:
            lacking = sa.and_(c.id == sa.bindparam("key"), c.external_id.is_(None))
            update = sa.update(into).where(lacking).values(external_id=sa.bindparam("new"))
            connection.execute(update, rows)


def distinct(items: Iterable[N]) -> list[N]:
    """Each noun once, in order: rows that are sent twice cost as much as new ones."""
    return list({item.id: item for item in items}.values())
