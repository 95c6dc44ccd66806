"""What a cell says, and what a file holds: lists in texts, floats, index columns, JSON's forms."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from data.imports import ImportReport, import_file
from data.imports.cells import read_python
from data.store import Store
from tests.data.imports.test_import_foreign import ASKED, BETTER, reply, said
from tests.data.imports.test_import_lines import write

PEOPLE = '[{"name": "Bo", "age": 3}]'
JSON_TURN = '[{"role": "assistant", "content": "x"}]'
PYTHON_TURN = "[{'role': 'assistant', 'content': \"it's\\nx\"}]"
NUMPY_TURNS = "[{'content': 'a', 'role': 'user'}\n {'content': 'b', 'role': 'assistant'}]"


def sheet(*rows: dict[str, Any]) -> bytes:
    text = io.StringIO()
    made = csv.DictWriter(text, list(rows[0]))
    made.writeheader()
    made.writerows(rows)
    return text.getvalue().encode()


def columns(*rows: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({c: [row[c] for row in rows] for c in rows[0]}), sink)
    return sink.getvalue()


def load(
    store: Store, folder: Path, name: str, content: bytes | str, **settings: Any
) -> ImportReport:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return import_file(store, folder / name, **{"annotator": "ann", **settings})


# -- lists and conversations that are spelled as text ------------------------------------


@pytest.mark.parametrize("text", [PEOPLE, "['a', 'b']", "{'a': 1}", '[{"role": "admin"}]', "[{"])
@pytest.mark.parametrize("name", ["in.csv", "in.parquet", "in.jsonl"])
def test_a_list_is_a_text(sqlite_store: Store, tmp_path: Path, name: str, text: str) -> None:
    row = {**BETTER, "chosen": text}
    make = {"in.csv": sheet, "in.parquet": columns}.get(name)
    content = make(row) if make else json.dumps(row).encode()
    assert load(sqlite_store, tmp_path, name, content).left_out == {}
    assert said(sqlite_store)[0][1] == (text, "y")


@pytest.mark.parametrize("text", [JSON_TURN, PYTHON_TURN, NUMPY_TURNS, f" {JSON_TURN}"])
def test_turns_in_csv_are_asked_about(sqlite_store: Store, tmp_path: Path, text: str) -> None:
    row = {"prompt": "q", "chosen": text, "rejected": text.replace("x", "y").replace("b", "c")}
    with pytest.raises(ValueError, match=r"--turns chosen rejected .* or --texts chosen rej"):
        load(sqlite_store, tmp_path, "in.csv", sheet(row), skip_bad=tmp_path / "bad")
    load(sqlite_store, tmp_path, "in.csv", sheet(row), texts=["chosen", "rejected"])
    assert said(sqlite_store)[0][1] == (row["chosen"], row["rejected"])


def test_turns_are_read_where_the_user_says_so(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"prompt": str([ASKED]), "chosen": JSON_TURN, "rejected": PYTHON_TURN}
    turns = ["prompt", "chosen", "rejected"]
    load(sqlite_store, tmp_path, "in.csv", sheet(row, {**row, **BETTER}), turns=turns)
    found = [("q", ("x", "it's\nx"), "a", "ann"), ("q", ("x", "y"), "a", "ann")]
    assert said(sqlite_store) == found
    with pytest.raises(ValueError, match="named by --turns and by --texts"):
        load(sqlite_store, tmp_path, "in.csv", sheet(row), turns=turns, texts=["prompt"])
    row["prompt"] = "[{'role': 'user', 'content': array(['q'])}]"
    with pytest.raises(ValueError, match=r"in\.csv:2: prompt .* spells no list"):
        load(sqlite_store, tmp_path, "in.csv", sheet(row), turns=turns)


@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl"])
def test_a_column_of_texts_holds_texts(sqlite_store: Store, tmp_path: Path, name: str) -> None:
    """Kept as they are, and told, since they may be conversations all the same."""
    row = {**BETTER, "chosen": JSON_TURN}
    content = columns(row) if name == "in.parquet" else json.dumps(row).encode()
    (reason,) = load(sqlite_store, tmp_path, name, content).left_out
    assert "--turns chosen" in reason
    load(sqlite_store, tmp_path, name, content, turns=["chosen"])
    assert [s[1] for s in said(sqlite_store)] == [(JSON_TURN, "y"), ("x", "y")]


def test_the_exchange_format_says_what_is_a_text(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"type": "completion", "prompt": JSON_TURN, "completion": JSON_TURN}
    load(sqlite_store, tmp_path, "in.jsonl", json.dumps(row))
    with pytest.raises(ValueError, match="--turns prompt to read turns"):
        load(sqlite_store, tmp_path, "in.csv", sheet(row))
    load(sqlite_store, tmp_path, "in.csv", sheet(row), texts=["prompt"])
    assert sqlite_store.content.texts() == [JSON_TURN]
    tags = {"type": "prompt", "prompt": "q"}
    rows = [{**tags, "tags": t, "prompt": t} for t in ("['a', 'b']", "['a' 'b']", '["a", "b"]')]
    load(sqlite_store, tmp_path, "in.csv", sheet(*rows))
    assert [p.tags for p in sqlite_store.content.prompts() if p.tags] == [("a", "b")] * 3


SPELLED: list[tuple[str, object]] = [
    ("[{'a': 'b'}\n {'a': None}]", [{"a": "b"}, {"a": None}]),
    ("['yes' 'no']", ["yes", "no"]),
    ("[1 2. 3]", [1, 2.0, 3]),
    ("[['a'] ['b' \"c\"]]", [["a"], ["b", "c"]]),
    ("[('a', True)]", [["a", True]]),
    ("['it\\'s' 'a\\n b']", ["it's", "a\n b"]),
    ("array(['a'])", None),
    ("[nan]", None),
    ("[{1: 2}]", None),
    ("['a' ...]", None),
    ("__import__('os')", None),
    ("[b'x']", None),
    ("['a", None),
    ("[" * 10_000, None),
    ("", None),
]


@pytest.mark.parametrize(("text", "value"), SPELLED)
def test_python_and_numpy(text: str, value: object) -> None:
    assert read_python(text) == value


# -- numbers, flags, index columns -------------------------------------------------------


@pytest.mark.parametrize("name", ["in.csv", "in.parquet", "in.jsonl"])
def test_whole_floats_are_whole_numbers(sqlite_store: Store, tmp_path: Path, name: str) -> None:
    common = {"type": "judgement", "prompt": "q", "annotator": "ann"}
    pair = {**common, "kind": "pairwise", "completion_a": "x", "completion_b": "y", "value": "a"}
    pair |= {"strength": 2.0, "guidelines_version": 1.0}
    single = {**common, "kind": "scalar", "completion": "x", "value": 7.0}
    for number, row in enumerate((pair, single)):
        cells = row if name == "in.jsonl" else row | {"value": str(row["value"])}
        make = {"in.csv": sheet, "in.parquet": columns}.get(name)
        content = make(cells) if make else json.dumps(row).encode()
        load(sqlite_store, tmp_path, f"{number}{name}", content)
    compared, rated = sqlite_store.ledger.judgements()
    assert (compared.answer.strength, rated.answer.value) == (2, "7")


@pytest.mark.parametrize("label", ["1.0", "1", "True", "true", " TRUE"])
def test_flags_of_tables(sqlite_store: Store, tmp_path: Path, label: str) -> None:
    rows = [{"prompt": "q", "completion": "x", "label": label}]
    load(
        sqlite_store,
        tmp_path,
        "in.csv",
        sheet(*rows, {**rows[0], "completion": "y", "label": "0.0"}),
    )
    assert [s[2] for s in said(sqlite_store)] == ["good", "bad"]


INDEXES: dict[str, tuple[str, bytes, int]] = {
    "of no name": ("in.csv", b",prompt\n0,a\n1,b\n", 2),
    "saved twice": ("in.csv", b",Unnamed: 0,prompt\n0,0,a\n", 2),
    "reset": ("in.csv", b"level_0,index,prompt\n0,5,a\n", 2),
    "of Parquet": ("in.parquet", columns({"prompt": "a", "__index_level_0__": 3}), 1),
    "of a JSON table": ("in.json", b'{"schema": {}, "data": [{"index": 0, "prompt": "a"}]}', 1),
    "none: commas at the end": ("in.csv", b"prompt,,\na,,\n", 0),
}


@pytest.mark.parametrize("what", INDEXES)
def test_an_index_is_left_out_and_counted(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    name, content, count = INDEXES[what]
    report = load(sqlite_store, tmp_path, name, content)
    assert sum(report.left_out.values()) == count
    assert all("of pandas" in reason for reason in report.left_out)
    assert {p.text for p in sqlite_store.content.prompts()} <= {"a", "b"}


UNNAMED: list[tuple[bytes, str]] = [
    (b",prompt\nrow a,q\n", 'column "" holds "row a": give it a name, or leave it out'),
    (b"prompt,,\nq,1,2\n", '"2" stands under a column without a name'),
]


@pytest.mark.parametrize(("content", "reason"), UNNAMED)
def test_a_column_without_a_name_is_asked_about(
    sqlite_store: Store, tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(ValueError) as caught:
        load(sqlite_store, tmp_path, "in.csv", content)
    assert reason in str(caught.value)
    row = b",prompt\nrow a,q\n"
    assert load(sqlite_store, tmp_path, "in.csv", row, columns={"": ""}).new == {"prompt": 1}


def test_a_recipe_reads_the_rows_as_they_are(sqlite_store: Store, tmp_path: Path) -> None:
    def numbered(row: dict[str, Any], _: Any) -> list[dict[str, Any]]:
        return [{"type": "prompt", "prompt": row["question"], "external_id": str(row["index"])}]

    content = b"index,question\n3,[{'role': 'user'}]\n"
    load(sqlite_store, tmp_path, "in.csv", content, recipe=numbered)
    (prompt,) = sqlite_store.content.prompts()
    assert prompt.external_id == "3"


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_spreadsheet_s_first_line(sqlite_store: Store, tmp_path: Path, first: str) -> None:
    content = f"{first}\r\nprompt;chosen;rejected\r\nq;x,y,z;w\r\n"
    load(sqlite_store, tmp_path, "in.csv", content)
    assert [s[1] for s in said(sqlite_store)] == [("x,y,z", "w")]
    with pytest.raises(ValueError, match=r"in\.csv:4: 1 cells under 3 columns"):
        load(sqlite_store, tmp_path, "in.csv", content + "q\r\n")


def test_an_empty_cell_of_csv_is_a_missing_one(sqlite_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'in\.csv:2: rejected is missing: .* "" is an empty ans'):
        load(sqlite_store, tmp_path, "in.csv", sheet({**BETTER, "rejected": ""}))
    load(sqlite_store, tmp_path, "in.parquet", columns({**BETTER, "rejected": ""}))
    load(sqlite_store, tmp_path, "in.jsonl", json.dumps({**BETTER, "prompt": "r", "rejected": ""}))
    assert [s[1] for s in said(sqlite_store)] == [("x", ""), ("x", "")]


@pytest.mark.parametrize(
    ("cell", "value"), [(".5", "5"), ("+3", "10"), ("07", "10"), ("1e0", "10"), ("x", "")]
)
def test_numbers_as_tables_spell_them(
    sqlite_store: Store, tmp_path: Path, cell: str, value: str
) -> None:
    row = {"type": "judgement", "kind": "scalar", "prompt": "q", "completion": "x", "value": cell}
    if not value:
        with pytest.raises(ValueError, match="use a number"):
            load(sqlite_store, tmp_path, "in.csv", sheet(row), scale=["0..1"])
        return
    most = {"+3": "3", "07": "7"}.get(cell, "1")
    load(sqlite_store, tmp_path, "in.csv", sheet(row), scale=[f"0..{most}"])
    assert said(sqlite_store)[0][2] in (value, "6")


@pytest.mark.parametrize("empty", [b",,\n", b",\n", b" ,,\n", b",,,,,\n"])
def test_empty_rows_are_counted(sqlite_store: Store, tmp_path: Path, empty: bytes) -> None:
    content = b"prompt,chosen,rejected\n" + b"q,a,b\n" + empty + empty
    report = load(sqlite_store, tmp_path, "in.csv", content)
    assert (report.new, report.left_out) == ({"judgement": 1}, {"empty row": 2})


# -- JSON in other forms than lines --------------------------------------------------------


PROMPTS = [{"prompt": "a?"}, {"prompt": "b?"}]
FORMS: dict[str, tuple[str, str, str]] = {
    "a list in .jsonl": ("in.jsonl", json.dumps(PROMPTS, indent=1), "a JSON array"),
    "a list on one line": ("in.jsonl", json.dumps(PROMPTS), "a JSON array"),
    "a list, a row a line": ("in.jsonl", '[{"prompt": "a?"},\n{"prompt": "b?"}]', "a JSON array"),
    "an object around a list": ("in.json", json.dumps({"data": PROMPTS}), '"data" of a JSON obj'),
    "more beside the list": (
        "in.json",
        json.dumps({"version": 1, "data": PROMPTS}, indent=1),
        'not taken over beside it: "version"',
    ),
    "two objects around it": ("in.json", json.dumps({"set": {"rows": PROMPTS}}), '"rows" of a JS'),
    "a list for each split": (
        "in.json",
        json.dumps({"train": PROMPTS[:1], "test": PROMPTS[1:]}),
        '"train" and "test" of a JSON object',
    ),
    "columns by number": ("in.json", '{"prompt": {"0": "a?", "1": "b?"}}', "JSON by columns"),
    "columns as lists": ("in.json", '{"prompt": ["a?", "b?"]}', "JSON by columns"),
    "columns in .jsonl": ("in.jsonl", '{"prompt": ["a?", "b?"]}', "JSON by columns"),
    "rows by number": ("in.json", json.dumps({"0": PROMPTS[0], "1": PROMPTS[1]}), "JSON by rows"),
    "names and cells": (
        "in.json",
        '{"columns": ["prompt"], "index": [0, 1], "data": [["a?"], ["b?"]]}',
        "a JSON table",
    ),
    "rows of the hub's viewer": (
        "in.json",
        json.dumps({"features": [{}], "rows": [{"row_idx": 0, "row": row} for row in PROMPTS]}),
        "a JSON table",
    ),
    "objects over several lines": (
        "in.json",
        "\n".join(json.dumps(row, indent=1) for row in PROMPTS),
        "JSON objects",
    ),
    "lines": ("in.json", "\n".join(map(json.dumps, PROMPTS)), "JSON lines"),
}


@pytest.mark.parametrize("what", FORMS)
def test_every_form_of_json(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    name, content, kind = FORMS[what]
    report = load(sqlite_store, tmp_path, name, content)
    assert kind in report.read_as
    assert {p.text for p in sqlite_store.content.prompts()} == {"a?", "b?"}


ROWS: list[dict[str, Any]] = [
    {"messages": [ASKED, reply("x")]},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "x"}]},
    {"prompt": [ASKED], "chosen": [reply("x")], "rejected": [reply("y")]},
    {"prompt": "q", "tags": ["t"]},
    {"id": 1, "data": {"prompt": "q", "answer": "x"}, "annotations": []},
    {"fields": {"prompt": "q", "response": "x"}, "responses": {}},
]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("row", ROWS)
def test_an_object_that_is_a_row_is_one(
    sqlite_store: Store, tmp_path: Path, row: dict[str, Any], indent: int | None
) -> None:
    report = load(sqlite_store, tmp_path, "in.json", json.dumps(row, indent=indent))
    assert sum(report.read.values()) == 1


def test_a_line_that_holds_a_list_is_a_row(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"q": "q", "chosen_text": "x", "rejected_text": "y", "steps": [{"prompt": "other"}]}
    names = {"q": "prompt", "chosen_text": "chosen", "rejected_text": "rejected"}
    with pytest.raises(ValueError, match="--columns steps="):
        load(sqlite_store, tmp_path, "in.jsonl", json.dumps(row), columns=names)
    load(sqlite_store, tmp_path, "in.jsonl", json.dumps(row), columns=names | {"steps": ""})
    assert [s[1] for s in said(sqlite_store)] == [("x", "y")]


BAD_JSON: list[tuple[str, str]] = [
    ('{\n "prompt": "a?"', "in.json:2: not JSON (Expecting ',' delimiter"),
    ('{\n "prompt": "a?"\n}\n{\n "prompt"', "in.json:5: not JSON"),
    ('{"data": [[1]]}', '"data" fit no known format'),
    ("{}", "the first row holds nothing"),
    ('{"data": []}', "in.json holds no rows"),
    ("[[1]]", "in.json row 1: [1] is not an object"),
    ('{\n"a": ' + "[" * 100_000, "nested too deeply"),
    ('{\n"prompt": "a",\n"prompt": "b"}', '"prompt" stands twice in one object'),
]


@pytest.mark.parametrize(("content", "reason"), BAD_JSON)
def test_json_that_is_no_table(
    sqlite_store: Store, tmp_path: Path, content: str, reason: str
) -> None:
    with pytest.raises(ValueError) as caught:
        load(sqlite_store, tmp_path, "in.json", content)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_first_line_is_one_bad_line(sqlite_store: Store, tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", b"{'prompt': 1}", *PROMPTS)
    report = import_file(sqlite_store, tmp_path / "in.jsonl", tmp_path / "bad")
    assert (report.new, report.skipped) == ({"prompt": 2}, 1)
