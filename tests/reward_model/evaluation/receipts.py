"""Judgements of which the true reward is known, and what a receipt of a head on them rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from data.schema import Answer, Completion, Judgement, Task, make_prompt
from data.stats.bootstrap import Bootstrap
from reward_model.config import Objective, Tuning
from reward_model.dataset.examples import Examples, collect
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.evaluation.baselines import Baselines
from reward_model.evaluation.cross_validation import Model, Predictions, cross_validate
from reward_model.evaluation.metrics import EvaluationData
from reward_model.likelihood.fit import Prior, fit_head
from reward_model.receipt.build import ReceiptInputs

Array = NDArray[np.float64]
WORDS = "a plain answer says what was asked and why it holds or where it does not".split()
Person = Callable[[np.random.Generator, float, float], str]


@dataclass
class Told:
    """Judgements so far, and a row of numbers about each completion."""

    judgements: list[Judgement] = field(default_factory=list)
    features: dict[str, Array] = field(default_factory=dict)

    def examples(self) -> Examples:
        return collect(self.judgements)

    def table(self, examples: Examples) -> Array:
        return np.array([self.features[c.id] for c in examples.completions])

    def say(self, kind: str, one: Completion, value: str, who: str, other: Any = None,
            first: str | None = "a") -> None:  # fmt: skip
        task = Task(kind, one, other)  # type: ignore[arg-type]
        shown = first if other is not None else None
        row = Judgement(len(self.judgements), task, who, Answer(value), shown, "")
        self.judgements.append(row)

    def completion(self, prompt: int, text: str, features: Sequence[float]) -> Completion:
        made = Completion(make_prompt(f"Question number {prompt}?"), text)
        self.features[made.id] = np.asarray(features, float)
        return made


def tell(
    seed: int = 0,
    prompts: int = 40,
    each: int = 3,
    pairs: int = 2,
    ratings: int = 2,
    binary: int = 2,
    people: Sequence[str] = ("ann", "bob", "cy"),
    dims: int = 3,
    taste: float = 1.5,
) -> Told:
    """So many judgements of each kind on every prompt, by a linear taste with logistic noise."""
    rng, told = np.random.default_rng(seed), Told()
    true = taste * np.ones(dims) / np.sqrt(dims)
    for number in range(prompts):
        made = []
        for k in range(each):
            text = " ".join(rng.choice(WORDS, rng.integers(3, 25))) + f" {k}"
            made.append(told.completion(number, text, rng.normal(size=dims)))
        worth = [float(told.features[c.id] @ true) for c in made]
        for _ in range(pairs):
            i, j = rng.choice(each, 2, replace=False)
            first = str(rng.choice(["a", "b"]))
            value = _preferred(rng, worth[i] - worth[j])
            told.say("pairwise", made[i], value, str(rng.choice(people)), made[j], first)
        for _ in range(ratings):
            i = int(rng.integers(each))
            felt = 5.5 + 1.5 * worth[i] + rng.logistic()
            told.say("scalar", made[i], str(int(np.clip(round(felt), 1, 10))),
                     str(rng.choice(people)))  # fmt: skip
        for _ in range(binary):
            i = int(rng.integers(each))
            value = "good" if rng.random() < expit(worth[i]) else "bad"
            told.say("binary", made[i], value, str(rng.choice(people)))
    return told


def _preferred(rng: np.random.Generator, apart: float) -> str:
    odds = np.exp([apart / 2, -apart / 2, np.log(0.3)])
    return str(rng.choice(["a", "b", "tie"], p=odds / odds.sum()))


def compared(examples: Examples, reward: Array, nll: float = 0.0, n: int = 0) -> EvaluationData:
    """What rewards (N,) alone are measured by; nothing is predicted, and no baseline fitted."""
    empty, blank = np.zeros(0), np.full(len(reward), np.nan)
    kinds = dict.fromkeys(("pairwise", "scalar", "binary"), blank)
    nulls = Baselines(blank, kinds, kinds, {})
    predictions = Predictions(reward, blank, empty, empty, empty, nll, n)
    boot = Bootstrap(max(1, examples.prompts))
    return EvaluationData(examples, preference_pairs(examples), predictions, nulls, boot)


def evidence(
    told: Told,
    objective: Objective = "joint",
    tuning: Tuning = "head",
    effects: bool = True,
    **more: Any,
) -> ReceiptInputs:
    """Of a head on the numbers that are told; nothing is held out unless `more` says so."""
    examples = told.examples()
    features, model = told.table(examples), Model(objective, effects=effects)
    prior = Prior(float(features.shape[1]))
    crossed = None
    if examples.prompts > 1:
        crossed = cross_validate(model, features, examples, prior)
    made: dict[str, Any] = {
        "model": model,
        "judgements": told.judgements,
        "examples": examples,
        "crossed": crossed,
        "held": None,
        "fit": fit_head(features, model.joint(examples), prior),
        "features": features,
        "prior": prior,
        "tuning": tuning,
    }
    return ReceiptInputs(**made | more)
