"""Simulated annotators over HTTP: every answer counts once, whatever happens to the app."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from data import Store
from data.ports import listen
from data.settings import USER_ERROR
from data.simulated_annotators import crew
from labeler import simulate
from labeler.__main__ import main
from labeler.app import build_app
from labeler.simulate import Tally, answer_to, rate
from tests.support.browser import free_port
from tests.support.labeler_helpers import add_tasks


class FakeApp:
    """The rating routes over a list of binary tasks; `troubles` says how answers go wrong."""

    def __init__(self, tasks: int, *troubles: str) -> None:
        self.left = [_task(i) for i in range(tasks)]
        self.troubles = list(troubles)
        self.sent: list[dict[str, Any]] = []
        self.stored: dict[str, str] = {}
        self.lock = threading.Lock()

    def view(self, kept: bool | None = None, notice: str = "") -> tuple[int, Any]:
        state = "task" if self.left else "done"
        return 200, {"state": state, "tasks": self.left[:2], "kept": kept, "notice": notice}

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Status 0: the connection breaks."""
        self.sent.append(body)
        trouble = self.troubles.pop(0) if self.troubles else ""
        if trouble == "broken before":
            return 0, None
        if trouble in ("503", "500"):
            return int(trouble), {"notice": "Not stored: try again."}
        if trouble == "wrong":
            return 422, {"notice": "Not understood."}
        if trouble == "never":
            return self.view(kept=False, notice="That was not kept.")
        if body["token"] not in self.stored:
            self.left = [t for t in self.left if t["token"] != body["token"]]
        if trouble == "taken":
            return self.view(kept=False, notice="That was not kept.")
        self.stored.setdefault(body["token"], body["value"])
        return (0, None) if trouble == "broken after" else self.view(kept=True)

    @contextmanager
    def served(self) -> Iterator[str]:
        """Its address, while it answers."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()


def _task(i: int) -> dict[str, Any]:
    return {
        "assignment": i,
        "token": f"token-number-{i:06}",
        "kind": "binary",
        "messages": [{"role": "user", "content": f"Question {i}?"}],
        "answers": [{"text": f"Answer {i}.", "finished": True}],
    }


def _handler(app: FakeApp) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            if self.path == "/rate/tasks":
                signed_in = not self.headers["Cookie"].endswith("=")
                with app.lock:
                    self.reply(*(app.view() if signed_in else (401, {"notice": "Signed out."})))
                return
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with app.lock:
                self.reply(*app.answer(body))

        def reply(self, status: int, value: Any) -> None:
            if not status:
                self.close_connection = True
                return
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None: ...

    return Handler


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sends again soon, and gives up soon."""
    monkeypatch.setattr(simulate, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(simulate, "PATIENCE_SECONDS", 0.5)


def run(store: Store, app: FakeApp, judgements: int, people: int = 1) -> Tally:
    tally = Tally(judgements)
    with app.served() as url:
        rate(store, url, crew(["careful"], people, 0), tally)
    return tally


@pytest.mark.parametrize("trouble", ["broken before", "broken after", "503", "500"])
def test_an_unconfirmed_answer_is_sent_again_as_it_was(
    sqlite_store: Store, hasty: None, trouble: str
) -> None:
    app = FakeApp(3, "", trouble, trouble)
    tally = run(sqlite_store, app, 3)
    assert (len(tally.tokens), tally.resent, tally.refused) == (3, 2, 0)
    assert app.sent[1] == app.sent[2] == app.sent[3]
    assert sorted(app.stored) == sorted(tally.tokens)
    assert len(app.sent) == 5


def test_an_answer_that_is_not_taken_is_counted(sqlite_store: Store) -> None:
    tally = run(sqlite_store, FakeApp(4, "", "taken"), 4)
    assert (len(tally.tokens), tally.refused) == (3, 1)
    assert "not taken, as others had given them already: 1" in tally.report()
    assert "the queue ran empty" in tally.report()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("503", "has not answered for 0.5 s (status 503): start it with"),
        ("broken before", "has not answered for 0.5 s (Server disconnected"),
        ("wrong", 'answered /rate/answer with 422: {"notice": "Not understood."}'),
        ("never", "does not take the answers: That was not kept."),
    ],
)
def test_what_does_not_pass_ends_in_one_line(
    sqlite_store: Store, hasty: None, trouble: str, reason: str
) -> None:
    with pytest.raises(ValueError) as raised:
        run(sqlite_store, FakeApp(9, *[trouble] * 200), 9, people=3)
    assert reason in str(raised.value) and "\n" not in str(raised.value)


