"""The content that a new workspace starts with: prompts, demonstrations, guidelines."""

from __future__ import annotations

from pathlib import Path

from data.imports import import_file
from data.store import Store

FOLDER = Path(__file__).parent
FILES = ("prompts.jsonl", "demonstrations.jsonl")


def load(store: Store) -> None:
    """Import the starter prompts and demonstrations; what is there already stays as it is."""
    for name in FILES:
        import_file(store, FOLDER / name)


def guidelines() -> str:
    """The guidelines that annotators read until a lead writes others."""
    return (FOLDER / "guidelines.md").read_text(encoding="utf-8")
