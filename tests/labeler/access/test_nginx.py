"""Behind a real nginx, by the configuration of the docs: below a path, and by its own host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from data import runs
from data.store import Store
from labeler.access.proxy import networks_of
from labeler.app import build_app
from labeler.simulate import find_app
from tests.labeler.access.nginx import documented, needs_nginx, proxied, running
from tests.support.browser import free_port
from tests.support.labeler_helpers import (
    PASSWORD,
    add_person,
    add_tasks,
    open_store,
    wait_for_runs,
)

pytestmark = needs_nginx
FILE = {"meta": {"_type": "gradio.FileData"}}


@dataclass(frozen=True)
class Behind:
    """The app as people reach it."""

    origin: str
    root: str
    store: Store
    receipt: str
    workspace: Path


@pytest.fixture(params=["a host of its own", "path kept", "path stripped"], scope="module")
def behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Behind]:
    workspace, folder = tmp_path_factory.mktemp("q?a %20"), tmp_path_factory.mktemp("nginx")
    root = "" if request.param == "a host of its own" else "/coach"
    with open_store(workspace) as store:
        add_person(store, "lena", "lead")
        add_tasks(store, "pairwise", 3)
        run_id = runs.new_run(store, workspace, "reward", {})
        (runs.runs_folder(workspace) / run_id / "receipt.html").write_text("<p>the receipt")
        store.runs.end(run_id, "finished", "")
        app = build_app(store, workspace, "m", root, networks_of(["127.0.0.1"]))
        port = free_port()
        with running(app) as app_port:
            server = documented(port, app_port).replace("location /", f"location {root}/")
            if request.param == "path stripped":
                server = server.replace(f":{app_port};", f":{app_port}/;")
            with proxied(folder, port, server) as origin:
                receipt = f"receipts/{run_id}/receipt.html"
                yield Behind(origin, root, store, receipt, workspace)


@pytest.fixture
def client(behind: Behind) -> Iterator[httpx.Client]:
    """A lead, signed in."""
    headers = {"origin": behind.origin, "accept": "text/html, */*"}
    with httpx.Client(base_url=behind.origin + behind.root, headers=headers) as opened:
        said = opened.post("/sign-in", data={"name": "lena", "password": PASSWORD})
        assert said.status_code == 303 and said.headers["location"] == f"{behind.root}/lead/"
        assert f"Path={behind.root or '/'};" in said.headers["set-cookie"]
        yield opened


def links(page: str, address: str) -> list[str]:
    parts = page.replace("'", '"').split('"')
    marks = ("src=", "href=", "action=")
    found = [after for before, after in pairwise(parts) if before.endswith(marks)]
    return [urljoin(address, link) for link in found if not link.startswith(("data:", "http"))]


def test_every_link_leads_back_into_the_app(behind: Behind, client: httpx.Client) -> None:
    stranger = httpx.get(f"{behind.origin}{behind.root}/", follow_redirects=True)
    assert stranger.url == f"{behind.origin}{behind.root}/sign-in"
    for page in (stranger, client.get("/label/"), client.get("/lead/")):
        found = links(page.text, str(page.url))
        assert len(found) > 2
        for link in found:
            if link.endswith("/manifest.json"):  # Gradio's, at the host's root: our policy bars it
                assert "manifest-src 'none'" in page.headers["content-security-policy"]
                continue
            assert link.startswith(f"{behind.origin}{behind.root}/"), link
            if not link.endswith(("/sign-in", "/sign-out")):
                assert client.get(link).status_code == 200, link


def test_a_judgement_arrives(behind: Behind, client: httpx.Client) -> None:
    before = len(behind.store.ledger.judgements())
    task = client.post("/rate/tasks").json()["tasks"][0]
    body = {"assignment": task["assignment"], "token": task["token"], "value": "a"}
    assert client.post("/rate/answer", json=body).status_code == 200
    assert len(behind.store.ledger.judgements()) == before + 1


def test_the_lead_page_comes_compressed_and_its_events_stream(
    behind: Behind, client: httpx.Client
) -> None:
    page = client.get("/lead/")
    assert page.headers["content-encoding"] == "gzip"
    assert int(page.headers.get("content-length", 0)) < 80_000
    config = client.get("/lead/config").json()
    assert config["root"] == f"{behind.origin}{behind.root}/lead"
    with client.stream("GET", "/lead/gradio_api/heartbeat/abc") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in events.headers
        assert "ALIVE" in next(events.iter_text())


def test_a_file_is_sent_and_removed_once_read(behind: Behind, client: httpx.Client) -> None:
    line = json.dumps({"type": "prompt", "prompt": f"Sent to {behind.root}?"}).encode() + b"\n"
    path = client.post("/lead/gradio_api/upload", files={"files": ("p.jsonl", line)}).json()[0]
    sent = Path(path)
    assert sent.is_relative_to(behind.workspace / "uploads") and sent.stat().st_mode & 0o77 == 0
    config = client.get("/lead/config").json()
    for handler in (d for d in config["dependencies"] if d["backend_fn"] and len(d["inputs"]) == 3):
        file = {"path": path, "orig_name": "p.jsonl", **FILE}
        body = {"fn_index": handler["id"], "data": [file, "", ""], "session_hash": "abc"}
        client.post("/lead/gradio_api/run/predict", json=body)
    wait_for_runs(behind.store, behind.workspace)
    assert f"Sent to {behind.root}?" in [p.text for p in behind.store.content.prompts()]
    assert not sent.exists()


def test_simulated_annotators_find_the_app(behind: Behind) -> None:
    find_app(f"{behind.origin}{behind.root}")
    if behind.root:
        with pytest.raises(ValueError, match="is not this app"):
            find_app(behind.origin)


def test_receipts_and_exports_are_read(behind: Behind, client: httpx.Client) -> None:
    assert "the receipt" in client.get(f"/{behind.receipt}").text
    (behind.workspace / "exports").mkdir(exist_ok=True)
    (behind.workspace / "exports" / "coach.jsonl").write_text("{}\n")
    assert client.get("/exports/coach.jsonl").text == "{}\n"


def test_an_invitation_is_accepted(behind: Behind, client: httpx.Client) -> None:
    token = behind.store.people.invite("annotator")
    page = client.get("/welcome", params={"token": token})
    assert urljoin(str(page.url), "welcome") == f"{behind.origin}{behind.root}/welcome"
    data = {"token": token, "name": f"bob{behind.store.url[-30:-9]}{len(token)}{token[:4]}"}
    made = client.post("/welcome", data={**data, "password": PASSWORD})
    assert made.headers["location"] == f"{behind.root}/label/"


def test_nginx_as_it_comes_is_refused_with_the_header_to_set(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`proxy_pass` alone sends its own Host, and no word of the browser's."""
    port = free_port()
    with (
        open_store(tmp_path / "workspace") as store,
        running(build_app(store, tmp_path, "m")) as at,
    ):
        add_person(store, "lena", "lead")
        where = f"location / {{ proxy_pass http://127.0.0.1:{at}; }}"
        with proxied(tmp_path, port, f"server {{ listen 127.0.0.1:{port}; {where} }}") as origin:
            for accept in ("text/html", "*/*"):
                answer = httpx.post(
                    f"{origin}/sign-in",
                    data={"name": "lena", "password": PASSWORD},
                    headers={"origin": origin, "accept": accept},
                )
                assert answer.status_code == 403
                for words in ("proxy_set_header Host $http_host", "--trusted-proxy"):
                    assert words in answer.text
    (said,) = [r.getMessage() for r in caplog.records if "another site" in r.getMessage()]
    assert "X-Forwarded-Host" in said and origin in said
