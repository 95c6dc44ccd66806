"""The label page under everyday trouble: lost connections, two tabs, hasty fingers, small screens.

The accessibility run is axe-core in the page itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data import Store
from data.schema import Completion, Judgement, Task, make_prompt
from data.store import tables as t
from tests.support.browser import (
    Server,
    act,
    counts,
    key,
    needs_chromium,
    ready,
    rest,
    settle,
    shown,
    sign_in,
    token,
    violations,
)
from tests.support.labeler_helpers import add_person, add_tasks

pytestmark = needs_chromium

DESKTOP = {"width": 1280, "height": 900}
TABLET = {"width": 800, "height": 1000}
PHONE = {"width": 390, "height": 844}
ZOOMED = {"width": 320, "height": 256}
"""A window of 1280 x 1024 at 400%."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("rating")
    with Store.open(workspace) as store:
        store.people.set_guidelines("# How to rate\n\nBe **kind**.")
        add_tasks(store, "pairwise", 60)
        for name in ("ann", "bo", "cy", "di", "ed", "flo", "gil", "hal", "ida"):
            add_person(store, name)
    running = Server(workspace)
    running.start()
    yield running
    if running.process.poll() is None:
        running.kill()


def said(server: Server, name: str) -> list[Judgement]:
    with Store.open(server.workspace) as store:
        return [j for j in store.ledger.judgements() if j.annotator == name]


def start(page: Any, server: Server, name: str) -> None:
    sign_in(page, server, name)
    ready(page)


def test_strength_both_bad_flag_and_comment(page: Any, server: Server) -> None:
    start(page, server, "ann")
    key(page, "Shift+Digit1")
    page.keyboard.press("w")
    page.keyboard.press("w")
    assert page.inner_text("[data-strength][aria-pressed=true]") == "clearly"
    key(page, "2")
    key(page, "9")
    page.keyboard.press("c")
    page.keyboard.type("1 2 s g: only typed")  # keys rest while one types
    page.keyboard.press("Escape")
    page.keyboard.press("f")
    page.check("input[value=unreadable]")
    page.keyboard.press("Escape")
    page.reload()  # what was noted comes back with the task
    page.wait_for_selector("#press-flag.on")
    ready(page)
    key(page, "0")
    key(page, "1")
    answers = [j.answer for j in said(server, "ann")]
    assert [a.strength for a in answers] == [3, 2, None, None, None]
    assert [a.both_bad for a in answers] == [None, None, True, None, None]
    assert (answers[3].value, answers[3].comment) == ("tie", "1 2 s g: only typed")
    assert answers[3].flags == ("unreadable",)
    assert answers[4].flags == () and answers[4].comment is None
    assert all(a.seconds and a.seconds > 0.2 for a in answers)


def test_an_earlier_answer_is_looked_up_and_changed(page: Any, server: Server) -> None:
    start(page, server, "ann")
    before, current = said(server, "ann"), shown(page)
    page.keyboard.press("e")
    page.click(".past:nth-child(2) >> text=Change")
    page.wait_for_selector("#notice >> text=You said: a tie")
    ready(page)
    key(page, "9")
    assert shown(page) == current
    after = said(server, "ann")
    assert len(after) == len(before)
    assert after[-1].answer.both_bad and after[-1].task == before[3].task


FOUR_PRESSES = """for (let n = 0; n < 4; n++) document.body.dispatchEvent(
  new KeyboardEvent("keydown", { key: "1", code: "Digit1", bubbles: true, cancelable: true }))"""


def test_a_double_press_counts_once(page: Any, server: Server) -> None:
    start(page, server, "bo")
    before = len(said(server, "bo"))
    act(page, lambda: page.evaluate(FOUR_PRESSES))
    assert len(said(server, "bo")) == before + 1
    assert "quicker than one can read" in page.inner_text("#notice")


def test_answers_outlive_a_lost_server(page: Any, server: Server) -> None:
    start(page, server, "cy")
    server.kill()
    first = token(page)
    page.keyboard.press("1")
    page.wait_for_selector(f"#task[data-ready]:not([data-token='{first}'])")  # was fetched ahead
    page.keyboard.press("2")
    page.wait_for_selector("#unsent >> text=2 unsent")
    assert page.locator("#task").count() == 0  # nothing to paint until the server is back
    server.start()
    page.wait_for_selector("#unsent", state="hidden")
    page.wait_for_selector("#task")
    settle(page)
    assert len(said(server, "cy")) == 2
    assert counts(page)[0] == 2


def test_unsent_answers_survive_a_reload(page: Any, server: Server) -> None:
    start(page, server, "cy")
    before = len(said(server, "cy"))
    page.route("**/rate/*", lambda route: route.abort())
    page.keyboard.press("1")
    page.wait_for_selector("#unsent >> text=1 unsent")
    page.unroute("**/rate/*")
    page.reload()
    page.wait_for_selector("#task")
    settle(page)
    assert len(said(server, "cy")) == before + 1


