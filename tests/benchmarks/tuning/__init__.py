"""What memory tuning a reward model takes, beside what its preflight says it will.

python -m tests.benchmarks.tuning [--model MODEL] [--tokens N] [--completions N] [--compared N]

Makes one optimiser step of LoRA, in this process, on that many made-up texts of so many tokens, a
quarter of them prompt, in prompts whose completions are all compared with the next; prints what
the preflight stated, and how far the process's memory grew above what it was before the network
was loaded. Linux and macOS; the memory of a GPU is not looked at.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from data.runs.checks import GIB
from data.runs.recorder import Recorder
from data.schema import Answer, Completion, Judgement, Task, make_prompt
from reward_model.config import BUILT_IN_MODEL, RewardSettings
from reward_model.dataset.examples import Examples, collect
from reward_model.evaluation.cross_validation import Model
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import Rendered
from reward_model.language_model.views import views_of
from reward_model.likelihood.fit import fit_head
from reward_model.training import finetune
from reward_model.training.reading import Backbone
from tests.benchmarks.figures import machine, say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--model", default=BUILT_IN_MODEL)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--completions", type=int, default=16)
    parser.add_argument("--compared", type=int, default=2)
    asked = parser.parse_args()
    start = time.monotonic()
    with MemoryWatch.running() as watch:
        backbone = Backbone.of(find_origin(asked.model))
        view = views_of(backbone.causal)[0][0]
        network = backbone.network(view)
        weights = sum(p.numel() * p.element_size() for p in network.parameters())
        examples = comparisons(asked.completions, asked.compared)
        width = view.blocks * network.config.get_text_config().hidden_size
        features = np.random.default_rng(0).normal(size=(len(examples.completions), width))
        fit = fit_head(features, Model().joint(examples), 1.0)
        before, watch.peak = watch.now(), 0
        texts = made_up(examples, asked.tokens)
        settings = RewardSettings(batch_size=asked.completions, max_tokens=asked.tokens)
        pad = backbone.tokenizer.pad_token_id
        finetune.tune(network, examples, texts, fit, settings, pad, Quiet(), 0, view)
    say(
        f"{asked.completions} texts of {asked.tokens} tokens, {asked.compared} compared with one"
        f" another, on {asked.model}: weights {weights / GIB:.2f} GiB, grown by"
        f" {(watch.peak - before) / GIB:.2f} GiB above them, together"
        f" {(weights + watch.peak - before) / GIB:.2f} GiB; {machine()},"
        f" {time.monotonic() - start:.0f} s"
    )


def comparisons(completions: int, compared: int) -> Examples:
    """Comparisons of each prompt's completions, each with the next one."""
    judgements: list[Judgement] = []
    for first in range(0, completions, compared):
        prompt = make_prompt(f"Question {first}?")
        answers = [Completion(prompt, f"answer {i}") for i in range(compared)]
        for a, b in pairwise(answers):
            value = "ab"[len(judgements) % 2]
            judged = Judgement(
                len(judgements), Task("pairwise", a, b), "ann", Answer(value), "a", ""
            )
            judgements.append(judged)
    return collect(judgements)


def made_up(examples: Examples, tokens: int) -> list[Rendered]:
    """Random ids, a quarter of which are the prompt's."""
    rng = random.Random(0)
    prompts: dict[int, list[int]] = {}
    found = []
    for prompt in examples.prompt.tolist():
        start = prompts.setdefault(prompt, rng.choices(range(3, 300), k=tokens // 4))
        found.append(Rendered(start, rng.choices(range(3, 300), k=tokens - len(start))))
    return found


class Quiet(Recorder):
    """A run without a row: only its folder is used."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp())

    def check_stop(self) -> None:
        pass

    def progress(self, done: int, total: int, message: str = "") -> None:
        pass

    def log(self, **metrics: Any) -> None:
        pass


@dataclass
class MemoryWatch:
    """The most that this process held (bytes), looked at every 10 ms."""

    peak: int = 0
    over: bool = False

    @staticmethod
    def now() -> int:
        return int(psutil.Process().memory_info().rss)

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[MemoryWatch]:
        watch = cls()
        thread = threading.Thread(target=watch._look)
        thread.start()
        try:
            yield watch
        finally:
            watch.over = True
            thread.join()

    def _look(self) -> None:
        while not self.over:
            self.peak = max(self.peak, self.now())
            time.sleep(0.01)
