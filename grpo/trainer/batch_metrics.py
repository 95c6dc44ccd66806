"""What one sampled batch of completions says: its figures, and its completions as kept lines."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Array = NDArray[np.float64]
Sample = dict[str, Any]
"""prompt, completion, finished, tokens, model_reward, sd, reward, noise, advantage, dropped."""


def figures(samples: Sequence[Sample], size: int) -> dict[str, float]:
    """Of the samples, `size` of a group in a row; rewards in standard deviations of SFT's answers.

    `length` is in tokens; shares are 0 to 1; `length_corr` is the rank correlation of length and
    reward inside a group, on average.
    """
    rewards = _column(samples, "reward")
    lengths = _column(samples, "tokens")
    texts = [str(s["completion"]) for s in samples]
    groups = range(0, len(samples), size)
    return {
        "reward_mean": float(rewards.mean()),
        "reward_std": float(rewards.std(ddof=1)),
        "group_std": float(rewards.reshape(-1, size).std(1, ddof=1).mean()),
        "model_reward": float(_column(samples, "model_reward").mean()),
        "disagreement": float(_column(samples, "sd").mean()),
        "noise": float(_column(samples, "noise").mean()),
        "dropped": float(_column(samples, "dropped").mean()),
        "length": float(lengths.mean()),
        "truncated": 1.0 - float(_column(samples, "finished").mean()),
        "unique": fmean(len(set(texts[i : i + size])) / size for i in groups),
        "repetition": fmean(map(repetition, texts)),
        "length_corr": fmean(rank_correlation(lengths[i : i + size], rewards[i : i + size])
                             for i in groups),
    }  # fmt: skip


def repetition(text: str) -> float:
    """Share of a text's pairs of neighbouring words that stood in it before."""
    words = text.lower().split()
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def rank_correlation(one: Array, other: Array) -> float:
    """Spearman's; 0 where either does not vary."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one, other).statistic)


def kept_line(step: int, sample: Sample) -> dict[str, Any]:
    """A sample as it is kept in samples.jsonl."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in sample.items()}
    return {"step": step, **rounded}


def _column(samples: Sequence[Sample], name: str) -> Array:
    return np.array([float(s[name]) for s in samples])