SOON = """const later = setTimeout;
window.setTimeout = (f, ms, ...more) => later(f, ms >= 400 && ms <= 8000 ? 20 : ms, ...more);"""


def test_what_is_refused_for_good_is_put_aside_and_the_rest_goes_on(
    page: Any, server: Server
) -> None:
    """And is sent once more by the next page."""

    def refuse(refusal: int | str, route: Any) -> None:
        if isinstance(refusal, int):
            route.fulfill(status=refusal, content_type="text/html", body="<h1>No</h1>")
        else:
            route.fulfill(status=200, content_type="text/html", body=refusal)

    page.add_init_script(SOON)
    start(page, server, "hal")
    for refusal in (403, 404, 405, 413, "a sign-in page of a proxy"):
        before = len(said(server, "hal"))
        times = 1 if isinstance(refusal, int) else 7
        page.route("**/rate/answer", partial(refuse, refusal), times=times)
        page.keyboard.press("1")  # what is no JSON is tried a few times: a proxy may be starting
        page.wait_for_selector("#notice >> text=could not be sent and is put aside")
        ready(page)
        key(page, "2")
        assert len(said(server, "hal")) == before + 1, refusal
        page.reload()
        ready(page)
        settle(page)
        assert len(said(server, "hal")) == before + 2, refusal


def test_an_entry_that_nobody_can_read_stops_nothing(page: Any, server: Server) -> None:
    start(page, server, "ida")
    before = len(said(server, "ida"))
    entries = ["not JSON", "{}", '{"path": "/elsewhere", "body": {}}', "null"]
    page.evaluate(
        "entries => entries.forEach((entry, n) => localStorage.setItem("
        " `coach-unsent:${JSON.parse(document.getElementById('top').dataset.facts).person}:${n}:x`,"
        " entry))",
        entries,
    )
    page.reload()
    ready(page)
    assert "4 unsent in this browser could not be read" in page.inner_text("#notice")
    key(page, "1")
    settle(page)
    assert len(said(server, "ida")) == before + 1
    assert page.evaluate("Object.keys(localStorage).filter(k => k.includes('unsent'))") == []


def test_two_tabs_give_one_judgement_a_task(page: Any, server: Server) -> None:
    start(page, server, "di")
    other = page.context.new_page()
    other.goto(f"{server.url}/label/")
    ready(other)
    assert shown(other) == shown(page)
    key(page, "1")
    key(other, "2")
    assert "not kept" in other.inner_text("#notice")
    judged = said(server, "di")
    assert len(judged) == 1
    key(other, "2")
    assert len({j.task.id for j in said(server, "di")}) == len(said(server, "di")) == 2
    other.close()