def test_they_keep_their_pace_and_their_count(sqlite_store: Store) -> None:
    app, tally = FakeApp(100), Tally(8)
    with app.served() as url:
        rate(sqlite_store, url, crew(["lazy", "random"], 2, 0), tally, pace=0.2)
    assert tally.took > 0.4
    assert len(tally.tokens) == sum(tally.given.values()) == 8
    assert set(tally.given) == {"lazy", "random"}


def test_the_same_seed_gives_the_same_answers(sqlite_store: Store) -> None:
    said = []
    for seed in (1, 1, 2):
        app = FakeApp(60)
        with app.served() as url:
            rate(sqlite_store, url, crew(["random"], 1, seed), Tally(60), seed=seed)
        said.append([(body["value"], body["seconds"]) for body in app.sent])
    assert said[0] == said[1] != said[2]


def test_an_answer_does_not_depend_on_what_came_before() -> None:
    (person,) = crew(["random"], 1, 0)
    first = [answer_to(_task(i), person, 0) for i in range(20)]
    assert [answer_to(_task(i), person, 0) for i in reversed(range(20))] == first[::-1]
    assert len({answer["seconds"] for answer in first}) > 5


def command(workspace: Path, *arguments: str) -> int:
    return main(["simulate", "--workspace", str(workspace), *arguments])


def test_no_app_is_one_line_and_leaves_nothing(tmp_path: Path, capsys: Any) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert command(tmp_path / "new", "--url", url) == USER_ERROR
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"no app answers at {url} (Connection refused): start it with" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--url", "localhost:7860"], "url 'localhost:7860' not allowed"),
        (["--url", "http://x:port"], "url 'http://x:port' not allowed"),
        (["--pace", "-1"], "pace -1 not allowed"),
        (["--personas"], "no personas given"),
        (["--annotators", "0"], "annotators 0 not allowed"),
        (["--judgements", "0"], "judgements 0 not allowed"),
    ],
)
def test_bad_settings_are_one_line(
    tmp_path: Path, capsys: Any, arguments: list[str], reason: str
) -> None:
    assert command(tmp_path, *arguments) == USER_ERROR
    assert reason in capsys.readouterr().err


class RealApp:
    """The app itself, in a thread, on one port for its whole life."""

    def __init__(self, store: Store, workspace: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._app = build_app(store, workspace, "a-model")

    def start(self) -> None:
        config = uvicorn.Config(self._app, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        listener = listen("127.0.0.1", self.port)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()
        _until(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def serving(store_url: str, folder: Path) -> Iterator[RealApp]:
    with Store.open(store_url) as store:
        running = RealApp(store, folder)
        running.start()
        try:
            yield running
        finally:
            running.stop()


def test_they_work_through_the_queue_of_the_app(
    store_url: str, tmp_path: Path, capsys: Any
) -> None:
    with serving(store_url, tmp_path) as app, Store.open(store_url) as store:
        for kind in ("pairwise", "binary", "scalar"):
            add_tasks(store, kind, 3)
        common = ["--url", app.url, "--annotators", "2", "--judgements", "12"]
        personas = ["--personas", "careful", "random"]
        assert command(tmp_path, *common, "--store", str(tmp_path / "other.db")) == USER_ERROR
        assert "name the one it serves with --workspace or --store" in capsys.readouterr().err

        assert command(tmp_path, *common, "--store", store_url, *personas) == 0
        said = capsys.readouterr().out
        assert "9 judgements by 2 simulated annotators" in said
        assert "the queue ran empty" in said and "ms (p50)" in said
        judged = store.ledger.judgements()
        assert len(judged) == 9
        assert {j.annotator for j in judged} <= {"simulated-careful-1", "simulated-random-2"}
        assert all(j.answer.seconds for j in judged)


def test_the_app_may_stop_and_start_while_they_work(tmp_path: Path) -> None:
    tally = Tally(150)
    url = str(tmp_path / "store.db")
    with serving(url, tmp_path) as app, Store.open(url) as store:
        add_tasks(store, "pairwise", 80, wanted=2)
        people = crew(["left-biased", "lazy"], 4, 0)
        worker = threading.Thread(target=rate, args=(store, app.url, people, tally))
        worker.start()
        for step in (30, 80):
            _until(partial(_reached, tally, step))
            app.stop()
            app.start()
        worker.join(60)
        assert len(tally.tokens) == len(set(tally.tokens)) == 150
        assert tally.resent > 0
        judged = store.ledger.judgements()
        assert len({(j.task.id, j.annotator) for j in judged}) == len(judged)
        assert len(judged) >= 150


def _reached(tally: Tally, step: int) -> bool:
    return len(tally.tokens) >= step
