"""What an import may take: each limit is one line that names it, and nothing is stored."""

from __future__ import annotations

import csv
import resource
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import Store
from data.imports import import_file
from data.imports.limits import ImportProgress, Limits, confined
from tests.data.imports.test_import_lines import write
from tests.support.commands import assert_refused, command

DOCUMENT = {"type": "document", "text": "x" * 600_000}


def bomb(path: Path, rows: int = 4000) -> Path:
    """A Parquet file that says one long text over and over in under a kilobyte."""

    def column(text: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), pa.array([text]))

    table = pa.table({"type": column("document"), "text": column(DOCUMENT["text"])})
    pq.write_table(table, path, compression="zstd")
    return path


def refused(tmp_path: Path, file: Path, *words: str, **limits: int) -> None:
    flags: list[Any] = []
    for name, value in limits.items():
        flags += [f"--limits.{name.replace('_', '-')}", value]
    assert_refused(command("data", "import", file, "--workspace", tmp_path / "w", *flags), *words)
    with Store.open(tmp_path / "w") as store:
        counts = store.content.counts()
    assert counts.documents == counts.prompts == 0


def test_a_small_file_may_not_unpack_to_gigabytes(tmp_path: Path) -> None:
    file = bomb(tmp_path / "in.parquet")
    assert file.stat().st_size < 2000
    refused(tmp_path, file, "more than 2 MiB of text", "--limits.file-mib", file_mib=2)
    refused(tmp_path, file, "more than 100 rows", "--limits.rows", rows=100, file_mib=100)


def test_no_cell_and_no_line_may_be_as_long_as_a_book(tmp_path: Path) -> None:
    line = write(tmp_path / "in.jsonl", {**DOCUMENT, "text": "é" * 600_000})
    refused(tmp_path, line, "line 1 longer than 1 MiB", "--limits.row-mib", row_mib=1)
    with (tmp_path / "in.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["prompt"], ["q"], ["x" * 1_100_000]])
    refused(tmp_path, tmp_path / "in.csv", "row 3 longer than 1 MiB", row_mib=1)


def test_a_file_may_have_as_many_rows_as_are_allowed(sqlite_store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "in", *({"type": "prompt", "prompt": f"{n}"} for n in range(5)))
    assert import_file(sqlite_store, file, watch=ImportProgress(Limits(rows=5))).read == {
        "prompt": 5
    }
    with pytest.raises(ValueError, match="more than 4 rows long"):
        import_file(sqlite_store, file, watch=ImportProgress(Limits(rows=4)))


def test_reading_may_not_go_on_for_ever(sqlite_store: Store, tmp_path: Path) -> None:
    watch = ImportProgress(Limits(minutes=1))
    watch._begun -= 61
    with pytest.raises(ValueError, match=r"not read after 1 minutes.*--limits\.minutes"):
        import_file(sqlite_store, write(tmp_path / "in", DOCUMENT), watch=watch)


def test_memory_is_held_to_its_limit_and_given_back(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(ValueError, match=r"more than 64 MiB of memory.*--limits\.memory-mib"):
        with confined(Limits(memory_mib=64), tmp_path):
            bytearray(2**30)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_a_limit_is_a_positive_number(tmp_path: Path) -> None:
    file = write(tmp_path / "in", {"type": "prompt", "prompt": "q"})
    words = ["import", file, "--workspace", tmp_path, "--limits.rows", 0]
    assert_refused(command("data", *words), "limit rows 0", "1 or more")


def test_how_far_it_is_can_be_told_and_ended(sqlite_store: Store, tmp_path: Path) -> None:
    told: list[str] = []

    def tell(words: str) -> None:
        told.append(words)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        import_file(sqlite_store, write(tmp_path / "in", DOCUMENT), watch=ImportProgress(tell=tell))
    assert told == ["writing 1 lines"]
    assert sqlite_store.content.counts().documents == 0
