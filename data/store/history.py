"""Every judgement that was ever given, superseded and retracted ones too: what files carry.

The everyday queries (`data.store.ledger`) see only what stands. Here a judgement is a Record: with
its moment, and the moment at which its author took it back, if they did.

In the store, what one annotator said about one task is a chain: each row supersedes the one before,
a row without a value takes back the one before, and the end of the chain stands if it has a value.
A file may bring judgements in any order, and ones that are older than what the store knows. The
newest by its own moment must stand whatever the order of reading, and rows are never changed apart
from the `supersedes` of a chain's first row. So a new judgement is added at the end of its chain,
or, where its annotator has said something later, below its first row. An answer that
follows a retraction begins a new chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import sqlalchemy as sa

from data.schema import Answer, Completion, Prompt, Record, judgement_key, now
from data.store import tables as t
from data.store.assignments import insert_repeats, insert_tasks, recount, reopen_tasks
from data.store.content import load_completions
from data.store.database import (
    Lock,
    ResultRow,
    RowValues,
    in_batches,
    insert_ignore,
    staging_of,
    take_lock,
    target,
    when_stored,
)
from data.store.judgement_rows import answer_columns, answer_of, select_judgements, task_of

_TOKEN = "import:"
"""Then the id, by which the index of tokens grows at one place, and the key."""
STAGED_GAP = 100_000
"""Judgements that may be given between the preparation of an import and its publication."""
_Pair = tuple[str, int]
"""A task's id and an annotator's."""


def load_records(connection: sa.Connection, prompts: Mapping[str, Prompt]) -> list[Record]:
    """All judgements in the order in which they were stored."""
    texts = load_completions(connection, prompts)
    undo = t.judgements.alias("undo")
    query = (
        select_judgements(undo.c.created_at.label("retracted_at"))
        .outerjoin(undo, sa.and_(undo.c.supersedes == t.judgements.c.id, undo.c.value.is_(None)))
        .where(t.judgements.c.value.is_not(None))
        .order_by(t.judgements.c.id)
    )
    return [
        Record(
            task=replace(task_of(row, texts), wanted=0, position=0.0),
            annotator=row.name,
            answer=answer_of(row),
            shown_first=row.shown_first,
            guidelines_version=row.guidelines_version,
            external_id=row.external_id,
            created_at=row.created_at,
            retracted_at=row.retracted_at,
            purpose=row.purpose,
        )
        for row in connection.execute(query)
    ]


def load_unattributed(connection: sa.Connection, prompts: Mapping[str, Prompt]) -> list[Completion]:
    """Completions of which no model is known, in a fixed order."""
    c, g = t.completions.c, t.generations.c
    query = (
        sa.select(t.completions).where(~sa.exists().where(g.completion_id == c.id)).order_by(c.id)
    )
    return [
        Completion(prompts[r.prompt_id], r.text, r.finished, r.external_id, r.created_at)
        for r in connection.execute(query)
    ]


def insert_records(connection: sa.Connection, records: Sequence[Record]) -> int:
    """Add judgements in the order given; returns how many say something new.

    One that is there already (same task, annotator, answer and moment) is left as it is. Of the
    new ones the latest stands, of each annotator on each task; one without a moment is given now.
    One on a task that is there with its sides exchanged is turned round. Tasks that are not there
    yet are made with nothing wanted of them: nobody is asked again.
    """
    if not records:
        return 0
    take_lock(connection, Lock.CONTENT)
    take_lock(connection, Lock.QUEUE)  # what stands is read first and must not change meanwhile
    stands_for = insert_tasks(connection, [r.task for r in records])
    records = [r.on(stands_for[r.task.id]) for r in records]
    insert_repeats(connection, {r.task_id: r.task.id for r in records if r.purpose == "repeat"})
    chains = _Chains(connection, {r.task_id for r in records})
    new = _add_records(connection, records, chains)
    for chunk in in_batches(sorted(chains.queued)):
        when_stored(connection, partial(recount, task_ids=chunk))
    taken_back = {r.task_id for r in records if r.retracted_at} & chains.queued
    for chunk in in_batches(sorted(taken_back)):
        when_stored(connection, partial(reopen_tasks, task_ids=chunk))
    return new


def _add_records(connection: sa.Connection, records: Sequence[Record], chains: _Chains) -> int:
    """Insert the rows that these records need, numbered as they come; returns how many are new."""
    people = _annotator_ids(connection, [r.annotator for r in records])
    most = len(records) + sum(1 for r in records if r.retracted_at)
    ids = _reserve_ids(connection, t.judgements, most, STAGED_GAP)
    moment, fresh = now(), set[int]()
    for record in records:
        if record.key not in chains.known:
            chains.known[record.key] = next(ids)
            fresh.add(chains.known[record.key])
    new = len(fresh)
    rows: list[RowValues] = []
    # Oldest first, so that each supersedes what was said before it, whatever the file's order.
    for record in sorted(records, key=lambda r: r.created_at or moment):
        judgement_id = chains.known[record.key]
        pair = record.task_id, people[record.annotator]
        created_at = record.created_at or moment
        below = False
        if judgement_id in fresh:
            fresh.remove(judgement_id)
            below = created_at < chains.latest.get(pair, "")
            token = f"{_TOKEN}{judgement_id:012d}:{record.key}"
            row = _judgement_row(record, pair, record.answer)
            row |= {"client_token": token, "created_at": created_at}
            supersedes = None if below else chains.stands.get(pair)
            rows.append(row | {"id": judgement_id, "supersedes": supersedes})
            chains.add(judgement_id, pair, below, taken_back=record.retracted_at is not None)
        if record.retracted_at and (below or chains.stands.get(pair) == judgement_id):
            undo: RowValues = {"id": next(ids), "supersedes": judgement_id}
            undo |= {"client_token": f"undo:{judgement_id}", "created_at": record.retracted_at}
            rows.append(_judgement_row(record, pair, None) | undo)
            if not below:
                del chains.stands[pair]
    for batch in in_batches(rows):
        connection.execute(sa.insert(target(connection, t.judgements)), batch)
    if chains.below:
        older = [{"first": first, "older": older} for older, first in chains.below.items()]
        when_stored(connection, partial(_set_superseded, older=older))
    return new


def _set_superseded(connection: sa.Connection, older: Sequence[RowValues]) -> None:
    """Put judgements below the first ones of their chains."""
    first = t.judgements.c.id == sa.bindparam("first")
    update = sa.update(t.judgements).where(first).values(supersedes=sa.bindparam("older"))
    connection.execute(update, older)


class _Chains:
    """What has been said about some tasks, and what of it stands."""

    def __init__(self, connection: sa.Connection, task_ids: set[str]) -> None:
        self.known: dict[str, int] = {}
        """Ids of judgements by the key of their record."""
        self.stands: dict[_Pair, int] = {}
        self.queued: set[str] = set()
        """Tasks that ask for answers: the ones in the file fill places."""
        self.below: dict[int, int] = {}
        """Judgements that are older than what was known, each with the one that supersedes it."""
        self.latest: dict[_Pair, str] = {}
        """When each annotator answered last, as far as the store knew before."""
        self._first: dict[_Pair, int] = {}
        superseded: set[int] = set()
        rows: list[ResultRow] = []
        query = sa.select(t.judgements, t.annotators.c.name).join(
            t.annotators, t.annotators.c.id == t.judgements.c.annotator_id
        )
        wanted = sa.select(t.tasks.c.id).where(t.tasks.c.wanted > 0)
        for chunk in in_batches(task_ids):
            rows += connection.execute(query.where(t.judgements.c.task_id.in_(chunk)))
            self.queued.update(connection.scalars(wanted.where(t.tasks.c.id.in_(chunk))))
        for row in sorted(rows, key=lambda r: r.id):
            superseded.add(row.supersedes)
            pair = row.task_id, row.annotator_id
            if row.value is not None:
                self.latest[pair] = max(row.created_at, self.latest.get(pair, ""))
                if row.supersedes is None:
                    self._first[pair] = row.id
                about = (row.shown_first, row.guidelines_version, row.external_id, row.created_at)
                key = judgement_key(row.task_id, row.name, answer_of(row), row.purpose, *about)
                self.known[key] = row.id
                # The moment of a judgement that came without one was chosen by the import: only
                # its token keeps the key that it has in its file.
                if row.client_token.startswith(_TOKEN):
                    self.known[row.client_token.rpartition(":")[2]] = row.id
        for row in sorted(rows, key=lambda r: r.id):
            if row.value is not None and row.id not in superseded:
                self.stands[row.task_id, row.annotator_id] = row.id

    def add(self, judgement_id: int, pair: _Pair, below: bool, taken_back: bool) -> None:
        """A new judgement: it stands, or goes below all that its annotator has said since."""
        if not below:
            self.stands[pair] = judgement_id
        elif not taken_back:
            self.below[judgement_id] = self._first[pair]
            self._first[pair] = judgement_id


def _judgement_row(record: Record, pair: _Pair, answer: Answer | None) -> RowValues:
    """The columns of a judgement, or, without an answer, of the row that takes it back."""
    return {
        "task_id": pair[0],
        "annotator_id": pair[1],
        "purpose": record.purpose,
        "kind": record.task.kind,
        "shown_first": answer and record.shown_first,
        "guidelines_version": answer and record.guidelines_version,
        "external_id": answer and record.external_id,
        **answer_columns(answer),
    }


def _annotator_ids(connection: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """Ids by name; a name that is not there yet becomes an annotator who cannot sign in."""
    wanted = list(dict.fromkeys(names))
    query = sa.select(t.annotators.c.name, t.annotators.c.id)
    chunks = (query.where(t.annotators.c.name.in_(chunk)) for chunk in in_batches(wanted))
    found = {row.name: row.id for chunk in chunks for row in connection.execute(chunk)}
    unknown = [name for name in wanted if name not in found]
    found |= zip(unknown, _reserve_ids(connection, t.annotators, len(unknown)), strict=False)
    common = {"role": "annotator", "password_hash": None, "active": True, "created_at": now()}
    rows = [{"id": found[name], "name": name, **common} for name in unknown]
    insert_ignore(connection, t.annotators, rows)
    return found


def _reserve_ids(
    connection: sa.Connection, table: sa.Table, count: int, gap: int = 0
) -> Iterator[int]:
    """Ids for rows that name each other, in the order of the file.

    SQLite reserves none: rows that are put aside leave a gap for those that others add meanwhile.
    """
    if connection.dialect.name == "sqlite":
        last = connection.scalar(sa.select(sa.func.max(table.c.id))) or 0
        first = last + 1 + (gap if staging_of(connection) else 0)
        return iter(range(first, first + count))
    sequence = sa.text(
        f"SELECT nextval(pg_get_serial_sequence('{table.name}', 'id')) FROM generate_series(1, :n)"
    )
    return iter(sorted(connection.scalars(sequence, {"n": count})))
