"""What names a store: every folder its own store, and no password in any message."""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.__main__ import main
from data.places.store_address import (
    full_address,
    parse_address,
    show_address,
    without_secrets,
)
from data.store import Store
from tests.support.commands import assert_refused, command

NAMES = ["q?a", "q?b", "q?a=b", "p%20q", "a b", "a#b", "é ü", "it's", 'a"b', "a&b=c", "a@b:c"]
NAMES += [":memory:", "~x"]


def test_each_folder_holds_its_own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        for made in (0, 1):  # made, then opened again by what a child process is handed
            folder = Path("./" + name) if not made else tmp_path / name
            with Store.open(tmp_path / name if name.startswith("~") else folder) as store:
                store.people.add(f"{name} {made}", "lead")
            with Store.open(store.url) as again:
                assert len(again.people.all()) == made + 1, name
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert all((tmp_path / name / "store.db").is_file() for name in NAMES)


@pytest.mark.parametrize("name", ["x?a=b.db", "a b.db", "50%.db", "x.sqlite"])
def test_a_file_by_path_and_by_url_is_one_store(tmp_path: Path, name: str) -> None:
    with Store.open(f"sqlite:///{tmp_path}/y {name.replace('=', '-')}") as store:
        store.people.add("ann", "lead")
        with Store.open(store.url) as again:
            assert [person.name for person in again.people.all()] == ["ann"]
        assert store.shown == f"sqlite:///{tmp_path}/y {name.replace('=', '-')}"
    assert parse_address("sqlite:///x.db?timeout=5").query == {"timeout": "5"}


def test_a_home_folder_is_spelled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert command("data", "init", "--workspace", "~/mine").returncode == 0
    assert (tmp_path / "mine" / "store.db").is_file()
    assert_refused(command("data", "init", "--workspace", "~nobody-at-all/x"), "whole path")
    assert_refused(command("data", "init", "--workspace", "x" * 300), "too long", "--workspace")


def test_a_store_is_its_owners_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "parent" / "new") as store:
        store.people.add("ann", "lead")
        files = list((tmp_path / "parent" / "new").iterdir())
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "parent" / "new").stat().st_mode) == 0o700
    (tmp_path / "shared").mkdir(mode=0o750)
    Store.open(tmp_path / "shared").close()
    (tmp_path / "shared" / "store.db").chmod(0o640)
    Store.open(tmp_path / "shared").close()
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "shared").iterdir()]
    assert modes == [0o640]
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o750


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgre://ann:pa/s3cret@db.example.org/coach", "postgresql://USER@HOST/NAME"),
        ("postgresql://ann:s3@cret@127.0.0.1:1/coach", "@ as %40, / as %2F"),
        ("postgresql://ann:s3cret@127.0.0.1:5x432/coach", "'5x432'"),
        ("postgresql://ann:s3cret/coach", "port number"),
        ("postgresql://127.0.0.1:s3cret/coach", "port number"),
        ("postgresql://ann@127.0.0.1:s3cret/coach", "port number"),
        ("postgresql://ann:s3%00cret@127.0.0.1:1/coach", "NUL"),
        ("postgresql://ann:s3cret@[::1/coach", ""),
        ("postgresql+nope://ann:s3cret@127.0.0.1/coach", "postgresql://USER@HOST/NAME"),
        ("postgresql+asyncpg://ann:s3cret@127.0.0.1/coach", "use postgresql://"),
        ("mysql://ann:s3cret@127.0.0.1/coach", "postgresql://USER@HOST/NAME"),
        ("jdbc:postgresql://ann:s3cret@127.0.0.1/coach", "postgresql://USER@HOST/NAME"),
        ("postgresql:/ann:s3cret@127.0.0.1/coach", "postgresql://USER@HOST/NAME"),
        ("//ann:s3cret@127.0.0.1/coach", "postgresql://USER@HOST/NAME"),
        ("ann:s3cret@127.0.0.1/coach", "postgresql://USER@HOST/NAME"),
        ("host=127.0.0.1 password=s3cret", "postgresql://USER@HOST/NAME"),
        ("Host=127.0.0.1;Username=ann;Password=s3cret", "postgresql://USER@HOST/NAME"),
        ("Server=127.0.0.1;Pwd=s3cret", "postgresql://USER@HOST/NAME"),
        ("PGPASSWORD=s3cret psql", "postgresql://USER@HOST/NAME"),
        ("sqlite://ann:s3cret@127.0.0.1/coach", "sqlite:///PATH"),
        ("sqlite+aiosqlite:///ann:s3cret@x.db", "sqlite:///PATH"),
        ("postgresql://ann:s3cret@127.0.0.1:1/coach", "ann:***@127.0.0.1:1"),
        ("postgresql://127.0.0.1:1/coach?user=ann&password=s3cret", "password=***"),
        ("postgresql://ann:s3/?#%cret@127.0.0.1:1/coach", "ann:***@127.0.0.1:1"),
    ],
)
def test_no_password_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    by_flag = command("data", "init", "--store", url)
    monkeypatch.setenv("COACH_STORE", url)
    for outcome in (by_flag, command("data", "stats")):
        if not url.startswith("sqlite+"):  # there it is a path
            assert "cret" not in outcome.stderr + outcome.stdout and "s3" not in outcome.stderr
        assert_refused(outcome, said)
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_flag_or_place_shows_none(tmp_path: Path) -> None:
    url = "postgresql://ann:s3cret@127.0.0.1/coach"
    for words in (["--stor", url], ["--json", "maybe", "--store", url], ["--workspace", url]):
        outcome = command("data", "stats", *words)
        assert outcome.returncode == 2 and "s3cret" not in outcome.stderr, words
        assert outcome.stderr.startswith("error: ")


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12))
def test_any_password_is_read_and_hidden(password: str) -> None:
    from urllib.parse import quote

    url = parse_address(f"postgresql://ann:{quote(password, safe='')}@db.example.org/coach")
    assert (url.password, url.host) == (password, "db.example.org")
    assert show_address(url) == "postgresql+psycopg://ann:***@db.example.org/coach"
    assert parse_address(full_address(url)) == url
    if len(password) > 3 and password not in "FATAL: ***":
        assert password not in without_secrets(f"FATAL: {password!s}", url)


def test_output_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    Store.open(tmp_path).close()
    for words in (["stats", "--workspace", str(tmp_path)], ["--help"], ["stats", "--help"]):
        with patch.multiple(sys, stdout=Closed(), stderr=Closed(), argv=["data", *words]):
            assert main() == 141, words
