"""Which layers are read, and that a body cut above them gives the same."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from reward_model.language_model.classifier import completion_states, with_head
from reward_model.language_model.render import Rendered
from reward_model.language_model.views import View, cut_layers, find_blocks, views_of, widest

SMALL = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_hidden_layers": 5,
    "pad_token_id": 0,
}
MAKES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SMALL, head_dim=8)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, head_dim=8, sliding_window=8)),
    "phi3": lambda: Phi3ForCausalLM(Phi3Config(**SMALL)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=64, n_embd=16, n_layer=5, n_head=2, pad_token_id=0)
    ),
}
TEXTS = [
    Rendered([5, 6, 7], [8, 9, 10, 11]),
    Rendered([5, 6, 7], [12]),
    Rendered([20, 21], []),
    Rendered([20, 21], [30, 31]),
]


@pytest.fixture(params=MAKES, scope="module")
def model(request) -> PreTrainedModel:
    torch.manual_seed(0)
    return MAKES[request.param]().eval()


@torch.no_grad()
def by_transformers(model: PreTrainedModel, view: View) -> torch.Tensor:
    """The same states by the library's own list of them, text by text."""
    blocks, found = find_blocks(model), []
    for text in TEXTS:
        out = model.base_model(torch.tensor([text.ids]), output_hidden_states=True)
        row = []
        for layer in view.layers:
            raw = out.hidden_states[layer][0]
            last_layer = layer == len(blocks.layers)
            states = out.last_hidden_state[0] if last_layer else blocks.norm(raw)
            row.append(states[-1])
            if view.mean:
                own = states[len(text.prompt) :]
                row.append(own.mean(0) if len(own) else states[-1])
        found.append(torch.cat(row))
    return torch.stack(found)


@pytest.mark.parametrize("view", [View((3, 4), True), View((5,)), View((3, 4, 5), True)])
def test_states_are_those_of_the_library_through_the_norm(model, view):
    with torch.no_grad():
        ours = completion_states(model, TEXTS, 0, view)
    assert torch.allclose(ours, by_transformers(model, view), atol=1e-5)


def test_a_body_cut_above_what_is_read_gives_the_same(model):
    views, layers = views_of(model)
    assert layers == 5 and views[0] == View((3, 4), True) and views[-1] == View((5,))
    view = View((2, 3), True)
    network = with_head(deepcopy(model), 0, view).eval()
    assert len(find_blocks(network).layers) == 3 == network.config.num_hidden_layers
    assert len(getattr(network.config, "layer_types", None) or range(3)) == 3
    with torch.no_grad():
        whole, less = (completion_states(m, TEXTS, 0, view) for m in (model, network))
    assert torch.allclose(whole, less, atol=1e-6)
    # what an export holds: the library's own classifier, on fewer layers
    ids = torch.tensor([TEXTS[0].ids])
    with torch.no_grad():
        last = network.base_model(ids).last_hidden_state[0, -1]
    assert torch.allclose(last, less[0, view.exported.columns(view, less.shape[1])], atol=1e-5)


def test_features_of_a_part_are_found_in_those_of_the_whole(model):
    whole = widest(views_of(model)[0])
    with torch.no_grad():
        states = completion_states(model, TEXTS, 0, whole)
        for view in views_of(model)[0]:
            part = states[:, view.columns(whole, states.shape[1])]
            assert torch.allclose(part, completion_states(model, TEXTS, 0, view), atol=1e-6)


def test_a_model_that_does_not_show_its_layers_is_read_at_the_last():
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=64, hidden_size=16, ffn_dim=32, num_hidden_layers=4, num_attention_heads=2,
        word_embed_proj_dim=8, do_layer_norm_before=False, pad_token_id=0,
    )  # fmt: skip
    model = OPTForCausalLM(config).eval()
    assert views_of(model) == ([View((4,), True), View((4,))], 4)
    with pytest.raises(ValueError, match="shows no layers to read: 2 of 4"):
        cut_layers(model, 2)
