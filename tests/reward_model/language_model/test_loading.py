"""A language model as it is loaded."""

from __future__ import annotations

import torch

from reward_model.language_model.loading import load_model
from reward_model.language_model.origin import find_origin


def test_buffers_keep_their_precision_when_weights_are_cast(tiny_model):
    model = load_model(find_origin(str(tiny_model)), torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
