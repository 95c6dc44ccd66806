"""Scores: of any batch and order the same, in the unit of the policy's samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.schema import make_prompt
from data.splits import split_of
from reward_model.scoring.scorer import Scorer

PROMPTS = [make_prompt(f"Question number {i}?") for i in range(40)]


def test_scores_do_not_depend_on_batch_or_order(reward_folder):
    scorer = Scorer.load(reward_folder, torch.float32)
    prompts = [PROMPTS[i % 5] for i in range(20)]
    texts = ["good " * (i % 7) + "end" for i in range(20)]
    finished = [i % 3 > 0 for i in range(20)]
    together = scorer.score(prompts, texts, finished)
    single = [
        scorer.score([p], [t], [f])[0] for p, t, f in zip(prompts, texts, finished, strict=True)
    ]
    backwards = scorer.score(prompts[::-1], texts[::-1], finished[::-1])[::-1]
    # one unit is the SFT policy's standard deviation, so the raw head is compared
    assert np.abs(together - single).max() * scorer.sd < 1e-5
    assert np.abs(together - backwards).max() * scorer.sd < 1e-5


def test_reward_units_are_those_of_the_policys_samples(trained):
    scorer = Scorer.load(trained.folder("reward"))
    samples = [
        g.completion
        for g in trained.store.content.generations(trained.ids["sft"])
        if split_of(g.completion.prompt) == "train"
    ]
    samples = sorted(samples, key=lambda c: c.prompt.id)[:160]
    rewards = scorer.score(
        [c.prompt for c in samples], [c.text for c in samples], [c.finished for c in samples]
    )
    assert abs(rewards.mean()) < 0.01 and abs(rewards.std() - 1) < 0.01  # bfloat16 where it is had


def test_uneven_lengths_are_refused(reward_folder):
    with pytest.raises(ValueError, match="give as many of each"):
        Scorer.load(reward_folder).score(["a"], ["b", "c"])


def test_a_folder_without_a_reward_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no finished reward model"):
        Scorer.load(tmp_path)
