"""Tables of a benchmark's parts, and what its figures are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from data.schema import JsonObject
from reward_model.benchmark.accuracy import BASELINES, CHOSEN
from reward_model.benchmark.ceiling import names_of
from reward_model.benchmark.simulation import FEW
from reward_model.benchmark.speed import CLOCK, JUDGEMENTS, PROCESSOR
from reward_model.benchmark.starting import ALONE, AS_IS, STARTED
from reward_model.benchmark.tables import UNKNOWN, EstimateRow, cell, markdown_table
from reward_model.benchmark.uncertainty import APART, EXCESS, LEAD, PRIOR, RESIDUAL

ABOVE_TODAY, SURELY_ABOVE_TODAY = 0.06, 0.03
BALANCED = 0.68
SHARE = 1 / 3
COVERED = (0.92, 0.97)
CALIBRATED = 0.05
RANKED = 0.2
REFIT = 1.0
Seconds = Mapping[str, Mapping[str, Sequence[float]]]
"""By step, then by what they were measured by."""
NO_ROOM = "the best baseline is at the ceiling"


@dataclass(frozen=True)
class Bar:
    """A number beside what it is to be."""

    wanted: str
    measured: str
    value: str
    met: bool | None
    """None where there is too little data to tell."""

    @property
    def verdict(self) -> str:
        return {True: "met", False: "NOT met", None: UNKNOWN}[self.met]


# -- of a file


def share_cell(row: JsonObject) -> str:
    """The share of the ceiling, or why there is none."""
    ceiling, base = row["ceiling"]["value"], row["baseline"]["value"]
    if ceiling is not None and base is not None and base >= ceiling:
        return NO_ROOM
    return cell(row["share"])


def accuracy_table(figures: Mapping[str, JsonObject]) -> str:
    """Accuracy and log-loss of each view and baseline, as Markdown."""
    heads = ["", "accuracy", "balanced", "log-loss of the side", "nats a judgement",
             "less the last layer's last token", "chosen less this"]  # fmt: skip
    lines = [
        [name, cell(row["accuracy"]), cell(row["balanced"]), cell(row["log_loss"]),
         "" if row["nats_a_judgement"] is None else f"{row['nats_a_judgement']:.3f}",
         cell(row["above_today"]), cell(row["chosen_above"])]
        for name, row in figures.items()
    ]  # fmt: skip
    return markdown_table(heads, lines)


def ceiling_table(shares: Mapping[str, JsonObject | None]) -> str:
    """How much of the way from the best baseline to the human ceiling a head goes."""
    heads = ["learned from", "pairs", "accuracy", "best baseline", "its accuracy",
             "ceiling", "pairs judged by several", "share of the ceiling"]  # fmt: skip
    lines = [
        [name, f"{row['accuracy']['n']:,}", cell(row["accuracy"]), row["best"],
         cell(row["baseline"]), cell(row["ceiling"]), f"{row['ceiling']['n']:,}",
         share_cell(row)]
        if row else [name, *[UNKNOWN] * 7]
        for name, row in shares.items()
    ]  # fmt: skip
    return markdown_table(heads, lines)


def starting_table(figures: Mapping[str, JsonObject]) -> str:
    """What a head gains that starts from the other half's."""
    names = (ALONE, STARTED, AS_IS, f"above {ALONE}", f"above {AS_IS}")
    heads = ["own judgements", "pairs", "accuracy alone", "started from the other half's head",
             "that head as it is", "started less alone", "started less as it is"]  # fmt: skip
    lines = [
        [size, f"{row[ALONE]['n']:,}", *(cell(row[name]) for name in names)]
        for size, row in figures.items()
    ]
    return markdown_table(heads, lines)


def uncertainty_table(figures: Mapping[str, Mapping[str, JsonObject]]) -> str:
    """How a standard deviation ranks with how far a reward is off."""
    heads = ["standard deviation of a difference", "n", "with the distance of a second head",
             "less the prior's",
             "with the excess error of p, in the mean", "with the residual of p"]  # fmt: skip
    lines = [
        [name, f"{row[APART]['n']:,}", *(cell(row.get(m)) for m in (APART, LEAD, EXCESS, RESIDUAL))]
        for name, row in figures.items()
    ]
    return markdown_table(heads, lines)


