"""One person is one person, however a file spells the name."""

from __future__ import annotations

import re
import shlex
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from data.imports import ImportReport, import_file
from data.store import Store
from tests.data.imports.shapes.test_annotation_tools import external_ids
from tests.data.imports.test_import_foreign import FOUND
from tests.data.imports.test_import_lines import BINARY, write
from tests.support.commands import assert_refused, command

COMPOSED = unicodedata.normalize("NFC", "José")
DECOMPOSED = unicodedata.normalize("NFD", "José")


def load(store: Store, folder: Path, *names: str) -> ImportReport:
    rows = [{**BINARY, "annotator": name} for name in names]
    return import_file(store, write(folder / "in.jsonl", *rows))


ONE: list[tuple[str, ...]] = [
    (COMPOSED, DECOMPOSED, "josé", f" {COMPOSED} "),
    ("Ann", "ann", "ANN"),
    ("ann lee", "Ann  Lee", "ann\u00a0lee"),
    ("straße", "STRASSE"),
    ("\u1ed9", "o\u0323\u0302", "o\u0302\u0323"),
]


@pytest.mark.parametrize("names", ONE)
def test_one_person(store: Store, tmp_path: Path, names: tuple[str, ...]) -> None:
    """Under the first spelling, composed; the others are told."""
    report = load(store, tmp_path, *names)
    assert report.read == {"judgement": len(names)}
    assert [p.name for p in store.people.all()] == [names[0]]
    spelled = {name for name in names if name.strip() != names[0]}
    assert len(report.left_out) == len(spelled)
    assert all(f'read as "{names[0]}"' in reason for reason in report.left_out)
    assert load(store, tmp_path, *names).new == {"judgement": 0}


def test_an_account_keeps_its_spelling(sqlite_store: Store, tmp_path: Path) -> None:
    sqlite_store.people.add("Ann", "lead")
    load(sqlite_store, tmp_path, "ann")
    assert sqlite_store.ledger.by_annotator() == {"Ann": 1}


def test_people_who_are_two_already_stay_two(sqlite_store: Store, tmp_path: Path) -> None:
    """A store that was made before may hold both: each name is its own."""
    with sqlite_store.database.write() as connection:
        for name in ("Ann", "ann"):
            connection.exec_driver_sql(
                "INSERT INTO annotators (name, role, active, created_at)"
                f" VALUES ('{name}', 'annotator', 1, '2026-01-01T00:00:00.000000Z')"
            )
    assert load(sqlite_store, tmp_path, "Ann", "ann").left_out == {}
    assert sqlite_store.ledger.by_annotator() == {"Ann": 1, "ann": 1}


DOUBLES = [
    ("Jose", COMPOSED),
    ("ann", "аnn"),
    ("ann lee", "ann.lee"),
    ("Ann Lee", "ann_lee"),
    ("user-1", "user-l"),
]


@pytest.mark.parametrize("names", DOUBLES)
def test_a_likely_double_is_asked_about(tmp_path: Path, names: tuple[str, str]) -> None:
    one, other = names
    rows = [FOUND | {"annotator": name} for name in names]
    words = ["import", write(tmp_path / "in.jsonl", *rows), "--workspace", tmp_path]
    assert_refused(
        command("data", *words),
        f'"{other}" and "{one}" look alike',
        f"--people '{other}={one}'" if " " in one else f"--people {other}={one}",
    )
    assert command("data", *words, "--people", f"{other}={one}").returncode == 0
    with Store.open(tmp_path) as store:
        assert store.ledger.by_annotator() == {one: 1}
    assert command("data", *words, "--people", f"{other}={other}").returncode == 0
    with Store.open(tmp_path) as store:
        assert store.ledger.by_annotator() == {one: 1, other: 1}
    assert command("data", *words).returncode == 0  # they are two from now on
    assert_refused(command("data", *words, "--people", one), "--people", "write NAME=NEW")


@pytest.mark.parametrize("names", DOUBLES)
def test_an_export_is_read_with_its_doubles(
    store: Store, tmp_path: Path, names: tuple[str, str]
) -> None:
    """The exchange format holds what a store decided: two people, and a word about it."""
    (reason,) = load(store, tmp_path, *names).left_out
    assert "look alike: kept as two" in reason
    assert store.ledger.by_annotator() == dict.fromkeys(names, 1)


def test_names_that_merely_share_signs_are_not_asked_about(
    sqlite_store: Store, tmp_path: Path
) -> None:
    assert load(sqlite_store, tmp_path, "u-1-1", "u-11", "u1", "u2", "कि", "की").left_out == {}


# -- what the user says, whatever the order of the rows --------------------------------

