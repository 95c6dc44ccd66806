"""Rewards as GRPO takes them: less length, less risk, within a limit."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from reward_model.language_model.classifier import head_weights
from reward_model.scoring.grpo_reward import GrpoReward, risk_premium
from reward_model.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def scorer(trained):
    return Scorer.load(trained.folder("reward"), torch.float32)


ASKED = {
    "prompts": [[{"role": "user", "content": "Why?"}]] * 4,
    "completions": ["Because.", "I would say so, yes.", "No", "No"],
    "completion_ids": [[5, 6, 2], [7] * 30, [9, 2], [9, 2]],
}


def test_reward_is_mean_less_length(scorer):
    reward = GrpoReward(scorer, [2], clip=50.0, group_size=4)
    plain = reward.score(**ASKED)
    assert reward(**ASKED) == plain.reward.tolist()
    mean, sd = scorer.score(["Why?"] * 4, ASKED["completions"], plain.finished, return_std=True)
    assert np.allclose(plain.reward, mean) and np.allclose(plain.sd, sd)
    short = GrpoReward(scorer, [2], 50.0, 4, length_penalty=2.0)
    assert np.allclose(short(**ASKED), plain.reward - 2 * np.array([3, 30, 2, 2]) / 100)
    assert plain.tokens == [3, 30, 2, 2]


def test_noise_of_a_group_is_about_differences_alone(scorer):
    alike = {**ASKED, "completions": ["No"] * 4, "completion_ids": [[9, 2]] * 4}
    reward = GrpoReward(scorer, [2], 50.0, 4)
    same = reward.score(**alike)
    assert same.noise == pytest.approx([0], abs=1e-3) and (same.sd > 0.1).all()
    assert reward.score(**ASKED).noise[0] > 0.1
    with pytest.raises(ValueError, match="4 completions are no groups of 3"):
        scorer.score_groups(["Why?"] * 4, ASKED["completions"], [True] * 4, 3)


def test_rewards_are_clipped(trained):
    scorer = Scorer.load(trained.folder("reward"))
    scorer.sd = 1e-9
    reward = GrpoReward(scorer, [2], clip=5.0)
    prompts = [[{"role": "user", "content": "Why?"}]] * 2
    scored = reward.score(prompts, ["a", "b c d"], [[5], [6, 2]])
    assert max(map(abs, scored.reward)) == 5.0
    assert scored.finished == [False, True]


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
