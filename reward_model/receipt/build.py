"""Compute a receipt: everything that says how good a reward model is, as receipt.json keeps it.

`receipt` makes the JSON; `contents` reads it, and html and text show it without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import numpy as np

from data.quality import quality
from data.schema import JsonObject, Judgement
from data.stats.agreement import Ceiling
from data.stats.bootstrap import Bootstrap, BootstrapDistribution
from data.stats.intervals import Floats, Ints
from reward_model.config import Tuning
from reward_model.dataset.examples import Examples
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.evaluation.annotators import cards
from reward_model.evaluation.baselines import baselines
from reward_model.evaluation.best_of_n import best_of_n, judged_best_of_n, spread
from reward_model.evaluation.calibration import calibration
from reward_model.evaluation.cross_validation import Candidate, Model, Predictions
from reward_model.evaluation.learning_curve import (
    OnRefit,
    PartialFit,
    enough_pairs,
    fit_curve_points,
    learning_curve,
)
from reward_model.evaluation.metrics import (
    EvaluationData,
    Metrics,
    at_equal_length,
    evaluation_data,
    measures,
    pair_baselines,
    pairwise_accuracy,
)
from reward_model.evaluation.retraining import RetrainedHeads
from reward_model.likelihood.fit import HeadFit, Prior
from reward_model.receipt.contents import read_held_out
from reward_model.receipt.wording import summary, verdict

ScoreOrigin = Literal["held", "crossed"]


@dataclass(frozen=True)
class FeatureChoice:
    """Which hidden states the head reads, and what others would have brought."""

    chosen: str
    in_folds: Sequence[str] = ()
    """What was chosen without each fold's prompts."""
    among: Sequence[str] = ()
    """The usual one first."""
    others: Mapping[str, tuple[str, Predictions]] = field(default_factory=dict)
    """Cross-validated predictions of other heads, named as in wording.OTHER_HEADS, with what each
    reads."""


@dataclass(frozen=True)
class ReceiptInputs:
    """What a receipt is computed from. Rows are those of `examples`: N completions."""

    model: Model
    judgements: Sequence[Judgement]
    """All standing ones, for the human ceiling."""
    examples: Examples
    crossed: Predictions | None
    """By heads that had not seen the prompt, of all prompts; None where there is one prompt."""
    held: Predictions | None
    """By the very model that is released, of prompts that it was not trained on; its reward is nan
    at other completions. None where there is no such prompt."""
    fit: HeadFit
    """Of the head, on all judgements."""
    features: Floats | Candidate
    """(N, d), or with covariates beside them."""
    prior: Prior
    """On the head's weights."""
    tuning: Tuning = "head"
    started: bool = False
    """Whether it starts from another reward model, which may have learned from these judgements."""
    policy_rewards: Floats = field(default_factory=lambda: np.zeros(0))
    """Of S samples of the policy (S,), in reward units; their standard deviations, and the number
    of each sample's prompt."""
    policy_sd: Floats = field(default_factory=lambda: np.zeros(0))
    policy_prompts: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    choice: FeatureChoice | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    """What else a reader wants to know, as it is to be shown: models, hashes, precision, date."""


def receipt(
    evidence: ReceiptInputs, progress: OnRefit = lambda done, total, message: None, seed: int = 0
) -> JsonObject:
    """The receipt's JSON; an estimate without a value says how much data it needs.

    `progress(done, total, message)` is called on the way and may raise to stop.
    """
    examples = evidence.examples
    # One set of draws for all estimates of a receipt, so that differences between them are paired.
    boot = Bootstrap(max(1, examples.prompts), seed)
    progress(0, 1, "people's agreement with one another")
    ceiling = quality(evidence.judgements, seed=seed).ceiling if evidence.judgements else None
    progress(0, 1, "the baselines")
    pairs = preference_pairs(examples)
    trivial = baselines(examples, pairs, seed)
    progress(0, 1, "the figures")
    sources: dict[ScoreOrigin, Predictions | None] = {
        "held": evidence.held,
        "crossed": evidence.crossed,
    }
    retraining = RetrainedHeads.of(evidence.model, examples, evidence.fit, boot.weights[1:])
    data = {
        source: evaluation_data(
            examples,
            pairs,
            predictions,
            trivial,
            boot,
            retraining.predictions(predictions) if source == "crossed" else (),
        )
        for source, predictions in sources.items()
        if predictions is not None
    }
    main = headline(data, evidence.tuning != "head" or evidence.started)
    scores = {source: measures(one) for source, one in data.items()}
    compact = _held_out(data.get(main), scores.get(main, {}))
    held_out = read_held_out(compact)
    # With too little held out, a tuned model's figures are those of the head it started from.
    of_head = main == "crossed" and evidence.tuning != "head"
    subject = "The head that the tuned model started from" if of_head else "It"
    found = {
        "format": 1,
        "summary": summary(held_out, subject),
        "verdict": verdict(held_out),
        "held_out": compact,
        "headline": main,
        "judgements": examples.kinds,
        "annotators_count": len(examples.annotators),
        "objective": evidence.model.objective,
        "tuning": evidence.tuning,
        "scores": scores,
        "ceiling": {**asdict(ceiling), "sentence": ceiling.sentence} if ceiling else None,
        "dropped": dict(evidence.dropped),
        "facts": dict(evidence.facts),
    }
    if main in data:
        found["equal_length"] = at_equal_length(data[main])
        found["calibration"] = calibration(data[main], seed)
    found["annotators"] = cards(examples, evidence.fit)
    if evidence.choice and "crossed" in data:
        found["features"] = _features(evidence.choice, data["crossed"], retraining)
    if evidence.crossed is not None:
        found |= _head_learning(evidence, data["crossed"], ceiling, retraining, progress, seed)
    return found | _policy_spread(evidence)


