"""Generation in which the completions of one prompt share the pass over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedTokenizerBase

from data.schema import Completion, Prompt


@torch.no_grad()
def generate_shared(
    model: Any, prompts: Sequence[Sequence[int]], config: GenerationConfig
) -> list[list[int]]:
    """Token ids of one completion of each prompt, in order, up to and with the first end-of-turn.

    Each distinct prompt runs once; its keys and values are handed to all its completions. Draws
    from the same distribution as `model.generate` on the padded prompts. Raises ValueError where
    the model's scores are not numbers.
    """
    device = model.device
    distinct = list(dict.fromkeys(tuple(p) for p in prompts))
    owner = torch.tensor([distinct.index(tuple(p)) for p in prompts], device=device)
    width = max(len(p) for p in distinct)
    ids = torch.full((len(distinct), width), int(config.pad_token_id), device=device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(distinct):
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=device)
        mask[row, width - len(prompt) :] = 1
    cache = DynamicCache()
    if width > 1:
        # all but the last token: generate itself reads that one, to draw the first new token
        read = model(
            input_ids=ids[:, :-1],
            attention_mask=mask[:, :-1],
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, :-1],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        if not bool(torch.isfinite(read.logits).all()):
            raise ValueError(
                "the model's scores are not finite: its weights overflow; use a smaller"
                " --learning-rate, or another model"
            )
        cache.batch_select_indices(owner)
    out = model.generate(
        input_ids=ids[owner],
        attention_mask=mask[owner],
        past_key_values=cache,
        generation_config=config,
    )
    ends = set(_as_list(config.eos_token_id))
    return [_up_to_end(row, ends) for row in out[:, width:].tolist()]


@torch.no_grad()
def require_finite(model: Any, prompt: Sequence[int], name: str) -> None:
    """Raise ValueError where the model's next-token scores of a prompt are not numbers."""
    logits = model(input_ids=torch.tensor([list(prompt)], device=model.device)).logits
    if not bool(torch.isfinite(logits).all()):
        raise ValueError(
            f"model {name!r} cannot be sampled: its scores are not finite, so it overflows or is"
            " damaged; use another model"
        )


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens that end a completion: the tokenizer's end-of-turn, and any the model declares."""
    declared = _as_list(model.generation_config.eos_token_id)
    return list(dict.fromkeys([int(tokenizer.eos_token_id), *declared]))


def completion_from(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, tokens: list[int], ends: list[int]
) -> Completion:
    """The text of generated tokens; `finished` where they end with one of `ends`."""
    finished = bool(tokens) and tokens[-1] in ends
    text = tokenizer.decode(tokens[:-1] if finished else tokens, skip_special_tokens=True)
    return Completion(prompt, str(text), finished)


def _up_to_end(tokens: list[int], ends: set[int]) -> list[int]:
    for place, token in enumerate(tokens):
        if token in ends:
            return tokens[: place + 1]
    return tokens


def _as_list(value: int | list[int] | None) -> list[int]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
