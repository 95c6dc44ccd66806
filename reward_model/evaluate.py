"""How well rewards agree with held-out judgements, beside baselines that read nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from reward_model.config import ENOUGH
from reward_model.examples import Examples, Target

Array = NDArray[np.float64]
BOOTSTRAPS = 1000


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
    """Comparisons that are not ties; where there are none, pairs that one annotator rated apart.

    The two are never pooled: many pairs made of a few ratings would pass for many comparisons.
    """
    pairs = [
        Pair(c.a, c.b, c.first) if c.outcome == 1 else Pair(c.b, c.a, 1 - c.first)
        for c in examples.comparisons
        if c.outcome != 0.5
    ]
    return pairs or _rated_apart(examples)


def _rated_apart(examples: Examples) -> list[Pair]:
    """Pairs of completions of one prompt to which one annotator gave different ratings."""
    pairs = []
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
    return clustered_mean([_right(rewards, p) for p in pairs], clusters)


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
    lead = _lead(rewards, lengths, pairs, clusters, baselines)
    return {
        "accuracy": asdict(found) if found else None,
        "lead": lead,
        "spearman": _spearman(examples, rewards),
        "baselines": {k: asdict(v) if v else None for k, v in baselines.items()},
        "prompts": len({c.prompt.id for c in examples.completions}),
    }


def _lead(
    rewards: Array,
    lengths: Array,
    pairs: Sequence[Pair],
    clusters: Sequence[object],
    baselines: dict[str, Figure | None],
) -> dict[str, Any] | None:
    """How far the rewards are ahead of the best baseline, pair by pair, with its interval."""
    known = {name: figure for name, figure in baselines.items() if figure}
    if not known:
        return None
    best = max(known, key=lambda name: known[name].value)
    ours = [_right(rewards, p) for p in pairs]
    if best == "majority":
        theirs = [p.first_better for p in pairs]
        theirs = theirs if np.mean(theirs) >= 0.5 else [1 - x for x in theirs]
    else:
        sign = 1 if best == "longer" else -1
        theirs = [_right(sign * lengths, p) for p in pairs]
    ahead = clustered_mean([a - b for a, b in zip(ours, theirs, strict=True)], clusters)
    return {"over": best, **asdict(ahead)}


def _right(rewards: Array, pair: Pair) -> float:
    difference = rewards[pair.better] - rewards[pair.worse]
    return 0.5 if difference == 0 else float(difference > 0)


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
    lead = held_out["lead"]
    best = Figure(**held_out["baselines"][lead["over"]])
    against = f"{figure} against {best.value:.0%} for {_named(lead['over'])}"
    if lead["low"] > 0:
        return f"It beats every baseline: {against}."
    if lead["value"] > 0:
        return f"Ahead of every baseline, but not surely yet: {against}. More judgements will tell."
    return f"It beats no baseline: {against}."


def _named(baseline: str) -> str:
    return {
        "longer": "always the longer",
        "shorter": "always the shorter",
        "majority": "always the same side",
    }[baseline]
