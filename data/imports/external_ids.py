"""External ids: the names that things had where they came from. One name, one thing."""

from __future__ import annotations

import sqlalchemy as sa

from data.exchange.lines import Line
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

    def check(self, line: Line) -> bool:
        """Whether the line's external id can be kept: a text has one, and the first one stays.

        Raises ValueError where the id is another thing's already. Several judgements of one task
        may share one, and may have their own: each is kept.
        """
        noun = line.noun.completion if isinstance(line.noun, Generation) else line.noun
        if isinstance(noun, Gold) or noun.external_id is None:
            return True
        if isinstance(noun, Record):
            sort = f"{noun.task.kind} judgement"
            thing = _name_pair(noun.task.a.id, noun.task.b.id if noun.task.b else None)
        else:
            sort, thing = line.type, noun.id
        if sort not in self._things:
            self._load_stored(sort)
        things = self._things[sort].setdefault(noun.external_id, set())
        if things and thing not in things:
            raise ValueError(
                f"external_id {show(noun.external_id)} is another {sort}'s already: give each its "
                "own, for instance with the name of its source before it"
            )
        things.add(thing)
        first = self._first.setdefault((sort, thing), noun.external_id)
        return isinstance(noun, Record) or first == noun.external_id

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
