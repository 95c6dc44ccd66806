"""What a reward model expects of each judgement, on prompts that it has not seen.

Cross-validation is grouped by prompt: no prompt is ever on two sides. Whoever judged is known, so
an annotator's threshold, scale and pull count; a new prompt's difficulty is not, and does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from data.stats.intervals import Bools, Floats
from reward_model.config import Objective, ScalarLink
from reward_model.dataset.examples import Examples
from reward_model.likelihood import terms
from reward_model.likelihood.annotators_and_prompts import DIFFICULTY, DIFFICULTY_SD, Values
from reward_model.likelihood.fit import Basis, HeadFit, Prior, fit_coordinates
from reward_model.likelihood.joint import Joint
from reward_model.likelihood.prior import choose_prior

FOLDS = 5
ENOUGH_TO_COMPARE = 1500
"""Judgements to predict from which on no further fold is needed to compare features."""
RATINGS = np.arange(1, 11)


@dataclass(frozen=True)
class Predictions:
    """Expected answers, row by row of some examples; NaN where an objective says nothing of it."""

    reward: Floats
    """Of each completion (N,), in logits of an average annotator's comparison."""
    sd: Floats
    """Its posterior standard deviation (N,)."""
    pairs: Floats
    """P(a better), P(b better), P(tie) of each comparison (P, 3)."""
    binary: Floats
    """P(good) (B,)."""
    scalar: Floats
    """P(1) to P(10) of each rating (S, 10)."""
    nll: float
    """Nats over all that is predicted, a stated strength included."""
    n: int
    """Judgements predicted."""
    heads: Sequence[FoldHead] = ()
    """What made them, where cross-validation did."""

    def fill(self, test: Bools, examples: Examples, part: Predictions) -> None:
        """Put the predictions of one fold, whose completions are `test` (N,), in their places."""
        self.reward[test], self.sd[test] = part.reward[test], part.sd[test]
        self.pairs[test[examples.pairs.a]] = part.pairs
        self.binary[test[examples.binary.item]] = part.binary
        self.scalar[test[examples.scalar.item]] = part.scalar


@dataclass(frozen=True)
class FoldHead:
    train: Bools
    """Completions of the prompts that it learned from (N,)."""
    test: Bools
    """Completions that it is asked about, all of prompts that it has not seen (N,)."""
    fit: HeadFit
    z: Floats
    """Coordinates of all completions in the fit's basis (N, m)."""
    released: Floats | None = None
    """Those that the reward is of, where covariates are left out of it (N, m)."""

    @property
    def asked(self) -> Floats:
        """Coordinates that the reward is of (N, m)."""
        return self.z if self.released is None else self.released

    @property
    def left_out(self) -> Floats:
        """What covariates add to the reward in the likelihood (N,)."""
        return np.asarray((self.z - self.asked) @ self.fit.w)


@dataclass(frozen=True)
class Candidate:
    """Features that a head may be fitted to, and the coordinates that it sees of them."""

    features: Floats
    """(N, d), one row a completion."""
    basis: Basis
    z: Floats
    """(N, m + k), k covariates last."""
    start: Floats | None = None
    """Coordinates of the weights that the prior's mean is along (m + k,); None: it is 0."""

    @classmethod
    def of(
        cls, features: Floats, covariates: Floats | None = None, start: Floats | None = None
    ) -> Candidate:
        """covariates: (N, k), known of the completions beside what the network reads; start: the
        weights (d,) of a head to start from.

        Raises ValueError where a feature is not finite.
        """
        basis, along = Basis.of(features), None
        if start is not None:
            basis = basis.through(start)
            along = basis.axes.T @ (basis.spread * start)
        alone = cls(features, basis, basis.coordinates(features), along)
        if covariates is None or not (k := covariates.shape[1]):
            return alone
        basis = basis.beside(covariates, alone.size)
        along = None if along is None else np.concatenate([along, np.zeros(k)])
        return cls(features, basis, basis.coordinates(np.hstack([features, covariates])), along)

    def mean(self, joint: Joint) -> tuple[Floats, float] | None:
        """The prior's mean (m + k,), and how unsure its length is, as a share of it.

        It is `start` times a scale that is fitted to the judgements: how many logits a unit of the
        other model's reward is. Before any judgement its rewards have a standard deviation of one
        logit. None without a start, or where the scale is not positive.
        """
        if self.start is None:
            return None
        rewards = self.z @ self.start
        unit = float(rewards.std()) / np.sqrt(self.size)
        if unit <= 0:
            return None
        k = self.basis.covariates
        few = np.column_stack([rewards / unit, self.z[:, self.z.shape[1] - k :]])
        once = np.eye(k + 1)[0] / np.sqrt(self.size)
        basis = Basis(np.zeros(k + 1), np.ones(k + 1), np.eye(k + 1))
        fit = fit_coordinates(few, joint, Prior(self.size, mean=once), basis)
        times, off = float(fit.w[0]), float(np.linalg.norm(fit.factor[0]))
        return (self.start * times / unit, off / times) if times > 0 else None

    @property
    def size(self) -> float:
        """Median of |z|^2 over the completions, without covariates: over a precision it is the
        prior variance of a reward."""
        own = self.z[:, : self.z.shape[1] - self.basis.covariates]
        return float(np.median(np.square(own).sum(1))) or 1.0

    @property
    def released(self) -> Floats:
        """z (N, m + k) with the covariates at their mean: what the reward is of."""
        if not self.basis.covariates:
            return self.z
        own = np.arange(self.z.shape[1]) < self.z.shape[1] - self.basis.covariates
        return np.asarray(self.z * own)

    def fit(self, joint: Joint, prior: Prior | float, start: HeadFit | None = None) -> HeadFit:
        """Of the head, the covariates' coefficients last."""
        return fit_coordinates(self.z, joint, prior, self.basis, start)


