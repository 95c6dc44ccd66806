"""Components that follow the store: each is sent again only when what it shows has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr

from data.schema import Annotator
from labeler.access.guard import PRIVATE, guarded
from labeler.jobs import TITLES, Site
from labeler.lead import snapshot
from labeler.lead.snapshot import Snapshot
from labeler.theme import plain_html

Picked = dict[str, str]
Render = Callable[[Snapshot, Picked], Any]
Drawing = tuple[Any, Callable[[], Any]]
"""What a chart or a text rests on, and how to make it: only when that has changed."""


class Live:
    """The live components of a page and what each shows for a snapshot."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.pickers: list[Any] = []
        """Lists from which a run or a step is chosen; every handler gets all of them."""
        self._names: list[str] = []
        self._parts: list[tuple[Any, Callable[[Snapshot, Picked], tuple[str, Callable[[], Any]]]]]
        self._parts = []
        self._events: list[tuple[Any, ...]] = []
        self._changes: list[Any] = []

    def add(self, component: Any, render: Render) -> None:
        """Keep a component at what `render` says: a value, or a gr.update."""

        def part(now: Snapshot, picked: Picked) -> tuple[str, Callable[[], Any]]:
            value = render(now, picked)
            return _mark(value), lambda: value

        self._parts.append((component, part))

    def html(self, name: str, render: Render) -> Any:
        """A gr.HTML that follows `render`."""
        component = plain_html(name=name)
        self.add(component, render)
        return component

    def drawn(self, name: str, render: Callable[..., Drawing | None]) -> Any:
        """A gr.HTML whose text is made only when what it rests on has changed."""
        component = plain_html(name=name)
        self._add_drawn(component, render, lambda text: text, "")
        return component

    def plot(self, render: Callable[..., Drawing | None]) -> Any:
        """A gr.Plot, hidden while there is nothing to draw."""
        component = gr.Plot(visible=False, show_label=False, elem_classes="chart")
        shown, hidden = partial(gr.update, visible=True), gr.update(visible=False)
        self._add_drawn(component, render, lambda figure: shown(value=figure), hidden)
        return component

    def _add_drawn(
        self,
        component: Any,
        render: Callable[..., Drawing | None],
        shown: Callable[[Any], Any],
        nothing: Any,
    ) -> None:
        def part(now: Snapshot, picked: Picked) -> tuple[str, Callable[[], Any]]:
            drawing = render(now, picked)
            if drawing is None:
                return "nothing", lambda: nothing
            basis, draw = drawing
            return _mark(basis), lambda: shown(draw())

        self._parts.append((component, part))

    def picker(self, kind: str, label: str) -> Any:
        """A list of the runs of a kind (of all kinds where it is empty), newest first."""
        component = gr.Dropdown(
            [("the newest", "")], value="", label=label, elem_id=f"pick-{kind or 'run'}"
        )
        return self.choice(kind, component, lambda now, _: _entries(now, kind))

    def choice(self, name: str, component: gr.Dropdown, entries: Render) -> Any:
        """A list to choose from, its entries kept up to date; renders find the choice by name."""
        self.pickers.append(component)
        self._names.append(name)
        self.add(component, lambda now, picked: gr.update(choices=entries(now, picked)))
        return component

    def picked(self, values: Sequence[Any]) -> Picked:
        """The choices of the pickers, by kind."""
        return {name: str(v or "") for name, v in zip(self._names, values, strict=False)}

    def act(
        self,
        event: Any,
        action: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Any,
        **options: Any,
    ) -> None:
        """Wire an action to an event; the page is refreshed when it is done."""
        self._events.append((event, action, inputs, outputs, options))

    def refresh_on(self, event: Any) -> None:
        """Refresh when an event happens, without waiting for the next tick."""
        self._changes.append(event)

    def wire(self, page: Any, timer: Any) -> None:
        """Register all handlers; call once, when every component is there."""
        seen = gr.State({})
        store = self.site.store
        parts = [component for component, _ in self._parts]
        refresh: dict[str, Any] = {
            "fn": guarded(store, "lead", self._refresh),
            "inputs": [seen, *self.pickers],
            "outputs": [seen, *parts],
            **PRIVATE,
        }
        for event in (page.load, timer.tick, *self._changes):
            event(**refresh)
        for event, action, inputs, outputs, options in self._events:
            handler = guarded(store, "lead", action)
            done = event(handler, list(inputs), outputs, **{**PRIVATE, **options})
            done.then(**refresh)

    def _refresh(self, _: Annotator, seen: Any, *values: Any) -> list[Any]:
        now, picked = snapshot.take(self.site), self.picked(values)
        before = seen if isinstance(seen, dict) else {}
        marks, sent = {}, []
        for index, (_component, part) in enumerate(self._parts):
            mark, value = part(now, picked)
            marks[index] = mark
            sent.append(gr.skip() if before.get(index) == mark else value())
        return [marks, *sent]


def _entries(now: Snapshot, kind: str) -> list[tuple[str, str]]:
    found = now.of(kind) if kind else now.runs
    return [
        ("the newest", ""),
        *((f"{run.id} · {TITLES.get(run.kind, run.kind)}, {run.status}", run.id) for run in found),
    ]


def _mark(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]
