"""What a reward model expects of each judgement, on prompts that it has not seen.

Cross-validation is grouped by prompt: no prompt is ever on two sides. Whoever judged is known, so
an annotator's threshold, scale and pull count; a new prompt's difficulty is not, and does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from reward_model.config import Objective, ScalarLink
from reward_model.dataset.examples import Bools, Examples, Floats
from reward_model.likelihood import terms
from reward_model.likelihood.fit import Basis, HeadFit, fit_coordinates
from reward_model.likelihood.joint import DIFFICULTY_SD, PROMPTS, Joint, Values

FOLDS = 5
VARIANCES = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of rewards before anything is judged: those that are tried."""
LOG_VARIANCE_SD = 1.5
"""Standard deviation of the logarithm of that variance, before anything is judged: about 1."""
ROUGH_TOLERANCE = 0.3
"""How far from its mode a fit may stop that is only compared; 0.05 nats."""
ENOUGH_TO_COMPARE = 1500
"""Judgements to predict from which on no further fold is needed to compare priors."""
HALF_STEP = 3**0.5
"""Half a step between them."""
GIVE_UP_NATS = 1.0
"""Nats by which the best prediction must be missed for stronger priors to be given up."""
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
    """Of the judgements in `examples`, from rewards and sd of all completions (N,).

    A new prompt's difficulty is averaged over its prior: a logit is divided by
    sqrt(1 + pi sd^2 / 8) (MacKay 1992, Neural Computation 4:720), a Gaussian is so much wider.
    """
    joint = model.joint(examples)
    known = joint.start() | values
    unknown = DIFFICULTY_SD**2 if PROMPTS in known else 0.0
    if PROMPTS in known:
        known[PROMPTS] = torch.zeros_like(known[PROMPTS])
    flat = float((1 + np.pi * unknown / 8) ** -0.5)
    (pairs, binary, scalar), nll = _nothing_predicted(examples), 0.0
    r = torch.from_numpy(rewards)
    with torch.no_grad():
        if joint.n_pairs:
            pairs = _predict_pairs(joint, r, known)
            nll += float(joint.pair_nll(r, known))
        if joint.n_binary:
            margin = joint.binary_margin(r, known) * flat
            binary = torch.sigmoid(margin).numpy()
            nll += float(terms.binary(margin, torch.from_numpy(joint.binary.good)))
        if joint.n_scalar:
            place = joint.position(r, known)
            if joint.ordinal:
                cuts = terms.rising(known["cut"], known["gaps"])
                log_p = terms.cumulative(flat * place, flat * cuts)
            else:
                away = (torch.from_numpy(RATINGS)[None] - place[:, None]) / joint.noise(known)
                log_p = torch.log_softmax(-0.5 * away.square() / (1 + unknown), 1)
            scalar = log_p.exp().numpy()
            nll -= float(log_p.gather(1, torch.from_numpy(joint.scalar.rating)[:, None] - 1).sum())
    return Predictions(rewards, sd, pairs, binary, scalar, nll, len(joint))


def _nothing_predicted(examples: Examples) -> tuple[Floats, Floats, Floats]:
    """NaN for all comparisons, good-or-bad judgements and ratings."""
    shapes = (len(examples.pairs), 3), len(examples.binary), (len(examples.scalar), len(RATINGS))
    pairs, binary, scalar = (np.full(shape, np.nan) for shape in shapes)
    return pairs, binary, scalar


def _predict_pairs(joint: Joint, rewards: torch.Tensor, values: Values) -> Floats:
    difference = joint.difference(rewards, values)
    if joint.effects:
        return terms.davidson(difference, joint.log_tie(values)).exp().numpy()
    p = torch.sigmoid(difference)
    return torch.stack([p, 1 - p, torch.zeros_like(p)], 1).numpy()


def folds(examples: Examples, n: int = FOLDS, seed: int = 0) -> Iterator[tuple[Bools, Bools]]:
    """(train, test) masks of completions (N,), by prompt; as many as there are prompts, at most n.

    Raises ValueError for fewer than two prompts.
    """
    if examples.prompts < 2:
        raise ValueError("cross-validation needs judgements of two prompts: there is one")
    side = np.random.default_rng(seed).permutation(examples.prompts) % min(n, examples.prompts)
    for fold in range(min(n, examples.prompts)):
        test = side[examples.prompt] == fold
        yield ~test, test


def cross_validate(
    model: Model,
    features: Floats,
    examples: Examples,
    precision: float,
    between: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> Predictions:
    """Every judgement predicted by a head that was fitted without its prompt.

    features: (N, d), one row a completion. `between` is called between folds and may raise.
    """
    basis = Basis.of(features)
    z = basis.coordinates(features)
    reward, sd = np.full(len(features), np.nan), np.full(len(features), np.nan)
    parts: list[tuple[Bools, Predictions]] = []
    for train, test in folds(examples, seed=seed):
        between()
        fit = fit_coordinates(z, model.joint(examples.where(train)), precision, basis)
        here = predict(model, examples.where(test), z @ fit.w,
                        fit.spread(features, basis.mean), fit.values)  # fmt: skip
        reward[test], sd[test] = here.reward[test], here.sd[test]
        parts.append((test, here))
    return replace(merge_folds(examples, parts), reward=reward, sd=sd)


def merge_folds(examples: Examples, parts: Sequence[tuple[Bools, Predictions]]) -> Predictions:
    """The folds' predictions, each in its rows' places."""
    pairs, binary, scalar = _nothing_predicted(examples)
    for test, part in parts:
        pairs[test[examples.pairs.a]] = part.pairs
        binary[test[examples.binary.item]] = part.binary
        scalar[test[examples.scalar.item]] = part.scalar
    empty = np.zeros(0)
    nll, n = sum(p.nll for _, p in parts), sum(p.n for _, p in parts)
    return Predictions(empty, empty, pairs, binary, scalar, nll, n)


def choose_prior_precision(
    model: Model,
    features: Floats,
    examples: Examples,
    between: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> float:
    """The prior precision under which judgements of unseen prompts are likeliest.

    Tried from small rewards to large ones, for as long as that helps, then half a step to each side
    of the best. `between` is called between fits and may raise. With one prompt there is nothing to
    choose by: then rewards are taken to spread by 1.
    """
    basis = Basis.of(features)
    z = basis.coordinates(features)
    size = float(np.median(np.square(z).sum(1))) or 1.0
    if examples.prompts < 2:
        return size
    sides: list[tuple[Joint, Examples]] = []
    for train, test in folds(examples, seed=seed):
        if sum(len(held) for _, held in sides) < ENOUGH_TO_COMPARE:
            sides.append((model.joint(examples.where(train)), examples.where(test)))
    fits: list[HeadFit | None] = [None] * len(sides)

    def loss(variance: float) -> float:
        total = 0.5 * (np.log(variance) / LOG_VARIANCE_SD) ** 2
        for i, (joint, held) in enumerate(sides):
            between()
            fit = fits[i] = fit_coordinates(
                z, joint, size / variance, basis, fits[i], ROUGH_TOLERANCE
            )
            rewards = z @ fit.w
            total += predict(model, held, rewards, rewards, fit.values).nll
        return float(total)

    found: dict[float, float] = {}
    for variance in VARIANCES:
        found[variance] = loss(variance)
        if found[variance] > min(found.values()) + GIVE_UP_NATS:
            break
    best = min(found, key=lambda v: found[v])
    found |= {near: loss(near) for near in (best * HALF_STEP, best / HALF_STEP)}
    return size / min(found, key=lambda v: found[v])
