"""Sampling completions from a causal model, the prompts of a group run once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedTokenizerBase

from data.schema import Completion, Prompt
from reward_model.language_model.shared_prompt import distinct_prompts, run_prompts

# Models are `Any` here: `generate` belongs to a mixin that PreTrainedModel does not declare, and
# PEFT's wrapper hands it on.


@torch.no_grad()
def generate_shared(
    model: Any, prompts: Sequence[Sequence[int]], config: GenerationConfig
) -> list[list[int]]:
    """Token ids of one completion of each prompt, in order, up to and with the first end-of-turn.

    Draws from the same distribution as `model.generate` on the padded prompts. Raises ValueError
    where the model's scores are not finite.
    """
    ids, mask, owner = distinct_prompts(prompts, int(config.pad_token_id), model.device)
    width = ids.size(1)
    cache = DynamicCache()
    if width > 1:
        # all but the last token: generate itself reads that one, to draw the first new token
        read, cache = run_prompts(model, ids[:, :-1], mask[:, :-1], owner, logits_to_keep=1)
        if not bool(torch.isfinite(read.logits).all()):
            raise ValueError(
                "the model's scores are not finite: its weights overflow; use a smaller"
                " --learning-rate, or another model"
            )
    out = model.generate(
        input_ids=ids[owner],
        attention_mask=mask[owner],
        past_key_values=cache,
        generation_config=config,
    )
    ends = _token_list(config.eos_token_id)
    drawn: list[list[int]] = out[:, width:].tolist()
    stops = [next((i for i, t in enumerate(row) if t in ends), len(row)) for row in drawn]
    return [row[: stop + 1] for row, stop in zip(drawn, stops, strict=True)]


@torch.no_grad()
def require_finite(model: Any, prompt: Sequence[int], name: str) -> None:
    """Raise ValueError where the model's next-token scores of a prompt are not finite."""
    logits = model(input_ids=torch.tensor([list(prompt)], device=model.device)).logits
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            f"model {name!r} cannot be sampled: its scores are not finite, so it overflows or is"
            " damaged; use another model"
        )


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end a completion: the tokenizer's end-of-turn, and any the model declares."""
    declared = _token_list(model.generation_config.eos_token_id)
    return list(dict.fromkeys([int(tokenizer.eos_token_id), *declared]))


def completion_from(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, tokens: list[int], ends: list[int]
) -> Completion:
    """The text of generated tokens; `finished` where they end with one of `ends`."""
    finished = bool(tokens) and tokens[-1] in ends
    text = tokenizer.decode(tokens[:-1] if finished else tokens, skip_special_tokens=True)
    return Completion(prompt, str(text), finished)


def _token_list(value: int | list[int] | None) -> list[int]:
    """A configuration's end-of-turn as a list: it may name none, one or several."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
