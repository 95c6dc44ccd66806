"""The benchmark of reward models, from files and simulated worlds to tables and a JSON file."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from data.atomic_files import write_json
from data.places.store_address import home_path
from data.schema import JsonObject
from reward_model.benchmark.accuracy import accuracy_figures, compare_features
from reward_model.benchmark.ceiling import ceiling_figures
from reward_model.benchmark.judged_texts import JudgedTexts, Say, read_file
from reward_model.benchmark.report import (
    accuracy_table,
    bars_of_file,
    bars_of_worlds,
    bars_table,
    ceiling_table,
    ece_table,
    speed_table,
    starting_table,
    uncertainty_table,
    worlds_table,
)
from reward_model.benchmark.simulation import KINDS, simulate_worlds
from reward_model.benchmark.speed import seconds
from reward_model.benchmark.starting import starting_figures
from reward_model.benchmark.tables import machine
from reward_model.benchmark.uncertainty import held_out_errors, uncertainty_figures
from reward_model.config import BenchmarkSettings, RewardSettings

EVERY = 5.0
"""Seconds between two words on how far it is."""


def benchmark(settings: BenchmarkSettings, show: Callable[[str], None], say: Say) -> JsonObject:
    """Measure, show Markdown tables as they come, and return all figures as they are written.

    `say` is told what is being done. Raises ValueError where a file cannot be read or holds too
    little; files are all looked at before anything is measured.
    """
    watch, say = Stopwatch(), not_too_often(say)
    for file in settings.files:
        if not file.exists():
            raise ValueError(f"file {str(file)!r} not found: name a file of judgements")
    show(f"{machine()}, load {os.getloadavg()[0]:.1f} when it began; seed {settings.seed}\n")
    found: JsonObject = {
        "machine": machine(),
        "load": os.getloadavg()[0],
        "seed": settings.seed,
        "policy": settings.policy,
    }
    found["files"] = {}
    for place, file in enumerate(settings.files):
        figures = file_figures(settings, file, settings.recipe_of(place), show, say)
        found["files"][str(file)] = figures
        _write(found, settings.out)
    found["worlds"] = world_figures(
        settings, show, say, lambda known: _write({**found, "worlds": known}, settings.out)
    )
    found |= watch.seconds()
    show(f"In all: {watch.words()}")
    _write(found, settings.out)
    return found


class Stopwatch:
    """Seconds since it was made: by the clock, and of this process on the processor."""

    def __init__(self) -> None:
        self._clock, self._processor = time.monotonic(), time.process_time()

    def seconds(self) -> dict[str, float]:
        """On a busy machine the first is longer than the work."""
        return {
            "seconds": time.monotonic() - self._clock,
            "processor_seconds": time.process_time() - self._processor,
        }

    def words(self) -> str:
        clock, processor = self.seconds().values()
        return f"{clock:.0f} s, {processor:.0f} s of processor time"


def not_too_often(say: Say) -> Say:
    """`say`, but at most once in EVERY seconds."""
    last = -EVERY

    def now_and_then(words: str) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            say(words)

    return now_and_then


def _write(found: JsonObject, out: str) -> None:
    """What is known so far."""
    if out:
        write_json(Path(out), found)


def file_figures(
    settings: BenchmarkSettings,
    file: Path,
    recipe: str | None,
    show: Callable[[str], None],
    say: Say,
) -> JsonObject:
    """Accuracy, share of the ceiling, rank correlations of one file, and the bars."""
    asked = RewardSettings(
        workspace=home_path(settings.workspace),
        policy=settings.policy,
        max_tokens=settings.max_tokens,
    )
    texts = read_file(asked, file, recipe, say)
    watch, seed = Stopwatch(), settings.seed
    compared = compare_features(texts, seed, say)
    figures: JsonObject = {
        "judgements": len(texts.examples),
        "pairs": len(texts.pairs),
        "prompts": texts.examples.prompts,
        "read": texts.read,
        "chosen": [texts.words(place) for place in compared.chosen],
        "accuracy": accuracy_figures(compared),
    }
    show(f"## {texts.name}\n\n{_facts(texts, figures)}\n\n{accuracy_table(figures['accuracy'])}\n")
    figures["ceiling"] = ceiling_figures(texts, compared, settings.draws, seed, say)
    show(f"{ceiling_table(figures['ceiling'])}\n")
    figures["starting"] = starting_figures(texts, compared.usual, settings.draws, seed, say)
    show(f"{starting_table(figures['starting'])}\n")
    figures["uncertainty"] = {}
    if texts.pairs.source == "comparisons":
        on = texts.candidates.all[compared.usual]
        halves = held_out_errors(
            on, texts.candidates.model, texts.examples, compared.prior.times(on.size), seed, say
        )
        figures["uncertainty"] = uncertainty_figures(halves, compared.boot)
        show(f"{uncertainty_table(figures['uncertainty'])}\n")
    bars = bars_of_file(figures)
    figures["bars"] = [asdict(bar) for bar in bars]
    figures |= watch.seconds()
    show(f"{bars_table(bars)}\n\nAfter the texts were read: {watch.words()}\n")
    return figures


def _facts(texts: JudgedTexts, figures: JsonObject) -> str:
    chosen: Counter[str] = Counter(figures["chosen"])
    views = ", ".join(f"{name} ({n} of {sum(chosen.values())})" for name, n in chosen.items())
    said = (
        f"{figures['judgements']:,} judgements, {figures['pairs']:,} pairs with a better side,"
        f" {figures['prompts']:,} prompts; {texts.read}; chosen: {views}."
    )
    return f"{said} {texts.left_out}".strip()


def world_figures(
    settings: BenchmarkSettings,
    show: Callable[[str], None],
    say: Say,
    keep: Callable[[JsonObject], None] = lambda figures: None,
) -> JsonObject:
    """Seconds, then coverage and calibration in simulated worlds, and the bars.

    keep: is given what is known so far after each kind of world.
    """
    took = seconds(settings.seed, say)
    show(f"## Simulated worlds, {settings.worlds} of each kind\n\n{speed_table(took)}\n")
    rows: list[JsonObject] = []
    for kind in KINDS:
        rows += simulate_worlds(kind, settings.worlds, settings.seed, say)
        keep({"seconds": took, "rows": rows})
    bars = bars_of_worlds(rows, took)
    show(f"{worlds_table(rows)}\n\n{ece_table(rows)}\n\n{bars_table(bars)}\n")
    return {"seconds": took, "rows": rows, "bars": [asdict(bar) for bar in bars]}
