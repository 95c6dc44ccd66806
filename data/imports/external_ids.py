"""External ids: the names that things had where they came from. One name, one thing."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from data.exchange.lines import Line
from data.exchange.validation import show
from data.schema import Generation, Gold, Record
from data.store import tables as t
from data.store.database import Database


class Marks:
    """What each external id stands for, in the store and in the lines checked so far."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._known: dict[str, dict[str, set[str]]] = {}
        self._named: dict[tuple[str, str], str] = {}

    def check(self, line: Line) -> bool:
        """Whether the line's external id can be kept: a text has one, and the first one stays.

        Raises ValueError where the id is another thing's already. Several judgements of one task
        may share one, and may have their own: each is kept.
        """
        noun: Any = line.noun.completion if isinstance(line.noun, Generation) else line.noun
        if isinstance(noun, Gold) or noun.external_id is None:
            return True
        if isinstance(noun, Record):
            sides = noun.task.a.id, noun.task.b.id if noun.task.b else None
            what, thing = f"{noun.task.kind} judgement", _unordered(*sides)
        else:
            what, thing = line.type, noun.id
        things = self._of(what).setdefault(noun.external_id, set())
        if things and thing not in things:
            raise ValueError(
                f"external_id {show(noun.external_id)} is another {what}'s already: give each its "
                "own, for instance with the name of its source before it"
            )
        things.add(thing)
        first = self._named.setdefault((what, thing), noun.external_id)
        return isinstance(noun, Record) or first == noun.external_id

    def _of(self, what: str) -> dict[str, set[str]]:
        if what not in self._known:
            found: dict[str, set[str]] = {}
            with self._db.read() as connection:
                for name, *sides in connection.execute(_stored(what)):
                    thing = _unordered(*sides)
                    found.setdefault(name, set()).add(thing)
                    self._named.setdefault((what, thing), name)
            self._known[what] = found
        return self._known[what]


def _unordered(first: str, second: str | None = None) -> str:
    return first if second is None else " ".join(sorted((first, second)))


def _stored(what: str) -> sa.Select[Any]:
    """The external ids of one sort of thing, each with the thing's id or its sides' ids."""
    if what.endswith(" judgement"):
        named = t.judgements.c.external_id
        query = (
            sa.select(named, t.tasks.c.completion_a, t.tasks.c.completion_b)
            .join(t.tasks, t.tasks.c.id == t.judgements.c.task_id)
            .where(t.judgements.c.kind == what.removesuffix(" judgement"))
        )
        return query.where(named.is_not(None)).distinct()
    table = t.metadata.tables[what + "s"]
    return sa.select(table.c.external_id, table.c.id).where(table.c.external_id.is_not(None))
