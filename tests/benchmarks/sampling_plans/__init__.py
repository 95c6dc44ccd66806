"""What to sample for the same number of judgements: few prompts for three annotators, or many.

python -m tests.benchmarks.sampling_plans --workspace FOLDER [--seed 0] [--plans 72x3 240x1]

FOLDER is one that `make demo` has filled. For each plan its SFT policy answers so many prompts,
simulated annotators give as many judgements as in the demo, and a head learns from them. Accuracy
is against the true utility, on pairs of the policy's answers to the test prompts. Prints Markdown;
intervals are 95%, by a bootstrap over prompts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import math
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from data import starter
from data.runs.files import runs_folder
from data.schema import Completion
from data.simulated_annotators import simulate, utility
from data.stats.bootstrap import clustered_mean
from data.stats.estimate import format_estimate
from data.store import Store
from grpo import sample
from grpo.config import LoopSettings
from grpo.loop import Stages, train_reward
from reward_model.scoring.scorer import Scorer
from tests.benchmarks.figures import machine, say

PLANS = ("72x3", "144x1", "240x3", "240x1")
"""Prompts that are answered, times annotators of each task."""
DRAWS = 4
"""Answers to each prompt."""
NEAR = 0.15
"""Two answers are about as long where their words differ by no more than this share."""


def measure(policy: str, prompts: int, annotators: int, unseen: list[Completion], seed: int) -> str:
    """One plan's row."""
    settings = LoopSettings()
    with tempfile.TemporaryDirectory() as folder, Store.open(folder) as store:
        starter.load(store)
        stages = Stages(store, Path(folder), seed)
        asked = replace(settings.sample, limit=prompts, annotators=annotators, per_prompt=DRAWS)
        with contextlib.redirect_stdout(io.StringIO()):
            tasks = math.ceil(settings.judgements / annotators)
            stages.run("sample", sample.sample, asked, policy=policy, tasks=tasks)
            given = simulate(store, settings.judgements, seed=seed)
            head = replace(settings.reward, tuning="head")
            run, _ = stages.run("reward", train_reward, head, policy=policy)
        rewards = Scorer.load(runs_folder(Path(folder)) / run).rewards_of(unseen)
    cells = [str(prompts), str(annotators), str(given), f"{stages.seconds['sample']:.0f}"]
    by_prompt: dict[str, list[tuple[Completion, float]]] = defaultdict(list)
    for completion, reward in zip(unseen, rewards, strict=True):
        by_prompt[completion.prompt.id].append((completion, reward))
    right: list[tuple[bool, str, bool]] = []
    for prompt, answers in by_prompt.items():
        for (a, ra), (b, rb) in combinations(answers, 2):
            if (apart := utility(a) - utility(b)) != 0:
                words = [len(one.text.split()) for one in (a, b)]
                near = max(words) - min(words) <= NEAR * max(words)
                right.append(((ra - rb) * apart > 0, prompt, near))
    for some in (right, [one for one in right if one[2]]):
        found = clustered_mean([float(one[0]) for one in some], [one[1] for one in some])
        cells.append(format_estimate(found))
    return f"| {' | '.join(cells)} |"


def answers_to_test_prompts(policy: str, seed: int) -> list[Completion]:
    with tempfile.TemporaryDirectory() as folder, Store.open(folder) as store:
        starter.load(store)
        asked = replace(LoopSettings().sample, prompts="test", limit=0, per_prompt=DRAWS)
        stages = Stages(store, Path(folder), seed + 1000)
        with contextlib.redirect_stdout(io.StringIO()):
            stages.run("sample", sample.sample, asked, policy=policy, tasks=0)
        return [generation.completion for generation in store.content.generations(policy)]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workspace", type=Path, required=True, help="folder of a demo")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plans", nargs="+", default=PLANS, help="prompts x annotators of a task")
    asked = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    disable_progress_bar()
    place = asked.workspace / f"seed-{asked.seed}"
    with Store.open(place) as store:
        (sft, *_) = store.runs.list("sft")
    policy = str((runs_folder(place) / sft.id).absolute())
    unseen = answers_to_test_prompts(policy, asked.seed)
    say(f"{machine()}; {len(unseen)} answers to test prompts\n")
    say("| prompts | annotators | judgements | sampling, s | accuracy | where about as long |")
    say("|---|---|---|---|---|---|")
    for plan in asked.plans:
        prompts, annotators = map(int, plan.split("x"))
        say(measure(policy, prompts, annotators, unseen, asked.seed))
