"""The Fisher information of the joint likelihood: what the judgements tell about each parameter.

A score is the derivative of an answer's log-probability by a parameter. Products of two scores, in
expectation over the answers that might have been given, are the information; the priors' precisions
are added. It is the expected information, not the observed one (minus the Hessian): it is positive
definite wherever a fit stands, so it gives both steps and error bars. Scores are by automatic
differentiation of the joint likelihood itself.

Each judgement knows the head's weights through one number alone: a reward, or a difference of two.
The prompts' difficulties do not meet each other in any judgement, so they are eliminated one by one
(a Schur complement), and what is left, the core, is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse import csr_matrix, diags
from torch import Tensor
from torch.nn.functional import logsigmoid, one_hot

from data.stats.intervals import Floats, Ints
from reward_model.likelihood import terms
from reward_model.likelihood.annotators_and_prompts import DIFFICULTY, PINNED, RATINGS, Values
from reward_model.likelihood.joint import Joint

REWARD = "reward"
"""Name of the judgements' own rewards, beside the other parameters."""
IMPOSSIBLE = -1e4
"""Log-probability of what cannot happen: exp of half of it is 0."""


@dataclass(frozen=True)
class KindScores:
    """Scores of one kind's n judgements: derivatives of log P(answer), of K possible answers.

    Each is times the root of P(answer): summing the products of two of them over the answers gives
    an entry of the Fisher information.
    """

    by_weights: Floats
    """Derivative of the reward, or of two rewards' difference, by the weights (n, m)."""
    scores: Floats
    """By that reward (n, K)."""
    named: list[tuple[str, Ints, Floats]]
    """By the other parameters: name, place within it (n,), scores (n, K)."""
    given: Floats
    """By that reward, of the answer that was given (n,)."""
    item: Ints
    """The judged completion, or the first of two (n,)."""
    person: Ints
    """Who judged (n,)."""

    @property
    def information(self) -> Floats:
        """Expected information about the reward, or the difference of two (n,)."""
        return np.asarray(np.square(self.scores).sum(1))


@dataclass(frozen=True)
class Information:
    """The posterior's precision at a point, factored."""

    at: Ints
    """Where the core's parameters are in the flat vector (k,): weights, then all but prompts."""
    prompts: slice
    """Where the prompts' difficulties are; empty where there are none."""
    root: Floats
    """Square roots of the precision of each difficulty by itself (P,)."""
    shared: Floats
    """Precision that difficulties and core share, over `root` (P, k)."""
    core: Floats
    """Lower Cholesky factor of the core's precision, the difficulties unknown (k, k)."""
    leverage: Floats
    """How far each judgement's own answer moves what is fitted to it (judgements,), 0 to 1."""
    weights_factor: Floats
    """Lower Cholesky factor (m, m) of the weights' posterior covariance, all else unknown."""
    sd: dict[str, Floats]
    """Posterior standard deviations of the core's parameters but the weights, by name."""

    def step(self, x: Floats) -> Floats:
        """The step of the flat parameter vector that x is in whitened coordinates, in which the
        precision is the identity: L^-T x."""
        out = np.empty_like(x)
        inner = solve_triangular(self.core, x[self.at], lower=True, trans="T", check_finite=False)
        out[self.at] = inner
        out[self.prompts] = (x[self.prompts] - self.shared @ inner) / self.root
        return out

    def gradient(self, g: Floats) -> Floats:
        """A gradient g by the flat vector, in whitened coordinates: L^-1 g."""
        out = np.empty_like(g)
        own = g[self.prompts] / self.root
        out[self.prompts] = own
        inner = g[self.at] - self.shared.T @ own
        out[self.at] = solve_triangular(self.core, inner, lower=True, check_finite=False)
        return out


def rows_of(joint: Joint, z: Tensor, rewards: Tensor, values: Values) -> list[KindScores]:
    """Of each kind that there is. z: (N, m) and rewards: (N,), of all completions."""
    sizes = joint.n_pairs, joint.n_binary, joint.n_scalar
    kinds = zip(sizes, (_pair_rows, _binary_rows, _scalar_rows), strict=True)
    return [read(joint, z, rewards, values) for n, read in kinds if n]


