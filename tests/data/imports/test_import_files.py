"""Every kind of file says the same; what cannot be read is refused in one line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from data.imports import import_file
from data.store import Store
from tests.data.imports.test_import_foreign import (
    ASKED,
    BETTER,
    FOUND,
    TALK,
    read,
    refused,
    reply,
    said,
)
from tests.data.imports.test_import_lines import PAIR, SINGLE, write

TABLE = [
    {**SINGLE, "comment": "a, b\nc", "seconds": 1.5},
    {**PAIR, "strength": 2, "shown_first": "b"},
    {**SINGLE, "kind": "binary", "value": True, "finished": False},
]


def columns_of(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows for column in row))


def separated(rows: list[dict[str, Any]], delimiter: str) -> bytes:
    text = io.StringIO()
    made = csv.DictWriter(text, columns_of(rows), delimiter=delimiter, lineterminator="\r\n")
    made.writeheader()
    made.writerows(rows)
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def arrow(rows: list[dict[str, Any]]) -> pa.Table:
    """Values as text, as a table must have them; numbers become floats beside nulls."""
    texts = [row | ({"value": str(row["value"])} if "value" in row else {}) for row in rows]
    return pa.table({c: [row.get(c) for row in texts] for c in columns_of(rows)})


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(arrow(rows), sink)
    return sink.getvalue()


WRITERS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "in.csv": lambda rows: separated(rows, ","),
    "in.tsv": lambda rows: separated(rows, "\t"),
    "in.parquet": parquet,
    "in.json": lambda rows: b"\xef\xbb\xbf" + json.dumps(rows, indent=2).encode(),
    "in.jsonl": lambda rows: "\r\n".join(map(json.dumps, rows)).encode(),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_says_the_same(store: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(WRITERS[name](TABLE))
    report = import_file(store, tmp_path / name)
    assert report.read_as.startswith("the exchange format, ")
    assert report.new == {"judgement": 3}
    single, pair, binary = store.ledger.judgements()
    assert (single.answer.value, single.answer.comment, single.answer.seconds) == (
        *("7", "a, b\nc"),
        1.5,
    )
    assert (pair.answer.strength, pair.shown_first) == (2, "b")
    assert (binary.answer.value, binary.task.a.finished) == ("good", False)


@pytest.mark.parametrize("name", ["in.csv", "in.parquet"])
def test_tables_of_trl(sqlite_store: Store, tmp_path: Path, name: str) -> None:
    rows = [{**FOUND, "label": "true"}, {**FOUND, "prompt": json.dumps(TALK), "label": "false"}]
    (tmp_path / name).write_bytes(WRITERS[name](rows))
    import_file(sqlite_store, tmp_path / name, annotator="ann", turns=["prompt"])
    assert [(s[0], s[2]) for s in said(sqlite_store)] == [("q", "good"), (TALK, "bad")]


def test_a_spreadsheet_s_semicolons(sqlite_store: Store, tmp_path: Path) -> None:
    rows = [{**FOUND, "completion": 'a, "b"; c\nd', "label": "true"}]
    (tmp_path / "in.csv").write_bytes(separated(rows, ";"))
    import_file(sqlite_store, tmp_path / "in.csv", annotator="ann")
    assert [s[1] for s in said(sqlite_store)] == [('a, "b"; c\nd',)]


def test_a_line_of_a_megabyte(sqlite_store: Store, tmp_path: Path) -> None:
    long = "é" * 500_000
    read(sqlite_store, tmp_path, {**BETTER, "chosen": long})
    (tmp_path / "in.csv").write_bytes(separated([{**BETTER, "rejected": long}], ","))
    import_file(sqlite_store, tmp_path / "in.csv", annotator="ann")
    assert [len(s[1][0]) + len(s[1][1]) for s in said(sqlite_store)] == [500_001] * 2


def test_a_saved_dataset(sqlite_store: Store, tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    talk = {"prompt": [ASKED], "chosen": [reply("x")], "rejected": [reply("z")]}
    one = datasets.Dataset.from_list([talk] * 3)
    one.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=one, test=one.select([0])).save_to_disk(tmp_path / "two")
    report = import_file(sqlite_store, tmp_path / "one", annotator="ann")
    assert report.read_as == "TRL preference, a Hugging Face dataset"
    assert (report.read, report.new) == ({"judgement": 3}, {"judgement": 1})
    assert import_file(sqlite_store, tmp_path / "two", annotator="ann").read == {"judgement": 4}
    with pytest.raises(ValueError, match="one row 1: nobody is named who judged"):
        import_file(sqlite_store, tmp_path / "one")
    (part,) = (tmp_path / "one").glob("*.arrow")
    part.write_bytes(part.read_bytes()[:200])
    refused(sqlite_store, tmp_path / "one", "one", "damaged or cut short")
    (tmp_path / "one" / "state.json").write_text("{")
    refused(sqlite_store, tmp_path / "one", "one", "is damaged or cut short")


def cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, without waiting for one."""
    import huggingface_hub.constants

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known\n(more)")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)


