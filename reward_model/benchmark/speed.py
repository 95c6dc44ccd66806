"""Seconds of a head's fit, and of a refit to some judgements more."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from reward_model.benchmark.judged_texts import Say
from reward_model.benchmark.worlds import draw_judgements, first, world
from reward_model.evaluation.cross_validation import Model
from reward_model.likelihood.fit import Basis, fit_head

JUDGEMENTS, PROMPTS, WIDTH, PEOPLE = 5000, 1500, 4 * 576, 10
"""The width is that of the usual view of the built-in model."""
NEW = 10
"""Judgements of each kind that a refit has more of."""
FITS, REFITS = 3, 5
"""Times that each is measured."""
CLOCK, PROCESSOR = "clock", "processor"
T = TypeVar("T")


def seconds(seed: int, say: Say) -> dict[str, dict[str, list[float]]]:
    """Seconds of each step, by wall clock and by processor time.

    "refit" starts from the fit made before NEW judgements of each kind came. On a busy machine the
    clock counts what else runs, too.
    """
    here = world(seed, prompts=PROMPTS, width=WIDTH, people=PEOPLE)
    third = -(-JUDGEMENTS // 3)
    examples = draw_judgements(here, np.random.default_rng(seed), third, third, third, PROMPTS)
    x, joint = here.features, Model().joint(examples)
    found: dict[str, dict[str, list[float]]] = {}

    def timed(name: str, act: Callable[[], T]) -> T:
        clock, processor = time.perf_counter(), time.process_time()
        out = act()
        took = found.setdefault(name, {CLOCK: [], PROCESSOR: []})
        took[CLOCK].append(time.perf_counter() - clock)
        took[PROCESSOR].append(time.process_time() - processor)
        return out

    say(f"seconds at {JUDGEMENTS:,} judgements")
    basis = timed("principal components", lambda: Basis.of(x))
    precision = float(np.square(basis.coordinates(x)).sum(1).mean())
    earlier = fit_head(x, Model().joint(first(examples, third - NEW)), precision, basis)
    for _ in range(FITS):
        timed("fit", lambda: fit_head(x, joint, precision, basis))
    for _ in range(REFITS):
        timed("refit", lambda: fit_head(x, joint, precision, start=earlier))
    timed("standard deviations of 6,000 scores", lambda: earlier.spread(x, basis.mean))
    return found
