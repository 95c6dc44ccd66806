"""How well rewards and predictions agree with judgements of prompts that they have not seen.

Every metric stands beside what it must beat: the best baseline, or constant rates as predictions;
the difference from it is paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NotRequired, cast

import numpy as np
from scipy.stats import rankdata

from data.stats.bootstrap import Bootstrap, BootstrapDistribution
from data.stats.estimate import EstimateJson, missing_json
from data.stats.ranks import auc, rank_correlation
from reward_model.dataset.examples import TIE, Bools, Examples, Floats, Ints, group_rows
from reward_model.dataset.preference_pairs import KIND_OF, PreferencePairs
from reward_model.evaluation.baselines import Baselines, rates
from reward_model.evaluation.cross_validation import RATINGS, Predictions

TINY = 1e-12
NEAR = 0.15
"""Texts whose lengths differ by less than this share of the longer one are of about one length."""


class NamedEstimate(EstimateJson):
    """A baseline's figure."""

    name: str


class Lead(EstimateJson):
    """How far ahead of the baseline `over` a figure is, paired; up is better."""

    over: str


class Metric(EstimateJson):
    """A figure, the best baseline's, and the lead over it; the last two None where unknown."""

    baseline: NotRequired[NamedEstimate | None]
    lead: NotRequired[Lead | None]


Metrics = dict[str, Metric]


@dataclass(frozen=True)
class EvaluationData:
    """What is compared: judgements, the rewards and predictions of them, and the baselines."""

    examples: Examples
    pairs: PreferencePairs
    predictions: Predictions
    baselines: Baselines
    bootstrap: Bootstrap

    @property
    def reward(self) -> Floats:
        """Of each completion (N,)."""
        return self.predictions.reward


def evaluation_data(
    examples: Examples,
    pairs: PreferencePairs,
    predictions: Predictions,
    baselines: Baselines,
    bootstrap: Bootstrap,
) -> EvaluationData:
    """The part of the examples whose completions have a reward (N,) in the predictions."""
    known = np.isfinite(predictions.reward)
    compared = known[examples.pairs.a] & known[examples.pairs.b]
    good, rated = known[examples.binary.item], known[examples.scalar.item]
    prompt = {
        "binary": baselines.prompt["binary"][good],
        "scalar": baselines.prompt["scalar"][rated],
    }
    return EvaluationData(
        examples.where(known),
        pairs.where(known[pairs.better] & known[pairs.worse]),
        replace(
            predictions,
            pairs=predictions.pairs[compared],
            binary=predictions.binary[good],
            scalar=predictions.scalar[rated],
        ),
        replace(baselines, prompt=prompt),
        bootstrap,
    )


def measures(data: EvaluationData) -> Metrics:
    """All metrics that the judgements allow, by name."""
    return {**pair_metrics(data), **_rating_metrics(data), **_binary_metrics(data)}


def beside(
    ours: BootstrapDistribution, others: Mapping[str, BootstrapDistribution], lower: bool = False
) -> Metric:
    """A figure beside the best of the others, and the lead over it. lower: less is better."""
    found = ours.as_json()
    known = {n: e for n, e in others.items() if e.enough}
    if not known or not ours.enough:
        return {**found, "baseline": None, "lead": None}
    sign = -1 if lower else 1
    best = max(known, key=lambda name: sign * known[name].value)
    ahead = known[best] - ours if lower else ours - known[best]
    baseline: NamedEstimate = {"name": best, **known[best].as_json()}
    return {**found, "baseline": baseline, "lead": {"over": best, **ahead.as_json()}}


# -- pairs


def pairwise_accuracy(data: EvaluationData) -> BootstrapDistribution:
    """Share of pairs whose better completion has the higher reward."""
    return data.bootstrap.mean(data.pairs.correct(data.reward), data.pairs.prompt, share=True)


def pair_baselines(data: EvaluationData) -> dict[str, BootstrapDistribution]:
    """The pairwise accuracy of each baseline."""
    pairs = data.pairs
    found = {
        "longer": pairs.correct(data.baselines.length),
        "shorter": pairs.correct(-data.baselines.length),
        "prompt": np.full(len(pairs), 0.5),
        "words": pairs.correct(data.baselines.words[KIND_OF[pairs.source]]),
    }
    if pairs.source == "comparisons":
        found["first"] = pairs.first
    means = {
        name: data.bootstrap.mean(correct, pairs.prompt, share=name != "prompt")
        for name, correct in found.items()
    }
    return {name: mean for name, mean in means.items() if np.isfinite(mean.value)}


