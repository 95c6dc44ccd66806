"""Advantages: how much better than its group a completion is; and groups that teach nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from grpo.config import AdvantageScale

TINY = 1e-4
"""Added to what is divided by, as TRL does."""


def advantages(
    rewards: Tensor, floor: Tensor, scale: AdvantageScale, spread: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(advantages (G, n), whether each group is kept (G,)) of G groups' rewards (G, n).

    A group whose standard deviation is at or below its `floor` (G,) is dropped: its advantages are
    0. `spread`: the standard deviation of all rewards of the step, for scale "batch"; that of these
    where it is not given.

    Group scale: Shao et al. 2024, arXiv:2402.03300, 4.1.1. Batch scale: Liu et al. 2025,
    arXiv:2508.08221. None: Liu et al. 2025, arXiv:2503.20783, 3.2.
    """
    own = rewards.std(1)
    kept = own > floor
    centred = torch.where(kept[:, None], rewards - rewards.mean(1, keepdim=True), 0.0)
    return centred / divisors(rewards, scale, spread)[:, None], kept


def divisors(rewards: Tensor, scale: AdvantageScale, spread: Tensor | None = None) -> Tensor:
    """What the distances from each group's mean are divided by (G,); see `advantages`."""
    if scale == "none":
        return rewards.new_ones(len(rewards))
    if scale == "group":
        return rewards.std(1) + TINY
    whole = rewards.flatten().std() if spread is None else spread.to(rewards)
    return (whole + TINY).expand(len(rewards))
