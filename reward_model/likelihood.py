"""Losses of the reward model: pure functions of rewards and judgements."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bradley_terry(reward_a: Tensor, reward_b: Tensor, outcome: Tensor) -> Tensor:
    """Negative log-likelihood of comparisons, in nats, summed.

        -[ outcome log sigma(r_a - r_b) + (1 - outcome) log sigma(r_b - r_a) ]

    reward_a, reward_b, outcome: (N,). outcome is 1 where a was better, 0 where b was, and 0.5 for a
    tie, which counts as half a win each way. Bradley and Terry 1952, Biometrika 39:324.
    """
    difference = (reward_a - reward_b).float()
    return -(outcome * F.logsigmoid(difference) + (1 - outcome) * F.logsigmoid(-difference)).sum()


def regression(reward: Tensor, target: Tensor) -> Tensor:
    """Squared error, summed and halved: a Gaussian's negative log-likelihood at unit variance.

    reward, target: (N,).
    """
    return 0.5 * torch.square(reward.float() - target).sum()
