"""The whole path in a real browser on a real server: sign in, rate, come back, launch."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data import Store
from data.schema import Completion, Demonstration, Task, make_prompt
from tests.support.browser import (
    Server,
    act,
    counts,
    judged,
    key,
    kind,
    needs_chromium,
    ready,
    shown,
    sign_in,
)
from tests.support.content import add_content
from tests.support.labeler_helpers import PASSWORD, add_person, add_tasks

pytestmark = needs_chromium


def fill(workspace: Path) -> None:
    """Tasks of each kind, a hostile answer first; a demonstration; and one annotator."""
    with Store.open(workspace) as store:
        hostile = Completion(
            make_prompt("Say something nasty."),
            '<script>window.owned=1</script><img src="http://evil.example/x.png" '
            "onerror='window.owned=1'> ![b](http://evil.example/b.png) ${window.owned=1} "
            '{{7*7}} <div style="position:fixed;inset:0">cover</div> **bold**',
            finished=False,
        )
        store.ledger.add_tasks([Task("binary", hostile, position=-1.0)])
        for kind in ("binary", "scalar", "pairwise"):
            add_tasks(store, kind, 4)
        add_content(store, [Demonstration(make_prompt("Hello?"), "Hi there.")])
        add_person(store, "ann")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("workspace")
    fill(workspace)
    running = Server(workspace)
    running.start()
    yield running
    if running.process.poll() is None:
        running.kill()


def test_1_the_first_lead_sets_a_password(page: Any, server: Server) -> None:
    link = re.search(r"http://\S+/welcome\?token=\S+", server.said)
    assert link, server.said
    page.goto(link[0])
    page.fill("[name=name]", "lena")
    page.fill("[name=password]", "short")
    page.click("text=Set password")
    assert "use 8 or more" in page.inner_text("[role=alert]")
    page.fill("[name=password]", PASSWORD)
    page.click("text=Set password")
    page.wait_for_selector("#flow .node")
    assert page.url == f"{server.url}/lead/"
    page.click("text=Sign out")
    page.wait_for_url("**/sign-in")
    page.goto(f"{server.url}/lead/")
    assert page.url.endswith("/sign-in")
    sign_in(page, server, "lena")
    page.wait_for_selector("#flow .node")


def test_2_rating_each_kind_with_keys_and_mouse(page: Any, server: Server) -> None:
    sign_in(page, server, "ann")
    ready(page)
    assert counts(page) == (0, 13)

    assert kind(page) == "binary"  # the hostile answer: shown as text, and inert
    assert page.evaluate("window.owned") is None
    assert "<script>" in page.inner_text("#task") and "${window" in page.inner_text("#task")
    assert "cut off" in page.inner_text("#task")

    page.keyboard.press("h")
    page.wait_for_selector("#guide:not([hidden])")  # beside the task
    page.keyboard.press("h")
    page.keyboard.press("?")
    page.wait_for_selector("dialog#dialog-keys[open]")
    page.keyboard.press("g")  # keys rest while a dialog is open
    page.keyboard.press("Escape")
    assert counts(page) == (0, 13)

    key(page, "g")
    act(page, lambda: page.click("#press-binary-bad"))
    assert counts(page) == (2, 11)
    key(page, "s")
    assert counts(page) == (2, 10)
    page.keyboard.press("u")
    assert "A skip is final" in page.inner_text("#notice")
    key(page, "u")
    assert counts(page) == (1, 11)
    key(page, "b")
    assert judged(server) == ["good", "bad"]

    key(page, "s")
    key(page, "s")
    assert kind(page) == "scalar"
    key(page, "7")
    key(page, "0")
    act(page, lambda: page.click("#press-scalar-3"))
    key(page, "s")
    assert judged(server)[2:] == ["7", "10", "3"]

    assert kind(page) == "pairwise"
    first = page.inner_text(".side.a .text")
    key(page, "1")
    act(page, lambda: page.click("#press-pairwise-tie"))
    with Store.open(server.workspace) as store:
        pair = store.ledger.judgements()[5]
    chosen = pair.task.a if pair.answer.value == "a" else pair.task.b
    assert chosen is not None and chosen.text == first
    assert counts(page)[0] == 7


def test_3_reload_and_restart_come_back_to_the_same_task(page: Any, server: Server) -> None:
    sign_in(page, server, "ann")
    ready(page)
    before = shown(page)
    assert len(before[1]) == 2
    page.reload()
    ready(page)
    assert shown(page) == before
    server.kill()
    server.start()
    page.goto(f"{server.url}/label/")
    ready(page)
    assert shown(page) == before


def test_4_hasty_keys_count_once_for_each_task_painted(page: Any, server: Server) -> None:
    sign_in(page, server, "ann")
    ready(page)
    done = counts(page)[0]
    key(page, "u")
    assert counts(page)[0] == done - 1
    page.keyboard.down("2")
    for _ in range(5):
        page.keyboard.down("2")  # held down: the browser repeats it
    page.keyboard.up("2")
    page.wait_for_function("n => document.querySelector('#count b').innerText == n", arg=str(done))
    assert counts(page)[0] == done
    for chord in ("Control+1", "Alt+1", "Meta+1"):
        page.keyboard.press(chord)
    assert counts(page)[0] == done


def test_5_the_queue_runs_empty_and_fills_again(page: Any, server: Server) -> None:
    sign_in(page, server, "ann")
    ready(page)
    while counts(page)[1] > 1:
        key(page, "2")
    page.keyboard.press("2")
    page.wait_for_selector("[data-state=done]")
    with Store.open(server.workspace) as store:
        add_tasks(store, "scalar", 1)
    ready(page)
    assert kind(page) == "scalar"


def test_6_an_annotator_stays_out_of_the_lead_pages(page: Any, server: Server) -> None:
    sign_in(page, server, "ann")
    page.wait_for_selector("#task, .empty")
    page.goto(f"{server.url}/lead/")
    page.wait_for_selector("#task, .empty")
    assert page.url == f"{server.url}/label/"


def test_7_a_lead_sees_counts_and_launches_a_run(page: Any, server: Server) -> None:
    sign_in(page, server, "lena")
    page.wait_for_selector("#flow .node")
    with Store.open(server.workspace) as store:
        total = store.content.counts().judgements_total
    assert page.inner_text("#flow .node:nth-of-type(3) .big") == str(total)
    assert "more judgements needed" in page.inner_text("#next")
    assert "ann" in page.inner_text("#people-short")

    page.click("role=tab[name='Reward model']")
    page.click("#start-reward")
    page.wait_for_selector("#reward-notice [role=alert]")
    assert "more are needed" in page.inner_text("#reward-notice")

    page.click("role=tab[name='Policy']")
    page.fill("#sft-lora-rank input", "0")
    page.click("#start-sft")
    page.wait_for_selector("#sft-notice [role=alert]")
    assert "rank 0 not allowed" in page.inner_text("#sft-notice").lower()
    with Store.open(server.workspace) as store:
        assert store.runs.list() == []

    page.fill("#sft-lora-rank input", "4")
    page.click("#start-sft")
    page.wait_for_selector("#sft-notice [role=status]")
    page.wait_for_selector("#sft-run code")
    with Store.open(server.workspace) as store:
        (run,) = store.runs.list()
    assert (run.kind, run.config["lora"]["rank"]) == ("sft", 4)
    assert page.inner_text("#sft-run code") == run.id
    if run.live and run.pid:
        os.killpg(run.pid, signal.SIGKILL)
    page.reload()
    page.click("role=tab[name='Runs']")
    page.wait_for_selector(f"#all-runs >> text={run.id}")


def test_8_people_and_data(page: Any, server: Server, tmp_path: Path) -> None:
    sign_in(page, server, "lena")
    page.wait_for_selector("#flow .node")
    page.click("role=tab[name='People']")
    page.fill("#person-name textarea, #person-name input", "bob")
    page.click("#add-person")
    page.wait_for_selector("#invitation")
    link = page.input_value("#invitation textarea, #invitation input")
    assert link.startswith(f"{server.url}/welcome?token=")

    page.click("role=tab[name='Data']")
    file = tmp_path / "more.jsonl"
    file.write_text('{"type": "prompt", "prompt": "One more?"}\n')
    page.set_input_files("#import-file input[type=file]", file)
    page.wait_for_selector("#import-file >> text=more")
    page.click("#start-import")
    page.wait_for_selector("#import-notice >> text=1 new")
    page.click("#start-export")
    page.wait_for_selector("#export-notice >> text=Ready")

    page.goto(link)
    page.fill("[name=password]", PASSWORD)
    page.click("text=Set password")
    page.wait_for_selector("#task, .empty")


def test_9_a_taken_port_and_ctrl_c(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labeler", "serve", "--workspace", str(tmp_path)]
    second = subprocess.run(
        [*command, "--port", str(server.port)], capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 2
    assert "--port" in second.stderr and len(second.stderr.strip().splitlines()) == 1
    assert server.interrupt() == 0
