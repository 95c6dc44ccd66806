"""LoRA target presets on the names that real architectures give their layers."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from reward_model.config import LoraSettings
from reward_model.language_model.adapter import (
    layer_names,
    lora_config,
    matched,
    resolve_targets,
    what_trains,
)

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": 0,
}
QKVO = {"q_proj", "k_proj", "v_proj", "o_proj"}
GATED = {"gate_proj", "up_proj", "down_proj"}
NAMES = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text"), (QKVO, GATED)),
    "phi": ({"q_proj", "k_proj", "v_proj", "dense"}, {"fc1", "fc2"}),
    "phi3": ({"qkv_proj", "o_proj"}, {"gate_up_proj", "down_proj"}),
    "gpt2": ({"c_attn", "c_proj"}, {"c_fc", "c_proj"}),
    "gpt_neox": ({"query_key_value", "dense"}, {"dense_h_to_4h", "dense_4h_to_h"}),
    "opt": ({"q_proj", "k_proj", "v_proj", "out_proj"}, {"fc1", "fc2"}),
    "bloom": ({"query_key_value", "dense"}, {"dense_h_to_4h", "dense_4h_to_h"}),
    "falcon": ({"query_key_value", "dense"}, {"dense_h_to_4h", "dense_4h_to_h"}),
}


def tiny(kind, **changes):
    shape = {**SHAPE, **changes}
    if kind == "gpt2":
        shape = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2}
    if kind == "falcon":
        del shape["head_dim"]
    if kind == "opt":
        shape |= {"word_embed_proj_dim": 16, "ffn_dim": 32}
    if kind == "bloom":
        shape |= {"n_layer": 2, "n_head": 2}
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape))


def put_on(model, targets):
    """The full names of the modules that get an adapter."""
    settings = LoraSettings(rank=2, alpha=4, targets=targets)
    return set(matched(get_peft_model(model, lora_config(model, settings, "CAUSAL_LM"))))


def linear_in_blocks(model):
    kinds = (torch.nn.Linear, Conv1D)
    found = {n for n, m in model.named_modules() if isinstance(m, kinds)}
    heads = {n for n, m in model.named_modules() if m is model.get_output_embeddings()}
    return {f"base_model.model.{n}" for n in found - heads}


@pytest.mark.parametrize("kind", NAMES)
def test_presets_find_the_layers_of_a_real_architecture(kind):
    attention, mlp = (put_on(tiny(kind), t) for t in ("attention", "mlp"))
    assert (set(layer_names(attention)), set(layer_names(mlp))) == NAMES[kind]
    assert not attention & mlp
    every = put_on(tiny(kind), "all")
    assert every == attention | mlp == linear_in_blocks(tiny(kind))


def test_no_match_is_refused_with_what_there_is():
    config = AutoConfig.for_model(
        "mamba", vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4
    )
    model = AutoModelForCausalLM.from_config(config)
    for preset in ("attention", "mlp"):
        with pytest.raises(
            ValueError, match=f"'{preset}' match nothing.*dt_proj, in_proj, x_proj; all"
        ):
            resolve_targets(model, preset)
    assert layer_names(put_on(model, "all")) == ["dt_proj", "in_proj", "x_proj"]
    with pytest.raises(ValueError, match="none: use --tuning full"):
        resolve_targets(torch.nn.Sequential(torch.nn.Embedding(3, 3)), "all")


def test_routers_of_experts_are_left_alone():
    model = tiny("mixtral", num_local_experts=2)
    names = layer_names(put_on(model, "all"))
    assert "gate" not in names and "q_proj" in names


def test_what_matched_is_said():
    model = tiny("llama")
    settings = LoraSettings(rank=2, alpha=4, targets="attention")
    said = what_trains(get_peft_model(model, lora_config(model, settings, "CAUSAL_LM")))
    assert said.startswith("LoRA on k_proj, o_proj, q_proj, v_proj (8 modules): 448 parameters")
    assert said.endswith("% of the model")
    assert what_trains(tiny("llama")).endswith("100.00% of the model")
