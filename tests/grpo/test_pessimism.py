"""Pessimism: what it takes off a reward, and what reward GRPO asks for a nat of KL."""

from __future__ import annotations

import copy
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
from reward_model.language_model.classifier import head_weights
from reward_model.scoring.grpo_reward import GrpoReward, risk_premium
from reward_model.scoring.scorer import Scorer
from tests.grpo.test_diagnose import SETTINGS, healthy, said
from tests.grpo.test_trainer import ASKED
from tests.support.training import POLICY

GROUPS = np.array([[1.0, 2.0, 3.0, 6.0], [0.0, 0.4, 0.0, 0.4]])
SPREAD = GROUPS.std(1, ddof=1)


@pytest.fixture(scope="module")
def scorer(trained):
    return Scorer.load(trained.folder("reward"), torch.float32)


# --- what is taken off


def test_the_certainty_equivalent_of_a_normal_posterior():
    """-beta log E exp(-r / beta), integrated."""
    r, step = np.linspace(-10, 10, 40_001, retstep=True)
    for mean, sd, beta in ((0.3, 0.5, 0.4), (-1.0, 0.8, 1.5)):
        density = np.exp(-(((r - mean) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))
        worth = -beta * np.log((density * np.exp(-r / beta)).sum() * step)
        off = risk_premium(np.array([[sd**2]]), np.array([beta]))
        assert mean - off[0, 0] == pytest.approx(worth, abs=1e-6)


def test_a_distance_from_the_groups_mean_has_its_own_deviation(scorer):
    """Of two completions each is off by half of their difference; shared doubt is no part of it."""
    _, sd, apart = scorer.score_groups(["Why?"] * 4, ASKED["completions"], [True] * 4, 2)
    assert apart[0] == pytest.approx(apart[1]) and apart[0] > 0.05
    assert apart[2:] == pytest.approx([0, 0], abs=1e-3) and (sd[2:] > 0.1).all()


def test_members_that_disagree_about_a_distance_add_to_its_deviation(scorer):
    other = copy.deepcopy(scorer.members[0])
    head_weights(other.model).data *= -1
    both = Scorer([scorer.members[0], other], scorer.tokenizer, mean=scorer.mean, sd=scorer.sd)
    asked = ["Why?"] * 4, ASKED["completions"], [True] * 4, 4
    reward, _, apart = scorer.score_groups(*asked)
    distance = reward - reward.mean()
    assert np.allclose(both.score_groups(*asked)[2] ** 2, apart**2 + 2 * distance**2)


def test_reward_is_mean_less_premium(scorer):
    beta = np.array([0.5])
    plain = GrpoReward(scorer, [2], 50.0, 4, reward_per_nat=lambda rewards: beta).score(**ASKED)
    careful = GrpoReward(scorer, [2], 50.0, 4, 2.0, reward_per_nat=lambda rewards: beta)
    found = careful.score(**ASKED)
    apart = scorer.score_groups(["Why?"] * 4, ASKED["completions"], plain.finished, 4)[2]
    assert np.allclose(plain.risk_premium, apart**2) and np.allclose(plain.reward, plain.mean)
    assert np.allclose(found.risk_premium, 2 * apart**2)
    assert np.allclose(found.reward, found.mean - 2 * apart**2)
    assert found.noise == pytest.approx([math.sqrt(np.mean(apart**2))])
    assert GrpoReward(scorer, [2], 50.0, 4).score(**ASKED).risk_premium is None


def test_the_reward_limit_bounds_the_premium(scorer):
    tiny = GrpoReward(scorer, [2], 1.5, 4, 1.0, reward_per_nat=lambda rewards: np.array([1e-9]))
    found = tiny.score(**ASKED)
    assert (found.reward >= -1.5).all() and (found.risk_premium <= 3.0).all()


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


def test_a_premium_above_the_spread_asks_for_judgements():
    outweighed = healthy(risk_premium=lambda s: 1.5)
    careful = SETTINGS | {"pessimism": 1.0}
    verdict = said(outweighed, careful)["uncertain-reward"]
    assert (
        verdict.metric == "risk_premium"
        and verdict.value == 1.5
        and "more judgements" in verdict.action
    )
    assert not said(outweighed, SETTINGS | {"pessimism": 0.0})
    assert not said(healthy(risk_premium=lambda s: 0.1), careful)
