"""Predictions of judgements on unseen prompts, and the precision that is chosen by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reward_model.benchmark.worlds import World, draw_judgements, world
from reward_model.config import OBJECTIVES, Objective
from reward_model.dataset.examples import Binary, Examples, Pairs, Scalar
from reward_model.evaluation.cross_validation import (
    Model,
    cross_validate,
    folds,
    predict,
    prior_for,
)
from reward_model.likelihood.annotators_and_prompts import DIFFICULTY, DIFFICULTY_SD
from reward_model.likelihood.fit import Basis, fit_head
from tests.benchmarks.reward import precision_lost
from tests.reward_model.likelihood.test_joint import ints


def few(seed: int = 0, n: int = 60, prompts: int = 60) -> tuple[World, Examples]:
    made = world(seed, prompts=prompts, dims=8)
    return made, draw_judgements(made, np.random.default_rng(seed), n, n, n, prompts)


# -- predictions


@pytest.mark.parametrize("effects", [True, False])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_chances_add_up_and_what_an_objective_ignores_is_left_out(
    objective: Objective, effects: bool
) -> None:
    made, examples = few()
    model = Model(objective, effects=effects)
    found = cross_validate(model, made.features, examples, 8.0)
    kinds = {"pairwise": found.pairs.sum(1) if len(found.pairs) else found.pairs,
             "scalar": found.scalar.sum(1)}  # fmt: skip
    for kind, total in kinds.items():
        assert np.allclose(total, 1) if kind in _kinds(objective) else np.isnan(total).all()
    assert np.isnan(found.binary).all() == ("binary" not in _kinds(objective))
    assert np.isfinite(found.reward).all() and (found.sd > 0).all()
    assert found.n == 60 * len(_kinds(objective)) and np.isfinite(found.nll)


def _kinds(objective: Objective) -> set[str]:
    one = {"bradley_terry": "pairwise", "regression": "scalar", "binary": "binary"}
    return {"pairwise", "scalar", "binary"} if objective == "joint" else {one[objective]}


def test_a_new_prompts_difficulty_is_averaged_over() -> None:
    """Against a numerical average over the difficulties that a prompt may have."""
    examples = Examples((), ints(0), ("ann",), binary=Binary(ints(0), ints(1), ints(0)),
                        scalar=Scalar(ints(0), ints(8), ints(0)))  # fmt: skip
    model = Model()
    joint = model.joint(examples)
    values = joint.start() | {DIFFICULTY: torch.tensor([9.0], dtype=torch.float64)}
    found = predict(model, examples, np.array([1.3]), np.array([0.1]), values)
    drawn = DIFFICULTY_SD * np.random.default_rng(0).normal(size=20_000)
    r = torch.tensor([1.3], dtype=torch.float64)
    good, eight = [], []
    for u in np.quantile(drawn, np.linspace(0.005, 0.995, 100)):
        at = values | {DIFFICULTY: torch.tensor([u], dtype=torch.float64)}
        good.append(float(torch.sigmoid(joint.binary_margin(r, at))))
        alone = Model().joint(replace(examples, binary=Binary()))
        eight.append(float(torch.exp(-alone.nll(r, at))))
    assert found.binary[0] == pytest.approx(np.mean(good), abs=0.005)
    assert found.scalar[0, 7] == pytest.approx(np.mean(eight), abs=0.005)
    assert found.nll == pytest.approx(-np.log(found.binary[0]) - np.log(found.scalar[0, 7]))


def test_a_kind_that_was_not_learned_from_beside_it_keeps_its_gain() -> None:
    """Ratings alone, predicted by a fit to every kind: at the gain that the fit found."""
    made, examples = few()
    model = Model()
    fit = fit_head(made.features, model.joint(examples), 8.0)
    r = fit.rewards(made.features)
    both = predict(model, examples, r, r, fit.values)
    alone = replace(examples, pairs=Pairs(), binary=Binary())
    assert np.allclose(predict(model, alone, r, r, fit.values).scalar, both.scalar)


def test_predictions_are_calibrated() -> None:
    """Of many judgements, as many are good, and as many ratings are high, as was predicted."""
    made = world(1, prompts=300, dims=8)
    examples = draw_judgements(made, np.random.default_rng(1), 1000, 1000, 1000, 300)
    found = cross_validate(Model(), made.features, examples, 8.0)
    for said, was in (
        (found.pairs[:, 0], examples.pairs.outcome == 0),
        (found.pairs[:, 2], examples.pairs.outcome == 2),
        (found.binary, examples.binary.good == 1),
        (found.scalar[:, 6:].sum(1), examples.scalar.rating >= 7),
    ):
        for half in (said < np.median(said), said >= np.median(said)):
            error = np.sqrt((said * (1 - said))[half].sum()) / half.sum()
            assert abs(said[half].mean() - was[half].mean()) < 3.5 * error


# -- folds


def test_a_prompt_is_never_on_two_sides() -> None:
    _, examples = few()
    tested = np.zeros(len(examples.prompt), int)
    for train, test in folds(examples):
        assert not set(examples.prompt[train]) & set(examples.prompt[test])
        tested += test
    assert (tested == 1).all()


def test_a_prediction_is_made_without_its_prompt() -> None:
    """Judgements of one prompt turned round: what is predicted of that prompt stays."""
    made, examples = few()
    there = examples.prompt == 7
    b = examples.binary
    good = np.where(there[b.item], 1 - b.good, b.good)
    turned = replace(examples, binary=replace(b, good=good))
    one = cross_validate(Model("binary"), made.features, examples, 8.0)
    other = cross_validate(Model("binary"), made.features, turned, 8.0)
    assert (good != b.good).any()
    assert np.array_equal(one.reward[there], other.reward[there])
    assert not np.allclose(one.reward, other.reward)


def test_one_prompt_cannot_be_cross_validated() -> None:
    examples = Examples((), ints(0, 0), ("ann",), Pairs(ints(0), ints(1), ints(0), np.ones(1),
                                                         ints(0), ints(0)))  # fmt: skip
    x = np.array([[1.0, 0.0], [0.0, 2.0]])
    with pytest.raises(ValueError, match="needs judgements of two prompts: there is one"):
        cross_validate(Model(), x, examples, 1.0)
    size = np.square(Basis.of(x).coordinates(x)).sum(1)
    assert prior_for(Model(), x, examples).precision == pytest.approx(np.median(size))


# -- the precision


def test_the_precision_chosen_is_near_the_best() -> None:
    """Of five fixed ones, in accuracy on unseen prompts."""
    assert precision_lost(seed=0, n=20) < 0.05


def test_a_handful_of_judgements_does_not_carry_the_precision_away() -> None:
    """Rewards are then taken to spread by about 1, whatever chance says."""
    away = []
    for seed in range(3):
        made, examples = few(seed, n=2)
        size = np.median(np.square(Basis.of(made.features).coordinates(made.features)).sum(1))
        chosen = prior_for(Model(), made.features, examples).precision
        away.append(abs(np.log(size / chosen)))
    assert np.mean(away) < 1.4


def test_noise_asks_for_a_stronger_prior_than_signal() -> None:
    made, examples = few(n=150)
    b = examples.binary
    coin = np.random.default_rng(0).integers(2, size=len(b))
    noise = replace(examples, pairs=Pairs(), scalar=Scalar(), binary=replace(b, good=coin))
    signal = prior_for(Model("binary"), made.features, examples).precision
    noise_alone = prior_for(Model("binary"), made.features, noise)
    assert noise_alone.precision > 3 * signal


def test_choosing_can_be_stopped() -> None:
    made, examples = few()

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        prior_for(Model(), made.features, examples, stop)
    with pytest.raises(InterruptedError):
        cross_validate(Model(), made.features, examples, 1.0, stop)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_least_there_can_be(objective: Objective) -> None:
    """Two prompts, a judgement of each kind on each, one annotator."""
    examples = Examples(
        (), ints(0, 0, 1, 1), ("ann",),
        Pairs(ints(0, 2), ints(1, 3), ints(0, 2), np.ones(2), ints(0, 0), ints(0, 0)),
        Binary(ints(0, 2), ints(1, 1), ints(0, 0)), Scalar(ints(1, 3), ints(5, 5), ints(0, 0)),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(4, 6))
    prior = prior_for(Model(objective), x, examples)
    assert 0 < prior.precision < np.inf
    assert np.isfinite(cross_validate(Model(objective), x, examples, prior).nll)
