"""The head on frozen features, fitted to the joint likelihood in about a second, with error bars.

r = w' z, where z are the features brought to mean 0 and spread 1 and, where there are many, to
their largest principal components; w ~ N(0, I / precision), or around the weights of another reward
model. The fit is the posterior's mode, by
L-BFGS in coordinates in which the Fisher information is the identity, which are drawn anew until
what is left to go is a hundredth of a posterior standard deviation. Around it the posterior is
taken as Gaussian: Laplace's approximation (MacKay 1992, Neural Computation 4:448).

A mode over weights and slopes together is biased: by raising gains and scales, or shrinking the
noise, it buys smaller weights, and with few judgements and many features the noise collapses. So
the loss has half the log-determinant of the weights' precision added, judgement by judgement:
1/2 log(1 + h/(1-h) slope^2), h the judgement's leverage where the slope is 1, found anew in each
round. To first order that makes it the likelihood of slopes and noise with the weights integrated
out: a Gaussian's squared errors are divided by N less the effective number of weights (MacKay).

Where N judgements count as N / phi (see `prior`), the likelihood is not divided by phi: what stands
beside it, the prior of weights and gains and that half log-determinant, is multiplied.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from sklearn.decomposition import PCA
from threadpoolctl import ThreadpoolController

from data.stats.intervals import Floats
from reward_model.likelihood.annotators_and_prompts import Values
from reward_model.likelihood.fisher import Information, information
from reward_model.likelihood.joint import Joint

COMPONENTS = 256
"""Principal components kept, at most."""
OUTLYING = 10.0
"""Times the middle half's width that a feature may be away from it and set the scale."""
CLOSE = 0.01
"""Length of the gradient at which a fit is done, in posterior standard deviations."""
ROUNDS = 60
"""Coordinates drawn in one fit, at most."""
FREE = 5
"""Rounds after which leverages are damped."""
LEAST = 0.15
"""Of the way that leverages go in a round, however many went before."""
STEPS = 8
"""Of L-BFGS in one round, at most."""


def require_finite_features(features: Floats) -> None:
    """Raise ValueError for features (N, d) of which one is not finite."""
    bad = np.flatnonzero(~np.isfinite(features).all(1))
    if len(bad):
        raise ValueError(
            f"{len(bad)} of {len(features)} completions have features that are not finite (the"
            f" first is number {bad[0] + 1}): the model overflows on them; use"
            " another model, or a smaller --max-tokens"
        )


