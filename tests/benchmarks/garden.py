"""A small world in which GRPO is healthy: a tiny model that answers questions about a garden.

Its answers vary: warm or dry, on the question or beside it, short or rambling, and they end. The
reward model has learnt the simulated annotators' taste, so there is something to climb: trained
once, in seconds, by the product's own stages.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from transformers import AutoModelForCausalLM

from data import runs
from data.schema import Demonstration, Prompt, make_prompt
from data.settings import as_config
from data.simulated_annotators import simulate
from data.splits import split_of
from data.store import Store
from grpo import sample, sft
from grpo.config import SampleSettings, SamplingSettings, SftSettings
from grpo.policies.checkpoint import find_policy
from reward_model import train as reward_train
from reward_model.config import LoraSettings, RewardSettings
from reward_model.language_model.loading import load_tokenizer
from reward_model.language_model.origin import Origin
from reward_model.language_model.render import render
from reward_model.scoring.scorer import Scorer
from tests.support.content import add_content
from tests.support.tiny import make_tiny

THINGS = (
    "tulips", "roses", "bread", "soup", "bees", "apples", "beans", "lettuce", "ferns", "onions",
    "pears", "herbs", "carrots", "hens", "plums", "daisies",
)  # fmt: skip
QUESTIONS = (
    "How do I care for {}?",
    "When is the best time for {}?",
    "What goes well with {}?",
    "My neighbour gave me {}. What now?",
    "Why do {} fail every year?",
    "Is there a trick with {}?",
)
WARM = (
    "Glad you asked, thank you!",
    "I am happy to help, and wish you luck.",
    "What a lovely thing to want, thanks.",
)
DRY = ("Well.", "Great question.", "It is important to note that it depends.", "First of all,", "")
BODIES = (
    "{} like sun and a little water",
    "keep {} dry and out of the wind",
    "put {} near the wall in spring",
    "most {} want to be left alone",
    "turn the soil before {} come",
    "give {} some time to rest",
)
LINKS = (" and then ", ", or ", ", but first ")
WARM_ENDS = ("Enjoy your {}!", "Good luck with the {}.", "I hope this works for you.", "Take care!")
DRY_ENDS = ("That is all.", "It is what people do", "", "In conclusion, see a book about {}.")
LENGTHS = (0.8, 0.2)
"""Chances of one and of two pieces of advice."""
SAMPLING = SamplingSettings(max_new_tokens=36)
LORA = LoraSettings(rank=16, alpha=32, targets="all")


@dataclass(frozen=True)
class Size:
    """How much training the world gets."""

    steps: int
    """Of pretraining."""
    epochs: float
    """Of SFT."""
    per_prompt: int
    judgements: int


WHOLE = Size(steps=500, epochs=5.0, per_prompt=10, judgements=2400)
SMALL = Size(steps=120, epochs=1.0, per_prompt=2, judgements=120)


@dataclass(frozen=True)
class Garden:
    """The workspace with its SFT policy and its reward model."""

    workspace: Path
    store: Store
    sft: str
    reward: str
    policy: Origin
    tokenizer: Any
    scorer: Scorer
    prompts: tuple[Prompt, ...]
    """Of the training side."""


def answer(thing: str, rng: random.Random, warm: float = 0.35, on: float = 0.55) -> str:
    """One of many answers to a question about the thing; `warm` and `on` it that often."""
    about = thing if rng.random() < on else rng.choice(THINGS)
    opener = rng.choice(WARM if rng.random() < warm else DRY)
    advice = rng.choices((1, 2), LENGTHS)[0]
    body = rng.choice(BODIES).format(about)
    for _ in range(advice - 1):
        body += rng.choice(LINKS) + rng.choice(BODIES).format(rng.choice((about, "them")))
    end = rng.choice(WARM_ENDS if rng.random() < warm else DRY_ENDS).format(about)
    body = body[0].upper() + body[1:] if opener[-1:] != "," else body
    return " ".join(part for part in (opener, body + ".", end) if part)


def questions() -> list[tuple[str, str]]:
    """Every question with what it is about."""
    return [(q.format(thing), thing) for thing in THINGS for q in QUESTIONS]


def pretrain(folder: Path, steps: int, seed: int = 0) -> Path:
    """A tiny model that has learnt to talk with all its weights: seldom warmly or on the question,
    which is for SFT to teach."""
    rng = random.Random(seed)
    text = "\n".join(f"{q} {answer(thing, rng)}" for q, thing in questions() for _ in range(3))
    make_tiny(folder, seed, vocabulary=800, text=text)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = load_tokenizer(find_policy(str(folder), folder))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    for _ in range(steps):
        asked = rng.choices(questions(), k=32)
        texts = [
            render(tokenizer, make_prompt(q), answer(thing, rng, 0.15, 0.2), finished=True)
            for q, thing in asked
        ]
        width = max(len(t.ids) for t in texts)
        ids = torch.tensor([t.ids + [0] * (width - len(t.ids)) for t in texts])
        labels = torch.tensor(
            [[-100] * len(t.prompt) + t.completion + [-100] * (width - len(t.ids)) for t in texts]
        )
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.save_pretrained(folder)
    return folder


def run_stage(store: Store, workspace: Path, kind: str, work: Any, settings: Any) -> str:
    """Run one of the product's stages as its command does; returns the run's id."""
    settings = replace(settings, workspace=workspace)
    with runs.recording(store, workspace, kind, as_config(settings)) as run:
        report = work(settings, store, run)
        run.report(report if isinstance(report, dict) else report.as_json())
    return run.id


@contextmanager
def garden(workspace: Path, size: Size = WHOLE) -> Iterator[Garden]:
    """Train the world in a folder, or open it where it has been.

    In float32 whatever the processor: the figures are then the same everywhere, to rounding.
    """
    plain = patch.object(torch.cpu, "get_capabilities", dict)
    with plain, Store.open(workspace) as store:
        if not store.runs.list("reward"):
            _train(store, workspace, size)
        ids = {kind: store.runs.list(kind)[0].id for kind in ("sft", "reward")}
        policy = find_policy(ids["sft"], workspace)
        yield Garden(
            workspace,
            store,
            ids["sft"],
            ids["reward"],
            policy,
            load_tokenizer(policy),
            Scorer.load(runs.runs_folder(workspace) / ids["reward"]),
            tuple(p for p in store.content.prompts() if split_of(p) == "train"),
        )


def _train(store: Store, workspace: Path, size: Size) -> None:
    rng = random.Random(1)
    asked = [(make_prompt(q), thing) for q, thing in questions() for _ in range(4)]
    add_content(store, [Demonstration(prompt, answer(thing, rng)) for prompt, thing in asked])
    base = pretrain(workspace / "model", size.steps)
    tuned = SftSettings(model=str(base), lora=LORA, learning_rate=2e-3, epochs=size.epochs)
    policy = run_stage(store, workspace, "sft", sft.train, tuned)
    drawn = SampleSettings(
        policy=policy,
        sampling=SAMPLING,
        tasks=size.judgements,
        per_prompt=size.per_prompt,
        batch_size=256,
    )
    run_stage(store, workspace, "sample", sample.sample, drawn)
    simulate(store, size.judgements, annotators=3)
    learned = RewardSettings(policy=policy, lora=LORA, epochs=5, learning_rate=2e-3)
    run_stage(store, workspace, "reward", reward_train.train, learned)
