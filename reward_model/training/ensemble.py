"""A trained reward model in memory: one network or an ensemble, and how sure each is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel

from reward_model.dataset.examples import Examples, rows
from reward_model.likelihood.fisher import information
from reward_model.likelihood.fit import Basis, HeadFit
from reward_model.likelihood.joint import Joint

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TrainedMember:
    """One network, what its head makes of every completion, and how sure that is."""

    network: PreTrainedModel | PeftModel | None
    """What is saved of it; None where the policy's own is used as it is."""
    weights: Array
    """The head's (d,)."""
    level: float
    """Added to its output where absolute judgements are about it: the head has no constant."""
    posterior: HeadFit
    features: Array
    """Of all completions and samples (C, d), read by this network."""

    @property
    def raw(self) -> Array:
        """The head's output (C,)."""
        return np.asarray(self.features @ self.weights)


@dataclass(frozen=True)
class Trained:
    """All members together."""

    members: list[TrainedMember]

    @property
    def raw(self) -> Array:
        """The members' mean (C,)."""
        return np.asarray(np.mean([m.raw for m in self.members], axis=0))

    @property
    def level(self) -> float:
        return float(np.mean([m.level for m in self.members]))

    def sd(self, sampled: slice) -> Array:
        """Standard deviation of the raw reward (C,), as Scorer gives it."""
        own = [np.square(m.posterior.spread(m.features, m.features[sampled].mean(0)))
               for m in self.members]  # fmt: skip
        between = np.var([m.raw for m in self.members], axis=0, ddof=1) if len(own) > 1 else 0.0
        return np.asarray(np.sqrt(np.mean(own, axis=0) + between))

    def unit(self, sampled: slice) -> tuple[float, float]:
        """Mean and standard deviation of the raw reward on the policy's samples."""
        raw = self.raw[sampled]
        return float(raw.mean()), float(max(raw.std(), 1e-6))


def resampled(examples: Examples, rng: np.random.Generator) -> Examples:
    """As many prompts, drawn with replacement, with their judgements as often as they were drawn.

    A bootstrap over prompts: Efron 1979, Annals of Statistics 7:1.
    """
    times = np.bincount(rng.integers(examples.prompts, size=examples.prompts),
                        minlength=examples.prompts)[examples.prompt]  # fmt: skip

    def again(item: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(item)), times[item])

    return replace(
        examples,
        pairs=rows(examples.pairs, again(examples.pairs.a)),
        binary=rows(examples.binary, again(examples.binary.item)),
        scalar=rows(examples.scalar, again(examples.scalar.item)),
    )


def posterior_at(features: Array, weights: Array, joint: Joint, fit: HeadFit) -> HeadFit:
    """The posterior of a head on the features of a tuned network, at the weights tuning left.

    features: (N, d); weights: (d,). What the fit on the frozen network said of annotators and cuts
    stays; only how sure the head is follows from the new features.
    """
    basis = Basis.of(features)
    precision = fit.precision * basis.axes.shape[1] / fit.basis.axes.shape[1]
    z = torch.from_numpy(basis.coordinates(features))
    rewards = torch.from_numpy(features @ weights + fit.intercept)
    found = information(joint, z, rewards, fit.values, precision)
    with torch.no_grad():
        nll = float(joint.nll(rewards, fit.values))
    w, factor = basis.axes.T @ (basis.spread * weights), found.weights_factor
    return HeadFit(basis, w, fit.values, precision, factor, found.sd, nll, fit.left)
