"""Components that follow the store: each is sent again only when what it shows has changed."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gradio.components import Component

from data import runs
from data.runs.kinds import title_of
from data.schema import Annotator
from labeler.access.guard import PRIVATE, guarded
from labeler.gradio_import import gr
from labeler.jobs import Site
from labeler.lead import snapshot
from labeler.lead.snapshot import Snapshot
from labeler.theme import plain_html

Picked = dict[str, str]
"""What is chosen in the page's lists, by the list's name; empty: the newest."""
Render = Callable[[Snapshot, Picked], object]
Trigger = Callable[..., Any]
"""What a Gradio component offers to wire a handler to: `button.click`, `page.load`."""
NEWEST = ("the newest", "")


Also = Callable[[], object]
"""What a view rests on besides the snapshot, by a value that is another when it changes."""
MOST_KEPT = 400
"""Drawings that are kept for the next look, over all views and all choices in the page's lists."""
OPEN_TABS = """(seen, open, ...picked) => {
  const panels = [...document.querySelectorAll("[role=tabpanel][id^=tab-]")];
  const shown = panels.filter((panel) => panel.offsetParent !== null);
  return [seen, document.hidden ? "none" : shown.map((panel) => panel.id).join(" "), ...picked];
}"""
"""Tells which tabs a person sees when their page asks what has changed."""


@dataclass(frozen=True)
class Drawing:
    """What a chart or a text rests on, and how to make it: only when that has changed."""

    basis: object
    draw: Callable[[], object]


@dataclass(frozen=True)
class LivePart:
    """A component that follows the store."""

    component: Component
    make: Callable[[Snapshot, Picked], Drawing]
    tab: str
    """Id of the tab that it is in; empty: it stands above all tabs."""
    also: Also | None = None


@dataclass(frozen=True)
class Moment:
    """The project as a page shows it, and what is another once it has changed."""

    now: Snapshot
    mark: object


