"""The lead page at rest: views are made when what they show has changed, and only then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from data import Store
from data.schema import make_prompt
from labeler.jobs import Site
from labeler.lead.live import Drawing, Live, Picked
from labeler.lead.pages import build_lead_page
from labeler.lead.snapshot import Snapshot
from labeler.safe_html import markdown
from labeler.safe_html.kept import kept
from tests.support.content import add_content
from tests.support.grpo_run import step, write
from tests.support.labeler_helpers import add_person


class Watched:
    """A page of three views that count how often they are made."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.site = Site(store, folder, "a-model")
        self.person = store.people.find("lena") or add_person(store, "lena", "lead")
        self.made: Counter[str] = Counter()
        self.live = Live(self.site)
        self.seen: object = {}
        self.beside = 0
        with gr.Blocks():
            self.live.html("head", self.count("head"))
            with self.live.within("tab-home"):
                self.live.html("home", self.count("home"))
            with self.live.within("tab-runs"):
                self.live.drawn("runs", self.draw)
                self.live.html("quality", self.count("quality"), lambda: self.beside)

    def count(self, name: str) -> Any:
        def render(now: Snapshot, _: Picked) -> str:
            self.made[name] += 1
            return f"{now.counts.prompts} prompts, {len(now.metrics(now.last('grpo')))} steps"

        return render

    def draw(self, now: Snapshot, _: Picked) -> Drawing:
        self.made["runs"] += 1
        return Drawing(now.counts.prompts, lambda: f"{now.counts.prompts} prompts")

    def ask(self, *tabs: str, afresh: bool = False) -> tuple[list[str], dict[str, int]]:
        """What is sent to a page with these tabs open, and what was made for it."""
        self.made.clear()
        shown = " ".join(tabs)
        self.seen, *sent = self.live._send_changes(self.person, {} if afresh else self.seen, shown)
        return [value for value in sent if isinstance(value, str)], dict(self.made)

    def rests(self, *tabs: str) -> bool:
        """Whether nothing is made for these tabs: a PostgreSQL server tells only that something
        was written on it, and other tests write too."""
        return any(self.ask(*tabs) == ([], {}) for _ in range(200))


@pytest.fixture
def page(store: Store, tmp_path: Path) -> Watched:
    return Watched(store, tmp_path)


def test_nothing_is_made_while_nothing_changes(page: Watched) -> None:
    sent, made = page.ask("tab-home")
    assert len(sent) == 2 and made == {"head": 1, "home": 1}
    assert page.rests("tab-home")
    seen = (page.ask("tab-home", afresh=True)[1] for _ in range(200))
    assert any(made == {} for made in seen)  # another person's page: the same views


def test_a_change_of_the_store_makes_the_open_views_again(page: Watched, store_url: str) -> None:
    page.ask("tab-home")
    with Store.open(store_url) as elsewhere:
        add_content(elsewhere, [make_prompt("q")])
    sent, made = page.ask("tab-home")
    assert sent == ["1 prompts, 0 steps"] * 2 and made == {"head": 1, "home": 1}
    assert page.rests("tab-home")


def test_a_hidden_tab_is_made_when_it_is_opened(page: Watched) -> None:
    page.ask("tab-home")
    add_content(page.site.store, [make_prompt("q")])
    assert page.ask("tab-home")[1].keys() == {"head", "home"}
    sent, made = page.ask("tab-runs")
    assert made == {"runs": 1, "quality": 1} and len(sent) == 2
    assert page.rests("none")  # the whole page is behind another
    assert page.ask()[1] == {}  # a page that cannot tell is sent all


def test_files_of_a_run_that_goes_on_are_followed(page: Watched) -> None:
    store = page.site.store
    store.runs.add("grpo-1", "grpo", {})
    store.runs.update("grpo-1", host="elsewhere")
    page.ask("tab-home")
    page.site.folder("grpo-1").mkdir(parents=True)
    write(page.site.folder("grpo-1"), metrics=[step(1)])
    sent, made = page.ask("tab-home")
    assert sent == ["0 prompts, 1 steps"] * 2 and made == {"head": 1, "home": 1}
    store.runs.end("grpo-1", "finished", "")
    page.ask("tab-home")
    assert page.rests("tab-home")


def test_a_view_can_rest_on_something_else_too(page: Watched) -> None:
    page.ask("tab-runs")
    page.beside = 1
    sent, made = page.ask("tab-runs")
    assert sent == [] and made["quality"] == 1  # and it says the same as before
    assert page.rests("tab-runs")


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    made: list[str] = []
    yield made


def test_texts_of_any_length_are_made_once(texts: list[str]) -> None:
    def make(text: str, more: str = "") -> str:
        texts.append(text)
        return text[:10] + more

    once = kept(make, most=25)
    long, other = "x" * 100_000, "y" * 100_000
    assert [once(long), once(long), once(long, "!")] == ["x" * 10, "x" * 10, "x" * 10 + "!"]
    assert texts == [long, long]
    once(other)
    once(other)
    assert texts == [long, long, other]
    once(long)  # which went when there was no more room
    assert texts == [long, long, other, long]
    once("\ud800")


def test_a_long_answer_is_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "A long answer of its own. " * 2000
    first = markdown.prose(text)
    monkeypatch.setattr(markdown, "markdown", lambda _: pytest.fail("rendered again"))
    assert markdown.prose(text) == first


def test_every_view_of_the_lead_page_knows_its_tab(store: Store, tmp_path: Path) -> None:
    parts: list[Any] = []
    before = Live.wire

    def wire(live: Live, *rest: Any) -> None:
        parts.extend(live._parts)
        before(live, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Live, "wire", wire)
        build_lead_page(Site(store, tmp_path, "a-model"))
    tabs = Counter(part.tab for part in parts)
    assert "" not in tabs and {"tab-home", "tab-quality", "tab-grpo", "tab-sft"} <= tabs.keys()