SAID: list[tuple[tuple[str, ...], dict[str, str], list[str]]] = [
    (("Jose", COMPOSED), {"Jose": COMPOSED, COMPOSED: COMPOSED}, [COMPOSED, COMPOSED]),
    (("b", "a"), {"a": "b", "b": "c"}, ["c", "b"]),
    (("a", "b"), {"a": "b", "b": "a"}, ["b", "a"]),
    (("1", "2", "3"), {"1": "2", "2": "3", "3": "1"}, ["2", "3", "1"]),
    (("ann", "bo"), {"Ann": "Bob"}, ["Bob", "bo"]),
    (("ann", "Bob"), {"ANN": "bob"}, ["Bob", "Bob"]),
    (("x", "Jose"), {"x": COMPOSED, COMPOSED: COMPOSED}, [COMPOSED, "Jose"]),
]


@pytest.mark.parametrize(("names", "people", "stored"), SAID)
@pytest.mark.parametrize("turned", [False, True])
def test_a_name_is_looked_up_once(
    sqlite_store: Store,
    tmp_path: Path,
    names: tuple[str, ...],
    people: dict[str, str],
    stored: list[str],
    turned: bool,
) -> None:
    rows = [FOUND | {"prompt": name, "annotator": name} for name in names]
    file = write(tmp_path / "in.jsonl", *(reversed(rows) if turned else rows))
    import_file(sqlite_store, file, people=people)
    found = {j.task.a.prompt.text: j.annotator for j in sqlite_store.ledger.judgements()}
    assert [found[name].casefold() for name in names] == [name.casefold() for name in stored]


@pytest.mark.parametrize("word", ["NA", "nan", "None", "N/A", "-", "null"])
def test_a_word_for_nobody_is_asked_about(tmp_path: Path, word: str) -> None:
    (tmp_path / "in.csv").write_text(f"prompt,chosen,rejected,annotator\nq,a,b,ann\nr,a,b,{word}\n")
    words = ["import", tmp_path / "in.csv", "--workspace", tmp_path]
    said = ("--people", f"{word}={word}"), ("--people", f"{word}=")
    assert_refused(command("data", *words), *map(" ".join, said))
    assert_refused(command("data", *words, *said[1]), "add --annotator NAME")
    told = command("data", *words, *said[1], "--annotator", "x")
    assert told.returncode == 0, told.stderr
    with Store.open(tmp_path) as store:
        assert store.ledger.by_annotator() == {"ann": 1, "x": 1}
    assert command("data", *words, *said[0]).returncode == 0
    with Store.open(tmp_path) as store:
        assert store.ledger.by_annotator() == {"ann": 1, "x": 1, word: 1}
    assert command("data", *words).returncode == 0  # who is somebody from now on


@pytest.mark.parametrize(
    "names", [("Anna Lena", "Anna-Lena"), ("ann", "ann\u200b"), ("O'Neil", "O.Neil")]
)
def test_a_remedy_can_be_pasted(tmp_path: Path, names: tuple[str, str]) -> None:
    rows = [FOUND | {"annotator": name} for name in names]
    words = ["import", write(tmp_path / "in.jsonl", *rows), "--workspace", tmp_path]
    refused = command("data", *words)
    (remedy,) = re.findall(r"say (--people .*) if they are one person", refused.stderr)
    told = command("data", *words, *shlex.split(remedy))
    assert told.returncode == 0, told.stderr
    with Store.open(tmp_path) as store:
        assert store.ledger.by_annotator() == {names[0]: 1}


@pytest.mark.parametrize("name", ["in.jsonl", "in.parquet"])
def test_numbers_are_names_and_ids(sqlite_store: Store, tmp_path: Path, name: str) -> None:
    row = {"prompt": "q", "completion": "x", "label": True, "annotator": 3, "external_id": 5}
    if name == "in.jsonl":
        write(tmp_path / name, row, row | {"annotator": 3.0})
    else:
        pyarrow.parquet.write_table(pa.table({k: [v] for k, v in row.items()}), tmp_path / name)
    import_file(sqlite_store, tmp_path / name)
    (judgement,) = sqlite_store.ledger.judgements()
    assert (judgement.annotator, external_ids(sqlite_store, tmp_path)) == ("3", ["5"])


def test_a_column_that_cannot_be_printed_has_a_remedy(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", FOUND | {"annotator": "ann", "my\u200b note": 1})
    words = ["import", file, "--workspace", tmp_path]
    (remedy,) = re.findall(r"with (--columns .*)", command("data", *words).stderr)
    told = command("data", *words, *shlex.split(remedy))
    assert told.returncode == 0, told.stderr
