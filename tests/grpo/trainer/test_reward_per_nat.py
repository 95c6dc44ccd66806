"""What reward GRPO asks for a nat of KL, and what pessimism takes off at that rate."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from grpo import train as grpo_train
from grpo.trainer.advantages import advantages
from grpo.trainer.kl_target import next_kl_coefficient
from grpo.trainer.reward_per_nat import reward_per_nat
from tests.support.training import POLICY

GROUPS = np.array([[1.0, 2.0, 3.0, 6.0], [0.0, 0.4, 0.0, 0.4]])
SPREAD = GROUPS.std(1, ddof=1)


# --- reward for a nat of KL


def test_beta_is_where_an_expected_step_of_the_loss_stands_still():
    """All groups of two of four answers, one token each, rewards small beside beta: the optimum is
    reference x exp(reward / beta). Without n / (n - 1) it is not."""
    rewards = torch.tensor([0.01, 0.0, -0.02, 0.03]).double()
    groups = [torch.tensor(places) for places in itertools.product(range(4), repeat=2)]
    kl_weight, ref = 0.5, -math.log(4)

    def step_at(beta: float) -> float:
        logits = (rewards / beta).requires_grad_()
        logp = logits.log_softmax(0)
        kl = torch.exp(ref - logp) - (ref - logp) - 1  # as the trainer estimates it
        loss = torch.zeros(()).double()
        for group in groups:
            given, _ = advantages(rewards[None, group], torch.full((1,), -1.0), "none")
            each = -given[0] * logp[group] + kl_weight * kl[group]
            loss = loss + logp[group].sum().exp().detach() * each.mean()
        return float(torch.autograd.grad(loss, logits)[0].norm())

    (beta,) = reward_per_nat(rewards.numpy().reshape(2, 2), kl_weight, 0.0, "none")[:1]
    assert beta == 2 * kl_weight
    assert step_at(beta) < 0.03 * step_at(1e9) < 0.1 * step_at(kl_weight)


def test_beta_is_in_units_of_the_reward():
    """What advantages are divided by, the KL coefficient is multiplied by."""
    weight = 0.3 * 4 / 3
    assert reward_per_nat(GROUPS, 0.3, 0.0, "none") == pytest.approx([weight] * 2)
    assert reward_per_nat(GROUPS, 0.3, 0.0, "group") == pytest.approx(weight * SPREAD, rel=1e-3)
    whole = GROUPS.std(ddof=1)
    assert reward_per_nat(GROUPS, 0.3, 0.0, "batch") == pytest.approx(
        [weight * whole] * 2, rel=1e-3
    )
    times_ten = reward_per_nat(10 * GROUPS, 0.3, 0.0, "group")
    assert times_ten == pytest.approx(10 * weight * SPREAD, rel=1e-3)
    assert (reward_per_nat(np.ones((2, 4)), 0.3, 6.0, "group") > 0).all()


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_small_coefficient_gives_way_to_the_targets_multiplier(scale):
    """At it, normal rewards of the groups' spread, tilted, are the target away on average."""
    target = 2.0
    beta = reward_per_nat(GROUPS, 1e-3, target, scale)
    r, step = np.linspace(-80, 80, 200_001, retstep=True)
    kl = []
    for s, b in zip(SPREAD, beta, strict=True):
        p = np.exp(-((r / s) ** 2) / 2) / (s * math.sqrt(2 * math.pi)) * step
        q = p * np.exp(r / b - (r / b).max())
        q = q / q.sum()
        seen = q > 0
        kl.append((q[seen] * np.log(q[seen] / p[seen])).sum())
    assert np.mean(kl) == pytest.approx(target, rel=1e-2)
    larger = reward_per_nat(GROUPS, 50.0, target, scale)
    assert (larger == reward_per_nat(GROUPS, 50.0, 0.0, scale)).all() and (larger > beta).all()


# --- in a run


def test_a_run_takes_the_premium_off_and_says_so(trained):
    """At the KL coefficient of each step; without pessimism what it would take is noted."""
    settings = replace(POLICY, pessimism=1.0, kl_target=0.001, kl_weight=0.5, steps=3)
    trained.run("grpo", grpo_train.train, settings, name="careful")
    for row in trained.metrics("careful"):
        assert row["reward_mean"] == pytest.approx(
            row["model_reward"] - row["risk_premium"], abs=1e-3
        )
        assert row["risk_premium"] > 0
    report = trained.reports["careful"]
    assert report["risk_premium"] > 0 and "Pessimism takes" in report["summary"]
    plain = trained.metrics("grpo")
    assert all(r["reward_mean"] == pytest.approx(r["model_reward"], abs=1e-5) for r in plain)
    assert all(r["risk_premium"] > 0 for r in plain)
    assert "Pessimism is off, and would take" in trained.reports["grpo"]["summary"]


def test_the_coefficient_is_read_at_each_batch(trainer):
    before = trainer.beta
    inputs = [row for row in trainer.train_dataset.select(range(2)) for _ in range(4)]
    seen = []
    trainer.reward.reward_per_nat = lambda rewards: (
        seen.append(trainer.kl_weight) or trainer._reward_per_nat(rewards)
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer._generate_and_score_completions(inputs)
    trainer.beta = next_kl_coefficient(before, 100.0, 6.0, before)
    trainer._generate_and_score_completions(inputs)
    assert seen == [before, pytest.approx(1.6 * before)]
