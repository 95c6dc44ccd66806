"""Whether a policy can learn from the rewards: how far its own answers lie apart, and best of n."""

from __future__ import annotations

from typing import NotRequired, TypedDict

import numpy as np
from scipy.special import gammaln

from data.stats.bootstrap import Bootstrap
from data.stats.estimate import MIN_CASES, MIN_PROMPTS, EstimateJson, missing_json
from reward_model.dataset.examples import TIE, A, Examples, Floats, Ints, group_rows
from reward_model.dataset.preference_pairs import preference_pairs

FLAT = 0.1
"""Within a prompt, in the unit of all its samples: below this there is nothing to climb."""


class Verdict(TypedDict):
    verdict: str
    sentence: str


class Spread(Verdict):
    """Of the policy's rewards: standard deviation within prompts, its error, share of variance."""

    within: EstimateJson
    error: NotRequired[EstimateJson]
    share: NotRequired[EstimateJson]


class BestOf(EstimateJson):
    best_of: int


def spread(rewards: Floats, sd: Floats, prompt: Ints, boot: Bootstrap) -> Spread:
    """Standard deviation of the reward within prompts, beside its error and that between prompts.

    rewards, sd, prompt: (S,), in reward units, of samples of the policy. "share" is the part of
    the rewards' variance that lies within prompts: GRPO sees nothing else.
    """
    several = [g for g in group_rows(prompt) if len(g) > 1]
    n = sum(map(len, several))
    if n < MIN_CASES or len(several) < MIN_PROMPTS:
        return {
            "verdict": "unknown",
            "sentence": "Not enough samples of the policy yet to say whether GRPO can learn from"
            f" it: {n} on {len(several)} prompts with several, about {MIN_CASES} on {MIN_PROMPTS}"
            " are needed.",
            "within": missing_json(n, len(several)),
        }
    rows, places = np.zeros((len(several), 6)), np.arange(len(several))
    for row, g in zip(rows, several, strict=True):
        r = rewards[g]
        row[:3] = ((r - r.mean()) ** 2).sum(), len(g) - 1, np.square(sd[g]).sum()
        row[3:] = len(g), r.sum(), np.square(r).sum()
    within = boot.of_sums(rows, places, lambda s: np.sqrt(s[:, 0] / s[:, 1]), n)
    error = boot.of_sums(rows, places, lambda s: np.sqrt(s[:, 2] / s[:, 3]), n)
    part = boot.of_sums(rows, places, _part_within, n, share=True)
    return {
        "within": within.as_json(),
        "error": error.as_json(),
        "share": part.as_json(),
        **_spread_verdict(within.value, error.value),
    }


def _part_within(s: Floats) -> Floats:
    """Pooled variance within prompts over that of all samples, at most 1."""
    total = s[:, 5] / s[:, 3] - np.square(s[:, 4] / s[:, 3])
    return np.minimum(1, np.where(total > 1e-12, s[:, 0] / s[:, 1] / total, 0))


def _spread_verdict(within: float, error: float) -> Verdict:
    verdict = "flat" if within < FLAT else "unsure" if within < error else "enough"
    sentence = {
        "flat": "The reward is nearly flat: the policy's answers to one prompt differ by"
        f" {within:.2f} only, where answers to all prompts differ by 1. GRPO cannot learn from it."
        " Judge completions of one prompt against each other, or sample at a higher temperature.",
        "unsure": f"The policy's answers to one prompt differ by {within:.2f}, less than the"
        f" {error:.2f} that the model itself is unsure of: GRPO would chase errors as much as"
        " quality. Collect more judgements first.",
        "enough": "GRPO has something to learn from: the policy's answers to one prompt differ by"
        f" {within:.2f}, more than the {error:.2f} that the model is unsure of.",
    }[verdict]
    return {"verdict": verdict, "sentence": sentence}


# -- best of n


def best_of_n(rewards: Floats, prompt: Ints, boot: Bootstrap) -> list[BestOf]:
    """Reward gained by taking the best of n samples over taking one, n = 2, 4, 8...

    Exactly the mean over all choices of n from a prompt's samples, on the prompts that have the
    most; up to the n that MIN_PROMPTS have.
    """
    sizes = sorted((len(g) for g in group_rows(prompt)), reverse=True)
    if len(sizes) < MIN_PROMPTS:
        return []
    most = sizes[MIN_PROMPTS - 1]
    kept = [np.sort(rewards[g]) for g in group_rows(prompt) if len(g) >= most]
    found: list[BestOf] = []
    for n in (2**i for i in range(1, 7) if 2**i <= most):
        gain = [float(chance_of_best(len(r), n) @ r - r.mean()) for r in kept]
        estimate = boot.mean(np.array(gain), np.arange(len(kept)))
        low, high = estimate.interval
        found.append({"best_of": n, "value": estimate.value, "low": low, "high": high,
                      "n": sum(map(len, kept)), "prompts": len(kept)})  # fmt: skip
    return found


def chance_of_best(k: int, n: int) -> Floats:
    """Probability that each of k, from the lowest up, is the best of n drawn without return (k,).

    C(i - 1, n - 1) / C(k, n).
    """
    rank = np.arange(1, k + 1, dtype=float)
    possible = rank >= n
    safe = np.where(possible, rank, n)
    logs = gammaln(safe) - gammaln(n) - gammaln(safe - n + 1)
    logs -= gammaln(k + 1) - gammaln(n + 1) - gammaln(k - n + 1)
    return np.asarray(np.where(possible, np.exp(logs), 0.0))


def judged_best_of_n(reward: Floats, examples: Examples, boot: Bootstrap) -> list[BestOf]:
    """How often people prefer the best of n judged completions, by unseen rewards (N,), to another.

    Each judged pair counts as often as one of its two would be the best of n of the prompt's
    judged completions; ties are half. Of one it is 50%.
    """
    pairs, outcome = preference_pairs(examples), examples.pairs.outcome
    one, other, score = pairs.better, pairs.worse, np.ones(len(pairs))
    if pairs.source == "comparisons":
        one, other = examples.pairs.a, examples.pairs.b
        score = np.where(outcome == TIE, 0.5, (outcome == A).astype(float))
    judged = np.unique(np.concatenate([one, other]))
    judged = judged[np.argsort(reward[judged], kind="stable")]
    groups = [judged[rows] for rows in group_rows(examples.prompt[judged])]
    size = np.bincount(examples.prompt[judged], minlength=examples.prompts)
    prompt = examples.prompt[one]
    found: list[BestOf] = []
    for n in (2, 3, 4, 6, 8, 12, 16):
        fit = size[prompt] >= n
        if not fit.any():
            break
        chance = np.zeros(len(reward))
        for group in (group for group in groups if len(group) >= n):
            # equal rewards share their chances
            _, equal = np.unique(reward[group], return_inverse=True)
            total = np.bincount(equal, chance_of_best(len(group), n))
            chance[group] = (total / np.bincount(equal))[equal]
        a, b = chance[one[fit]], chance[other[fit]]
        rows = np.stack([a * score[fit] + b * (1 - score[fit]), a + b], 1)
        estimate = boot.of_sums(rows, prompt[fit], lambda s: s[:, 0] / s[:, 1], share=True)
        if not estimate.enough:
            break
        found.append({"best_of": n, **estimate.as_json()})
    return found