@dataclass(frozen=True)
class Basis:
    """How features (N, d) become coordinates z (N, m)."""

    mean: Floats
    """(d,)"""
    spread: Floats
    """(d,)"""
    axes: Floats
    """(d, m), orthonormal columns."""
    covariates: int = 0
    """The last columns of features, which are none of the network's: see `beside`."""

    @classmethod
    def of(cls, features: Floats, components: int = COMPONENTS) -> Basis:
        """From features (N, d). Raises ValueError where one is not finite."""
        require_finite_features(features)
        # what is absurdly far from a feature's middle half is brought nearer: one text in many
        low, high = np.quantile(features, [0.25, 0.75], axis=0)
        reach = np.where(high > low, OUTLYING * (high - low), np.inf)
        usual = np.clip(features, low - reach, high + reach)
        mean, spread = usual.mean(0), usual.std(0)
        spread = np.where(spread > 1e-9 * np.abs(usual).max(0, initial=0), spread, 1.0)
        most = min(components, len(features), features.shape[1])
        if most == features.shape[1]:
            return cls(mean, spread, np.eye(most))
        found = PCA(most, svd_solver="auto", random_state=0).fit((usual - mean) / spread)
        return cls(mean, spread, found.components_.T)

    def beside(self, covariates: Floats, size: float) -> Basis:
        """The same with covariates (N, k) after the features: an axis each, of their own.

        size: usual |z|^2. Each may move rewards as far as all features together: a weak prior.
        """
        d, m = self.axes.shape
        k = covariates.shape[1]
        axes = np.zeros((d + k, m + k))
        axes[:d, :m], axes[d:, m:] = self.axes, np.eye(k)
        spread = covariates.std(0)
        spread = np.where(spread > 1e-9, spread, 1.0) / np.sqrt(size)
        mean = np.concatenate([self.mean, covariates.mean(0)])
        return Basis(mean, np.concatenate([self.spread, spread]), axes, k)

    def through(self, weights: Floats) -> Basis:
        """This basis; with one axis more where it could not express these weights (d,)."""
        along = self.spread * weights
        away = along - self.axes @ (self.axes.T @ along)
        length = float(np.linalg.norm(away))
        if length <= 1e-9 * float(np.linalg.norm(along)):
            return self
        return replace(self, axes=np.column_stack([self.axes, away / length]))

    @property
    def released(self) -> Basis:
        """Of the features alone."""
        d, m = (n - self.covariates for n in self.axes.shape)
        return Basis(self.mean[:d], self.spread[:d], self.axes[:d, :m])

    def coordinates(self, features: Floats) -> Floats:
        """z (N, m)."""
        return np.asarray(((features - self.mean) / self.spread) @ self.axes)

    def outside(self, features: Floats) -> Floats:
        """Squared length (N,) of the standardised features' part that z leaves out."""
        z = (features - self.mean) / self.spread
        return np.asarray(np.maximum(np.square(z).sum(1) - np.square(z @ self.axes).sum(1), 0))

    def weights(self, w: Floats) -> Floats:
        """Weights (d,) on the features themselves; their mean is not taken out."""
        return np.asarray((self.axes @ w) / self.spread)


@dataclass(frozen=True)
class Prior:
    """Of the head's weights, beside judgements that are not independent; see `choose_prior`."""

    precision: float
    """That of the weights, times the design effect: what a fit subtracts of their squares."""
    design_effect: float = 1.0
    """How many judgements tell as much as one independent one would."""
    mean: Floats | None = None
    """Of the weights (m,), another reward model's; None for 0."""
    log_sd: float = 0.0
    """Standard deviation of the precision's logarithm, where the judgements told it."""
    mean_sd: float = 0.0
    """Standard deviation of the mean's length, as a share of it, where they told that."""

    def times(self, ratio: float) -> Prior:
        """So many times the precision."""
        return replace(self, precision=self.precision * ratio)


@dataclass(frozen=True)
class HeadFit:
    """The posterior of the head and of everything about the annotators."""

    basis: Basis
    w: Floats
    """(m,)"""
    values: Values
    prior: Prior
    factor: Floats
    """Lower Cholesky factor (m, m) of the weights' posterior covariance, were the judgements
    independent."""
    sd: dict[str, Floats]
    """Posterior standard deviations of all parameters but weights and difficulties, by name."""
    nll: float
    """Nats, over the judgements it was fitted to."""
    left: float
    """Length of the gradient where the fit ended, in posterior standard deviations."""

    @property
    def released(self) -> HeadFit:
        """What is kept of it: without the covariates, over which the posterior is integrated."""
        basis = self.basis.released
        m = basis.axes.shape[1]
        mean = None if self.prior.mean is None else self.prior.mean[:m]
        prior = replace(self.prior, mean=mean)
        return replace(self, basis=basis, w=self.w[:m], prior=prior, factor=self.factor[:m, :m])

    @property
    def converged(self) -> bool:
        return self.left <= CLOSE

    @property
    def weights(self) -> Floats:
        """The head's weights (d,) on raw features."""
        return self.basis.weights(self.w)

    @property
    def intercept(self) -> float:
        """What is taken off: r = features @ weights + intercept."""
        return -float(self.basis.mean @ self.weights)

    def rewards(self, features: Floats) -> Floats:
        """(N,), in logits of an average annotator's comparison."""
        return np.asarray(self.basis.coordinates(features) @ self.w)

    def spread(self, features: Floats, centre: Floats) -> Floats:
        """Standard deviations (N,) of the rewards' difference from that of `centre`.

        centre: features (d,), or one row for each of `features` (N, d).
        """
        return posterior_sd(self.basis, *self.errors, features, centre)

    @property
    def errors(self) -> tuple[Floats, float]:
        """(a factor of the weights' covariance (m, m), the prior's precision in directions without
        data), both with the design effect in them, as `posterior_sd` takes them.

        Another precision, or another length of the prior's mean, would have moved the mode: by its
        derivative, times how unsure each is (R. Kass and D. Steffey 1989, JASA 84:717).
        """
        prior, effect = self.prior, self.prior.design_effect
        factor = np.sqrt(effect) * self.factor
        mean = np.zeros(len(self.w)) if prior.mean is None else prior.mean
        pulls = np.stack([prior.log_sd * (self.w - mean), prior.mean_sd * mean], 1)
        if pulls.any():
            moved = prior.precision * (self.factor @ (self.factor.T @ pulls))
            factor = np.linalg.cholesky(factor @ factor.T + moved @ moved.T)
        return factor, prior.precision / effect