def test_the_raw_text_is_one_key_away(page: Any, server: Server) -> None:
    with Store.open(server.workspace) as store:
        text = "**bold** and `code`"
        pair = [Completion(make_prompt("Raw?"), text), Completion(make_prompt("Raw?"), "x")]
        store.ledger.add_tasks([Task("pairwise", pair[0], pair[1], position=-5.0)])
    start(page, server, "ed")
    assert text not in page.inner_text("#task")
    page.keyboard.press("r")
    assert text in page.inner_text("#task")
    page.keyboard.press("r")
    assert text not in page.inner_text("#task")


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (TABLET, "dark"), (PHONE, "dark"), (ZOOMED, "light")]
)
def test_every_size_and_theme_can_be_used_by_everybody(
    browser: Any, server: Server, size: dict[str, int], scheme: str
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{server.url}/sign-in")
    assert violations(page) == []
    start(page, server, "flo")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    button = page.locator("#press-pairwise-a")
    if size == ZOOMED:  # so little height is left to the answers: the bar comes after them
        button.scroll_into_view_if_needed()
    box = button.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"]
    assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"]
    if size not in (DESKTOP, PHONE):
        context.close()
        return
    page.keyboard.press("h")
    assert violations(page) == []
    page.keyboard.press("h")
    for name in ("?", "f", "c", "e"):
        page.keyboard.press(name)
        page.wait_for_selector("dialog[open]")
        assert violations(page) == [], name
        page.keyboard.press("Escape")
    context.close()


def test_the_keyboard_alone_reaches_everything(page: Any, server: Server) -> None:
    start(page, server, "flo")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    for wanted in ("press-pairwise-a", "press-pairwise-tie", "press-skip", "guidelines"):
        assert wanted in reached
    chosen = page.inner_text(".side.b .text")
    page.focus("#press-pairwise-b")
    act(page, lambda: page.keyboard.press("Enter"))
    judged = said(server, "flo")[-1]
    liked = judged.task.a if judged.answer.value == "a" else judged.task.b
    assert liked is not None and liked.text == chosen


def test_an_undo_of_what_is_still_unsent_brings_it_back(page: Any, server: Server) -> None:
    start(page, server, "bo")
    before, stands = shown(page), len(said(server, "bo"))
    page.route("**/rate/*", lambda route: route.abort())
    page.keyboard.press("1")
    page.wait_for_selector(f"#task[data-ready]:not([data-assignment='{before[0]}'])")
    page.keyboard.press("u")
    page.wait_for_selector("#unsent >> text=2 unsent")
    page.unroute("**/rate/*")
    settle(page)
    page.wait_for_selector("#task")
    assert shown(page) == before
    assert len(said(server, "bo")) == stands


def test_a_held_key_presses_the_focused_button_once(page: Any, server: Server) -> None:
    start(page, server, "bo")
    before = len(said(server, "bo"))
    page.focus("#press-pairwise-tie")
    page.keyboard.down("Enter")
    for _ in range(6):
        page.keyboard.down("Enter")
    ready(page)  # longer than a repeat takes
    page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    settle(page)
    assert len(said(server, "bo")) == before + 1


def test_another_person_in_the_same_browser_answers_for_nobody_else(
    page: Any, server: Server
) -> None:
    start(page, server, "di")
    before, other = len(said(server, "di")), len(said(server, "ed"))
    second = page.context.new_page()
    second.goto(f"{server.url}/label/")
    second.click("text=Sign out")
    start(second, server, "ed")
    page.keyboard.press("1")
    page.wait_for_selector("#notice >> text=Somebody else signed in here")
    assert (len(said(server, "di")), len(said(server, "ed"))) == (before, other)
    second.click("text=Sign out")
    start(second, server, "di")
    page.reload()
    page.wait_for_selector("#task")
    settle(page)
    assert len(said(server, "di")) == before + 1
    second.close()


def test_work_waits_for_nobody_but_the_paint(page: Any, server: Server, tmp_path: Path) -> None:
    """The next task is on the page before the server has heard of the answer."""
    start(page, server, "flo")
    held: list[Any] = []
    page.route("**/rate/answer", lambda route: held.append(route))
    before = shown(page)
    page.keyboard.press("1")
    page.wait_for_selector(f"#task:not([data-assignment='{before[0]}'])")
    assert len(held) == 1  # the answer is on its way, and the server has not had it
    for route in held:
        route.continue_()
    settle(page)
    page.unroute("**/rate/answer")


def test_single_keys_can_be_switched_off(page: Any, server: Server) -> None:
    start(page, server, "cy")
    page.keyboard.press("?")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    page.reload()
    ready(page)
    before = token(page)
    page.keyboard.press("1")
    rest(page)
    assert token(page) == before
    assert page.locator("[aria-keyshortcuts]").count() == 0
    act(page, lambda: page.click("#press-pairwise-a"))
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 0
    page.click("#press-keys")
    assert not page.is_checked("#keys-on")
    page.check("#keys-on")
    page.keyboard.press("Escape")
    key(page, "1")


def test_a_mouse_click_leaves_no_button_to_press_again(page: Any, server: Server) -> None:
    """Space scrolls: after a click it must not answer the next task, nor skip it."""
    start(page, server, "gil")
    act(page, lambda: page.click("#press-pairwise-tie"))
    now = token(page)
    for name in ("Space", "Enter"):
        page.keyboard.press(name)
    rest(page)
    assert token(page) == now and len(said(server, "gil")) == 1


def test_a_key_during_composition_presses_nothing(page: Any, server: Server) -> None:
    start(page, server, "gil")
    now, before = token(page), len(said(server, "gil"))
    for composing in ({"isComposing": True}, {"keyCode": 229}):
        page.evaluate(
            "facts => document.body.dispatchEvent(new KeyboardEvent('keydown', facts))",
            {"key": "1", "code": "Digit1", "bubbles": True, **composing},
        )
    rest(page)
    assert token(page) == now and len(said(server, "gil")) == before


def test_new_guidelines_reach_an_open_page(page: Any, server: Server) -> None:
    start(page, server, "gil")
    with Store.open(server.workspace) as store:
        store.people.set_guidelines("Prefer the **shorter** answer.")
    key(page, "1")
    page.wait_for_selector("#guide:visible >> text=shorter")
    assert "this is version 2" in page.inner_text("#notice")
    page.keyboard.press("Escape")
    page.wait_for_selector("#guide", state="hidden")
    key(page, "1")
    with Store.open(server.workspace) as store, store.database.read() as connection:
        rows = sa.select(t.judgements.c.guidelines_version).order_by(t.judgements.c.id.desc())
        assert connection.scalars(rows.limit(2)).all() == [2, 1]
