"""Who may do what: sign-in, invitations, and every single handler called without its page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from data import Store, runs
from data.store import tables as t
from labeler.access.auth import COOKIE, hash_password
from labeler.access.middleware import place_of
from labeler.app import build_app
from labeler.jobs import Site
from tests.support.labeler_helpers import (
    HASHED,
    PASSWORD,
    add_person,
    add_tasks,
    open_store,
    request_of,
    wait_for_runs,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("workspace"), prompts=3) as opened:
        add_person(opened, "lena", "lead")
        add_person(opened, "ann")
        yield opened


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def app(store: Store, workspace: Path) -> Any:
    return build_app(store, workspace, "a-model")


@pytest.fixture
def client(app: Any) -> TestClient:
    return TestClient(app, base_url="http://coach.test", follow_redirects=False)


def sign_in(client: TestClient, name: str, password: str = PASSWORD) -> Any:
    return client.post("/sign-in", data={"name": name, "password": password})


def test_each_role_lands_where_it_works(client: TestClient) -> None:
    assert client.get("/").headers["location"] == "/sign-in"
    assert sign_in(client, "ann").headers["location"] == "/label/"
    assert client.get("/").headers["location"] == "/label/"
    assert client.get("/lead/").headers["location"] == "/label/"
    assert client.get("/label/").status_code == 200
    client.cookies.clear()
    assert sign_in(client, "lena").headers["location"] == "/lead/"
    assert client.get("/lead/").status_code == 200
    assert client.get("/label/").status_code == 200


def test_the_cookie_is_out_of_reach(client: TestClient, app: Any) -> None:
    cookie = sign_in(client, "ann").headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie and "Secure" not in cookie
    secure = TestClient(app, base_url="https://coach.test", follow_redirects=False)
    assert "Secure" in sign_in(secure, "ann").headers["set-cookie"]


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("nobody", PASSWORD), ("", "")])
def test_a_wrong_password_is_refused_without_saying_which(client, name, password) -> None:
    answer = sign_in(client, name, password)
    assert answer.status_code == 401
    assert "do not match" in answer.text
    assert COOKIE not in client.cookies


def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        add_person(store, "ann")
        client = TestClient(build_app(store, tmp_path, "m"), follow_redirects=False)
        codes = [sign_in(client, "ann", "guess").status_code for _ in range(9)]
        assert codes == [401] * 8 + [429]
        assert sign_in(client, "ann").status_code == 429


def test_signing_out_ends_the_session(client: TestClient) -> None:
    sign_in(client, "ann")
    token = client.cookies[COOKIE]
    assert client.post("/sign-out").headers["location"] == "/sign-in"
    client.cookies.set(COOKIE, token)
    assert client.get("/label/").headers["location"] == "/sign-in"


def test_an_invitation_works_once(client: TestClient, store: Store) -> None:
    token = store.people.invite("annotator")
    page = client.get("/welcome", params={"token": token})
    assert page.status_code == 200 and "Your name" in page.text
    short = client.post("/welcome", data={"token": token, "name": "new", "password": "short"})
    assert short.status_code == 400 and "use 8 or more" in short.text
    taken = client.post("/welcome", data={"token": token, "name": "ann", "password": PASSWORD})
    assert taken.status_code == 400 and "taken" in taken.text
    made = client.post("/welcome", data={"token": token, "name": "new", "password": PASSWORD})
    assert made.headers["location"] == "/label/"
    again = client.post("/welcome", data={"token": token, "name": "new2", "password": PASSWORD})
    assert again.status_code == 410
    assert client.get("/welcome", params={"token": "made up"}).status_code == 410


def test_a_name_cannot_break_out_of_the_form(client: TestClient) -> None:
    assert "<script>" not in sign_in(client, '"><script>alert(1)</script>').text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://coach.test:81", ""])
@pytest.mark.parametrize("path", ["/sign-out", "/sign-in", "/label/gradio_api/run/predict"])
def test_other_origins_are_refused(client: TestClient, origin: str, path: str) -> None:
    sign_in(client, "ann")
    assert client.post(path, headers={"origin": origin}).status_code == 403
    assert client.options(path, headers={"origin": origin}).status_code == 403
    assert client.get("/label/", headers={"origin": origin}).status_code == 403
    assert client.get("/label/").status_code == 200


def test_our_own_origin_passes(client: TestClient) -> None:
    answer = client.post("/sign-out", headers={"origin": "http://coach.test"})
    assert answer.status_code == 303


@pytest.mark.parametrize("path", ["/sign-in", "/welcome", "/static/coach.css", "/label/", "/nope"])
def test_every_answer_carries_the_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy


@pytest.fixture(scope="module")
def receipt(store: Store, app: Any, workspace: Path) -> str:
    """Where the receipt of a finished reward run is; a run that trains and an SFT run beside it."""
    for kind, status in (("reward", "finished"), ("reward", ""), ("sft", "finished")):
        run_id = runs.new_run(store, workspace, kind, {})
        (runs.runs_folder(workspace) / run_id / "receipt.html").write_text("<p>the receipt")
        (runs.runs_folder(workspace) / run_id / "config.json").write_text("{}")
        if status:
            store.runs.end(run_id, "finished", "")
    first = store.runs.list("reward")[-1]
    return f"/receipts/{first.id}/receipt.html"


def test_a_receipt_can_do_nothing_and_is_framed_by_us_alone(client: TestClient, receipt) -> None:
    sign_in(client, "lena")
    answer = client.get(receipt)
    assert answer.status_code == 200 and "the receipt" in answer.text
    policy = answer.headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy and "frame-ancestors 'self'" in policy
    assert "sandbox allow-same-origin" in policy
    assert not any(part.startswith("script-src") for part in policy)
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["cache-control"] == "no-store"


def test_only_leads_read_receipts(client: TestClient, receipt: str) -> None:
    assert client.get(receipt).status_code == 401
    sign_in(client, "ann")
    refused = client.get(receipt)
    assert refused.status_code == 401 and "the receipt" not in refused.text


def test_nothing_but_receipts_is_served_of_a_run(client, store, receipt) -> None:
    sign_in(client, "lena")
    run, (training, _), (sft,) = (
        receipt.split("/")[2],
        store.runs.list("reward"),
        store.runs.list("sft"),
    )
    wrong = [f"{run}/config.json", f"{run}/receipt.json", f"{run}/..%2f..%2fstore.db", f"{run}/"]
    wrong += [f"..%2f{run}/receipt.html", "%2e%2e/receipt.html", "nobody/receipt.html"]
    wrong += [f"{training.id}/receipt.html", f"{sft.id}/receipt.html"]
    for path in wrong:
        assert client.get(f"/receipts/{path}").status_code == 404, path


@pytest.mark.parametrize(
    "path", ["/label/gradio_api/info", "/lead/gradio_api/info", "/openapi.json"]
)
def test_nothing_lists_the_api(client: TestClient, path: str) -> None:
    sign_in(client, "lena")
    assert client.get(path).status_code == 404


def test_passwords_have_a_length() -> None:
    with pytest.raises(ValueError, match="use 8 or more"):
        hash_password("1234567")
    with pytest.raises(ValueError, match="at most"):
        hash_password("x" * 2000)
    assert hash_password("12345678").startswith("$argon2id$")


OPEN_DOORS = {
    ("GET", "/healthz"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("POST", "/sign-out"),
    ("GET", "/welcome"),
    ("POST", "/welcome"),
}
BODIES = {
    "/rate/answer": {"assignment": 1, "token": "t" * 20, "value": "a"},
    "/rate/skip": {"assignment": 1},
    "/rate/undo": {"assignment": 1, "token": "t" * 20},
}


def own_routes(app: Any) -> list[tuple[str, str]]:
    """Every method and path of our own, the two mounts left out."""
    routes = [r for r in app.routes if isinstance(r, APIRoute)]
    return [(method, route.path) for route in routes for method in sorted(route.methods)]


def test_no_route_answers_a_stranger(client: TestClient, app: Any) -> None:
    routes = own_routes(app)
    assert set(routes) > OPEN_DOORS
    for method, path in routes:
        if (method, path) in OPEN_DOORS:
            continue
        for cookie in (None, "made up"):
            client.cookies.clear()
            if cookie:
                client.cookies.set(COOKIE, cookie)
            answer = client.request(method, path, json=BODIES.get(path))
            assert answer.status_code == 401, (method, path)
            assert "sign in" in answer.json()["notice"]


def test_no_route_that_changes_something_takes_another_origin(client: TestClient, app: Any) -> None:
    sign_in(client, "ann")
    for method, path in own_routes(app):
        answer = client.request(
            method, path, json=BODIES.get(path), headers={"origin": "https://evil.example"}
        )
        assert answer.status_code == 403, (method, path)


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/rate/answer", {"assignment": "1"}, "assignment"),
        ("/rate/answer", {**BODIES["/rate/answer"], "assignment": 10**12}, "assignment"),
        ("/rate/answer", {**BODIES["/rate/answer"], "comment": "x" * 5000}, "comment"),
        ("/rate/answer", {**BODIES["/rate/answer"], "model": "x"}, "model"),
        ("/rate/skip", {}, "assignment"),
        ("/rate/undo", [], "body"),
    ],
)
def test_a_malformed_body_is_named_in_one_line(client: TestClient, path, body, named) -> None:
    sign_in(client, "ann")
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert named in answer.json()["notice"] and "\n" not in answer.json()["notice"]


def gradio_routes(app: Any, mount: str) -> list[tuple[str, str]]:
    """Every method and path that Gradio serves under a mount."""
    mounted = next(r for r in app.routes if getattr(r, "path", "") == mount)
    found = []
    for route in mounted.app.routes:
        included = getattr(route, "original_router", None)  # Gradio's API is a router of its own
        for one in included.routes if included else [route]:
            found += [(method, mount + one.path) for method in sorted(one.methods or ())]
    return found


@pytest.mark.parametrize("mount", ["/label", "/lead"])
def test_gradio_answers_nothing_but_what_the_pages_ask(
    client: TestClient, app: Any, mount: str
) -> None:
    """Files for all; else a stranger, and an annotator at the lead pages, get nowhere."""
    routes = gradio_routes(app, mount)
    assert len(routes) > 60
    refused = Counter[str]()
    for who in (None, "ann"):
        client.cookies.clear()
        if who:
            sign_in(client, who)
        for method, path in routes:
            real = re.sub(r"\{[^}]*\}", "x", path)
            if place_of(real) == "file":
                continue
            if who and mount == "/label" and place_of(real) == "call":
                continue  # theirs
            answer = client.request(method, real)
            assert answer.status_code in (303, 401, 404), (who, method, real)
            if answer.status_code == 303:
                assert real == f"{mount}/"
            refused[str(answer.status_code)] += 1
            if place_of(real) != "call":
                assert answer.status_code == 404, real
    assert refused["401"] and refused["404"] > 60


MOUNTS = ("/label", "/lead")


def dependencies(client: TestClient, mount: str) -> list[dict[str, Any]]:
    sign_in(client, "lena")
    config = client.get(f"{mount}/config").json()
    client.cookies.clear()
    found = [d for d in config["dependencies"] if d["backend_fn"]]
    assert found
    return found


def call(client: TestClient, mount: str, index: int, how: str) -> int:
    body = {"fn_index": index, "data": [], "session_hash": "abc", "event_data": None}
    return client.post(f"{mount}/gradio_api/{how}", json=body).status_code


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize(("how", "code"), [("run/predict", 401), ("queue/join", 404)])
def test_no_handler_answers_a_stranger(client: TestClient, mount: str, how: str, code: int) -> None:
    for dependency in dependencies(client, mount):
        assert call(client, mount, dependency["id"], how) == code
        client.cookies.set(COOKIE, "made up")
        assert call(client, mount, dependency["id"], how) == code
        client.cookies.clear()


@pytest.mark.parametrize(("how", "code"), [("run/predict", 401), ("queue/join", 404)])
def test_no_lead_handler_answers_an_annotator(client: TestClient, how: str, code: int) -> None:
    found = dependencies(client, "/lead")
    sign_in(client, "ann")
    for dependency in found:
        assert call(client, "/lead", dependency["id"], how) == code


FILE = {"meta": {"_type": "gradio.FileData"}}


def spellings(path: Path, uploads: Path) -> list[Any]:
    """A file of the server's, in every form in which Gradio takes one for an upload."""
    way_out = uploads / ("../" * len(uploads.parts)) / path.relative_to("/")
    link = uploads / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    paths = [path, f"/proc/self/root{path}", way_out, f"/./{path}", link, f"file://{path}"]
    paths += ["/proc/self/environ", "http://127.0.0.1:9/x", "HTTPS://evil.example/x", "~/x", "x\0"]
    one = [{"path": str(p), **FILE} for p in paths]
    return [
        *one,
        *({**f, "url": f"/file={path}", "is_stream": stream} for f in one for stream in (0, 1)),
        {"path": str(path)},
        {"value": one[0]},
        {"video": one[0], "subtitles": None},
        {"text": "x", "files": [one[0]]},
        [[one[0], "caption"]],
        [{"image": one[0]}],
    ]


