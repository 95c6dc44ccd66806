"""Log-probabilities of a group's completions with their prompt run once."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.utils import _ChunkedLogProbFunction

from reward_model.language_model.shared_prompt import run_completions, run_prompts

VOCABULARY_CHUNK = 32768
GPU_WORTH = 40_000
"""Tokens in a batch from which sharing prompts may pay on a GPU."""
_UNUSUAL_HEAD = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "output_multiplier_scale",
)


def can_share(causal: PreTrainedModel) -> bool:
    config = causal.config.get_text_config()
    plain_head = not any(getattr(config, name, None) for name in _UNUSUAL_HEAD)
    return plain_head and not causal.is_activation_checkpointing


def worth_sharing(input_ids: Tensor, keep: int) -> bool:
    """Whether sharing the prompt saves more than its second pass through the layers costs.

    Always on a processor. On a GPU, which small batches leave idle, it halved the speed at 3,000
    tokens in all with short prompts, and gave a third more at 64,000 with long ones (measured on an
    H200 with the built-in model); between them this rule is a guess.
    """
    long = input_ids.size(1) - keep >= 2 * keep
    return input_ids.device.type == "cpu" or (long and input_ids.numel() >= GPU_WORTH)


def shared_prompt_logps(
    causal: PreTrainedModel,
    input_ids: Tensor,
    attention_mask: Tensor,
    keep: int,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of each of the last `keep` tokens: (B, keep), 0 where masked.

    input_ids, attention_mask: (B, P + keep): prompts padded on the left, completions on the right.
    """
    width = input_ids.size(1) - keep
    prompts = torch.cat([input_ids[:, :width], attention_mask[:, :width]], 1)
    unique, owner = torch.unique(prompts, dim=0, return_inverse=True)
    p_ids, p_mask = unique[:, :width], unique[:, width:]
    c_ids, c_mask = input_ids[:, width:], attention_mask[:, width:].bool()
    # the prompt's last state predicts the first token, each token's the next: the last is not read
    out, cache = run_prompts(causal.base_model, p_ids, p_mask, owner)
    before_last = attention_mask[:, width:-1]
    rest = run_completions(causal.base_model, cache, p_mask[owner], c_ids[:, :-1], before_last)
    hidden = torch.cat([out.last_hidden_state[:, -1:][owner], rest], 1)[c_mask]
    head = causal.get_output_embeddings()
    # TRL's running log-sum-exp over chunks of the vocabulary: (tokens, vocabulary) never exists,
    # neither here nor in the backward pass, where it would be most of the memory
    outputs = _ChunkedLogProbFunction.apply(
        hidden,
        head.weight,
        head.bias,
        c_ids[c_mask],
        temperature,
        VOCABULARY_CHUNK,
        None,
        1.0,
        ("log_probs", "entropy"),
    )
    blank = torch.zeros(c_mask.shape, dtype=outputs[0].dtype, device=hidden.device)
    logps = blank.masked_scatter(c_mask, outputs[0])
    return logps, blank.masked_scatter(c_mask, outputs[1])
