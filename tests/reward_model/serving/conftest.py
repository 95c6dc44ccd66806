"""One reward model and its scorer for each file of tests."""

from __future__ import annotations

import pytest
import torch

from reward_model.scoring.scorer import Scorer
from tests.support.handmade import make_reward


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    return make_reward(tmp_path_factory.mktemp("made") / "reward-1", tiny_model)


@pytest.fixture(scope="module")
def scorer(run):
    return Scorer.load(run, torch.float32)