def files_in(folder: Path) -> set[bytes]:
    return {f.read_bytes() for f in folder.rglob("*") if f.is_file() and not f.is_symlink()}


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Gradio puts what is sent, empty."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


@pytest.mark.parametrize("behind_the_gate", [False, True])
def test_no_handler_reads_a_file_of_the_server(
    store: Store, tmp_path: Path, uploads: Path, behind_the_gate: bool
) -> None:
    """By each of two guards alone: ours in front of Gradio, and Gradio's own.

    Every handler is tried, and every spelling, the rarer ones at a handler each.
    """
    secret = tmp_path / "secret.txt"
    secret.write_text("the store's password")
    app = build_app(store, tmp_path / "workspace", "m")
    client = TestClient(app, base_url="http://coach.test", raise_server_exceptions=False)
    tried = 0
    for mount in MOUNTS:
        found = [d for d in dependencies(client, mount) if d["inputs"]]
        sign_in(client, "lena")
        mounted = next(r for r in app.routes if getattr(r, "path", "") == mount)
        inner = TestClient(mounted.app, "http://coach.test", raise_server_exceptions=False)
        inner.cookies = client.cookies
        plain, *rarer = spellings(secret, uploads)
        for n, dependency in enumerate(found):
            for file in [plain, *(rarer[:1] if behind_the_gate else rarer[n :: len(found)])]:
                body = {
                    "fn_index": dependency["id"],
                    "data": [file] * len(dependency["inputs"]),
                    "session_hash": "abc",
                }
                if behind_the_gate:
                    answer = inner.post("/gradio_api/run/predict", json=body)
                    assert answer.status_code == 500, (dependency, file)
                else:
                    answer = client.post(f"{mount}/gradio_api/run/predict", json=body)
                    assert answer.status_code == 403, (dependency, file)
                assert "password" not in answer.text
                tried += 1
    assert tried > 40
    assert b"the store's password" not in files_in(uploads)
    for path in (secret, "/proc/self/environ", "http://127.0.0.1:9/x"):
        refused = client.get(f"/lead/gradio_api/file={path}")
        assert refused.status_code in (403, 404) and "password" not in refused.text


