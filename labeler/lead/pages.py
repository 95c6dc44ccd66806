"""The lead pages: one tab for each part of the loop, refreshed from the store while they are open.

A tab's function lays out its components and registers, in `Live`, what each of them shows for a
snapshot. Everything is read from the store and the runs' folders, so a reload or a restart of the
server loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from data.runs.kinds import RUN_KINDS
from data.schema import Annotator
from data.store.run_rows import Run
from labeler import jobs
from labeler.access.guard import PRIVATE, guarded
from labeler.gradio_import import gr
from labeler.jobs import Site
from labeler.lead import forms, snapshot
from labeler.lead.data_tab import data_tab, people_tab
from labeler.lead.grpo_tab import grpo_tab
from labeler.lead.live import Drawing, Live, Picked
from labeler.lead.next_step import Step, next_step
from labeler.lead.quality_tab import quality_tab
from labeler.lead.run_buttons import Which, run_state, shown_run, started, stop_button
from labeler.lead.snapshot import Snapshot
from labeler.lead.views import charts, home
from labeler.lead.views.grpo_run import samples_html
from labeler.rendering import render_macro
from labeler.theme import plain_html

POLL_SECONDS = 2.0
POLICY_STAGES = ("pretrain", "sft", "sample", "grpo")
"""Kinds of runs that have a tab of their own inside the Policy tab."""


def build_lead_page(site: Site) -> gr.Blocks:
    """All lead pages in one Blocks."""
    page = gr.Blocks(title="Coach", fill_width=True, analytics_enabled=False)
    with page:
        live = Live(site)
        head = plain_html(name="head")
        with gr.Tabs(elem_id="lead-tabs") as tabs:
            with _tab(live, "Home", "home"):
                go = _home_tab(live)
            with _tab(live, "Data", "data"):
                data_tab(live)
            with _tab(live, "People", "people"):
                people_tab(live)
            with _tab(live, "Quality", "quality"):
                quality_tab(live)
            with _tab(live, "Reward model", "reward"):
                _reward_tab(live)
            with _tab(live, "Policy", "policy"):
                policy_tabs = _policy_tab(live)
            with _tab(live, "Compare", "compare"):
                _compare_tab(live)
            with _tab(live, "Runs", "runs"):
                _runs_tab(live)
        go_to = guarded(site.store, "lead", partial(_open_next_step, site))
        go.click(go_to, None, [tabs, policy_tabs], **PRIVATE)
        header = guarded(
            site.store, "lead", lambda person: render_macro("home", "header", person.name)
        )
        page.load(header, None, head, **PRIVATE)
        live.wire(page, gr.Timer(POLL_SECONDS))
    return page


@contextmanager
def _tab(live: Live, title: str, name: str) -> Iterator[None]:
    """A tab, what is laid out inside follows the store while it is open."""
    element = f"tab-{name}"
    with gr.Tab(title, id=name, elem_id=element) as tab, live.within(element):
        live.tabs.append(tab)
        yield


def _open_next_step(site: Site, _: Annotator) -> list[object]:
    """The tabs on which the recommended step is taken."""
    goal = _next_step_of(snapshot.take(site)).goal
    if goal in POLICY_STAGES:
        return [gr.Tabs(selected="policy"), gr.Tabs(selected=goal)]
    return [gr.Tabs(selected="home" if goal == "queue" else goal), gr.skip()]


def _home_tab(live: Live) -> gr.Button:
    live.html("flow", lambda now, _: home.flow_html(now))
    with gr.Row(elem_id="next", elem_classes="card"):
        live.html("next-step", lambda now, _: render_macro("home", "next_step", _next_step_of(now)))
        go = gr.Button("…", variant="primary", elem_id="next-go", scale=0)

    def follow_step(now: Snapshot, _: Picked) -> object:
        step = _next_step_of(now)
        return gr.update(value=step.button, link="../label/" if step.goal == "queue" else None)

    live.add(go, follow_step)
    with gr.Row(elem_classes="halves"):
        with gr.Column(scale=2, min_width=320):
            live.html("now-running", lambda now, _: home.running_html(now))
        with gr.Column(scale=1, min_width=240):
            live.html("people-short", lambda now, _: home.people_html(now, short=True))
    return go


def _next_step_of(now: Snapshot) -> Step:
    return next_step(snapshot.facts_of(now))


def _reward_tab(live: Live) -> None:
    """The chosen run: state, loss and receipt; while the newest trains, the receipt before it."""

    def model(now: Snapshot, picked: Picked) -> Run | None:
        return now.find(picked.get("reward")) or now.newest("reward")

    with _beside_form(live, "reward", forms.REWARD):
        live.picker("reward", "Run shown")
        run_state(live, "reward")
        stop_button(live, "reward-stop", shown_run("reward"))
        live.plot(partial(_draw_loss, shown_run("reward")))
        live.html("reward-receipt", lambda now, p: home.receipt_frame(now, model(now, p)))


def _policy_stage(live: Live, kind: str, title: str, choices: Sequence[forms.FormField]) -> None:
    """A tab of the policy: its form, and the newest run's state, a way to stop it, its loss."""
    with _tab(live, title, kind), _beside_form(live, kind, choices, scale=3):
        run_state(live, kind)
        stop_button(live, f"{kind}-stop", shown_run(kind))
        if kind != "sample":
            live.plot(partial(_draw_loss, shown_run(kind)))


