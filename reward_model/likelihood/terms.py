"""The likelihoods of the three kinds of judgement: pure functions of rewards, each with its source.

One scalar r(prompt, completion) explains them all. Everything is in nats and differentiable, and
works in whatever floating precision it is given.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def bradley_terry(reward_a: Tensor, reward_b: Tensor, outcome: Tensor) -> Tensor:
    """Negative log-likelihood of comparisons, in nats, summed.

        -[ outcome log sigma(r_a - r_b) + (1 - outcome) log sigma(r_b - r_a) ]

    reward_a, reward_b, outcome: (N,). outcome is 1 where a was better, 0 where b was, and 0.5 for a
    tie, which counts as half a win each way. Bradley and Terry 1952, Biometrika 39:324.
    """
    difference = reward_a - reward_b
    return -(outcome * F.logsigmoid(difference) + (1 - outcome) * F.logsigmoid(-difference)).sum()


def davidson(difference: Tensor, log_tie: Tensor) -> Tensor:
    """Log-probabilities (N, 3) that a is better, b is better, or neither.

        P(a) = e^(D/2) / Z,  P(b) = e^(-D/2) / Z,  P(tie) = v / Z

    difference D and log_tie = log v: (N,). Given that there is no tie, P(a) = sigma(D): the
    Bradley-Terry model. Davidson 1970, JASA 65:317.
    """
    half = difference / 2
    return torch.stack([half, -half, log_tie.expand_as(half)], 1).log_softmax(1)


def cumulative(position: Tensor, cuts: Tensor) -> Tensor:
    """Log-probabilities (N, K) of ordered answers 1..K.

        P(answer <= q) = sigma(c_q - position)

    position: (N,); cuts c: (K-1,), or (N, K-1), rising. McCullagh 1980, JRSS B 42:109. Differences
    of sigmoids are taken in logs, so answers far from the position keep a gradient.
    """
    gap = cuts - position[:, None]  # (N, K-1)
    lowest = F.logsigmoid(gap[:, :1])
    highest = F.logsigmoid(-gap[:, -1:])
    upper, lower = gap[:, 1:], gap[:, :-1]
    # log(sigma(u) - sigma(l)) = logsig(u) + logsig(-l) + log(1 - e^(l - u))
    between = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))
    return torch.cat([lowest, between, highest], 1)


def binary(margin: Tensor, good: Tensor) -> Tensor:
    """Negative log-likelihood of good-or-bad answers, summed: P(good) = sigma(margin).

    margin, good: (N,), good 1 or 0. The logistic model; BCEWithLogitsLoss.
    """
    return F.binary_cross_entropy_with_logits(margin, good.to(margin.dtype), reduction="sum")


def gaussian(expected: Tensor, rating: Tensor, log_sd: Tensor) -> Tensor:
    """Negative log-likelihood of ratings around what is expected of them, summed.

        0.5 ((y - m) / s)^2 + log s + 0.5 log 2 pi

    expected, rating, log_sd: (N,). At log_sd 0 it is half the squared error and a constant.
    """
    error = (rating.to(expected.dtype) - expected) * torch.exp(-log_sd)
    return (0.5 * error.square() + log_sd + 0.5 * math.log(2 * math.pi)).sum()


def rising(first: Tensor, log_gaps: Tensor) -> Tensor:
    """Cut points (..., K-1) from the first (..., 1) and the logarithms of the gaps (..., K-2)."""
    return torch.cat([first, torch.exp(log_gaps.clamp(-8, 8))], -1).cumsum(-1)