def posterior_sd(
    basis: Basis, factor: Floats, precision: float, features: Floats, centre: Floats
) -> Floats:
    """Standard deviations (N,) of w'(z - z_centre), the part outside the components included."""
    # outside the components nothing was learned: there the prior's variance still stands
    away = features - centre
    inside = (away / basis.spread) @ basis.axes @ factor
    outside = basis.outside(away + basis.mean) / precision
    return np.asarray(np.sqrt(np.square(inside).sum(1) + outside))


def pooled_variance(own: Sequence[Floats], means: Sequence[Floats]) -> Floats:
    """Of an ensemble's rewards: the members' own variance, on average, and that between them.

    own, means: each member's standard deviations and rewards, of one shape.
    """
    between = np.var(means, axis=0, ddof=1) if len(means) > 1 else 0.0
    return np.asarray(np.mean(np.square(own), axis=0) + between)


def fit_head(
    features: Floats,
    joint: Joint,
    prior: Prior | float,
    basis: Basis | None = None,
    start: HeadFit | None = None,
) -> HeadFit:
    """The posterior's mode and its spread. Warns where the mode was not reached.

    features: (N, d), one row a completion. prior: or its precision alone; the mean of |z|^2 over it
    is the variance that rewards have before anything is judged. `start`: an earlier fit to go on
    from, in the same basis. Raises ValueError for features that are not finite.
    """
    require_finite_features(features)
    basis = basis or (start.basis if start else Basis.of(features))
    return fit_coordinates(basis.coordinates(features), joint, prior, basis, start)


def fit_coordinates(
    z: Floats,
    joint: Joint,
    prior: Prior | float,
    basis: Basis,
    start: HeadFit | None = None,
    close: float = CLOSE,
) -> HeadFit:
    """As `fit_head`, for coordinates z (N, m) that `basis` has computed already."""
    prior = prior if isinstance(prior, Prior) else Prior(prior)
    problem = _Problem(z, joint, prior, close)
    # steps are too small to share, and on a busy machine threads that wait for each other spin
    with _thread_pools().limit(limits=1):
        theta, info, left = problem.solve(problem.begin(start))
    w, values = problem.unpack(theta)
    return HeadFit(
        basis,
        w.numpy().copy(),
        {name: v.clone() for name, v in values.items()},
        prior,
        info.weights_factor,
        info.sd,
        float(joint.nll(problem.z @ w, values)),
        left,
    )


_thread_pools = cache(ThreadpoolController)


