"""The reward that GRPO maximises: a Scorer's, less penalties, with all that it was made of.

It stands here rather than in grpo so that an export can prove that it gives the served reward.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reward_model.scoring.scorer import Scorer

Array = NDArray[np.float64]
Turns = Sequence[Mapping[str, str]]
"""Messages with "role" and "content"."""


@dataclass(frozen=True)
class Scored:
    """What was scored, one completion a place (B,), in the order given."""

    prompts: list[str]
    """The last turn of each."""
    completions: list[str]
    finished: list[bool]
    tokens: list[int]
    """In each completion."""
    mean: Array
    """The reward model's reward, before anything is taken off."""
    sd: Array
    """Its standard deviation."""
    reward: Array
    """What GRPO maximises."""
    noise: Array
    """Of each group (B / group size,); see `Scorer.score_groups`."""


@dataclass(eq=False, repr=False)
class GrpoReward:
    """A reward function in TRL's sense around a Scorer.

    reward = clip(mean - penalty x standard deviation) - length penalty x tokens / 100

    The lower end of what the reward may be, as Coste et al. 2023, arXiv:2310.02743, use of an
    ensemble.
    """

    __name__ = "learned"  # TRL's metrics are called by it

    scorer: Scorer
    ends: Collection[int]
    """Ids of the tokens that end a completion."""
    clip: float
    group_size: int = 1
    uncertainty_penalty: float = 0.0
    length_penalty: float = 0.0

    def score(
        self,
        prompts: Sequence[Turns],
        completions: Sequence[str | Turns],
        completion_ids: Sequence[Sequence[int]],
    ) -> Scored:
        """Rewards of B completions, `group_size` in a row to each prompt.

        Whether one is finished is read off its token ids: one that was cut looks cut to the scorer.
        Raises ValueError if the completions are no whole groups.
        """
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        finished = [bool(ids) and ids[-1] in self.ends for ids in completion_ids]
        tokens = [len(ids) for ids in completion_ids]
        mean, sd, noise = self.scorer.score_groups(prompts, texts, finished, self.group_size)
        reward = np.clip(mean - self.uncertainty_penalty * sd, -self.clip, self.clip)
        reward = reward - self.length_penalty * np.array(tokens) / 100
        asked = [p[-1]["content"] for p in prompts]
        return Scored(asked, texts, finished, tokens, mean, sd, reward, noise)

    def __call__(
        self,
        prompts: Sequence[Turns],
        completions: Sequence[str | Turns],
        completion_ids: Sequence[Sequence[int]],
        **_: object,
    ) -> list[float]:
        """The rewards alone (B,), as TRL asks for them."""
        rewards: list[float] = self.score(prompts, completions, completion_ids).reward.tolist()
        return rewards