def information(
    joint: Joint,
    z: Tensor,
    rewards: Tensor,
    values: Values,
    precision: float,
    design_effect: float = 1.0,
) -> Information:
    """Fisher information plus the priors' precision, factored; the difficulties are eliminated.

    z, rewards: coordinates (N, m) and rewards (N,) of all completions; values: all else.
    precision: of the weights' prior; design_effect: see `Joint.precisions`.
    """
    rows = rows_of(joint, z, rewards, values)
    m, size = z.shape[1], z.shape[1]
    flat: dict[str, slice] = {}
    for name, part in joint.parts.items():
        flat[name] = slice(size, size := size + part.size)
    prompts = flat.get(DIFFICULTY, slice(size, size))
    at = np.delete(np.arange(size), prompts)
    weights, cross, own = _blocks(joint, rows, values, flat, m, design_effect)
    core = own[at][:, at].toarray()
    core[:m, :m] = weights + precision * np.eye(m)
    core[m:, :m] = cross[at[m:]]
    core[:m, m:] = core[m:, :m].T
    # the Schur complement: what the core's precision is, the difficulties being unknown
    root = np.sqrt(own.diagonal()[prompts])
    shared = np.hstack([cross[prompts], own[prompts][:, at[m:]].toarray()]) / root[:, None]
    lower = cholesky(core - shared.T @ shared, lower=True, check_finite=False)
    inverse = solve_triangular(lower, np.eye(len(lower)), lower=True, check_finite=False)
    covariance = inverse[:, :m].T @ inverse[:, :m]
    factor = cholesky(covariance, lower=True) if m else covariance
    sd = np.zeros(size)
    sd[at] = np.sqrt(np.square(inverse).sum(0))
    # of the weights only, whose determinant the fit adds: h / (1 - h) must stay finite
    leverage = [r.information * np.square(r.by_weights @ factor).sum(1) for r in rows]
    return Information(
        at,
        prompts,
        root,
        shared,
        lower,
        np.clip(np.concatenate([np.zeros(0), *leverage]), 1e-12, 1 - 1e-6),
        factor,
        {name: sd[here] for name, here in flat.items() if name != DIFFICULTY},
    )


def _blocks(
    joint: Joint,
    rows: list[KindScores],
    values: Values,
    flat: dict[str, slice],
    m: int,
    design_effect: float,
) -> tuple[Floats, Floats, csr_matrix]:
    """Precision of the weights (m, m), of all with the weights (size, m), and of all the others.

    The last is (size, size), sparse and with the priors: a judgement touches few parameters.
    """
    size = m + sum(part.size for part in joint.parts.values())
    weights, cross, prior = np.zeros((m, m)), np.zeros((size, m)), np.zeros(size)
    for name, one in joint.precisions(design_effect).items():
        prior[flat[name]] = one
    own = diags(prior).tocsr()
    for name, parts in joint.pinned(values).items():
        # a pin is one pseudo-judgement of the average: rank one, so it couples all annotators
        slope = (parts / parts.sum() / PINNED).double().numpy()
        entries = (slope, np.arange(size)[flat[name]], [0, len(slope)])
        pin = csr_matrix(entries, (1, size))
        own += pin.T @ pin
    for r in rows:
        # the weights act through the reward alone: the score by them is that by it, times z
        weights += r.by_weights.T @ (r.information[:, None] * r.by_weights)
        if not r.named:
            continue
        columns = np.stack([flat[name].start + place for name, place, _ in r.named], 1)
        scores = np.stack([by_name for _, _, by_name in r.named], 2)
        starts = np.arange(len(columns) + 1) * columns.shape[1]
        with_reward = np.einsum("nk,nkj->nj", r.scores, scores)
        entries = (with_reward.ravel(), columns.ravel(), starts)
        cross += csr_matrix(entries, (len(columns), size)).T @ r.by_weights
        both = np.einsum("nki,nkj->nij", scores, scores)
        i, j = np.broadcast_arrays(columns[:, :, None], columns[:, None, :])
        own += csr_matrix((both.ravel(), (i.ravel(), j.ravel())), (size, size))
    return weights, cross, own


def _pair_rows(joint: Joint, z: Tensor, rewards: Tensor, values: Values) -> KindScores:
    """P(a), P(b), P(tie), and the three strengths of what was chosen, where one was stated."""
    a, b, person = joint.pairs.a, joint.pairs.b, joint.pairs.annotator
    own, said = joint.unshared(), torch.from_numpy(np.flatnonzero(joint.pairs.strength))

    def log_p(v: Values) -> Tensor:
        difference = own.difference(torch.cat([v[REWARD], rewards[b]]), v)
        if not joint.effects:
            return torch.stack([logsigmoid(difference), logsigmoid(-difference)], 1)
        outcomes = terms.davidson(difference, own.log_tie(v))
        if "strength_cut" not in joint.parts:
            return outcomes
        here = v | {name: v[name][said, None] for name in ("strength_cut", "strength_gap")}
        here["strength_slope"] = v["strength_slope"][said]
        position = own.strength_position(difference, here)
        cuts = terms.rising(here["strength_cut"], here["strength_gap"])
        stated = terms.cumulative(position, cuts)
        # who stated none says nothing about strengths: there all three are impossible
        impossible = torch.full_like(outcomes, IMPOSSIBLE)
        return torch.cat([outcomes, impossible.index_put((said,), stated)], 1)

    places = dict.fromkeys(("consistency", "side", "tie"), person)
    shared = ("first", "log_tie", "strength_slope", "strength_cut", "strength_gap")
    places |= dict.fromkeys(shared, 0 * person)
    outcome = torch.from_numpy(joint.pairs.outcome)
    given = one_hot(outcome, 3).double()
    if not joint.effects:  # a tie is half a win each way
        given = given[:, :2] + 0.5 * given[:, 2:]
    elif "strength_cut" in joint.parts:
        stated = one_hot(torch.from_numpy(joint.pairs.strength), 4)[:, 1:]
        given = torch.cat([given, stated], 1)
    found = _Found(log_p, given, a, person)
    return _score_rows(joint, found, (z[a] - z[b]).numpy(), rewards[a], values, places)


