"""Supervised fine-tuning on the demonstrations, with TRL's SFTTrainer; loss on completions only."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from transformers import PreTrainedTokenizerBase

from data.runs.recorder import Recorder
from data.schema import Demonstration
from data.splits import split_of
from data.store import Store
from data.texts.thinking import part
from grpo.config import SftSettings
from grpo.policies.checkpoint import find_policy
from grpo.reports.records import TrainingReport
from grpo.supervised import TokenRows, learn
from reward_model.chat.chat_format import chat_format
from reward_model.language_model.loading import load_tokenizer
from reward_model.language_model.render import render, render_prompt, require_thinking
from reward_model.model_checks.context import prompts_taken

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
    if note := chat_format(tokenizer).note:
        print(note, flush=True)
    if settings.thinking == "whole":
        require_thinking(tokenizer)
    texts = _tokenize(sides, tokenizer, settings)
    rows = texts.rows
    n = len(rows["train"])
    if n < FEWEST:
        raise ValueError(
            f"{n} demonstrations of at most {settings.max_tokens} tokens are too few: at least"
            f" {FEWEST} are needed; raise --max-tokens"
        )
    aside = f", the thinking of {texts.parted} left out" if texts.parted else ""
    course = learn(settings, origin, tokenizer, rows, run, "fine-tuning", "sft")
    return TrainingReport(
        summary=course.sentence(f"fine-tuned on {n} demonstrations{aside}"),
        course=course,
        texts={
            "demonstrations": n,
            "left_out_too_long": texts.too_long,
            "left_out_refused_by_template": texts.refused,
            "left_out_thinking_alone": texts.thinking_alone,
            "thinking_not_learned": texts.parted,
        },
        model=settings.model,
        seconds=round(time.monotonic() - started, 1),
    )


@dataclass
class _Tokenized:
    """Demonstrations as token ids, by split, and how many of all splits are not or not whole."""

    rows: dict[str, TokenRows] = field(default_factory=dict)
    refused: int = 0
    thinking_alone: int = 0
    parted: int = 0
    too_long: int = 0


def _tokenize(
    sides: Mapping[str, Sequence[Demonstration]],
    tokenizer: PreTrainedTokenizerBase,
    settings: SftSettings,
) -> _Tokenized:
    asked = (d.prompt for found in sides.values() for d in found)
    fitting = prompts_taken(asked, lambda p: render_prompt(tokenizer, p), settings.model)
    if fitting.counted:
        print(fitting.sentence, flush=True)
    made = _Tokenized()
    for side, every in sides.items():
        found = [d for d in every if d.prompt.id in fitting.ids]
        said = [part(d.text).answer if settings.thinking == "answer" else d.text for d in found]
        pairs = [(d, text) for d, text in zip(found, said, strict=True) if text]
        texts = [to_row(tokenizer, replace(d, text=text)) for d, text in pairs]
        made.rows[side] = [row for row in texts if len(row["input_ids"]) <= settings.max_tokens]
        made.refused += len(every) - len(found)
        made.thinking_alone += len(found) - len(pairs)
        made.parted += sum(text != d.text for d, text in zip(found, said, strict=True))
        made.too_long += len(texts) - len(made.rows[side])
    return made


def to_row(
    tokenizer: PreTrainedTokenizerBase, demonstration: Demonstration
) -> dict[str, list[int]]:
    """Token ids as rewards read them; labels on the completion and on the end of its turn.

    None on what the template writes behind that, where sampling has stopped. A template that leaves
    the end of the last turn out has it added, else nothing would teach the model to end.
    """
    form = chat_format(tokenizer)
    text = render(tokenizer, demonstration.prompt, demonstration.text, finished=True)
    learned = text.completion[: len(text.completion) - text.behind]
    if not form.ends_turn:
        learned = [*learned, form.end]
    rest = text.completion[len(text.completion) - text.behind :]
    return {
        "input_ids": [*text.prompt, *learned, *rest],
        "labels": [-100] * len(text.prompt) + learned + [-100] * text.behind,
    }