def bars_of_file(figures: JsonObject) -> list[Bar]:
    """What a file's figures have to reach, and whether they do."""
    accuracy, shares = figures["accuracy"], figures["ceiling"]
    ours = accuracy[CHOSEN]
    found = [
        _bar("at least .06, its interval above .03 (on PandaLM)", "accuracy above today's head",
             ours["above_today"],
             lambda e: e["value"] >= ABOVE_TODAY and e["low"] > SURELY_ABOVE_TODAY),
        *(_bar("interval above 0", f"accuracy above: {name}", accuracy[name]["chosen_above"],
               lambda e: e["low"] > 0)
          for name in BASELINES),
        _bar("at least .68", "balanced accuracy", ours["balanced"],
             lambda e: e["value"] >= BALANCED),
        *(_bar("at least 1/3", f"share of the ceiling at {name}",
               shares[name] and shares[name]["share"], lambda e: e["value"] >= SHARE)
          for name in names_of(shares)),
        *(_bar("at least .2", f"rank correlation with how far a reward is off: {name}",
               row[APART], lambda e: e["value"] >= RANKED)
          for name, row in figures["uncertainty"].items() if name != PRIOR),
    ]  # fmt: skip
    return found


def _bar(wanted: str, measured: str, estimate: EstimateRow | None, holds: Any) -> Bar:
    if estimate is None or estimate["value"] is None:
        return Bar(wanted, measured, UNKNOWN, None)
    return Bar(wanted, measured, cell(estimate), bool(holds(estimate)))


# -- of simulated worlds


def worlds_table(rows: Sequence[JsonObject]) -> str:
    """Coverage of intervals in simulated worlds, whose true reward is known."""
    heads = ["world", "judgements", "coverage of 95% intervals", "rms z", "slope", "accuracy",
             "rank correlation of sd and error", "design effect", "variance: prior, true",
             "the careless one's consistency held"]  # fmt: skip
    names = ("coverage", "rms_z", "slope", "accuracy", "rank_correlation", "design_effect")
    lines = [
        [row["kind"], str(row["judgements"]), *(cell(row[name]) for name in names),
         f"{row['prior_variance']['value']:.2f}, {row['true_variance']['value']:.2f}",
         cell(row.get("careless_held"))]
        for row in rows if "coverage" in row
    ]  # fmt: skip
    return markdown_table(heads, lines)


def ece_table(rows: Sequence[JsonObject]) -> str:
    lines = [
        [row["kind"], str(row["judgements"]), cell(row["ece"])] for row in rows if "ece" in row
    ]
    return markdown_table(["world", "judgements", "expected calibration error"], lines)


def speed_table(seconds: Seconds) -> str:
    heads = [f"at {JUDGEMENTS:,} judgements", "median s", "from, to", "n", "processor, median s"]
    lines = [
        [name, f"{median(v[CLOCK]):.2f}", f"{min(v[CLOCK]):.2f} to {max(v[CLOCK]):.2f}",
         str(len(v[CLOCK])), f"{median(v[PROCESSOR]):.2f}"]
        for name, v in seconds.items()
    ]  # fmt: skip
    return markdown_table(heads, lines)


def bars_of_worlds(rows: Sequence[JsonObject], seconds: Seconds) -> list[Bar]:
    """What simulation and speed have to reach, and whether they do."""
    low, high = COVERED
    refit = median(seconds["refit"][CLOCK])
    return [
        *(_bar("92% to 97%", f"coverage at {row['judgements']}: {row['kind']}", row["coverage"],
               lambda e: low <= e["value"] <= high)
          for row in rows if "coverage" in row),
        *(_bar("at most .05", f"calibration error at {FEW}: {row['kind']}", row["ece"],
               lambda e: e["value"] <= CALIBRATED)
          for row in rows if "ece" in row),
        Bar("at most 1 s", f"refit at {JUDGEMENTS:,} judgements", f"{refit:.2f} s", refit <= REFIT),
    ]  # fmt: skip


def bars_table(bars: Sequence[Bar]) -> str:
    heads = ["bar", "wanted", "measured", "met?"]
    return markdown_table(heads, [[b.measured, b.wanted, b.value, b.verdict] for b in bars])
