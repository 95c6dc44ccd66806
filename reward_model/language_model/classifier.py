"""The network: a causal model's body and one linear head, read at a text's last token.

Completions of one prompt share the pass over it: the prompt runs once, its keys and values are
handed to every completion. In float32 this equals running each text by itself to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, DynamicCache, PreTrainedModel

from reward_model.language_model.render import Rendered


def with_head(causal: PreTrainedModel, pad_token_id: int) -> PreTrainedModel:
    """A sequence classifier with one output on the causal model's body; the head starts at zero."""
    config = causal.config
    config.num_labels = 1
    config.problem_type = "regression"  # keeps serving stacks from squashing the reward
    config.get_text_config().pad_token_id = pad_token_id
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    prefix = model.base_model_prefix
    setattr(model, prefix, getattr(causal, causal.base_model_prefix))
    device = next(causal.parameters()).device
    model.score = nn.Linear(config.get_text_config().hidden_size, 1, bias=False, device=device)
    nn.init.zeros_(model.score.weight)
    return model


def body_of(model: PreTrainedModel) -> nn.Module:
    body: nn.Module = getattr(model, model.base_model_prefix)
    return body


def last_states(body: Any, texts: Sequence[Rendered], pad_token_id: int) -> Tensor:
    """Hidden state at each text's last token, (N, hidden), in float32.

    Texts with the same prompt ids share one pass over the prompt.
    """
    device = next(body.parameters()).device
    prompts = list(dict.fromkeys(tuple(t.prompt) for t in texts))
    owner = torch.tensor([prompts.index(tuple(t.prompt)) for t in texts], device=device)
    p_ids, p_mask = _padded([list(p) for p in prompts], pad_token_id, device, left=True)
    cache = DynamicCache()
    positions = (p_mask.cumsum(-1) - 1).clamp(min=0)
    out = body(
        input_ids=p_ids,
        attention_mask=p_mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    )
    prompt_end = out.last_hidden_state[:, -1]
    lengths = torch.tensor([len(t.completion) for t in texts], device=device)
    if int(lengths.max()) == 0:
        return prompt_end[owner].float()
    c_ids, c_mask = _padded([t.completion for t in texts], pad_token_id, device, left=False)
    cache.batch_select_indices(owner)
    starts = p_mask.sum(-1)[owner]
    positions = starts[:, None] + torch.arange(c_ids.size(1), device=device)[None]
    hidden = body(
        input_ids=c_ids,
        attention_mask=torch.cat([p_mask[owner], c_mask], 1),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    ends = hidden[torch.arange(len(texts), device=device), (lengths - 1).clamp(min=0)]
    return torch.where((lengths > 0)[:, None], ends, prompt_end[owner]).float()


def _padded(
    rows: list[list[int]], pad: int, device: torch.device, left: bool
) -> tuple[Tensor, Tensor]:
    """(ids, mask), both (B, T)."""
    width = max(1, *(len(r) for r in rows)) if rows else 1
    ids = torch.full((len(rows), width), pad, dtype=torch.long, device=device)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        where = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, where] = torch.tensor(row, dtype=torch.long, device=device)
        mask[i, where] = 1
    return ids, mask
