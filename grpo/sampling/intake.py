"""Completions on their way into the store, as tasks."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from data.runs.recorder import Recorder
from data.schema import Completion, Generation, Kind, Prompt
from data.self_identification import Named
from data.store import Store
from data.task_planning import DEFAULT_SHARES, Mix, plan_tasks, question
from data.texts.intake import why_left_out
from grpo.config import SampleSettings
from grpo.reports.records import EndpointSource, LocalSource, SampleReport

ALL = "all"
"""The mix of whatever has answered."""


class Intake:
    """New completions on their way in: stored, counted, and tasks queued over them."""

    def __init__(
        self, settings: SampleSettings, store: Store, run: Recorder, prompts: Sequence[Prompt]
    ) -> None:
        self.settings, self.store, self.run, self.prompts = settings, store, run, prompts
        self.kept: list[Completion] = []
        self.left_out = Counter[str]()
        """What was sampled and cannot be kept, by reason."""
        self.named = Named()
        self.queued: Counter[Kind] = Counter()
        self.between = 0
        self._rng = random.Random(settings.seed)
        self._position = store.ledger.last_position()
        chosen = settings.overlap
        self._overlap = store.control_tasks.shares().overlap if chosen is None else chosen
        self._asked = store.content.questions()
        self._partners: dict[str, list[Completion]] = {}
        self._models: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
        if settings.mix and prompts:
            self._find_partners()

    def keep(self, new: Sequence[Generation], done: int, total: int) -> None:
        """Store a batch and queue its share of the tasks. Raises Stopped if that was asked for.

        What no store can keep is left out, and counted.
        """
        reasons = [why_left_out(generation.completion.written) for generation in new]
        self.left_out.update(filter(None, reasons))
        new = [generation for generation, reason in zip(new, reasons, strict=True) if not reason]
        self.store.content.add_generations(new)
        completions = [generation.completion for generation in new]
        self.kept += completions
        self.named.see(completions)
        self._queue_tasks(completions, done / total)
        self.run.progress(done, total, "sampling completions")
        print(f"sampled {done} of {total}", flush=True)
        self.run.check_stop()

    def report(self, source: LocalSource | EndpointSource | None, seconds: float) -> SampleReport:
        """What came of it; `source` is None where nothing was to be sampled."""
        finished = sum(c.finished for c in self.kept)
        said = [
            f"{len(self.kept)} completions of {len(self.prompts)} prompts;"
            f" {finished} ended by themselves."
            if self.prompts
            else f"No completion is missing: each prompt has {self.settings.per_prompt} already."
        ]
        blank = [c for c in self.kept if not c.text.strip()]
        if isinstance(source, EndpointSource):
            said += [  # cut otherwise than at the limit: why, in the endpoint's words
                f"{n} {'is' if n == 1 else 'are'} unfinished: ended by {ending}."
                for ending, n in source.endings.items()
                if ending not in ("stop", "length")
            ]
        cut = sum(not c.finished for c in blank)
        if empty := len(blank) - cut:
            said.append(f"{empty} {'is' if empty == 1 else 'are'} empty: kept, and judged as such.")
        if cut:
            said.append(f"{cut} stopped before any answer: give more --sampling.max-new-tokens.")
        said += [f"Left out: {n} {reason}." for reason, n in self.left_out.items()]
        if self.named:
            said.append(f"{self.named.sentence()}.")
        if self.settings.mix and self.prompts:
            said.append(f"{self.between} of {self.queued['pairwise']} comparisons are mixed.")
        return SampleReport(
            summary=" ".join(said),
            completions=len(self.kept),
            distinct=len({c.id for c in self.kept}),
            finished=finished,
            without_answer=len(blank),
            thinking=sum(bool(c.thinking) for c in self.kept),
            left_out=dict(self.left_out),
            names_maker=len(self.named),
            tasks=sum(self.queued.values()),
            mixed=self.between,
            source=source,
            seconds=seconds,
        )

    def _queue_tasks(self, completions: Sequence[Completion], so_far: float) -> None:
        """Tasks over a batch, as many as are due when this share of all is sampled."""
        settings = self.settings
        due = {
            kind: max(0, round(settings.tasks * so_far * share) - self.queued[kind])
            for kind, share in DEFAULT_SHARES.items()
        }
        if not sum(due.values()):
            return
        mix = Mix()
        if settings.mix:
            for completion in completions:
                self._models[completion.id] |= {settings.policy}
            prompts = dict.fromkeys(completion.prompt.id for completion in completions)
            partners = [c for prompt in prompts for c in self._partners.get(prompt, [])]
            mix = Mix(partners, self._models, settings.across)
        tasks = plan_tasks(
            completions,
            self._rng,
            limit=sum(due.values()),
            shares=due,
            wanted=settings.annotators,
            overlap=self._overlap,
            start=self._position,
            mix=mix,
            asked=self._asked,
        )
        self.store.ledger.add_tasks(tasks)
        self.queued.update(task.kind for task in tasks)
        self.between += sum(mix.between(task) for task in tasks if task.kind == "pairwise")
        self._asked.update(map(question, tasks))
        self._position += len(tasks)

    def _find_partners(self) -> None:
        """Load what the models of the mix have answered. Raises ValueError if that is nothing."""
        wanted, ids = set(self.settings.mix), {prompt.id for prompt in self.prompts}
        there = [g for g in self.store.content.generations() if g.completion.prompt.id in ids]
        others = {g.model for g in there} - {self.settings.policy}
        unknown = wanted - others - {ALL, self.settings.policy}
        if unknown or not others:
            raise ValueError(
                f"mix {' '.join(sorted(unknown or wanted))}: no answer to these prompts is stored"
                f" under that name; use {', '.join([ALL, *sorted(others)])}"
                if others
                else "mix: no other model has answered these prompts yet: sample from one first"
            )
        for generation in there:
            if ALL in wanted or generation.model in wanted:
                completion = generation.completion
                if completion.id not in self._models:
                    self._partners.setdefault(completion.prompt.id, []).append(completion)
                self._models[completion.id] |= {generation.model}
