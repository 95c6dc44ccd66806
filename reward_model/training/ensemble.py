"""A trained reward model in memory: one network or an ensemble, and how sure each is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel

from data.stats.intervals import Floats, Ints
from reward_model.dataset.examples import Examples, rows
from reward_model.evaluation.cross_validation import Candidate
from reward_model.language_model.views import View
from reward_model.likelihood.fisher import information
from reward_model.likelihood.fit import Basis, HeadFit, Prior, pooled_variance
from reward_model.likelihood.joint import Joint
from reward_model.likelihood.prior import choose_prior


@dataclass(frozen=True)
class TrainedMember:
    """One network, what its head makes of every completion, and how sure that is."""

    network: PreTrainedModel | PeftModel | None
    """What is saved of it; None where the policy's own is used as it is."""
    weights: Floats
    """The head's (d,)."""
    level: float
    """Added to its output where absolute judgements are about it: the head has no constant."""
    posterior: HeadFit
    features: Floats
    """Of all completions and samples (C, d), read by this network."""
    left_out: Floats
    """What length and form, which are left out of the reward, add to it in the likelihood of the
    judgements; of the judged completions (N,)."""

    @property
    def raw(self) -> Floats:
        """The head's output (C,)."""
        return np.asarray(self.features @ self.weights)


@dataclass(frozen=True)
class Trained:
    """All members together."""

    members: list[TrainedMember]

    @property
    def raw(self) -> Floats:
        """The members' mean (C,)."""
        return np.asarray(np.mean([m.raw for m in self.members], axis=0))

    @property
    def level(self) -> float:
        return float(np.mean([m.level for m in self.members]))

    @property
    def judged(self) -> Floats:
        """Rewards of the judged completions (N,) in the likelihood: all that it knows of them."""
        left_out = np.mean([m.left_out for m in self.members], axis=0)
        return np.asarray(self.raw[: len(left_out)] + self.level + left_out)

    def sd(self, sampled: slice) -> Floats:
        """Standard deviation of the raw reward (C,), as Scorer gives it."""
        own = [m.posterior.spread(m.features, m.features[sampled].mean(0)) for m in self.members]
        return np.sqrt(pooled_variance(own, [m.raw for m in self.members]))


def unit_of(raw: Floats) -> tuple[float, float]:
    """Mean and standard deviation that bring raw rewards of the policy's samples to 0 and 1."""
    return float(raw.mean()), float(max(raw.std(), 1e-6))


@dataclass(frozen=True)
class ExportedHead:
    """The head of an ordinary classifier, which reads one layer's last token alone."""

    fit: HeadFit
    features: Floats
    """What it reads of all completions and samples (C, d)."""

    @property
    def raw(self) -> Floats:
        """Its output (C,)."""
        return np.asarray(self.features @ self.fit.weights)


def exported_head(
    member: TrainedMember, view: View, form: Floats, joint: Joint
) -> ExportedHead | None:
    """Fitted to the same judgements; None where the member's own head reads no more than it.

    form: covariates of the judged completions (N, 4), or (N, 0).
    """
    if view == view.exported:
        return None
    features = member.features[:, view.exported.columns(view, member.features.shape[1])]
    on = Candidate.of(features[: len(form)], form)
    prior = _rescaled(member.posterior, on.basis.released)
    if member.posterior.prior.mean is not None:  # that one is of differences from another head
        prior = choose_prior(on.z, joint, on.basis, on.size)
    return ExportedHead(on.fit(joint, prior).released, features)


def _rescaled(fit: HeadFit, basis: Basis) -> Prior:
    """The prior with which rewards in another basis have the variance that a fit gives them.

    |z|^2 grows with the number of coordinates. Its mean is 0: that of the fit is in other ones.
    """
    ratio = basis.axes.shape[1] / fit.basis.axes.shape[1]
    return replace(fit.prior.times(ratio), mean=None, mean_sd=0.0)


def resampled(examples: Examples, rng: np.random.Generator) -> Examples:
    """As many prompts, drawn with replacement, with their judgements as often as they were drawn.

    A bootstrap over prompts: Efron 1979, Annals of Statistics 7:1.
    """
    times = np.bincount(rng.integers(examples.prompts, size=examples.prompts),
                        minlength=examples.prompts)[examples.prompt]  # fmt: skip

    def again(item: Ints) -> Ints:
        return np.repeat(np.arange(len(item)), times[item])

    return replace(
        examples,
        pairs=rows(examples.pairs, again(examples.pairs.a)),
        binary=rows(examples.binary, again(examples.binary.item)),
        scalar=rows(examples.scalar, again(examples.scalar.item)),
    )


def posterior_at(
    features: Floats, weights: Floats, joint: Joint, fit: HeadFit, left_out: Floats | float = 0.0
) -> HeadFit:
    """The posterior of a head on the features of a tuned network, at the weights tuning left.

    features: (N, d); weights: (d,); left_out: as TrainedMember's. What the fit on the frozen
    network said of annotators, cuts, length and form stays; only how sure the head is follows from
    the new features.
    """
    basis = Basis.of(features)
    prior = _rescaled(fit, basis)
    if fit.prior.mean is not None:
        start = fit.basis.weights(fit.prior.mean)
        basis = basis.through(start)
        mean = basis.axes.T @ (basis.spread * start)
        prior = replace(prior, mean=mean, mean_sd=fit.prior.mean_sd)
    z = torch.from_numpy(basis.coordinates(features))
    rewards = torch.from_numpy(features @ weights + fit.intercept + left_out)
    found = information(joint, z, rewards, fit.values, prior.precision, prior.design_effect)
    with torch.no_grad():
        nll = float(joint.nll(rewards, fit.values))
    w, factor = basis.axes.T @ (basis.spread * weights), found.weights_factor
    return HeadFit(basis, w, fit.values, prior, factor, found.sd, nll, fit.left)
