"""Files in: one path for every format, all or nothing.

files             rows of any file
detection         what the rows are, told from their columns
cells             numbers, lists and conversations that were written as text
shapes            rows of other tools as lines of the exchange format
published         data sets of published papers
ratings           ratings of other scales
people            one person, one name
external_ids      one name, one thing
limits            rows, bytes, memory and time that one import may take
staging           lines beside the store, then into it in one short step
details           what a file does not say of itself, as settings

Reading the same file twice changes nothing. Of several judgements by one annotator on one task the
latest stands, and all are kept; one without `created_at` is given at the import, in the order of
the file. A judgement that its author took back carries `retracted_at`.

A table with other columns than these takes ten lines of Python:

    from pathlib import Path
    from data import Store
    from data.imports import import_file

    def stars(row, left_out):
        yield {"type": "judgement", "kind": "scalar", "prompt": row["question"],
               "completion": row["reply"], "value": int(row["stars"]), "annotator": row["who"]}

    with Store.open(Path("workspace")) as store:
        print(import_file(store, Path("reviews.csv"), recipe=stars, scale=["1..5"]))
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
from data.exchange.lines import Line, LineReader, completions_of
from data.exchange.validation import either, show
from data.imports.cells import Cells, is_blank, retype, with_answers, with_names, without_index
from data.imports.detection import SHAPES, Shape, detect
from data.imports.external_ids import ExternalIds
from data.imports.files.readers import FileRow, open_table
from data.imports.limits import ImportProgress
from data.imports.people import NameMap
from data.imports.published import find_recipe
from data.imports.ratings import Scales
from data.imports.shapes.lines import Convert, Unsaid, rename_columns
from data.imports.staging import publish
from data.schema import (
    Completion,
    Demonstration,
    Document,
    Generation,
    Gold,
    JsonObject,
    Prompt,
    Record,
    canonical_json,
)
from data.self_identification import Named
from data.store import Store, content
from data.store import tables as t
from data.store.control_tasks import insert_gold
from data.store.database import existing, in_batches
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
    people: Mapping[str, str] | None = None,
    scale: Sequence[str] = (),
    source: str | None = None,
    turns: Sequence[str] = (),
    texts: Sequence[str] = (),
    watch: ImportProgress | None = None,
) -> ImportReport:
    """Read a file, a folder or a dataset's id into the store: all of it, or nothing.

    What its rows are is told from the first one, unless `shape` says so, or `recipe`: a published
    data set's name, or a function that makes lines of the exchange format of a row. `columns`
    renames columns beforehand; one with an empty new name is left out. `annotator` is who judged
    where the data does not say, `people` who is meant by a name. `scale` (see data.imports.ratings)
    says of how many ratings are, `source` within what external ids are unique, `turns` which
    columns of text spell conversations and `texts` which do not. `watch` holds it to other limits
    than the usual ones.

    A bad row raises ValueError "FILE:LINE: reason" (or "FILE row N: reason"). With `skip_bad` the
    bad rows are left out, counted, and written to that file with their number, the reason and
    their text.
    """
    path = Path(path)
    if skip_bad is not None and Path(skip_bad).absolute() == path.absolute():
        raise ValueError(f"--skip-bad {skip_bad} is the file itself: name another file")
    if shape is not None and recipe is not None:
        raise ValueError("a recipe says what the rows are: leave --as out, or the recipe")
    watch = watch or ImportProgress()
    watch.check_file(path)
    table, names = open_table(path), dict(columns or {})
    rows = watch.rows(path, table.rows)
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
    exact = shape == "exchange"
    known = [person.name for person in store.people.all()]
    reading = _Reading(
        convert,
        names,
        Cells(table.has_texts, turns, texts),
        annotator,
        NameMap(known, people or {}, ask=not exact),
        Scales(scale),
        source,
        ExternalIds(store.database),
        exact,
        table.typed,
        as_found=recipe is not None and not turns,
    )
    bad = reading.read_all(rows, stop=skip_bad is None)
    if skip_bad is not None:
        write_lines(Path(skip_bad), map(canonical_json, bad))
    watch.say(path, f"writing {len(reading.lines):,} lines", at_once=True)
    read, new = publish(store.database, lambda connection: insert_lines(connection, reading.lines))
    left_out = {reason: n for reason, n in reading.left_out.items() if n}
    read_as = f"{read_as}, {table.kind}"
    return ImportReport(read, new, len(bad), reading.named, read_as, left_out)


@dataclass
class _Reading:
    """How the rows of one file become lines, and what became of them so far."""

    convert: Convert
    names: dict[str, str]
    cells: Cells
    annotator: str | None
    people: NameMap
    scales: Scales
    source: str | None
    external_ids: ExternalIds
    exact: bool
    """Whether the rows are lines of the exchange format already."""
    typed: bool
    """Whether a cell can be trusted to have the type it was written with."""
    as_found: bool
    """Whether a recipe reads the rows as they stand in the file."""
    lines: list[Line] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    named: Named = field(default_factory=Named)
    reader: LineReader = field(default_factory=LineReader)

    def read_all(self, rows: Iterator[FileRow], stop: bool) -> list[JsonObject]:
        """Read all rows; returns the bad ones, or, if `stop`, raises ValueError at the first."""
        bad: list[JsonObject] = []
        for row in rows:
            counts: Counter[str] = Counter()
            try:
                parsed = row.parsed()
                if not self.typed and all(map(is_blank, parsed.values())):
                    self.left_out["empty row"] += 1
                    continue
                found = self._read_row(parsed, counts)
            except (ValueError, RecursionError) as error:
                deep = isinstance(error, RecursionError)
                reason = "it is nested too deeply: flatten it" if deep else str(error)
                if stop or isinstance(error, Unsaid):
                    raise ValueError(f"{row.where}: {reason}") from None
                bad.append({"number": row.number, "reason": reason, "text": row.text})
                continue
            for line in found:
                self.named.see(completions_of(line.noun), row.brief)
            self.left_out.update(counts)
            self.lines += found
        if not bad:  # else a row that was left out may have had it
            self.scales.check_used()
            self.people.check_used()
            if not self.as_found:
                self.cells.check_used()
        return bad

    def _read_row(self, row: JsonObject, counts: Counter[str]) -> list[Line]:
        """The lines of one row. Raises ValueError with the reason where it has a fault."""
        row = rename_columns(row if self.typed else with_answers(row), self.names)
        if not self.as_found:
            row = self.cells.read(row, self.exact, counts)
        found: list[Line] = []
        for said in self.convert(row, counts):
            source = self.source
            if not self.exact:
                within = said.get("source")
                if "source" in said:
                    said = {key: value for key, value in said.items() if key != "source"}
                source = "/".join(str(s) for s in (source, within) if s is not None) or None
            line = self.reader.read_row(self._complete(said, counts))
            line, kept = self.external_ids.settle(line, source)
            found.append(line)
            if not kept:
                counts[f"external_id of a {line.type} that has another one: left out"] += 1
        if not found and not sum(counts.values()):
            counts["row of which nothing was made"] += 1
        return found

    def _complete(self, said: JsonObject, counts: Counter[str]) -> JsonObject:
        """A line with who judged, under the name that they have here, and on our scale."""
        if not (self.exact and self.typed):
            said = with_names(said)
        if said.get("type") != "judgement":
            return self.scales.apply(said, counts) if said.get("kind") == "scalar" else said
        name = said.get("annotator")
        if isinstance(name, str) and name.strip():
            if not self.typed:
                self.people.check_explained(name)
            name = self.people.find(name, counts)
        if name is None:
            name = self.annotator
            if name is None and not self.exact:
                raise Unsaid("nobody is named who judged: add --annotator NAME")
            name = name and self.people.find(name, counts)
        if name is not said.get("annotator"):
            said = said | {"annotator": name}
        return self.scales.apply(said, counts)


def _convert_untyped(convert: Convert, lines_first: bool) -> Convert:
    """The same for a table that has lost its types: they are found again, in the rows or, where
    columns have other names than ours, in the lines."""
    if lines_first:
        return lambda row, left_out: map(retype, convert(row, left_out))
    return lambda row, left_out: convert(retype(row), left_out)


def _detect_shape(
    path: Path, rows: Iterator[FileRow], names: dict[str, str]
) -> tuple[Shape, Iterator[FileRow]]:
    """The shape of the first row that can be read, and all rows."""
    seen: list[FileRow] = []
    for row in rows:
        seen.append(row)
        with suppress(ValueError):
            first = row.parsed()
            break
    else:  # each line will say what is wrong with it
        return "exchange", iter(seen)
    try:
        return detect(without_index(rename_columns(first, names), Counter())), chain(seen, rows)
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
    content.insert_prompts(connection, prompts)
    content.fill_prompts(connection, prompts)
    content.insert_demonstrations(connection, demonstrations)
    content.insert_documents(connection, documents)
    content.insert_generations(connection, generations)
    content.insert_completions(connection, completions)
    credits = [credit for line in lines for credit in line.credits]
    # A judgement names the model but not how it was sampled: any settings make it known.
    known = {key[:2] for key in _generation_keys(connection, map(_generation_key, credits))}
    known |= {key[:2] for key in written}
    unknown = [g for g in credits if (g.completion.id, g.model) not in known]
    content.insert_generations(connection, unknown)
    completions += [generation.completion for generation in generations]
    content.fill_external_ids(connection, t.completions, completions)
    content.fill_external_ids(connection, t.demonstrations, demonstrations)
    content.fill_external_ids(connection, t.documents, documents)
    new["judgement"] = insert_records(connection, [n for n in nouns if isinstance(n, Record)])
    new["gold"] = insert_gold(connection, [n for n in nouns if isinstance(n, Gold)])
    counts = Counter(line.type for line in lines)
    read = {kind: counts[kind] for kind in (*new, *counts) if counts[kind]}
    return read, {kind: new[kind] for kind in read}


def _count_new(
    connection: sa.Connection, table: sa.Table, nouns: Sequence[content.ContentItem]
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
    query = sa.select(g.completion_id, g.model, g.sampling)
    for chunk in in_batches(ids):
        found.update(map(tuple, connection.execute(query.where(g.completion_id.in_(chunk)))))
    return found
