"""Whether a policy can learn from the rewards: how far its own answers lie apart, and best of n."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln

from data.schema import JsonObject
from data.stats.bootstrap import Bootstrap, BootstrapDistribution
from data.stats.estimate import MIN_CASES, MIN_PROMPTS, missing_json
from data.stats.intervals import Floats, Ints
from reward_model.dataset.examples import TIE, A, group_rows

if TYPE_CHECKING:  # metrics load torch, and a policy's evaluation needs none
    from reward_model.evaluation.metrics import EvaluationData, Figure

FLAT = 0.1
"""Within a prompt, in the unit of all its samples: below this there is nothing to climb."""
VERDICTS = {
    "flat": "The reward is nearly flat: the policy's answers to one prompt differ by"
    " {within:.2f} only, where answers to all prompts differ by 1. GRPO cannot learn from it.",
    "unsure": "The policy's answers to one prompt differ by {within:.2f}, less than the"
    " {error:.2f} that the model itself is unsure of: GRPO would chase errors as much as"
    " quality.",
    "enough": "GRPO has something to learn from: the policy's answers to one prompt differ by"
    " {within:.2f}, more than the {error:.2f} that the model is unsure of.",
}


def spread(rewards: Floats, sd: Floats, prompt: Ints, boot: Bootstrap) -> JsonObject:
    """Standard deviation of the reward within prompts, beside its error and that between prompts.

    rewards, sd, prompt: (S,), in reward units, of samples of the policy. "share" is the part of
    the rewards' variance that lies within prompts: GRPO sees nothing else. "error" and "share" are
    there where there are samples enough.
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

    def part_within(s: Floats) -> Floats:
        """Pooled variance within prompts over that of all samples, at most 1."""
        total = s[:, 5] / s[:, 3] - np.square(s[:, 4] / s[:, 3])
        return np.minimum(1, np.where(total > 1e-12, s[:, 0] / s[:, 1] / total, 0))

    own, unsure = within.value, error.value
    verdict = "flat" if own < FLAT else "unsure" if own < unsure else "enough"
    return {
        "within": within.as_json(),
        "error": error.as_json(),
        "share": boot.of_sums(rows, places, part_within, n, share=True).as_json(),
        "verdict": verdict,
        "sentence": VERDICTS[verdict].format(within=own, error=unsure),
    }


# -- best of n


def best_of_n(rewards: Floats, prompt: Ints, boot: Bootstrap) -> list[JsonObject]:
    """Reward gained by taking the best of n samples over taking one, n = 2, 4, 8...

    Exactly the mean over all choices of n from a prompt's samples, on the prompts that have the
    most; up to the n that MIN_PROMPTS have.
    """
    sizes = sorted((len(g) for g in group_rows(prompt)), reverse=True)
    if len(sizes) < MIN_PROMPTS:
        return []
    most = sizes[MIN_PROMPTS - 1]
    kept = [np.sort(rewards[g]) for g in group_rows(prompt) if len(g) >= most]
    found: list[JsonObject] = []
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
    return _chances(np.arange(1, k + 1, dtype=float), np.full(k, float(k)), n)


def _chances(rank: Floats, size: Floats, n: int) -> Floats:
    """The same of ranks from 1 up among so many, row by row (rows,)."""
    possible = rank >= n
    safe, k = np.where(possible, rank, n), np.maximum(size, n)
    logs = gammaln(safe) - gammaln(n) - gammaln(safe - n + 1)
    logs -= gammaln(k + 1) - gammaln(n + 1) - gammaln(k - n + 1)
    return np.asarray(np.where(possible, np.exp(logs), 0.0))


def judged_best_of_n(data: EvaluationData) -> list[JsonObject]:
    """How often people prefer the best of n judged completions, by unseen rewards, to another.

    Each judged pair counts as often as one of its two would be the best of n of the prompt's
    judged completions; ties are half. Of one it is 50%.
    """
    examples, pairs = data.examples, data.pairs
    one, other, score = pairs.better, pairs.worse, np.ones(len(pairs))
    if pairs.source == "comparisons":
        one, other = examples.pairs.a, examples.pairs.b
        outcome = examples.pairs.outcome
        score = np.where(outcome == TIE, 0.5, (outcome == A).astype(float))
    judged = np.unique(np.concatenate([one, other]))
    prompt, size = examples.prompt, np.bincount(examples.prompt[judged], minlength=examples.prompts)
    found: list[JsonObject] = []
    for n in (2, 3, 4, 6, 8, 12, 16):
        asked = size[prompt[one]] >= n
        if not asked.any():
            break
        figure = _preferred(judged, prompt, one[asked], other[asked], score[asked], n)
        estimate = data.figure(figure)
        if not estimate.enough:
            break
        found.append({"best_of": n, **estimate.as_json()})
    return found


def _preferred(judged: Ints, prompt: Ints, a: Ints, b: Ints, won: Floats, n: int) -> Figure:
    """How often the best of n is preferred, in pairs a, b of which a won as often (pairs,)."""

    def figure(boot: Bootstrap, reward: Floats) -> BootstrapDistribution:
        chance = np.zeros(len(reward))
        chance[judged] = _shared_chances(reward[judged], prompt[judged], n)
        rows = chance[a] * won + chance[b] * (1 - won), chance[a] + chance[b]
        by_pair = np.stack(rows, 1)
        return boot.of_sums(by_pair, prompt[a], lambda s: s[:, 0] / s[:, 1], share=True)

    return figure


def _shared_chances(reward: Floats, prompt: Ints, n: int) -> Floats:
    """Of each to be the best of n of its prompt (rows,); equal rewards share their chances."""
    order = np.lexsort((reward, prompt))
    size: Floats = np.bincount(prompt)[prompt[order]].astype(np.float64)
    starts = np.searchsorted(prompt[order], prompt[order])
    rank: Floats = (1 + np.arange(len(order)) - starts).astype(np.float64)
    chance = _chances(rank, size, n)
    apart = (np.diff(prompt[order], prepend=-1) != 0) | (
        np.diff(reward[order], prepend=np.nan) != 0
    )
    equal = np.cumsum(apart) - 1
    found = np.empty(len(order))
    found[order] = (np.bincount(equal, chance) / np.bincount(equal))[equal]
    return found
