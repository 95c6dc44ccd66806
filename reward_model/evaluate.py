"""How well rewards agree with held-out judgements, beside baselines that read nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from reward_model.examples import Examples, Target

Array = NDArray[np.float64]
BOOTSTRAPS = 1000
ENOUGH = 30
"""Comparisons from which an accuracy is worth printing as one; fewer say little."""


@dataclass(frozen=True)
class Figure:
    """A number that can mislead, with its 95% interval and how many judgements it rests on."""

    value: float
    low: float
    high: float
    n: int

    @property
    def enough(self) -> bool:
        return self.n >= ENOUGH

    def __str__(self) -> str:
        return f"{self.value:.0%} [{self.low:.0%}, {self.high:.0%}], n={self.n}"


def clustered_mean(values: Sequence[float], clusters: Sequence[object], seed: int = 0) -> Figure:
    """Mean with a 95% interval by bootstrap over clusters (prompts).

    Raises ValueError where there is nothing to average.
    """
    if not len(values):
        raise ValueError("nothing to average")
    _, index = np.unique(np.array([str(c) for c in clusters]), return_inverse=True)
    totals = np.bincount(index, np.asarray(values, float))
    sizes = np.bincount(index).astype(float)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(sizes), size=(BOOTSTRAPS, len(sizes)))
    means = totals[draws].sum(1) / sizes[draws].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Figure(float(np.mean(values)), float(low), float(high), len(values))


@dataclass(frozen=True)
class Pair:
    """Two completions of which one was judged better."""

    better: int
    worse: int
    first_better: float
    """1 where the better one was shown first, 0 where second, 0.5 where there was no order."""


def decided_pairs(examples: Examples) -> list[Pair]:
    """Comparisons that are not ties, and pairs that one annotator rated apart on one prompt."""
    pairs = [
        Pair(c.a, c.b, c.first) if c.outcome == 1 else Pair(c.b, c.a, 1 - c.first)
        for c in examples.comparisons
        if c.outcome != 0.5
    ]
    groups: dict[tuple[str, str, str], list[Target]] = {}
    for target in examples.targets:
        prompt = examples.completions[target.item].prompt.id
        groups.setdefault((prompt, target.annotator, target.kind), []).append(target)
    for rated in groups.values():
        for one, other in combinations(rated, 2):
            if one.raw != other.raw and one.item != other.item:
                high, low = (one, other) if one.raw > other.raw else (other, one)
                pairs.append(Pair(high.item, low.item, 0.5))
    return pairs


def accuracy(rewards: Array, pairs: Sequence[Pair], clusters: Sequence[object]) -> Figure | None:
    """Share of pairs whose better completion has the higher reward; equal rewards count half."""
    if not pairs:
        return None
    difference = np.array([rewards[p.better] - rewards[p.worse] for p in pairs])
    right = np.where(difference == 0, 0.5, difference > 0)
    return clustered_mean(right.tolist(), clusters)


def held_out_report(examples: Examples, rewards: Array) -> dict[str, Any]:
    """Accuracy beside longer, shorter and majority, and rank correlation with ratings."""
    pairs = decided_pairs(examples)
    clusters = [examples.completions[p.better].prompt.id for p in pairs]
    lengths = np.array([len(c.text.split()) for c in examples.completions], float)
    found = accuracy(rewards, pairs, clusters)
    baselines = {
        "longer": accuracy(lengths, pairs, clusters),
        "shorter": accuracy(-lengths, pairs, clusters),
        "majority": _majority(pairs, clusters),
    }
    return {
        "accuracy": asdict(found) if found else None,
        "spearman": _spearman(examples, rewards),
        "baselines": {k: asdict(v) if v else None for k, v in baselines.items()},
        "prompts": len({c.prompt.id for c in examples.completions}),
    }


def _majority(pairs: Sequence[Pair], clusters: Sequence[object]) -> Figure | None:
    """Always the side (shown first or second) that was preferred more often."""
    shown = [(p.first_better, c) for p, c in zip(pairs, clusters, strict=True)]
    if not shown:
        return None
    values = [v for v, _ in shown]
    if np.mean(values) < 0.5:
        values = [1 - v for v in values]
    return clustered_mean(values, [c for _, c in shown])


def _spearman(examples: Examples, rewards: Array) -> dict[str, Any] | None:
    """Rank correlation of reward and 1-10 rating, with Fisher's interval; None below 10 ratings."""
    rated = [t for t in examples.targets if t.kind == "scalar"]
    if len(rated) < 10 or len({t.raw for t in rated}) < 2:
        return None
    given = rewards[[t.item for t in rated]]
    if np.ptp(given) == 0:
        return None
    rho = float(spearmanr(given, [t.value for t in rated]).statistic)
    half = 1.96 * 1.03 / np.sqrt(len(rated) - 3)
    z = np.arctanh(np.clip(rho, -0.9999, 0.9999))
    return asdict(Figure(rho, float(np.tanh(z - half)), float(np.tanh(z + half)), len(rated)))


def summary(held_out: dict[str, Any]) -> str:
    """One sentence on whether the rewards say more than length does."""
    found = held_out.get("accuracy")
    if not found:
        return "There is no held-out comparison yet: judge more prompts to learn how good it is."
    figure = Figure(**found)
    if not figure.enough:
        return f"Not enough held-out data yet: {figure.n} comparisons, about {ENOUGH} are needed."
    named = {k: v["value"] for k, v in held_out["baselines"].items() if v}
    name, best = max(named.items(), key=lambda item: item[1])
    if figure.low > best:
        return f"It beats every baseline: {figure} against {best:.0%} for {_named(name)}."
    if figure.value > best:
        return (
            f"Ahead of {_named(name)} ({best:.0%}) at {figure}, but the interval includes it:"
            " more judgements will tell."
        )
    return f"It beats no baseline: {figure} against {best:.0%} for {_named(name)}."


def _named(baseline: str) -> str:
    return {
        "longer": "always the longer",
        "shorter": "always the shorter",
        "majority": "always the same side",
    }[baseline]
