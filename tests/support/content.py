"""Texts put into a store without a file to import."""

from __future__ import annotations

from collections.abc import Iterable

from data.schema import Demonstration, Document, Prompt
from data.store import Store
from data.store.content import insert_demonstrations, insert_documents, insert_prompts


def add_content(store: Store, nouns: Iterable[Prompt | Demonstration | Document]) -> None:
    """Add these; what is there already stays."""
    listed = list(nouns)
    with store.database.write() as connection:
        insert_prompts(connection, [noun for noun in listed if isinstance(noun, Prompt)])
        insert_demonstrations(connection, [n for n in listed if isinstance(n, Demonstration)])
        insert_documents(connection, [noun for noun in listed if isinstance(noun, Document)])
