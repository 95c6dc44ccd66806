"""Verdicts in words on a GRPO run's metrics: pure functions, a sentence each with its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

Level = Literal["fine", "watch", "stop"]
WINDOW = 4
"""Steps averaged at each end of the run."""
TRUNCATED_SHARE = 0.15
ENTROPY_FALL = 0.5
ENTROPY_RISE = 1.5
FLAT_KL = 0.05
FLAT_SPREAD = 0.1


@dataclass(frozen=True)
class Verdict:
    """What the numbers say."""

    level: Level
    text: str


def diagnose(
    metrics: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    baseline: Mapping[str, Any] | None = None,
    samples: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Verdicts on the steps so far; none before there are two windows of them."""
    kl_target = float(settings.get("kl_target", 0))
    if len(metrics) < 2 * WINDOW:
        return []
    first, last = _mean(metrics[:WINDOW]), _mean(metrics[-WINDOW:])
    found = [
        _kl(last, kl_target),
        _reward(first, last),
        _entropy(first, last),
        _truncation(last),
        _spread(last),
    ]
    return [asdict(v) for v in found if v is not None]


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = ("kl_nats", "reward_mean", "group_std", "entropy", "truncated")
    return {n: fmean([float(r[n]) for r in rows if r.get(n) is not None] or [0.0]) for n in names}


def _kl(last: Mapping[str, float], target: float) -> Verdict:
    kl = last["kl_nats"]
    if kl < FLAT_KL:
        return Verdict(
            "watch",
            f"KL to SFT is flat at {kl:.2f} nats per answer: the policy hardly changes. Raise the"
            " learning rate, or look whether the reward tells its answers apart.",
        )
    if target and kl > 1.5 * target:
        return Verdict(
            "stop",
            f"KL to SFT is {kl:.1f} nats per answer, above the target of {target:g}: the policy"
            " drifts. Stop, and raise the KL weight or lower the learning rate.",
        )
    return Verdict("fine", f"KL to SFT is {kl:.1f} nats per answer, the policy explores near SFT.")


def _reward(first: Mapping[str, float], last: Mapping[str, float]) -> Verdict:
    gain = last["reward_mean"] - first["reward_mean"]
    if gain > 0.1:
        return Verdict("fine", f"Reward rose by {gain:.2f} standard deviations of SFT's answers.")
    return Verdict(
        "watch",
        f"Reward moved by {gain:+.2f}: little or nothing is gained yet. Give it more steps, or a"
        " reward model with more judgements.",
    )


def _entropy(first: Mapping[str, float], last: Mapping[str, float]) -> Verdict | None:
    ratio = last["entropy"] / max(first["entropy"], 1e-6)
    if ratio < ENTROPY_FALL:
        return Verdict(
            "watch",
            f"Entropy fell to {ratio:.0%} of its start: answers grow alike. Raise the entropy"
            " weight.",
        )
    if ratio > ENTROPY_RISE:
        return Verdict(
            "watch",
            f"Entropy rose to {ratio:.0%} of its start: answers lose their thread. Lower the"
            " entropy weight or the learning rate.",
        )
    return None


def _truncation(last: Mapping[str, float]) -> Verdict | None:
    if last["truncated"] <= TRUNCATED_SHARE:
        return None
    return Verdict(
        "watch",
        f"{last['truncated']:.0%} of the answers reach the token limit unfinished: raise the"
        " longest completion.",
    )


def _spread(last: Mapping[str, float]) -> Verdict | None:
    if last["group_std"] >= FLAT_SPREAD:
        return None
    return Verdict(
        "watch",
        f"Rewards within a group differ by {last['group_std']:.2f} only: the reward model cannot"
        " tell these answers apart. More judgements of this policy's answers would help.",
    )
