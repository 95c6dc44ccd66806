"""What a head gains that starts from another one, and whether it falls behind that one.

In each draw a head learns from half of a file's prompts. On the other half, by five folds, heads
learn from few judgements of the other folds: one alone, and one that starts from the first half's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.schema import JsonObject
from data.stats.bootstrap import Bootstrap
from data.stats.intervals import Floats, Ints
from reward_model.benchmark.ceiling import whole_prompts
from reward_model.benchmark.judged_texts import JudgedTexts, Say
from reward_model.dataset.examples import Examples
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.evaluation.cross_validation import Candidate, Model, folds, prior_for

ALONE, STARTED, AS_IS = "alone", "started", "the start as it is"
SIZES: dict[str, int | None] = {"50": 50, "200": 200, "all of the other folds": None}
"""Judgements to learn from."""


@dataclass(frozen=True)
class Trial:
    """Who was right about the pairs of one fold."""

    prompt: Ints
    """Of each pair (n,)."""
    correct: dict[str, Floats]
    """By head (n,)."""


def starting_figures(
    texts: JudgedTexts, place: int, draws: int, seed: int, say: Say
) -> dict[str, JsonObject]:
    """Accuracies and paired differences by the number of judgements; place: which view is read."""
    model, features = texts.candidates.model, texts.candidates.features[place]
    trials: dict[str, list[Trial]] = {size: [] for size in SIZES}
    for draw in range(draws):
        rng = np.random.default_rng((seed, draw))
        half = rng.permutation(texts.examples.prompts)[texts.examples.prompt] % 2 == 0
        first, second = texts.examples.where(half), texts.examples.where(~half)
        source = _weights(model, features, first, None)
        for train, test in folds(texts.examples, seed=seed + draw):
            asked = second.where(test)
            for size, n in SIZES.items():
                say(f"{texts.name}: starting from another head, {size} judgements")
                own = second.where(train & ~half)
                some = own if n is None else whole_prompts(own, n, rng)
                heads = {ALONE: None, STARTED: source}
                found = {name: _weights(model, features, some, s) for name, s in heads.items()}
                trials[size].append(_trial(asked, features, found | {AS_IS: source}))
    boot = Bootstrap(texts.examples.prompts, seed)
    return {size: _figures(of_size, boot) for size, of_size in trials.items()}


def _weights(model: Model, features: Floats, examples: Examples, start: Floats | None) -> Floats:
    """The head (d,) that some judgements make, its prior chosen on them."""
    on = Candidate.of(features, None, start)
    return on.fit(model.joint(examples), prior_for(model, on, examples)).weights


def _trial(examples: Examples, features: Floats, heads: dict[str, Floats]) -> Trial:
    pairs = preference_pairs(examples)
    right = {name: pairs.correct(features @ weights) for name, weights in heads.items()}
    return Trial(pairs.prompt, right)


def _figures(trials: list[Trial], boot: Bootstrap) -> JsonObject:
    """Accuracies, and the lead of the one that started over both others."""
    prompt = np.concatenate([trial.prompt for trial in trials])
    found = {
        name: boot.mean(np.concatenate([t.correct[name] for t in trials]), prompt, share=True)
        for name in (ALONE, STARTED, AS_IS)
    }
    return {
        **{name: one.as_json() for name, one in found.items()},
        **{f"above {name}": (found[STARTED] - found[name]).as_json() for name in (ALONE, AS_IS)},
    }
