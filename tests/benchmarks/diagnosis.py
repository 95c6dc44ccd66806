"""Whether a run's diagnosis is right: real short GRPO runs, healthy ones and ones with a fault.

python -m tests.benchmarks.diagnosis [--healthy N] [--faulty N] [--first SEED] [--keep FOLDER]

A tiny model is taught to answer, its answers are judged by simulated annotators, a reward model
learns from them, and GRPO climbs it: once healthy for every seed, then with each fault put into a
real component. The diagnosis sees each run live, step by step, as its owner would. A false alarm
is a verdict other than "fine" at any step of a healthy run. A fault is found when a verdict that
names its mechanism is said; which do was fixed beforehand, in faults.py. There the run ends, as
its owner would end it (one with beta 0 goes on). Runs that preflight would have stopped are trained
all the same; what it said stands in a column. Prints Markdown; with --keep, runs stay there and are
not made again. Seeds below 200 served to set rules and thresholds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from transformers.utils.logging import disable_progress_bar

from data.runs.files import samples
from data.schema import Completion, make_prompt
from data.simulated_annotators import utility
from data.stats.intervals import wilson
from grpo.diagnosis.diagnose import diagnose
from reward_model.benchmark.tables import machine
from tests.benchmarks.faults import FAULTS, HEALTHY, rows, run_one
from tests.benchmarks.figures import say
from tests.benchmarks.garden import Garden, garden

ENDS = 6
"""Steps at each end of a run whose means are compared."""


@dataclass
class Seen:
    """One run as its diagnosis saw it."""

    fault: str
    steps: int
    first: dict[str, int] = field(default_factory=dict)
    """Verdicts other than "fine", with the step at which each was first said."""
    preflight: str = ""
    ended: str = ""
    ill: str = ""
    """For a healthy run: in what it was not healthy after all."""

    def found_at(self) -> int | None:
        """The first step at which the fault was named."""
        named = [self.first[n] for n in FAULTS[self.fault].names if n in self.first]
        return min(named, default=None)


def watch(folder: Path, fault: str) -> Seen:
    """Diagnose a run after each of its steps."""
    steps = rows(folder)
    settings = json.loads((folder / "config.json").read_text())
    found = folder / "preflight.json"
    baseline = json.loads(found.read_text())["baseline"] if found.exists() else None
    how = json.loads((folder / "done").read_text())
    seen = Seen(fault, int(settings["steps"]), preflight=how["preflight"], ended=how["run"])
    for n in range(1, len(steps) + 1):
        for verdict in diagnose(steps[:n], settings, baseline):
            if verdict.level != "fine":
                seen.first.setdefault(verdict.name, n)
    if fault == HEALTHY:
        seen.ill = unhealthy(folder, steps, settings["kl_target"])
    return seen


def unhealthy(folder: Path, steps: Sequence[dict[str, Any]], kl_target: float) -> str:
    """In what a run was not healthy, from outside the diagnosis: by what people would have wanted
    (the simulated annotators' true utility) and by bounds on KL and entropy."""
    wanted = [
        (s["step"], utility(Completion(make_prompt(s["prompt"]), s["completion"], s["finished"])))
        for s in samples(folder)
    ]
    truth = [_mean([u for step, u in wanted if step == row["step"]]) for row in steps]
    gains = {"true utility": _gain(truth), "reward": _gain([row["reward_mean"] for row in steps])}
    bad = [f"{name} fell by {-gain:.2f}" for name, gain in gains.items() if gain <= 0]
    kl = _mean([row["kl_nats"] for row in steps[-ENDS:]])
    entropy = _mean([r["entropy"] for r in steps[-ENDS:]]) / steps[0]["entropy"]
    if not 0.1 < kl < 2 * kl_target:
        bad.append(f"KL of {kl:.2g}")
    if not 0.6 < entropy < 1.4:
        bad.append(f"entropy at {entropy:.0%} of its start")
    return ", ".join(bad)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _gain(values: Sequence[float]) -> float:
    return _mean(values[-ENDS:]) - _mean(values[:ENDS])


def share(hits: int, n: int) -> str:
    """A share with Wilson's 95% interval."""
    low, high = wilson(hits / n, n)
    return f"{hits} of {n}, {hits / n:.0%} [{low:.0%}, {high:.0%}]"


def false_alarms(seen: Sequence[Seen]) -> list[str]:
    """What is said of the healthy runs."""
    alarmed = [s for s in seen if s.first]
    lines = [f"False alarms on healthy runs: {share(len(alarmed), len(seen))} (bar: at most 5%)."]
    names = Counter(name for s in seen for name in s.first)
    if names:
        lines.append("They were: " + ", ".join(f"{name} {n}" for name, n in names.items()) + ".")
    ill = [s.ill for s in seen if s.ill]
    well = share(len(seen) - len(ill), len(seen))
    lines.append(f"Healthy by true utility, reward, KL and entropy at their end: {well}.")
    if ill:
        lines.append("Not healthy: " + "; ".join(ill) + ".")
    return lines


def table(faulty: dict[str, list[Seen]]) -> list[str]:
    """One line a fault."""
    heads = (
        "fault", "named by", "found, 95% interval", "at step, median (latest)", "steps saved",
        "also said", "preflight",
    )  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    every: list[Seen] = []
    for fault, seen in faulty.items():
        every += seen
        lines.append("| " + " | ".join([fault, *_cells(FAULTS[fault].names, seen)]) + " |")
    hits = sum(s.found_at() is not None for s in every)
    lines += ["", f"Found in all: {share(hits, len(every))} (bar: at least 90%)."]
    short = [
        fault
        for fault, seen in faulty.items()
        if sum(s.found_at() is not None for s in seen) < 0.9 * len(seen)
    ]
    return [*lines, "Below 90%: " + (", ".join(short) or "none") + "."]


def _cells(names: Sequence[str], seen: Sequence[Seen]) -> list[str]:
    found = [step for s in seen if (step := s.found_at()) is not None]
    saved = [s.steps - step for s in seen if (step := s.found_at()) is not None]
    said = Counter(name for s in seen for name in s.first)
    own = [f"{name} {said[name]}" for name in names if said[name]]
    also = [f"{name} {n}" for name, n in said.most_common() if name not in names]
    return [
        ", ".join(own) or "-",
        share(len(found), len(seen)),
        f"{median(found):g} ({max(found)})" if found else "-",
        f"{median(saved):g} of {max(s.steps for s in seen)}" if saved else "-",
        ", ".join(also) or "-",
        f"stops {sum(bool(s.preflight) for s in seen)} of {len(seen)}",
    ]


def measure(
    world: Garden, folder: Path, fault: str, seeds: Sequence[int], steps: int = 0
) -> list[Seen]:
    """Runs with a fault, or healthy ones, as their diagnosis saw them."""
    found = []
    for seed in seeds:
        with contextlib.redirect_stdout(io.StringIO()):
            made = run_one(world, folder, fault, seed, steps)
        found.append(watch(made, fault))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--healthy", type=int, default=20, help="healthy seeds")
    parser.add_argument("--faulty", type=int, default=10, help="seeds of each fault")
    parser.add_argument("--first", type=int, default=200, help="the first seed")
    parser.add_argument("--keep", type=Path, help="folder where the runs stay")
    asked = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    disable_progress_bar()
    with contextlib.ExitStack() as stack:
        folder = asked.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with contextlib.redirect_stdout(io.StringIO()):
            world = stack.enter_context(garden(folder / "world"))
        seeds = range(asked.first, asked.first + max(asked.healthy, asked.faulty))
        healthy = measure(world, folder / "runs", HEALTHY, seeds[: asked.healthy])
        say(f"{machine()}; runs of {healthy[0].steps} steps; seeds from {asked.first}\n")
        say("\n".join(false_alarms(healthy)) + "\n")
        faulty = {
            fault: measure(world, folder / "runs", fault, seeds[: asked.faulty]) for fault in FAULTS
        }
        say("\n".join(table(faulty)))


if __name__ == "__main__":
    main()
