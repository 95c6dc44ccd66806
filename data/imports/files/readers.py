"""Rows of any file: JSON lines, a JSON array, CSV, TSV, Parquet, or a Hugging Face dataset.

A reader yields each row with where it stands ("FILE:LINE", or "FILE row N" where lines mean
nothing), and does not know what the columns mean. A file that cannot be read raises ValueError.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data.exchange.validation import decode_json, parse_line, show
from data.imports.files import huggingface
from data.imports.files.json_values import find_rows, split_values
from data.schema import JsonObject

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
_SEPARATOR_LINE = re.compile(r"[\"']?sep=([,;\t|])[\"']?\r?\n", re.IGNORECASE)
"""A first line by which a spreadsheet tells what separates the cells."""
_DATASET = "a Hugging Face dataset"


@dataclass(frozen=True)
class FileRow:
    """One row as it was found."""

    where: str
    number: int
    found: bytes | JsonObject | ValueError
    """A line of JSON not parsed yet; the row itself; or why there is none."""

    def parsed(self) -> JsonObject:
        """The row itself. Raises ValueError with the reason why there is none."""
        if isinstance(self.found, ValueError):
            raise self.found
        return parse_line(self.found) if isinstance(self.found, bytes) else self.found

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
class FileTable:
    """The rows of one file or dataset."""

    kind: str
    """What sort of file it is, in words."""
    rows: Iterator[FileRow]
    typed: bool
    """Whether a cell can be trusted to have the type it was written with."""
    has_texts: bool = True
    """Whether a text was written as a text; in CSV it may be anything."""


def open_table(path: Path) -> FileTable:
    """The rows of a file, a folder of `save_to_disk`, or a dataset's id OWNER/NAME."""
    if path.is_dir():
        return FileTable(_DATASET, _arrow_rows(huggingface.read_saved(path)), typed=False)
    if not path.exists():
        if huggingface.is_id(path):
            return FileTable(_DATASET, _arrow_rows(huggingface.download(str(path))), typed=False)
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
        return FileTable(kind, _separated_rows(path, _DELIMITERS[suffix]), False, has_texts=False)
    with path.open("rb") as stream:
        start = stream.read(64).removeprefix(BOM).lstrip()
    if suffix == ".parquet" or start.startswith(b"PAR1"):
        return FileTable("Parquet", _arrow_rows([(str(path), _parquet_batches(path))]), typed=False)
    return _json_table(path, is_lines=suffix in (".jsonl", ".ndjson"))


def _json_table(path: Path, is_lines: bool) -> FileTable:
    """JSON lines, or one JSON value that holds rows, whichever the file is.

    `is_lines`: its name says that it holds lines. A list in such a file is read all the same.
    """
    raw = _read_bytes(path)
    lines = [line for line in raw.split(b"\n", 1000)[:1000] if line.strip()]
    begins = raw.lstrip()[:1]
    several = len(lines) > 1
    whole = begins == b"[" and not is_lines
    in_lines = begins not in (b"[", b"{") or (several and _is_value(lines[0]))
    if in_lines and not whole:
        return FileTable("JSON lines", _json_lines(path, raw), typed=True)
    text = _decode(path, raw)
    try:
        found = find_rows(decode_json(text), in_lines=is_lines and not several)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and begins == b"{":
            return FileTable("JSON objects", _json_objects(path, text), typed=True)
        if begins == b"{" and (not several or lines[1].lstrip().startswith(b"{")):
            return FileTable("JSON lines", _json_lines(path, raw), typed=True)
        raise ValueError(
            f"{path}:{error.lineno}: not JSON ({error.msg} at character {error.colno}): write one "
            "array of objects, or one object a line"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if found is None and not several:
        return FileTable("JSON lines", _json_lines(path, raw), typed=True)
    kind, rows = found or ("a JSON object", [decode_json(text)])
    return FileTable(kind, _value_rows(path, rows), typed=True)


def _is_value(line: bytes) -> bool:
    """Whether a line is JSON by itself."""
    try:
        decode_json(line.decode("utf-8", "replace"))
    except json.JSONDecodeError:
        return False
    except ValueError:  # which no export could spell again
        return True
    return True


def _value_rows(path: Path, rows: list[object]) -> Iterator[FileRow]:
    if not rows:
        raise _no_rows(path)
    for number, row in enumerate(rows, 1):
        odd = ValueError(f"{show(row)} is not an object: write {{...}}")
        yield FileRow(f"{path} row {number}", number, row if isinstance(row, dict) else odd)


def _json_objects(path: Path, text: str) -> Iterator[FileRow]:
    """Objects one after another, each over several lines."""
    try:
        for line, found in split_values(text):
            yield FileRow(f"{path}:{line}", line, found)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}:{error.lineno}: not JSON ({error.msg} at character {error.colno}): write one "
            "JSON object a line"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _json_lines(path: Path, raw: bytes) -> Iterator[FileRow]:
    """The lines that hold something, with their numbers from 1."""
    found = False
    for number, line in enumerate(raw.split(b"\n"), 1):
        if line.strip():
            found = True
            yield FileRow(f"{path}:{number}", number, line.strip())
    if not found:
        raise ValueError(f"{path} holds no lines: write one JSON object a line")


