"""Every judgement that was ever given, superseded and retracted ones too: what files carry.

The everyday queries (`data.ledger`) see only what stands. Here a judgement is a Record: with its
moment, and the moment at which its author took it back, if they did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from data.schema import (
    Completion,
    Prompt,
    Record,
    _key,
    now,
)
from data.store import tables as t
from data.store.assignments import insert_tasks, recount, reopen
from data.store.content import BATCH, load_completions, one_writer
from data.store.database import insert_ignore
from data.store.judgement_rows import answer_of, judged, pack_flags, task_of

_TOKEN = "import:"


def load_records(connection: sa.Connection, prompts: Mapping[str, Prompt]) -> list[Record]:
    """All judgements in the order in which they were stored."""
    texts = load_completions(connection, prompts)
    undo = t.judgements.alias("undo")
    query = (
        judged(undo.c.created_at.label("retracted_at"))
        .outerjoin(undo, sa.and_(undo.c.supersedes == t.judgements.c.id, undo.c.value.is_(None)))
        .where(t.judgements.c.value.is_not(None))
        .order_by(t.judgements.c.id)
    )
    return [_record(row, texts) for row in connection.execute(query)]


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
    one_writer(connection)
    if connection.dialect.name == "postgresql":  # SQLite's writers queue by themselves
        connection.execute(sa.text("LOCK TABLE judgements IN SHARE ROW EXCLUSIVE MODE"))
    ways = insert_tasks(connection, [r.task for r in records])
    records = [r.on(ways[r.task.id]) for r in records]
    _insert_repeats(connection, [r for r in records if r.purpose == "repeat"])
    past = _Past(connection, {r.task_id for r in records})
    new = _add(connection, records, past)
    for chunk in _batches(past.queued):
        recount(connection, chunk)
    taken_back = {r.task_id for r in records if r.retracted_at} & past.queued
    for chunk in _batches(taken_back):
        reopen(connection, chunk)
    return new


def _insert_repeats(connection: sa.Connection, records: Sequence[Record]) -> None:
    """The tasks by which people were asked a second time."""
    rows = [
        {
            "id": record.task_id,
            "kind": record.task.kind,
            "prompt_id": record.task.a.prompt.id,
            "completion_a": record.task.a.id,
            "completion_b": record.task.b.id if record.task.b else None,
            "wanted": 0,
            "remaining": 0,
            "position": record.task.position,
            "repeats": record.task.id,
            "created_at": now(),
        }
        for record in records
    ]
    for start in range(0, len(rows), BATCH):
        insert_ignore(connection, t.tasks, rows[start : start + BATCH])


def _add(connection: sa.Connection, records: Sequence[Record], past: _Past) -> int:
    """Insert the rows that these records need, numbered as they come; returns how many are new."""
    people = _annotator_ids(connection, [r.annotator for r in records])
    ids = _reserve_ids(connection, len(records) + sum(1 for r in records if r.retracted_at))
    moment, fresh = now(), set[int]()
    for record in records:
        if record.key not in past.known:
            past.known[record.key] = next(ids)
            fresh.add(past.known[record.key])
    new = len(fresh)
    rows: list[dict[str, Any]] = []
    for record in sorted(records, key=lambda r: r.created_at or moment):
        said = past.known[record.key]
        row = _blank(record, people[record.annotator], moment)
        pair = _pair(row)
        hidden = False
        if said in fresh:
            fresh.remove(said)
            hidden = past.is_late(pair, row["created_at"])
            rows.append(row | _said(record, said, None if hidden else past.stands.get(pair)))
            past.add(said, pair, hidden, taken_back=record.retracted_at is not None)
        if record.retracted_at and (hidden or past.stands.get(pair) == said):
            undo = {"id": next(ids), "supersedes": said, "client_token": f"undo:{said}"}
            rows.append(row | undo | {"created_at": record.retracted_at})
            if not hidden:
                del past.stands[pair]
    for start in range(0, len(rows), BATCH):
        connection.execute(sa.insert(t.judgements), rows[start : start + BATCH])
    _put_below(connection, past.below)
    return new


def _put_below(connection: sa.Connection, below: Mapping[int, int]) -> None:
    """Let the first judgement of a chain supersede one that came to light later but is older."""
    update = (
        sa.update(t.judgements)
        .where(t.judgements.c.id == sa.bindparam("first"))
        .values(supersedes=sa.bindparam("older"))
    )
    if below:
        connection.execute(update, [{"first": f, "older": o} for o, f in below.items()])


def existing(connection: sa.Connection, table: sa.Table, ids: Iterable[str]) -> set[str]:
    """Which of these ids the table holds."""
    found: set[str] = set()
    for chunk in _batches(ids):
        found.update(connection.scalars(sa.select(table.c.id).where(table.c.id.in_(chunk))))
    return found


class _Past:
    """What has been said about some tasks, and what of it stands."""

    def __init__(self, connection: sa.Connection, task_ids: set[str]) -> None:
        self.known: dict[str, int] = {}
        self.stands: dict[tuple[str, int], int] = {}
        self.queued: set[str] = set()
        """Tasks that ask for answers: the ones in the file fill places."""
        self.below: dict[int, int] = {}
        """Judgements that are older than what was known, each with the one that supersedes it."""
        self._latest: dict[tuple[str, int], str] = {}
        self._first: dict[tuple[str, int], int] = {}
        superseded: set[int] = set()
        rows: list[Any] = []
        query = sa.select(t.judgements, t.annotators.c.name).join(
            t.annotators, t.annotators.c.id == t.judgements.c.annotator_id
        )
        wanted = sa.select(t.tasks.c.id).where(t.tasks.c.wanted > 0)
        for chunk in _batches(task_ids):
            rows += connection.execute(query.where(t.judgements.c.task_id.in_(chunk)))
            self.queued.update(connection.scalars(wanted.where(t.tasks.c.id.in_(chunk))))
        for row in sorted(rows, key=lambda r: r.id):
            superseded.add(row.supersedes)
            pair = row.task_id, row.annotator_id
            if row.value is not None:
                self._latest[pair] = max(row.created_at, self._latest.get(pair, ""))
                if row.supersedes is None:
                    self._first[pair] = row.id
                self.known[_row_key(row)] = row.id
                if row.client_token.startswith(_TOKEN):
                    self.known[row.client_token.removeprefix(_TOKEN)] = row.id
        for row in sorted(rows, key=lambda r: r.id):
            if row.value is not None and row.id not in superseded:
                self.stands[row.task_id, row.annotator_id] = row.id

    def is_late(self, pair: tuple[str, int], moment: str) -> bool:
        """Whether its annotator has answered since, as far as the store knew before."""
        return moment < self._latest.get(pair, "")

    def add(self, judgement_id: int, pair: tuple[str, int], hidden: bool, taken_back: bool) -> None:
        """A new judgement: it stands, or goes under all that its annotator has said since."""
        if not hidden:
            self.stands[pair] = judgement_id
        elif not taken_back:
            self.below[judgement_id] = self._first[pair]
            self._first[pair] = judgement_id


def _blank(record: Record, annotator_id: int, moment: str) -> dict[str, Any]:
    return {
        "task_id": record.task_id,
        "purpose": record.purpose,
        "annotator_id": annotator_id,
        "kind": record.task.kind,
        "value": None,
        "strength": None,
        "both_bad": None,
        "shown_first": None,
        "comment": None,
        "flags": None,
        "seconds": None,
        "guidelines_version": None,
        "external_id": None,
        "created_at": record.created_at or moment,
    }


def _said(record: Record, judgement_id: int, supersedes: int | None) -> dict[str, Any]:
    return {
        "id": judgement_id,
        "supersedes": supersedes,
        "client_token": _TOKEN + record.key,
        "value": record.answer.value,
        "strength": record.answer.strength,
        "both_bad": record.answer.both_bad,
        "shown_first": record.shown_first,
        "comment": record.answer.comment,
        "flags": pack_flags(record.answer.flags),
        "seconds": record.answer.seconds,
        "guidelines_version": record.guidelines_version,
        "external_id": record.external_id,
    }


def _pair(row: Mapping[str, Any]) -> tuple[str, int]:
    return row["task_id"], row["annotator_id"]


def _record(row: Any, texts: Mapping[str, Completion]) -> Record:
    return Record(
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


def _row_key(row: Any) -> str:
    return _key(
        row.task_id,
        row.name,
        answer_of(row),
        row.shown_first,
        row.guidelines_version,
        row.external_id,
        row.created_at,
        *([row.purpose] if row.purpose == "gold" else []),
    )


def _annotator_ids(connection: sa.Connection, names: Iterable[str]) -> dict[str, int]:
    """Ids by name; a name that is not there yet becomes an annotator who cannot sign in."""
    wanted = list(dict.fromkeys(names))
    rows = [
        {"name": n, "role": "annotator", "password_hash": None, "active": True, "created_at": now()}
        for n in wanted
    ]
    insert_ignore(connection, t.annotators, rows)
    query = sa.select(t.annotators.c.name, t.annotators.c.id)
    found: dict[str, int] = {}
    for chunk in _batches(wanted):
        rows_found = connection.execute(query.where(t.annotators.c.name.in_(chunk)))
        found.update({row.name: row.id for row in rows_found})
    return found


def _reserve_ids(connection: sa.Connection, count: int) -> Iterator[int]:
    """Ids for rows that name each other, in the order of the file."""
    if connection.dialect.name == "sqlite":
        last = connection.scalar(sa.select(sa.func.max(t.judgements.c.id))) or 0
        return iter(range(last + 1, last + 1 + count))
    sequence = sa.text(
        "SELECT nextval(pg_get_serial_sequence('judgements', 'id')) FROM generate_series(1, :n)"
    )
    return iter(sorted(connection.scalars(sequence, {"n": count})))


def _batches(items: Iterable[str]) -> Iterator[list[str]]:
    ordered = sorted(items)
    return (ordered[i : i + BATCH] for i in range(0, len(ordered), BATCH))
