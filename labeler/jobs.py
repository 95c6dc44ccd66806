"""Long work, started from the page: settings checked here, then a child process.

Each function returns the new run's id, or raises ValueError with one line that says what is
missing; then nothing was started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import runs
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

COMMANDS: dict[str, tuple[str, ...]] = {
    "pretrain": ("grpo", "pretrain"),
    "sft": ("grpo", "sft"),
    "sample": ("grpo", "sample"),
    "reward": ("reward_model", "train"),
    "grpo": ("grpo", "train"),
    "compare": ("grpo", "evaluate"),
}
TITLES = {
    "pretrain": "Continued pretraining",
    "sft": "Fine-tuning (SFT)",
    "sample": "Sampling",
    "reward": "Reward model",
    "grpo": "GRPO",
    "compare": "Comparison",
}
KINDS = {
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
    """What fine-tuning starts from."""

    @property
    def place(self) -> dict[str, Any]:
        """Where a child process finds the runs; `launch` hands it the store by its environment."""
        return {"workspace": self.workspace}

    def folder(self, run_id: str) -> Path:
        return runs.runs_folder(self.workspace) / run_id


def start(site: Site, kind: str, settings: RunPlace) -> str:
    """Launch a run of one kind; returns its id."""
    arguments = [*COMMANDS[kind], *as_arguments(settings)]
    return runs.launch(site.store, site.workspace, kind, arguments, as_config(settings))


def start_pretrain(site: Site, **choices: Any) -> str:
    """Train on the documents."""
    _refuse_second(site, "pretrain")
    if not site.store.content.counts().documents:
        raise ValueError("there are no documents yet: import some on the Data page")
    return _start(site, "pretrain", PretrainSettings, **{"model": site.model, **choices})


def start_sft(site: Site, **choices: Any) -> str:
    """Fine-tune on the demonstrations."""
    _refuse_second(site, "sft")
    if not site.store.content.counts().demonstrations:
        raise ValueError("there are no demonstrations yet: import some on the Data page")
    return _start(site, "sft", SftSettings, **{"model": site.model, **choices})


def start_sample(site: Site, **choices: Any) -> str:
    """Sample completions for the stored prompts and queue tasks over them."""
    _refuse_second(site, "sample")
    if not site.store.content.counts().prompts:
        raise ValueError("there are no prompts yet: import some on the Data page")
    if choices.get("endpoint") and not choices.get("policy"):
        raise ValueError("Model at the endpoint is empty: write what the endpoint calls it")
    return _start(site, "sample", SampleSettings, **{"policy": site.model, **choices})


def start_reward(site: Site, **choices: Any) -> str:
    """Train a reward model on the judgements of the kinds its objective reads."""
    _refuse_second(site, "reward")
    judgements = site.store.content.counts().judgements
    missing = missing_judgements(judgements, choices.get("objective", RewardSettings.objective))
    if missing:
        raise ValueError(missing)
    return _start(site, "reward", RewardSettings, **choices)


def start_grpo(site: Site, **choices: Any) -> str:
    """Train the policy against a reward model."""
    _refuse_second(site, "grpo")
    if not finished(site.store, "sft") and not choices.get("policy"):
        raise ValueError("there is no fine-tuned policy yet: press Fine-tune (SFT) first")
    if not finished(site.store, "reward") and not choices.get("reward"):
        raise ValueError("there is no reward model yet: train one on the Reward model page first")
    return _start(site, "grpo", PolicySettings, **choices)


def start_compare(site: Site, **choices: Any) -> str:
    """Compare a GRPO run's policy with the one it started from."""
    _refuse_second(site, "compare")
    if not choices.get("policy"):
        raise ValueError("there is no finished GRPO run to compare yet: launch GRPO first")
    return _start(site, "compare", ComparisonSettings, **choices)


def resume(site: Site, run_id: str) -> str:
    """Go on with a GRPO run that was stopped or died, with the settings it had."""
    run = site.store.runs.get(run_id or "")
    if run is None or run.kind != "grpo":
        raise ValueError(f"run {run_id!r} is no GRPO run: choose one that was stopped or died")
    if run.live or run.status == "finished":
        raise ValueError(f"run {run_id} is {run.status}: only a stopped or died run goes on")
    _refuse_second(site, "grpo")
    return _start(site, "grpo", PolicySettings, resume=run_id)


def stop(site: Site, run_id: str) -> str:
    """Ask a run to stop at its next step and keep what it has."""
    if not run_id:
        raise ValueError("choose a run first")
    runs.request_stop(site.store, run_id)
    return run_id


def finished(store: Store, kind: str) -> list[Run]:
    """Finished runs of a kind, newest first."""
    return [run for run in store.runs.list(kind) if run.status == "finished"]


def usable(store: Store, kind: str) -> list[Run]:
    """Runs of a kind that left something to go on from: finished ones, and stopped GRPO runs."""
    wanted = ("finished", "stopped") if kind == "grpo" else ("finished",)
    return [run for run in store.runs.list(kind) if run.status in wanted]


def live(store: Store, kind: str | None = None) -> list[Run]:
    return [run for run in store.runs.list(kind) if run.live]


def missing_judgements(judgements: Mapping[str, int], objective: Objective) -> str:
    """Why an objective cannot be trained yet, in one line; empty where the numbers suffice.

    Whether they tell completions apart, all ties for one, is what the run itself looks at first.
    """
    have = judged(judgements, objective)
    if have >= MIN_JUDGEMENTS:
        return ""
    kinds = KINDS_OF[objective]
    what = KINDS[kinds[0]] if len(kinds) == 1 else "judgements"
    able = [other for other in OBJECTIVES if judged(judgements, other) >= MIN_JUDGEMENTS]
    return (
        f"{have} {what} are too few for objective {objective}: {MIN_JUDGEMENTS - have} more are"
        f" needed, open the queue and rate{f', or choose objective {able[0]}' if able else ''}"
    )


def judged(judgements: Mapping[str, int], objective: Objective = RewardSettings.objective) -> int:
    """How many judgements, counted by kind, an objective learns from."""
    return sum(judgements[kind] for kind in KINDS_OF[objective])


def _start(site: Site, kind: str, settings: Callable[..., Any], **choices: Any) -> str:
    return start(site, kind, settings(**choices, **site.place))


def _refuse_second(site: Site, kind: str) -> None:
    """One run of a kind at a time: two would only slow each other down."""
    running = [run for run in runs.refresh(site.store, site.workspace) if run.live]
    same = [run for run in running if run.kind == kind]
    if same:
        raise ValueError(
            f"{TITLES[kind]} is running already ({same[0].id}): wait for it or stop it first"
        )
