"""Stores made in no time, texts put into one without a file, tasks taken out several at once."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from data.schema import Annotator, Demonstration, Document, Prompt
from data.store import Store
from data.store.assignments import Assignment, load_assignments
from data.store.content import insert_demonstrations, insert_documents, insert_prompts


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        Store.open(folder).close()
        return Path(folder, "store.db").read_bytes()


def make_store(folder: Path) -> Path:
    """The file of an empty store in this folder; one that is there stays. Migrated once, copied."""
    file = folder / "store.db"
    if not file.exists():
        folder.mkdir(0o700, parents=True, exist_ok=True)
        file.touch(0o600)
        file.write_bytes(_empty())
    return file


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
