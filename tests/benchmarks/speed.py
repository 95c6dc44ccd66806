"""What the shared prompt saves against TRL's own path.

    make bench

Both sides of a ratio run in the same process, alternating; the ratio's spread is over the repeats.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from trl import GRPOTrainer

from data.schema import make_prompt
from grpo.config import PolicySettings, SamplingSettings
from grpo.loop import processor
from grpo.trainer.policy_trainer import PolicyTrainer, TrainingParts
from reward_model.config import BUILT_IN_MODEL
from reward_model.language_model.device import choose_device, choose_dtype
from reward_model.language_model.loading import load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import render_prompt

REPEATS = 3
GROUP = 8
PROMPTS = (
    "My houseplant's leaves are turning yellow at the edges. What should I check first?",
    "Please rewrite this more politely: send me the report now, I have waited long enough.",
)


def main() -> None:
    print(f"{processor()}, {choose_dtype()[1]}, {time.strftime('%Y-%m-%d')}")
    with tempfile.TemporaryDirectory() as scratch:
        shared_prompt(Path(scratch))


def shared_prompt(scratch: Path) -> None:
    """One GRPO batch of 2 prompts x 8 completions x 48 tokens: generation, log-probabilities."""
    origin = find_origin(BUILT_IN_MODEL)
    tokenizer = load_tokenizer(origin)
    settings = PolicySettings(
        prompts_per_step=2, group_size=GROUP, sampling=SamplingSettings(max_new_tokens=48)
    )
    prompts = [make_prompt(text) for text in PROMPTS]
    unused: Any = None  # nothing is scored here
    parts = TrainingParts(origin, origin, tokenizer, unused, scratch, prompts, choose_dtype()[0])
    trainer = PolicyTrainer(settings, parts, scratch / "trainer")
    ids = [render_prompt(tokenizer, p) for p in prompts for _ in range(GROUP)]
    width = max(map(len, ids))
    pad = tokenizer.pad_token_id
    torch.manual_seed(0)
    padded = torch.tensor([[pad] * (width - len(i)) + i for i in ids])
    batch = torch.cat([padded, torch.randint(100, 40000, (len(ids), 48))], 1)
    batch = batch.to(choose_device())
    mask = (batch != pad).long()

    def backward(owner: type) -> None:
        logps, _, _ = owner._get_per_token_logps_and_entropies(
            trainer, trainer.model, batch, mask, 48, compute_entropy=True
        )
        logps.sum().backward()

    def generate(owner: type) -> None:
        owner._generate_single_turn(trainer, ids, None, {}, GROUP)

    compare("log-probabilities, forward and backward", backward)
    compare("generation", generate)


def compare(name: str, act: Callable[[type], None]) -> None:
    """Time both trainers in turn; print the ratio with its spread."""
    times: dict[type, list[float]] = {GRPOTrainer: [], PolicyTrainer: []}
    for owner in times:
        act(owner)
        wait()
    for _ in range(REPEATS):
        for owner, seconds in times.items():
            begun = time.monotonic()
            act(owner)
            wait()
            seconds.append(time.monotonic() - begun)
    ratios = [a / b for a, b in zip(times[GRPOTrainer], times[PolicyTrainer], strict=True)]
    theirs, ours = (median(seconds) for seconds in times.values())
    print(
        f"{name}: TRL {theirs:.2g} s, ours {ours:.2g} s,"
        f" ratio {median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}], n={REPEATS}",
        flush=True,
    )


def wait() -> None:
    """Until a GPU has done what it was given: it works on while the program goes on."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
