"""The joint likelihood: by hand, its gradients, and its Fisher information."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reward_model.benchmark.worlds import Crowd, World, draw_judgements, world
from reward_model.config import OBJECTIVES, Objective, ScalarLink
from reward_model.dataset.examples import Binary, Examples, Pairs, Scalar
from reward_model.likelihood.annotators_and_prompts import DIFFICULTY, RATINGS, Values
from reward_model.likelihood.fisher import information
from reward_model.likelihood.joint import Joint

LINKS: tuple[ScalarLink, ...] = ("ordinal", "gaussian")


def small(strengths: bool, seed: int = 0, n: int = 12) -> tuple[World, Examples]:
    made = world(seed, prompts=4, each=3, dims=3, people=3)
    if strengths:
        made.crowd.strength_cuts = (0.3, 1.5)
    return made, draw_judgements(made, np.random.default_rng(seed), n, n, n, 4)


def anywhere(joint: Joint, seed: int = 0) -> Values:
    """Values about their prior means, whose averages are where they are held."""
    rng = np.random.default_rng(seed)
    values = {
        name: value + 0.3 * torch.from_numpy(rng.normal(size=len(value)))
        for name, value in joint.start().items()
    }
    for name, parts in joint.pinned(values).items():
        values[name] -= parts.sum().log()
    return values


def flat(values: Values) -> torch.Tensor:
    return torch.cat(list(values.values())) if values else torch.zeros(0, dtype=torch.float64)


def unflat(vector: torch.Tensor, joint: Joint) -> Values:
    sizes = [p.size for p in joint.parts.values()]
    return dict(zip(joint.parts, vector.split(sizes), strict=True))


# -- by hand


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_every_part_by_hand() -> None:
    """One judgement of each kind, with every parameter away from its default."""
    examples = Examples(
        (), ints(0, 0), ("ann", "bob"),
        Pairs(ints(0), ints(1), ints(1), np.array([-1.0]), ints(2), ints(1)),
        Binary(ints(0), ints(1), ints(1)),
        Scalar(ints(1), ints(3), ints(0)),
    )  # fmt: skip
    joint, r = Joint(examples), tensor(0.5, -0.4)
    values = {
        "first": tensor(0.2), "log_tie": tensor(-0.7), "strength_cut": tensor(0.1),
        "strength_gap": tensor(0.4), "strength_slope": tensor(0.3), "bar": tensor(0.25),
        "binary_gain": tensor(0.15), "cut": tensor(-3.0), "gaps": torch.full((8,), -0.2).double(),
        "scalar_gain": tensor(-0.1), "consistency": tensor(0.0, 0.4), "side": tensor(0.0, -0.05),
        "tie": tensor(0.0, 0.35), "threshold": tensor(0.0, 0.6), "offset": tensor(0.9, 0.0),
        "scale": tensor(0.2, 0.0), DIFFICULTY: tensor(0.3),
    }  # fmt: skip
    assert set(values) == set(joint.parts)

    def sigma(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    d = math.exp(0.4) * 0.9 - (0.2 - 0.05)
    odds = [math.exp(d / 2), math.exp(-d / 2), math.exp(-0.7 + 0.35)]
    towards = math.exp(0.3) * -d
    clearly = sigma(0.1 + math.exp(0.4) - towards) - sigma(0.1 - towards)
    good = sigma(math.exp(0.4 + 0.15) * (0.5 - 0.25 - 0.6) + 0.3)
    place = math.exp(0.2 - 0.1) * -0.4 + 0.9 + 0.3
    three = sigma(-3 + 2 * math.exp(-0.2) - place) - sigma(-3 + math.exp(-0.2) - place)
    hand = -math.log(odds[1] / sum(odds)) - math.log(clearly) - math.log(good) - math.log(three)
    assert float(joint.nll(r, values)) == pytest.approx(hand, rel=1e-6)

    gaussian = Joint(replace(examples, pairs=Pairs(), binary=Binary()), scalar="gaussian")
    more = {"level": tensor(5.0), "log_sd": tensor(0.5), **values}
    sd = math.sqrt(math.exp(1.0) + 1 / 12)
    expected = 5 + math.exp(0.2) * -0.4 + 0.9 + sd * 0.3
    hand = 0.5 * ((3 - expected) / sd) ** 2 + math.log(sd) + 0.5 * math.log(2 * math.pi)
    kept = {name: more[name] for name in gaussian.parts}
    assert float(gaussian.nll(r, kept)) == pytest.approx(hand, rel=1e-12)


def test_the_prior_by_hand() -> None:
    _, examples = small(False)
    joint = Joint(examples, "binary")
    values = joint.start()
    assert float(joint.prior(values)) == 0
    values["bar"] = tensor(1.0)
    values["threshold"][0] = 2.0
    values["consistency"][0] = 0.3
    share = float(np.mean(examples.binary.annotator == 0))
    average = share * np.exp(0.3) + 1 - share
    hand = 0.5 * (1 / 2) ** 2 + 0.5 * 2**2 + 0.5 * (0.3 / 0.8) ** 2
    hand += 0.5 * (np.log(average) / 0.01) ** 2
    assert float(joint.prior(values)) == pytest.approx(hand, rel=1e-12)


def test_gains_have_a_prior_that_weighs_as_much_more_as_the_weights() -> None:
    _, examples = small(False)
    joint = Joint(examples)
    values = joint.start()
    values["scalar_gain"] += 0.5
    assert float(joint.prior(values, 3.0)) == pytest.approx(3 * float(joint.prior(values)))
    values = joint.start()
    values["side"] += 0.5
    assert float(joint.prior(values, 3.0)) == pytest.approx(float(joint.prior(values)))


def test_parts_follow_the_kinds_that_there_are() -> None:
    _, examples = small(True)
    both = Joint(examples)
    assert {"binary_gain", "scalar_gain", "strength_cut", DIFFICULTY} <= set(both.parts)
    alone = Joint(replace(examples, pairs=Pairs()))
    assert "binary_gain" not in alone.parts and "first" not in alone.parts
    assert set(Joint(examples, "bradley_terry").parts) == {
        "first", "log_tie", "strength_cut", "strength_gap", "strength_slope", "consistency",
        "side", "tie",
    }  # fmt: skip
    assert Joint(examples, "regression", effects=False).parts.keys() == {"level"}
    nothing = Joint(Examples())
    assert len(nothing) == 0 and float(nothing.nll(torch.zeros(0).double(), nothing.start())) == 0


@pytest.mark.parametrize("effects", [True, False])
@pytest.mark.parametrize("link", LINKS)
def test_batches_of_prompts_add_up_to_the_whole(link: ScalarLink, effects: bool) -> None:
    """A batch may lack a kind: the gains that the whole has must count in it all the same."""
    made, examples = small(True, n=6)
    one = Binary(ints(0), ints(1), ints(0))
    examples = replace(examples, binary=one, pairs=Pairs(ints(3), ints(4), ints(0), np.ones(1),
                                                         ints(1), ints(0)))  # fmt: skip
    joint = Joint(examples, scalar=link, effects=effects)
    values, r = anywhere(joint), torch.from_numpy(made.reward)
    parts = 0.0
    for prompt in range(4):
        batch = Joint(examples.where(examples.prompt == prompt), scalar=link, effects=effects)
        parts += float(batch.nll(r, values))
    assert parts == pytest.approx(float(joint.nll(r, values)), rel=1e-10)


# -- gradients


@pytest.mark.parametrize("strengths", [True, False])
@pytest.mark.parametrize("effects", [True, False])
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_against_finite_differences(
    objective: Objective, link: ScalarLink, effects: bool, strengths: bool
) -> None:
    made, examples = small(strengths)
    joint = Joint(examples, objective, link, effects)
    rewards, start = torch.from_numpy(made.reward), anywhere(joint)

    def loss(r: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        values = unflat(vector, joint)
        return joint.nll(r, values) + joint.prior(values)

    inputs = (rewards.clone().requires_grad_(), flat(start).requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


# -- Fisher information


def _possible(examples: Examples, joint: Joint) -> list[tuple[str, int, list[Examples]]]:
    """For each judgement, the examples that hold it alone, once with each answer it might have."""
    found = []
    p, b, s = joint.pairs, joint.binary, joint.scalar
    bare = replace(examples, pairs=Pairs(), binary=Binary(), scalar=Scalar())
    for i in range(len(p)):
        one = slice(i, i + 1)
        ways = [Pairs(p.a[one], p.b[one], ints(o), p.side[one], ints(0), p.annotator[one])
                for o in range(3 if joint.effects else 2)]  # fmt: skip
        found.append(("pairs", i, [replace(bare, pairs=w) for w in ways]))
    for i in range(len(b)):
        one = slice(i, i + 1)
        found.append(("binary", i, [
            replace(bare, binary=Binary(b.item[one], ints(g), b.annotator[one])) for g in (0, 1)
        ]))  # fmt: skip
    for i in range(len(s)):
        one = slice(i, i + 1)
        found.append(("scalar", i, [
            replace(bare, scalar=Scalar(s.item[one], ints(q), s.annotator[one]))
            for q in range(1, RATINGS + 1)
        ]))  # fmt: skip
    return found


def _expected_information(
    joint: Joint, examples: Examples, z: torch.Tensor, at: torch.Tensor, m: int, effects: bool
) -> torch.Tensor:
    """Sum over judgements and answers of P(answer) score score', by autograd."""
    total = torch.zeros(len(at), len(at), dtype=torch.float64)
    options = ("joint", "ordinal", effects)
    for kind, i, ways in _possible(examples, joint):
        for way in ways:
            alone = Joint(way, *options)  # type: ignore[arg-type]

            def nll(theta: torch.Tensor, alone: Joint = alone) -> torch.Tensor:
                return alone.nll(z @ theta[:m], unflat(theta[m:], joint))

            score = torch.func.grad(nll)(at)
            total += torch.exp(-nll(at)) * torch.outer(score, score)
        if kind == "pairs" and joint.pairs.strength[i]:
            total += _about_strength(joint, examples, z, at, m, i)
    return total