def pair_metrics(data: EvaluationData) -> Metrics:
    """Accuracy on pairs, without and with ties, and log-losses in nats a judgement."""
    accuracy = cast(Metric, missing_json())
    if len(data.pairs):
        accuracy = beside(pairwise_accuracy(data), pair_baselines(data))
    p = data.predictions.pairs
    if not len(p) or not np.isfinite(p).all():
        return {"accuracy": accuracy}
    pairs, prompt = data.examples.pairs, data.examples.prompt[data.examples.pairs.a]
    code, constant = pairs.outcome, constant_rates(pairs.outcome, pairs.side, prompt)
    decided = code != TIE

    def hit(p: Floats) -> BootstrapDistribution:
        # half or a third right where two or all three are called equally likely
        top = np.isclose(p, p.max(1, keepdims=True), atol=1e-9)
        right = top[np.arange(len(code)), code] / top.sum(1)
        return data.bootstrap.mean(right, prompt, share=True)

    found = {"accuracy": accuracy, "three_way": beside(hit(p), {"constant": hit(constant)})}
    if predicts_ties(p):
        found["log_loss_ties"] = _log_loss(data, p, constant, code, prompt)
    if decided.any():
        given, rate = (q[decided, :2] / q[decided, :2].sum(1, keepdims=True) for q in (p, constant))
        found["log_loss"] = _log_loss(data, given, rate, code[decided], prompt[decided])
    return found


def _log_loss(
    data: EvaluationData, p: Floats, constant: Floats, code: Ints, prompt: Ints
) -> Metric:
    """Mean of -log p[i, code[i]], in nats, of predictions p and of constant rates (n, K)."""
    row, mean = np.arange(len(code)), data.bootstrap.mean
    ours, theirs = (mean(-np.log(q[row, code] + TINY), prompt) for q in (p, constant))
    return beside(ours, {"constant": theirs}, lower=True)


def predicts_ties(p: Floats) -> bool:
    """P(a), P(b), P(tie) (n, 3) come from a model of ties; Bradley-Terry's has none."""
    return bool(p[:, TIE].any())


def constant_rates(outcome: Ints, side: Floats, prompt: Ints) -> Floats:
    """P(a), P(b), P(tie) (n, 3) from how often the first, the second or none was preferred.

    On the other prompts. Where nobody knows which was first, a stands for it.
    """
    second = side < 0
    found = rates(np.where(second & (outcome != TIE), 1 - outcome, outcome), prompt, 3)
    found[second] = found[second][:, [1, 0, 2]]
    return found


def at_equal_length(data: EvaluationData) -> dict[str, EstimateJson]:
    """Two ways of holding length fixed.

    "near": accuracy where the two texts are about as long. "balanced": the mean of the accuracy
    where people preferred the longer one, and where the shorter: whatever grows or falls with
    length alone scores 50%.
    """
    pairs, length = data.pairs, data.baselines.length
    correct, better, worse = pairs.correct(data.reward), length[pairs.better], length[pairs.worse]
    longer, shorter = better > worse, better < worse

    def mean_of(rows: Bools) -> EstimateJson:
        return data.bootstrap.mean(correct[rows], pairs.prompt[rows], share=True).as_json()

    found = {
        "near": mean_of(np.abs(better - worse) <= NEAR * np.maximum(better, worse)),
        "longer": mean_of(longer),
        "shorter": mean_of(shorter),
        "balanced": missing_json(),
    }
    if longer.any() and shorter.any():
        columns = (longer * correct, longer, shorter * correct, shorter)
        unequal = better != worse
        found["balanced"] = data.bootstrap.of_sums(
            np.stack(columns, 1).astype(float)[unequal],
            pairs.prompt[unequal],
            lambda s: 0.5 * (s[:, 0] / s[:, 1] + s[:, 2] / s[:, 3]),
            share=True,
        ).as_json()
    return found


# -- ratings


