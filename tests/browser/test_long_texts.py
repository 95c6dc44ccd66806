"""Texts that would freeze a page: what is laid out at once is bounded, and all of it can be shown.

How long it takes is measured by `python -m tests.benchmarks.labeler texts`; here is what bounds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from data import Store
from data.schema import Completion, Task, make_prompt
from labeler.safe_html.slices import MOST_MARKS
from tests.support.browser import Server, key, needs_chromium, ready, sign_in
from tests.support.hostile import FREEZING, long_text
from tests.support.labeler_helpers import add_person

pytestmark = needs_chromium

LENGTH = 30_000
MOST_WORDS = 25_000
"""Characters of one side that are laid out before somebody asks for more; of odd ones, fewer."""
ODD = {"one-word", "directions-mixed", "rare-scripts", "scripts-mixed", "list", "headings"}
LAID_OUT = """() => [...document.querySelectorAll('#task .side :is(.rendered, .raw)')]
  .filter(view => view.checkVisibility()).map(view => view.innerText.length)"""
CROWD = r"""() => Math.max(0, ...[...document.querySelectorAll('#task :is(.rendered, .raw)')]
  .flatMap(view => view.textContent.match(/[\u0300-\u036f\u0e34-\u0e3a\u200d]+/g) || [])
  .map(marks => marks.length))"""


def task(kind: Any, text: str, position: float) -> Task:
    prompt = make_prompt(f"Go on, number {position}.")
    other = Completion(prompt, text + "?") if kind == "pairwise" else None
    return Task(kind, Completion(prompt, text), other, 1, position)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    workspace = tmp_path_factory.mktemp("long")
    with Store.open(workspace) as store:
        texts = [long_text(name, LENGTH) for name in FREEZING]
        store.ledger.add_tasks([task("pairwise", text, n) for n, text in enumerate(texts)])
        store.ledger.add_tasks([task("binary", "x" * LENGTH, 1000), task("binary", "", 1001)])
        add_person(store, "ann")
    running = Server(workspace)
    running.start()
    yield running
    running.kill()


def test_what_is_laid_out_at_once_is_bounded_and_all_of_it_can_be_had(
    page: Any, server: Server
) -> None:
    sign_in(page, server, "ann")
    for name in FREEZING:
        ready(page)
        for view in ("rendered", "raw"):
            most = 6_000 if name in ODD and view == "rendered" else MOST_WORDS + 10_000
            assert max(page.evaluate(LAID_OUT)) < most, (name, view)
            page.keyboard.press("r")
        assert page.evaluate(CROWD) <= MOST_MARKS + 2, name
        key(page, "0")
    # One endless word: slice by slice, then all the rest.
    page.wait_for_selector("#task[data-ready][data-kind=binary]")
    side = page.locator("#task .side .rendered")
    offered = side.locator("details.more > summary")
    assert offered.count() > 3 and sum(one.is_visible() for one in offered.all()) == 1
    before = len(side.inner_text())
    offered.first.click()
    longer = "n => document.querySelector('#task .side .rendered').innerText.length > n"
    page.wait_for_function(longer, arg=before)
    assert len(side.inner_text()) < LENGTH
    side.locator("[data-show-all]").click()
    page.wait_for_function("!document.querySelector('#task .rendered .more:not([open])')")
    assert side.inner_text().count("x") == LENGTH
    assert not side.locator("[data-show-all]").is_visible()
    # And an answer that is none.
    key(page, "b")
    ready(page)
    assert "(no text)" in side.inner_text()
    page.keyboard.press("b")
    page.wait_for_selector("#task", state="detached")
