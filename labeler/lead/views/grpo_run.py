"""A GRPO run in words: what was checked before it, what its figures say, what its policy wrote.

Everything here was read from the run's files: any field may be missing, or of another type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from data.stats.estimate import format_duration
from data.store.run_rows import Run
from labeler.lead.snapshot import JsonMapping, objects_in, read_as
from labeler.rendering import plain_number, render_macro, short

LEVELS = {"stop": "bad", "fail": "bad", "watch": "warn", "warn": "warn", "fine": "", "pass": ""}
"""Levels of a verdict and of a check, worst first, and the colour of each."""
COUNTED = {"fail": "failed", "warn": "to look at", "pass": "passed"}
METRICS = {
    "reward_mean": "mean reward",
    "reward_std": "standard deviation of the rewards",
    "group_std": "standard deviation within a group",
    "model_reward": "mean reward by the reward model",
    "disagreement": "uncertainty of the reward model",
    "noise": "noise of the reward model",
    "risk_premium": "reward that pessimism takes off, or would",
    "dropped": "share of groups dropped",
    "kl": "KL, nats per token",
    "kl_nats": "KL, nats per answer",
    "kl_weight": "KL coefficient",
    "entropy": "entropy, nats per token",
    "grad_norm": "gradient norm",
    "length": "tokens of an answer",
    "truncated": "share of answers cut off",
    "unique": "share of distinct answers",
    "repetition": "share of repeated word pairs",
    "length_corr": "rank correlation of length and reward",
    "clip_ratio": "share of tokens clipped",
    "moved": "relative change of the weights",
    "learning_rate": "learning rate",
    "loss": "loss",
}
MOST_GROUPS, MOST_ANSWERS = 24, 32
"""Prompts of a step, and answers to each, that are shown; the rest is counted."""


@dataclass(frozen=True)
class ShownSample:
    """One completion of a step."""

    step: object = None
    prompt: object = ""
    completion: object = ""
    reward: object = None
    sd: object = None
    advantage: object = None
    finished: object = None
    dropped: object = False

    @property
    def first_line(self) -> str:
        return prompt_line(self.prompt)

    @property
    def finite_advantage(self) -> float:
        return _finite_or(self.advantage, 0.0)


@dataclass(frozen=True)
class ShownFinding:
    """What verdicts and checks share."""

    name: object = ""
    level: object = ""

    @property
    def colour(self) -> str:
        return LEVELS.get(str(self.level), "")

    @property
    def severity(self) -> int:
        """Where its level stands among all, worst first; unknown ones come last."""
        return [*LEVELS, str(self.level)].index(str(self.level))


@dataclass(frozen=True)
class ShownVerdict(ShownFinding):
    """One entry of verdicts.json: what a metric says, and what to do about it."""

    text: object = ""
    metric: object = None
    value: object = None
    threshold: object = None
    step: object = None
    or_earlier: object = False
    source: object = ""
    action: object = ""
    change: object = None
    samples: object = ()

    @property
    def metric_name(self) -> str:
        metric = str(self.metric or "")
        return METRICS.get(metric, metric.replace("_", " "))

    @property
    def flags(self) -> list[str]:
        """The settings to change, as arguments of the command."""
        change = self.change if isinstance(self.change, Mapping) else {}
        return [as_flag(str(name), value) for name, value in change.items()]

    @property
    def evidence(self) -> list[ShownSample]:
        """The completions that the verdict rests on."""
        return [read_as(ShownSample, sample) for sample in objects_in(self.samples)]


@dataclass(frozen=True)
class ShownCheck(ShownFinding):
    """One check of preflight.json."""

    value: object = ""
    need: object = ""
    remedy: object = ""


def diagnosis_html(run: Run | None, verdicts: Sequence[JsonMapping], step: int) -> str:
    """What the run's figures say at a step, worst first; what is fine on one line each."""
    if run is None or not step:
        return ""
    found = [read_as(ShownVerdict, verdict) for verdict in verdicts]
    found.sort(key=lambda verdict: verdict.severity)
    return render_macro("grpo_run", "diagnosis", run, found, step)