def test_an_uploaded_file_is_read(tmp_path: Path, uploads: Path) -> None:
    with open_store(tmp_path) as store:
        add_person(store, "lena", "lead")
        client = TestClient(build_app(store, tmp_path, "m"), base_url="http://coach.test")
        config = [d for d in dependencies(client, "/lead") if len(d["inputs"]) == 3]
        sign_in(client, "lena")
        line = b'{"type": "prompt", "prompt": "Uploaded?"}\n'
        sent = client.post("/lead/gradio_api/upload", files={"files": ("prompts.jsonl", line)})
        file = {"path": sent.json()[0], "orig_name": "prompts.jsonl", **FILE}
        for dependency in config:
            body = {"fn_index": dependency["id"], "data": [file, "", ""], "session_hash": "abc"}
            client.post("/lead/gradio_api/run/predict", json=body)
        wait_for_runs(store, tmp_path)
        assert [prompt.text for prompt in store.content.prompts()] == ["Uploaded?"]


def test_what_gradio_checks_files_by(app: Any, uploads: Path) -> None:
    """The state that switches Gradio's own check on, and the order in which it looks."""
    import gradio as gr
    from gradio.context import LocalContext
    from gradio.exceptions import InvalidPathError
    from gradio.processing_utils import _check_allowed

    assert gr.Blocks().has_launched is False
    for mount in MOUNTS:
        blocks = next(r for r in app.routes if getattr(r, "path", "") == mount).app.get_blocks()
        assert blocks.has_launched is True
        token = LocalContext.blocks.set(blocks)
        try:
            with pytest.raises(InvalidPathError, match="not uploaded"):
                _check_allowed("/etc/passwd", check_in_upload_folder=True)
            _check_allowed(uploads / "mine.csv", check_in_upload_folder=True)
        finally:
            LocalContext.blocks.reset(token)


