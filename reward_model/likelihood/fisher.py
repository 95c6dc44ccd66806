"""The Fisher information of the joint likelihood: what the judgements tell about each parameter.

A score is the derivative of an answer's log-probability by a parameter. Products of two scores, in
expectation over the answers that might have been given, are the information; the priors' precisions
are added. Each judgement knows the head's weights through one number alone: D, the margin or the
position. The prompts' difficulties do not meet each other in any judgement, so they are eliminated
one by one (a Schur complement), and what is left, the core, is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse import csr_matrix
from torch import Tensor

from reward_model.dataset.examples import Ints
from reward_model.likelihood import terms
from reward_model.likelihood.joint import PINNED, PROMPTS, Joint, Values

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """One kind's judgements (n) with K possible answers; scores times the root of P(answer)."""

    by_weights: Array
    """Derivative of the number that the answer depends on, by the weights (n, m)."""
    scores: Array
    """By that number (n, K)."""
    named: list[tuple[str, Ints, Array]]
    """By the other parameters: name, place within it (n,), scores (n, K)."""


@dataclass(frozen=True)
class Information:
    """The posterior's precision at a point, factored."""

    at: Ints
    """Where the core's parameters are in the flat vector (k,): weights, then all but prompts."""
    prompts: slice
    """Where the prompts' difficulties are; empty where there are none."""
    root: Array
    """Square roots of the precision of each difficulty by itself (P,)."""
    shared: Array
    """Precision that difficulties and core share, over `root` (P, k)."""
    core: Array
    """Lower Cholesky factor of the core's precision, the difficulties unknown (k, k)."""
    leverage: Array
    """How far each judgement's own answer moves what is fitted to it (judgements,), 0 to 1."""
    weights_factor: Array
    """Lower Cholesky factor (m, m) of the weights' posterior covariance, all else unknown."""
    sd: dict[str, Array]
    """Posterior standard deviations of the core's parameters but the weights, by name."""

    def step(self, x: Array) -> Array:
        """Of the flat vector, for a step x in coordinates in which the precision is 1."""
        out = np.empty_like(x)
        inner = solve_triangular(self.core, x[self.at], lower=True, trans="T", check_finite=False)
        out[self.at] = inner
        out[self.prompts] = (x[self.prompts] - self.shared @ inner) / self.root
        return out

    def gradient(self, g: Array) -> Array:
        """In those coordinates, for a gradient g by the flat vector."""
        out = np.empty_like(g)
        own = g[self.prompts] / self.root
        out[self.prompts] = own
        inner = g[self.at] - self.shared.T @ own
        out[self.at] = solve_triangular(self.core, inner, lower=True, check_finite=False)
        return out


class _Layout:
    """Where parameters are, in the flat vector and within the core."""

    def __init__(self, joint: Joint, m: int) -> None:
        sizes = [p.size for p in joint.parts.values()]
        ends = m + np.cumsum([0, *sizes])
        self.flat = {
            name: slice(int(a), int(b))
            for name, a, b in zip(joint.parts, ends[:-1], ends[1:], strict=True)
        }
        self.prompts = self.flat.get(PROMPTS, slice(int(ends[-1]), int(ends[-1])))
        keep = np.ones(int(ends[-1]), bool)
        keep[self.prompts] = False
        self.at = np.flatnonzero(keep)
        place = np.cumsum(keep) - 1 - m
        self.core = {n: int(place[s.start]) for n, s in self.flat.items() if n != PROMPTS}
        self.m, self.width = m, len(self.at) - m


def information(
    joint: Joint, z: Tensor, rewards: Tensor, values: Values, precision: float
) -> Information:
    """At rewards (N,) of completions with coordinates z (N, m), and these values."""
    with torch.no_grad():
        kinds = [_pairs(joint, z, rewards, values), _binary(joint, z, rewards, values),
                 _scalar(joint, z, rewards, values)]  # fmt: skip
    rows = [r for r in kinds if r is not None]
    layout = _Layout(joint, z.shape[1])
    core = _prior(joint, layout, precision)
    for r in rows:
        _add(core, r, layout)
    root, shared = _prompts(joint, rows, layout)
    lower = cholesky(core - shared.T @ shared, lower=True, check_finite=False)
    m = layout.m
    inverse = solve_triangular(lower, np.eye(len(lower)), lower=True, check_finite=False)
    covariance = inverse[:, :m].T @ inverse[:, :m]
    factor = cholesky(covariance, lower=True) if m else covariance
    sd = np.sqrt(np.square(inverse).sum(0))[m:]
    return Information(
        layout.at,
        layout.prompts,
        root,
        shared,
        lower,
        np.concatenate([np.zeros(0), *(_leverage(r, factor) for r in rows)]),
        factor,
        {n: sd[at : at + joint.parts[n].size] for n, at in layout.core.items()},
    )


def _leverage(rows: Rows, factor: Array) -> Array:
    spread = np.square(rows.by_weights @ factor).sum(1)
    return np.clip(np.square(rows.scores).sum(1) * spread, 1e-12, 1 - 1e-6)


