"""How well rewards and predictions agree with judgements of prompts that they have not seen.

Every metric stands beside what it must beat: the best baseline, or constant rates as predictions;
the difference from it is paired. A baseline that needs what was not recorded is not there. Where
predictions are cross-validated, intervals hold the variance that training on other prompts adds;
of the baselines, which words and lengths tell, they do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from data.schema import JsonObject
from data.stats.bootstrap import Bootstrap, BootstrapDistribution
from data.stats.estimate import EstimateJson, missing_json
from data.stats.intervals import Bools, Floats, Ints
from data.stats.ranks import auc, rank_correlation, ranks_within
from reward_model.dataset.examples import TIE, Examples
from reward_model.dataset.preference_pairs import KIND_OF, PreferencePairs
from reward_model.evaluation.baselines import Baselines, rates
from reward_model.evaluation.cross_validation import RATINGS, Predictions

TINY = 1e-12
NEAR = 0.15
"""Texts whose lengths differ by less than this share of the longer one are of about one length."""
Metrics = dict[str, JsonObject]
"""Figures by name, each as `beside` makes it."""
Figure = Callable[[Bootstrap, Floats], BootstrapDistribution]
"""Of rewards (N,) or of predictions."""


@dataclass(frozen=True)
class EvaluationData:
    """What is compared: judgements, the rewards and predictions of them, and the baselines."""

    examples: Examples
    pairs: PreferencePairs
    predictions: Predictions
    baselines: Baselines
    bootstrap: Bootstrap
    others: Sequence[Predictions] = ()
    """By heads that had learned from other prompts: see `retraining`."""

    @property
    def reward(self) -> Floats:
        """Of each completion (N,)."""
        return self.predictions.reward

    def figure(
        self, figure: Figure, of: Literal["reward", "pairs", "binary", "scalar"] = "reward"
    ) -> BootstrapDistribution:
        """A figure of the rewards, or of what is predicted of one kind of judgement."""
        others = [getattr(one, of) for one in self.others]
        return self.bootstrap.retrained(figure, getattr(self.predictions, of), others)


def evaluation_data(
    examples: Examples,
    pairs: PreferencePairs,
    predictions: Predictions,
    baselines: Baselines,
    bootstrap: Bootstrap,
    others: Sequence[Predictions] = (),
) -> EvaluationData:
    """The part of the examples whose completions have a reward (N,) in the predictions.

    others: predictions of all that the predictions are of, by heads that had learned from other
    prompts.
    """
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
        others,
    )


def measures(data: EvaluationData) -> Metrics:
    """All metrics that the judgements allow, by name."""
    return {**pair_metrics(data), **_rating_metrics(data), **_binary_metrics(data)}


def beside(
    ours: BootstrapDistribution,
    others: Mapping[str, BootstrapDistribution],
    lower: bool = False,
    same: Mapping[str, BootstrapDistribution] | None = None,
) -> JsonObject:
    """A figure beside the best of the others, and the lead over it. lower: less is better.

    "baseline" has the name of the best; "lead", paired, says over which it is: up is better. Both
    are None where unknown. same: our figure on the judgements of those others that are not of all.
    """
    found = ours.as_json()
    known = {n: e for n, e in others.items() if e.enough}
    if not known or not ours.enough:
        return {**found, "baseline": None, "lead": None}
    sign = -1 if lower else 1
    best = max(known, key=lambda name: sign * known[name].value)
    own = (same or {}).get(best, ours)
    ahead = known[best] - own if lower else own - known[best]
    baseline, lead = {"name": best, **known[best].as_json()}, {"over": best, **ahead.as_json()}
    return {**found, "baseline": baseline, "lead": lead}


# -- pairs


def pairwise_accuracy(data: EvaluationData, rows: Bools | None = None) -> BootstrapDistribution:
    """Share of pairs, or of some rows (n,) of them, whose better completion has more reward."""
    pairs = data.pairs if rows is None else data.pairs.where(rows)
    return data.figure(lambda boot, r: boot.mean(pairs.correct(r), pairs.prompt, share=True))


def pair_baselines(data: EvaluationData) -> dict[str, BootstrapDistribution]:
    """The pairwise accuracy of each baseline; "first" of those whose display order is known."""
    pairs, kind = data.pairs, KIND_OF[data.pairs.source]
    found = {
        "longer": pairs.correct(data.baselines.length),
        "shorter": pairs.correct(-data.baselines.length),
        "prompt": np.full(len(pairs), 0.5),
        "words": pairs.correct(data.baselines.words[kind]),
        "words_and_length": pairs.correct(data.baselines.words_and_length[kind]),
    }
    means = {
        name: data.bootstrap.mean(correct, pairs.prompt, share=name != "prompt")
        for name, correct in found.items()
    }
    shown = pairs.where(np.isfinite(pairs.first))
    if len(shown):
        means["first"] = data.bootstrap.mean(shown.first, shown.prompt, share=True)
    return {name: mean for name, mean in means.items() if np.isfinite(mean.value)}


def pair_metrics(data: EvaluationData) -> Metrics:
    """Accuracy on pairs, without and with ties, and log-losses in nats a judgement."""
    accuracy: JsonObject = {**missing_json()}
    if len(data.pairs):
        shown = np.isfinite(data.pairs.first)
        same = {} if shown.all() else {"first": pairwise_accuracy(data, shown)}
        accuracy = beside(pairwise_accuracy(data), pair_baselines(data), same=same)
    p = data.predictions.pairs
    if not len(p) or not np.isfinite(p).all():
        return {"accuracy": accuracy}
    pairs, prompt = data.examples.pairs, data.examples.prompt[data.examples.pairs.a]
    code, constant = pairs.outcome, constant_rates(pairs.outcome, pairs.side, prompt)
    decided = code != TIE

    def hit(boot: Bootstrap, p: Floats) -> BootstrapDistribution:
        # half or a third right where two or all three are called equally likely
        top = np.isclose(p, p.max(1, keepdims=True), atol=1e-9)
        right = top[np.arange(len(code)), code] / top.sum(1)
        return boot.mean(right, prompt, share=True)

    def loss_of_sides(boot: Bootstrap, p: Floats) -> BootstrapDistribution:
        sides = p[decided, :2] / p[decided, :2].sum(1, keepdims=True)
        return log_loss(boot, sides, code[decided], prompt[decided])

    def beside_constant(figure: Figure, lower: bool = True) -> JsonObject:
        theirs = figure(data.bootstrap, constant)
        return beside(data.figure(figure, "pairs"), {"constant": theirs}, lower)

    found = {"accuracy": accuracy, "three_way": beside_constant(hit, lower=False)}
    if predicts_ties(p):
        found["log_loss_ties"] = beside_constant(lambda boot, p: log_loss(boot, p, code, prompt))
    if decided.any():
        found["log_loss"] = beside_constant(loss_of_sides)
    return found


def log_loss(boot: Bootstrap, p: Floats, code: Ints, prompt: Ints) -> BootstrapDistribution:
    """Mean of -log p[i, code[i]], in nats, of predictions p (n, K)."""
    return boot.mean(-np.log(p[np.arange(len(code)), code] + TINY), prompt)


def predicts_ties(p: Floats) -> bool:
    """P(a), P(b), P(tie) (n, 3) come from a model of ties; Bradley-Terry's has none."""
    return bool(p[:, TIE].any())


