"""Beta: the reward that GRPO asks for each nat of an answer's KL to the reference."""

from __future__ import annotations

import math

import numpy as np
import torch

from data.stats.intervals import Floats
from grpo.config import AdvantageScale
from grpo.trainer.advantages import divisors


def reward_per_nat(
    rewards: Floats, kl_weight: float, kl_target: float, scale: AdvantageScale
) -> Floats:
    """Beta of each group (G,), in reward units per nat of KL of a whole answer.

    rewards (G, n): the reward model's means. kl_weight: the KL coefficient b as it is now.
    kl_target: in nats per answer; 0: there is none.

    The loss adds, over the tokens t of an answer y, -A log pi(y_t) and b times an estimate of the
    KL at t, both with the same weight, whatever the aggregation (`loss_type`): it cancels between
    them. Over an answer the first sum is -A log pi(y) and the second, by the chain rule, b times
    the KL of the whole answer. A = (r - mean) / d, where d is the divisor that `scale` names, and
    the mean holds the answer itself, which takes 1 / n off the gradient of E[r]. So a step climbs

        (1 - 1/n) E[r] / d - b KL    and    beta = b d n / (n - 1).

    A KL target holds the policy too. Where KL at this beta would be above the target, the target's
    own multiplier counts (b is adapted towards it, and begins far below): the tilt exp(r / beta) of
    rewards with standard deviation s has, if they are normal, a KL of s^2 / (2 beta^2) and the same
    s. Over the groups, whose beta is c d, its mean is the target at c = rms(s / d) / sqrt(2
    target).

    Approximations: d is of the reward model's means, before penalties; it is taken as given where
    it depends on the sampled rewards; the gradient of the KL estimate is that of the KL near the
    reference; the entropy bonus is left out.
    """
    n = rewards.shape[1]
    given = torch.from_numpy(rewards)
    spread, divisor = given.std(1), divisors(given, scale)
    asked = kl_weight * n / (n - 1)
    square = float((spread / divisor).square().mean())
    at_target = math.sqrt(square / (2 * kl_target)) if kl_target else 0.0
    return np.asarray(divisor.double() * max(asked, at_target))