def _binary_rows(joint: Joint, z: Tensor, rewards: Tensor, values: Values) -> KindScores:
    """P(good), P(bad)."""
    item, person = joint.binary.item, joint.binary.annotator
    own = joint.unshared()

    def log_p(v: Values) -> Tensor:
        margin = own.binary_margin(v[REWARD], v)
        return torch.stack([logsigmoid(margin), logsigmoid(-margin)], 1)

    places = {"consistency": person, "threshold": person, DIFFICULTY: joint.prompt.numpy()[item]}
    places |= dict.fromkeys(("bar", "binary_gain"), 0 * person)
    good = torch.from_numpy(joint.binary.good)
    found = _Found(log_p, one_hot(1 - good, 2).double(), item, person)
    return _score_rows(joint, found, z[item].numpy(), rewards[item], values, places)


def _scalar_rows(joint: Joint, z: Tensor, rewards: Tensor, values: Values) -> KindScores:
    """P(1) to P(10); of a Gaussian, its mean and its spread in place of the answers."""
    item, person = joint.scalar.item, joint.scalar.annotator
    own, noise = joint.unshared(), joint.noise(values)

    def log_p(v: Values) -> Tensor:
        cuts = terms.rising(v["cut"][:, None], v["gaps"])
        return terms.cumulative(own.position(v[REWARD], v), cuts)

    def mean_and_spread(v: Values) -> Tensor:
        # the information of N(m, s^2) is (dm / s)^2 + 2 (d log s)^2: two scores of weight 1
        mean = own.position(v[REWARD], v) / noise
        return torch.stack([mean, math.sqrt(2) * own.noise(v).log().expand_as(mean)], 1)

    places = {"scale": person, "offset": person, DIFFICULTY: joint.prompt.numpy()[item]}
    places |= dict.fromkeys(("scalar_gain", "cut", "gaps", "level", "log_sd"), 0 * person)
    rating = torch.from_numpy(joint.scalar.rating)
    if joint.ordinal:
        found = _Found(log_p, one_hot(rating - 1, RATINGS).double(), item, person)
    else:
        with torch.no_grad():
            away = (rating - joint.position(rewards, values)) / noise
        # the score by the mean over s is how many s an answer is away; s is not of the reward
        given = torch.stack([away, torch.zeros_like(away)], 1)
        found = _Found(mean_and_spread, given, item, person, probabilities=False)
    return _score_rows(joint, found, z[item].numpy(), rewards[item], values, places)


@dataclass(frozen=True)
class _Found:
    """The answers of n judgements of one kind."""

    outcomes: Callable[[Values], Tensor]
    """Log-probabilities (n, K), of Values with one entry a judgement, the reward under REWARD."""
    given: Tensor
    """Which answer was given (n, K): the score by the reward is that of these columns."""
    item: Ints
    person: Ints
    probabilities: bool = True
    """False where columns are no answers but scores of weight 1."""


def _score_rows(
    joint: Joint,
    answers: _Found,
    by_weights: Floats,
    rewards: Tensor,
    values: Values,
    places: dict[str, Ints],
) -> KindScores:
    """The scores of n judgements by everything that their answers' log-probabilities depend on.

    Of Values that have one entry a judgement, under REWARD the reward too. So no
    judgement depends on another's entries, and the derivative of each column's sum, one backward
    pass, has every judgement's own derivative.
    """
    places = {name: place for name, place in places.items() if name in joint.parts}
    entries = {name: values[name][place] for name, place in places.items() if name != "gaps"}
    if "gaps" in places:
        entries["gaps"] = values["gaps"].expand(len(rewards), -1)
    entries = {n: v.detach().requires_grad_() for n, v in (entries | {REWARD: rewards}).items()}
    found = answers.outcomes(values | entries)
    # one backward pass a column; torch.func.jacrev does the same, but takes 2 s at its first call
    derivatives = [
        torch.autograd.grad(column.sum(), list(entries.values()), retain_graph=True,
                            materialize_grads=True)
        for column in found.unbind(1)
    ]  # fmt: skip
    root = (found.detach() / 2).exp() if answers.probabilities else torch.ones_like(found)
    by_reward = torch.stack([columns[list(entries).index(REWARD)] for columns in derivatives], 1)
    given = (by_reward * answers.given).sum(1).numpy()
    scores = {}
    for name, columns in zip(entries, zip(*derivatives, strict=True), strict=True):
        by_answer = torch.stack(columns, 1)
        scores[name] = (by_answer * root.reshape(*root.shape, *[1] * (by_answer.dim() - 2))).numpy()
    named = [(name, place, scores[name]) for name, place in places.items() if name != "gaps"]
    if "gaps" in places:
        gaps = scores["gaps"]
        named += [("gaps", places["gaps"] + i, gaps[..., i]) for i in range(gaps.shape[2])]
    return KindScores(by_weights, scores[REWARD], named, given, answers.item, answers.person)
