"""The reward that GRPO climbs: a Scorer, called as a function.

It stands here rather than in grpo so that an export can prove that it gives the served reward.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reward_model.scoring.scorer import Scorer

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """What was scored, one completion a place (B,), in the order given."""

    prompts: list[str]
    """The last turn of each."""
    completions: list[str]
    finished: list[bool]
    tokens: list[int]
    mean: Array
    """The reward model's, before anything is taken off."""
    sd: Array
    reward: Array
    noise: Array
    """Of each group (B / group size,)."""


class GrpoReward:
    """A reward function in TRL's sense around a Scorer.

    reward = clip(mean - penalty x standard deviation) - length penalty x tokens / 100

    The lower end of what the reward may be, as Coste et al. 2023, arXiv:2310.02743, use of an
    ensemble. `finished` is read off the token ids: a completion that was cut looks cut to the
    reward model.
    """

    __name__ = "learned"

    def __init__(
        self,
        scorer: Scorer,
        ends: Collection[int],
        clip: float,
        group_size: int = 1,
        uncertainty_penalty: float = 0.0,
        length_penalty: float = 0.0,
    ) -> None:
        self.scorer = scorer
        self.ends = ends
        self.clip = clip
        self.group_size = group_size
        self.uncertainty_penalty = uncertainty_penalty
        self.length_penalty = length_penalty

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        **_: Any,
    ) -> list[float]:
        """The rewards alone, as TRL's reward functions give them."""
        return [float(r) for r in self.score(prompts, completions, completion_ids).reward]

    def score(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
    ) -> Scored:
        """Rewards of B completions with all that they are made of; those of a group in a row."""
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        finished = [bool(ids) and ids[-1] in self.ends for ids in completion_ids]
        tokens = [len(ids) for ids in completion_ids]
        mean, sd, noise = self.scorer.score_groups(prompts, texts, finished, self.group_size)
        reward = np.clip(mean - self.uncertainty_penalty * sd, -self.clip, self.clip)
        reward = reward - self.length_penalty * np.array(tokens) / 100
        asked = [p[-1]["content"] for p in prompts]
        return Scored(asked, texts, finished, tokens, mean, sd, reward, noise)
