"""Calibration: of what is predicted with a probability of 70%, 70% should come true."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data.schema import JsonObject
from data.stats.bootstrap import Bootstrap, BootstrapDistribution
from data.stats.estimate import EstimateJson
from data.stats.intervals import Floats, Ints
from reward_model.dataset.examples import TIE, A
from reward_model.evaluation.baselines import rates
from reward_model.evaluation.metrics import EvaluationData, beside, constant_rates, predicts_ties

BINS = 10
PER_BIN = 20
"""Judgements in a bin, at least; fewer judgements make fewer bins."""
SIMULATED = 300


Forecasts = tuple[Floats, Floats]
"""Predicted probabilities (n,), and what happened: 1, 0, or 0.5 for neither (n,)."""


def calibration(data: EvaluationData, seed: int = 0) -> dict[str, JsonObject]:
    """By kind: ECE, Brier score and the bins of a reliability plot.

    "pairs": how sure it is of the side that it prefers, ties apart. "ties" and "binary": how likely
    it says a tie, or good, is.
    """
    found: dict[str, JsonObject] = {}
    pairs, p, boot = data.examples.pairs, data.predictions.pairs, data.bootstrap
    if len(p) and np.isfinite(p).all():
        prompt = data.examples.prompt[pairs.a]
        constant = constant_rates(pairs.outcome, pairs.side, prompt)
        decided = pairs.outcome != TIE
        a_won = pairs.outcome[decided] == A

        def sides(q: Floats) -> Floats:
            return np.asarray(q[decided, 0] / q[decided, :2].sum(1))

        def forecasts(q: Floats) -> Forecasts:
            # which of a and b is the side asked about does not matter: it is the likelier one
            ours = sides(q)
            happened = np.where(ours == 0.5, 0.5, (ours >= 0.5) == a_won)
            return np.maximum(ours, 1 - ours), happened

        if decided.any():
            # constant rates are asked about the same side
            rate = np.where(sides(p) >= 0.5, sides(constant), 1 - sides(constant))
            others = [forecasts(one.pairs) for one in data.others]
            sure, happened = forecasts(p)
            found["pairs"] = reliability(boot, sure, happened, prompt[decided], rate, seed, others)
        tie = (pairs.outcome == TIE).astype(float)
        if tie.any() and predicts_ties(p):
            others = [(one.pairs[:, TIE], tie) for one in data.others]
            found["ties"] = reliability(
                boot, p[:, TIE], tie, prompt, constant[:, TIE], seed, others
            )
    binary, q = data.examples.binary, data.predictions.binary
    if len(q) and np.isfinite(q).all():
        prompt = data.examples.prompt[binary.item]
        good, constant_good = binary.good.astype(float), rates(binary.good, prompt, 2)[:, 1]
        others = [(one.binary, good) for one in data.others]
        found["binary"] = reliability(boot, q, good, prompt, constant_good, seed, others)
    return found


def reliability(
    boot: Bootstrap,
    p: Floats,
    happened: Floats,
    prompt: Ints,
    constant: Floats,
    seed: int = 0,
    others: Sequence[Forecasts] = (),
) -> JsonObject:
    """Predicted probabilities p (n,) against what happened, 1 or 0 (n,), in bins of equally many.

    "ece" is the mean distance between the two in a bin (Naeini et al. 2015, AAAI); "by_chance" is
    about what it would be at this n were every prediction exactly true, below "by_chance_high" in
    95 of 100 cases. "share" is that of what came true; "bins" have the mean "forecast" of each, and
    that share. others: by heads that had learned from other prompts.
    """

    def ece(boot: Bootstrap, said: Forecasts) -> BootstrapDistribution:
        bins, k = _bins(said[0])
        gaps = np.zeros((len(bins), k + 1))
        gaps[np.arange(len(bins)), bins] = said[0] - said[1]
        gaps[:, k] = 1
        return boot.of_sums(gaps, prompt, lambda s: np.abs(s[:, :k]).sum(1) / s[:, k])

    def brier(boot: Bootstrap, said: Forecasts) -> BootstrapDistribution:
        return boot.mean(np.square(said[0] - said[1]), prompt)

    bins, k = _bins(p)
    drawn = (np.random.default_rng(seed).random((SIMULATED, len(p))) < p) - p
    by_bin = np.stack([np.abs(drawn[:, bins == b].sum(1)) for b in range(k)], 1)
    by_chance = by_bin.sum(1) / len(p)
    plotted = []
    for inside in (bins == b for b in range(k)):
        share = boot.mean(happened[inside], prompt[inside], share=True)
        low, high = share.interval
        plotted.append({"forecast": float(p[inside].mean()), "value": share.value,
                        "low": low, "high": high, "n": share.n})  # fmt: skip
    own = (p, happened)
    return {
        "ece": {
            **_with_basic_interval(boot.retrained(ece, own, others)),
            "by_chance": float(by_chance.mean()),
            "by_chance_high": float(np.quantile(by_chance, 0.95)),
        },
        "brier": beside(
            boot.retrained(brier, own, others),
            {"constant": brier(boot, (constant, happened))},
            lower=True,
        ),
        "mean_forecast": boot.mean(p, prompt, share=True).as_json(),
        "share": boot.mean(happened, prompt, share=True).as_json(),
        "bins": plotted,
    }


def _bins(p: Floats) -> tuple[Ints, int]:
    """Bins of equally many, by prediction; equal ones share a bin. Their numbers (n,), how many."""
    most = max(1, min(BINS, len(p) // PER_BIN))
    edges = np.unique(np.quantile(p, np.linspace(0, 1, most + 1)[1:-1])) if most > 1 else p[:0]
    used, bins = np.unique(np.searchsorted(edges, p, side="right"), return_inverse=True)
    return bins, max(1, len(used))


def _with_basic_interval(ece: BootstrapDistribution) -> EstimateJson:
    """The figure with its interval mirrored, since resampling prompts adds to the distance.

    The basic bootstrap: Davison and Hinkley (1997), Bootstrap Methods, section 5.2.
    """
    found = ece.as_json()
    if found["value"] is not None:
        low, high = (2 * ece.value - end for end in reversed(ece.interval))
        found["low"], found["high"] = max(0.0, low), max(ece.value, high)
    return found
