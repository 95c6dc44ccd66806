"""The one thing to do next: worked out from counts and runs, pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from data.runs.kinds import RUN_KINDS
from reward_model.config import MIN_JUDGEMENTS

Goal = Literal["data", "queue", "reward", "sft", "sample", "grpo", "compare"]


@dataclass(frozen=True)
class Facts:
    """What the recommendation rests on."""

    prompts: int = 0
    demonstrations: int = 0
    completions: int = 0
    judgements: int = 0
    """Of all kinds: a reward model learns from them together."""
    live: Collection[str] = ()
    """Kinds of runs that are going on."""
    sft: bool = False
    reward: bool = False
    loses: bool = False
    """Whether the newest reward model's receipt says that it beats no baseline."""
    grpo: bool = False
    compared: bool = False
    """Whether the newest GRPO policy has been compared with where it came from."""
    resampled: bool = False
    """Whether the newest GRPO policy has answered prompts for people to rate."""


@dataclass(frozen=True)
class Step:
    """A recommendation: what, why, and where its button leads."""

    title: str
    why: str
    goal: Goal
    going_on: bool = False

    @property
    def button(self) -> str:
        """Words on the button."""
        if self.going_on:
            return "Watch it"
        places = {"data": "Open Data", "queue": "Open the queue"}
        return places.get(self.goal) or RUN_KINDS[self.goal].button


CLOSED = Step(
    "Rate the new answers, then train again.",
    "The loop is closed: each round of judgements on the newest policy teaches the next.",
    "queue",
)


def next_step(facts: Facts) -> Step:
    """The first thing in the loop that is missing; to wait for it while it is going on."""
    for done, title, why, goal in _loop_steps(facts):
        if not done:
            if goal not in facts.live:
                return Step(title, why, goal)
            about = "This page follows it; it can be closed."
            return Step(RUN_KINDS[goal].going_on, about, goal, going_on=True)
    return CLOSED


def _loop_steps(facts: Facts) -> list[tuple[object, str, str, Goal]]:
    """The loop in order: what is done already, what to do, why, where."""
    missing = max(0, MIN_JUDGEMENTS - facts.judgements)
    return [
        (
            facts.prompts,
            "Import prompts.",
            "Everything starts from questions that the model is asked.",
            "data",
        ),
        (
            facts.completions,
            "Sample completions.",
            f"{facts.prompts:,} prompts are there, and no answer to rate yet.",
            "sample",
        ),
        (
            not missing,
            f"{missing} more judgement{'' if missing == 1 else 's'} needed for a reward model.",
            "Comparisons, ratings and good-or-bad judgements all count. More is better still.",
            "queue",
        ),
        (
            facts.sft or facts.demonstrations,
            "Import demonstrations.",
            "SFT learns from answers written by people.",
            "data",
        ),
        (
            facts.sft,
            "Fine-tune the model on the demonstrations.",
            "GRPO only reinforces answers that the policy already gives: SFT teaches it these.",
            "sft",
        ),
        (
            facts.reward,
            "Train a reward model on the judgements.",
            "It predicts how much people like an answer: the reward that GRPO maximises.",
            "reward",
        ),
        (
            not facts.loses,
            "Rate more answers, then train the reward model again.",
            "The newest one beats no baseline: its receipt says why. GRPO would learn nothing"
            " from it.",
            "queue",
        ),
        (
            facts.grpo,
            "Launch GRPO against the reward model.",
            "The policy learns to give answers of higher reward while its KL to SFT stays small.",
            "grpo",
        ),
        (
            facts.compared,
            "Compare the new policy with the SFT policy.",
            "On held-out prompts, which nothing else has seen: reward in training proves little.",
            "compare",
        ),
        (
            facts.resampled,
            "Ask people about the new policy's answers.",
            "Sample from it and rate: only people can tell whether a higher reward is a better"
            " answer.",
            "sample",
        ),
    ]
