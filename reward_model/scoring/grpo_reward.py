"""The reward that GRPO maximises: a Scorer's, less penalties, with all that it was made of.

It stands here rather than in grpo so that an export can prove that it gives the served reward.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.stats.intervals import Floats
from data.texts.intake import taken
from reward_model.scoring.scorer import Scorer

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
    mean: Floats
    """The reward model's reward, before anything is taken off."""
    sd: Floats
    """Its standard deviation."""
    reward: Floats
    """What GRPO maximises."""
    noise: Floats
    """Of each group (B / group size,): how far its rewards could be off beside one another, the
    root mean square of the standard deviations of their distances from the group's mean."""
    risk_premium: Floats | None
    """Reward that pessimism takes off; where it is 0, what a pessimism of 1 would. None where
    nothing says what reward a nat of KL is to earn."""


@dataclass(eq=False, repr=False)
class GrpoReward:
    """A reward function in TRL's sense around a Scorer.

    reward = clip(mean - pessimism x variance / (2 beta)) - length penalty x tokens / 100

    variance: of the completion's reward less its group's mean; beta: reward that a nat of KL of a
    whole answer has to earn. With a pessimism of 1 it is the certainty equivalent, see
    `risk_premium`.
    """

    __name__ = "learned"  # TRL's metrics are called by it

    scorer: Scorer
    ends: Collection[int]
    """Ids of the tokens that end a completion."""
    clip: float
    group_size: int = 1
    pessimism: float = 0.0
    length_penalty: float = 0.0
    opened: str = ""
    """The tag with which the chat template opens a reasoning model's thinking."""
    reward_per_nat: Callable[[Floats], Floats] | None = None
    """Beta of each group (groups,), from the groups' rewards (groups, size); needed by pessimism.
    It is asked at each batch, for the KL coefficient moves."""

    def __post_init__(self) -> None:
        assert not self.pessimism or self.reward_per_nat is not None

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
        read, whole = texts, finished
        if not self.scorer.apart:  # the tag that the template wrote belongs to the text
            pairs = zip(texts, finished, strict=True)
            kept = [taken(text, ended, opened=self.opened) for text, ended in pairs]
            read, whole = [text for text, _ in kept], [ended for _, ended in kept]
        mean, sd, distance_sd = self.scorer.score_groups(prompts, read, whole, self.group_size)
        variance = np.square(distance_sd).reshape(-1, self.group_size)
        noise = np.sqrt(variance.mean(1))
        reward, premium = np.clip(mean, -self.clip, self.clip), None
        if self.reward_per_nat is not None:
            off = risk_premium(variance, self.reward_per_nat(mean.reshape(variance.shape))).ravel()
            careful = np.clip(mean - (self.pessimism or 1.0) * off, -self.clip, self.clip)
            premium = reward - careful  # no more than the limit leaves of it
            reward = careful if self.pessimism else reward
        reward = reward - self.length_penalty * np.array(tokens) / 100
        asked = [p[-1]["content"] for p in prompts]
        return Scored(asked, texts, finished, tokens, mean, sd, reward, noise, premium)

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


def risk_premium(variance: Floats, beta: Floats) -> Floats:
    """What a certain reward may be lower than an uncertain one's mean and be worth as much (G, n).

    variance (G, n): of a normal posterior of each reward's distance from its group's mean, in
    squared reward units. beta (G,): reward per nat of KL of a whole answer.

    The policy that maximises E[r] - beta KL(policy, reference) is reference x exp(r / beta), but
    for its norm. Where r is uncertain, and nature may take any q(r) instead of the posterior p(r)
    at the same price beta for each nat of KL(q, p), the worst of E_q[r] + beta KL(q, p) is the
    certainty equivalent

        -beta log E_p[exp(-r / beta)] = mean - variance / (2 beta)    for a normal posterior,

    and stands in r's place. What is added to the rewards of all answers to a prompt cancels in the
    policy, whether it is known or not: so r is the distance from the group's mean.

    A Unifying Lens on Reward Uncertainty in RLHF, 2026, arXiv:2606.09073; the premium's name is
    Pratt's, 1964, Econometrica 32.
    """
    return np.asarray(variance / (2 * beta[:, None]))
