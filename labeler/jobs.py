"""Long work, started from the page: settings checked here, then a child process.

Each function returns the run's id, or raises ValueError with one line that says what is missing;
then nothing was started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import runs
from data.runs.kinds import RUN_KINDS
from data.settings import RunPlace, as_arguments, as_config
from data.store import Store
from data.store.run_rows import Run
from grpo.config import (
    ComparisonSettings,
    PolicySettings,
    PretrainSettings,
    SampleSettings,
    SftSettings,
)
from reward_model.config import KINDS_OF, MIN_JUDGEMENTS, OBJECTIVES, Objective, RewardSettings

DEFAULTS: Mapping[str, RunPlace] = {
    "pretrain": PretrainSettings(),
    "sft": SftSettings(),
    "sample": SampleSettings(policy=""),
    "reward": RewardSettings(),
    "grpo": PolicySettings(),
    "compare": ComparisonSettings(policy=""),
}
"""The settings of each kind of run, as a form first shows them."""
JUDGEMENT_KINDS = {
    "pairwise": "comparisons (A or B)",
    "scalar": "1-10 ratings",
    "binary": "good-or-bad judgements",
}


@dataclass(frozen=True)
class Site:
    """What the pages stand on."""

    store: Store
    workspace: Path
    model: str
    """What fine-tuning and sampling start from."""

    def folder(self, run_id: str) -> Path:
        return runs.runs_folder(self.workspace) / run_id


def start(site: Site, kind: str, **choices: Any) -> str:
    """Launch a run of one kind with these settings; returns its id.

    The child process is told the workspace by an argument, the store by its environment: a store's
    address may hold a password.
    """
    for run in runs.refresh(site.store, site.workspace):
        if run.live and run.kind == kind:  # two would only slow each other down
            title = RUN_KINDS[kind].title
            raise ValueError(f"{title} is running already ({run.id}): wait for it or stop it first")
    missing = what_is_missing(site, kind, choices)
    if missing:
        raise ValueError(missing)
    if kind in ("pretrain", "sft", "sample"):  # a child knows nothing of this server's --model
        choices = {"policy" if kind == "sample" else "model": site.model, **choices}
    settings = type(DEFAULTS[kind])(**choices, workspace=site.workspace)
    arguments = [*RUN_KINDS[kind].command, *as_arguments(settings)]
    return runs.launch(site.store, site.workspace, kind, arguments, as_config(settings))


def start_import(site: Site, sent: Path, annotator: str = "", details: str = "") -> str:
    """Import a file that a browser sent, as a run; returns its id. Raises ValueError as `start`.

    `details` are further settings, as on the shell (see data.imports.details).
    """
    from data.imports.details import split_details

    further = split_details(details)
    runs.refresh(site.store, site.workspace)
    kept = runs.take_in(site.workspace, sent)
    # One argument each: what begins with dashes is no setting of its own. The file comes first:
    # a setting of several words would take it for one of them.
    arguments = [*RUN_KINDS["import"].command, str(kept), f"--workspace={site.workspace}"]
    arguments += [f"--annotator={annotator}"] if annotator else []
    arguments += further
    config = {"file": sent.name, "annotator": annotator, "details": details}
    try:
        return runs.launch(site.store, site.workspace, "import", arguments, config)
    except BaseException:
        runs.remove_incoming(site.workspace, kept)
        raise


def what_is_missing(site: Site, kind: str, choices: Mapping[str, Any]) -> str:
    """Why a run of this kind cannot start yet, with the remedy; empty where it can."""
    counts = site.store.content.counts()
    content = {"pretrain": "documents", "sft": "demonstrations", "sample": "prompts"}.get(kind)
    if content and not getattr(counts, content):
        return f"there are no {content} yet: import some on the Data page"
    if kind == "sample" and choices.get("endpoint") and not choices.get("policy"):
        return "Model at the endpoint is empty: write what the endpoint calls it"
    if kind == "reward":
        objective = choices.get("objective", RewardSettings.objective)
        return missing_judgements(counts.judgements, objective)
    if kind == "grpo" and not choices.get("resume"):
        if not choices.get("policy") and not usable(site.store, "sft"):
            return "there is no fine-tuned policy yet: press Fine-tune (SFT) first"
        if not choices.get("reward") and not usable(site.store, "reward"):
            return "there is no reward model yet: train one on the Reward model page first"
    if kind == "compare" and not choices.get("policy"):
        return "there is no finished GRPO run to compare yet: launch GRPO first"
    return ""


def resume(site: Site, run_id: str) -> str:
    """Go on with a GRPO run that was stopped or died, with the settings it had."""
    run = site.store.runs.get(run_id or "")
    if run is None or run.kind != "grpo":
        raise ValueError(f"run {run_id!r} is no GRPO run: choose one that was stopped or died")
    if run.live or run.status == "finished":
        raise ValueError(f"run {run_id} is {run.status}: only a stopped or died run goes on")
    return start(site, "grpo", resume=run_id)


def stop(site: Site, run_id: str) -> str:
    """Ask a run to stop at its next step and keep what it has."""
    if not run_id:
        raise ValueError("choose a run first")
    runs.request_stop(site.store, run_id)
    return run_id


def usable(store: Store, kind: str) -> list[Run]:
    """Runs of a kind that left something to go on from: finished ones, and stopped GRPO runs."""
    wanted = ("finished", "stopped") if kind == "grpo" else ("finished",)
    return [run for run in store.runs.list(kind) if run.status in wanted]


def missing_judgements(judgements: Mapping[str, int], objective: Objective) -> str:
    """Why an objective cannot be trained yet, in one line; empty where the numbers suffice.

    Whether they tell completions apart, all ties for one, is what the run itself looks at first.
    """
    have = count_learnable(judgements, objective)
    if have >= MIN_JUDGEMENTS:
        return ""
    kinds = KINDS_OF[objective]
    what = JUDGEMENT_KINDS[kinds[0]] if len(kinds) == 1 else "judgements"
    able = [other for other in OBJECTIVES if count_learnable(judgements, other) >= MIN_JUDGEMENTS]
    return (
        f"{have} {what} are too few for objective {objective}: {MIN_JUDGEMENTS - have} more are"
        f" needed, open the queue and rate{f', or choose objective {able[0]}' if able else ''}"
    )


def count_learnable(
    judgements: Mapping[str, int], objective: Objective = RewardSettings.objective
) -> int:
    """How many judgements, counted by kind, an objective learns from."""
    return sum(judgements[kind] for kind in KINDS_OF[objective])
