"""The whole loop with no person in it, and its report: what `make demo` runs."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from data import starter
from data.runs.recorder import recording
from data.settings import as_config
from data.simulated_annotators import simulate
from data.store import Store
from grpo import evaluate, sample, sft
from grpo import train as grpo_train
from grpo.config import ComparisonSettings, LoopSettings
from grpo.reports.loop_html import write_html
from grpo.reports.text import lines, table
from reward_model import train as reward_train
from reward_model.language_model.device import choose_dtype
from reward_model.receipt.text import lines as reward_lines

WIN_BAR, WIN_LOW_BAR, KL_BAR = 0.70, 0.55, 8.0
"""What the loop is held to: win rate, the lower end of its interval, nats of KL per answer."""


def loop(settings: LoopSettings) -> dict[str, Any]:
    """Run the loop once for each seed; prints the table, writes report.json and report.html."""
    if not settings.seeds:
        raise ValueError("no seeds given: name at least one, e.g. --seeds 0")
    settings.workspace.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": processor(),
        "precision": choose_dtype()[1],
        "model": settings.model,
        "bars": {"win rate": WIN_BAR, "its lower end": WIN_LOW_BAR, "KL": KL_BAR},
        "seeds": [],
    }
    for seed in settings.seeds:
        print(f"\n=== seed {seed} ===", flush=True)
        report["seeds"].append(one_seed(settings, seed))
        (settings.workspace / "report.json").write_text(json.dumps(report, indent=1))
        page = write_html(report, settings.workspace / "report.html")
    print("\n" + "\n".join(summary_lines(report)))
    print(f"\nreport with plots: {page}")
    return report


def one_seed(settings: LoopSettings, seed: int) -> dict[str, Any]:
    """One loop in a store of its own, `seed-N` in the workspace."""
    started = time.monotonic()
    place = settings.workspace / f"seed-{seed}"
    if (place / "store.db").exists():
        raise ValueError(f"{place} has a store already: name a new --workspace, or remove it")
    with Store.open(place) as store:
        starter.load(store)
        step = Stages(settings, store, place, seed)
        sft_run, sft_report = step.run("sft", sft.train, settings.sft, model=settings.model)
        tasks = math.ceil(settings.judgements / settings.sample.annotators)
        step.run("sample", sample.sample, settings.sample, policy=sft_run, tasks=tasks)
        begun = time.monotonic()
        given = simulate(store, settings.judgements, seed=seed)
        print(f"{given} simulated judgements in {time.monotonic() - begun:.0f} s", flush=True)
        reward_run, reward_report = step.run(
            "reward",
            reward_train.train,
            settings.reward,
            policy=sft_run,
            objective=settings.objective,
        )
        print("\n".join(reward_lines(reward_report)), flush=True)
        grpo_run, grpo_report = step.run(
            "grpo", grpo_train.train, settings.train, policy=sft_run, reward=reward_run
        )
        comparison = ComparisonSettings(
            policy=grpo_run,
            sampling=settings.train.sampling,
            per_prompt=settings.answers,
            true_taste=True,
        )
        _, comparison_report = step.run("compare", evaluate.compare, comparison)
        kinds = store.content.counts().judgements
    print("\n".join(lines(comparison_report)), flush=True)
    return {
        "seed": seed,
        "workspace": str(place),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "judgements": kinds,
        "stages": step.seconds,
        "sft": sft_report,
        "reward": reward_report,
        "grpo": grpo_report,
        "metrics": step.metrics(grpo_run),
        "compare": comparison_report,
    }


class Stages:
    """Runs stages one after the other, each as a run of its own in the seed's store."""

    def __init__(self, settings: LoopSettings, store: Store, place: Path, seed: int) -> None:
        self.store = store
        self.place = place
        self.seed = seed
        self.seconds: dict[str, float] = {}

    def run(
        self, kind: str, work: Callable[..., dict[str, Any]], settings: Any, **changes: Any
    ) -> tuple[str, dict[str, Any]]:
        """(run id, report). A stop that was asked for ends the loop."""
        settings = dataclasses.replace(
            settings, workspace=self.place, store="", seed=self.seed, **changes
        )
        begun = time.monotonic()
        report: dict[str, Any] | None = None
        with recording(self.store, self.place, kind, as_config(settings)) as run:
            report = work(settings, self.store, run)
            if run.stop_requested:
                report = None
            else:
                run.report(report)
        if report is None:
            raise KeyboardInterrupt
        self.seconds[kind] = round(time.monotonic() - begun, 1)
        print(f"{kind}: {report['summary']} ({self.seconds[kind]:.0f} s)", flush=True)
        return run.id, report

    def metrics(self, run_id: str) -> list[dict[str, Any]]:
        from data import runs

        return runs.metrics(runs.runs_folder(self.place) / run_id)


def summary_lines(report: dict[str, Any]) -> list[str]:
    """The demo's table: each seed, SFT against GRPO, with intervals."""
    text = [f"{report['date']}, {report['processor']}, {report['precision']}"]
    for result in report["seeds"]:
        compared = result["compare"]
        text += [
            "",
            f"seed {result['seed']}: {result['minutes']} minutes",
            *table(compared["rows"]),
        ]
        for name, win in compared["win_rates"].items():
            text.append(
                f"GRPO wins against SFT by {name}: {win['value']:.0%}"
                f" [{win['low']:.0%}, {win['high']:.0%}], n={win['n']}"
            )
        text.append("bar met" if meets_bar(result) else "bar NOT met")
    return text


def meets_bar(result: dict[str, Any]) -> bool:
    """Whether a seed's policy wins by the true utility as it should, near enough to SFT."""
    win = result["compare"]["win_rates"]["true utility"]
    near = result["compare"]["kl_nats"]["value"] <= KL_BAR
    return bool(win["value"] >= WIN_BAR and win["low"] > WIN_LOW_BAR and near)


def processor() -> str:
    """The processor's name and its cores; where there is a GPU, its name before them."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{gpu}{name}, {os.cpu_count()} cores"