class _Problem:
    """Negative log-posterior of one flat vector: weights, then the nuisance parameters."""

    def __init__(self, z: Floats, joint: Joint, prior: Prior, close: float) -> None:
        self.close = close
        self.z = torch.from_numpy(z)
        self.joint = joint
        self.m = z.shape[1]
        self.precision, self.design_effect = prior.precision, prior.design_effect
        self.mean = np.zeros(self.m) if prior.mean is None else prior.mean
        self.sizes = {name: part.size for name, part in joint.parts.items()}

    def begin(self, start: HeadFit | None) -> Floats:
        values = self.joint.start()
        for name, earlier in start.values.items() if start else ():
            if name in values:  # annotators and prompts may have joined since
                known = min(len(earlier), self.sizes[name])
                values[name][:known] = earlier[:known]
        w = start.w if start else self.mean
        return np.concatenate([w, *(values[name].numpy() for name in self.sizes)])

    def unpack(self, theta: Floats | torch.Tensor) -> tuple[torch.Tensor, Values]:
        flat = torch.as_tensor(theta)
        w, *rest = torch.split(flat, [self.m, *self.sizes.values()])
        return w, dict(zip(self.sizes, rest, strict=True))

    def loss(self, theta: Floats, odds: Floats) -> tuple[float, Floats]:
        """Nats, and their gradient by theta; odds: log(h / (1-h)) at a slope of 1 (judgements,)."""
        flat = torch.tensor(theta, requires_grad=True)
        w, values = self.unpack(flat)
        total = self.joint.nll(self.z @ w, values) + self.joint.prior(values, self.design_effect)
        away = w - torch.from_numpy(self.mean)
        total = total + 0.5 * self.precision * away.square().sum()
        # half the log-determinant of the weights' precision, judgement by judgement: without it the
        # mode buys smaller weights with larger slopes. softplus(odds + 2 log slope) is
        # log(1 + h/(1-h) slope^2), and does not overflow
        pull = torch.from_numpy(odds) + 2 * self.joint.log_slopes(values)
        bought = torch.nn.functional.softplus(pull).sum()
        total = total + 0.5 * self.design_effect * bought
        total.backward()  # type: ignore[no-untyped-call]
        gradient = flat.grad
        assert gradient is not None
        return float(total.detach()), gradient.numpy()

    def solve(self, theta: Floats) -> tuple[Floats, Information, float]:
        """The mode from `theta` on, the information there, and how far it still is."""
        # each round is a Newton step with the expected information in place of the Hessian, but for
        # L-BFGS inside it, which mends what that gets wrong away from the mode
        held: Floats | None = None
        # leverages depend on the point: they are fixed within a round, or the gradient would lie
        for rounds in range(ROUNDS):
            w, values = self.unpack(theta)
            info = information(
                self.joint, self.z, self.z @ w, values, self.precision, self.design_effect
            )
            odds = np.log(info.leverage / (1 - info.leverage))
            odds -= 2 * self.joint.log_slopes(values).numpy()
            left = float(np.linalg.norm(info.gradient(self.loss(theta, odds)[1])))
            if left <= self.close or rounds == ROUNDS - 1:
                break
            # leverages and slopes may chase each other: then a part of the way is closer
            part = max(LEAST, 2 / (2 + max(0, rounds - FREE)))
            held = odds if held is None else held + part * (odds - held)
            theta = self._descend_one_round(theta, held, info)
        if left > self.close:
            warnings.warn(
                f"the fit of the head stopped {left:.2g} standard deviations from its best point:"
                " its scores are rough; more judgements make it surer",
                stacklevel=4,
            )
        return theta, info, left

    def _descend_one_round(self, theta: Floats, odds: Floats, info: Information) -> Floats:
        """Down in the coordinates of `info`, in which the posterior is nearly round."""

        def loss(x: Floats) -> tuple[float, Floats]:
            value, slope = self.loss(theta + info.step(x), odds)
            return value, info.gradient(slope)

        options = {"maxiter": STEPS, "ftol": 1e-13, "gtol": self.close / 30}
        found: Any = minimize(loss, np.zeros(len(theta)), jac=True, method="L-BFGS-B",
                              options=options)  # fmt: skip
        return theta + info.step(found.x)