def as_flag(setting: str, value: object) -> str:
    """A setting as an argument of the command: "--sampling.temperature 0.7"."""
    owner, _, name = setting.replace("_", "-").rpartition(".")
    prefix = f"{owner}." if owner else ""
    if isinstance(value, bool):
        return f"--{prefix}{name}" if value else f"--{prefix}no-{name}"
    return f"--{prefix}{name} {value}"


def preflight_html(run: Run | None, found: JsonMapping) -> str:
    """The checks before the first step: one line if all passed, else the table."""
    checks = [read_as(ShownCheck, check) for check in objects_in(found.get("checks"))]
    if run is None or not checks:
        return ""
    checks.sort(key=lambda check: check.severity)
    levels = [check.level for check in checks]
    counts = [f"{levels.count(level)} {said}" for level, said in COUNTED.items() if level in levels]
    counted = ", ".join(counts)
    if len(counts) == 1:
        counted = counted.replace(" ", " check " if len(checks) == 1 else " checks ", 1)
    costs = []
    if found.get("seconds_per_step") is not None:
        costs.append(f"about {short(found['seconds_per_step'])} s a step")
    if isinstance(found.get("eta_seconds"), int | float):
        costs.append(f"{format_duration(found['eta_seconds'])} in all")
    if found.get("memory_gib") is not None:
        costs.append(f"{short(found['memory_gib'])} GiB of memory")
    return render_macro("grpo_run", "preflight", run, checks, counted, costs)


def step_html(run: Run | None, samples: Sequence[JsonMapping]) -> str:
    """What the policy wrote at one step: by prompt, the best first."""
    if run is None or not samples:
        return ""
    drawn = [read_as(ShownSample, sample) for sample in samples]
    groups = [list(group) for _, group in groupby(drawn, key=lambda s: repr(s.prompt))]
    shown = [_group_of(group) for group in groups[:MOST_GROUPS]]
    return render_macro(
        "grpo_run", "step", run, plain_number(drawn[0].step), shown, len(groups) - len(shown)
    )


def _group_of(samples: Sequence[ShownSample]) -> JsonMapping:
    """The completions of one prompt at one step, those that are shown, the best first.

    `prompt` is the whole prompt, where that is more than its first line.
    """

    def reward_of(sample: ShownSample) -> float:
        return _finite_or(sample.reward, -math.inf)

    rewards = [reward for reward in map(reward_of, samples) if reward > -math.inf]
    prompt = samples[0].prompt
    return {
        "first_line": prompt_line(prompt),
        "prompt": prompt_text(prompt) if prompt_line(prompt) != str(prompt).strip() else "",
        "samples": sorted(samples, key=reward_of, reverse=True)[:MOST_ANSWERS],
        "size": len(samples),
        "mean": fmean(rewards) if rewards else None,
        "largest": max(abs(sample.finite_advantage) for sample in samples),
        "dropped": any(sample.dropped for sample in samples),
    }


def _finite_or(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else otherwise


def samples_html(samples: object, before: str, after: str) -> str:
    """Completions before and after, side by side."""
    pairs = [
        {
            "prompt": prompt_text(sample.get("prompt", "")),
            "sides": [
                (title, str(sample.get(key) or ""), sample.get(f"reward_{key}"))
                for title, key in ((before, "before"), (after, "after"))
            ],
        }
        for sample in objects_in(samples)
    ]
    return render_macro("grpo_run", "pairs", pairs, before, after) if pairs else ""


def prompt_text(prompt: object) -> str:
    """A prompt, be it a text or turns, as one text."""
    if isinstance(prompt, list):
        return "\n\n".join(f"{m.get('role')}: {m.get('content')}" for m in objects_in(prompt))
    return str(prompt)


def prompt_line(prompt: object) -> str:
    """What a prompt begins with, for one line; of several turns, the last."""
    last = prompt[-1] if isinstance(prompt, list) and prompt else prompt
    text = last.get("content", "") if isinstance(last, Mapping) else last
    line = next(iter(str(text).strip().splitlines()), "")
    return line if len(line) <= 110 else line[:109] + "…"
