"""How often heads and baselines are right about people's choices on prompts they have not seen.

Five folds by prompt. Intervals are 95%, by a bootstrap over prompts; differences are paired. That
other prompts would have trained another head is not in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from data.schema import JsonObject
from data.stats.bootstrap import Bootstrap, BootstrapDistribution
from data.stats.intervals import Floats
from reward_model.benchmark.judged_texts import JudgedTexts, Say
from reward_model.dataset.examples import TIE, Examples
from reward_model.dataset.preference_pairs import KIND_OF, PreferencePairs
from reward_model.evaluation.baselines import baselines, rates
from reward_model.evaluation.cross_validation import Predictions
from reward_model.evaluation.feature_choice import Candidates
from reward_model.likelihood.fit import Prior

CHOSEN = "chosen in each fold"
LONGER = "always the longer"
WORDS = "the words alone (TF-IDF)"
BOTH = "words and length together"
BASELINES = (LONGER, WORDS, BOTH)
LEAST = 1e-12


@dataclass(frozen=True)
class Judged:
    """What one way of telling the better text made of the pairs with a better side."""

    correct: Floats
    """1 right, 0 wrong, 0.5 where both were held equal (n,)."""
    loss: Floats | None = None
    """Nats of which is the better one, given that it is no tie (n,); None where it says nothing."""
    nll: float | None = None
    """Nats a judgement, ties and other kinds of judgement too."""


@dataclass(frozen=True)
class Compared:
    """Everything that was compared on a file, and what later parts go on from."""

    pairs: PreferencePairs
    boot: Bootstrap
    ways: dict[str, Judged]
    """By name: the chosen view, each view, the baselines."""
    today: str
    """The name of the last layer's last token."""
    chosen: list[int]
    """Place of the view that each fold took."""
    prior: Prior
    """For any view; see `Candidates.prior`."""
    crossed: Predictions
    """Of the chosen view."""

    @property
    def usual(self) -> int:
        """The view that most folds took."""
        return int(np.bincount(self.chosen).argmax())

    def accuracy(self, name: str) -> BootstrapDistribution:
        return self.boot.mean(self.ways[name].correct, self.pairs.prompt, share=True)

    def best_baseline(self) -> str:
        return max(BASELINES, key=lambda name: self.accuracy(name).value)


def compare_features(texts: JudgedTexts, seed: int, say: Say) -> Compared:
    """Cross-validate the choice among views, each view alone, and the baselines."""
    among, examples, pairs = texts.candidates, texts.examples, texts.pairs

    def between(what: str) -> Callable[[], None]:
        return lambda: say(f"{texts.name}: {what}")

    say(f"{texts.name}: choosing the prior")
    prior = among.prior(examples)
    crossed, chosen = among.cross_validate(
        examples, prior, between("choosing the view in each fold"), seed
    )
    ways = {CHOSEN: _of_head(examples, pairs, crossed)}
    for place, features in enumerate(among.features):
        words = texts.words(place)
        say(f"{texts.name}: {words}")
        alone, _ = Candidates(among.model, [features]).cross_validate(examples, prior, seed=seed)
        ways[words] = _of_head(examples, pairs, alone)
    say(f"{texts.name}: baselines")
    ways |= baseline_ways(examples, pairs, seed)
    boot = Bootstrap(examples.prompts, seed)
    return Compared(pairs, boot, ways, texts.words(-1), chosen, prior, crossed)


def _of_head(examples: Examples, pairs: PreferencePairs, crossed: Predictions) -> Judged:
    nll = crossed.nll / max(1, crossed.n)
    return Judged(pairs.correct(crossed.reward), _side_loss(examples, pairs, crossed), nll)


def _side_loss(examples: Examples, pairs: PreferencePairs, crossed: Predictions) -> Floats | None:
    """-log P(the better one), given that one of them is (n,); of comparisons only."""
    if pairs.source != "comparisons":
        return None
    decided = examples.pairs.outcome != TIE
    p, side = crossed.pairs[decided, :2], examples.pairs.outcome[decided]
    right = p[np.arange(len(p)), side] / p.sum(1)
    return np.asarray(-np.log(np.maximum(right, LEAST)))


def baseline_ways(examples: Examples, pairs: PreferencePairs, seed: int) -> dict[str, Judged]:
    """The longer text; a logistic model of the words; one of words and length."""
    found, kind = baselines(examples, pairs, seed), KIND_OF[pairs.source]
    length = pairs.correct(found.length)
    unequal = length != 0.5
    p = np.full(len(pairs), 0.5)
    if unequal.any():  # how often the longer was better on the other prompts
        code = length[unequal].astype(np.int64)
        told = rates(code, pairs.prompt[unequal], 2)
        p[unequal] = told[np.arange(len(code)), code]
    ways = {LONGER: Judged(length, -np.log(p))}
    for name, score in ((WORDS, found.words[kind]), (BOTH, found.words_and_length[kind])):
        ahead = np.nan_to_num(score[pairs.better] - score[pairs.worse])
        loss = np.logaddexp(0, -ahead) if kind != "scalar" else None
        ways[name] = Judged(0.5 + 0.5 * np.sign(ahead), loss)
    return ways


def balanced(compared: Compared, name: str) -> BootstrapDistribution:
    """The mean of the accuracy where people preferred the longer text, and where the shorter.

    That of "always the longer" is a half by definition.
    """
    by_length = compared.ways[LONGER].correct
    longer, shorter = (by_length == 1).astype(float), (by_length == 0).astype(float)
    right, unequal = compared.ways[name].correct, longer + shorter > 0
    columns = np.stack([longer * right, longer, shorter * right, shorter], 1)
    found = compared.boot.of_sums(
        columns[unequal],
        compared.pairs.prompt[unequal],
        lambda s: 0.5 * (s[:, 0] / s[:, 1] + s[:, 2] / s[:, 3]),
        share=True,
    )
    return replace(found, ends=(found.value, found.value)) if name == LONGER else found


def accuracy_figures(compared: Compared) -> dict[str, JsonObject]:
    """By name: accuracy, balanced accuracy, log-losses, and both paired differences."""
    found: dict[str, JsonObject] = {}
    ours, today = compared.accuracy(CHOSEN), compared.accuracy(compared.today)
    for name, way in compared.ways.items():
        one = compared.accuracy(name)
        loss = None
        if way.loss is not None:
            loss = compared.boot.mean(way.loss, compared.pairs.prompt).as_json()
        found[name] = {
            "accuracy": one.as_json(),
            "balanced": balanced(compared, name).as_json(),
            "log_loss": loss,
            "nats_a_judgement": way.nll,
            "above_today": (one - today).as_json() if name != compared.today else None,
            "chosen_above": (ours - one).as_json() if name != CHOSEN else None,
        }
    return found
