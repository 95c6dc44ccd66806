"""The network of a reward model: a causal model's body under one linear head.

The head reads the hidden state at a text's last token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from reward_model.language_model.render import Rendered
from reward_model.language_model.shared_prompt import (
    distinct_prompts,
    pad_rows,
    run_completions,
    run_prompts,
)


def with_head(causal: PreTrainedModel, pad_token_id: int) -> PreTrainedModel:
    """A sequence classifier with one output on the causal model's body; the head starts at zero."""
    config = causal.config
    config.num_labels = 1
    config.problem_type = "regression"  # else serving stacks squash the reward by a sigmoid
    config.get_text_config().pad_token_id = pad_token_id
    # on "meta" no second body is allocated: the causal model's own takes its place
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    setattr(model, model.base_model_prefix, getattr(causal, causal.base_model_prefix))
    device = next(causal.parameters()).device
    model.score = nn.Linear(config.get_text_config().hidden_size, 1, bias=False, device=device)
    nn.init.zeros_(model.score.weight)
    return model


def head_weights(model: nn.Module) -> Tensor:
    """The head's weights (1, d), the trained ones where an adapter holds a copy of the head."""
    return cast(nn.Linear, model.score).weight


def set_head(model: nn.Module, weights: NDArray[np.float64]) -> None:
    """Give the head these weights (d,)."""
    head_weights(model).data.copy_(torch.from_numpy(weights)[None])


def apply_head(model: nn.Module, states: Tensor) -> Tensor:
    """The head's output (N,) on states (N, d), in the head's own dtype."""
    weights = head_weights(model)
    out: Tensor = cast(nn.Linear, model.score)(states.to(weights.device, weights.dtype))
    return out[:, 0]


def last_states(model: PreTrainedModel, texts: Sequence[Rendered], pad_token_id: int) -> Tensor:
    """Hidden state below the head at each text's last token, (N, d), in float32.

    Texts with the same prompt ids share one pass over the prompt.
    """
    body, device = model.base_model, model.device
    prompts, prompt_mask, owner = distinct_prompts([t.prompt for t in texts], pad_token_id, device)
    out, cache = run_prompts(body, prompts, prompt_mask, owner)
    prompt_end: Tensor = out.last_hidden_state[:, -1][owner]
    lengths = torch.tensor([len(t.completion) for t in texts], device=device)
    if int(lengths.max()) == 0:
        return prompt_end.float()
    ids, mask = pad_rows([t.completion for t in texts], pad_token_id, device, "right")
    hidden = run_completions(body, cache, prompt_mask[owner], ids, mask)
    ends = hidden[torch.arange(len(texts), device=device), (lengths - 1).clamp(min=0)]
    # an empty completion has no last token: the text ends where its prompt does
    return torch.where((lengths > 0)[:, None], ends, prompt_end).float()
