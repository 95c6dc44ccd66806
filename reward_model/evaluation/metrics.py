"""How well rewards and forecasts agree with judgements of prompts that they have not seen.

Every measure stands beside what it must beat: the best null, or a forecast of constant rates; the
difference from it is paired.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from reward_model.dataset.examples import TIE, Examples, Ints
from reward_model.dataset.preference_pairs import KIND_OF, Duels
from reward_model.evaluation.baselines import Nulls, rates
from reward_model.evaluation.cross_validation import Forecast
from reward_model.evaluation.intervals import Bootstrap, Estimate, auc, nothing, rank_correlation

Array = NDArray[np.float64]
TINY = 1e-12
NEAR = 0.15
"""Texts whose lengths differ by less than this share of the longer one are of about one length."""
RATINGS = np.arange(1, 11)


@dataclass(frozen=True)
class Asked:
    """What is compared: the judgements that a forecast speaks of, its rewards, and the nulls."""

    examples: Examples
    duels: Duels
    forecast: Forecast
    nulls: Nulls
    boot: Bootstrap

    @property
    def reward(self) -> Array:
        return self.forecast.reward

    def prompt(self, item: Ints) -> Ints:
        return self.examples.prompt[item]


def about(
    examples: Examples, duels: Duels, forecast: Forecast, nulls: Nulls, boot: Bootstrap
) -> Asked:
    """The part of the examples whose completions have a reward (N,) in the forecast."""
    known = np.isfinite(forecast.reward)
    pairs = known[examples.pairs.a] & known[examples.pairs.b]
    good, rated = known[examples.binary.item], known[examples.scalar.item]
    part = Forecast(
        forecast.reward,
        forecast.sd,
        forecast.pairs[pairs],
        forecast.binary[good],
        forecast.scalar[rated],
        forecast.nll,
        forecast.n,
    )
    prompt = {"binary": nulls.prompt["binary"][good], "scalar": nulls.prompt["scalar"][rated]}
    return Asked(
        examples.where(known),
        duels.where(known[duels.better] & known[duels.worse]),
        part,
        Nulls(nulls.length, nulls.words, prompt),
        boot,
    )


def measures(asked: Asked) -> dict[str, dict[str, Any]]:
    """By name: a figure, its "baseline" (a figure with a name), and the "lead" over it."""
    return {**accuracies(asked), **_ratings(asked), **_good_or_bad(asked)}


def beside(ours: Estimate, others: Mapping[str, Estimate], lower: bool = False) -> dict[str, Any]:
    """A figure beside the best of the others, and how far it is ahead, paired; up is better."""
    found = ours.as_json()
    known = {n: e for n, e in others.items() if e.enough}
    if not known or not ours.enough:
        return found | {"baseline": None, "lead": None}
    sign = -1 if lower else 1
    best = max(known, key=lambda name: sign * known[name].value)
    ahead = known[best] - ours if lower else ours - known[best]
    baseline = {"name": best, **known[best].as_json()}
    return found | {"baseline": baseline, "lead": {"over": best, **ahead.as_json()}}


# -- pairs


def right(asked: Asked) -> Estimate:
    """Share of pairs whose better completion has the higher reward."""
    d = asked.duels
    return asked.boot.mean(d.right(asked.reward), d.prompt, share=True)


def pair_nulls(asked: Asked) -> dict[str, Estimate]:
    """How often each null is right about the pairs."""
    d = asked.duels
    found = {
        "longer": d.right(asked.nulls.length),
        "shorter": d.right(-asked.nulls.length),
        "prompt": np.full(len(d), 0.5),
        "words": d.right(asked.nulls.words[KIND_OF[d.source]]),
    }
    if d.source == "comparisons":
        found["first"] = d.first
    means = {
        n: asked.boot.mean(v, d.prompt, share=n != "prompt") for n, v in found.items() if len(v)
    }
    return {n: e for n, e in means.items() if np.isfinite(e.value)}


def accuracies(asked: Asked) -> dict[str, dict[str, Any]]:
    """Of pairs: who is better; with ties; and log-losses, in nats a judgement."""
    if not len(asked.duels) and not len(asked.examples.pairs):
        return {"accuracy": nothing()}
    found = {"accuracy": nothing()}
    if len(asked.duels):
        found["accuracy"] = beside(right(asked), pair_nulls(asked))
    p = asked.forecast.pairs
    if not len(p) or not np.isfinite(p).all():
        return found
    return found | _three_ways(asked, p)


def _three_ways(asked: Asked, p: Array) -> dict[str, dict[str, Any]]:
    """P(a), P(b), P(tie) of each comparison (n, 3) against what was said and constant rates."""
    pairs, prompt = asked.examples.pairs, asked.prompt(asked.examples.pairs.a)
    code, constant = pairs.outcome, constant_rates(pairs.outcome, pairs.side, prompt)
    decided = code != TIE
    boot = asked.boot

    def loss(forecast: Array) -> Estimate:
        return boot.mean(-np.log(_picked(forecast, code) + TINY), prompt)

    def decided_loss(forecast: Array) -> Estimate:
        given = forecast[decided, :2] / forecast[decided, :2].sum(1, keepdims=True)
        return boot.mean(-np.log(_picked(given, code[decided]) + TINY), prompt[decided])

    def hit(forecast: Array) -> Estimate:
        """Half or a third right where two or all three are called equally likely."""
        top = np.isclose(forecast, forecast.max(1, keepdims=True), atol=1e-9)
        return boot.mean(_picked(top, code) / top.sum(1), prompt, share=True)

    found = {"three_way": beside(hit(p), {"constant": hit(constant)})}
    if foretells_ties(p):
        found["log_loss_ties"] = beside(loss(p), {"constant": loss(constant)}, lower=True)
    if decided.any():
        found["log_loss"] = beside(
            decided_loss(p), {"constant": decided_loss(constant)}, lower=True
        )
    return found


def foretells_ties(p: Array) -> bool:
    """P(a), P(b), P(tie) (n, 3) come from a model of ties; the textbook loss has none."""
    return bool(p[:, TIE].any())


def constant_rates(outcome: Ints, side: Array, prompt: Ints) -> Array:
    """P(a), P(b), P(tie) (n, 3) from how often the first, the second or none was preferred.

    On the other prompts. Where nobody knows which was first, a stands for it.
    """
    turned = (side < 0) & (outcome != TIE)
    found = rates(np.where(turned, 1 - outcome, outcome), prompt, 3)
    swap = side < 0
    found[swap] = found[swap][:, [1, 0, 2]]
    return found


def _picked(table: Array, code: Ints) -> Array:
    chosen: Array = np.asarray(table, float)[np.arange(len(code)), code]
    return chosen


def at_equal_length(asked: Asked) -> dict[str, Any]:
    """Two ways of holding length fixed.

    "near": accuracy where the two texts are about as long. "balanced": the mean of the accuracy
    where people preferred the longer one, and where the shorter: whatever grows or falls with
    length alone scores 50%.
    """
    d, length = asked.duels, asked.nulls.length
    if not len(d):
        return {name: nothing() for name in ("near", "balanced", "longer", "shorter")}
    right_, better, worse = d.right(asked.reward), length[d.better], length[d.worse]
    near = np.abs(better - worse) <= NEAR * np.maximum(better, worse)
    longer, shorter = (better > worse).astype(float), (better < worse).astype(float)
    table = np.stack([longer * right_, longer, shorter * right_, shorter], 1)[better != worse]
    prompt = d.prompt[better != worse]
    found = {
        "near": _mean_of(asked, right_, near),
        "longer": _mean_of(asked, right_, longer > 0),
        "shorter": _mean_of(asked, right_, shorter > 0),
    }
    if not (longer.any() and shorter.any()):
        return found | {"balanced": nothing(0)}
    both = asked.boot.of(
        table, prompt, lambda s: 0.5 * (s[:, 0] / s[:, 1] + s[:, 2] / s[:, 3]), share=True
    )
    return found | {"balanced": both.as_json()}


def _mean_of(asked: Asked, values: Array, keep: NDArray[np.bool_]) -> dict[str, Any]:
    if not keep.any():
        return nothing()
    return asked.boot.mean(values[keep], asked.duels.prompt[keep], share=True).as_json()


# -- ratings


def _ratings(asked: Asked) -> dict[str, dict[str, Any]]:
    scalar = asked.examples.scalar
    if not len(scalar):
        return {}
    prompt = asked.prompt(scalar.item)
    rating = scalar.rating.astype(float)

    def overall(score: Array) -> Estimate:
        return asked.boot.weighted(prompt, lambda w: rank_correlation(w, score, rating))

    scores = _scores(asked, "scalar")
    by_item = {n: s[scalar.item] for n, s in scores.items()}
    by_item["prompt"] = asked.nulls.prompt["scalar"]
    within = {n: _within(asked, s) for n, s in scores.items()}
    found = {
        "spearman_within": beside(_within(asked, asked.reward), within),
        "spearman": beside(
            overall(asked.reward[scalar.item]), {n: overall(s) for n, s in by_item.items()}
        ),
    }
    p = asked.forecast.scalar
    return found | _points(asked, p, prompt) if np.isfinite(p).all() else found


def _scores(asked: Asked, kind: str) -> dict[str, Array]:
    """Nulls that give every completion a score (N,); none that is the same for all."""
    found = {"longer": asked.nulls.length, "shorter": -asked.nulls.length}
    words = asked.nulls.words[kind]
    known = np.isfinite(asked.reward)
    return found | {"words": words} if np.isfinite(words[known]).all() else found


def _within(asked: Asked, score: Array) -> Estimate:
    """Spearman within prompts, averaged over those with ratings of two completions apart."""
    scalar = asked.examples.scalar
    mean = np.bincount(scalar.item, scalar.rating, len(score))
    count = np.bincount(scalar.item, minlength=len(score))
    rated = np.flatnonzero(count)
    prompt, n = asked.prompt(rated), count[rated]
    order = np.argsort(prompt, kind="stable")
    values, prompts, ratings = [], [], 0
    for group in np.split(order, np.flatnonzero(np.diff(prompt[order])) + 1):
        items = rated[group]
        given = mean[items] / count[items]
        if len(items) > 1 and np.ptp(given) > 0:
            values.append(_spearman(score[items], given))
            prompts.append(int(prompt[group[0]]))
            ratings += int(n[group].sum())
    if not values:
        return Estimate(float("nan"), np.zeros(0), 0, 0)
    found = asked.boot.mean(np.array(values), np.array(prompts))
    return Estimate(found.value, found.draws, ratings, found.prompts)


def _spearman(score: Array, given: Array) -> float:
    if np.ptp(score) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(score), rankdata(given))[0, 1])


def _points(asked: Asked, p: Array, prompt: Ints) -> dict[str, dict[str, Any]]:
    """How far off ratings are, in points, and their log-loss, beside constant rates."""
    code = asked.examples.scalar.rating - 1
    constant = rates(code, prompt, len(RATINGS))

    def off(forecast: Array) -> Estimate:
        middle = 1 + (np.cumsum(forecast, 1) < 0.5 - 1e-9).sum(1)
        return asked.boot.mean(np.abs(middle - 1.0 - code), prompt)

    def loss(forecast: Array) -> Estimate:
        return asked.boot.mean(-np.log(_picked(forecast, code) + TINY), prompt)

    return {
        "rating_error": beside(off(p), {"constant": off(constant)}, lower=True),
        "rating_log_loss": beside(loss(p), {"constant": loss(constant)}, lower=True),
    }


# -- good or bad


def _good_or_bad(asked: Asked) -> dict[str, dict[str, Any]]:
    binary = asked.examples.binary
    if not len(binary):
        return {}
    prompt, good = asked.prompt(binary.item), binary.good.astype(float)

    def overall(score: Array) -> Estimate:
        return asked.boot.weighted(prompt, lambda w: auc(w, score, good), share=True)

    scores = {n: s[binary.item] for n, s in _scores(asked, "binary").items()}
    ours = asked.reward[binary.item]
    within = {n: _auc_within(asked, s, good, prompt) for n, s in scores.items()}
    found = {
        "auc_within": beside(_auc_within(asked, ours, good, prompt), within),
        "auc": beside(
            overall(ours),
            {n: overall(s) for n, s in (scores | {"prompt": asked.nulls.prompt["binary"]}).items()},
        ),
    }
    p = asked.forecast.binary
    if not np.isfinite(p).all():
        return found
    constant = rates(binary.good, prompt, 2)[:, 1]

    def loss(forecast: Array) -> Estimate:
        said = np.where(good > 0, forecast, 1 - forecast)
        return asked.boot.mean(-np.log(said + TINY), prompt)

    return found | {"good_log_loss": beside(loss(p), {"constant": loss(constant)}, lower=True)}


def _auc_within(asked: Asked, score: Array, good: Array, prompt: Ints) -> Estimate:
    """Of two completions of one prompt, one called good and one bad: the good one has more."""
    found = []
    order = np.argsort(prompt, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(prompt[order])) + 1):
        yes, no = score[group][good[group] > 0], score[group][good[group] == 0]
        if len(yes) and len(no):
            ahead = 0.5 + 0.5 * np.sign(yes[:, None] - no[None])
            found.append((ahead.sum(), ahead.size, len(group), prompt[group[0]]))
    if not found:
        return Estimate(float("nan"), np.zeros(0), 0, 0)
    table = np.array(found, float)
    return asked.boot.of(
        table[:, :2],
        table[:, 3].astype(np.int64),
        lambda s: s[:, 0] / s[:, 1],
        n=int(table[:, 2].sum()),
        share=True,
    )
