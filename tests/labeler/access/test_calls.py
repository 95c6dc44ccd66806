"""What is sent wrong, or while the store is away, is answered in words; and what is kept of it."""

from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from data.store import Store
from data.store.database import Database
from labeler.access.auth import COOKIE
from labeler.access.uploads import Uploads
from labeler.app import build_app
from tests.support.labeler_helpers import PASSWORD, add_person, open_store


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def store(workspace: Path) -> Iterator[Store]:
    with open_store(workspace, prompts=1) as opened:
        add_person(opened, "lena", "lead")
        yield opened


@pytest.fixture(scope="module")
def app(store: Store, workspace: Path) -> Any:
    return build_app(store, workspace, "m")


@pytest.fixture
def client(app: Any) -> TestClient:
    """A lead, signed in; what the app raises is an answer of 500 here."""
    opened = TestClient(app, follow_redirects=False, raise_server_exceptions=False)
    opened.post("/sign-in", data={"name": "lena", "password": PASSWORD})
    return opened


PREDICT = "/lead/gradio_api/run/predict"


@pytest.mark.parametrize(
    "changes",
    [
        *({"fn_index": index} for index in (-1, 10**6, 10**30, 1.5, "0", None, True, [0])),
        *({"data": data} for data in (None, {}, "x", [], [[]])),
        {"batched": True},
        *({"data": [number] * 99} for number in (1e308, -(10**40))),
        *({key: value} for key in ("session_hash", "trigger_id") for value in ([], {})),
    ],
    ids=str,
)
def test_a_call_that_cannot_be_understood_is_a_clear_4xx(client: TestClient, changes: Any) -> None:
    handlers = client.get("/lead/config").json()["dependencies"]
    long = next(d for d in handlers if d["backend_fn"] and len(d["inputs"]) > 5)
    body = {"fn_index": long["id"], "data": [None] * 99, "session_hash": "abc", **changes}
    answer = client.post(PREDICT, json=body)
    assert 400 <= answer.status_code < 500
    assert len(answer.text) < 500 and "Traceback" not in answer.text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"\xff", b'{"fn_index": NaN}', b"[" * 100_000, b"1" * 5000]
)
def test_no_json_is_a_clear_4xx(client: TestClient, body: bytes) -> None:
    answer = client.post(PREDICT, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["error"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(28, "No space left on device"), 503, "disk is full"),
        (KeyError("x"), 400, "no file"),
    ],
)
def test_a_file_that_cannot_be_taken_is_told(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Any, code: int, said: str
) -> None:
    monkeypatch.setattr("gradio.routes.upload_fn", Mock(side_effect=error))
    answer = client.post("/lead/gradio_api/upload", files={"files": ("x", b"x")})
    assert answer.status_code == code and said in answer.json()["error"]


def test_a_file_without_a_name_is_told(client: TestClient) -> None:
    answer = client.post("/lead/gradio_api/upload", files={"files": ("", b"x")})
    assert answer.status_code == 400 and "Traceback" not in answer.text


def test_numbers_that_are_none_reach_no_handler(client: TestClient) -> None:
    for spelled in ("NaN", "Infinity", "-Infinity", "1e999"):
        for handler in client.get("/lead/config").json()["dependencies"]:
            if handler["backend_fn"] and handler["inputs"]:
                values = ",".join([spelled] * len(handler["inputs"]))
                body = f'{{"fn_index": {handler["id"]}, "data": [{values}], "session_hash": "a"}}'
                answer = client.post(PREDICT, content=body.encode())
                assert answer.status_code == 400 and "number" in answer.json()["error"]


def test_no_value_of_a_wrong_type_is_a_500(client: TestClient) -> None:
    for handler in client.get("/lead/config").json()["dependencies"]:
        for value in ({}, [1], -1, 10**14, "x", True):
            body = {"fn_index": handler["id"], "data": [value] * len(handler["inputs"])}
            assert client.post(PREDICT, json=body | {"session_hash": "a"}).status_code < 500


FULL = sqlite3.OperationalError("database or disk is full")
LOCKED = sqlite3.OperationalError("database is locked")


@pytest.mark.parametrize(
    ("error", "said"), [(FULL, "disk is full"), (LOCKED, "has locked the store")]
)
@pytest.mark.parametrize("kind", ["write", "read"])
def test_signing_in_and_out_without_the_store_is_a_page_in_words(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, error: Any, said: str, kind: str
) -> None:
    def fails(_: Database) -> Any:
        raise OperationalError("INSERT", None, error)

    monkeypatch.setattr(Database, kind, fails)
    form = {"name": "lena", "password": PASSWORD}
    asked = [("/sign-in", form), ("/sign-out", {}), ("/welcome", {"token": "x", **form})]
    for path, data in asked:
        if path == "/welcome" and kind == "write":
            continue  # an unknown token is refused before
        answer = client.post(path, data=data, headers={"accept": "text/html"})
        assert answer.status_code == 503, path
        assert said in answer.text and "<h1>" in answer.text and "INSERT" not in answer.text
        assert "content-security-policy" in answer.headers
        if path == "/sign-out":
            assert 'coach_session="";' in answer.headers["set-cookie"]
    if kind == "read":
        for path in ("/lead/", "/label/", "/"):
            page = client.get(path, headers={"accept": "text/html"})
            assert page.status_code == (503 if COOKIE in client.cookies else 303), path
        assert client.get("/sign-in").status_code == 200
        assert client.get("/static/coach.css").status_code == 200


def test_pages_go_out_compressed_and_streams_do_not(client: TestClient) -> None:
    page = client.get("/lead/")
    assert page.headers["content-encoding"] == "gzip" and len(page.text) > 100_000
    assert int(page.headers["content-length"]) < len(page.text) / 5
    for path in ("/static/coach.css", "/static/label.js", "/lead/theme.css"):
        assert client.get(path).headers["content-encoding"] in ("gzip", "br"), path
    for path in ("/lead/config", "/static/icon.svg"):
        assert "content-encoding" not in client.get(path).headers
    plain = client.get("/lead/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.text == page.text


def send(client: TestClient, name: str, line: str) -> Path:
    files = {"files": (name, line.encode())}
    return Path(client.post("/lead/gradio_api/upload", files=files).json()[0])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_sent_is_its_owners_and_goes_with_the_session(store: Store, tmp_path: Path) -> None:
    with Store.open(tmp_path) as own:
        add_person(own, "lena", "lead")
        app = build_app(own, tmp_path, "m")
        client = TestClient(app, follow_redirects=False)
        client.post("/sign-in", data={"name": "lena", "password": PASSWORD})
        sent = send(client, "private.jsonl", '{"type": "prompt", "prompt": "Private?"}\n')
        assert sent.is_relative_to(tmp_path / "uploads") and mode(sent) == 0o600
        assert mode(tmp_path / "uploads") == mode(app.state.uploads.folder) == 0o700
        client.post("/sign-out")
        assert not sent.exists()
        app.state.uploads.close()
        assert list((tmp_path / "uploads").iterdir()) == []


def test_what_dead_servers_left_is_removed_and_what_living_ones_hold_stays(tmp_path: Path) -> None:
    dead = tmp_path / "uploads" / "0123456789abcdef"
    dead.mkdir(parents=True)
    (dead / "x.jsonl").write_text(json.dumps({}))
    one = Uploads(tmp_path)
    (one.folder / "kept.jsonl").write_text("")
    other = Uploads(tmp_path)
    assert {p.name for p in (tmp_path / "uploads").iterdir()} == {
        one.folder.name,
        other.folder.name,
    }
    one.close()
    other.close()