def constant_rates(outcome: Ints, side: Floats, prompt: Ints) -> Floats:
    """P(a), P(b), P(tie) (n, 3) from how often the first, the second or none was preferred.

    On the other prompts, where it is known which was first; else a and b are as likely.
    """
    found = rates(outcome, prompt, 3)
    found[:, :2] = found[:, :2].mean(1, keepdims=True)
    known, second = side != 0, side < 0
    code = np.where(second & (outcome != TIE), 1 - outcome, outcome)
    found[known] = rates(code[known], prompt[known], 3)
    found[second] = found[second][:, [1, 0, 2]]
    return found


def at_equal_length(data: EvaluationData) -> dict[str, EstimateJson]:
    """Two ways of holding length fixed.

    "near": accuracy where the two texts are about as long. "balanced": the mean of the accuracy
    where people preferred the longer one, and where the shorter: whatever grows or falls with
    length alone scores 50%.
    """
    pairs, length = data.pairs, data.baselines.length
    better, worse = length[pairs.better], length[pairs.worse]
    longer, shorter, unequal = better > worse, better < worse, better != worse

    def balanced(boot: Bootstrap, reward: Floats) -> BootstrapDistribution:
        correct = pairs.correct(reward)
        columns = (longer * correct, longer, shorter * correct, shorter)
        rows = np.stack(columns, 1).astype(float)[unequal]
        return boot.of_sums(
            rows,
            pairs.prompt[unequal],
            lambda s: 0.5 * (s[:, 0] / s[:, 1] + s[:, 2] / s[:, 3]),
            share=True,
        )

    near = np.abs(better - worse) <= NEAR * np.maximum(better, worse)
    return {
        "near": pairwise_accuracy(data, near).as_json(),
        "longer": pairwise_accuracy(data, longer).as_json(),
        "shorter": pairwise_accuracy(data, shorter).as_json(),
        "balanced": data.figure(balanced).as_json()
        if longer.any() and shorter.any()
        else missing_json(),
    }


# -- ratings


