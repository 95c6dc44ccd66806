"""Simulated worlds in which the true reward is known: what is learned can be held against it.

The answers are drawn by formulas written out here, not by the code that is tested.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from data.stats.intervals import Bools, Ints
from reward_model.dataset.examples import Binary, Examples, Pairs, Scalar, rows

Array = NDArray[np.float64]
CUTS = np.array([-4.2, -3.4, -2.7, -2.0, -1.3, -0.5, 0.4, 1.5, 2.8])


@dataclass
class Crowd:
    """Annotators (A,) and what they have in common."""

    consistency: Array
    side: Array
    tie: Array
    threshold: Array
    offset: Array
    scale: Array
    first: float = 0.25
    log_tie: float = float(np.log(0.6))
    bar: float = -0.3
    binary_gain: float = 0.0
    scalar_gain: float = 0.0
    cuts: Array = field(default_factory=lambda: CUTS.copy())
    strength_cuts: tuple[float, float] | None = None
    strength_slope: float = 0.0

    def __len__(self) -> int:
        return len(self.consistency)


@dataclass
class World:
    features: Array
    """(P * K, d)"""
    each: int
    """Completions of a prompt."""
    reward: Array
    """(P * K,)"""
    hard: Array
    """Difficulties (P,)."""
    crowd: Crowd
    tastes: Array
    """What each annotator makes of each completion (A, P * K); the reward, unless they differ."""
    judges: int = 1
    """Annotators who are asked about one pair, one after the other."""
    pair_noise: float = 0.0
    """Standard deviation of what all who judge a pair see in it, and no feature shows; logits."""
    heavy: float = 0.0
    """Scale of noise in each judgement that no likelihood here knows: Student's t with two degrees
    of freedom, in logits."""

    @property
    def prompt(self) -> Ints:
        return np.repeat(np.arange(len(self.hard)), self.each)


def draw_annotators(rng: np.random.Generator, people: int, careless: bool = True) -> Crowd:
    """Annotators who differ; the last one hardly looks."""
    found = Crowd(
        consistency=0.3 * rng.normal(size=people),
        side=np.zeros(people),
        tie=np.zeros(people),
        threshold=0.8 * rng.normal(size=people),
        offset=0.8 * rng.normal(size=people),
        scale=0.35 * rng.normal(size=people),
    )
    if careless:
        found.consistency[-1] = found.scale[-1] = np.log(0.15)
    return found


def world(
    seed: int,
    prompts: int = 500,
    each: int = 4,
    dims: int = 24,
    width: int | None = None,
    people: int = 6,
    own: float = 0.0,
    careless: bool = True,
) -> World:
    """A linear reward of spread about 1.8 in `dims` numbers of a completion.

    width: spread those over so many features, with noise. own: how far annotators' tastes part.
    careless: whether one of them hardly looks.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(prompts, each, dims)) + 0.7 * rng.normal(size=(prompts, 1, dims))
    x = x.reshape(-1, dims)
    taste = rng.normal(size=dims)
    taste *= 1.5 / np.linalg.norm(taste)
    reward = x @ taste
    hard = 0.5 * rng.normal(size=prompts)
    who = draw_annotators(rng, people, careless)
    apart = own * rng.normal(size=(people, dims)) * 1.5 / np.sqrt(dims)
    tastes = reward + (apart - apart.mean(0)) @ x.T
    features = x
    if width is not None:
        features = x @ rng.normal(size=(dims, width)) / np.sqrt(dims)
        features = features + 0.3 * rng.normal(size=features.shape)
    return World(features, each, reward, hard, who, tastes)


def draw_judgements(
    world: World, rng: np.random.Generator, pairs: int, binary: int, scalar: int, prompts: int
) -> Examples:
    """So many judgements of each kind, of random completions of the first `prompts` prompts."""
    return Examples(
        tuple(range(len(world.reward))),  # type: ignore[arg-type]
        world.prompt,
        tuple(str(i) for i in range(len(world.crowd))),
        _pairs(world, rng, pairs, prompts),
        _binary(world, rng, binary, prompts),
        _scalar(world, rng, scalar, prompts),
    )


def first(examples: Examples, n: int) -> Examples:
    """The first n judgements of each kind."""
    e, places = examples, np.arange(n)
    return Examples(
        e.completions,
        e.prompt,
        e.annotators,
        rows(e.pairs, places[: len(e.pairs)]),
        rows(e.binary, places[: len(e.binary)]),
        rows(e.scalar, places[: len(e.scalar)]),
    )