@pytest.mark.parametrize("mount", MOUNTS)
def test_every_handler_checks_by_itself(store: Store, tmp_path: Path, mount: str) -> None:
    """Past the mount's own check: each function asks who it is before anything else."""
    import gradio as gr

    from labeler.lead.pages import build_lead_page
    from labeler.rating.page import build_label_page

    page = (
        build_label_page(store)
        if mount == "/label"
        else build_lead_page(Site(store, tmp_path, "m"))
    )
    handlers = [block.fn for block in page.fns.values() if block.fn is not None]
    assert handlers
    wrong = [None] if mount == "/label" else [None, store.people.find("ann")]
    for handler in handlers:
        for person in wrong:
            with pytest.raises(gr.Error, match=r"sign in|Only a lead"):
                handler(request_of(store, person))


def test_a_busy_store_is_said_in_one_line(store: Store) -> None:
    import gradio as gr
    from sqlalchemy.exc import OperationalError

    from labeler.access.guard import guarded

    def busy(_person: Any) -> None:
        raise OperationalError("BEGIN IMMEDIATE", None, Exception("database is locked"))

    with pytest.raises(gr.Error, match="another program has locked the store"):
        guarded(store, "annotator", busy)(request_of(store, store.people.find("ann")))


def test_no_event_is_listed_or_queued(client: TestClient) -> None:
    for mount in MOUNTS:
        for dependency in dependencies(client, mount):
            assert dependency["api_visibility"] == "private"
            assert dependency["queue"] is False


