"""What one sampled batch of completions says: its metrics, and its completions as kept lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np
from scipy.stats import spearmanr

from data.stats.intervals import Floats


@dataclass(frozen=True)
class Sample:
    """One completion as it was scored: a line of samples.jsonl, but for its step."""

    prompt: str
    completion: str
    finished: bool
    tokens: int
    model_reward: float
    """The reward model's mean, in standard deviations of the SFT policy's rewards."""
    sd: float
    """The reward model's standard deviation."""
    reward: float
    """What the policy is trained on: clipped, less the penalties."""
    noise: float
    """The reward model's uncertainty about differences within the group."""
    advantage: float
    dropped: bool
    """Whether its group was left out for telling nothing."""
    risk_premium: float | None = None
    """Reward that pessimism takes off; where it is 0, what a pessimism of 1 would. None with a KL
    coefficient of 0, where it has no bound."""


@dataclass(frozen=True)
class BatchMetrics:
    """Metrics of a batch; rewards in standard deviations of the SFT policy's rewards."""

    reward_mean: float
    reward_std: float
    group_std: float
    """Standard deviation of rewards within a group, averaged over groups."""
    model_reward: float
    disagreement: float
    """Mean standard deviation of the reward model's."""
    noise: float
    dropped: float
    """Share of groups dropped, 0 to 1, as all shares here."""
    length: float
    """Tokens of a completion."""
    truncated: float
    unique: float
    """Share of distinct completions within a group."""
    repetition: float
    length_corr: float
    """Rank correlation of length and reward within a group, averaged over groups."""
    risk_premium: float | None
    """Mean of the samples'."""


def batch_metrics(samples: Sequence[Sample], group_size: int) -> BatchMetrics:
    """Metrics of the samples, of which each `group_size` in a row are a group."""

    def column(name: str) -> Floats:
        return np.array([float(getattr(s, name)) for s in samples])

    rewards, lengths = column("reward"), column("tokens")
    texts = [s.completion for s in samples]
    premiums = [s.risk_premium for s in samples if s.risk_premium is not None]
    groups = [slice(i, i + group_size) for i in range(0, len(samples), group_size)]
    return BatchMetrics(
        reward_mean=float(rewards.mean()),
        reward_std=float(rewards.std(ddof=1)),
        group_std=float(rewards.reshape(-1, group_size).std(1, ddof=1).mean()),
        model_reward=float(column("model_reward").mean()),
        disagreement=float(column("sd").mean()),
        noise=float(column("noise").mean()),
        dropped=float(column("dropped").mean()),
        length=float(lengths.mean()),
        truncated=1.0 - float(column("finished").mean()),
        unique=fmean(len(set(texts[g])) / group_size for g in groups),
        repetition=fmean(map(repetition, texts)),
        length_corr=fmean(spearman(lengths[g], rewards[g]) for g in groups),
        risk_premium=fmean(premiums) if premiums else None,
    )


def repetition(text: str) -> float:
    """Share of a text's pairs of neighbouring words that occurred in it before."""
    pairs = list(pairwise(text.lower().split()))
    return 1 - len(set(pairs)) / len(pairs) if pairs else 0.0


def spearman(one: Floats, other: Floats) -> float:
    """Spearman's rank correlation; 0 where either does not vary."""
    varies = np.ptp(one) and np.ptp(other)
    return float(spearmanr(one, other).statistic) if varies else 0.0
