"""Everything the lead pages show, read once from the store and the runs' folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from data import runs
from data.schema import Annotator
from data.store.content import Counts
from data.store.people import Guidelines
from data.store.run_rows import Run
from data.task_planning import Shares
from grpo.config import WINDOW
from labeler import jobs
from labeler.jobs import Site
from labeler.lead import receipt_routes
from labeler.lead.next_step import Facts

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """One moment of the project."""

    site: Site
    counts: Counts
    for_leads: int
    """Open tasks that only leads are asked."""
    models: Mapping[str, int]
    runs: tuple[Run, ...]
    """All, newest first."""
    people: tuple[Annotator, ...]
    judged: Mapping[str, int]
    guidelines: Guidelines | None
    shares: Shares

    def of(self, kind: str) -> list[Run]:
        return [run for run in self.runs if run.kind == kind]

    @property
    def live(self) -> list[Run]:
        return [run for run in self.runs if run.live]

    def newest(self, kind: str) -> Run | None:
        """The newest finished run of a kind."""
        return next((run for run in self.of(kind) if run.status == "finished"), None)

    def find(self, run_id: str | None) -> Run | None:
        return next((run for run in self.runs if run.id == run_id), None)

    def report(self, run: Run | None) -> dict[str, Any]:
        """A run's report; empty while there is none or it cannot be read."""
        return self._read(run, runs.report, {})

    def preflight(self, run: Run | None) -> dict[str, Any]:
        """What a GRPO run checked before its first step; empty while there is nothing."""
        return self._read(run, runs.preflight, {})

    def verdicts(self, run: Run | None) -> list[dict[str, Any]]:
        """What a GRPO run's figures say so far."""
        none: list[dict[str, Any]] = []
        found = self._read(run, runs.verdicts, none)
        return [verdict for verdict in found if isinstance(verdict, dict)]

    def metrics(self, run: Run | None) -> list[dict[str, Any]]:
        """A run's steps; read anew only when there are more."""
        path = self.folder(run) / "metrics.jsonl" if run else None
        if path is None or not path.exists():
            return []
        state = path.stat()
        return _metrics(path.parent, state.st_mtime_ns, state.st_size)

    def samples(self, run: Run | None, step: int | None = None) -> list[dict[str, Any]]:
        """What a GRPO run drew at a step, or at its last."""
        return runs.samples_of(self.folder(run), step) if run else []

    def _read(self, run: Run | None, read: Callable[[Path], T | None], nothing: T) -> T:
        """What stands in a file of a run; nothing while it is not there or cannot be read."""
        try:
            found = read(self.folder(run)) if run else None
        except (OSError, ValueError):
            return nothing
        return found if isinstance(found, type(nothing)) else nothing

    def has_checkpoint(self, run: Run) -> bool:
        """Whether a run left something to go on from."""
        one: Run | None = run
        for _ in self.runs:  # a run that went on from another may have none of its own yet
            if one is None or any(self.folder(one).glob(f"checkpoint-*/{WINDOW}")):
                return one is not None
            one = self.find(str(one.config.get("resume") or ""))
        return False

    def receipt(self, run: Run | None) -> list[str]:
        """The files of the receipt that a run has written."""
        return receipt_routes.written(self.site, run) if run else []

    def log(self, run: Run, lines: int = 30) -> str:
        return runs.log_tail(self.folder(run), lines)

    def folder(self, run: Run) -> Path:
        return self.site.folder(run.id)


@lru_cache(maxsize=32)
def _metrics(directory: Path, _changed: int, _size: int) -> list[dict[str, Any]]:
    return runs.metrics(directory)


def take(site: Site) -> Snapshot:
    """Read the present state; runs whose process is gone are marked as died on the way."""
    store = site.store
    return Snapshot(
        site=site,
        counts=store.content.counts(),
        for_leads=store.ledger.for_leads(),
        models=store.content.models(),
        runs=tuple(runs.refresh(store, site.workspace)),
        people=tuple(store.people.all()),
        judged=store.ledger.by_annotator(),
        guidelines=store.people.guidelines(),
        shares=store.checks.shares(),
    )


def facts_of(now: Snapshot) -> Facts:
    """What the recommendation rests on."""
    grpo = now.newest("grpo")
    compared = {run.config.get("policy") for run in now.of("compare") if run.status == "finished"}
    return Facts(
        prompts=now.counts.prompts,
        demonstrations=now.counts.demonstrations,
        completions=now.counts.completions,
        judgements=jobs.judged(now.counts.judgements),
        live={run.kind for run in now.live},
        sft=now.newest("sft") is not None,
        reward=now.newest("reward") is not None,
        loses=now.report(now.newest("reward")).get("verdict") == "loses",
        grpo=grpo is not None,
        compared=grpo is not None and grpo.id in compared,
        resampled=grpo is not None
        and any(run.config.get("policy") == grpo.id for run in now.of("sample")),
    )
