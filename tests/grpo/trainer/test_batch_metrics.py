"""What a batch of samples says of itself."""

from __future__ import annotations

import numpy as np
import pytest

from grpo.trainer.batch_metrics import Sample, batch_metrics, repetition, spearman


def sample(completion, reward, finished=True):
    tokens = len(completion.split())
    return Sample("Why?", completion, finished, tokens, reward, 0.5, reward, 0.2, 0.0, False)


def test_metrics_tell_groups_from_the_batch():
    rows = [sample("a b", 1.0), sample("a b c", 2.0), sample("d", 11.0), sample("d", 12.0, False)]
    found = batch_metrics(rows, 2)
    assert found.group_std == pytest.approx(np.sqrt(0.5))
    assert found.reward_std == pytest.approx(np.std([1, 2, 11, 12], ddof=1))
    assert found.unique == 0.75 and found.truncated == 0.25
    # one group follows length, the other cannot tell
    assert found.length_corr == pytest.approx(0.5)


def test_repetition_and_rank_correlation():
    assert repetition("no no no no") == pytest.approx(2 / 3)
    assert repetition("one") == repetition("") == 0
    assert spearman(np.array([1.0, 2, 3]), np.array([1.0, 4, 9])) == pytest.approx(1)
    assert spearman(np.array([1.0, 1]), np.array([1.0, 2])) == 0
