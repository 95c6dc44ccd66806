"""One recommendation, always the first thing that is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from labeler.lead.next_step import LoopState, next_step

READY = LoopState(prompts=10, demonstrations=5, completions=40, judgements=60)
RATED = replace(READY, sft=True, sft_sampled=True, reward=True)
TRAINED = replace(READY, sft=True, reward=True, grpo=True)


@pytest.mark.parametrize(
    ("facts", "goal", "words"),
    [
        (LoopState(), "data", "Import prompts"),
        (LoopState(prompts=10), "sample", "Sample completions"),
        (LoopState(prompts=10, live={"sample"}), "sample", "being sampled"),
        (replace(READY, judgements=0), "queue", "20 more judgements needed"),
        (replace(READY, judgements=19), "queue", "1 more judgement needed"),
        (READY, "sft", "Fine-tune"),
        (replace(READY, demonstrations=0), "data", "Import demonstrations"),
        (replace(READY, live={"sft"}), "sft", "being fine-tuned"),
        (replace(READY, sft=True), "reward", "Train a reward model"),
        (replace(READY, sft=True, judgements=0), "sample", "Sample from the SFT policy"),
        (replace(READY, sft=True, judgements=0, live={"sample"}), "sample", "being sampled"),
        (replace(READY, sft=True, judgements=0, sft_sampled=True), "queue", "20 more"),
        (replace(READY, sft=True, reward=True, loses=True), "sample", "Sample from the SFT policy"),
        (replace(READY, sft=True, live={"reward"}), "reward", "being trained"),
        (replace(READY, sft=True, reward=True), "grpo", "Launch GRPO"),
        (replace(RATED, loses=True), "queue", "Rate more answers"),
        (TRAINED, "compare", "Compare"),
        (replace(TRAINED, compared=True), "sample", "Ask people"),
        (replace(TRAINED, compared=True, resampled=True), "queue", "Rate the new answers"),
    ],
)
def test_the_first_thing_missing_is_recommended(facts: LoopState, goal: str, words: str) -> None:
    step = next_step(facts)
    assert step.goal == goal
    assert words in step.title
    assert step.why and step.button