def _about_strength(
    joint: Joint, examples: Examples, z: torch.Tensor, at: torch.Tensor, m: int, i: int
) -> torch.Tensor:
    """What the three strengths of the side that was chosen add."""
    one, p = slice(i, i + 1), joint.pairs
    total = torch.zeros(len(at), len(at), dtype=torch.float64)

    def nll(theta: torch.Tensor, strength: int) -> torch.Tensor:
        pair = Pairs(p.a[one], p.b[one], p.outcome[one], p.side[one], ints(strength),
                     p.annotator[one])  # fmt: skip
        way = Joint(replace(examples, pairs=pair, binary=Binary(), scalar=Scalar()))
        return way.nll(z @ theta[:m], unflat(theta[m:], joint))

    for strength in (1, 2, 3):

        def added(theta: torch.Tensor, strength: int = strength) -> torch.Tensor:
            return nll(theta, strength) - nll(theta, 0)

        score = torch.func.grad(added)(at)
        total += torch.exp(-added(at)) * torch.outer(score, score)
    return total


@pytest.mark.parametrize("effects", [True, False])
def test_information_against_every_answer_that_might_have_been(effects: bool) -> None:
    """The whole matrix by autograd, inverted; from it the posterior's standard deviations."""
    made, examples = small(effects, n=8)
    joint = Joint(examples, effects=effects)
    values, m, precision = anywhere(joint), made.features.shape[1], 3.0
    z = torch.from_numpy(made.features)
    w = torch.tensor([0.5, -0.8, 0.3], dtype=torch.float64)
    at = torch.cat([w, flat(values)])
    matrix = _expected_information(joint, examples, z, at, m, effects)
    matrix[:m, :m] += precision * torch.eye(m, dtype=torch.float64)
    prior = torch.func.hessian(lambda v: joint.prior(unflat(v, joint), 2.5))(flat(values))
    matrix[m:, m:] += prior
    covariance = np.linalg.inv(matrix.numpy())

    found = information(joint, z, z @ w, values, precision, 2.5)
    assert np.allclose(found.weights_factor @ found.weights_factor.T, covariance[:m, :m], rtol=1e-6)
    place = m
    for name, part in joint.parts.items():
        if name != DIFFICULTY:
            here = np.sqrt(np.diag(covariance)[place : place + part.size])
            assert np.allclose(found.sd[name], here, rtol=1e-6), name
        place += part.size
    # its coordinates: a step of length one there has a curvature of one
    steps = np.array([found.step(row) for row in np.eye(len(at))])
    assert np.allclose(steps @ matrix.numpy() @ steps.T, np.eye(len(at)), atol=1e-7)
    g = np.random.default_rng(0).normal(size=len(at))
    assert np.allclose(found.gradient(g), steps @ g)


