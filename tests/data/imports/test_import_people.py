"""One person is one person, however a file spells the name."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from data.imports import ImportReport, import_file
from data.store import Store
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
