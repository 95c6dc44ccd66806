"""The policy's own answers, on which the reward's unit is defined."""

from __future__ import annotations

from collections.abc import Callable

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Completion
from data.splits import split_of
from data.store import Store
from reward_model.language_model.generation import (
    completion_from,
    end_tokens,
    generate_shared,
    require_finite,
)
from reward_model.language_model.render import render_prompt

Tick = Callable[[int, int, str], None]
MOST = 160
"""Policy samples, at most, from which the reward's mean and standard deviation are taken."""
FEWEST = 48
EACH = 4
"""Fresh answers to each prompt: the spread within a prompt is what GRPO learns from."""
TOKENS = 64


def reference_samples(
    store: Store,
    policy: str,
    load: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    tick: Tick,
) -> tuple[list[Completion], str]:
    """(answers of the policy to training prompts, where they come from).

    Those that it has written already; where they are few, fresh ones, for which `load` loads the
    policy. Whole prompts first: a prompt's answers stay together.
    """
    prompts = [p for p in store.content.prompts() if split_of(p) == "train"]
    own = [
        g.completion
        for g in store.content.generations(policy)
        if split_of(g.completion.prompt) == "train"
    ]
    if len(own) >= FEWEST or not prompts:
        own.sort(key=lambda c: c.prompt.id)
        return own[:MOST], f"stored answers of {policy}"
    tick(0, 1, "sampling the policy, for the reward's unit")
    asked = [prompts[i // EACH % len(prompts)] for i in range(FEWEST)]
    causal = load()
    ends = end_tokens(causal, tokenizer)
    config = GenerationConfig(
        do_sample=True,
        top_k=0,
        max_new_tokens=TOKENS,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
    )
    rendered = [render_prompt(tokenizer, p) for p in asked]
    require_finite(causal, rendered[0], policy)
    answers = generate_shared(causal, rendered, config)
    drawn = [completion_from(tokenizer, *pair, ends) for pair in zip(asked, answers, strict=True)]
    return drawn, f"fresh answers of {policy}"