def _separated_rows(path: Path, delimiter: str) -> Iterator[FileRow]:
    """Rows below a line of column names; an empty cell is none. `number` is a row's first line."""
    line = 1
    csv.field_size_limit(2**31 - 1)
    text = _decode(path, _read_bytes(path))
    said = _SEPARATOR_LINE.match(text)
    if said:
        delimiter, text, line = said[1], text[said.end() :], 2
    elif delimiter == ",":  # some countries' spreadsheets write a semicolon
        heads = {s: csv.reader(io.StringIO(text, newline=""), delimiter=s) for s in ",;\t"}
        delimiter = max(heads, key=lambda separator: len(next(heads[separator], [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    before = line - 1
    try:
        columns = [name.strip() for name in next(reader, [])]
        if not any(columns):
            raise _no_rows(path)
        twice = {name for name in columns if name and columns.count(name) > 1}
        if twice:
            shown = show(min(twice))
            raise ValueError(f"{path}:{line}: column {shown} stands there twice: rename one")
        found, line = False, before + reader.line_num + 1
        for cells in reader:
            if cells:
                found = True
                yield FileRow(f"{path}:{line}", line, _name_cells(columns, cells))
            line = before + reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}:{line}: not {delimiter!r}-separated text ({error}): check the quotation marks"
        ) from None
    if not found:
        raise _no_rows(path)


def _name_cells(columns: list[str], cells: list[str]) -> JsonObject | ValueError:
    if not any(cells):  # a spreadsheet's last rows
        return dict.fromkeys(columns)
    if len(cells) != len(columns):
        return ValueError(
            f"{len(cells)} cells under {len(columns)} columns: quote a cell that holds a separator"
        )
    row = {name: cell or None for name, cell in zip(columns, cells, strict=True) if name}
    unnamed = [cell for name, cell in zip(columns, cells, strict=True) if cell and not name]
    if len(unnamed) > 1:
        return ValueError(f"{show(unnamed[1])} stands under a column without a name: name it")
    return row | {"": unnamed[0]} if unnamed else row


def _parquet_batches(path: Path) -> huggingface.Batches:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        yield from file.iter_batches(128)


def _arrow_rows(parts: Iterable[tuple[str, huggingface.Batches]]) -> Iterator[FileRow]:
    """The rows of Arrow batches, numbered from 1 in each part."""
    import pyarrow

    total = 0
    for name, batches in parts:
        number = 0
        try:
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                found = {k: _as_json(v) for k, v in row.items()}
                yield FileRow(f"{name} row {number}", number, found)
        except MemoryError:  # which is one of Arrow's exceptions too
            raise
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


def _decode(path: Path, raw: bytes) -> str:
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