def _prior(joint: Joint, layout: _Layout, precision: float) -> Array:
    """Precision of the core before anything is judged (k, k)."""
    core = np.zeros((layout.m + layout.width,) * 2)
    np.fill_diagonal(core[: layout.m, : layout.m], precision)
    for name, at in layout.core.items():
        part = joint.parts[name]
        here = slice(layout.m + at, layout.m + at + part.size)
        core[here, here] = np.eye(part.size) / part.sd**2
        if name in joint.pins:
            share = joint.pins[name].double().numpy()
            core[here, here] += np.outer(share, share) / PINNED**2
    return core


def _add(core: Array, rows: Rows, layout: _Layout) -> None:
    """Add what one kind's judgements tell about the core."""
    m, n = layout.m, len(rows.scores)
    weight = np.square(rows.scores).sum(1)
    core[:m, :m] += rows.by_weights.T @ (weight[:, None] * rows.by_weights)
    named = [(layout.core[name] + at, s) for name, at, s in rows.named if name != PROMPTS]
    if not named:
        return
    columns, scores = np.stack([c for c, _ in named], 1), np.stack([s for _, s in named], 2)
    row = np.arange(n + 1) * len(named)
    alone = csr_matrix((np.einsum("nk,nkj->nj", rows.scores, scores).ravel(), columns.ravel(), row),
                       shape=(n, layout.width))  # fmt: skip
    cross = alone.T @ rows.by_weights
    core[m:, :m] += cross
    core[:m, m:] += cross.T
    both = np.einsum("nki,nkj->nij", scores, scores)
    i, j = np.broadcast_arrays(columns[:, :, None], columns[:, None, :])
    flat = np.bincount((i * layout.width + j).ravel(), both.ravel(), layout.width**2)
    core[m:, m:] += flat.reshape(layout.width, layout.width)


def _prompts(joint: Joint, rows: list[Rows], layout: _Layout) -> tuple[Array, Array]:
    """About the difficulties: `Information.root` and `.shared`."""
    if PROMPTS not in joint.parts:
        return np.zeros(0), np.zeros((0, len(layout.at)))
    size = (joint.prompts, len(layout.at))
    own, shared = np.full(joint.prompts, joint.parts[PROMPTS].sd ** -2), np.zeros(size)
    for r in rows:
        for place, hard in ((at, s) for name, at, s in r.named if name == PROMPTS):
            own += np.bincount(place, np.square(hard).sum(1), joint.prompts)
            each = (np.arange(len(place)), place)
            picks = csr_matrix(((hard * r.scores).sum(1), each), (len(place), joint.prompts))
            shared[:, : layout.m] += picks.T @ r.by_weights
            others = [(layout.m + layout.core[name] + at, (hard * s).sum(1))
                      for name, at, s in r.named if name != PROMPTS]  # fmt: skip
            cell = np.concatenate([place * size[1] + column for column, _ in others])
            told = np.concatenate([each for _, each in others])
            shared += np.bincount(cell, told, size[0] * size[1]).reshape(size)
    root = np.sqrt(own)
    return root, shared / root[:, None]


def _pairs(joint: Joint, z: Tensor, rewards: Tensor, values: Values) -> Rows | None:
    if not joint.n_pairs:
        return None
    difference = joint.difference(rewards, values)
    a, b, person = joint.pairs.a, joint.pairs.b, joint.pairs.annotator
    apart = (z[a] - z[b]).numpy()
    if not joint.effects:
        return Rows(apart, _binary_scores(difference), [])
    log_tie = joint.log_tie(values)
    q = terms.davidson(difference, log_tie).exp()
    root = q.sqrt()
    lean = torch.tensor([0.5, -0.5, 0.0], dtype=q.dtype)
    by_difference = root * (lean - (q @ lean)[:, None])
    by_tie = root * (torch.tensor([0.0, 0.0, 1.0], dtype=q.dtype) - q[:, 2:])
    scores, extra = _with_strength(joint, difference, by_difference.numpy(), values)
    ties = np.pad(by_tie.numpy(), ((0, 0), (0, scores.shape[1] - 3)))
    k = torch.exp(values["consistency"][person]).numpy()
    strong = k * (rewards[a] - rewards[b]).numpy()
    side = joint.pairs.side[:, None] * scores
    return Rows(
        k[:, None] * apart,
        scores,
        [
            ("consistency", person, strong[:, None] * scores),
            ("side", person, side),
            ("first", person * 0, side),
            ("tie", person, ties),
            ("log_tie", person * 0, ties),
            *extra,
        ],
    )


