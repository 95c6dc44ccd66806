"""The page of a GRPO run: its state, what its figures say, its checks, charts and completions.

All of it is read from the run's folder, so a page that is opened in the middle shows everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from data.store.run_rows import Run
from labeler.gradio_import import gr
from labeler.lead import snapshot
from labeler.lead.live import NEWEST, Drawing, Live, Picked
from labeler.lead.run_buttons import resume_button, run_state, shown_run, stop_button
from labeler.lead.snapshot import Snapshot, mapping_in
from labeler.lead.views import grpo_charts, grpo_run
from labeler.lead.views.grpo_charts import Chart, ChartInputs

STEP = "grpo-step"
"""Name of the list from which a step is chosen."""
_shown_run = shown_run("grpo")


def grpo_tab(live: Live) -> None:
    """The chosen GRPO run."""
    live.picker("grpo", "Run shown")
    run_state(live, "grpo")
    with gr.Row(elem_id="grpo-buttons"):
        stop_button(live, "grpo-stop", _shown_run)
        resume_button(live, _shown_run)
    live.html("grpo-verdicts", _diagnosis_of)
    live.html("grpo-preflight", _preflight_of)
    with gr.Column(elem_classes="chart-grid"):
        for chart in grpo_charts.MAIN:
            live.plot(partial(_draw_chart, chart))
    with gr.Accordion("More curves", open=False, elem_id="more-curves") as more:
        with gr.Column(elem_classes="chart-grid"):
            for chart in grpo_charts.MORE:
                live.plot(partial(_draw_chart, chart))
    live.add(more, lambda now, p: gr.update(visible=bool(now.metrics(_shown_run(now, p)))))
    _show_samples(live)


def _diagnosis_of(now: Snapshot, picked: Picked) -> str:
    run = _shown_run(now, picked)
    steps = _steps_of(now, run)
    return grpo_run.diagnosis_html(run, now.verdicts(run), steps[0] if steps else 0)


def _preflight_of(now: Snapshot, picked: Picked) -> str:
    run = _shown_run(now, picked)
    return grpo_run.preflight_html(run, now.preflight(run))


def _draw_chart(chart: Chart, now: Snapshot, picked: Picked) -> Drawing | None:
    run = _shown_run(now, picked)
    rows = now.metrics(run)
    if run is None or not rows or not grpo_charts.has_data(chart, rows):
        return None
    baseline = mapping_in(now.preflight(run), "baseline")
    inputs = ChartInputs(rows, run.config, baseline, now.verdicts(run))
    marks = [[v.get(key) for key in ("level", "metric", "step")] for v in inputs.verdicts]
    basis = (run.id, len(rows), rows[-1], baseline, marks)
    return Drawing(basis, lambda: grpo_charts.drawn(chart, inputs))


def _show_samples(live: Live) -> None:
    """The completions of the chosen step; of a finished run, answers before and after too."""

    def before_and_after(now: Snapshot, picked: Picked) -> str:
        samples = now.report(_shown_run(now, picked)).get("samples")
        return grpo_run.samples_html(samples, "Before", "After")

    live.html("grpo-samples", before_and_after)
    with gr.Row(elem_id="step-row", visible=False) as row:
        step = gr.Dropdown(
            [NEWEST],
            value="",
            label="Answers of step",
            allow_custom_value=True,
            elem_id="pick-step",
        )
        earlier = gr.Button("Earlier", elem_id="step-earlier", size="md")
        later = gr.Button("Later", elem_id="step-later", size="md")

    def entries(now: Snapshot, picked: Picked) -> list[tuple[str, str]]:
        return [(f"{n:,}", str(n)) for n in _steps_of(now, _shown_run(now, picked))]

    live.choice(STEP, step, entries)
    live.add(row, lambda now, p: gr.update(visible=bool(entries(now, p))))
    live.drawn("grpo-drawn", _draw_step)
    live.act(earlier.click, lambda _, *picked: neighbour_step(live, picked, -1), live.pickers, step)
    live.act(later.click, lambda _, *picked: neighbour_step(live, picked, 1), live.pickers, step)


def neighbour_step(live: Live, values: Sequence[object], way: int) -> str:
    """The step before (-1) or after (1) the one that is shown; past the last: the newest."""
    now, picked = snapshot.take(live.site), live.picked(values)
    steps = sorted(_steps_of(now, _shown_run(now, picked)))
    if not steps:
        return ""
    shown = chosen_step(picked)
    here = len([step for step in steps if step <= shown]) - 1 if shown else len(steps) - 1
    there = max(0, here + way)
    return str(steps[there]) if there < len(steps) else ""


def chosen_step(picked: Picked) -> int | None:
    """The step that was chosen or typed; None for the newest, and for what is no step."""
    typed = picked.get(STEP, "").replace(",", "").strip()
    return int(typed) if typed.isdecimal() and len(typed) < 12 else None


def _steps_of(now: Snapshot, run: Run | None) -> list[int]:
    """The steps of a run so far, newest first."""
    steps = [row["step"] for row in now.metrics(run) if isinstance(row.get("step"), int)]
    return steps[::-1]


def _draw_step(now: Snapshot, picked: Picked) -> Drawing | None:
    run = _shown_run(now, picked)
    samples = now.samples(run, chosen_step(picked))
    if run is None or not samples:
        return None
    return Drawing((run.id, samples), lambda: grpo_run.step_html(run, samples))