def test_information_of_a_gaussian_by_monte_carlo() -> None:
    """Scores of simulated ratings: their covariance is the information."""
    made, examples = small(False, n=5)
    examples = replace(examples, pairs=Pairs(), binary=Binary())
    joint = Joint(examples, scalar="gaussian")
    values, z = anywhere(joint), torch.from_numpy(made.features)
    w = torch.tensor([0.5, -0.8, 0.3], dtype=torch.float64)
    at, m = torch.cat([w, flat(values)]), 3
    place, sd = joint.position(z @ w, values), joint.noise(values)
    rng, total, n = np.random.default_rng(0), np.zeros((len(at),) * 2), 1500
    for _ in range(n):
        joint._rating = place + sd * torch.from_numpy(rng.normal(size=len(place)))
        score = torch.func.grad(lambda t: joint.nll(z @ t[:m], unflat(t[m:], joint)))(at).numpy()
        total += np.outer(score, score) / n
    total[:m, :m] += 3 * np.eye(m)
    total[m:, m:] += torch.func.hessian(lambda v: joint.prior(unflat(v, joint)))(at[m:]).numpy()
    found = information(joint, z, z @ w, values, 3.0)
    steps = np.array([found.step(row) for row in np.eye(len(at))])
    assert np.abs(steps @ total @ steps.T - np.eye(len(at))).max() < 0.15