def test_a_dataset_of_the_hub(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import datasets
    import huggingface_hub.constants

    cut_off(monkeypatch)
    with pytest.raises(ValueError, match="check the path, the id and the network") as caught:
        import_file(sqlite_store, Path("nobody/nothing"), annotator="ann")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("nobody/nothing is no file here")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    loaded = datasets.DatasetDict(train=datasets.Dataset.from_list([BETTER, {"prompt": "q"}]))
    monkeypatch.setattr(datasets, "load_dataset", lambda name: loaded)
    report = import_file(sqlite_store, Path("owner/name"), tmp_path / "bad", annotator="ann")
    assert (report.new, report.skipped) == ({"judgement": 1}, 1)
    with pytest.raises(ValueError, match=r"owner/name \(train\) row 2: chosen is missing"):
        import_file(sqlite_store, Path("owner/name"), annotator="ann")


# -- what is refused -----------------------------------------------------------------


GOOD_CSV = b"prompt,chosen,rejected\nq,x,y\n"
GOOD_PARQUET = parquet([BETTER])
BAD_FILES: dict[str, tuple[str, bytes, str, str]] = {
    "UTF-16 lines": ("in.jsonl", json.dumps(BETTER).encode("utf-16"), "in.jsonl:1: ", "not UTF-8"),
    "UTF-16 CSV": ("in.csv", GOOD_CSV.decode().encode("utf-16"), "in.csv:1: ", "not UTF-8"),
    "UTF-16 without its mark": (
        *("in.jsonl", json.dumps(BETTER).encode("utf-16-le"), "in.jsonl:1: "),
        "not UTF-8 (a NUL byte, as UTF-16 has them): save the file as UTF-8",
    ),
    "gzip": ("in.jsonl.gz", gzip.compress(b"{}"), "in.jsonl.gz", "packed with gzip: unpack it"),
    "a spreadsheet": ("in.xlsx", b"PK\x03\x04\0\0", "in.xlsx", "save the sheet as CSV"),
    "Latin-1 CSV": ("in.csv", GOOD_CSV + b"q,\xe9,y\n", "in.csv:3: ", "not UTF-8 (byte 0xe9)"),
    "Latin-1 array": ("in.json", b'[{"prompt":\n"\xe9"}]', "in.json:2: ", "not UTF-8"),
    "an empty file": ("in.jsonl", b"", "in.jsonl", "holds no lines"),
    "an empty CSV": ("in.csv", b"", "in.csv", "holds no rows"),
    "a CSV of names": ("in.csv", b"prompt\n", "in.csv", "holds no rows"),
    "an empty array": ("in.json", b"[]", "in.json", "holds no rows"),
    "an empty Parquet": ("in.parquet", b"", "in.parquet", "damaged or cut short"),
    "a cut Parquet": ("in.parquet", GOOD_PARQUET[:-20], "in.parquet", "damaged or cut short"),
    "a cut array": ("in.json", b'[{"prompt": "q"},\n {', "in.json:2: ", "not JSON"),
    "a deep array": ("in.json", b"[" * 100_000, "in.json", "nested too deeply"),
    "NaN": ("in.json", b'[{"prompt": NaN}]', "in.json", "NaN is no JSON number"),
    "a number in an array": ("in.json", b'[{"prompt": "q"}, 7]', "in.json row 2: ", "not an obj"),
    "too few cells": ("in.csv", GOOD_CSV + b"q,x\n", "in.csv:3: ", "2 cells under 3 columns"),
    "a cell of many lines": (
        *("in.csv", GOOD_CSV + b'q,"x\n\n",y\n"\n",\n', "in.csv:6: "),
        "2 cells under 3 columns",
    ),
    "an open quote above the end": (
        *("in.csv", GOOD_CSV + b'q,"x,y\nq,x,y\nq,x,y\n', "in.csv:3: "),
        "check the quotation marks",
    ),
    "an array of a huge number": ("in.json", b'[{"prompt": 1e999}]', "in.json", "is too large"),
    "an open quote": ("in.csv", GOOD_CSV + b'q,"x,y\n', "in.csv:3: ", "check the quotation marks"),
    "a name twice": (
        "in.csv",
        b"prompt,prompt\nq,r\n",
        "in.csv:1: ",
        '"prompt" stands there twice',
    ),
    "unknown columns": ("in.csv", b"a,b\n1,2\n", "in.csv", 'columns "a", "b" fit no known format'),
    "a column more": (
        *("in.csv", b"prompt,chosen,rejected,source\nq,x,y,z\n", "in.csv:2: "),
        'column "source" unknown in TRL preference: use prompt, chosen',
    ),
    "an empty completion": ("in.csv", GOOD_CSV + b"q,x,\n", "in.csv:3: ", "rejected is missing"),
}
BAD_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "true for a text": ({**BETTER, "chosen": True}, "chosen true not allowed: use a text"),
    "true for both": ({"chosen": True, "rejected": "x"}, "chosen true not allowed: use a text"),
    "one text twice": ({**BETTER, "rejected": "x"}, 'chosen and rejected both say "x"'),
    "no prompt": ({"chosen": "x", "rejected": "y"}, "begin differently"),
    "a margin in words": ({**BETTER, "margin": "much"}, 'margin "much" not allowed'),
    "two turns": ({**BETTER, "chosen": [reply("a"), reply("b")]}, "holds assistant, assistant"),
    "a turn without text": ({**BETTER, "chosen": [{"role": "assistant"}]}, "turn of chosen"),
    "a tool's turn": (
        {**BETTER, "chosen": [reply("x") | {"tool_calls": []}]},
        '"tool_calls" in a turn of chosen unknown',
    ),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_is_named(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    name, content, where, reason = BAD_FILES[what]
    (tmp_path / name).write_bytes(content)
    refused(sqlite_store, tmp_path / name, where, reason)


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_bad_row_is_named(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    row, reason = BAD_ROWS[what]
    refused(sqlite_store, write(tmp_path / "in", BETTER, row), "in:2: ", reason)


def test_a_pipe_is_refused_without_waiting(sqlite_store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(sqlite_store, tmp_path / "pipe", "pipe", "write the data to a file")


def test_a_number_that_no_export_can_spell(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"type": "completion", "prompt": "q", "completion": "x", "model": "m"}
    rows = [{**row, "sampling": {"top_p": float("inf")}}]
    (tmp_path / "in.parquet").write_bytes(parquet(rows))
    refused(sqlite_store, tmp_path / "in.parquet", "in.parquet row 1: ", "sampling")
    (tmp_path / "in.csv").write_bytes(separated([{**row, "sampling": '{"top_p": 1e999}'}], ","))
    refused(sqlite_store, tmp_path / "in.csv", "in.csv:2: ", "number 1e999 is too large")


def test_an_address_is_no_path(sqlite_store: Store) -> None:
    with pytest.raises(ValueError, match=r"is an address: download the file, or give"):
        import_file(sqlite_store, Path("https://huggingface.co/datasets/owner/name"))


def test_a_folder_that_is_no_dataset(sqlite_store: Store, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(sqlite_store, tmp_path / "folder", "folder", "no dataset that save_to_disk wrote")


def test_judgements_need_somebody_who_judged(sqlite_store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "in", BETTER)
    with pytest.raises(ValueError, match="in:1: nobody is named who judged: add --annotator NAME"):
        import_file(sqlite_store, file, tmp_path / "bad")
    assert import_file(sqlite_store, write(tmp_path / "in", {**BETTER, "annotator": "x"})).new


@pytest.mark.parametrize("name", WRITERS)
def test_bad_rows_of_any_file_can_be_left_out(
    sqlite_store: Store, tmp_path: Path, name: str
) -> None:
    rows = [BETTER, {**BETTER, "chosen": None}, {**BETTER, "prompt": "r"}]
    (tmp_path / name).write_bytes(WRITERS[name](rows))
    report = import_file(sqlite_store, tmp_path / name, tmp_path / "bad", annotator="ann")
    assert (report.new, report.skipped) == ({"judgement": 2}, 1)
    (bad,) = map(json.loads, (tmp_path / "bad").read_text().splitlines())
    assert "chosen is missing" in bad["reason"]
    assert json.loads(bad["text"]) == {**BETTER, "chosen": None}
