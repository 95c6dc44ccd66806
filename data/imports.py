"""Files in: the exchange format (JSON lines; `data.lines` says what a line may hold).

Reading the same file twice changes nothing. Of several judgements by one annotator on one task the
one read last stands, and all are kept. A judgement that its author took back carries
`retracted_at`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from data import tables as t
from data.archive import Record, existing, insert_records
from data.checks import insert_gold
from data.content import (
    fill_prompts,
    insert_completions,
    insert_demonstrations,
    insert_documents,
    insert_generations,
    insert_prompts,
)
from data.files import write_whole
from data.lines import Line, Noun, Reader
from data.makers import Named
from data.schema import (
    Completion,
    Demonstration,
    Document,
    Generation,
    Gold,
    Prompt,
    canonical_json,
)
from data.store import Store


@dataclass(frozen=True)
class ImportReport:
    """What became of a file's lines. `read` is `new` plus `already_there`, type by type."""

    read: dict[str, int] = field(default_factory=dict)
    new: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    named: Named = field(default_factory=Named)
    """Completions of the file that name their maker."""

    @property
    def already_there(self) -> dict[str, int]:
        return {kind: n - self.new.get(kind, 0) for kind, n in self.read.items()}


@dataclass(frozen=True)
class _Bad:
    number: int
    reason: str
    text: str


def import_file(store: Store, path: Path, skip_bad: Path | None = None) -> ImportReport:
    """Read a file of the exchange format into the store: all of it, or nothing.

    A bad line raises ValueError "FILE:LINE: reason". With `skip_bad` the bad lines are left out,
    counted, and written to that file with their number, the reason and their text.
    """
    path = Path(path)
    if skip_bad is not None and Path(skip_bad).absolute() == path.absolute():
        raise ValueError(f"--skip-bad {skip_bad} is the file itself: name another file")
    lines: list[Line] = []
    bad: list[_Bad] = []
    named = Named()
    reader = Reader()
    numbered = _numbered(path)
    for number, raw in numbered:
        try:
            lines.append(reader.read(raw))
            named.see(_completions(lines[-1].noun), f"line {number}")
        except ValueError as error:
            if skip_bad is None:
                raise ValueError(f"{path}:{number}: {error}") from None
            bad.append(_Bad(number, str(error), raw.decode("utf-8", "backslashreplace")))
    if not lines and not bad:
        raise ValueError(f"{path} holds no lines: write one JSON object a line")
    if skip_bad is not None:
        write_whole(Path(skip_bad), (canonical_json(b.__dict__) for b in bad))
    with store.database.write() as connection:
        read, new = _insert(connection, lines)
    return ImportReport(read, new, len(bad), named)


def _completions(noun: Noun) -> list[Completion]:
    """What models wrote, of all that a line says."""
    if isinstance(noun, Record):
        return [c for c in (noun.task.a, noun.task.b) if c is not None]
    if isinstance(noun, Generation):
        return [noun.completion]
    return [noun] if isinstance(noun, Completion) else []


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that hold something, with their numbers from 1."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name one file in it")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: check the path") from None
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if line.strip():
            yield number, line.strip()


def _insert(connection: sa.Connection, lines: list[Line]) -> tuple[dict[str, int], dict[str, int]]:
    """Add what the lines say; returns how many were read and how many are new, by type."""
    by_type: dict[type, list[Any]] = {
        kind: [line.noun for line in lines if isinstance(line.noun, kind)]
        for kind in (Prompt, Demonstration, Document, Generation, Completion, Record, Gold)
    }
    credits = [g for line in lines for g in line.credits]
    new = {
        "prompt": _count_new(connection, t.prompts, by_type[Prompt]),
        "demonstration": _count_new(connection, t.demonstrations, by_type[Demonstration]),
        "document": _count_new(connection, t.documents, by_type[Document]),
        "completion": _count_new(connection, t.completions, by_type[Completion])
        + _count_new_generations(connection, by_type[Generation]),
    }
    insert_prompts(connection, by_type[Prompt])
    fill_prompts(connection, by_type[Prompt])
    insert_demonstrations(connection, by_type[Demonstration])
    insert_documents(connection, by_type[Document])
    insert_generations(connection, by_type[Generation])
    insert_completions(connection, by_type[Completion])
    insert_generations(connection, _uncredited(connection, credits))
    new["judgement"] = insert_records(connection, by_type[Record])
    new["gold"] = insert_gold(connection, by_type[Gold])
    read = {**dict.fromkeys(new, 0), **Counter(line.type for line in lines)}
    return _nonzero(read, read), _nonzero(new, read)


def _count_new(connection: sa.Connection, table: sa.Table, nouns: list[Any]) -> int:
    ids = {noun.id for noun in nouns}
    return len(ids) - len(existing(connection, table, ids))


def _count_new_generations(connection: sa.Connection, items: list[Generation]) -> int:
    wanted = {_generation_key(g) for g in items}
    return len(wanted - _generation_keys(connection, wanted))


def _uncredited(connection: sa.Connection, credits: list[Generation]) -> list[Generation]:
    """Those whose model is not known yet to have written their completion, whatever its settings:
    a judgement names the model but not how it was sampled."""
    known = {
        (i, model) for i, model, _ in _generation_keys(connection, map(_generation_key, credits))
    }
    return [g for g in credits if (g.completion.id, g.model) not in known]


def _generation_key(generation: Generation) -> tuple[str, str, str]:
    return generation.completion.id, generation.model, canonical_json(dict(generation.sampling))


def _generation_keys(
    connection: sa.Connection, wanted: Iterable[tuple[str, str, str]]
) -> set[tuple[str, str, str]]:
    """Keys of all stored generations of the completions in question."""
    g = t.generations.c
    ids = sorted({key[0] for key in wanted})
    found: set[tuple[str, str, str]] = set()
    for start in range(0, len(ids), 500):
        query = sa.select(g.completion_id, g.model, g.sampling)
        chunk = ids[start : start + 500]
        found.update(map(tuple, connection.execute(query.where(g.completion_id.in_(chunk)))))
    return found


def _nonzero(counts: dict[str, int], read: dict[str, int]) -> dict[str, int]:
    return {kind: n for kind, n in counts.items() if read[kind]}
