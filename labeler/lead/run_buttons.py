"""The run that is shown: its state; buttons to stop it or go on with it, and what came of them."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from data.runs.kinds import RUN_KINDS
from data.schema import Annotator
from data.store.run_rows import Run
from labeler import jobs
from labeler.gradio_import import gr
from labeler.lead import snapshot
from labeler.lead.live import Live, Picked
from labeler.lead.snapshot import Snapshot
from labeler.lead.views import home
from labeler.rendering import note, refusal
from labeler.theme import plain_html

Which = Callable[[Snapshot, Picked], Run | None]


def shown_run(kind: str) -> Which:
    """The run chosen in the list of a kind; else the newest, whatever became of it."""
    return lambda now, picked: now.find(picked.get(kind)) or now.last(kind)


def run_state(live: Live, kind: str) -> None:
    """What became of the run of a kind that is shown, so far."""
    which, nothing = shown_run(kind), RUN_KINDS[kind].none_yet
    live.html(f"{kind}-run", lambda now, p: home.run_card(now, which(now, p), nothing))


def started(start: Callable[[], str]) -> str:
    """Start a run; one line that names it, or says why not."""
    try:
        run_id = start()
    except (ValueError, OSError) as error:
        return refusal(error)
    return note(Markup("Started as <code>{}</code>.").format(run_id))


def stop_button(live: Live, name: str, which: Which) -> None:
    """Stop the run that `which` finds; hidden while it does not run."""
    button = gr.Button("Stop", elem_id=name, visible=False, size="md")
    notice = plain_html(name=f"{name}-notice")

    def shown(now: Snapshot, picked: Picked) -> object:
        run = which(now, picked)
        return gr.update(visible=bool(run and run.live and not run.stop_requested))

    def press(_: Annotator, *picked: str) -> str:
        run = which(snapshot.take(live.site), live.picked(picked))
        try:
            jobs.stop(live.site, run.id if run else "")
        except ValueError as error:
            return refusal(error)
        return ""

    def going(now: Snapshot, picked: Picked) -> str:
        run = which(now, picked)
        stopping = run is not None and run.live and run.stop_requested
        return note(RUN_KINDS[run.kind].on_stop) if run and stopping else ""

    live.add(button, shown)
    live.add(notice, going)
    live.act(button.click, press, live.pickers, notice)


def resume_button(live: Live, which: Which) -> None:
    """Go on with the GRPO run that `which` finds; hidden unless it left a checkpoint."""
    button = gr.Button("Resume", elem_id="grpo-resume", visible=False, size="md")
    notice = plain_html(name="grpo-resume-notice")

    def shown(now: Snapshot, picked: Picked) -> object:
        run = which(now, picked)
        ended = run is not None and run.status in ("stopped", "died", "failed")
        return gr.update(visible=bool(run and ended and now.has_checkpoint(run)))

    def press(_: Annotator, *picked: str) -> str:
        run = which(snapshot.take(live.site), live.picked(picked))
        return started(lambda: jobs.resume(live.site, run.id if run else ""))

    live.add(button, shown)
    live.act(button.click, press, live.pickers, notice)
