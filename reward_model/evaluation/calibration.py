"""Calibration: of what is predicted with a probability of 70%, 70% should come true."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from data.stats.bootstrap import Bootstrap, BootstrapDistribution
from data.stats.estimate import EstimateJson
from reward_model.dataset.examples import TIE, A, Bools, Floats, Ints
from reward_model.evaluation.baselines import rates
from reward_model.evaluation.metrics import (
    EvaluationData,
    Metric,
    beside,
    constant_rates,
    predicts_ties,
)

BINS = 10
PER_BIN = 20
"""Judgements in a bin, at least; fewer judgements make fewer bins."""
SIMULATED = 300


class CalibrationError(EstimateJson):
    """The expected calibration error, and what it would be were every prediction exactly true."""

    by_chance: float
    """About that, at this n."""
    by_chance_high: float
    """Below that in 95 of 100 cases."""


class Bin(TypedDict):
    """The mean prediction in a bin, and the share that came true."""

    forecast: float
    value: float | None
    low: float | None
    high: float | None
    n: int


class Reliability(TypedDict):
    ece: CalibrationError
    brier: Metric
    mean_forecast: EstimateJson
    share: EstimateJson
    """That came true."""
    bins: list[Bin]


def calibration(data: EvaluationData, seed: int = 0) -> dict[str, Reliability]:
    """By kind: ECE, Brier score and the bins of a reliability plot.

    "pairs": how sure it is of the side that it prefers, ties apart. "ties" and "binary": how likely
    it says a tie, or good, is.
    """
    found: dict[str, Reliability] = {}
    pairs, p, boot = data.examples.pairs, data.predictions.pairs, data.bootstrap
    if len(p) and np.isfinite(p).all():
        prompt = data.examples.prompt[pairs.a]
        constant = constant_rates(pairs.outcome, pairs.side, prompt)
        decided = pairs.outcome != TIE
        if decided.any():
            # which of a and b is the side asked about does not matter: it is the likelier one, and
            # constant rates are asked about the same
            ours, rate = (q[decided, 0] / q[decided, :2].sum(1) for q in (p, constant))
            likelier = ours >= 0.5
            happened = np.where(ours == 0.5, 0.5, likelier == (pairs.outcome[decided] == A))
            rate = np.where(likelier, rate, 1 - rate)
            sure = np.maximum(ours, 1 - ours)
            found["pairs"] = reliability(boot, sure, happened, prompt[decided], rate, seed)
        tie = (pairs.outcome == TIE).astype(float)
        if tie.any() and predicts_ties(p):
            found["ties"] = reliability(boot, p[:, 2], tie, prompt, constant[:, 2], seed)
    binary, q = data.examples.binary, data.predictions.binary
    if len(q) and np.isfinite(q).all():
        prompt = data.examples.prompt[binary.item]
        good, constant_good = binary.good.astype(float), rates(binary.good, prompt, 2)[:, 1]
        found["binary"] = reliability(boot, q, good, prompt, constant_good, seed)
    return found


def reliability(
    boot: Bootstrap, p: Floats, happened: Floats, prompt: Ints, constant: Floats, seed: int = 0
) -> Reliability:
    """Predicted probabilities p (n,) against what happened, 1 or 0 (n,), in bins of equally many.

    "ece" is the mean distance between the two in a bin (Naeini et al. 2015, AAAI).
    """
    # bins of equally many, by prediction; equal ones share a bin
    most = max(1, min(BINS, len(p) // PER_BIN))
    edges = np.unique(np.quantile(p, np.linspace(0, 1, most + 1)[1:-1])) if most > 1 else p[:0]
    used, bins = np.unique(np.searchsorted(edges, p, side="right"), return_inverse=True)
    k = max(1, len(used))
    gaps = np.zeros((len(p), k + 1))
    gaps[np.arange(len(p)), bins] = p - happened
    gaps[:, k] = 1
    ece = boot.of_sums(gaps, prompt, lambda s: np.abs(s[:, :k]).sum(1) / s[:, k])
    drawn = (np.random.default_rng(seed).random((SIMULATED, len(p))) < p) - p
    by_bin = np.stack([np.abs(drawn[:, bins == b].sum(1)) for b in range(k)], 1)
    by_chance = by_bin.sum(1) / len(p)
    brier = boot.mean(np.square(p - happened), prompt)
    base = boot.mean(np.square(constant - happened), prompt)
    return {
        "ece": {
            **_with_basic_interval(ece),
            "by_chance": float(by_chance.mean()),
            "by_chance_high": float(np.quantile(by_chance, 0.95)),
        },
        "brier": beside(brier, {"constant": base}, lower=True),
        "mean_forecast": boot.mean(p, prompt, share=True).as_json(),
        "share": boot.mean(happened, prompt, share=True).as_json(),
        "bins": [_describe_bin(boot, p, happened, prompt, bins == b) for b in range(k)],
    }


def _with_basic_interval(ece: BootstrapDistribution) -> EstimateJson:
    """The figure with its interval mirrored, since resampling prompts adds to the distance.

    The basic bootstrap: Davison and Hinkley (1997), Bootstrap Methods, section 5.2.
    """
    found = ece.as_json()
    if found["value"] is not None:
        low, high = (2 * ece.value - end for end in reversed(ece.interval))
        found["low"], found["high"] = max(0.0, low), max(ece.value, high)
    return found


def _describe_bin(boot: Bootstrap, p: Floats, happened: Floats, prompt: Ints, inside: Bools) -> Bin:
    seen = boot.mean(happened[inside], prompt[inside], share=True).estimate
    mean = float(p[inside].mean())
    return {"forecast": mean, "value": seen.value, "low": seen.low, "high": seen.high, "n": seen.n}
