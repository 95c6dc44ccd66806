"""The one thing to do next: worked out from counts and runs, pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

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
    button: str
    goal: Goal


def next_step(facts: Facts) -> Step:
    """The first thing in the loop that is missing."""
    if not facts.prompts:
        return Step(
            "Import prompts.",
            "Everything starts from questions that the model is asked.",
            "Open Data",
            "data",
        )
    if not facts.completions:
        return _or_wait(
            facts,
            Step(
                "Sample completions.",
                f"{facts.prompts:,} prompts are there, and no answer to rate yet.",
                "Sample completions",
                "sample",
            ),
        )
    missing = MIN_JUDGEMENTS - facts.judgements
    if missing > 0:
        return Step(
            f"{missing} more {_plural(missing, 'judgement')} needed for a reward model.",
            "Which of two answers is better, how good one is: it learns from every kind. More is"
            " better still.",
            "Open the queue",
            "queue",
        )
    return _train(facts)


def _train(facts: Facts) -> Step:
    if not facts.sft and not facts.demonstrations:
        return Step(
            "Import demonstrations.",
            "Answers written by people teach the policy its first manners.",
            "Open Data",
            "data",
        )
    steps = (
        (facts.sft, SFT),
        (facts.reward, REWARD),
        (not facts.loses, BETTER),
        (facts.grpo, GRPO),
        (facts.compared, COMPARE),
        (facts.resampled, AGAIN),
    )
    for done, step in steps:
        if not done:
            return _or_wait(facts, step)
    return Step(
        "Rate the new answers, then train again.",
        "The loop is closed: each round of judgements on the newest policy teaches the next.",
        "Open the queue",
        "queue",
    )


SFT = Step(
    "Fine-tune the model on the demonstrations.",
    "GRPO only amplifies answers that the policy can already give: SFT teaches it to give them.",
    "Fine-tune (SFT)",
    "sft",
)
REWARD = Step(
    "Train a reward model on the judgements.",
    "It learns to say how much people like an answer, so that GRPO has something to go by.",
    "Train reward model",
    "reward",
)
BETTER = Step(
    "Rate more answers, then train the reward model again.",
    "The newest one beats no baseline: its receipt says why. GRPO would learn nothing from it.",
    "Open the queue",
    "queue",
)
GRPO = Step(
    "Launch GRPO against the reward model.",
    "The policy learns to give answers that score higher, without leaving SFT too far behind.",
    "Launch GRPO",
    "grpo",
)
COMPARE = Step(
    "Compare the new policy with the SFT policy.",
    "On prompts that nothing else has seen; reward in training alone proves little.",
    "Compare",
    "compare",
)
AGAIN = Step(
    "Ask people about the new policy's answers.",
    "Sample from it and rate: only people can tell whether a higher reward is a better answer.",
    "Sample completions",
    "sample",
)
_NAMES = {
    "sample": "Completions are being sampled.",
    "sft": "The model is being fine-tuned.",
    "reward": "The reward model is being trained.",
    "grpo": "GRPO is running.",
    "compare": "The policies are being compared.",
}


def _or_wait(facts: Facts, step: Step) -> Step:
    if step.goal not in facts.live:
        return step
    return Step(_NAMES[step.goal], "This page follows it; it can be closed.", "Watch it", step.goal)


def _plural(n: int, word: str) -> str:
    return word if n == 1 else word + "s"
