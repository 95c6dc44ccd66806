"""Whether forecasts mean what they say: of what is called 70% likely, 70% should come true."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reward_model.dataset.examples import TIE, A
from reward_model.evaluation.baselines import rates
from reward_model.evaluation.intervals import Bootstrap, Estimate, nothing
from reward_model.evaluation.metrics import Asked, beside, constant_rates, foretells_ties

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
BINS = 10
PER_BIN = 20
"""Judgements in a bin, at least; fewer judgements make fewer bins."""
SIMULATED = 300


def calibration(asked: Asked, seed: int = 0) -> dict[str, Any]:
    """By kind: ECE, Brier score and the bins of a reliability plot.

    "pairs": how sure it is of the side that it prefers, ties apart. "ties" and "binary": how likely
    it says a tie, or good, is.
    """
    found: dict[str, Any] = {}
    pairs, p = asked.examples.pairs, asked.forecast.pairs
    if len(p) and np.isfinite(p).all():
        prompt = asked.prompt(pairs.a)
        constant = constant_rates(pairs.outcome, pairs.side, prompt)
        decided = pairs.outcome != TIE
        if decided.any():
            found["pairs"] = _sides(
                asked.boot, p[decided], constant[decided], pairs.outcome[decided], prompt[decided],
                seed,
            )  # fmt: skip
        tie = (pairs.outcome == TIE).astype(float)
        if tie.any() and foretells_ties(p):
            found["ties"] = reliability(asked.boot, p[:, 2], tie, prompt, constant[:, 2], seed)
    binary, q = asked.examples.binary, asked.forecast.binary
    if len(q) and np.isfinite(q).all():
        prompt = asked.prompt(binary.item)
        constant_good = rates(binary.good, prompt, 2)[:, 1]
        good = binary.good.astype(float)
        found["binary"] = reliability(asked.boot, q, good, prompt, constant_good, seed)
    return found


def _sides(
    boot: Bootstrap, p: Array, constant: Array, outcome: Ints, prompt: Ints, seed: int
) -> dict[str, Any]:
    """Which of a and b is the side asked about does not matter: it is the likelier one.

    Constant rates are asked about the same side.
    """
    ours, rate = p[:, 0] / p[:, :2].sum(1), constant[:, 0] / constant[:, :2].sum(1)
    likelier = ours >= 0.5
    happened = np.where(ours == 0.5, 0.5, likelier == (outcome == A))
    return reliability(
        boot, np.maximum(ours, 1 - ours), happened, prompt, np.where(likelier, rate, 1 - rate), seed
    )


def reliability(
    boot: Bootstrap, p: Array, happened: Array, prompt: Ints, constant: Array, seed: int = 0
) -> dict[str, Any]:
    """Forecasts p (n,) against what happened, 1 or 0 (n,), in bins of equally many.

    "ece" is the mean distance between the two in a bin; "by_chance" what it would be about (and
    below what in 95 of 100 cases) at this n if every forecast were exactly true.
    """
    bins = _bins(p)
    k = int(bins.max(initial=0)) + 1
    ece = _ece(boot, p, happened, prompt, bins)
    mean, high = _by_chance(p, bins, k, seed)
    brier = boot.mean(np.square(p - happened), prompt)
    base = boot.mean(np.square(constant - happened), prompt)
    return {
        "ece": _around(ece) | {"by_chance": mean, "by_chance_high": high},
        "brier": beside(brier, {"constant": base}, lower=True),
        "mean_forecast": boot.mean(p, prompt, share=True).as_json(),
        "share": boot.mean(happened, prompt, share=True).as_json(),
        "bins": [_bin(boot, p, happened, prompt, bins == b) for b in range(k)],
    }


def _bins(p: Array) -> Ints:
    """Bins of equally many, by forecast; equal forecasts share a bin."""
    k = max(1, min(BINS, len(p) // PER_BIN))
    edges = np.unique(np.quantile(p, np.linspace(0, 1, k + 1)[1:-1])) if k > 1 else np.zeros(0)
    found = np.searchsorted(edges, p, side="right")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _ece(boot: Bootstrap, p: Array, happened: Array, prompt: Ints, bins: Ints) -> Estimate:
    k = int(bins.max(initial=0)) + 1
    gaps = np.zeros((len(p), k + 1))
    gaps[np.arange(len(p)), bins] = p - happened
    gaps[:, k] = 1
    return boot.of(gaps, prompt, lambda s: np.abs(s[:, :k]).sum(1) / s[:, k])


def _around(ece: Estimate) -> dict[str, Any]:
    """The figure; its interval mirrored, since drawing prompts again adds to the distance.

    The basic bootstrap: Davison and Hinkley (1997), Bootstrap Methods, section 5.2.
    """
    found = ece.as_json()
    if found["value"] is None:
        return found
    low, high = (2 * ece.value - end for end in reversed(ece.interval))
    return found | {"low": max(0.0, low), "high": max(ece.value, high)}


def _by_chance(p: Array, bins: Ints, k: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    drawn = (rng.random((SIMULATED, len(p))) < p) - p
    gaps = np.stack([np.abs(drawn[:, bins == b].sum(1)) for b in range(k)], 1)
    found = gaps.sum(1) / len(p)
    return float(found.mean()), float(np.quantile(found, 0.95))


def _bin(
    boot: Bootstrap, p: Array, happened: Array, prompt: Ints, inside: NDArray[np.bool_]
) -> dict[str, Any]:
    seen = boot.mean(happened[inside], prompt[inside], share=True)
    low, high = seen.interval
    return {
        "forecast": float(p[inside].mean()),
        "value": seen.value,
        "low": low,
        "high": high,
        "n": int(inside.sum()),
    } if inside.any() else nothing()  # fmt: skip
