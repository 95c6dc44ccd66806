"""Which features a head is fitted to is chosen inside the folds, and chance chooses nothing."""

from __future__ import annotations

import numpy as np
import pytest

from reward_model.evaluation.cross_validation import Model, cross_validate, folds
from reward_model.evaluation.feature_choice import Candidates, loss_by_prompt
from reward_model.likelihood.fit import Prior
from tests.reward_model.evaluation.receipts import tell

MODEL = Model()
UNIT = Prior(1.0)
"""Under which rewards have a variance of 1 before anything is judged."""


@pytest.fixture(scope="module")
def world():
    """(what was judged, features that tell the reward (N, d))."""
    told = tell(seed=3, prompts=60)
    examples = told.examples()
    return examples, told.table(examples)


def noise(like, seed):
    return np.random.default_rng(seed).normal(size=like.shape)


def test_what_predicts_better_is_chosen(world):
    examples, good = world
    choice = Candidates(MODEL, [noise(good, 1), good]).choose(examples, UNIT)
    assert choice.place == 1
    assert choice.gains[1] > choice.errors[1] > 0


def test_the_usual_is_kept_where_nothing_is_surely_better(world):
    examples, good = world
    others = [np.hstack([good, noise(good, seed)]) for seed in range(4)]
    choice = Candidates(MODEL, [good, *others]).choose(examples, UNIT)
    assert choice.place == 0 and choice.gains[0] == 0


def test_the_choice_is_paid_for(world):
    """Nothing tells the reward: whatever is chosen by chance predicts no better than a coin."""
    examples, good = world
    among = Candidates(MODEL, [noise(good, seed) for seed in range(5)])
    crossed, chosen = among.cross_validate(examples, Prior(10.0))
    assert len(chosen) == len(list(folds(examples)))
    plain = cross_validate(MODEL, noise(good, 0), examples, 1e6)
    assert crossed.nll / crossed.n > plain.nll / plain.n - 0.02


def test_folds_choose_what_is_better(world):
    examples, good = world
    among = Candidates(MODEL, [noise(good, 1), good])
    crossed, chosen = among.cross_validate(examples, UNIT)
    assert chosen == [1] * 5
    alone = cross_validate(MODEL, good, examples, among.all[1].size)
    assert crossed.nll == pytest.approx(alone.nll)


def test_losses_by_prompt_add_up_to_the_whole(world):
    examples, good = world
    crossed = cross_validate(Model("binary"), good, examples, 8.0)
    assert loss_by_prompt(examples, crossed).sum() == pytest.approx(crossed.nll, rel=1e-6)
