"""External ids: the names that things had where they came from. One name, one thing."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from data.exchange.lines import ExchangeItem, Line
from data.exchange.validation import show
from data.schema import Generation, Gold, Record
from data.store import tables as t
from data.store.database import Database


class ExternalIds:
    """What each external id stands for, in the store and in the lines checked so far."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._things: dict[str, dict[str, set[str]]] = {}
        """By sort of thing: the things that an id names."""
        self._first: dict[tuple[str, str], str] = {}
        """The first id of a thing."""

    def settle(self, line: Line, source: str | None) -> tuple[Line, bool]:
        """The line with its external id as it is unique in the store, and whether it is kept.

        An id is unique within its `source`, whose name is put before it, unless this very thing
        has the bare id already. A text has one id, and the first one stays. Raises ValueError where
        the id is another thing's already. Several judgements of one task may share one, and may
        have their own: each is kept.
        """
        noun = line.noun.completion if isinstance(line.noun, Generation) else line.noun
        if isinstance(noun, Gold) or noun.external_id is None:
            return line, True
        if isinstance(noun, Record):
            sort = f"{noun.task.kind} judgement"
            thing = _name_pair(noun.task.a.id, noun.task.b.id if noun.task.b else None)
        else:
            sort, thing = line.type, noun.id
        if sort not in self._things:
            self._load_stored(sort)
        known = self._things[sort]
        name = noun.external_id
        if source is not None and thing not in known.get(name, ()):
            name = f"{source}/{name}"
            line = replace(line, noun=_renamed(line.noun, name))
        things = known.setdefault(name, set())
        if things and thing not in things:
            raise ValueError(
                f"external_id {show(name)} is another {sort}'s already: if this is another source, "
                "name it with --source NAME; else give each its own"
            )
        things.add(thing)
        first = self._first.setdefault((sort, thing), name)
        return line, isinstance(noun, Record) or first == name

    def _load_stored(self, sort: str) -> None:
        """Read the stored ids of one sort of thing, once they are asked for."""
        known = self._things[sort] = {}
        if sort.endswith(" judgement"):
            name = t.judgements.c.external_id
            query = (
                sa.select(name, t.tasks.c.completion_a, t.tasks.c.completion_b)
                .join(t.tasks, t.tasks.c.id == t.judgements.c.task_id)
                .where(t.judgements.c.kind == sort.removesuffix(" judgement"))
                .distinct()
            )
        else:
            table = t.metadata.tables[sort + "s"]
            name = table.c.external_id
            query = sa.select(name, table.c.id, sa.null())
        with self._database.read() as connection:
            for external_id, *sides in connection.execute(query.where(name.is_not(None))):
                thing = _name_pair(*sides)
                known.setdefault(external_id, set()).add(thing)
                self._first.setdefault((sort, thing), external_id)


def _name_pair(first: str, second: str | None) -> str:
    """One name for a task about these completions, whichever side they stand on."""
    return first if second is None else " ".join(sorted((first, second)))


def _renamed(noun: ExchangeItem, external_id: str) -> ExchangeItem:
    """The same thing with this external id."""
    if isinstance(noun, Generation):
        return replace(noun, completion=replace(noun.completion, external_id=external_id))
    if isinstance(noun, Gold):
        return noun
    return replace(noun, external_id=external_id)
