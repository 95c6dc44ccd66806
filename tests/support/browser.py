"""What the browser tests share: the app as a user starts it, and a page that must stay clean.

Needs Chromium: the path in CHROMIUM, or on the PATH one of the names below. Debian's
chromium-headless-shell takes a third less processor time than chromium.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data import Store
from tests.support.labeler_helpers import PASSWORD

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
QUIET_BROWSER = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
]
PATIENCE_MS = 20_000

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: set CHROMIUM to its path"
)


class Server:
    """The app as a user starts it."""

    def __init__(self, workspace: Path, *options: str) -> None:
        self.workspace = workspace
        self.options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.said = ""

    def start(self) -> None:
        command = [sys.executable, "-m", "labeler", "serve", "--workspace", str(self.workspace)]
        self.log = (self.workspace / "serve.log").open("w+")
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), *self.options],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self.said = self._until("Ctrl-C ends the server")

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()
        self.log.close()

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=20)
        self.log.close()
        return code

    def _until(self, words: str) -> str:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            said = (self.workspace / "serve.log").read_text()
            if words in said:
                return said
            assert self.process.poll() is None, said
            time.sleep(0.1)
        raise AssertionError(f"the server did not start: {said}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET_BROWSER)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """A fresh profile; afterwards: nothing was asked of any other host, and nothing broke."""
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    outside: list[str] = []
    broken: list[str] = []
    opened.on("request", lambda r: outside.append(r.url) if _leaves(r.url, server) else None)
    opened.on("pageerror", lambda error: broken.append(str(error)))
    yield opened
    context.close()
    assert outside == []
    assert broken == []


def _leaves(url: str, server: Server) -> bool:
    return not url.startswith((server.url + "/", "data:", "blob:", "about:"))


def sign_in(page: Any, server: Server, name: str) -> None:
    page.goto(f"{server.url}/sign-in")
    page.fill("[name=name]", name)
    page.fill("[name=password]", PASSWORD)
    page.click("text=Sign in >> nth=-1")


def open_grpo(page: Any) -> None:
    """From the home page to that of the GRPO runs."""
    page.wait_for_selector("#flow .node")
    page.click("role=tab[name='Policy']")
    page.click("role=tab[name='GRPO']")


def ready(page: Any) -> None:
    """Wait until a task is painted and takes presses."""
    page.wait_for_selector("#task[data-ready]")


def token(page: Any) -> str:
    return str(page.get_attribute("#task", "data-token"))


def act(page: Any, how: Any) -> None:
    """Press something and wait until another task is painted."""
    before = token(page)
    how()
    page.wait_for_function(
        "before => { const t = document.getElementById('task');"
        " return t && t.dataset.token !== before && t.dataset.ready === t.dataset.token }",
        arg=before,
    )
    settle(page)


def settle(page: Any) -> None:
    """Wait until everything that was pressed is stored."""
    page.wait_for_function(
        "() => !Object.keys(localStorage).some(key => key.startsWith('coach-unsent'))"
    )


def rest(page: Any) -> None:
    """Wait until what was pressed would be painted, and is stored if it counted."""
    page.evaluate("new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))")
    settle(page)


def key(page: Any, name: str) -> None:
    act(page, lambda: page.keyboard.press(name))


def kind(page: Any) -> str:
    return str(page.get_attribute("#task", "data-kind"))


def counts(page: Any) -> tuple[int, int]:
    today, left = re.findall(r"(\d+) (?:today|left)", page.inner_text("#count"))
    return int(today), int(left)


def shown(page: Any) -> tuple[str, list[str]]:
    return (
        str(page.get_attribute("#task", "data-assignment")),
        page.locator("#task .side").all_inner_texts(),
    )


def judged(server: Server) -> list[str]:
    with Store.open(server.workspace) as store:
        return [j.answer.value for j in store.ledger.judgements()]


def violations(page: Any) -> list[str]:
    """What axe-core calls serious or worse, each with where it is."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    found = axe().run(page).response["violations"]
    return [
        json.dumps([v["id"], [n["target"] for n in v["nodes"]][:3]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
