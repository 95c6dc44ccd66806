"""Which features a head is fitted to: chosen by cross-validation, the choice itself paid for.

Of several views of the same texts the usual one is kept unless another predicts the judgements of
unseen prompts surely better: by more than one standard error of the difference (the rule of L.
Breiman et al. 1984, Classification and Regression Trees). One layer picked on three data sets for
its accuracy promised seven points and gave two on the fourth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from data.stats.intervals import Floats
from reward_model.dataset.examples import Examples
from reward_model.evaluation.cross_validation import (
    Candidate,
    Model,
    Predictions,
    cross_validate_choice,
    folds,
    predict,
    prior_for,
    sides_to_compare,
)
from reward_model.likelihood.fit import Prior, fit_coordinates
from reward_model.likelihood.joint import Joint
from reward_model.likelihood.prior import ROUGH_TOLERANCE

SURELY = 1.0
"""Standard errors by which another view must be better than the usual one."""
Between = Callable[[], None]
"""Called between fits; may raise to stop."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and how all compared."""

    place: int
    """Among the candidates."""
    gains: Sequence[float]
    """Nats a judgement of unseen prompts by which each is better than the first."""
    errors: Sequence[float]
    """Their standard errors, by a sum over prompts."""

    @classmethod
    def of(cls, losses: Floats, asked: int) -> Choice:
        """losses: of each candidate on each prompt (C, P), in nats; asked: judgements in them."""
        ahead = losses[0] - losses
        gains = ahead.sum(1) / max(1, asked)
        errors = np.sqrt(np.square(ahead).sum(1)) / max(1, asked)
        best = int(np.argmax(np.where(gains > SURELY * errors, gains, 0.0)))
        return cls(best, gains.tolist(), errors.tolist())


@dataclass(frozen=True)
class Candidates:
    """Several features of the same completions; the first is what is usual."""

    model: Model
    features: Sequence[Floats]
    """Each (N, d)."""
    covariates: Floats | None = None
    """(N, k), beside whichever is chosen."""
    start: Floats | None = None
    """Weights (d,) of a head to start from, where there is one choice alone."""

    @cached_property
    def all(self) -> list[Candidate]:
        return [Candidate.of(features, self.covariates, self.start) for features in self.features]

    def prior(self, examples: Examples, between: Between = lambda: None) -> Prior:
        """What suits the usual features, for coordinates whose |z|^2 is 1; see `prior_of`."""
        usual = self.all[0]
        return prior_for(self.model, usual, examples, between).times(1 / usual.size)

    def prior_of(self, place: int, prior: Prior) -> Prior:
        """For one of the candidates: rewards have the same variance whatever it reads, so that the
        number of coordinates makes no difference."""
        return prior.times(self.all[place].size)

    def choose(
        self, examples: Examples, prior: Prior, between: Between = lambda: None, seed: int = 0
    ) -> Choice:
        """By the log-loss of unseen prompts' judgements."""
        losses, asked = np.zeros((len(self.all), examples.prompts)), 0
        if len(self.all) > 1 and examples.prompts > 1:
            for joint, held in sides_to_compare(self.model, examples, seed):
                asked += len(self.model.joint(held))
                for place in range(len(self.all)):
                    between()
                    (losses_here,) = self._losses(place, joint, [held], prior)
                    losses[place] += losses_here
        return Choice.of(losses, asked)

    def cross_validate(
        self, examples: Examples, prior: Prior, between: Between = lambda: None, seed: int = 0
    ) -> tuple[Predictions, list[int]]:
        """Every judgement predicted by a head whose features, too, were chosen without its prompt.

        Returns which were chosen in each fold beside it. A head that was fitted without two folds
        speaks for the choice in both: each is asked about the other.
        """
        tests = [test for _, test in folds(examples, seed=seed)]
        n, prompts = len(tests), examples.prompts
        losses = np.zeros((n, len(self.all), prompts))
        asked = np.zeros(n, int)
        for i, j in combinations(range(n), 2) if len(self.all) > 1 else ():
            joint = self.model.joint(examples.where(~tests[i] & ~tests[j]))
            both = [examples.where(tests[j]), examples.where(tests[i])]
            for place in range(len(self.all)):
                between()
                on_j, on_i = self._losses(place, joint, both, prior)
                losses[i, place] += on_j
                losses[j, place] += on_i
            asked[[i, j]] += [len(self.model.joint(held)) for held in both]
        chosen = [Choice.of(*of_fold).place for of_fold in zip(losses, asked.tolist(), strict=True)]
        left = iter(chosen)

        def choose(some: Examples) -> tuple[Candidate, Prior]:
            place = next(left)
            return self.all[place], self.prior_of(place, prior)

        return cross_validate_choice(self.model, examples, choose, between, seed), chosen

    def _losses(
        self, place: int, joint: Joint, held: Sequence[Examples], prior: Prior
    ) -> list[Floats]:
        """Nats of each prompt (P,) in some examples each, by a head that was fitted to others."""
        if not len(joint):
            return [np.zeros(some.prompts) for some in held]
        one = self.all[place]
        own = self.prior_of(place, prior)
        fit = fit_coordinates(one.z, joint, own, one.basis, None, ROUGH_TOLERANCE)
        rewards = one.z @ fit.w
        return [
            loss_by_prompt(some, predict(self.model, some, rewards, rewards, fit.values))
            for some in held
        ]


def loss_by_prompt(examples: Examples, predictions: Predictions) -> Floats:
    """Nats (P,) of each prompt's judgements, of those that the predictions are about."""
    pairs, binary, scalar = examples.pairs, examples.binary, examples.scalar
    of_pairs = predictions.pairs[np.arange(len(pairs)), pairs.outcome]
    of_binary = np.where(binary.good == 1, predictions.binary, 1 - predictions.binary)
    of_scalar = predictions.scalar[np.arange(len(scalar)), scalar.rating - 1]
    total = np.zeros(examples.prompts)
    for items, p in ((pairs.a, of_pairs), (binary.item, of_binary), (scalar.item, of_scalar)):
        told = np.isfinite(p)
        nats = -np.log(np.maximum(p[told], 1e-12))
        np.add.at(total, examples.prompt[items[told]], nats)
    return total
