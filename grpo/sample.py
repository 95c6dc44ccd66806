"""Completions for the stored prompts, from a policy here or an endpoint, and tasks over them.

No torch here: it is loaded where the policy runs on this machine.
"""

from __future__ import annotations

import random
import time
from collections import Counter

from data.runs.recorder import Recorder
from data.settings import loading
from data.splits import split_of
from data.store import Store
from grpo.config import SampleSettings
from grpo.reports.records import EndpointSource, LocalSource, SampleReport
from grpo.sampling.intake import Intake


def sample(settings: SampleSettings, store: Store, run: Recorder) -> SampleReport:
    """Sample for the stored prompts; each batch is stored, and its tasks queued, as it comes.

    Raises ValueError if none are stored; where only what is missing is wanted there may be none.
    """
    started = time.monotonic()
    splits = ("train", "validation") if settings.prompts == "judged" else (settings.prompts,)
    prompts = [p for p in store.content.prompts() if split_of(p) in splits]
    if not prompts:
        raise ValueError(
            f"no prompts of the set {settings.prompts!r} are stored: import some"
            ' ({"type": "prompt", ...}) first'
        )
    if settings.missing:
        there = Counter(g.completion.prompt.id for g in store.content.generations(settings.policy))
        prompts = [p for p in prompts if there[p.id] < settings.per_prompt]
    random.Random(settings.seed).shuffle(prompts)
    prompts = prompts[: settings.limit] if settings.limit else prompts
    intake = Intake(settings, store, run, prompts)
    source: LocalSource | EndpointSource | None = None
    if prompts and settings.endpoint:
        from grpo.sampling.endpoint import from_endpoint

        source = from_endpoint(settings, prompts, store, run, intake.keep, intake.left_out)
    elif prompts:
        with loading():
            from grpo.sampling.local import from_policy

        source = from_policy(settings, prompts, run, intake.keep, intake.left_out)
    return intake.report(source, round(time.monotonic() - started, 1))