def _rating_metrics(data: EvaluationData) -> Metrics:
    scalar = data.examples.scalar
    if not len(scalar):
        return {}
    prompt, rating = data.examples.prompt[scalar.item], scalar.rating.astype(float)

    def overall(score: Floats) -> BootstrapDistribution:
        return data.bootstrap.of_weights(prompt, lambda w: rank_correlation(w, score, rating))

    found = _ranking(data, "scalar", scalar.item, "spearman", overall, _rank_correlation_within)
    p = data.predictions.scalar
    if not np.isfinite(p).all():
        return found
    code = scalar.rating - 1
    constant = rates(code, prompt, len(RATINGS))

    def error(p: Floats) -> BootstrapDistribution:
        predicted_median = 1 + (np.cumsum(p, 1) < 0.5 - 1e-9).sum(1)
        return data.bootstrap.mean(np.abs(predicted_median - 1.0 - code), prompt)

    found["rating_error"] = beside(error(p), {"constant": error(constant)}, lower=True)
    found["rating_log_loss"] = _log_loss(data, p, constant, code, prompt)
    return found


def _ranking(
    data: EvaluationData,
    kind: str,
    item: Ints,
    name: str,
    overall: Callable[[Floats], BootstrapDistribution],
    within: Callable[[EvaluationData, Floats], BootstrapDistribution],
) -> Metrics:
    """A figure of scores within prompts, of completions (N,), and of all, row by row (n,)."""
    scores = {"longer": data.baselines.length, "shorter": -data.baselines.length}
    words = data.baselines.words[kind]
    if np.isfinite(words[np.isfinite(data.reward)]).all():
        scores["words"] = words
    others = {n: overall(score[item]) for n, score in scores.items()}
    others["prompt"] = overall(data.baselines.prompt[kind])
    others_within = {n: within(data, score) for n, score in scores.items()}
    return {
        f"{name}_within": beside(within(data, data.reward), others_within),
        name: beside(overall(data.reward[item]), others),
    }


def _rank_correlation_within(data: EvaluationData, score: Floats) -> BootstrapDistribution:
    """Spearman's within prompts, averaged over those with two completions rated differently."""
    scalar = data.examples.scalar
    total = np.bincount(scalar.item, scalar.rating, len(score))
    count = np.bincount(scalar.item, minlength=len(score))
    rated = np.flatnonzero(count)
    values, prompts, ratings = [], [], 0
    for group in group_rows(data.examples.prompt[rated]):
        items = rated[group]
        given = total[items] / count[items]
        if len(items) > 1 and np.ptp(given) > 0:
            ranks = rankdata(score[items]), rankdata(given)
            values.append(0.0 if np.ptp(score[items]) == 0 else float(np.corrcoef(*ranks)[0, 1]))
            prompts.append(int(data.examples.prompt[items[0]]))
            ratings += int(count[items].sum())
    return replace(data.bootstrap.mean(np.array(values), np.array(prompts, int)), n=ratings)


# -- good or bad


def _binary_metrics(data: EvaluationData) -> Metrics:
    binary = data.examples.binary
    if not len(binary):
        return {}
    prompt, good = data.examples.prompt[binary.item], binary.good.astype(float)

    def overall(score: Floats) -> BootstrapDistribution:
        return data.bootstrap.of_weights(prompt, lambda w: auc(w, score, good), share=True)

    found = _ranking(data, "binary", binary.item, "auc", overall, _auc_within)
    p = data.predictions.binary
    if np.isfinite(p).all():
        constant = rates(binary.good, prompt, 2)[:, 1]
        ours, theirs = (np.stack([1 - q, q], 1) for q in (p, constant))
        found["good_log_loss"] = _log_loss(data, ours, theirs, binary.good, prompt)
    return found


def _auc_within(data: EvaluationData, score: Floats) -> BootstrapDistribution:
    """Of two completions of one prompt, one good and one bad: how often the good scores higher."""
    binary, found = data.examples.binary, []
    score, good, prompt = score[binary.item], binary.good, data.examples.prompt[binary.item]
    for group in group_rows(prompt):
        yes, no = score[group][good[group] > 0], score[group][good[group] == 0]
        if len(yes) and len(no):
            ahead = 0.5 + 0.5 * np.sign(yes[:, None] - no[None])
            found.append((ahead.sum(), ahead.size, len(group), prompt[group[0]]))
    table = np.array(found, float).reshape(-1, 4)
    prompts, n = table[:, 3].astype(np.int64), int(table[:, 2].sum())
    return data.bootstrap.of_sums(table[:, :2], prompts, lambda s: s[:, 0] / s[:, 1], n, share=True)
