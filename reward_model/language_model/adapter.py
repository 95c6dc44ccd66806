"""LoRA adapters: which of a model's layers they sit on, and putting one on a model."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from reward_model.config import LoraSettings
from reward_model.model_checks.adapter_files import adapter_names, embedding_rows, whole_layers

ATTENTION_LAYER = re.compile(
    r"^(q|k|v|o)_proj$|^(query|key|value|qkv|qkv_proj|query_key_value|c_attn|Wqkv)$"
)
MLP_LAYER = re.compile(
    r"^(gate|up|down)_proj$|^(gate_up_proj|fc1|fc2|c_fc|dense_h_to_4h|dense_4h_to_h|w1|w2|w3)$"
)
NEVER_ADAPTED = (
    "lm_head",
    "embed_out",
    "score",
    "classifier",
    "gate",
    "router",
    "shared_expert_gate",
)
"""Heads, and what sends tokens to experts."""
STATE_SPACE_OUTPUT = ("mixer.out_proj", "mamba.out_proj")
"""PEFT refuses these: the fused kernel of a state-space layer reads past an adapter."""


def resolve_targets(model: nn.Module, preset: str) -> list[str]:
    """Names of the modules that a preset stands for in this model, as suffixes for LoRA.

    `attention` and `mlp` are told apart by the name of the block's part that a layer is in, and by
    the layer's own where that says nothing. `all` is every linear layer of the blocks, also one
    that is neither. Raises ValueError where nothing matches.
    """
    linear = [  # of the model's blocks, which are numbered
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and any(part.isdigit() for part in name.split("."))
        and name.rsplit(".", 1)[-1] not in NEVER_ADAPTED
        and not name.endswith(STATE_SPACE_OUTPUT)
    ]
    chosen = {
        ".".join(name.split(".")[-2:])
        for name in linear
        if preset == "all" or _part_of(name) == preset
    }
    if not chosen:
        leaves = layer_names(linear)
        remedy = "; all takes every one" if leaves else ": use --tuning full"
        raise ValueError(
            f"LoRA targets {preset!r} match nothing in this model: its linear layers are"
            f" {', '.join(leaves) or 'none'}{remedy}"
        )
    return sorted(chosen)


def _part_of(name: str) -> str | None:
    *parents, leaf = name.split(".")
    for parent in reversed(parents):
        if "attn" in parent or "attention" in parent:
            return "attention"
        if "mlp" in parent or "ffn" in parent or "feed_forward" in parent:
            return "mlp"
    if ATTENTION_LAYER.match(leaf):
        return "attention"
    return "mlp" if MLP_LAYER.match(leaf) else None


def lora_config(model: nn.Module, settings: LoraSettings, task: str) -> LoraConfig:
    """PEFT's configuration for these settings; `task` is CAUSAL_LM or SEQ_CLS."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=resolve_targets(model, settings.targets),
        task_type=task,
    )


def in_float32(model: nn.Module) -> None:
    """Bring what trains to float32: in a coarser precision small steps would be lost."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def matched(model: nn.Module) -> list[str]:
    """The full names of the modules that an adapter sits on."""
    return [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]


def trainable_share(model: nn.Module) -> tuple[int, float]:
    """How many parameters train, and their share of all."""
    if isinstance(model, PeftModel):  # it counts what 4 bits hold two to a byte
        trainable, every = model.get_nb_trainable_parameters()
    else:
        trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        every = sum(p.numel() for p in model.parameters())
    return trainable, trainable / max(1, every)


def what_trains(model: nn.Module) -> str:
    """One line on what trains: which modules, how many parameters, what share of the model."""
    n, share = trainable_share(model)
    names = matched(model)
    where = f"LoRA on {', '.join(layer_names(names))} ({len(names)} modules)" if names else "all"
    return f"{where}: {n:,} parameters train, {share:.2%} of the model"


def layer_names(names: Iterable[str]) -> list[str]:
    """What modules are called inside their blocks, each name once."""
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def fit_embedding(model: PreTrainedModel, adapter: str) -> None:
    """Give the model as many tokens as the embedding that an adapter brings along."""
    rows = embedding_rows(Path(adapter))
    if rows is not None and rows != model.get_input_embeddings().weight.size(0):
        model.resize_token_embeddings(rows, mean_resizing=False)


def with_adapter(model: PreTrainedModel, adapter: str, **options: Any) -> PeftModel:
    """The model with an adapter on it. Raises ValueError for one that belongs to another model."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # checked below
            warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")  # see merged
            stacked = PeftModel.from_pretrained(model, adapter, **options)
    except (RuntimeError, ValueError) as error:
        if "size mismatch" not in str(error) and "not found in the base model" not in str(error):
            raise
        raise ValueError(foreign_adapter(adapter)) from None
    there = get_peft_model_state_dict(stacked, save_embedding_layers=False)
    if {name for name in there if "lora_" in name} != adapter_names(Path(adapter)):
        raise ValueError(foreign_adapter(adapter))
    return stacked


def foreign_adapter(adapter: str) -> str:
    """What to say of an adapter that does not fit."""
    return (
        f"the adapter in {adapter} belongs to another model than the one it is put on: name"
        " the run it came from, or the model it was trained on"
    )


def trainable_adapter(model: PreTrainedModel, adapter: str, dropout: float) -> PeftModel:
    """The model with an adapter on it that trains, with this dropout.

    Raises ValueError for one on the output layer or on single tokens: TRL reads log-probabilities
    past them.
    """
    names = adapter_names(Path(adapter))
    on_output = any(".lm_head." in name or ".embed_out." in name for name in names)
    if on_output or "trainable_token_indices" in whole_layers(Path(adapter)):
        where = "the output layer" if on_output else "single tokens"
        raise ValueError(
            f"the adapter in {adapter} sits on {where} too, where it cannot be trained further: use"
            " --tuning full (coach sft), or name an export of it (coach export-policy)"
        )
    config = LoraConfig.from_pretrained(adapter)
    config.lora_dropout = dropout
    fit_embedding(model, adapter)
    return with_adapter(model, adapter, is_trainable=True, config=config)
