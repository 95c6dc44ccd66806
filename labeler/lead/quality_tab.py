"""The Quality tab: how far judgements can be trusted, and how much of the work goes into that."""

from __future__ import annotations

from data.task_planning import Shares
from labeler.gradio_import import gr
from labeler.jobs import Site
from labeler.lead.forms import field_help
from labeler.lead.live import Live, Picked, Render
from labeler.lead.quality_worker import QualityWorker
from labeler.lead.snapshot import Snapshot
from labeler.lead.views import quality
from labeler.rendering import heading, note, refusal
from labeler.theme import plain_html

LABELS = {
    "overlap": "Judged by three people (%)",
    "gold": "Gold tasks (%)",
    "repeat": "Repeats (%)",
    "repeat_days": "Repeats after (days)",
}
GOLD = """Tasks whose answer is known come in between, unannounced. Take those on which three or
more people agreed, or import lines of the type "gold"."""


def quality_tab(live: Live) -> None:
    """Figures and warnings; gold tasks; the shares of control tasks."""
    worker = QualityWorker(live.site)
    with gr.Row(elem_classes="work"):
        with gr.Column(scale=5, min_width=320):
            live.html("quality", lambda _now, _: quality.quality_html(worker.found()), worker.mark)
        with gr.Column(scale=2, min_width=280):
            with gr.Column(elem_classes="card sheet"):
                plain_html(heading("Gold tasks", GOLD))
                live.html("gold", lambda _now, _: quality.gold_html(worker.found()), worker.mark)
                promote = gr.Button("Take what all agreed on", elem_id="promote-gold")
                promoted = plain_html(name="promote-notice")
                pick = gr.Dropdown([], value=None, label="Wrong after all", elem_id="pick-gold")
                retire = gr.Button("Retire this one", elem_id="retire-gold")
                retired = plain_html(name="retire-notice")
            with gr.Column(elem_classes="card sheet"):
                plain_html(heading("Control tasks"))
                inputs = []
                for name, label in LABELS.items():
                    info = field_help(Shares, name)
                    number = gr.Number(label=label, info=info, minimum=0, elem_id=f"share-{name}")
                    live.add(number, _current_share(name))
                    inputs.append(number)
                save = gr.Button("Save", variant="primary", elem_id="save-shares")
                notice = plain_html(name="shares-notice")
    live.act(save.click, lambda _, *values: save_shares(live.site, *values), inputs, notice)

    def choices(_now: Snapshot, _: Picked) -> object:
        return gr.update(choices=quality.gold_choices(worker.found()))

    live.add(pick, choices, worker.mark)
    live.act(promote.click, lambda _: promote_gold(live.site), [], promoted)
    live.act(retire.click, lambda _, task_id: retire_gold(live.site, task_id), [pick], retired)


def _current_share(name: str) -> Render:
    return lambda now, _: shown_share(now.shares, name)


def shown_share(shares: Shares, name: str) -> float:
    """A share in percent; days as they are."""
    value: float = getattr(shares, name)
    return value if name == "repeat_days" else round(100 * value, 1)


def save_shares(site: Site, *values: object) -> str:
    """Keep the shares of a form, given in percent; they hold from the next claim on."""
    numbers: list[float] = []
    try:
        for what, value in zip(LABELS.values(), values, strict=True):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{what} is empty: write a number")
            numbers.append(float(value))
            if what != LABELS["repeat_days"] and not 0 <= numbers[-1] <= 100:
                raise ValueError(f"{what} {numbers[-1]} not allowed: use 0 to 100")
        overlap, gold, repeat = (number / 100 for number in numbers[:3])
        site.store.control_tasks.set_shares(Shares(overlap, gold, repeat, numbers[3]))
    except ValueError as error:
        return refusal(error)
    return note("From now on tasks come in these shares.")


def promote_gold(site: Site) -> str:
    """Take as known what three or more people answered alike."""
    added = site.store.control_tasks.add_gold(site.store.control_tasks.agreed())
    if not added:
        return note("There is no task on which three people agreed and that is not taken already.")
    return note(f"{added:,} more tasks are asked now and then of those who have not had them.")


def retire_gold(site: Site, task_id: object) -> str:
    """Hold nobody's answers to this one any more."""
    if not isinstance(task_id, str) or not task_id:
        return refusal(ValueError("no task chosen: choose one in the list"))
    if not site.store.control_tasks.retire_gold([task_id]):
        return refusal(ValueError("this task's answer is not in use any more: reload the page"))
    return note("Retired: it is asked and counted no more.")