def _draw_loss(which: Which, now: Snapshot, picked: Picked) -> Drawing | None:
    run = which(now, picked)
    rows = now.metrics(run)
    if run is None or not rows:
        return None
    return Drawing((run.id, len(rows), rows[-1]), lambda: charts.loss_chart(rows))


def _policy_tab(live: Live) -> gr.Tabs:
    tabs = gr.Tabs(selected="sft", elem_id="policy-tabs")
    with tabs:
        _policy_stage(live, "pretrain", "Pretrain", forms.PRETRAIN)
        _policy_stage(live, "sft", "Fine-tune", forms.SFT)
        _policy_stage(live, "sample", "Sample", forms.SAMPLE)
        with _tab(live, "GRPO", "grpo"), _beside_form(live, "grpo", forms.GRPO):
            grpo_tab(live)
    return tabs


def _compare_tab(live: Live) -> None:
    def compared(now: Snapshot, _: Picked) -> str:
        report = now.report(now.newest("compare"))
        samples = samples_html(report.get("samples"), "SFT", "GRPO")
        return render_macro("quality", "stack", [home.compare_html(report), samples])

    with _beside_form(live, "compare", forms.COMPARE):
        run_state(live, "compare")
        live.html("compare-figures", compared)


def _runs_tab(live: Live) -> None:
    live.html("all-runs", lambda now, _: home.runs_html(now))
    live.picker("", "Log of")
    run = shown_run("")
    stop_button(live, "runs-stop", run)
    live.html("run-log", lambda now, p: home.log_html(now, run(now, p)))


@contextmanager
def _beside_form(
    live: Live, kind: str, choices: Sequence[forms.FormField], scale: int = 5
) -> Iterator[None]:
    """The form that starts a run of a kind; what is laid out inside stands to its right."""
    with gr.Row(elem_classes="work"):
        with gr.Column(scale=2, min_width=320):
            _start_form(live, kind, choices)
        with gr.Column(scale=scale, min_width=320):
            yield


def _start_form(live: Live, kind: str, choices: Sequence[forms.FormField]) -> None:
    """A form that starts a run, with one line below it about what came of it."""
    with gr.Column(elem_classes="card sheet"):
        inputs = forms.fields(kind, choices)
        button = gr.Button(RUN_KINDS[kind].button, variant="primary", elem_id=f"start-{kind}")
        notice = plain_html(name=f"{kind}-notice")
    for field, choice in zip(inputs, choices, strict=True):
        if choice.runs:
            live.add(field, partial(_run_list, choice))

    def press(_: Annotator, *values: object) -> str:
        return started(lambda: launch_from_form(live.site, kind, choices, values))

    hanging = [(field, c.only) for field, c in zip(inputs, choices, strict=True) if c.only]
    for control, choice in zip(inputs, choices, strict=True):
        useful = [(field, values) for field, (path, values) in hanging if path == choice.path]
        if useful:
            _show_where_useful(live, control, useful)
    live.act(button.click, press, inputs, notice)


def _show_where_useful(
    live: Live, control: forms.Widget, hanging: Sequence[tuple[forms.Widget, tuple[str, ...]]]
) -> None:
    """Show only the fields that do something for what `control` says."""

    def shown(_: Annotator, value: object) -> object:
        updates = [gr.update(visible=value in values) for _, values in hanging]
        return updates if len(updates) > 1 else updates[0]

    fields = [field for field, _ in hanging]
    control.change(guarded(live.site.store, "lead", shown), [control], fields, **PRIVATE)


def launch_from_form(
    site: Site, kind: str, choices: Sequence[forms.FormField], values: Sequence[object]
) -> str:
    """Start a run from a form's values; returns its id. Raises ValueError, nothing started."""
    asked = forms.chosen(site, kind, choices, values)
    if kind == "compare" and "policy" not in asked:
        done = jobs.usable(site.store, "grpo")
        asked["policy"] = done[0].id if done else ""
    return jobs.start(site, kind, **asked)


def _run_list(choice: forms.FormField, now: Snapshot, _: Picked) -> object:
    return gr.update(choices=forms.run_choices(now.site, choice))
