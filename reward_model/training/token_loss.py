"""The language-model loss on better completions, beside the likelihood of the judgements.

Tuning bends a network towards its few judgements; having to write good answers still holds it back.
Rui Yang et al. (2024), "Regularizing hidden states enables learning generalizable reward model for
LLMs" (GRM), arXiv:2406.10216. Here the policy's own output layer reads the same pass's last states,
and it and the layers above the head's stay as they are, so that they can be cut off afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from data.stats.intervals import Floats
from reward_model.dataset.examples import TIE, A
from reward_model.language_model.render import Rendered
from reward_model.language_model.shared_prompt import distinct_prompts, pad_rows
from reward_model.language_model.views import CLOSE
from reward_model.likelihood.joint import Joint


def times_better(joint: Joint) -> Floats:
    """How often each completion won a comparison or was called good (completions,).

    A rating alone makes no completion a better one: each annotator has a scale of their own.
    """
    pairs, binary = joint.pairs, joint.binary
    decided = pairs.outcome != TIE
    won = np.where(pairs.outcome == A, pairs.a, pairs.b)[decided]
    places = np.concatenate([won, binary.item[binary.good == 1]])
    return np.bincount(places, minlength=len(joint.prompt)).astype(float)


@torch.inference_mode()
def output_layer(causal: PreTrainedModel) -> nn.Module:
    """What gives the logits of the next token from the last states; it will not be trained.

    Raises ValueError where the model does more to them than that.
    """
    head = causal.get_output_embeddings()
    if head is not None:
        ids = torch.tensor([[1, 2, 3]], device=causal.device)
        logits: Tensor = causal(input_ids=ids).logits
        apart = (head(causal.base_model(input_ids=ids).last_hidden_state) - logits).abs().max()
        if apart <= CLOSE * logits.abs().max():
            found: nn.Module = head.requires_grad_(False)
            return found
    raise ValueError("the model's logits are no product of its last states: use --lm-weight 0")


@contextmanager
def last_states(network: PreTrainedModel) -> Iterator[list[Tensor]]:
    """What the body gives in each pass meanwhile (N, T, d)."""
    seen: list[Tensor] = []
    hook = network.base_model.register_forward_hook(
        lambda module, given, out: seen.append(out.last_hidden_state)
    )
    try:
        yield seen
    finally:
        hook.remove()


def token_loss(
    output: nn.Module, passes: Sequence[Tensor], texts: Sequence[Rendered], pad_token_id: int
) -> Tensor:
    """The mean log-loss of each completion's tokens (N,), in nats; 0 of an empty one.

    passes: the last states that `completion_states` ran for the texts, of their distinct prompts
    and of the completions. What the template writes behind an end of turn does not count.
    """
    device = passes[0].device
    if len(passes) == 1:  # all are empty
        return torch.zeros(len(texts), device=device)
    prompts, completions = passes
    _, _, owner = distinct_prompts([t.prompt for t in texts], pad_token_id, device)
    before = torch.cat([prompts[owner, -1:], completions[:, :-1]], 1)
    ids, mask = pad_rows([t.completion for t in texts], pad_token_id, device, "right")
    for row, text in enumerate(texts):
        mask[row, len(text.completion) - text.behind :] = 0
    logits: Tensor = output(before.to(next(output.parameters()).dtype))
    losses = F.cross_entropy(logits.float().transpose(1, 2), ids, reduction="none")
    return (losses * mask).sum(1) / mask.sum(1).clamp(min=1)