@dataclass(frozen=True)
class Model:
    """Which likelihood: what an objective and its switches stand for."""

    objective: Objective = "joint"
    scalar: ScalarLink = "ordinal"
    effects: bool = True

    def joint(self, examples: Examples) -> Joint:
        return Joint(examples, self.objective, self.scalar, self.effects)


def predict(
    model: Model, examples: Examples, rewards: Floats, sd: Floats, values: Values
) -> Predictions:
    """Of the judgements in `examples`, from rewards and sd of all completions (N,)."""
    return predictor(model, examples, values)(rewards, sd)


def predictor(
    model: Model, examples: Examples, values: Values
) -> Callable[[Floats, Floats], Predictions]:
    """A function that predicts the judgements in `examples`, from rewards and sd of all (N,).

    A new prompt's difficulty is averaged over its prior: a logit is divided by
    sqrt(1 + pi sd^2 / 8) (MacKay 1992, Neural Computation 4:720), a Gaussian is so much wider.
    """
    joint = model.joint(examples)
    known = joint.start() | values
    unknown = DIFFICULTY_SD**2 if DIFFICULTY in known else 0.0
    if DIFFICULTY in known:
        known[DIFFICULTY] = torch.zeros_like(known[DIFFICULTY])
    flat = float((1 + np.pi * unknown / 8) ** -0.5)

    def predictions(rewards: Floats, sd: Floats) -> Predictions:
        (pairs, binary, scalar), nll = _nothing_predicted(examples), 0.0
        r = torch.from_numpy(rewards)
        with torch.no_grad():
            if joint.n_pairs:
                difference = joint.difference(r, known)
                p = torch.sigmoid(difference)
                outcomes = torch.stack([p, 1 - p, torch.zeros_like(p)], 1)
                if joint.effects:
                    outcomes = terms.davidson(difference, joint.log_tie(known)).exp()
                pairs = outcomes.numpy()
                nll += float(joint.pair_nll(r, known))
            if joint.n_binary:
                margin = joint.binary_margin(r, known) * flat
                binary = torch.sigmoid(margin).numpy()
                nll += float(terms.binary(margin, torch.from_numpy(joint.binary.good)))
            if joint.n_scalar:
                log_p = _log_ratings(joint, r, known, unknown, flat)
                scalar = log_p.exp().numpy()
                given = torch.from_numpy(joint.scalar.rating)[:, None] - 1
                nll -= float(log_p.gather(1, given).sum())
        return Predictions(rewards, sd, pairs, binary, scalar, nll, len(joint))

    return predictions


def _log_ratings(
    joint: Joint, rewards: torch.Tensor, known: Values, unknown: float, flat: float
) -> torch.Tensor:
    """Log-probability of 1 to 10 (S, 10), the difficulties having a variance of `unknown`."""
    place = joint.position(rewards, known)
    if joint.ordinal:
        cuts = terms.rising(known["cut"], known["gaps"])
        return terms.cumulative(flat * place, flat * cuts)
    away = (torch.from_numpy(RATINGS)[None] - place[:, None]) / joint.noise(known)
    return torch.log_softmax(-0.5 * away.square() / (1 + unknown), 1)


