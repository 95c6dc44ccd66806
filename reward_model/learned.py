"""The reward that GRPO climbs: a Scorer, called as a function, with what it scored kept.

It stands here rather than in grpo so that an export can prove that it gives the served reward.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from reward_model.score import Scorer


class LearnedReward:
    """A reward function in TRL's sense around a Scorer.

    `finished` is read off the token ids: a completion that was cut looks cut to the reward model.
    """

    __name__ = "learned"

    def __init__(self, scorer: Scorer, ends: Collection[int], clip: float) -> None:
        self.scorer = scorer
        self.ends = ends
        self.clip = clip
        self.samples: list[dict[str, Any]] = []
        """What was scored in the last call."""

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        **_: Any,
    ) -> list[float]:
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        finished = [bool(ids) and ids[-1] in self.ends for ids in completion_ids]
        rewards = np.clip(self.scorer.score(prompts, texts, finished), -self.clip, self.clip)
        self.samples = [
            {
                "prompt": p[-1]["content"],
                "completion": t,
                "finished": f,
                "reward": round(float(r), 4),
            }
            for p, t, f, r in zip(prompts, texts, finished, rewards, strict=True)
        ]
        return [float(r) for r in rewards]
