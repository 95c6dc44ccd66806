"""Files in: one path for every format, all or nothing.

readers           rows of any file; huggingface: of a dataset
detection         what the rows are, told from their columns
trl               TRL's rows as lines of the exchange format, and so do
annotation_tools  Argilla's and Label Studio's,
published         and data sets of published papers
external_ids      one name, one thing

Reading the same file twice changes nothing. Of several judgements by one annotator on one task the
latest stands, and all are kept; one without `created_at` is given at the import, in the order of
the file. A judgement that its author took back carries `retracted_at`.

A table with other columns than these takes ten lines of Python:

    from pathlib import Path
    from data import Store
    from data.imports import import_file

    def stars(row, left_out):
        yield {"type": "judgement", "kind": "scalar", "prompt": row["question"],
               "completion": row["reply"], "value": 2 * int(row["stars"]), "annotator": row["who"]}

    with Store.open(Path("workspace")) as store:
        print(import_file(store, Path("reviews.csv"), recipe=stars))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import sqlalchemy as sa

from data.atomic_files import write_lines
from data.exchange.lines import Line, Reader, completions_of
from data.exchange.validation import JsonObject, either, show
from data.imports.detection import SHAPES, Shape, detect, retype
from data.imports.external_ids import ExternalIds
from data.imports.published import find_recipe
from data.imports.readers import Row, open_table
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
from data.store.database import existing
from data.store.history import insert_records


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


def import_file(
    store: Store,
    path: Path,
    skip_bad: Path | None = None,
    *,
    shape: Shape | None = None,
    recipe: str | Convert | None = None,
    columns: Mapping[str, str] | None = None,
    annotator: str | None = None,
) -> ImportReport:
    """Read a file, a folder or a dataset's id into the store: all of it, or nothing.

    What its rows are is told from the first one, unless `shape` says so, or `recipe`: a published
    data set's name, or a function that makes lines of the exchange format of a row. `columns`
    renames columns beforehand; one with an empty new name is left out. `annotator` is who judged
    where the data does not say.

    A bad row raises ValueError "FILE:LINE: reason" (or "FILE row N: reason"). With `skip_bad` the
    bad rows are left out, counted, and written to that file with their number, the reason and
    their text.
    """
    path = Path(path)
    if skip_bad is not None and Path(skip_bad).absolute() == path.absolute():
        raise ValueError(f"--skip-bad {skip_bad} is the file itself: name another file")
    if shape is not None and recipe is not None:
        raise ValueError("a recipe says what the rows are: leave --as out, or the recipe")
    table, names = open_table(path), columns or {}
    rows = table.rows
    if recipe is not None:
        read_as = f"recipe {recipe if isinstance(recipe, str) else recipe.__name__}"
        convert = find_recipe(recipe) if isinstance(recipe, str) else recipe
    else:
        if shape is None:
            shape, rows = _detect_shape(path, rows, names)
        if shape not in SHAPES:
            raise ValueError(f"format {show(shape)} unknown: use {either([*SHAPES])}")
        read_as, convert = SHAPES[shape]
    if not table.typed:
        convert = _convert_untyped(convert, lines_first=recipe is not None)
    exact, stop = shape == "exchange", skip_bad is None
    lines, bad, counts, named = _read_rows(
        store, rows, convert, names, annotator, exact=exact, stop=stop
    )
    if skip_bad is not None:
        write_lines(Path(skip_bad), map(canonical_json, bad))
    with store.database.write() as connection:
        read, new = insert_lines(connection, lines)
    left_out = {reason: n for reason, n in counts.items() if n}
    return ImportReport(read, new, len(bad), named, f"{read_as}, {table.kind}", left_out)


class _NobodyJudged(ValueError):
    """The data has judgements and no annotator: true of all of it."""


def _read_rows(
    store: Store,
    rows: Iterator[Row],
    convert: Convert,
    names: Mapping[str, str],
    annotator: str | None,
    *,
    exact: bool,
    stop: bool,
) -> tuple[list[Line], list[JsonObject], Counter[str], Named]:
    """Lines, bad rows, what was left out, who names their maker; if `stop`, raises at a bad row."""
    lines: list[Line] = []
    bad: list[JsonObject] = []
    left_out: Counter[str] = Counter()
    named, reader, external_ids = Named(), Reader(), ExternalIds(store.database)
    for row in rows:
        counts: Counter[str] = Counter()
        found: list[Line] = []
        try:
            for said in convert(_rename_columns(row.parsed(), names), counts):
                unnamed = said.get("type") == "judgement" and said.get("annotator") is None
                if unnamed and annotator is not None:
                    said = said | {"annotator": annotator}
                elif unnamed and not exact:
                    raise _NobodyJudged("nobody is named who judged: add --annotator NAME")
                found.append(reader.read_row(said))
            for line in found:
                if not external_ids.check(line):
                    counts[f"external_id of a {line.type} that has another one: left out"] += 1
        except ValueError as error:
            if stop or isinstance(error, _NobodyJudged):
                raise ValueError(f"{row.where}: {error}") from None
            bad.append({"number": row.number, "reason": str(error), "text": row.text})
            continue
        for line in found:
            named.see(completions_of(line.noun), row.brief)
        left_out.update(counts)
        lines += found
    return lines, bad, left_out, named


def _rename_columns(row: JsonObject, names: Mapping[str, str]) -> JsonObject:
    if not names:
        return row
    return {
        names.get(column, column): cell for column, cell in row.items() if names.get(column, column)
    }


def _convert_untyped(convert: Convert, lines_first: bool) -> Convert:
    """The same for a table that has lost its types: they are found again, in the rows or, where
    columns have other names than ours, in the lines."""
    if lines_first:
        return lambda row, left_out: map(retype, convert(row, left_out))
    return lambda row, left_out: convert(retype(row), left_out)


def _detect_shape(
    path: Path, rows: Iterator[Row], names: Mapping[str, str]
) -> tuple[Shape, Iterator[Row]]:
    """The shape of the first row that can be read, and all rows."""
    seen: list[Row] = []
    for row in rows:
        seen.append(row)
        with suppress(ValueError):
            first = row.parsed()
            break
    else:  # each line will say what is wrong with it
        return "exchange", iter(seen)
    try:
        return detect(_rename_columns(first, names)), chain(seen, rows)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def insert_lines(
    connection: sa.Connection, lines: list[Line]
) -> tuple[dict[str, int], dict[str, int]]:
    """Add what the lines say; returns how many were read and how many are new, by type."""
    nouns = [line.noun for line in lines]
    prompts = [noun for noun in nouns if isinstance(noun, Prompt)]
    demonstrations = [noun for noun in nouns if isinstance(noun, Demonstration)]
    documents = [noun for noun in nouns if isinstance(noun, Document)]
    completions = [noun for noun in nouns if isinstance(noun, Completion)]
    generations = [noun for noun in nouns if isinstance(noun, Generation)]
    written = {_generation_key(g) for g in generations}
    new = {
        "prompt": _count_new(connection, t.prompts, prompts),
        "demonstration": _count_new(connection, t.demonstrations, demonstrations),
        "document": _count_new(connection, t.documents, documents),
        "completion": _count_new(connection, t.completions, completions)
        + len(written - _generation_keys(connection, written)),
    }
    insert_prompts(connection, prompts)
    fill_prompts(connection, prompts)
    insert_demonstrations(connection, demonstrations)
    insert_documents(connection, documents)
    insert_generations(connection, generations)
    insert_completions(connection, completions)
    credits = [credit for line in lines for credit in line.credits]
    # A judgement names the model but not how it was sampled: any settings make it known.
    known = {key[:2] for key in _generation_keys(connection, map(_generation_key, credits))}
    insert_generations(connection, [g for g in credits if (g.completion.id, g.model) not in known])
    completions += [generation.completion for generation in generations]
    fill_external_ids(connection, t.completions, completions)
    fill_external_ids(connection, t.demonstrations, demonstrations)
    fill_external_ids(connection, t.documents, documents)
    new["judgement"] = insert_records(connection, [n for n in nouns if isinstance(n, Record)])
    new["gold"] = insert_gold(connection, [n for n in nouns if isinstance(n, Gold)])
    counts = Counter(line.type for line in lines)
    read = {kind: counts[kind] for kind in (*new, *counts) if counts[kind]}
    return read, {kind: new[kind] for kind in read}


def _count_new(
    connection: sa.Connection,
    table: sa.Table,
    nouns: Sequence[Prompt | Demonstration | Document | Completion],
) -> int:
    ids = {noun.id for noun in nouns}
    return len(ids) - len(existing(connection, table, ids))


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
