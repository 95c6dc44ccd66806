"""Hostile texts in a real browser: no script runs, no request leaves, no pixel outside the card.

Every text of tests/support/hostile.py is painted on a bench: a page of the app's own stylesheet and
headers whose outside does not move. Some are then rated in the app itself. Besides what the page
reports, the browser's own log of its network stack is read: a name that was only looked up would
be there.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

import labeler
from data import Store
from data.schema import Completion, Task, make_prompt
from labeler.access.middleware import HEADERS
from labeler.safe_html.hidden_text import raw
from labeler.safe_html.markdown import ATTRIBUTES, TAGS, prose
from tests.support.browser import (
    CHROMIUM,
    PATIENCE_MS,
    QUIET_BROWSER,
    Server,
    judged,
    key,
    needs_chromium,
    ready,
    settle,
    sign_in,
)
from tests.support.hostile import IMITATIONS, SCRIPTS, TEXTS
from tests.support.labeler_helpers import add_person

pytestmark = needs_chromium

MOST_MS = 15_000  # a bomb would take minutes
WALKED = [
    *("script", "img-onerror", "iframe-srcdoc", "link-javascript", "beacon-resolve"),
    *("overlay", "style-hides-all", "form-outside", "close-the-card", "svelte", "bidi-unclosed"),
    *("one-line-of-a-megabyte", "tables-thousands", "page-beacons"),
]
BENCH = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>bench</title>
<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/coach.css"><style>
.card { position: absolute; top: 90px; width: 360px; }
#subject { left: 40px; } #same { left: 480px; }
#bar { position: fixed !important; left: 0; right: 0; bottom: 0; display: flex; gap: 8px;
 background: var(--c-bg) !important; }
body::before { content: ""; position: fixed; inset: 0; z-index: -1;
 background: repeating-linear-gradient(45deg, #ccd 0 6px, #eef 6px 12px); }
</style></head><body class="plain"><h1>Bench</h1>
<div class="card" id="subject"></div><div class="card" id="same"></div>
<div id="bar"><button class="go" id="good">Good</button>
<button class="go" id="bad">Bad</button></div>
<script>
let pressed = 0;
document.querySelectorAll("#bar button").forEach(b => b.onclick = () => { pressed += 1; });
function paint(box, same) {
  const start = performance.now();
  document.getElementById("subject").innerHTML = box;
  document.getElementById("same").innerHTML = same;
  document.body.offsetHeight;
  return performance.now() - start;
}
function boxes() {
  return ["subject", "same"].map(id => {
    const r = document.getElementById(id).getBoundingClientRect();
    return [r.left, r.top, r.right, r.bottom];
  });
}
function foreign(tags, attributes) {
  return [...document.querySelectorAll("#subject .text *, #same .as-is *")].flatMap(e => {
    const tag = e.localName, allowed = attributes[tag] || [];
    if (!tags.includes(tag)) return [tag];
    const names = [...e.attributes].map(a => a.name);
    return names.filter(n => !allowed.includes(n)).map(n => tag + " " + n);
  });
}
function state() {
  const over = [...document.querySelectorAll("#bar button")].every(b => {
    const r = b.getBoundingClientRect();
    return document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2) === b;
  });
  return { owned: window.owned ?? null, over, pressed, focus: document.activeElement.localName,
    title: document.title, wide: document.documentElement.scrollWidth > innerWidth };
}
</script></body></html>"""


class Bench(SimpleHTTPRequestHandler):
    """The bench page and the app's static files, under the app's headers."""

    def do_GET(self) -> None:
        body, kind = BENCH.encode(), "text/html; charset=utf-8"
        if self.path.startswith("/static/"):
            file = Path(labeler.__file__).with_name("static") / Path(self.path).name
            body = file.read_bytes()
            kind = "text/css" if file.suffix == ".css" else "image/svg+xml"
        self.send_response(200)
        for name, value in HEADERS.items():
            self.send_header(name.decode(), value.decode())
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Watch:
    """All that a page does which it should not."""

    def __init__(self, page: Any, home: str) -> None:
        self.found: list[str] = []
        self.home = home
        page.set_default_timeout(PATIENCE_MS)
        page.context.on("request", self._request)
        page.context.on("requestfailed", self._failed)
        page.context.on("page", lambda opened: self.found.append(f"opened {opened.url}"))
        for event in ("pageerror", "crash", "download", "worker", "websocket"):
            page.on(event, partial(self._note, event))
        page.on("dialog", self._dialog)
        page.on("console", self._console)

    def _note(self, event: str, what: Any) -> None:
        self.found.append(f"{event} {what}")

    def _console(self, said: Any) -> None:
        if "blocked" not in said.text.lower():  # what a frame's policy stopped, it says
            self._note("console", f"{said.type}: {said.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.home, "about:srcdoc")):
            self.found.append(f"asked {request.url}")

    def _failed(self, request: Any) -> None:
        if request.failure == "csp":  # stopped by a policy before it left
            self.found.remove(f"asked {request.url}")

    def _dialog(self, dialog: Any) -> None:
        self._note("dialog", dialog.message)
        dialog.dismiss()


@pytest.fixture(scope="module")
def net_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("net") / "log.json"


@pytest.fixture(scope="module")
def browser(net_log: Path) -> Iterator[Any]:
    """A browser that logs what its network stack does, name look-ups included."""
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*QUIET_BROWSER, f"--log-net-log={net_log}"]
        )
        yield chromium
        chromium.close()
    assert "127.0.0.1" in net_log.read_text()
    assert "evil.example" not in net_log.read_text()