def test_the_served_page_holds_nothing_of_the_store(client: TestClient, store: Store) -> None:
    add_tasks(store, "pairwise", 1)
    sign_in(client, "lena")
    for mount in MOUNTS:
        html = client.get(f"{mount}/").text
        assert "A pairwise question" not in html and "a-model" not in html


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"content-length": "2000000"}, 413), ({"transfer-encoding": "chunked"}, 411)],
)
def test_a_long_body_is_not_read(client: TestClient, headers: Any, code: int) -> None:
    assert client.post("/rate/answer", headers=headers).status_code == code


def test_a_name_that_cannot_be_seen_is_nobody(client: TestClient) -> None:
    assert sign_in(client, "a\0b").status_code == 401


def test_a_link_makes_one_account(store_url: str) -> None:
    def accept(name: str) -> bool:
        try:
            store.people.accept(token, name, "hash")
        except ValueError:
            return False
        return True

    with Store.open(store_url) as store, ThreadPoolExecutor(6) as pool:
        token = store.people.invite("annotator")
        assert sum(pool.map(accept, [f"name {n}" for n in range(6)])) == 1
        assert len(store.people.all()) == 1


def test_a_new_password_ends_the_old_sessions(store_url: str) -> None:
    with Store.open(store_url) as store:
        ann = store.people.add("ann", "annotator")
        session = store.people.start_session(ann)
        assert store.people.session(session) == ann
        store.people.accept(store.people.invite("annotator", "ann"), "ann", "hash")
        assert store.people.session(session) is None


def test_sessions_and_links_run_out(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(store_url) as store:
        lead = store.people.add("lena", "lead", HASHED)
        monkeypatch.setattr("data.store.accounts.people.SESSION_DAYS", 0)
        monkeypatch.setattr("data.store.accounts.people.INVITATION_DAYS", 0)
        assert store.people.session(store.people.start_session(lead)) is None
        link = store.people.invite("annotator")
        assert store.people.invitation(link) is None
        with pytest.raises(ValueError, match="was used or has expired"):
            store.people.accept(link, "late", "hash")
        assert [person.name for person in store.people.all()] == ["lena"]


def test_somebody_inactive_is_turned_away(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        lead = store.people.add("lena", "lead", HASHED)
        client = TestClient(build_app(store, tmp_path, "m"), follow_redirects=False)
        assert sign_in(client, "lena").headers["location"] == "/lead/"
        with store.database.write() as connection:
            mine = t.annotators.c.id == lead.id
            connection.execute(sa.update(t.annotators).where(mine).values(active=False))
        assert client.get("/lead/").headers["location"] == "/sign-in"
        assert client.post("/rate/tasks", json={}).status_code == 401
        assert sign_in(client, "lena").status_code == 401
        assert not store.people.has_lead()
