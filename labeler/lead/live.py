"""Components that follow the store: each is sent again only when what it shows has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from data.runs.kinds import title_of
from data.schema import Annotator
from labeler.access.guard import PRIVATE, guarded
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


@dataclass(frozen=True)
class Drawing:
    """What a chart or a text rests on, and how to make it: only when that has changed."""

    basis: object
    draw: Callable[[], object]


class Live:
    """The live components of a page and what each shows for a snapshot."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.pickers: list[Component] = []
        """Lists from which a run or a step is chosen; every handler gets all of them."""
        self._names: list[str] = []
        self._parts: list[tuple[Component, Callable[[Snapshot, Picked], Drawing]]] = []
        self._events: list[Callable[[dict[str, Any]], None]] = []
        self._triggers: list[Trigger] = []

    def add(self, component: Component, render: Render) -> None:
        """Keep a component at what `render` says: a value, or a gr.update."""

        def part(now: Snapshot, picked: Picked) -> Drawing:
            value = render(now, picked)
            return Drawing(value, lambda: value)

        self._parts.append((component, part))

    def html(self, name: str, render: Render) -> None:
        """A gr.HTML that follows `render`."""
        self.add(plain_html(name=name), render)

    def drawn(self, name: str, render: Callable[[Snapshot, Picked], Drawing | None]) -> None:
        """A gr.HTML whose text is made only when what it rests on has changed."""
        nothing = Drawing("", lambda: "")
        self._parts.append((plain_html(name=name), lambda now, p: render(now, p) or nothing))

    def plot(self, render: Callable[[Snapshot, Picked], Drawing | None]) -> None:
        """A gr.Plot, hidden while there is nothing to draw."""

        def part(now: Snapshot, picked: Picked) -> Drawing:
            drawing = render(now, picked)
            if drawing is None:
                return Drawing(None, lambda: gr.update(visible=False))
            return Drawing(drawing.basis, lambda: gr.update(visible=True, value=drawing.draw()))

        plot = gr.Plot(visible=False, show_label=False, elem_classes="chart")
        self._parts.append((plot, part))

    def picker(self, kind: str, label: str) -> None:
        """A list of the runs of a kind (of all kinds where it is empty), newest first."""

        def entries(now: Snapshot, _: Picked) -> list[tuple[str, str]]:
            found = now.of(kind) if kind else now.runs
            return [(f"{run.id} · {title_of(run.kind)}, {run.status}", run.id) for run in found]

        self.choice(
            kind,
            gr.Dropdown([NEWEST], value="", label=label, elem_id=f"pick-{kind or 'run'}"),
            entries,
        )

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
        seen = gr.State({})
        refresh = {
            "fn": guarded(self.site.store, "lead", self._send_changes),
            "inputs": [seen, *self.pickers],
            "outputs": [seen, *(component for component, _ in self._parts)],
            **PRIVATE,
        }
        for trigger in (page.load, timer.tick, *self._triggers):
            trigger(**refresh)
        for wire in self._events:
            wire(refresh)

    def _send_changes(self, _: Annotator, seen: object, *values: object) -> list[object]:
        """What has changed since the marks in `seen`, which the page sends back; the new marks."""
        now, picked = snapshot.take(self.site), self.picked(values)
        before = seen if isinstance(seen, dict) else {}
        marks: dict[int, str] = {}
        sent: list[object] = []
        for index, (_component, part) in enumerate(self._parts):
            drawing = part(now, picked)
            marks[index] = hashlib.sha256(repr(drawing.basis).encode()).hexdigest()[:16]
            sent.append(gr.skip() if before.get(index) == marks[index] else drawing.draw())
        return [marks, *sent]
