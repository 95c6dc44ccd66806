"""Advantages of a group: GRPO's formula, other scales, groups below their noise."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from grpo.trainer.advantages import TINY, advantages

REWARDS = torch.tensor([[1.0, 2.0, 3.0, 6.0], [0.0, 0.1, 0.0, 0.1], [5.0, 5.0, 5.0, 5.0]])
NONE = torch.zeros(3)


def test_group_scale_is_grpos_formula():
    found, kept = advantages(REWARDS, NONE, "group")
    for i in (0, 1):
        row = REWARDS[i].numpy()
        want = (row - row.mean()) / (row.std(ddof=1) + TINY)
        assert np.allclose(found[i], want, atol=1e-6)
    assert kept.tolist() == [True, True, False] and not found[2].any()


def test_batch_scale_divides_by_the_whole_steps_spread():
    found, _ = advantages(REWARDS, NONE, "batch")
    spread = REWARDS.flatten().std()
    assert torch.allclose(found[0], (REWARDS[0] - 3) / (spread + TINY))
    other, _ = advantages(REWARDS, NONE, "batch", torch.tensor(10.0))
    assert torch.allclose(other[0], (REWARDS[0] - 3) / (10 + TINY))
    plain, _ = advantages(REWARDS, NONE, "none")
    assert torch.equal(plain[0], REWARDS[0] - 3)


def test_a_group_below_its_noise_is_dropped():
    found, kept = advantages(REWARDS, torch.tensor([0.5, 0.5, 0.5]), "group")
    assert kept.tolist() == [True, False, False]
    assert found[0].any() and not found[1:].any()


@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=4, max_size=4), min_size=1, max_size=5),
    st.sampled_from(["group", "batch", "none"]),
    st.floats(0, 5),
)
def test_advantages_are_finite_and_centred(rows, scale, floor):
    rewards = torch.tensor(rows, dtype=torch.float64)
    found, kept = advantages(rewards, torch.full((len(rows),), floor).double(), scale)
    assert torch.isfinite(found).all()
    assert torch.allclose(found.mean(1), torch.zeros(len(rows)).double(), atol=1e-6)
    assert not found[~kept].any()