def _rating_metrics(data: EvaluationData) -> Metrics:
    scalar = data.examples.scalar
    if not len(scalar):
        return {}
    prompt, rating = data.examples.prompt[scalar.item], scalar.rating.astype(float)

    def overall(boot: Bootstrap, score: Floats) -> BootstrapDistribution:
        return boot.of_weights(prompt, lambda w: rank_correlation(w, score, rating))

    within = _rank_correlation_within(data.examples)
    found = _ranking(data, "scalar", scalar.item, "spearman", overall, within)
    if not np.isfinite(data.predictions.scalar).all():
        return found
    code = scalar.rating - 1
    constant = rates(code, prompt, len(RATINGS))

    def error(boot: Bootstrap, p: Floats) -> BootstrapDistribution:
        predicted_median = 1 + (np.cumsum(p, 1) < 0.5 - 1e-9).sum(1)
        return boot.mean(np.abs(predicted_median - 1.0 - code), prompt)

    def loss(boot: Bootstrap, p: Floats) -> BootstrapDistribution:
        return log_loss(boot, p, code, prompt)

    for name, figure in (("rating_error", error), ("rating_log_loss", loss)):
        theirs = {"constant": figure(data.bootstrap, constant)}
        found[name] = beside(data.figure(figure, "scalar"), theirs, lower=True)
    return found


def _ranking(
    data: EvaluationData, kind: str, item: Ints, name: str, overall: Figure, within: Figure
) -> Metrics:
    """A figure of scores within prompts, of completions (N,), and of all, row by row (n,)."""
    boot, trivial = data.bootstrap, data.baselines
    scores = {"longer": trivial.length, "shorter": -trivial.length}
    learned = {"words": trivial.words[kind], "words_and_length": trivial.words_and_length[kind]}
    asked = np.isfinite(data.reward)
    scores |= {n: score for n, score in learned.items() if np.isfinite(score[asked]).all()}
    others = {n: overall(boot, score[item]) for n, score in scores.items()}
    others["prompt"] = overall(boot, trivial.prompt[kind])
    others_within = {n: within(boot, score) for n, score in scores.items()}
    return {
        f"{name}_within": beside(data.figure(within), others_within),
        name: beside(data.figure(lambda b, reward: overall(b, reward[item])), others),
    }


def _rank_correlation_within(examples: Examples) -> Figure:
    """Spearman's within prompts, averaged over those with two completions rated differently."""
    scalar, n = examples.scalar, len(examples.prompt)
    total, count = np.bincount(scalar.item, scalar.rating, n), np.bincount(scalar.item, minlength=n)
    rated = np.flatnonzero(count)
    prompt = examples.prompt[rated]
    given = ranks_within(prompt, total[rated] / count[rated])
    away = given - _mean_within(prompt, given)
    differ = np.bincount(prompt, away**2) > 1e-9
    prompts, ratings = np.flatnonzero(differ), int(count[rated][differ[prompt]].sum())

    def within(boot: Bootstrap, score: Floats) -> BootstrapDistribution:
        rank = ranks_within(prompt, score[rated])
        rank = rank - _mean_within(prompt, rank)
        both, own, theirs = (
            np.bincount(prompt, x)[prompts] for x in (rank * away, rank**2, away**2)
        )
        values = np.where(own > 1e-9, both / np.sqrt(np.maximum(own, 1e-9) * theirs), 0.0)
        return replace(boot.mean(values, prompts), n=ratings)

    return within


def _mean_within(group: Ints, values: Floats) -> Floats:
    """Each row's group's mean (n,)."""
    return np.asarray((np.bincount(group, values) / np.maximum(np.bincount(group), 1))[group])


# -- good or bad


def _binary_metrics(data: EvaluationData) -> Metrics:
    binary = data.examples.binary
    if not len(binary):
        return {}
    prompt, good = data.examples.prompt[binary.item], binary.good.astype(float)

    def overall(boot: Bootstrap, score: Floats) -> BootstrapDistribution:
        return boot.of_weights(prompt, lambda w: auc(w, score, good), share=True)

    found = _ranking(data, "binary", binary.item, "auc", overall, _auc_within(data.examples))

    def loss(boot: Bootstrap, q: Floats) -> BootstrapDistribution:
        return log_loss(boot, np.stack([1 - q, q], 1), binary.good, prompt)

    if np.isfinite(data.predictions.binary).all():
        theirs = {"constant": loss(data.bootstrap, rates(binary.good, prompt, 2)[:, 1])}
        found["good_log_loss"] = beside(data.figure(loss, "binary"), theirs, lower=True)
    return found


def _auc_within(examples: Examples) -> Figure:
    """Of two completions of one prompt, one good and one bad: how often the good scores higher."""
    binary, prompt = examples.binary, examples.prompt[examples.binary.item]
    size, good = np.bincount(prompt), np.bincount(prompt, binary.good)
    prompts = np.flatnonzero((good > 0) & (good < size))
    yes, no, n = good[prompts], (size - good)[prompts], int(size[prompts].sum())

    def within(boot: Bootstrap, score: Floats) -> BootstrapDistribution:
        ranks = ranks_within(prompt, score[binary.item])  # Mann and Whitney's U from the rank sum
        ahead = np.bincount(prompt, ranks * binary.good)[prompts] - yes * (yes + 1) / 2
        rows = np.stack([ahead, yes * no], 1)
        return boot.of_sums(rows, prompts, lambda s: s[:, 0] / s[:, 1], n, share=True)

    return within
