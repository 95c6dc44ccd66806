"""Texts put into a store without a file to import, and tasks taken out several at once."""

from __future__ import annotations

import random
from collections.abc import Iterable

from data.schema import Annotator, Demonstration, Document, Prompt
from data.store import Store
from data.store.assignments import Assignment, load_assignments
from data.store.content import insert_demonstrations, insert_documents, insert_prompts


def add_content(store: Store, nouns: Iterable[Prompt | Demonstration | Document]) -> None:
    """Add these; what is there already stays."""
    listed = list(nouns)
    with store.database.write() as connection:
        insert_prompts(connection, [noun for noun in listed if isinstance(noun, Prompt)])
        insert_demonstrations(connection, [n for n in listed if isinstance(n, Demonstration)])
        insert_documents(connection, [noun for noun in listed if isinstance(noun, Document)])


def claim_ahead(store: Store, who: Annotator, rng: random.Random, count: int) -> list[Assignment]:
    """The task to judge now and those after it, at most `count`, in turn."""
    with store.database.write() as connection:
        ids = store.ledger.lease_ahead(who, rng, count)
        return load_assignments(connection, ids)
