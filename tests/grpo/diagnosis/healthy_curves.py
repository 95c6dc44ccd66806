"""Curves of GRPO runs in which all is well, drawn from known chances: of any shape of batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BETWEEN = 0.7
"""Standard deviation of rewards between prompts, of 1 in all."""
NOISE = 0.4
"""Of the reward model."""
Rows = list[dict[str, Any]]


def curves(
    seed: int,
    steps: int = 40,
    prompts: int = 4,
    size: int = 8,
    *,
    entropy: float = 1.0,
    unique: float = 1.0,
    follows: float = 0.2,
    gain: float = 0.8,
    iterations: int = 1,
) -> tuple[Rows, dict[str, Any], dict[str, Any]]:
    """(rows, settings, baseline). `entropy`, `unique`: at the start. `follows`: how rewards and
    lengths correlate. `gain`: of the reward, in the whole run."""
    rng = np.random.default_rng(seed)
    baseline = _batch(rng, 0.0, prompts, size, follows)
    baseline |= {"unique": unique, "entropy": _near(rng, entropy, prompts * size)}
    baseline |= {"grad_norm": _near(rng, 0.4, 1), "kl": 0.0, "kl_floor": 1e-7, "same_policy": True}
    rows: Rows = []
    for t in range(steps):
        done = (t + 1) / steps
        if t % iterations == 0:
            batch = _batch(rng, gain * (1 - np.exp(-3 * done)), prompts, size, follows)
            entropy_now = _near(rng, entropy * (1 - 0.25 * done), prompts * size)
        kl = 0.1 * (1 - np.exp(-4 * t / steps))
        row = {"step": t + 1, "unique": unique, "entropy": entropy_now, "kl": kl, "kl_weight": 0.04}
        row |= {"moved": 1e-3 * (t + 1), "learning_rate": 2e-4 * (1 - t / steps)}
        row |= batch | {"grad_norm": _near(rng, 0.4, 1), "kl_nats": kl * batch["length"]}
        rows.append(row)
    settings = {
        "steps": steps, "kl_target": 6.0, "kl_weight": 0.04, "learning_rate": 2e-4,
        "group_size": size, "prompts_per_step": prompts, "iterations": iterations,
        "entropy_weight": 0.001, "sampling": {"temperature": 1.0, "max_new_tokens": 96},
    }  # fmt: skip
    return rows, settings, baseline


def _batch(
    rng: np.random.Generator, mean: float, prompts: int, size: int, follows: float
) -> dict[str, float]:
    within = np.sqrt(1 - BETWEEN**2)
    z = rng.normal(size=(prompts, size))
    rewards = mean + rng.normal(0, BETWEEN, (prompts, 1)) + within * z
    lengths = 40 + 10 * (follows * z + np.sqrt(1 - follows**2) * rng.normal(size=z.shape))
    spread = rewards.std(1, ddof=1)
    return {
        "reward_mean": float(rewards.mean()),
        "group_std": float(spread.mean()),
        "noise": NOISE,
        "dropped": float((spread < 0.25 * NOISE).mean()),
        "length": float(lengths.mean()),
        "length_corr": float(_rank_correlation(lengths, rewards).mean()),
        "truncated": 0.02,
        "repetition": 0.02,
        "disagreement": _near(rng, 0.3, 10),
    }


def _near(rng: np.random.Generator, value: float, n: float) -> float:
    """A positive figure that n of something are behind."""
    return float(value * np.exp(rng.normal(0, 0.4 / np.sqrt(n))))


def _rank_correlation(one: Array, other: Array) -> Array:
    """Spearman's, of each row."""
    a, b = (x.argsort(1).argsort(1) - (x.shape[1] - 1) / 2 for x in (one, other))
    return np.asarray((a * b).sum(1) / (a * a).sum(1))
