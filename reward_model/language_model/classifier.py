"""The network of a reward model: a causal model's body under one linear head.

The head reads hidden states of a completion; see `views`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from data.stats.intervals import Floats
from reward_model.language_model.render import Rendered
from reward_model.language_model.shared_prompt import (
    distinct_prompts,
    pad_rows,
    run_completions,
    run_prompts,
)
from reward_model.language_model.views import View, cut_layers, find_blocks, first_of, layer_count


def with_head(
    causal: PreTrainedModel, pad_token_id: int, view: View | None = None, whole: bool = False
) -> PreTrainedModel:
    """A sequence classifier with one output on the causal model's body; the head starts at zero.

    The body loses the layers above those that `view` reads, by default the last, unless it is to
    stay whole. Where the view is more than one state, the head is wider than the body:
    `completion_states` feeds it.
    """
    view = view or View((layer_count(causal),))
    if not whole:
        cut_layers(causal, view.depth)
    config = causal.config
    config.num_labels = 1
    config.problem_type = "regression"  # else serving stacks squash the reward by a sigmoid
    config.get_text_config().pad_token_id = pad_token_id
    # on "meta" no second body is allocated: the causal model's own takes its place
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    setattr(model, model.base_model_prefix, getattr(causal, causal.base_model_prefix))
    give_head(model, np.zeros(view.blocks * config.get_text_config().hidden_size))
    return model


def give_head(model: PreTrainedModel, weights: Floats) -> None:
    """Put a new head with these weights (D,), in float32, in the place of the one that is there."""
    with torch.device(model.device):
        model.score = nn.Linear(len(weights), 1, bias=False)
    set_head(model, weights)


def head_weights(model: nn.Module) -> Tensor:
    """The head's weights (1, D), the trained ones where an adapter holds a copy of the head."""
    return cast(nn.Linear, model.score).weight


def set_head(model: nn.Module, weights: Floats) -> None:
    """Give the head these weights (D,)."""
    head_weights(model).data.copy_(torch.from_numpy(weights)[None])


def apply_head(model: nn.Module, states: Tensor) -> Tensor:
    """The head's output (N,) on states (N, D), in the head's own dtype."""
    weights = head_weights(model)
    out: Tensor = cast(nn.Linear, model.score)(states.to(weights.device, weights.dtype))
    return out[:, 0]


def completion_states(
    model: PreTrainedModel, texts: Sequence[Rendered], pad_token_id: int, view: View | None = None
) -> Tensor:
    """What a head reads of each text (N, blocks * d), in float32.

    By default the state behind the last layer at the last token. Texts with the same prompt ids
    share one pass over the prompt. An empty completion has no token of its own: its last, and its
    mean, is where its prompt ends.
    """
    body, device = model.base_model, model.device
    view = view or View((layer_count(model),))
    prompts, prompt_mask, owner = distinct_prompts([t.prompt for t in texts], pad_token_id, device)
    lengths = torch.tensor([len(t.completion) for t in texts], device=device)
    rows = torch.arange(len(texts), device=device)
    with _layers_read(model, view) as read:
        _, cache = run_prompts(body, prompts, prompt_mask, owner)
        prompt_ends = [states[:, -1][owner].float() for states in read()]
        if int(lengths.max()) == 0:
            return torch.cat([end for end in prompt_ends for _ in range(1 + view.mean)], 1)
        ids, mask = pad_rows([t.completion for t in texts], pad_token_id, device, "right")
        run_completions(body, cache, prompt_mask[owner], ids, mask)
        found = []
        for states, prompt_end in zip(read(), prompt_ends, strict=True):
            end = states[rows, (lengths - 1).clamp(min=0)].float()
            found.append(torch.where((lengths > 0)[:, None], end, prompt_end))
            if view.mean:
                total = (states.float() * mask[..., None]).sum(1)
                mean = total / lengths.clamp(min=1)[:, None]
                found.append(torch.where((lengths > 0)[:, None], mean, prompt_end))
    return torch.cat(found, 1)


@contextmanager
def _layers_read(model: PreTrainedModel, view: View) -> Iterator[Callable[[], list[Tensor]]]:
    """A function that gives each layer's states (N, T, d) of the last pass, through the norm."""
    body, last = model.base_model, layer_count(model)
    kept: dict[int, Tensor] = {}
    hooks = [
        body.register_forward_hook(lambda m, i, out: kept.update({last: out.last_hidden_state}))
    ]
    blocks = find_blocks(model) if view.layers != (last,) else None
    norm = blocks.norm if blocks else nn.Identity()
    for layer in set(view.layers) - {last}:
        if blocks is None:
            raise ValueError(f"the model shows no layers to read: {layer} of {last} was asked for")
        hooks.append(
            blocks.layers[layer - 1].register_forward_hook(
                lambda m, i, out, layer=layer: kept.update({layer: norm(first_of(out))})
            )
        )
    try:
        yield lambda: [kept[layer] for layer in view.layers]
    finally:
        for hook in hooks:
            hook.remove()
