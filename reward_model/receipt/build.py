"""The receipt: everything that says how good a reward model is, worked out once, ready for JSON.

`receipt` makes the dict; receipt_html, receipt_lines and model_card show it, and need no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.quality import quality
from data.schema import Judgement
from data.stats.agreement import Ceiling
from data.stats.bootstrap import Bootstrap
from reward_model.config import Tuning
from reward_model.dataset.examples import Examples, Ints
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.evaluation.annotators import cards
from reward_model.evaluation.baselines import baselines
from reward_model.evaluation.best_of_n import best_of_n, judged_best_of_n, spread
from reward_model.evaluation.calibration import calibration
from reward_model.evaluation.cross_validation import Model, Predictions
from reward_model.evaluation.learning_curve import (
    Progress,
    enough_pairs,
    fit_curve_points,
    learning_curve,
)
from reward_model.evaluation.metrics import (
    EvaluationData,
    at_equal_length,
    evaluation_data,
    measures,
    pair_baselines,
    pairwise_accuracy,
)
from reward_model.likelihood.fit import HeadFit
from reward_model.receipt.wording import summary

Array = NDArray[np.float64]
Source = Literal["held", "crossed"]
FORMAT = 1
BEFORE = "The head that the tuned model started from"


def _empty() -> Array:
    return np.zeros(0)


@dataclass(frozen=True)
class Evidence:
    """What a receipt is worked out from. Rows are those of `examples`."""

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
    features: Array
    """(N, d)"""
    precision: float
    tuning: Tuning = "head"
    policy_rewards: Array = field(default_factory=_empty)
    """Of samples of the policy (S,), in reward units."""
    policy_sd: Array = field(default_factory=_empty)
    policy_prompts: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    dropped: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else a reader wants to know, as it is to be shown: models, hashes, precision, date."""


def _silent(done: int, total: int, message: str) -> None:
    pass


def receipt(evidence: Evidence, progress: Progress = _silent, seed: int = 0) -> dict[str, Any]:
    """All figures; a figure without a number says how much it needs.

    `progress(done, total, message)` is called on the way and may raise to stop.
    """
    examples = evidence.examples
    boot = Bootstrap(max(1, examples.prompts), seed)
    progress(0, 1, "people's agreement with one another")
    ceiling = quality(evidence.judgements, seed=seed).ceiling if evidence.judgements else None
    progress(0, 1, "the baselines")
    some = preference_pairs(examples)
    null = baselines(examples, some, seed)
    progress(0, 1, "the figures")
    forecasts: dict[Source, Predictions | None] = {
        "held": evidence.held,
        "crossed": evidence.crossed,
    }
    asked = {
        name: evaluation_data(examples, some, forecast, null, boot)
        for name, forecast in forecasts.items()
        if forecast is not None
    }
    main = headline(asked, evidence.tuning)
    scores = {name: measures(one) for name, one in asked.items()}
    compact = _compact(asked.get(main), scores.get(main, {}))
    found = {
        "format": FORMAT,
        "summary": summary(compact, BEFORE if stands_in(main, evidence.tuning) else "It"),
        "verdict": verdict(compact),
        "held_out": compact,
        "headline": main,
        "judgements": examples.kinds,
        "annotators_count": len(examples.annotators),
        "objective": evidence.model.objective,
        "tuning": evidence.tuning,
        "scores": scores,
        "ceiling": _ceiling(ceiling),
        "dropped": dict(evidence.dropped),
        "facts": dict(evidence.facts),
    }
    if main in asked:
        found["equal_length"] = at_equal_length(asked[main])
        found["calibration"] = calibration(asked[main], seed)
    return found | _learning(evidence, asked, ceiling, boot, progress, seed) | _policy(evidence)


def headline(asked: Mapping[Source, EvaluationData], tuning: Tuning) -> Source:
    """Which forecast speaks for the model that is released.

    The cross-validation of a head is of the same procedure on more prompts. A tuned model is
    another one: it speaks for itself where enough was held out.
    """
    held = asked.get("held")
    if "crossed" not in asked:
        return "held"
    some = held is not None and len(held.pairs) and pairwise_accuracy(held).enough
    return "held" if tuning != "head" and some else "crossed"


def stands_in(main: Source, tuning: Tuning) -> bool:
    """The figures are about the head that a tuned model started from: too little was held out."""
    return main == "crossed" and tuning != "head"


def _compact(asked: EvaluationData | None, scores: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracy, its lead, rank correlation and baselines: what a small page shows."""
    if asked is None:
        return {"accuracy": None, "lead": None, "spearman": None, "baselines": {}, "prompts": 0,
                "of": "comparisons"}  # fmt: skip
    accuracy = dict(scores["accuracy"])
    lead = accuracy.pop("lead", None)
    accuracy.pop("baseline", None)
    rank = scores.get("spearman")
    known = np.isfinite(asked.reward)
    return {
        "accuracy": accuracy,
        "lead": lead,
        "spearman": {k: rank[k] for k in ("value", "low", "high", "n", "prompts")}
        if rank
        else None,
        "baselines": {n: e.as_json() for n, e in pair_baselines(asked).items()},
        "prompts": len(np.unique(asked.examples.prompt[known])),
        "of": asked.pairs.source,
    }


def verdict(compact: Mapping[str, Any]) -> str:
    """beats, unsure (ahead, but it may be chance), loses, or unknown where too little is judged."""
    lead = compact["lead"]
    if not lead or lead["value"] is None:
        return "unknown"
    if lead["low"] > 0:
        return "beats"
    return "unsure" if lead["value"] > 0 else "loses"


def _ceiling(ceiling: Ceiling | None) -> dict[str, Any] | None:
    return {**asdict(ceiling), "sentence": ceiling.sentence} if ceiling else None


def _learning(
    evidence: Evidence,
    asked: Mapping[Source, EvaluationData],
    ceiling: Ceiling | None,
    boot: Bootstrap,
    progress: Progress,
    seed: int,
) -> dict[str, Any]:
    """What is about the head by cross-validation, whatever the released model is."""
    found: dict[str, Any] = {"annotators": cards(evidence.examples, evidence.fit)}
    if evidence.crossed is None:
        return found
    one, e = asked["crossed"], evidence
    learned = []
    if enough_pairs(one.pairs):
        learned = fit_curve_points(e.model, e.features, e.examples, e.precision, progress, seed)
    found["learning"] = learning_curve(
        learned, evidence.crossed, one.examples, one.pairs, ceiling, boot
    )
    found["judged_best_of_n"] = judged_best_of_n(one.reward, one.examples, boot)
    return found


def _policy(evidence: Evidence) -> dict[str, Any]:
    _, prompt = np.unique(evidence.policy_prompts, return_inverse=True)
    boot = Bootstrap(int(prompt.max(initial=0)) + 1)
    rewards = evidence.policy_rewards
    return {
        "spread": spread(rewards, evidence.policy_sd, prompt, boot),
        "best_of_n": best_of_n(rewards, prompt, boot),
    }