def _with_strength(
    joint: Joint, difference: Tensor, scores: Array, values: Values
) -> tuple[Array, list[tuple[str, Ints, Array]]]:
    """The scores of the three outcomes, then those of the three strengths of what was chosen."""
    if "strength_cut" not in joint.parts:
        return scores, []
    n, said = len(difference), np.flatnonzero(joint.pairs.strength)
    position = joint.strength_position(difference, values)
    by_cuts = _ordinal_scores(position, joint.strength_cuts(values))
    by_position = -by_cuts.sum(2)
    sign = np.where(joint.pairs.outcome[said] == 0, 1.0, -1.0)
    slope = float(torch.exp(values["strength_slope"]))
    zero = np.zeros(n, np.int64)

    def placed(found: Array) -> Array:
        full = np.zeros((n, 6))
        full[said, 3:] = found
        return full

    whole = placed((sign * slope)[:, None] * by_position)
    whole[:, :3] = scores
    gap = float(torch.exp(values["strength_gap"]))
    return whole, [
        ("strength_slope", zero, placed(position.numpy()[:, None] * by_position)),
        ("strength_cut", zero, placed(-by_position)),
        ("strength_gap", zero, placed(gap * by_cuts[:, :, 1])),
    ]


def _binary(joint: Joint, z: Tensor, rewards: Tensor, values: Values) -> Rows | None:
    if not joint.n_binary:
        return None
    margin = joint.binary_margin(rewards, values)
    scores = _binary_scores(margin)
    slope, item = joint.binary_slope(values).numpy(), joint.binary.item
    by_weights = slope[:, None] * z[item].numpy()
    person, hard = joint.binary.annotator, joint.prompt.numpy()[item]
    bar = ("bar", person * 0, -slope[:, None] * scores)
    above = margin - values[PROMPTS][hard] if joint.effects else margin
    gained = above.numpy()[:, None] * scores
    named = [bar]
    if "binary_gain" in joint.parts:
        named.append(("binary_gain", person * 0, gained))
    if joint.effects:
        named += [
            ("consistency", person, gained),
            ("threshold", person, bar[2]),
            (PROMPTS, hard, scores),
        ]
    return Rows(by_weights, scores, named)


def _scalar(joint: Joint, z: Tensor, rewards: Tensor, values: Values) -> Rows | None:
    if not joint.n_scalar:
        return None
    slope, item = joint.scalar_slope(values).numpy(), joint.scalar.item
    person, hard = joint.scalar.annotator, joint.prompt.numpy()[item]
    make = _ordinal if joint.ordinal else _gaussian
    scores, named = make(joint, joint.position(rewards, values), values)
    worth = (slope * rewards[item].numpy())[:, None] * scores
    if "scalar_gain" in joint.parts:
        named.append(("scalar_gain", person * 0, worth))
    if joint.effects:
        named += [
            ("scale", person, worth),
            ("offset", person, scores),
            (PROMPTS, hard, scores * joint.noise(values).item()),
        ]
    return Rows(slope[:, None] * z[item].numpy(), scores, named)


def _ordinal(
    joint: Joint, position: Tensor, values: Values
) -> tuple[Array, list[tuple[str, Ints, Array]]]:
    by_cuts = _ordinal_scores(position, joint.cuts(values))
    zero, gaps = np.zeros(len(position), np.int64), torch.exp(values["gaps"]).numpy()
    above = np.cumsum(by_cuts[:, :, ::-1], 2)[:, :, ::-1]
    named = [("gaps", zero + i, gaps[i] * above[:, :, i + 1]) for i in range(len(gaps))]
    return -above[:, :, 0], [("cut", zero, above[:, :, 0]), *named]


def _gaussian(
    joint: Joint, position: Tensor, values: Values
) -> tuple[Array, list[tuple[str, Ints, Array]]]:
    """Two columns in place of the answers: what is known of the mean, and of the spread."""
    n, noise = len(position), joint.noise(values).item()
    scores = np.column_stack([np.full(n, 1 / noise), np.zeros(n)])
    named = [("level", np.zeros(n, np.int64), scores)]
    if "log_sd" in joint.parts:
        rises = np.exp(2 * values["log_sd"].item()) / noise**2
        hard = values[PROMPTS][joint.prompt[joint.scalar.item]].numpy()
        spread = np.column_stack([hard * rises, np.full(n, np.sqrt(2) * rises)])
        named.append(("log_sd", np.zeros(n, np.int64), spread))
    return scores, named


def _binary_scores(margin: Tensor) -> Array:
    """(n, 2), of yes and no, by the log-odds of yes."""
    p = torch.sigmoid(margin).numpy()
    return np.column_stack([np.sqrt(p) * (1 - p), -np.sqrt(1 - p) * p])


def _ordinal_scores(position: Tensor, cuts: Tensor) -> Array:
    """(n, K, K-1), of each answer by each cut; by the position they are minus their sum."""
    root = (terms.cumulative(position, cuts) / 2).exp().clamp(min=1e-150).numpy()
    below = torch.sigmoid(cuts[None] - position[:, None])
    density = (below * (1 - below)).numpy()
    n, k = density.shape
    scores, j = np.zeros((n, k + 1, k)), np.arange(k)
    scores[:, j, j] = density / root[:, :-1]
    scores[:, j + 1, j] = -density / root[:, 1:]
    return scores
