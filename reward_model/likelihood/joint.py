"""The joint likelihood: how every judgement follows from one reward, who judged, and how.

    pairwise   D = k_a (r_A - r_B) + (first + side_a) [A shown first: 1, B: -1];  Davidson, and
               how much better it is by a cumulative link on D
    binary     sigma( k_a g (r - bar - threshold_a) + u )
    scalar     cumulative link, or a Gaussian, on  s_a g' r + offset_a + u (times its sd)

k consistency, s scale, u the prompt's difficulty: it is in absolute judgements only, since pairs of
one prompt and GRPO's group mean cancel it. It stands outside the gains g: inside, a fit could raise
them until the difficulties explain everything. Annotators are drawn to the crowd by Gaussian
priors, so those with few judgements hardly differ from it. The objectives are this with parts left
out; without effects, pairs are Bradley-Terry's loss, ratings half the squared error, binary BCE.

A reward's unit is one logit of the average judgement: consistency, and scale, average 1 over the
judgements. Were they free, a fit could shrink the weights, whose prior then costs less, and raise
everybody's consistency. The average is of consistencies, not of their logarithms: somebody who
answers at random, or against the others, is 0 in it, and not minus infinity.
"""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from torch import Tensor

from data.stats.intervals import Ints
from reward_model.config import KINDS_OF, Objective, ScalarLink
from reward_model.dataset.examples import TIE, Binary, Examples, Pairs, Scalar
from reward_model.likelihood import terms
from reward_model.likelihood.annotators_and_prompts import (
    DIFFICULTY,
    GAINS,
    PINNED,
    Values,
    parameters,
)

ROUNDING = 1 / 12
"""Variance of a whole number about what was meant."""
LARGEST_LOG = 8.0