def _nothing_predicted(examples: Examples) -> tuple[Floats, Floats, Floats]:
    """NaN for all comparisons, good-or-bad judgements and ratings."""
    shapes = (len(examples.pairs), 3), len(examples.binary), (len(examples.scalar), len(RATINGS))
    pairs, binary, scalar = (np.full(shape, np.nan) for shape in shapes)
    return pairs, binary, scalar


def folds(examples: Examples, seed: int = 0) -> Iterator[tuple[Bools, Bools]]:
    """(train, test) masks of completions (N,), by prompt; as many as prompts, at most FOLDS.

    Raises ValueError for fewer than two prompts.
    """
    if examples.prompts < 2:
        raise ValueError("cross-validation needs judgements of two prompts: there is one")
    n = min(FOLDS, examples.prompts)
    side = np.random.default_rng(seed).permutation(examples.prompts) % n
    for fold in range(n):
        test = side[examples.prompt] == fold
        yield ~test, test


def cross_validate(
    model: Model,
    features: Floats | Candidate,
    examples: Examples,
    prior: Prior | float,
    between: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> Predictions:
    """Every judgement predicted by a head that was fitted without its prompt.

    features: (N, d), one row a completion; with covariates: a Candidate. prior: or its precision
    alone. `between` is called between folds and may raise.
    """
    only = features if isinstance(features, Candidate) else Candidate.of(features)
    return cross_validate_choice(model, examples, lambda some: (only, prior), between, seed)


def cross_validate_choice(
    model: Model,
    examples: Examples,
    choose: Callable[[Examples], tuple[Candidate, Prior | float]],
    between: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> Predictions:
    """Cross-validate with features and prior chosen anew in each fold, on its training side alone.

    choose: (features, prior) for some of the examples. Predicted is by the reward that is released,
    without covariates; `with_covariates` has the others.
    """
    parts: list[tuple[Bools, Predictions]] = []
    heads: list[FoldHead] = []
    for train, test in folds(examples, seed=seed):
        between()
        some = examples.where(train)
        chosen, prior = choose(some)
        fit = chosen.fit(model.joint(some), prior)
        rewards = chosen.released @ fit.w
        sd = fit.released.spread(chosen.features, chosen.basis.released.mean)
        parts.append((test, predict(model, examples.where(test), rewards, sd, fit.values)))
        heads.append(FoldHead(train, test, fit, chosen.z, chosen.released))
    return replace(merge_folds(examples, parts), heads=heads)


def with_covariates(model: Model, examples: Examples, crossed: Predictions) -> Predictions:
    """What the heads of a cross-validation predict with the covariates in the reward.

    Standard deviations are those without.
    """
    heads = [replace(head, released=None) for head in crossed.heads]
    parts = [
        (h.test, predict(model, examples.where(h.test), h.z @ h.fit.w, crossed.sd, h.fit.values))
        for h in heads
    ]
    return replace(merge_folds(examples, parts), heads=heads)


def merge_folds(examples: Examples, parts: Sequence[tuple[Bools, Predictions]]) -> Predictions:
    """The folds' predictions, each in its rows' places; NaN where no fold is."""
    nll, n = sum(p.nll for _, p in parts), sum(p.n for _, p in parts)
    merged = replace(no_predictions(examples), nll=nll, n=n)
    for test, part in parts:
        merged.fill(test, examples, part)
    return merged


def no_predictions(examples: Examples) -> Predictions:
    """NaN for everything, to be filled fold by fold."""
    reward, sd = np.full((2, len(examples.prompt)), np.nan)
    return Predictions(reward, sd, *_nothing_predicted(examples), 0.0, 0)


def prior_for(
    model: Model,
    features: Floats | Candidate,
    examples: Examples,
    between: Callable[[], None] = lambda: None,
) -> Prior:
    """The prior under which the judgements are likeliest: `likelihood.prior.choose_prior`.

    features: (N, d), one row a completion.
    """
    on = features if isinstance(features, Candidate) else Candidate.of(features)
    joint = model.joint(examples)
    mean, off = on.mean(joint) or (None, 0.0)
    return choose_prior(on.z, joint, on.basis, on.size, between, mean, off)


def sides_to_compare(
    model: Model, examples: Examples, seed: int = 0
) -> list[tuple[Joint, Examples]]:
    """(likelihood of a fold's training side, what it is asked about): as many as are needed."""
    sides: list[tuple[Joint, Examples]] = []
    for train, test in folds(examples, seed=seed):
        held = examples.where(test)  # empty for a prompt that the examples lack
        if len(held) and sum(len(other) for _, other in sides) < ENOUGH_TO_COMPARE:
            sides.append((model.joint(examples.where(train)), held))
    return sides