def test_leverages_add_up_to_the_effective_number_of_weights() -> None:
    """Of pairs without effects: trace of (F + precision)^-1 F."""
    made, examples = small(False)
    joint = Joint(examples, "bradley_terry", effects=False)
    z = torch.from_numpy(made.features)
    found = information(joint, z, torch.zeros(len(z)).double(), {}, 2.0)
    x = made.features[examples.pairs.a] - made.features[examples.pairs.b]
    told = x.T @ x / 4
    effective = np.trace(np.linalg.solve(told + 2 * np.eye(3), told))
    assert found.leverage.sum() == pytest.approx(effective)


def test_a_worlds_answers_are_those_of_the_model() -> None:
    """What simulates and what is fitted agree: the truth explains answers as well as it says."""
    made = world(0, prompts=300, people=4)
    made.crowd = Crowd(*np.random.default_rng(1).normal(0, 0.3, size=(6, 4)),
                       binary_gain=0.3, scalar_gain=-0.2, strength_cuts=(0.5, 1.8),
                       strength_slope=0.2)  # fmt: skip
    examples = draw_judgements(made, np.random.default_rng(2), 3000, 3000, 3000, 300)
    joint, them = Joint(examples), made.crowd
    values = truth(joint, them, made.hard)
    found = float(joint.nll(torch.from_numpy(made.reward), values)) / 9000
    for name in ("first", "bar", "binary_gain", "scalar_gain", "log_tie", "strength_cut", "cut"):
        for way in (-0.4, 0.4):
            moved = values | {name: values[name] + way}
            assert float(joint.nll(torch.from_numpy(made.reward), moved)) / 9000 > found, name


def truth(joint: Joint, them: Crowd, hard: np.ndarray) -> Values:
    cuts = them.strength_cuts or (0.0, 1.0)
    known = {
        "first": [them.first], "log_tie": [them.log_tie], "strength_cut": [cuts[0]],
        "strength_gap": [np.log(cuts[1] - cuts[0])], "strength_slope": [them.strength_slope],
        "bar": [them.bar], "binary_gain": [them.binary_gain], "cut": them.cuts[:1],
        "gaps": np.log(np.diff(them.cuts)), "scalar_gain": [them.scalar_gain],
        "consistency": them.consistency, "side": them.side, "tie": them.tie,
        "threshold": them.threshold, "offset": them.offset, "scale": them.scale, DIFFICULTY: hard,
    }  # fmt: skip
    return {n: torch.tensor(np.asarray(known[n], float)) for n in joint.parts}
