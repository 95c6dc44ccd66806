"""Supervised fine-tuning on the demonstrations, with TRL's SFTTrainer; loss on completions only."""

from __future__ import annotations

import time

from transformers import PreTrainedTokenizerBase

from data.runs.recorder import Recorder
from data.schema import Demonstration
from data.splits import split_of
from data.store import Store
from grpo.config import SftSettings
from grpo.policies.checkpoint import find_policy
from grpo.reports.records import TrainingReport
from grpo.supervised import Rows, learn
from reward_model.language_model.loading import load_tokenizer
from reward_model.language_model.render import render

FEWEST = 8


def train(settings: SftSettings, store: Store, run: Recorder) -> TrainingReport:
    """Fine-tune on the training prompts' demonstrations; saves the policy, returns the report.

    An adapter is saved alone, with the name of its model; full tuning saves whole weights.
    Raises ValueError for too few demonstrations.
    """
    started = time.monotonic()
    demonstrations = store.content.demonstrations()
    sides = {
        s: [d for d in demonstrations if split_of(d.prompt) == s] for s in ("train", "validation")
    }
    if len(sides["train"]) < FEWEST:
        raise ValueError(
            f"{len(sides['train'])} demonstrations of training prompts are too few: at least"
            f' {FEWEST} are needed; import some ({{"type": "demonstration", ...}})'
        )
    origin = find_policy(settings.model, settings.workspace)
    tokenizer = load_tokenizer(origin)
    rows = {s: _render_rows(tokenizer, found, settings.max_tokens) for s, found in sides.items()}
    n = len(rows["train"])
    if n < FEWEST:
        raise ValueError(
            f"{n} demonstrations of at most {settings.max_tokens} tokens are too few: at least"
            f" {FEWEST} are needed; raise --max-tokens"
        )
    course = learn(settings, origin, tokenizer, rows, run, "fine-tuning", "sft")
    return TrainingReport(
        summary=course.sentence(f"fine-tuned on {n} demonstrations"),
        course=course,
        texts={
            "demonstrations": n,
            "left_out_too_long": sum(len(sides[s]) - len(rows[s]) for s in sides),
        },
        model=settings.model,
        seconds=round(time.monotonic() - started, 1),
    )


def _render_rows(
    tokenizer: PreTrainedTokenizerBase, demonstrations: list[Demonstration], max_tokens: int
) -> Rows:
    """Token ids by the same `render` that rewards use, with labels on the completion."""
    texts = (render(tokenizer, d.prompt, d.text, finished=True) for d in demonstrations)
    return [
        {"input_ids": text.ids, "labels": [-100] * len(text.prompt) + text.completion}
        for text in texts
        if len(text.ids) <= max_tokens
    ]
