"""Heads of other prompts: where one Newton step takes them, and intervals that know of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.schema import JsonObject
from reward_model.config import OBJECTIVES, Objective
from reward_model.evaluation.cross_validation import Model, Predictions, cross_validate
from reward_model.evaluation.retraining import RetrainedHeads
from reward_model.likelihood.fit import fit_head
from reward_model.receipt.build import ReceiptInputs, receipt
from tests.benchmarks.intervals import accuracy, coverage
from tests.reward_model.evaluation.receipts import Array, evidence, tell

PRECISION = 3.0


def retraining(
    weights: Array, objective: Objective = "joint"
) -> tuple[RetrainedHeads, Predictions]:
    """Of a head on 40 prompts with judgements of every kind."""
    told = tell(prompts=40)
    examples, model = told.examples(), Model(objective)
    features = told.table(examples)
    fit = fit_head(features, model.joint(examples), PRECISION)
    crossed = cross_validate(model, features, examples, PRECISION)
    return RetrainedHeads.of(model, examples, fit, weights), crossed


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_goes_where_a_fit_without_the_prompt_goes(objective: Objective) -> None:
    """But for the rewards' scale, on which gains and noise may answer instead."""
    made, crossed = retraining(np.ones((40, 40)) - np.eye(40), objective)
    moved = made.rewards(crossed.reward, crossed.heads) - crossed.reward
    features, stepped, fitted = tell(prompts=40).table(made.examples), [], []
    for left_out in range(4):
        for head in crossed.heads:
            train = head.train & (made.examples.prompt != left_out)
            if (train == head.train).all():
                continue
            joint = made.model.joint(made.examples.where(train))
            fit = fit_head(features, joint, PRECISION, start=head.fit)
            before = crossed.reward[head.test]
            for kept, after in ((stepped, moved[left_out]), (fitted, fit.rewards(features))):
                way = after[head.test] - (before if kept is fitted else 0)
                kept.append(way - before * (before @ way) / (before @ before))
    one, other = np.concatenate(stepped), np.concatenate(fitted)
    assert np.corrcoef(one, other)[0, 1] > 0.8, np.corrcoef(one, other)
    assert np.linalg.norm(one) / np.linalg.norm(other) == pytest.approx(1, abs=0.4)


def test_a_prompt_never_moves_the_head_that_is_asked_about_it() -> None:
    made, crossed = retraining(np.ones((40, 40)) + 3 * np.eye(40))
    moved = made.rewards(crossed.reward, crossed.heads) - crossed.reward
    for head in crossed.heads:
        for prompt in np.unique(made.examples.prompt[head.test]):
            assert (moved[prompt][head.test] == 0).all() and (moved[prompt][~head.test] != 0).any()


def test_weights_of_1_change_nothing_that_is_predicted() -> None:
    made, crossed = retraining(np.ones((2, 40)))
    for found in made.predictions(crossed):
        for name in ("reward", "pairs", "binary", "scalar"):
            assert np.allclose(getattr(found, name), getattr(crossed, name), atol=1e-12)


def test_a_released_model_is_one_model() -> None:
    """What it was trained on is no matter of chance: its intervals are about other questions."""
    made, crossed = retraining(np.ones((2, 40)))
    assert made.predictions(replace(crossed, heads=())) == []


@pytest.fixture(scope="module")
def unsettled() -> ReceiptInputs:
    """A weak taste in eight numbers: other prompts make other heads."""
    return evidence(tell(prompts=30, pairs=5, ratings=3, binary=3, dims=8, taste=0.8))


def alone(made: ReceiptInputs) -> ReceiptInputs:
    """The same, but what the heads were trained on is taken as it is."""
    assert made.crossed is not None
    return replace(made, crossed=replace(made.crossed, heads=()))


def width(figure: JsonObject) -> float:
    return float(figure["high"] - figure["low"])


def test_every_cross_validated_figure_knows_of_other_heads(unsettled: ReceiptInputs) -> None:
    """Intervals are wider than without, none is narrower, and values stay."""
    known, without = receipt(unsettled), receipt(alone(unsettled))
    wider = {}
    for name, one in known["scores"]["crossed"].items():
        other = without["scores"]["crossed"][name]
        assert one["value"] == other["value"]
        wider[name] = width(one) / width(other)
    assert min(wider.values()) >= 1 and sum(x > 1.05 for x in wider.values()) >= 8, wider
    for part in ("pairs", "binary"):
        assert width(known["calibration"][part]["brier"]) >= width(
            without["calibration"][part]["brier"]
        )
    today, before = (x["held_out"] for x in (known, without))
    assert width(today["accuracy"]) > 1.05 * width(before["accuracy"])
    assert width(today["lead"]) > 1.02 * width(before["lead"])
    points, alone_points = (x["learning"]["points"] for x in (known, without))
    assert points[-1]["low"] == today["accuracy"]["low"]
    assert width(points[-1]) > width(alone_points[-1])


def test_intervals_hold_the_accuracy_where_tastes_differ_by_prompt() -> None:
    """tests.benchmarks.intervals in short; there, of 250 samples, 85% and 95%."""
    found = [accuracy(seed, prompts=12) for seed in range(30)]
    shown, without = coverage(found, float(np.mean([one.value for one in found])))
    assert without < shown and shown >= 28