class Live:
    """The live components of a page and what each shows for a snapshot.

    The page asks every two seconds. Then the store's version and the sizes of the files of runs
    that are going on are looked at; views of the open tabs are made again only if these, or what
    is chosen in the page's lists, are others than the last time.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.pickers: list[Component] = []
        """Lists from which a run or a step is chosen; every handler gets all of them."""
        self.tabs: list[gr.Tab] = []
        self._names: list[str] = []
        self._parts: list[LivePart] = []
        self._events: list[Callable[[dict[str, Any]], None]] = []
        self._triggers: list[Trigger] = []
        self._tab = ""
        self._last: tuple[object, Snapshot] | None = None
        self._made: OrderedDict[object, tuple[object, str, Drawing]] = OrderedDict()

    @contextmanager
    def within(self, tab: str) -> Iterator[None]:
        """What is added inside is in this tab, by its element's id, and made while that is open."""
        outer, self._tab = self._tab, tab
        yield
        self._tab = outer

    def add(self, component: Component, render: Render, also: Also | None = None) -> None:
        """Keep a component at what `render` says: a value, or a gr.update."""

        def make(now: Snapshot, picked: Picked) -> Drawing:
            value = render(now, picked)
            return Drawing(value, lambda: value)

        self._parts.append(LivePart(component, make, self._tab, also))

    def html(self, name: str, render: Render, also: Also | None = None) -> None:
        """A gr.HTML that follows `render`."""
        self.add(plain_html(name=name), render, also)

    def drawn(self, name: str, render: Callable[[Snapshot, Picked], Drawing | None]) -> None:
        """A gr.HTML whose text is made only when what it rests on has changed."""
        nothing = Drawing("", lambda: "")
        html = plain_html(name=name)
        self._parts.append(LivePart(html, lambda now, p: render(now, p) or nothing, self._tab))

    def plot(self, render: Callable[[Snapshot, Picked], Drawing | None]) -> None:
        """A gr.Plot, hidden while there is nothing to draw."""

        def make(now: Snapshot, picked: Picked) -> Drawing:
            drawing = render(now, picked)
            if drawing is None:
                return Drawing(None, lambda: gr.update(visible=False))
            return Drawing(drawing.basis, lambda: gr.update(visible=True, value=drawing.draw()))

        plot = gr.Plot(visible=False, show_label=False, elem_classes="chart")
        self._parts.append(LivePart(plot, make, self._tab))

    def picker(self, kind: str, label: str) -> None:
        """A list of the runs of a kind (of all kinds where it is empty), newest first."""

        def entries(now: Snapshot, _: Picked) -> list[tuple[str, str]]:
            found = now.of(kind)
            return [(f"{run.id} · {title_of(run.kind)}, {run.status}", run.id) for run in found]

        runs = gr.Dropdown([NEWEST], value="", label=label, elem_id=f"pick-{kind or 'run'}")
        self.choice(kind, runs, entries)

    def choice(
        self,
        name: str,
        component: gr.Dropdown,
        entries: Callable[[Snapshot, Picked], list[tuple[str, str]]],
    ) -> None:
        """A list to choose from, its entries kept up to date, the newest before them.

        Renders find the choice by name; the page is refreshed when it changes.
        """
        self.pickers.append(component)
        self._names.append(name)
        self._triggers.append(component.change)
        self.add(component, lambda now, p: gr.update(choices=[NEWEST, *entries(now, p)]))

    def picked(self, values: Sequence[object]) -> Picked:
        """The choices of the pickers, by kind."""
        return {name: str(v or "") for name, v in zip(self._names, values, strict=False)}

    def act(
        self,
        trigger: Trigger,
        action: Callable[..., object],
        inputs: Sequence[Component],
        outputs: Component | list[Component],
        **options: Any,
    ) -> None:
        """Wire an action to an event; the page is refreshed when it is done."""

        def wire(refresh: dict[str, Any]) -> None:
            handler = guarded(self.site.store, "lead", action)
            trigger(handler, list(inputs), outputs, **{**PRIVATE, **options}).then(**refresh)

        self._events.append(wire)

    def wire(self, page: gr.Blocks, timer: gr.Timer) -> None:
        """Register all handlers; call once, when every component is there."""
        seen, shown = gr.State({}), gr.Textbox(visible=False)
        refresh = {
            "fn": guarded(self.site.store, "lead", self._send_changes),
            "inputs": [seen, shown, *self.pickers],
            "outputs": [seen, *(part.component for part in self._parts)],
            "js": OPEN_TABS,
            **PRIVATE,
        }
        # Gradio takes a while for each output, changed or not: so one is asked first, which changes
        # when any may have.
        mark = gr.Textbox(visible="hidden", elem_id="lead-mark")  # one that is not there tells none
        ask = guarded(self.site.store, "lead", self._mark_of)
        poll = {"inputs": [mark, shown], "outputs": [mark], "js": OPEN_TABS, **PRIVATE}
        timer.tick(ask, **poll)
        opened = [tab.select for tab in self.tabs]
        for trigger in (page.load, mark.change, *opened, *self._triggers):
            trigger(**refresh)
        for wire in self._events:
            wire(refresh)

    def _mark_of(self, _: Annotator, before: object, shown: object) -> object:
        """The mark of all that the open tabs rest on, where it is another than before."""
        open_tabs = str(shown or "").split()
        beside = [part.also() for part in self._parts if part.also and part.tab in open_tabs]
        mark = hashlib.sha256(repr((self._look().mark, beside)).encode()).hexdigest()[:16]
        return gr.skip() if before == mark or open_tabs == ["none"] else mark

    def _send_changes(
        self, _: Annotator, seen: object, shown: object, *values: object
    ) -> list[object]:
        """What has changed since the marks in `seen`, which the page sends back; the new marks.

        `shown`: ids of the open tabs; empty where the page could not tell, and all are sent.
        """
        moment, picked = self._look(), self.picked(values)
        open_tabs = str(shown or "").split()
        before = seen if isinstance(seen, dict) else {}
        marks: dict[int, str] = {}
        sent: list[object] = []
        # The marks travel to the page and back every two seconds: so they are short.
        for index, part in enumerate(self._parts):
            if open_tabs and part.tab and part.tab not in open_tabs:
                marks |= {index: before[index]} if index in before else {}
                sent.append(gr.skip())
                continue
            marks[index], drawing = self._drawing_of(index, moment, picked)
            sent.append(gr.skip() if before.get(index) == marks[index] else drawing.draw())
        return [marks, *sent]

    def _look(self) -> Moment:
        """The present state; read anew only where something has changed."""
        last = self._last
        if last is not None and last[1].live:  # one whose process has died changes the store
            runs.refresh(self.site.store, self.site.workspace)
        version = self.site.store.database.version()
        if last is None or last[0] != version:
            # Its version is older than what is read: a change meanwhile is seen the next time.
            last = self._last = (version, snapshot.take(self.site))
        return Moment(last[1], (version, last[1].file_marks()))

    def _drawing_of(self, index: int, moment: Moment, picked: Picked) -> tuple[str, Drawing]:
        """A view's mark, and how to draw it."""
        part, key = self._parts[index], (index, *picked.items())
        state = moment.mark, part.also() if part.also else None
        kept = self._made.get(key)
        if kept is None or kept[0] != state:
            drawing = part.make(moment.now, picked)
            mark = hashlib.sha256(repr(drawing.basis).encode()).hexdigest()[:16]
            kept = self._made[key] = (state, mark, drawing)
            while len(self._made) > MOST_KEPT:
                self._made.popitem(last=False)
        return kept[1:]
