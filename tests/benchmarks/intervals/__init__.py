"""How often 95% intervals hold the truth, by the number of prompts.

python -m tests.benchmarks.intervals [--samples N]

Samples of prompts are drawn again and again. Cross-validated accuracy: comparisons by Bradley-Terry
of six features, where taste differs by prompt; the truth is the mean accuracy over all samples, of
heads that learned from as many prompts. "Without" is the bootstrap of the prompts that are asked
about alone. Alpha of three annotators and kappa of two, whose answers about a prompt go together;
"without" are plain percentiles. Prints a Markdown table, each share with its own 95% interval.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
from scipy.special import expit

from data.stats import agreement
from data.stats.agreement import alpha, alphas_of, coincidences, kappa, kappas_of
from data.stats.bootstrap import Bootstrap, BootstrapDistribution, streamed
from data.stats.estimate import Estimate
from data.stats.intervals import Floats, Ints, wilson
from reward_model.benchmark.tables import machine
from reward_model.dataset.examples import Examples, Pairs
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.evaluation.cross_validation import Model, cross_validate
from reward_model.evaluation.retraining import RetrainedHeads
from reward_model.likelihood.fit import fit_head
from tests.benchmarks.figures import say

SIZES = (10, 20, 40, 80)
EACH, PAIRS, DIMS = 3, 4, 6
"""Completions, comparisons and features of a prompt."""
MODEL = Model("bradley_terry", effects=False)
Interval = tuple[float, float]


@dataclass(frozen=True)
class Found:
    """One sample's figure, with the interval as it is shown, and as it would be without."""

    value: float
    shown: Interval
    without: Interval

    def half_widths(self) -> tuple[float, float]:
        return tuple(np.ptp(ends) / 2 for ends in (self.shown, self.without))  # type: ignore[return-value]


# -- cross-validated accuracy


def comparisons(rng: np.random.Generator, prompts: int, apart: float) -> tuple[Examples, Floats]:
    """Judgements of prompts whose tastes scatter by `apart` about a common one of length 1."""
    features = rng.normal(size=(prompts * EACH, DIMS))
    taste = apart * rng.normal(size=(prompts, DIMS)) + np.eye(DIMS)[0]
    prompt = np.repeat(np.arange(prompts), PAIRS)
    one = rng.integers(EACH, size=len(prompt))
    other = (one + rng.integers(1, EACH, size=len(prompt))) % EACH
    a, b = prompt * EACH + one, prompt * EACH + other
    better = rng.random(len(a)) < expit(((features[a] - features[b]) * taste[prompt]).sum(1))
    none = np.zeros(len(a), np.int64)
    pairs = Pairs(a, b, np.where(better, 0, 1), np.zeros(len(a)), none, none)
    owner = np.repeat(np.arange(prompts), EACH)
    return Examples(tuple(range(len(owner))), owner, ("ann",), pairs), features  # type: ignore[arg-type]


def accuracy(seed: int, prompts: int, apart: float = 1.0) -> Found:
    """Of a head on one sample of prompts."""
    examples, features = comparisons(np.random.default_rng(seed), prompts, apart)
    crossed = cross_validate(MODEL, features, examples, float(DIMS))
    fit, boot = fit_head(features, MODEL.joint(examples), float(DIMS)), Bootstrap(prompts, seed)
    retraining = RetrainedHeads.of(MODEL, examples, fit, boot.weights[1:])
    others, pairs = retraining.rewards(crossed.reward, crossed.heads), preference_pairs(examples)

    def right(boot: Bootstrap, reward: Floats) -> BootstrapDistribution:
        return boot.mean(pairs.correct(reward), pairs.prompt, share=True)

    found = boot.retrained(right, crossed.reward, list(others))
    return Found(found.value, found.interval, replace(found, retraining=None).interval)


# -- agreement


def votes(rng: np.random.Generator, prompts: int) -> tuple[Ints, Ints]:
    """Answers 0 or 1 of three annotators to PAIRS tasks of each prompt (n, 3), and its number."""
    prompt = np.repeat(np.arange(prompts), PAIRS)
    pull = 2.4 * rng.normal(size=prompts)[prompt] + 2 * rng.normal(size=len(prompt))
    return (rng.random((len(prompt), 3)) < expit(pull)[:, None]).astype(np.int64), prompt


def counted(answers: Ints) -> Floats:
    return np.stack([(answers == v).sum(1) for v in (0, 1)], 1).astype(float)


def truths() -> tuple[float, float]:
    """Alpha and kappa of 100,000 prompts."""
    answers, _ = votes(np.random.default_rng(0), 100_000)
    pairs = coincidences(counted(answers)).sum(0).reshape(1, -1)
    cells = np.bincount(2 * answers[:, 0] + answers[:, 1], minlength=4)[None].astype(float)
    return float(alphas_of(pairs, "nominal")[0]), float(kappas_of(cells)[0])


def agreements(seed: int, prompts: int) -> list[Found]:
    """Alpha, and kappa of the first two, of one sample; without those that are not defined."""
    answers, prompt = votes(np.random.default_rng(seed), prompts)
    drawn: list[BootstrapDistribution] = []

    def kept(*asked: object) -> BootstrapDistribution:
        drawn.append(streamed(*asked))  # type: ignore[arg-type]
        return drawn[-1]

    with patch.object(agreement, "streamed", kept):
        figures = [
            alpha(counted(answers), prompt, "nominal", "tasks", seed),
            kappa(answers[:, 0], answers[:, 1], prompt, "tasks", seed),
        ]
    return [_found(*both) for both in zip(figures, drawn, strict=True)]


def _found(figure: Estimate, drawn: BootstrapDistribution) -> Found:
    assert figure.value is not None and figure.low is not None and figure.high is not None
    low, high = np.nanquantile(drawn.draws, [0.025, 0.975])
    return Found(figure.value, (figure.low, figure.high), (float(low), float(high)))


# -- what is counted


def coverage(found: list[Found], truth: float) -> tuple[int, int]:
    """How many intervals hold the truth: as they are shown, and without."""
    shown = sum(one.shown[0] <= truth <= one.shown[1] for one in found)
    return shown, sum(one.without[0] <= truth <= one.without[1] for one in found)


def row(name: str, prompts: int, found: list[Found], truth: float) -> str:
    n = len(found)
    shares = []
    for hits in coverage(found, truth):
        low, high = wilson(hits / n, n)
        shares.append(f"{hits / n:.1%} [{100 * low:.0f}, {100 * high:.0f}]")
    widths = np.mean([one.half_widths() for one in found], 0)
    cells = [name, str(prompts), str(n), *reversed(shares), f"{widths[1]:.3f}", f"{widths[0]:.3f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=400, help="samples of each size")
    samples = parser.parse_args().samples
    began, known = time.perf_counter(), truths()
    say(f"{machine()}, {samples} samples of each size\n")
    heads = ("of", "prompts", "samples", "without", "as shown", "half width without", "as shown")
    say("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for apart, name in ((1.0, "accuracy, tastes differ by prompt"), (0.0, "accuracy, one taste")):
        for prompts in SIZES:
            found = [accuracy(seed, prompts, apart) for seed in range(samples)]
            say(row(name, prompts, found, float(np.mean([one.value for one in found]))))
    for prompts in (8, *SIZES[1:]):
        both = zip(*[agreements(seed, prompts) for seed in range(samples)], strict=True)
        for name, truth, each in zip(("alpha", "kappa"), known, both, strict=True):
            say(row(name, prompts, list(each), truth))
    say(f"\n{time.perf_counter() - began:.0f} s")
