"""Completions of one prompt share the pass over it.

Each distinct prompt runs once; its keys and values are handed to all its completions. In float32
this equals running each text by itself, to rounding. Prompts are padded on the left, so that each
ends in the last column and its completion follows at once; completions on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache
from transformers.utils import ModelOutput


def distinct_prompts(
    prompts: Sequence[Sequence[int]], pad_token_id: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """(ids (P, T), mask (P, T), owner (N,)): each different prompt of N once, and its row."""
    rows = {prompt: row for row, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
    owner = torch.tensor([rows[tuple(p)] for p in prompts], device=device)
    return *pad_rows(list(rows), pad_token_id, device, "left"), owner


def pad_rows(
    rows: Sequence[Sequence[int]],
    pad_token_id: int,
    device: torch.device,
    side: Literal["left", "right"],
) -> tuple[Tensor, Tensor]:
    """(ids, mask) of token ids padded on one side to the longest, both (B, T)."""
    ids = [torch.tensor(row, dtype=torch.long, device=device) for row in rows]
    mask = [torch.ones_like(row) for row in ids]
    return (
        pad_sequence(ids, batch_first=True, padding_value=pad_token_id, padding_side=side),
        pad_sequence(mask, batch_first=True, padding_side=side),
    )


def run_prompts(
    network: nn.Module, ids: Tensor, mask: Tensor, owner: Tensor, **options: object
) -> tuple[ModelOutput, DynamicCache]:
    """(the network's output on P prompts, their keys and values with one row for each of N texts).

    ids, mask: (P, T), padded on the left; owner: (N,), the row of each text's prompt; options: to
    the network.
    """
    cache = DynamicCache()
    out: ModelOutput = network(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        **options,
    )
    cache.batch_select_indices(owner)
    return out, cache


def run_completions(
    body: nn.Module, cache: DynamicCache, prompt_mask: Tensor, ids: Tensor, mask: Tensor
) -> Tensor:
    """Hidden states (N, T, d) of completions behind the prompts in `cache`.

    prompt_mask: (N, P), of each text's prompt; ids, mask: (N, T), padded on the right.
    """
    # padding repeats a text's last position: counted on it could exceed what the model has
    steps = mask.cumsum(-1) - 1
    hidden: Tensor = body(
        input_ids=ids,
        attention_mask=torch.cat([prompt_mask, mask], 1),
        position_ids=prompt_mask.sum(-1, keepdim=True) + steps,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return hidden
