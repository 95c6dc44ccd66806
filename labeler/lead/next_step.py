"""The one thing to do next: worked out from counts and runs, pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from data.runs.kinds import RUN_KINDS
from reward_model.config import MIN_JUDGEMENTS

Goal = Literal["data", "queue", "reward", "sft", "sample", "grpo", "compare"]


@dataclass(frozen=True)
class LoopState:
    """What the recommendation rests on."""

    prompts: int = 0
    demonstrations: int = 0
    completions: int = 0
    judgements: int = 0
    """Of all kinds: a reward model learns from them together."""
    live: Collection[str] = ()
    """Kinds of runs that are going on."""
    sft: bool = False
    sft_sampled: bool = False
    """Whether the newest SFT policy has answered prompts for people to rate."""
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


def next_step(facts: LoopState) -> Step:
    """The first thing in the loop that is missing; to wait for it while it is going on."""
    step = _first_missing(facts)
    if step.goal not in facts.live:
        return step
    about = "This page follows it; it can be closed."
    return Step(RUN_KINDS[step.goal].going_on, about, step.goal, going_on=True)


def _first_missing(facts: LoopState) -> Step:
    """The loop in order, down to the first step that is not done yet."""
    if not facts.prompts:
        why = "Everything starts from questions that the model is asked."
        return Step("Import prompts.", why, "data")
    if not facts.completions:
        why = f"{facts.prompts:,} prompts are there, and no answer to rate yet."
        return Step("Sample completions.", why, "sample")
    missing = MIN_JUDGEMENTS - facts.judgements
    if facts.sft and not facts.sft_sampled and (missing > 0 or (facts.loses and facts.reward)):
        why = "The reward model is to judge its answers: choose it under Sample from, then rate."
        return Step("Sample from the SFT policy.", why, "sample")
    if missing > 0:
        what = f"{missing} more judgement{'' if missing == 1 else 's'} needed for a reward model."
        why = "Comparisons, ratings and good-or-bad judgements all count. More is better still."
        return Step(what, why, "queue")
    if not (facts.sft or facts.demonstrations):
        return Step("Import demonstrations.", "SFT learns from answers written by people.", "data")
    if not facts.sft:
        why = "GRPO only reinforces answers that the policy already gives: SFT teaches it these."
        return Step("Fine-tune the model on the demonstrations.", why, "sft")
    if not facts.reward:
        why = "It predicts how much people like an answer: the reward that GRPO maximises."
        return Step("Train a reward model on the judgements.", why, "reward")
    if facts.loses:
        what = "Rate more answers, then train the reward model again."
        why = "The newest one beats no baseline: its receipt says why."
        return Step(what, f"{why} GRPO would learn nothing from it.", "queue")
    if not facts.grpo:
        why = "The policy learns to give answers of higher reward while its KL to SFT stays small."
        return Step("Launch GRPO against the reward model.", why, "grpo")
    if not facts.compared:
        why = "On held-out prompts, which nothing else has seen: reward in training proves little."
        return Step("Compare the new policy with the SFT policy.", why, "compare")
    if not facts.resampled:
        what = "Ask people about the new policy's answers."
        why = "only people can tell whether a higher reward is a better answer."
        return Step(what, f"Sample from it and rate: {why}", "sample")
    why = "The loop is closed: each round of judgements on the newest policy teaches the next."
    return Step("Rate the new answers, then train again.", why, "queue")
