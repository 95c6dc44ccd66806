"""The lead pages: one tab for each part of the loop, refreshed from the store while they are open.

A tab's function lays out its components and registers, in `Live`, what each of them shows for a
snapshot. Everything is read from the store and the runs' folders, so a reload or a restart of the
server loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from data.schema import Annotator
from data.store.run_rows import Run
from labeler import jobs
from labeler.access.guard import PRIVATE, guarded
from labeler.jobs import Site
from labeler.lead import forms, snapshot
from labeler.lead.data_tab import data_tab, people_tab
from labeler.lead.grpo_tab import grpo_run
from labeler.lead.live import Drawing, Live, Picked, Render
from labeler.lead.next_step import next_step
from labeler.lead.quality_tab import quality_tab
from labeler.lead.run_buttons import started, stop_button
from labeler.lead.snapshot import Snapshot
from labeler.lead.views import charts, home
from labeler.lead.views.grpo_run import samples_html
from labeler.theme import plain_html

POLL_SECONDS = 2.0
TABS = {"queue": None, "sft": "policy", "sample": "policy", "grpo": "policy"}
WORDS = {
    "pretrain": "Pretrain on documents",
    "sft": "Fine-tune (SFT)",
    "sample": "Sample completions",
    "reward": "Train reward model",
    "grpo": "Launch GRPO",
    "compare": "Compare",
}
STARTERS: dict[str, Callable[..., str]] = {
    "pretrain": jobs.start_pretrain,
    "sft": jobs.start_sft,
    "sample": jobs.start_sample,
    "reward": jobs.start_reward,
    "grpo": jobs.start_grpo,
    "compare": jobs.start_compare,
}


def build_lead_page(site: Site) -> Any:
    """All lead pages in one Blocks."""
    with gr.Blocks(title="Coach", fill_width=True, analytics_enabled=False) as page:
        live = Live(site)
        head = plain_html(name="head")
        with gr.Tabs(elem_id="lead-tabs") as tabs:
            with gr.Tab("Home", id="home", elem_id="tab-home"):
                go = _home(live)
            with gr.Tab("Data", id="data", elem_id="tab-data"):
                data_tab(live)
            with gr.Tab("People", id="people", elem_id="tab-people"):
                people_tab(live)
            with gr.Tab("Quality", id="quality", elem_id="tab-quality"):
                quality_tab(live)
            with gr.Tab("Reward model", id="reward", elem_id="tab-reward"):
                _reward(live)
            with gr.Tab("Policy", id="policy", elem_id="tab-policy"):
                policy_tabs = _policy(live)
            with gr.Tab("Compare", id="compare", elem_id="tab-compare"):
                _compare(live)
            with gr.Tab("Runs", id="runs", elem_id="tab-runs"):
                _runs(live)
        go.click(
            guarded(site.store, "lead", lambda _: _goal(site)), None, [tabs, policy_tabs], **PRIVATE
        )
        page.load(guarded(site.store, "lead", _head), None, head, **PRIVATE)
        live.wire(page, gr.Timer(POLL_SECONDS))
    return page


def _head(person: Annotator) -> str:
    return home.header_html(person)


def _goal(site: Site) -> list[Any]:
    """The tabs on which the recommended step is taken."""
    goal = next_step(snapshot.facts_of(snapshot.take(site))).goal
    inner = gr.Tabs(selected=goal) if TABS.get(goal) == "policy" else gr.skip()
    return [gr.Tabs(selected=TABS.get(goal, goal) or "home"), inner]


def _home(live: Live) -> Any:
    live.html("flow", lambda now, _: home.flow_html(now))
    with gr.Row(elem_id="next", elem_classes="card"):
        live.html("next-step", lambda now, _: home.next_html(_step(now)))
        go = gr.Button("…", variant="primary", elem_id="next-go", scale=0)
    live.add(go, lambda now, _: _go_button(now))
    with gr.Row(elem_classes="halves"):
        with gr.Column(scale=2, min_width=320):
            live.html("now-running", lambda now, _: home.running_html(now))
        with gr.Column(scale=1, min_width=240):
            live.html("people-short", lambda now, _: home.people_html(now, short=True))
    return go


def _step(now: Snapshot) -> Any:
    return next_step(snapshot.facts_of(now))


def _go_button(now: Snapshot) -> Any:
    step = _step(now)
    return gr.update(value=step.button, link="/label/" if step.goal == "queue" else None)


def _reward(live: Live) -> None:
    with gr.Row(elem_classes="work"):
        with gr.Column(scale=2, min_width=320):
            _form(live, "reward", forms.REWARD)
        with gr.Column(scale=5, min_width=320):
            _reward_run(live)


def _reward_run(live: Live) -> None:
    """The chosen run: state, loss and receipt; while the newest trains, the receipt before it."""
    pick = live.picker("reward", "Run shown")

    def run(now: Snapshot, picked: Picked) -> Run | None:
        return now.find(picked.get("reward")) or next(iter(now.of("reward")), None)

    def model(now: Snapshot, picked: Picked) -> Run | None:
        return now.find(picked.get("reward")) or now.newest("reward")

    live.html(
        "reward-run",
        lambda now, p: home.run_card(now, run(now, p), "No reward model has been trained yet."),
    )
    stop_button(live, "reward-stop", run)
    live.plot(lambda now, p: _loss(run(now, p), now))
    live.html("reward-receipt", lambda now, p: home.receipt_html(now, model(now, p)))
    live.refresh_on(pick.change)


def _latest(live: Live, kind: str, nothing: str) -> None:
    """The newest run of a kind: its state, a way to stop it, its loss."""

    def newest(now: Snapshot) -> Run | None:
        return next(iter(now.of(kind)), None)

    live.html(f"{kind}-run", lambda now, _: home.run_card(now, newest(now), nothing))
    stop_button(live, f"{kind}-stop", lambda now, _: newest(now))
    if kind != "sample":
        live.plot(lambda now, _: _loss(newest(now), now))


def _loss(run: Run | None, now: Snapshot) -> Drawing | None:
    rows = now.metrics(run)
    if run is None or not rows:
        return None
    return (run.id, len(rows), rows[-1]), lambda: charts.loss_chart(rows)


def _policy(live: Live) -> Any:
    with gr.Tabs(selected="sft", elem_id="policy-tabs") as tabs:
        with gr.Tab("Pretrain", id="pretrain", elem_id="tab-pretrain"):
            with gr.Row(elem_classes="work"):
                with gr.Column(scale=2, min_width=320):
                    _form(live, "pretrain", forms.PRETRAIN)
                with gr.Column(scale=3, min_width=320):
                    _latest(live, "pretrain", "Nothing has been pretrained: it may be left out.")
        with gr.Tab("Fine-tune", id="sft", elem_id="tab-sft"):
            with gr.Row(elem_classes="work"):
                with gr.Column(scale=2, min_width=320):
                    _form(live, "sft", forms.SFT)
                with gr.Column(scale=3, min_width=320):
                    _latest(live, "sft", "The model has not been fine-tuned yet.")
        with gr.Tab("Sample", id="sample", elem_id="tab-sample"):
            with gr.Row(elem_classes="work"):
                with gr.Column(scale=2, min_width=320):
                    _form(live, "sample", forms.SAMPLE)
                with gr.Column(scale=3, min_width=320):
                    _latest(live, "sample", "Nothing has been sampled yet.")
        with gr.Tab("GRPO", id="grpo", elem_id="tab-grpo"):
            with gr.Row(elem_classes="work"):
                with gr.Column(scale=2, min_width=320):
                    _form(live, "grpo", forms.GRPO)
                with gr.Column(scale=5, min_width=320):
                    grpo_run(live)
    return tabs


def _compare(live: Live) -> None:
    with gr.Row(elem_classes="work"):
        with gr.Column(scale=2, min_width=320):
            _form(live, "compare", forms.COMPARE)
        with gr.Column(scale=5, min_width=320):
            live.html(
                "compare-run",
                lambda now, _: home.run_card(
                    now, next(iter(now.of("compare")), None), "Nothing has been compared yet."
                ),
            )
            live.html("compare-figures", lambda now, _: _compare_figures(now))


def _compare_figures(now: Snapshot) -> str:
    report = now.report(now.newest("compare"))
    samples = samples_html(report.get("samples") or [], "SFT", "GRPO")
    return f'<div class="stack">{home.compare_html(report)}{samples}</div>'


def _runs(live: Live) -> None:
    live.html("all-runs", lambda now, _: home.runs_html(now))
    pick = live.picker("", "Log of")

    def run(now: Snapshot, picked: Picked) -> Run | None:
        return now.find(picked.get("")) or next(iter(now.runs), None)

    stop_button(live, "runs-stop", run)
    live.html("run-log", lambda now, p: home.log_html(now, run(now, p)))
    live.refresh_on(pick.change)


def _form(live: Live, kind: str, choices: Sequence[forms.Choice]) -> None:
    """A form that starts a run, with one line below it about what came of it."""
    with gr.Column(elem_classes="card sheet"):
        inputs = forms.fields(kind, choices)
        button = gr.Button(WORDS[kind], variant="primary", elem_id=f"start-{kind}")
        notice = plain_html(name=f"{kind}-notice")
    for component, choice in zip(inputs, choices, strict=True):
        if choice.runs:
            live.add(component, _run_list(choice))

    def press(_: Annotator, *values: Any) -> str:
        return started(lambda: launch(live.site, kind, choices, values))

    by_path = {choice.path: field for field, choice in zip(inputs, choices, strict=True)}
    hanging = [(field, c.only) for field, c in zip(inputs, choices, strict=True) if c.only]
    for path in dict.fromkeys(path for _, (path, _) in hanging):
        useful = [(field, values) for field, (other, values) in hanging if other == path]
        _switch(live, by_path[path], useful)
    live.act(button.click, press, inputs, notice)


def _switch(live: Live, control: Any, hanging: Sequence[tuple[Any, tuple[str, ...]]]) -> None:
    """Show only the fields that do something for what `control` says."""

    def shown(_: Annotator, value: Any) -> Any:
        updates = [gr.update(visible=value in values) for _, values in hanging]
        return updates if len(updates) > 1 else updates[0]

    fields = [field for field, _ in hanging]
    control.change(guarded(live.site.store, "lead", shown), [control], fields, **PRIVATE)


def launch(site: Site, kind: str, choices: Sequence[forms.Choice], values: Sequence[Any]) -> str:
    """Start a run from a form's values; returns its id. Raises ValueError, nothing started."""
    asked = forms.chosen(site, kind, choices, values)
    if kind == "compare" and "policy" not in asked:
        done = jobs.usable(site.store, "grpo")
        asked["policy"] = done[0].id if done else ""
    return STARTERS[kind](site, **asked)


def _run_list(choice: forms.Choice) -> Render:
    return lambda now, _: gr.update(choices=forms.run_choices(now.site, choice))