def _features(
    choice: FeatureChoice, data: EvaluationData, retraining: RetrainedHeads
) -> JsonObject:
    """What the head reads, how often the folds chose the same, and its lead over other heads."""
    pairs, ours, found = data.pairs, pairwise_accuracy(data), []

    def right(boot: Bootstrap, reward: Floats) -> BootstrapDistribution:
        return boot.mean(pairs.correct(reward), pairs.prompt, share=True)

    for name, (words, predictions) in choice.others.items():
        others = retraining.rewards(predictions.reward, predictions.heads)
        theirs = data.bootstrap.retrained(right, predictions.reward, list(others))
        lead = (ours - theirs).as_json()
        found.append({"name": name, "reads": words, **theirs.as_json(), "lead": lead})
    return {
        "reads": choice.chosen,
        "in_folds": list(choice.in_folds),
        "among": list(choice.among),
        "others": found,
    }


def headline(data: Mapping[ScoreOrigin, EvaluationData], for_itself: bool) -> ScoreOrigin:
    """Which predictions speak for the model that is released: "held" or "crossed".

    Cross-validation of a head tests the same procedure on more prompts. for_itself: a tuned model
    is another one, and a head that starts from another model's may owe it what that one learned of
    the prompts left out: these speak for themselves where enough was held out.
    """
    held = data.get("held")
    if "crossed" not in data:
        return "held"
    enough = held is not None and len(held.pairs) and pairwise_accuracy(held).enough
    return "held" if for_itself and enough else "crossed"


def _held_out(data: EvaluationData | None, scores: Metrics) -> JsonObject:
    """Accuracy, its lead, rank correlation and baselines: what a small page shows."""
    if data is None:
        return {"accuracy": None, "lead": None, "spearman": None, "baselines": {}, "prompts": 0,
                "of": "comparisons"}  # fmt: skip
    accuracy, rank = scores["accuracy"], scores.get("spearman")
    known = np.isfinite(data.reward)
    return {
        "accuracy": {k: v for k, v in accuracy.items() if k not in ("baseline", "lead")},
        "lead": accuracy.get("lead"),
        "spearman": {k: rank.get(k) for k in ("value", "low", "high", "n", "prompts")}
        if rank
        else None,
        "baselines": {name: e.as_json() for name, e in pair_baselines(data).items()},
        "prompts": len(np.unique(data.examples.prompt[known])),
        "of": data.pairs.source,
        "shown_first_known": int(np.isfinite(data.pairs.first).sum()),
        "pairs": len(data.pairs),
    }


def _head_learning(
    evidence: ReceiptInputs,
    data: EvaluationData,
    ceiling: Ceiling | None,
    retraining: RetrainedHeads,
    progress: OnRefit,
    seed: int,
) -> JsonObject:
    """What cross-validation says of the head, whatever the released model is."""
    e = evidence
    learned: list[PartialFit] = []
    if enough_pairs(data.pairs):
        points = fit_curve_points(e.model, e.features, e.examples, e.prior, progress, seed)
        for point in points:
            others = retraining.rewards(point.reward, point.heads)
            learned.append(replace(point, others=list(others)))
    return {
        "learning": learning_curve(learned, data, ceiling),
        "judged_best_of_n": judged_best_of_n(data),
    }


def _policy_spread(evidence: ReceiptInputs) -> JsonObject:
    _, prompt = np.unique(evidence.policy_prompts, return_inverse=True)
    boot = Bootstrap(int(prompt.max(initial=0)) + 1)
    rewards = evidence.policy_rewards
    return {
        "spread": spread(rewards, evidence.policy_sd, prompt, boot),
        "best_of_n": best_of_n(rewards, prompt, boot),
    }
