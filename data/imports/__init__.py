"""Files in: one path for every format.

A reader (`data.readers`) yields rows, a converter (`data.foreign`, `data.recipe`) makes lines of
the exchange format of each, `data.lines` says what a line may hold, one transaction stores them.

Reading the same file twice changes nothing. Of several judgements by one annotator on one task the
latest stands, and all are kept; one without `created_at` is given at the import, in the order of
the file. A judgement that its author took back carries `retracted_at`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from data.atomic_files import write_lines
from data.exchange.lines import Line, Noun, Reader
from data.imports.detection import IN_WORDS, Shape, converter, detect, retype
from data.imports.external_ids import Marks
from data.imports.readers import Row, Table, open_table
from data.imports.recipe import Recipe
from data.imports.trl import Convert
from data.schema import (
    Completion,
    Demonstration,
    Document,
    Generation,
    Gold,
    Prompt,
    Record,
    canonical_json,
)
from data.self_identification import Named
from data.store import Store
from data.store import tables as t
from data.store.content import (
    fill_external_ids,
    fill_prompts,
    insert_completions,
    insert_demonstrations,
    insert_documents,
    insert_generations,
    insert_prompts,
)
from data.store.control_tasks import insert_gold
from data.store.history import existing, insert_records


@dataclass(frozen=True)
class ImportReport:
    """What became of a file's lines. `read` is `new` plus `already_there`, type by type."""

    read: dict[str, int] = field(default_factory=dict)
    new: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    named: Named = field(default_factory=Named)
    """Completions of the file that name their maker."""
    read_as: str = ""
    """What the file was taken for."""
    left_out: dict[str, int] = field(default_factory=dict)
    """What was not taken as it stands there, by reason."""

    @property
    def already_there(self) -> dict[str, int]:
        return {kind: n - self.new.get(kind, 0) for kind, n in self.read.items()}


@dataclass(frozen=True)
class _Bad:
    number: int
    reason: str
    text: str


def import_file(
    store: Store,
    path: Path,
    skip_bad: Path | None = None,
    *,
    shape: Shape | None = None,
    recipe: Recipe | None = None,
    annotator: str | None = None,
) -> ImportReport:
    """Read a file, a folder or a dataset's id into the store: all of it, or nothing.

    What its rows are is told from the first one, unless `shape` or `recipe` says so. `annotator`
    is who judged where the data does not say. A bad row raises ValueError "FILE:LINE: reason" (or
    "FILE row N: reason"). With `skip_bad` the bad rows are left out, counted, and written to that
    file with their number, the reason and their text.
    """
    path = Path(path)
    if skip_bad is not None and Path(skip_bad).absolute() == path.absolute():
        raise ValueError(f"--skip-bad {skip_bad} is the file itself: name another file")
    if shape is not None and recipe is not None:
        raise ValueError("a recipe says what the rows are: leave --as out, or the recipe")
    table = open_table(path)
    rows = table.rows
    if recipe is None and shape is None:
        shape, rows = _detected(path, table)
    convert = _converter(shape, recipe, table.typed)
    read_as = IN_WORDS[shape] if shape else f"recipe {recipe.name}" if recipe else ""
    reading = _Reading(convert, shape == "exchange", annotator, Marks(store.database))
    lines = reading.all(rows, stop=skip_bad is None)
    if skip_bad is not None:
        write_lines(Path(skip_bad), (canonical_json(b.__dict__) for b in reading.bad))
    with store.database.write() as connection:
        read, new = _insert(connection, lines)
    left_out = {reason: n for reason, n in reading.left_out.items() if n}
    read_as = f"{read_as}, {table.kind}"
    return ImportReport(read, new, len(reading.bad), reading.named, read_as, left_out)


def _completions(noun: Noun) -> list[Completion]:
    """What models wrote, of all that a line says."""
    if isinstance(noun, Record | Gold):
        return [c for c in (noun.task.a, noun.task.b) if c is not None]
    if isinstance(noun, Generation):
        return [noun.completion]
    return [noun] if isinstance(noun, Completion) else []


class _NobodyJudged(ValueError):
    """The data has judgements and no annotator: true of all of it."""


class _Reading:
    """Rows to lines, with what was wrong and what was left out on the way."""

    def __init__(self, convert: Convert, exact: bool, annotator: str | None, marks: Marks) -> None:
        self.bad: list[_Bad] = []
        self.left_out: Counter[str] = Counter()
        self.named = Named()
        self._convert, self._exact = convert, exact
        self._annotator, self._marks, self._reader = annotator, marks, Reader()

    def all(self, rows: Iterator[Row], stop: bool) -> list[Line]:
        """The lines of all rows. Raises ValueError at the first bad one, or notes it."""
        lines: list[Line] = []
        for row in rows:
            try:
                lines += self._one(row)
            except _NobodyJudged as error:
                raise ValueError(f"{row.where}: {error}") from None
            except ValueError as error:
                if stop:
                    raise ValueError(f"{row.where}: {error}") from None
                self.bad.append(_Bad(row.number, str(error), row.text))
        return lines

    def _one(self, row: Row) -> list[Line]:
        counts: Counter[str] = Counter()
        lines = [self._line(line) for line in self._convert(row.parsed(), counts)]
        for line in lines:
            if not self._marks.check(line):
                counts[f"external_id of a {line.type} that has another one: left out"] += 1
        for line in lines:
            self.named.see(_completions(line.noun), row.brief)
        if counts:
            self.left_out.update(counts)
        return lines

    def _line(self, line: dict[str, Any]) -> Line:
        if line.get("type") == "judgement" and line.get("annotator") is None:
            if self._annotator is not None:
                line = line | {"annotator": self._annotator}
            elif not self._exact:
                raise _NobodyJudged("nobody is named who judged: add --annotator NAME")
        return self._reader.read_row(line)


def _converter(shape: Shape | None, recipe: Recipe | None, typed: bool) -> Convert:
    """What makes lines of a row; types that the table has lost are found again."""
    if recipe is not None:
        by_recipe = recipe.lines
        return by_recipe if typed else lambda row, n: [retype(x) for x in by_recipe(row, n)]
    convert = converter(shape or "exchange")
    return convert if typed else lambda row, n: convert(retype(row), n)


def _detected(path: Path, table: Table) -> tuple[Shape, Iterator[Row]]:
    """The shape of the first row that can be read, and all rows."""
    seen: list[Row] = []
    for row in table.rows:
        seen.append(row)
        with suppress(ValueError):
            first = row.parsed()
            break
    else:  # each line will say what is wrong with it
        return "exchange", iter(seen)
    try:
        return detect(first), chain(seen, table.rows)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


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
    completions = by_type[Completion] + [g.completion for g in by_type[Generation]]
    fill_external_ids(connection, t.completions, completions)
    fill_external_ids(connection, t.demonstrations, by_type[Demonstration])
    fill_external_ids(connection, t.documents, by_type[Document])
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
