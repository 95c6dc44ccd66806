"""Rows of any file: JSON lines, a JSON array, CSV, TSV, Parquet, or a Hugging Face dataset.

A reader yields each row with where it stands ("FILE:LINE", or "FILE row N" where lines mean
nothing), and does not know what the columns mean. A file that cannot be read raises ValueError.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.exchange.validation import JsonObject, parse, read_json, show
from data.imports import huggingface

BOM = b"\xef\xbb\xbf"
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PACKED = (
    (b"\x1f\x8b", "packed with gzip", "unpack it first"),
    (b"PK\x03\x04", "a zip file or a spreadsheet", "unpack it, or save the sheet as CSV"),
    (b"BZh", "packed with bzip2", "unpack it first"),
    (b"\xfd7zXZ", "packed with xz", "unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it first"),
)
"""How a file begins that is to be unpacked first, what it is, and the remedy."""
_DATASET = "a Hugging Face dataset"


@dataclass(frozen=True)
class Row:
    """One row as it was found."""

    where: str
    number: int
    found: bytes | JsonObject | ValueError
    """A line of JSON not parsed yet; the row itself; or why there is none."""

    def parsed(self) -> JsonObject:
        """The row itself. Raises ValueError with the reason why there is none."""
        if isinstance(self.found, ValueError):
            raise self.found
        return parse(self.found) if isinstance(self.found, bytes) else self.found

    @property
    def brief(self) -> str:
        """Which one it is of its file."""
        return f"{'line' if isinstance(self.found, bytes) else 'row'} {self.number}"

    @property
    def text(self) -> str:
        """What stands there, for a list of bad rows."""
        if isinstance(self.found, bytes):
            return self.found.decode("utf-8", "backslashreplace")
        if isinstance(self.found, ValueError):
            return ""
        return json.dumps(self.found, ensure_ascii=False, default=str)


@dataclass(frozen=True)
class Table:
    """The rows of one file or dataset."""

    kind: str
    """What sort of file it is, in words."""
    rows: Iterator[Row]
    typed: bool
    """Whether a cell can be trusted to have the type it was written with."""


def open_table(path: Path) -> Table:
    """The rows of a file, a folder of `save_to_disk`, or a dataset's id OWNER/NAME."""
    if path.is_dir():
        return Table(_DATASET, _arrow_rows(huggingface.read_saved(path)), typed=False)
    if not path.exists():
        if huggingface.is_id(path):
            return Table(_DATASET, _arrow_rows(huggingface.download(str(path))), typed=False)
        if path.parts[:1] in (("http:",), ("https:",)):
            raise ValueError(
                f"{path} is an address: download the file, or give a dataset's id as OWNER/NAME"
            )
        raise ValueError(f"{path} does not exist: check the path")
    if not path.is_file():
        raise ValueError(f"{path} is no file that can be read twice: write the data to a file")
    suffix = path.suffix.lower()
    if suffix in _DELIMITERS:
        kind = suffix.removeprefix(".").upper()
        return Table(kind, _separated_rows(path, _DELIMITERS[suffix]), typed=False)
    with path.open("rb") as stream:
        start = stream.read(64).removeprefix(BOM).lstrip()
    if suffix == ".parquet" or start.startswith(b"PAR1"):
        return Table("Parquet", _arrow_rows([(str(path), _parquet_batches(path))]), typed=False)
    if suffix not in (".jsonl", ".ndjson") and start.startswith(b"["):
        return Table("a JSON array", _json_array(path), typed=True)
    return Table("JSON lines", _json_lines(path), typed=True)


def _json_lines(path: Path) -> Iterator[Row]:
    """The lines that hold something, with their numbers from 1."""
    found = False
    for number, line in enumerate(_read_bytes(path).split(b"\n"), 1):
        if line.strip():
            found = True
            yield Row(f"{path}:{number}", number, line.strip())
    if not found:
        raise ValueError(f"{path} holds no lines: write one JSON object a line")


def _json_array(path: Path) -> Iterator[Row]:
    text = _read_text(path)
    try:
        rows = read_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}:{error.lineno}: not JSON ({error.msg} at character {error.colno}): write one "
            "array of objects"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not rows:
        raise _no_rows(path)
    for number, row in enumerate(rows, 1):
        odd = ValueError(f"{show(row)} is not an object: write {{...}}")
        yield Row(f"{path} row {number}", number, row if isinstance(row, dict) else odd)


def _separated_rows(path: Path, delimiter: str) -> Iterator[Row]:
    """Rows below a line of column names; an empty cell is none. `number` is a row's first line."""
    line = 1
    csv.field_size_limit(2**31 - 1)
    text = _read_text(path)
    if delimiter == ",":  # some countries' spreadsheets write a semicolon
        heads = {s: csv.reader(io.StringIO(text, newline=""), delimiter=s) for s in ",;\t"}
        delimiter = max(heads, key=lambda separator: len(next(heads[separator], [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        if not any(columns):
            raise _no_rows(path)
        twice = {name for name in columns if columns.count(name) > 1}
        if twice:
            raise ValueError(f"{path}:1: column {show(min(twice))} stands there twice: rename one")
        found, line = False, reader.line_num + 1
        for cells in reader:
            if cells:
                found = True
                yield Row(f"{path}:{line}", line, _name_cells(columns, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}:{line}: not {delimiter!r}-separated text ({error}): check the quotation marks"
        ) from None
    if not found:
        raise _no_rows(path)


def _name_cells(columns: list[str], cells: list[str]) -> JsonObject | ValueError:
    if len(cells) != len(columns):
        return ValueError(
            f"{len(cells)} cells under {len(columns)} columns: quote a cell that holds a separator"
        )
    return {name: cell or None for name, cell in zip(columns, cells, strict=True)}


def _parquet_batches(path: Path) -> huggingface.Batches:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        yield from file.iter_batches(1024)


def _arrow_rows(parts: Iterable[tuple[str, huggingface.Batches]]) -> Iterator[Row]:
    """The rows of Arrow batches, numbered from 1 in each part."""
    import pyarrow

    total = 0
    for name, batches in parts:
        number = 0
        try:
            for batch in batches:
                for row in batch.to_pylist():
                    number += 1
                    yield Row(
                        f"{name} row {number}", number, {k: _as_json(v) for k, v in row.items()}
                    )
        except (pyarrow.ArrowException, OSError) as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise ValueError(
                f"{name} cannot be read after row {number} ({reason}): it is damaged or cut short; "
                "get it again"
            ) from None
        total += number
    if not total:
        raise _no_rows(name)


def _as_json(value: object) -> object:
    """A cell of an Arrow table as JSON would have it; what is null within an object is left out."""
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def _read_text(path: Path) -> str:
    raw = _read_bytes(path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}:{line}: not UTF-8 (byte {raw[error.start]:#04x}): save the file as UTF-8"
        ) from None


def _read_bytes(path: Path) -> bytes:
    raw = path.read_bytes()
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(
            f"{path}:1: not UTF-8 (byte {raw[0]:#04x}, as UTF-16 begins): save the file as UTF-8"
        )
    for start, kind, remedy in _PACKED:
        if raw.startswith(start):
            raise ValueError(f"{path} is {kind}: {remedy}")
    if b"\x00" in raw[:4]:
        raise ValueError(
            f"{path}:1: not UTF-8 (a NUL byte, as UTF-16 has them): save the file as UTF-8"
        )
    return raw.removeprefix(BOM)


def _no_rows(name: object) -> ValueError:
    return ValueError(f"{name} holds no rows: there is nothing to import")
