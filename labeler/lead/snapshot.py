"""Everything the lead pages show, read once from the store and the runs' folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from data import runs
from data.schema import Annotator
from data.store.accounts.guidelines import Guidelines
from data.store.accounts.people import Access
from data.store.content import Counts
from data.store.run_rows import Run
from data.task_planning import Shares
from grpo.config import WINDOW
from labeler import jobs
from labeler.jobs import Site
from labeler.lead import receipt_routes
from labeler.lead.next_step import LoopState

JsonMapping = Mapping[str, Any]
"""An object from one of a run's files: anything may be missing, or of another type."""
T = TypeVar("T")


def read_as(kind: type[T], found: object) -> T:
    """A dataclass from JSON: what is missing keeps its default, what is unknown is left out."""
    given = object_of(found)
    return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})  # type: ignore[arg-type]


def object_of(found: object) -> JsonMapping:
    """What was read, if it is a JSON object; else an empty one."""
    return found if isinstance(found, Mapping) else {}


def objects_in(found: object) -> list[JsonMapping]:
    """The objects of a JSON list; none where it is no list."""
    return [v for v in found if isinstance(v, Mapping)] if isinstance(found, list | tuple) else []


def mapping_in(found: JsonMapping, key: str) -> JsonMapping:
    """The object under a key; an empty one where there is none."""
    return object_of(found.get(key))


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
    access: Mapping[str, Access]
    """How each of them can get in, by name."""
    judged: Mapping[str, int]
    guidelines: Guidelines | None
    shares: Shares

    def of(self, kind: str) -> list[Run]:
        """The runs of a kind, newest first; of all kinds where it is empty."""
        return [run for run in self.runs if kind in ("", run.kind)]

    @property
    def live(self) -> list[Run]:
        return [run for run in self.runs if run.live]

    def last(self, kind: str) -> Run | None:
        """The newest run of a kind, whatever became of it."""
        return next(iter(self.of(kind)), None)

    def newest(self, kind: str) -> Run | None:
        """The newest finished run of a kind."""
        return next((run for run in self.of(kind) if run.status == "finished"), None)

    def find(self, run_id: str | None) -> Run | None:
        return next((run for run in self.runs if run.id == run_id), None)

    def report(self, run: Run | None) -> JsonMapping:
        """A run's report; empty while there is none or it cannot be read."""
        return object_of(self._read_file(run, runs.report))

    def preflight(self, run: Run | None) -> JsonMapping:
        """What a GRPO run checked before its first step; empty while there is nothing."""
        return object_of(self._read_file(run, runs.preflight))

    def verdicts(self, run: Run | None) -> list[JsonMapping]:
        """What a GRPO run's figures say so far."""
        return objects_in(self._read_file(run, runs.verdicts))

    def metrics(self, run: Run | None) -> Sequence[JsonMapping]:
        """A run's steps; read anew only when there are more."""
        path = self.folder(run) / "metrics.jsonl" if run else None
        if path is None or not path.exists():
            return []
        state = path.stat()
        return _read_metrics(path.parent, state.st_mtime_ns, state.st_size)

    def samples(self, run: Run | None, step: int | None = None) -> Sequence[JsonMapping]:
        """What a GRPO run drew at a step, or at its last."""
        return runs.samples_of(self.folder(run), step) if run else []

    def _read_file(self, run: Run | None, read: Callable[[Path], object]) -> object:
        """What stands in a file of a run; None while it is not there or cannot be read."""
        try:
            return read(self.folder(run)) if run else None
        except (OSError, ValueError):
            return None

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

    def file_marks(self) -> tuple[tuple[str, int, int], ...]:
        """When and how far the files of runs that are going on were written. Others' rest."""
        found = []
        for run in self.live:
            with suppress(OSError), os.scandir(self.folder(run)) as entries:
                for entry in entries:
                    state = entry.stat()
                    found.append((entry.path, state.st_mtime_ns, state.st_size))
        return tuple(sorted(found))

    def log(self, run: Run, lines: int = 30) -> str:
        return runs.log_tail(self.folder(run), lines)

    def folder(self, run: Run) -> Path:
        return self.site.folder(run.id)


@lru_cache(maxsize=32)
def _read_metrics(directory: Path, _changed: int, _size: int) -> Sequence[JsonMapping]:
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
        access=store.people.access(),
        judged=store.ledger.by_annotator(),
        guidelines=store.people.guidelines(),
        shares=store.control_tasks.shares(),
    )


def facts_of(now: Snapshot) -> LoopState:
    """What the recommendation rests on."""
    grpo, sft = now.newest("grpo"), now.newest("sft")
    compared = {run.config.get("policy") for run in now.of("compare") if run.status == "finished"}
    return LoopState(
        prompts=now.counts.prompts,
        demonstrations=now.counts.demonstrations,
        completions=now.counts.completions,
        judgements=jobs.count_learnable(now.counts.judgements),
        live={run.kind for run in now.live},
        sft=sft is not None,
        sft_sampled=sft is not None
        and any(
            run.config.get("policy") == sft.id and run.status not in ("failed", "died")
            for run in now.of("sample")
        ),
        reward=now.newest("reward") is not None,
        loses=now.report(now.newest("reward")).get("verdict") == "loses",
        grpo=grpo is not None,
        compared=grpo is not None and grpo.id in compared,
        resampled=grpo is not None
        and any(run.config.get("policy") == grpo.id for run in now.of("sample")),
    )
