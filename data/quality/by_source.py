"""Judgements as their sources count them: by external id, as published figures are.

A store takes the same texts for one question, whoever asked it. A source may ask it several times,
of other models' answers for instance, and count each. What stands in an external id before a # is
the item of the source; after it may stand whose answer to the item is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from data.schema import Judgement, Record
from data.store import Store
from data.store.content import load_prompts
from data.store.history import load_records


@dataclass(frozen=True)
class Items:
    """What a source asked, beside whose answers it asked about."""

    of: Mapping[int, str] = field(default_factory=dict)
    """External ids, by the number of the judgement; others are about a question of the store."""
    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Models that an item names."""

    def item(self, judgement: Judgement) -> str | None:
        named = self.of.get(judgement.id)
        return named.partition("#")[0] if named else None

    def writers(self, judgement: Judgement, known: Iterable[str]) -> frozenset[str]:
        """Who wrote a completion, of those that its item names; all who did if it names none."""
        _, _, model = self.of.get(judgement.id, "").partition("#")
        named = self.models.get(self.item(judgement) or "", frozenset())
        return frozenset([model]) if model else named & frozenset(known) or frozenset(known)

    def as_shown(self, judgement: Judgement) -> bool:
        """Whether its sides are those of the source, not those of two models that are named."""
        item = self.item(judgement)
        return item is not None and item not in self.models


def by_source(store: Store) -> tuple[list[Judgement], Items]:
    """What was said in the queue and not taken back: of each item the latest of each annotator.

    Pairs face as they were shown.
    """
    with store.database.read() as connection:
        records = load_records(connection, load_prompts(connection))
    latest: dict[tuple[str, ...], Judgement] = {}
    of: dict[int, str] = {}
    models: dict[str, set[str]] = {}
    for number, record in enumerate(records):
        if record.retracted_at or record.purpose != "queue":
            continue
        said, named = _judgement(number, record), record.external_id or ""
        sides = sorted(c.id for c in (said.task.a, said.task.b) if c)
        key = (said.annotator, said.kind, named, *sides)
        latest[key] = max(latest.get(key, said), said, key=lambda j: (j.created_at, j.id))
        if named:
            of[number] = named
        item, _, model = named.partition("#")
        if model:
            models.setdefault(item, set()).add(model)
    return list(latest.values()), Items(of, {item: frozenset(m) for item, m in models.items()})


def _judgement(number: int, record: Record) -> Judgement:
    if record.shown_first == "b":
        record = record.on(record.task.turned())
    first: Literal["a"] | None = "a" if record.shown_first else None
    said = record.created_at or ""
    return Judgement(number, record.task, record.annotator, record.answer, first, said)
