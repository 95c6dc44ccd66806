"""The KL coefficient follows KL to its target."""

from __future__ import annotations

import pytest

from grpo.trainer.kl_target import next_kl_coefficient


def test_kl_coefficient_follows_kl_to_its_target():
    assert next_kl_coefficient(0.04, 12, 6, 0.04) == pytest.approx(0.064)
    assert next_kl_coefficient(0.4, 3, 6, 0.04) == pytest.approx(0.28)
    assert next_kl_coefficient(0.04, 0, 6, 0.04) == 0.04
    assert next_kl_coefficient(3.9, 60, 6, 0.04) == 4.0
    beta, kl = 0.04, 20.0
    for _ in range(60):
        beta = next_kl_coefficient(beta, kl, 6, 0.04)
        kl = 20 * 0.04 / beta  # the nearer the larger the coefficient
    assert kl == pytest.approx(6, rel=0.05)