@pytest.fixture(scope="module")
def bench_url() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Bench)
    Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}/"
    served.shutdown()
    served.server_close()


@pytest.fixture(scope="module")
def bench(browser: Any, bench_url: str) -> Iterator[tuple[Any, Watch, np.ndarray]]:
    """The bench page, what it was caught at, and its look with two empty cards."""
    context = browser.new_context(viewport={"width": 900, "height": 640})
    page = context.new_page()
    watch = Watch(page, bench_url)
    page.goto(bench_url)
    page.evaluate("paint('', '')")
    yield page, watch, look(page)
    context.close()


def look(page: Any) -> np.ndarray:
    shot = page.screenshot(animations="disabled", caret="hide")
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))


def outside(picture: np.ndarray, boxes: list[list[float]], bar: int) -> np.ndarray:
    """The picture without the cards; what lies over them, the bar, stays in."""
    kept = picture.copy()
    for left, top, right, bottom in boxes:
        kept[int(top) : max(min(int(bottom + 1), bar), 0), int(left) : int(right + 1)] = 0
    return kept


def allowed() -> tuple[list[str], dict[str, list[str]]]:
    tags = [*TAGS, "mark"]
    attributes = {tag: ["class", *names] for tag, names in ATTRIBUTES.items()}
    attributes["a"] = ["href", "rel", "target"]
    attributes |= {"span": ["class"], "mark": ["title"], "td": ["align"], "th": ["align"]}
    attributes |= {"p": ["class"], "pre": ["class"]}
    return tags, attributes


def assert_kept_in(page: Any, empty: np.ndarray) -> None:
    """Nothing outside the cards looks other than with empty ones, and the buttons are on top."""
    boxes = page.evaluate("boxes()")
    bar = int(page.evaluate("document.getElementById('bar').getBoundingClientRect().top"))
    assert np.array_equal(outside(look(page), boxes, bar), outside(empty, boxes, bar))
    state = page.evaluate("state()")
    assert state["owned"] is None and state["over"] and state["title"] == "bench"
    assert not state["wide"]


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_stays_in_its_card(bench: Any, name: str) -> None:
    page, watch, empty = bench
    text = TEXTS[name]
    assert page.evaluate("([a, b]) => paint(a, b)", [prose(text), raw(text)]) < MOST_MS
    assert page.evaluate("([t, a]) => foreign(t, a)", list(allowed())) == []
    assert_kept_in(page, empty)
    before = page.evaluate("state()")
    assert before["focus"] == "body"
    page.mouse.click(*page.evaluate(CENTRE))
    assert page.evaluate("state()")["pressed"] == before["pressed"] + 1
    page.mouse.move(0, 0)  # a button looks other under the pointer
    page.evaluate("document.activeElement.blur()")
    assert watch.found == []


CENTRE = """(() => { const r = document.getElementById("bad").getBoundingClientRect();
return [r.left + r.width / 2, r.top + r.height / 2]; })()"""


def test_unlocked_the_same_markup_is_caught(browser: Any, bench_url: str) -> None:
    """Without the rendering, the headers alone do not hold: scripts run, overlays cover."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(bench_url)
    hostile = SCRIPTS["img-onerror"] + IMITATIONS["overlay"]
    page.evaluate("html => paint(html, '')", hostile)
    page.wait_for_function("window.owned")
    assert not page.evaluate("state()")["over"]
    context.close()


def test_a_request_is_seen_and_logged(tmp_path: Path, browser: Any) -> None:
    """In a second browser, without rendering and headers: watch and log see what leaves."""
    log = tmp_path / "log.json"
    args = [*QUIET_BROWSER, f"--log-net-log={log}"]
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=args)
    page = other.new_page()
    watch = Watch(page, "http://127.0.0.1")
    with page.expect_event("requestfailed", lambda failed: "evil.example" in failed.url):
        page.set_content("<img src=http://evil.example/1>")
    other.close()
    assert "asked http://evil.example/1" in watch.found
    assert "evil.example" in log.read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("workspace")
    with Store.open(workspace) as store:
        prompt = make_prompt("Say something nasty.")
        store.ledger.add_tasks(
            [
                Task("binary", Completion(prompt, TEXTS[name]), position=n)
                for n, name in enumerate(WALKED)
            ]
        )
        add_person(store, "ann")
    running = Server(workspace)
    running.start()
    yield running
    running.kill()


def test_rating_goes_on_whatever_the_answer_holds(browser: Any, server: Server) -> None:
    context = browser.new_context()
    page = context.new_page()
    watch = Watch(page, f"{server.url}/")
    sign_in(page, server, "ann")
    ready(page)
    for _ in WALKED[1:]:
        assert page.evaluate("window.owned ?? null") is None
        assert page.locator("#task script, #task img, #task form, #task input").count() == 0
        assert page.evaluate(ON_TOP)
        key(page, "b")
    page.keyboard.press("b")
    page.wait_for_selector("#task", state="detached")
    settle(page)
    assert judged(server) == ["bad"] * len(WALKED)
    assert [said for said in watch.found if "evil" in said or "dialog" in said] == []
    assert not [said for said in watch.found if said.startswith(("asked", "opened", "pageerror"))]
    context.close()


ON_TOP = """(() => { const b = document.getElementById("press-binary-bad");
const r = b.getBoundingClientRect();
return b.contains(document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2)); })()"""
