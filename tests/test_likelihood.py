"""The losses against hand values, TRL's own, finite differences, and plain torch."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from reward_model.likelihood import bradley_terry, regression

A = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
B = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)


def test_bradley_terry_by_hand():
    loss = bradley_terry(A[:1], B[:1], torch.tensor([1.0]))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-0.2)), abs=1e-7)


def test_bradley_terry_is_trls_loss_where_nothing_ties():
    """RewardTrainer: -logsigmoid(chosen - rejected).mean()."""
    ours = bradley_terry(A.float(), B.float(), torch.ones(3)) / 3
    assert float(ours) == float(-F.logsigmoid(A.float() - B.float()).mean())


def test_a_tie_is_half_a_win_each_way():
    tie = bradley_terry(A, B, torch.full((3,), 0.5))
    both = bradley_terry(A, B, torch.ones(3)) + bradley_terry(A, B, torch.zeros(3))
    assert float(tie) == pytest.approx(float(both) / 2, rel=1e-6)


def test_regression_is_half_the_squared_error():
    assert float(regression(A, B)) == pytest.approx(1.5 * float(F.mse_loss(A, B)), rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [lambda r: bradley_terry(r, B, torch.tensor([1.0, 0.0, 0.5])), lambda r: regression(r, B)],
)
def test_gradients_against_finite_differences(loss):
    reward = A.clone().requires_grad_()
    loss(reward).backward()
    step = 1e-2
    for i in range(3):
        up, down = A.clone(), A.clone()
        up[i] += step
        down[i] -= step
        slope = (float(loss(up)) - float(loss(down))) / (2 * step)
        assert float(reward.grad[i]) == pytest.approx(slope, abs=2e-4)
