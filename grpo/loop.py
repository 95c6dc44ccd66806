"""The whole loop with no person in it, and its report: what `make demo` runs."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from data import runs, starter
from data.atomic_files import write_json
from data.runs.recorder import Recorder
from data.simulated_annotators import simulate
from data.stats.estimate import format_estimate
from data.store import Store
from grpo import evaluate, sample, sft
from grpo import train as grpo_train
from grpo.config import ComparisonSettings, LoopSettings
from grpo.reports.loop_html import write_html
from grpo.reports.records import LoopReport, RewardReport, SeedReport
from grpo.reports.text import report_lines, table
from grpo.run import R, S, execute
from reward_model import train as reward_train
from reward_model.config import RewardSettings
from reward_model.language_model.device import choose_dtype
from reward_model.receipt.text import receipt_lines

WIN_BAR, WIN_LOW_BAR, KL_BAR = 0.70, 0.55, 8.0
"""What the loop is held to: win rate, the lower end of its interval, nats of KL per answer."""


def loop(settings: LoopSettings) -> LoopReport:
    """Run the loop once for each seed; prints the table, writes report.json and report.html."""
    if not settings.seeds:
        raise ValueError("no seeds given: name at least one, e.g. --seeds 0")
    settings.workspace.mkdir(parents=True, exist_ok=True)
    report = LoopReport(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        processor=processor(),
        precision=choose_dtype()[1],
        model=settings.model,
        bars={"win rate": WIN_BAR, "its lower end": WIN_LOW_BAR, "KL": KL_BAR},
    )
    for seed in settings.seeds:
        print(f"\n=== seed {seed} ===", flush=True)
        report.seeds.append(one_seed(settings, seed))
        write_json(settings.workspace / "report.json", report.as_json())
        page = write_html(report, settings.workspace / "report.html")
    print(f"\n{report.date}, {report.processor}, {report.precision}")
    for result in report.seeds:
        print(f"\nseed {result.seed}: {result.minutes} minutes")
        print("\n".join(table(result.compare.rows)))
        for name, win in result.compare.win_rates.items():
            print(f"GRPO wins against SFT by {name}: {format_estimate(win)}")
        print("bar met" if meets_bar(result) else "bar NOT met")
    print(f"\nreport with plots: {page}")
    return report


def one_seed(settings: LoopSettings, seed: int) -> SeedReport:
    """One loop in a store of its own, `seed-N` in the workspace."""
    started = time.monotonic()
    place = settings.workspace / f"seed-{seed}"
    if (place / "store.db").exists():
        raise ValueError(f"{place} has a store already: name a new --workspace, or remove it")
    with Store.open(place) as store:
        starter.load(store)
        stages = Stages(store, place, seed)
        sft_run, sft_report = stages.run("sft", sft.train, settings.sft, model=settings.model)
        tasks = math.ceil(settings.judgements / settings.sample.annotators)
        stages.run("sample", sample.sample, settings.sample, policy=sft_run, tasks=tasks)
        begun = time.monotonic()
        given = simulate(store, settings.judgements, seed=seed)
        print(f"{given} simulated judgements in {time.monotonic() - begun:.0f} s", flush=True)
        reward_run, reward_report = stages.run(
            "reward", train_reward, settings.reward, policy=sft_run, objective=settings.objective
        )
        print("\n".join(receipt_lines(reward_report.receipt)), flush=True)
        grpo_run, grpo_report = stages.run(
            "grpo", grpo_train.train, settings.train, policy=sft_run, reward=reward_run
        )
        comparison = ComparisonSettings(
            policy=grpo_run,
            sampling=settings.train.sampling,
            per_prompt=settings.answers,
            true_taste=True,
        )
        _, compared = stages.run("compare", evaluate.compare, comparison)
        kinds = store.content.counts().judgements
    print("\n".join(report_lines(compared)), flush=True)
    return SeedReport(
        seed=seed,
        workspace=str(place),
        minutes=round((time.monotonic() - started) / 60, 1),
        judgements=kinds,
        stages=stages.seconds,
        sft=sft_report,
        reward=reward_report.receipt,
        grpo=grpo_report,
        metrics=runs.metrics(runs.runs_folder(place) / grpo_run),
        compare=compared,
    )


class Stages:
    """Runs stages one after the other, each as a run of its own in the seed's store."""

    def __init__(self, store: Store, place: Path, seed: int) -> None:
        self.store, self.place, self.seed = store, place, seed
        self.seconds: dict[str, float] = {}

    def run(
        self, kind: str, work: Callable[[S, Store, Recorder], R], settings: S, **changes: object
    ) -> tuple[str, R]:
        """(run id, report). A stop that was asked for ends the loop."""
        own: Any = {"workspace": self.place, "store": "", "seed": self.seed, **changes}
        begun = time.monotonic()
        outcome = execute(kind, work, dataclasses.replace(settings, **own), self.store)
        if outcome.report is None or not outcome.finished:
            raise KeyboardInterrupt
        self.seconds[kind] = round(time.monotonic() - begun, 1)
        print(f"{kind}: {outcome.report.summary} ({self.seconds[kind]:.0f} s)", flush=True)
        return outcome.run_id, outcome.report


def train_reward(settings: RewardSettings, store: Store, run: Recorder) -> RewardReport:
    receipt = reward_train.train(settings, store, run)
    return RewardReport(summary=receipt["summary"], receipt=receipt)


def meets_bar(result: SeedReport) -> bool:
    """Whether a seed's policy wins by the true utility as it should, near enough to SFT."""
    win = result.compare.win_rates["true utility"]
    kl = result.compare.kl_nats.value
    if win.value is None or win.low is None or kl is None:
        return False
    return win.value >= WIN_BAR and win.low > WIN_LOW_BAR and kl <= KL_BAR


def processor() -> str:
    """The processor's name and its cores; where there is a GPU, its name before them."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name[^:]*:(.*)$", info.read_text(), re.M) if info.exists() else None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{gpu}{name}, {os.cpu_count()} cores"
