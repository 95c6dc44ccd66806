"""LoRA target presets, resolved by looking at the model's own linear layers.

Lives beside the backbone because both reward models and policies sit on it.
"""

from __future__ import annotations

import re

from peft import LoraConfig
from torch import nn
from transformers.pytorch_utils import Conv1D

from reward_model.config import LoraSettings

_ATTENTION = re.compile(
    r"^(q|k|v|o)_proj$|^(query|key|value|dense|out_proj|qkv|qkv_proj|query_key_value|c_attn|Wqkv)$"
)
_MLP = re.compile(
    r"^(gate|up|down)_proj$|^(gate_up_proj|fc1|fc2|c_fc|dense_h_to_4h|dense_4h_to_h|w1|w2|w3)$"
)
_HEADS = ("lm_head", "embed_out", "score", "classifier")


def resolve_targets(model: nn.Module, preset: str) -> list[str]:
    """Names of the modules that a preset stands for in this model, as suffixes for LoRA.

    `attention` and `mlp` are told apart by name, and by the parent's where the name says nothing
    (GPT-2 calls both output layers c_proj). Raises ValueError where nothing matches.
    """
    found: dict[str, set[str]] = {"attention": set(), "mlp": set()}
    for name, module in model.named_modules():
        leaf = name.rsplit(".", 1)[-1]
        if isinstance(module, nn.Linear | Conv1D) and leaf not in _HEADS:
            part = _part_of(name)
            if part:
                found[part].add(".".join(name.split(".")[-2:]))
    chosen = found["attention"] | found["mlp"] if preset == "all" else found.get(preset, set())
    if not chosen:
        linear = sorted(
            {n.rsplit(".", 1)[-1] for n, m in model.named_modules() if type(m) is nn.Linear}
        )
        raise ValueError(
            f"LoRA targets {preset!r} match nothing in this model: use attention, mlp or all; its"
            f" linear layers are {', '.join(linear) or 'none'}"
        )
    return sorted(chosen)


def _part_of(name: str) -> str | None:
    *parents, leaf = name.split(".")
    parent = parents[-1] if parents else ""
    if leaf in ("c_proj", "dense", "out_proj"):
        return "mlp" if "mlp" in parent else "attention"
    if _ATTENTION.match(leaf):
        return "attention"
    return "mlp" if _MLP.match(leaf) or "mlp" in parent else None


def lora_config(model: nn.Module, settings: LoraSettings, task: str) -> LoraConfig:
    """PEFT's configuration for these settings; `task` is CAUSAL_LM or SEQ_CLS."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=resolve_targets(model, settings.targets),
        task_type=task,
    )


def trainable_share(model: nn.Module) -> tuple[int, float]:
    """How many parameters train, and their share of all."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return trainable, trainable / max(1, sum(p.numel() for p in model.parameters()))