class Joint:
    """The likelihood of one set of examples under an objective.

    `nll` is a function of the rewards of all completions (N,), on the CPU, and of `Values`, which
    may be those of a fit to other examples: a batch may lack a kind whose gain it still needs.
    """

    def __init__(
        self,
        examples: Examples,
        objective: Objective = "joint",
        scalar: ScalarLink = "ordinal",
        effects: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        kinds = KINDS_OF[objective]
        self.effects = effects
        self.ordinal = scalar == "ordinal" and objective != "regression"
        self.dtype = dtype
        self.pairs = examples.pairs if "pairwise" in kinds else Pairs()
        self.binary = examples.binary if "binary" in kinds else Binary()
        self.scalar = examples.scalar if "scalar" in kinds else Scalar()
        self.n_pairs, self.n_binary = len(self.pairs), len(self.binary)
        self.n_scalar = len(self.scalar)
        self.prompt = torch.from_numpy(examples.prompt)
        self.annotators, self.prompts = len(examples.annotators), examples.prompts
        self.parts = parameters(
            self.pairs,
            self.binary,
            self.scalar,
            ordinal=self.ordinal,
            annotators=self.annotators if effects else 0,
            prompts=self.prompts if effects else 0,
        )
        judged: Ints = self.pairs.annotator if self.n_pairs else self.binary.annotator
        by = {"consistency": judged, "scale": self.scalar.annotator}
        self.pins = {
            name: torch.from_numpy(np.bincount(who, minlength=self.annotators) / len(who)).to(dtype)
            for name, who in by.items()
            if name in self.parts
        }
        """Annotators' shares (A,) in the average that is held at 1, by parameter."""
        self._gather_tensors()

    def __len__(self) -> int:
        return self.n_pairs + self.n_binary + self.n_scalar

    def unshared(self) -> Joint:
        """The same judgements as if no two were of one completion, annotator or prompt.

        Their rewards and parameters are then numbered as the judgements of each kind are; the
        second completions of comparisons come after all first ones.
        """
        own = copy(self)
        pairs, binary, scalar = map(torch.arange, (self.n_pairs, self.n_binary, self.n_scalar))
        own._a = own._pair_person = pairs
        own._b = pairs + self.n_pairs
        own._binary_item = own._binary_person = binary
        own._scalar_item = own._scalar_person = scalar
        own.prompt = torch.arange(max(self.n_binary, self.n_scalar))
        return own

    def _gather_tensors(self) -> None:
        """What every evaluation reads, as tensors."""
        pairs, binary, scalar = self.pairs, self.binary, self.scalar
        self._a, self._b = torch.from_numpy(pairs.a), torch.from_numpy(pairs.b)
        self._side = torch.from_numpy(pairs.side).to(self.dtype)
        self._outcome = torch.from_numpy(pairs.outcome)
        self._pair_person = torch.from_numpy(pairs.annotator)
        self._said = torch.from_numpy(np.flatnonzero(pairs.strength))
        self._level = torch.from_numpy(pairs.strength)[self._said] - 1
        self._towards = torch.where(self._outcome[self._said] == 0, 1.0, -1.0).to(self.dtype)
        self._binary_item = torch.from_numpy(binary.item)
        self._binary_person = torch.from_numpy(binary.annotator)
        self._good = torch.from_numpy(binary.good).to(self.dtype)
        self._scalar_item = torch.from_numpy(scalar.item)
        self._scalar_person = torch.from_numpy(scalar.annotator)
        self._rating = torch.from_numpy(scalar.rating)

    def start(self) -> Values:
        """Where a fit begins: every parameter at its prior mean."""
        return {
            name: torch.full((p.size,), float(p.mean), dtype=self.dtype)
            for name, p in self.parts.items()
        }

    def precisions(self, design_effect: float = 1.0) -> dict[str, float]:
        """Of each parameter's prior, by name.

        design_effect: how many judgements tell as much as one independent one would. Gains have a
        prior that weighs so much more, as the weights do: else a fit shrinks the weights and raises
        the gains.
        """
        return {
            name: (design_effect if name in GAINS else 1) / p.sd**2
            for name, p in self.parts.items()
        }

    def prior(self, values: Values, design_effect: float = 1.0) -> Tensor:
        """Negative log-prior, without its constant, in nats; design_effect: see `precisions`."""
        penalties = [
            0.5 * precision * (values[name] - self.parts[name].mean).square().sum()
            for name, precision in self.precisions(design_effect).items()
        ]
        penalties += [
            0.5 * (parts.sum().log() / PINNED).square() for parts in self.pinned(values).values()
        ]
        return torch.stack(penalties).sum() if penalties else torch.zeros((), dtype=self.dtype)

    def pinned(self, values: Values) -> Values:
        """Annotators' parts (A,) of the averages that are held at 1, by parameter."""
        return {name: share * _safe_exp(values[name]) for name, share in self.pins.items()}

    def nll(self, rewards: Tensor, values: Values) -> Tensor:
        """Negative log-likelihood of all judgements, summed, in nats. rewards: (N,)."""
        total = rewards.new_zeros(())
        if self.n_pairs:
            total = total + self.pair_nll(rewards, values)
        if self.n_binary:
            margin = self.binary_margin(rewards, values)
            total = total + terms.binary(margin, self._good)
        if self.n_scalar:
            place = self.position(rewards, values)
            if self.ordinal:
                log_p = terms.cumulative(place, terms.rising(values["cut"], values["gaps"]))
                return total - log_p.gather(1, self._rating[:, None] - 1).sum()
            log_sd = self.noise(values).log().to(place.dtype)
            total = total + terms.gaussian(place, self._rating, log_sd.expand_as(place))
        return total

    def log_slopes(self, values: Values) -> Tensor:
        """Logarithm of what a unit of reward moves each judgement's answer by (judgements,).

        In logits, or in standard deviations. Comparisons first, then good or bad, then ratings.
        """
        pairs = self._log_gain(values, self._pair_person, "consistency")
        binary = self._log_gain(values, self._binary_person, "consistency", "binary_gain")
        scalar = self._log_gain(values, self._scalar_person, "scale", "scalar_gain")
        return torch.cat([pairs, binary, scalar - self.noise(values).log()])

    def _log_gain(self, values: Values, person: Tensor, trait: str, common: str = "") -> Tensor:
        """The same of one kind's judgements, which these annotators gave, before their noise."""
        logs = torch.zeros(len(person), dtype=self.dtype)
        if self.effects and len(person):
            logs = logs + values[trait][person]
        return logs + values[common] if common in values else logs

    # -- pairs

    def difference(self, rewards: Tensor, values: Values) -> Tensor:
        """D of each comparison (N,)."""
        apart = rewards[self._a] - rewards[self._b]
        if not self.effects:
            return apart
        pull = values["first"] + values["side"][self._pair_person]
        return _safe_exp(values["consistency"])[self._pair_person] * apart + pull * self._side

    def log_tie(self, values: Values) -> Tensor:
        """Logarithm of Davidson's tie propensity in each comparison (N,)."""
        return values["log_tie"] + values["tie"][self._pair_person]

    def pair_nll(self, rewards: Tensor, values: Values) -> Tensor:
        """Of the comparisons alone, a stated strength included."""
        difference = self.difference(rewards, values)
        if not self.effects:
            won = torch.where(self._outcome == TIE, 0.5, 1 - self._outcome).to(difference.dtype)
            return terms.bradley_terry(difference, torch.zeros_like(difference), won)
        log_p = terms.davidson(difference, self.log_tie(values))
        total = -log_p.gather(1, self._outcome[:, None]).sum()
        if "strength_cut" in self.parts:
            cuts = terms.rising(values["strength_cut"], values["strength_gap"])
            log_s = terms.cumulative(self.strength_position(difference, values), cuts)
            total = total - log_s.gather(1, self._level[:, None]).sum()
        return total

    def strength_position(self, difference: Tensor, values: Values) -> Tensor:
        """Where the stated strengths' distributions lie on the scale of their cuts (said,)."""
        return _safe_exp(values["strength_slope"]) * self._towards * difference[self._said]

    # -- good or bad

    def binary_margin(self, rewards: Tensor, values: Values) -> Tensor:
        """Log-odds of good in each judgement (N,)."""
        margin = rewards[self._binary_item] - values["bar"]
        if self.effects:
            margin = margin - values["threshold"][self._binary_person]
        log_gain = self._log_gain(values, self._binary_person, "consistency", "binary_gain")
        margin = _safe_exp(log_gain) * margin
        if self.effects:
            margin = margin + values[DIFFICULTY][self.prompt[self._binary_item]]
        return margin

    # -- ratings

    def position(self, rewards: Tensor, values: Values) -> Tensor:
        """Where each rating's distribution lies on the scale of the cuts, or of points (N,)."""
        log_gain = self._log_gain(values, self._scalar_person, "scale", "scalar_gain")
        place = _safe_exp(log_gain) * rewards[self._scalar_item]
        if self.effects:
            place = place + values["offset"][self._scalar_person]
            hard = values[DIFFICULTY][self.prompt[self._scalar_item]]
            place = place + self.noise(values) * hard
        return place if self.ordinal else place + values["level"]

    def noise(self, values: Values) -> Tensor:
        """How far ratings scatter: the unit of the prompts' difficulty in them () or (1,).

        A Gaussian's standard deviation, at least what rounding to whole points makes.
        """
        if "log_sd" not in self.parts:
            return torch.ones((), dtype=self.dtype)
        return (_safe_exp(2 * values["log_sd"]) + ROUNDING).sqrt()


def _safe_exp(logs: Tensor) -> Tensor:
    """e^x, held within what a step of a search cannot overflow."""
    return torch.exp(logs.clamp(-LARGEST_LOG, LARGEST_LOG))
