"""What heads that had learned from other prompts would have predicted.

A cross-validated figure varies with the prompts that are asked about, which the bootstrap shows,
and with those that the heads learned from, which it does not. The two go together: a prompt that
speaks for the common taste is predicted well, and makes the other folds' heads better. So each draw
of the bootstrap has heads of its own here: the folds', moved by one Newton step to where the
judgements of each prompt have the draw's weight (the infinitesimal jackknife; L. A. Jaeckel 1972,
Bell Laboratories; for clusters, D. A. Binder 1983, International Statistical Review 51).

What a prompt pulls is taken where it was left out, not where the head had already been fitted to
it: few prompts would else seem to pull less than they do (the jackknife estimator HC3; J. G.
MacKinnon and H. White 1985, Journal of Econometrics 29).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix

from data.stats.intervals import Floats
from reward_model.dataset.examples import Examples
from reward_model.evaluation.cross_validation import (
    FoldHead,
    Model,
    Predictions,
    no_predictions,
    predictor,
)
from reward_model.likelihood.annotators_and_prompts import DIFFICULTY, Values
from reward_model.likelihood.fit import HeadFit

MOST, LEAST = 60, 20
"""Draws that have heads of their own."""
WORK = 600_000
"""Judgements predicted by all of them, about: with many there is little to see."""


@dataclass(frozen=True)
class RetrainedHeads:
    """Draws of prompts, and all that the heads of a draw follow from."""

    model: Model
    examples: Examples
    difficulty: Values
    """The prompts' difficulties in a fit to all judgements; empty where there are none."""
    weights: Floats
    """Of prompts, with a mean of 1 (T, P)."""

    @classmethod
    def of(cls, model: Model, examples: Examples, fit: HeadFit, weights: Floats) -> RetrainedHeads:
        """fit: to all judgements. weights: of which the first rows are used (draws, P)."""
        draws = min(MOST, max(LEAST, WORK // max(1, len(examples))))
        difficulty = {name: fit.values[name] for name in (DIFFICULTY,) if name in fit.values}
        return cls(model, examples, difficulty, weights[:draws])

    def rewards(self, own: Floats, heads: Sequence[FoldHead]) -> Floats:
        """Rewards (T, N) of all completions, had the prompts the draws' weights.

        own: as the heads give them, each of completions that it has not seen (N,).
        """
        examples, by_prompt = self.examples, self._pulls_on_rewards(own, heads)
        found = np.tile(own, (len(self.weights), 1))
        for head in heads:
            seen = np.zeros(examples.prompts)
            seen[examples.prompt[head.train]] = 1
            pulls = np.asarray(by_prompt @ head.z)
            moved = ((self.weights - 1) * seen) @ pulls @ (head.fit.factor @ head.fit.factor.T)
            found[:, head.test] += moved @ head.asked[head.test].T
        return found

    def _pulls_on_rewards(self, rewards: Floats, heads: Sequence[FoldHead]) -> csr_matrix:
        """Scores (P, N): derivatives of each prompt's log-likelihood by each completion's reward.

        At rewards (N,) by the head that had not seen it, but with the difficulty that it has in a
        fit: what all its judgements have in common there does not move the weights.
        """
        by_reward = np.zeros(len(rewards))
        for head in heads:
            joint = self.model.joint(self.examples.where(head.test))
            at = torch.tensor(rewards + head.left_out, requires_grad=True)
            nll = joint.nll(at, joint.start() | head.fit.values | self.difficulty)
            if nll.requires_grad:
                by_reward -= torch.autograd.grad(nll, at)[0].numpy()
        entries = by_reward, (self.examples.prompt, np.arange(len(rewards)))
        return csr_matrix(entries, (self.examples.prompts, len(rewards)))

    def predictions(self, crossed: Predictions) -> list[Predictions]:
        """The cross-validation's (T,), had the prompts the draws' weights; none of other models."""
        if not crossed.heads:
            return []
        rewards = self.rewards(crossed.reward, crossed.heads)
        found = [no_predictions(self.examples) for _ in rewards]
        for head in crossed.heads:
            predict = predictor(self.model, self.examples.where(head.test), head.fit.values)
            for own, one in zip(rewards, found, strict=True):
                one.fill(head.test, self.examples, predict(own, crossed.sd))
        return found
