"""The web app's commands, and what serving prepares in a new workspace."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from data import Store, runs
from data.ports import address, listen
from data.settings import USER_ERROR
from labeler.__main__ import main
from labeler.access.auth import check_password
from labeler.jobs import Site
from labeler.serve import prepare


def run(workspace: Path, *arguments: str) -> int:
    return main([*arguments, "--workspace", str(workspace)])


def test_a_user_gets_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(tmp_path, "user", "add", "bob", "--role", "lead", "--address", "https://coach.test/")
    assert code == 0
    link = capsys.readouterr().out.split()[-1]
    base, _, token = link.partition("/welcome?token=")
    assert base == "https://coach.test"
    with Store.open(tmp_path) as store:
        invitation = store.people.invitation(token)
    assert invitation is not None and (invitation.name, invitation.role) == ("bob", "lead")


def test_a_password_may_come_from_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert run(tmp_path, "user", "add", "bob", "--role", "annotator", "--password-stdin") == 0
    with Store.open(tmp_path) as store:
        assert check_password(store, "bob", "correct horse") is not None
        assert check_password(store, "bob", "correct horse\n") is None


@pytest.mark.parametrize(
    ("typed", "arguments", "reason"),
    [
        ("short\n", ["user", "add", "x", "--role", "lead", "--password-stdin"], "use 8 or more"),
        ("", ["user", "add", " ", "--role", "lead"], "use 1 to 80 characters"),
        ("", ["simulate", "--judgements", "0"], "judgements 0 not allowed"),
        ("", ["simulate", "--annotators", "0"], "annotators 0 not allowed"),
        ("", ["serve", "--port", "99999"], "port 99999 not allowed"),
        ("", ["serve", "--host", "no.such.host.invalid"], "cannot listen"),
        ("", ["serve", "--host", "0.0.0.0", "--port", "0"], "no lead has a password yet"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: Any, capsys: Any, typed: str, arguments: list[str], reason: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert run(tmp_path, *arguments) == USER_ERROR
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and reason in error


def test_whoever_is_here_gets_another_link(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    for _ in range(2):
        assert run(tmp_path, "user", "add", "bob", "--role", "lead") == 0
    links = capsys.readouterr().out.splitlines()
    assert len(set(links)) == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO("a password\n"))
    again = ("user", "add", "bob", "--role", "lead", "--password-stdin")
    assert run(tmp_path, *again) == USER_ERROR
    assert "'bob' is taken" in capsys.readouterr().err


def test_a_new_workspace_is_made_usable_once(tmp_path: Path, monkeypatch: Any) -> None:
    launched = []

    def launch(store: Store, workspace: Path, kind: str, arguments: Any, config: Any) -> str:
        launched.append((kind, config["policy"]))
        store.runs.add("sample-1", "sample", config)
        return "sample-1"

    monkeypatch.setattr(runs, "launch", launch)
    with Store.open(tmp_path) as store:
        site = Site(store, tmp_path, "a/model")
        prepare(site)
        prepare(site)
        counts = store.content.counts()
        assert counts.prompts >= 240 and counts.demonstrations >= 160
        assert store.people.guidelines() is not None
    assert launched == [("sample", "a/model")]


def test_a_taken_port_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=rf"127.0.0.1:{port}.*--port"):
            listen("127.0.0.1", port)


def test_the_address_can_be_opened() -> None:
    assert address("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert address("::1", 80) == "http://[::1]:80"
