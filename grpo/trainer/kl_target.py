"""The KL target: the KL coefficient follows how far the policy is from its reference."""

from __future__ import annotations

CEILING = 100.0
"""The largest coefficient, in multiples of the least."""


def next_kl_coefficient(beta: float, kl_nats: float, target: float, least: float) -> float:
    """The next KL coefficient: raised while KL is above its target, lowered while it is below.

    A proportional controller on the error, Ziegler et al. 2019, arXiv:1909.08593, section 2.2;
    from `least` to a hundred times that. KL and target in nats per answer.
    """
    error = max(-0.3, min(0.6, kl_nats / target - 1))
    return min(max(beta * (1 + error), least), CEILING * least)