def _pairs(world: World, rng: np.random.Generator, n: int, prompts: int) -> Pairs:
    them, person = world.crowd, rng.integers(len(world.crowd), size=n)
    one, other = _two(rng, n, world.each)
    prompt = rng.integers(prompts, size=n) * world.each
    a, b, side = prompt + one, prompt + other, rng.choice([-1.0, 1.0], n)
    asked = np.arange(n) % world.judges
    begin = np.arange(n) - asked  # the row of the first who was asked about the same pair
    a, b, person = a[begin], b[begin], (person[begin] + asked) % len(them)
    apart = world.tastes[person, a] - world.tastes[person, b]
    d = np.exp(them.consistency[person]) * apart + (them.first + them.side[person]) * side
    d = d + _unknown(world, rng, n)
    if world.pair_noise:
        d = d + world.pair_noise * rng.normal(size=n)[begin]
    odds = np.exp(np.stack([d / 2, -d / 2, them.log_tie + them.tie[person]], 1))
    edge = np.cumsum(odds, 1) / odds.sum(1, keepdims=True)
    outcome = (rng.random(n)[:, None] > edge[:, :2]).sum(1)
    strength = np.zeros(n, np.int64)
    if them.strength_cuts is not None:
        towards = np.exp(them.strength_slope) * np.where(outcome == 0, d, -d)
        felt = towards + rng.logistic(size=n)
        levels = 1 + (felt[:, None] > np.array(them.strength_cuts)).sum(1)
        strength = np.where(outcome < 2, levels, 0)
    return Pairs(a, b, outcome, side, strength, person)


def _unknown(world: World, rng: np.random.Generator, n: int) -> Array:
    """Noise (n,) that no likelihood here knows."""
    return world.heavy * rng.standard_t(2, size=n) if world.heavy else np.zeros(n)


def _two(rng: np.random.Generator, n: int, each: int) -> tuple[Ints, Ints]:
    one = rng.integers(each, size=n)
    return one, (one + 1 + rng.integers(each - 1, size=n)) % each


def _binary(world: World, rng: np.random.Generator, n: int, prompts: int) -> Binary:
    them, person = world.crowd, rng.integers(len(world.crowd), size=n)
    item = rng.integers(prompts * world.each, size=n)
    above = world.tastes[person, item] - them.bar - them.threshold[person]
    margin = np.exp(them.consistency[person] + them.binary_gain) * above
    margin = margin + world.hard[world.prompt[item]] + _unknown(world, rng, n)
    good = rng.random(n) < expit(margin)
    return Binary(item, good.astype(np.int64), person)


def _scalar(world: World, rng: np.random.Generator, n: int, prompts: int) -> Scalar:
    them, person = world.crowd, rng.integers(len(world.crowd), size=n)
    item = rng.integers(prompts * world.each, size=n)
    place = np.exp(them.scale[person] + them.scalar_gain) * world.tastes[person, item]
    place = place + them.offset[person] + world.hard[world.prompt[item]]
    place = place + _unknown(world, rng, n)
    felt = place + rng.logistic(size=n)
    return Scalar(item, 1 + (felt[:, None] > them.cuts).sum(1), person)


def unseen(world: World, prompts: int) -> tuple[Ints, Ints]:
    """Places of both completions in every pair of the prompts from `prompts` on."""
    one, other = np.triu_indices(world.each, 1)
    first = np.arange(prompts, len(world.hard))[:, None] * world.each
    return (first + one).ravel(), (first + other).ravel()


def accuracy(world: World, rewards: Array, prompts: int) -> float:
    """Share of the pairs of unseen prompts that rewards (N,) order as the true reward does."""
    a, b = unseen(world, prompts)
    same = np.sign(rewards[a] - rewards[b]) == np.sign(world.reward[a] - world.reward[b])
    return float(same.mean())


def calibration_error(prediction: Array, truth: Array, bins: int = 10) -> float:
    """Expected |P(said) - P(true)| (Naeini 2015), both for the side that is thought likelier."""
    said, true = (
        np.maximum(prediction, 1 - prediction),
        np.where(prediction > 0.5, truth, 1 - truth),
    )
    at = np.minimum(((said - 0.5) * 2 * bins).astype(int), bins - 1)
    here: list[Bools] = [at == i for i in range(bins)]
    return float(sum(abs(said[h].mean() - true[h].mean()) * h.mean() for h in here if h.any()))
