"""What pessimism does to GRPO: the same runs without it and with the certainty equivalent.

python -m tests.benchmarks.pessimism loop [--seeds 0 1 2] [--workspace FOLDER]
python -m tests.benchmarks.pessimism garden [--seeds 400 401 ...] [--workspace FOLDER]

loop: the loop of `make demo`; where the folder holds its seeds already, they are taken. Each seed's
SFT policy and reward model then train a second policy, which is compared on the test prompts with
SFT and with the first; the loop's own report has the first beside SFT. garden: short runs of a tiny
model, one pair a seed, by the mean true utility of what the policy samples in its last steps.
Prints Markdown; intervals are 95%, over prompts and over seeds. In a folder that is given, runs
stay and are not made again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats
from transformers.utils.logging import disable_progress_bar

from data.runs.files import samples
from data.schema import Completion, make_prompt
from data.simulated_annotators import utility
from data.stats.estimate import format_estimate
from data.store import Store
from grpo import evaluate
from grpo import train as grpo_train
from grpo.config import ComparisonSettings, LoopSettings
from grpo.loop import Stages, one_seed
from grpo.reports.records import ComparisonReport
from tests.benchmarks.faults import SETTINGS, rows, train_in
from tests.benchmarks.figures import machine, say
from tests.benchmarks.garden import Garden, garden

PESSIMISM = (0.0, 1.0)
LAST = 6
"""Steps at the end of a garden's run whose means are compared."""


# --- the loop


def measure_loop(folder: Path, seed: int, settings: LoopSettings) -> list[str]:
    """One seed's rows: the policy with pessimism beside SFT, then beside the one without."""
    place = folder / f"seed-{seed}"
    if not (place / "store.db").exists():
        plain = replace(settings.train, pessimism=PESSIMISM[0])
        one_seed(replace(settings, workspace=folder, train=plain), seed)
    with Store.open(place) as store:
        stages = Stages(store, place, seed)
        policies = [_policy(stages, settings, pessimism) for pessimism in PESSIMISM]
        rows = []
        for name, reference in (("SFT", ""), (f"{PESSIMISM[0]:g}", policies[0])):
            found = _compared(stages, settings, policies[1], reference)
            rows.append(_row(f"{seed} | {PESSIMISM[1]:g} less {name}", found))
    return rows


def _policy(stages: Stages, settings: LoopSettings, pessimism: float) -> str:
    """The id of the seed's GRPO run with this pessimism, trained where there is none."""
    for run in stages.store.runs.list("grpo"):
        if run.status == "finished" and run.config.get("pessimism", 0.0) == pessimism:
            return run.id
    (sft, *_), (reward, *_) = (stages.store.runs.list(kind) for kind in ("sft", "reward"))
    asked = replace(settings.train, pessimism=pessimism)
    run_id, _ = stages.run("grpo", grpo_train.train, asked, policy=sft.id, reward=reward.id)
    return run_id


def _compared(
    stages: Stages, settings: LoopSettings, policy: str, reference: str
) -> ComparisonReport:
    asked = ComparisonSettings(
        policy=policy,
        reference=reference,
        sampling=settings.train.sampling,
        per_prompt=settings.answers,
        true_taste=True,
    )
    return stages.run("compare", evaluate.compare, asked)[1]


def _row(head: str, found: ComparisonReport) -> str:
    cells = [format_estimate(found.win_rates["true utility"])]
    for row in found.rows:
        cells.append(f"{row.difference:+.2f} [{row.low:+.2f}, {row.high:+.2f}]")
    return f"| {head} | {' | '.join(cells)} |"


def loop(folder: Path, seeds: Sequence[int]) -> None:
    heads = (
        "seed", "pessimism", "wins by true utility", "reward", "true utility", "words", "finished",
        "KL between them, nats per answer",
    )  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for seed in seeds:
        lines += measure_loop(folder, seed, LoopSettings())
        say("\n".join(lines))


# --- the garden


def measure_garden(world: Garden, folder: Path, seed: int, pessimism: float) -> tuple[float, ...]:
    """(true utility, model's reward, premium, KL in nats per answer) of a run's last steps."""
    out = folder / f"{pessimism:g}-{seed}"
    if not (out / "done").exists():
        settings = replace(SETTINGS, seed=seed, pessimism=pessimism, workspace=world.workspace)
        with contextlib.redirect_stdout(io.StringIO()):
            train_in(world, out, settings)
    steps = rows(out)[-LAST:]
    since = steps[0]["step"]
    wanted = [
        utility(Completion(make_prompt(s["prompt"]), s["completion"], s["finished"]))
        for s in samples(out)
        if s["step"] >= since
    ]
    names = "model_reward", "risk_premium", "kl_nats"
    return float(np.mean(wanted)), *(float(np.mean([r[n] for r in steps])) for n in names)


def measure_gardens(folder: Path, seeds: Sequence[int]) -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.redirect_stdout(io.StringIO()):
            world = stack.enter_context(garden(folder / "world"))
        found = [
            [measure_garden(world, folder / "runs", seed, pessimism) for pessimism in PESSIMISM]
            for seed in seeds
        ]
    plain, careful = np.array(found).swapaxes(0, 1)
    say(f"{len(seeds)} seeds, {SETTINGS.steps} steps each; the last {LAST}\n")
    say(f"| | pessimism {PESSIMISM[0]:g} | {PESSIMISM[1]:g} | difference |\n|---|---|---|---|")
    names = "true utility", "reward model's mean", "premium", "KL to SFT, nats per answer"
    for i, name in enumerate(names):
        by = careful[:, i] - plain[:, i]
        half = stats.t.ppf(0.975, len(by) - 1) * by.std(ddof=1) / len(by) ** 0.5
        low, high = by.mean() - half, by.mean() + half
        means = f"{plain[:, i].mean():.3f} | {careful[:, i].mean():.3f}"
        say(f"| {name} | {means} | {by.mean():+.3f} [{low:+.3f}, {high:+.3f}] |")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("world", choices=("loop", "garden"))
    parser.add_argument("--seeds", type=int, nargs="+", help="0 1 2 for the loop, 400 to 411")
    parser.add_argument("--workspace", type=Path, help="folder where the runs stay")
    asked = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    disable_progress_bar()
    say(machine())
    with contextlib.ExitStack() as stack:
        folder = asked.workspace or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if asked.world == "loop":
            loop(folder, asked.seeds or (0, 1, 2))
        else:
            measure_gardens(folder, asked.seeds or range(400, 412))
