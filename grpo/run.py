"""One run of a command: its settings resolved and written, its work done, its report kept.

No torch here: it is loaded by the work itself.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

from data import runs
from data.runs.files import runs_folder
from data.runs.recorder import Recorder, recording
from data.settings import RunPlace, as_config, from_config
from data.store import Store
from grpo.config import WINDOW, PolicySettings
from grpo.reports.records import GrpoReport, Report

S = TypeVar("S", bound=RunPlace)
R = TypeVar("R", bound=Report)


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """What came of a run."""

    run_id: str
    folder: Path
    report: R | None
    """None where it was stopped before there was anything to report."""
    finished: bool
    """False where it was stopped before its end: then there is no report.json."""


def execute(
    kind: str, work: Callable[[S, Store, Recorder], R], settings: S, store: Store
) -> Outcome[R]:
    """Do the work as a run of this kind, of the resolved settings, which are written first.

    Raises what the work raises; the run's row says that it failed.
    """
    if isinstance(settings, PolicySettings):
        settings = cast(S, resolve(settings, store))
    config = as_config(settings)
    report, finished = None, False
    with recording(store, settings.workspace, kind, config, settings.run_id) as run:
        print(f"run {run.id}", flush=True)
        report = work(settings, store, run)
        # A stop that comes after GRPO's last step ends nothing early.
        whole = isinstance(report, GrpoReport) and report.steps == config["steps"]
        finished = whole or not run.stop_requested
        if finished:
            run.report(report.as_json())
    return Outcome(run.id, run.directory, report, finished)


def resolve(settings: PolicySettings, store: Store) -> PolicySettings:
    """GRPO's settings with policy and reward model named; a resumed run's own, whatever is asked.

    Raises ValueError if the run to resume is unknown, live or without checkpoint, or there is no
    SFT run or reward model yet.
    """
    if settings.resume:
        runs.refresh(store, settings.workspace)  # one that was killed is seen to have died
        row = store.runs.get(settings.resume)
        if row is not None and row.live:
            raise ValueError(f"run {settings.resume} is going on: stop it first")
        # whoever has the checkpoint wrote its settings in full; one after it may have died first
        folder = find_checkpoint(settings, store).parent
        settings = from_config(
            PolicySettings,
            json.loads((folder / "config.json").read_text()),
            resume=settings.resume,
            run_id=settings.run_id,
            workspace=settings.workspace,
            store=settings.store,
        )
    policy = settings.policy or newest(store, "sft", "SFT run", "fine-tune first (coach sft)")
    reward = settings.reward or newest(
        store, "reward", "reward model", "train one first (coach reward)"
    )
    return dataclasses.replace(settings, policy=policy, reward=reward)


def newest(store: Store, kind: str, what: str, remedy: str) -> str:
    """Id of the newest finished run of a kind. Raises ValueError with the remedy if none is."""
    for run in store.runs.list(kind):
        if run.status == "finished":
            return run.id
    raise ValueError(f"there is no finished {what} yet: {remedy}")


def find_checkpoint(settings: PolicySettings, store: Store) -> Path:
    """The last whole checkpoint of the run to resume, or else of the run that it resumed itself.

    Raises ValueError where there is none.
    """
    seen: list[str] = []
    name = settings.resume
    while name and name not in seen:
        seen.append(name)
        folder = runs_folder(settings.workspace) / name
        whole = [p for p in folder.glob("checkpoint-*") if (p / WINDOW).is_file()]
        if whole:
            return max(whole, key=lambda p: int(p.name.split("-")[1]))
        row = store.runs.get(name)
        name = row.config.get("resume", "") if row else ""
    raise ValueError(f"run {settings.resume!r} has no checkpoint to resume from: start it anew")
