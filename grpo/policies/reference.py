"""The reference policy of GRPO's KL term, pinned by the hash of its weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from peft import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedModel
from trl.trainer.utils import use_adapter

from grpo.policies.checkpoint import find_policy, read_origin
from reward_model.language_model.origin import Origin
from reward_model.model_checks.adapter_files import whole_layers


def reference_of(name: str, workspace: Path) -> tuple[str, Origin]:
    """The SFT policy that KL is measured against: a GRPO run's own reference, else the policy.

    So a second round that starts from the first one's policy keeps the same reference. Raises
    ValueError where the reference is no longer what it was.
    """
    origin, facts = find_policy(name, workspace), read_origin(name, workspace)
    if "sft_hash" not in facts:
        return name, origin
    reference = find_policy(facts["reference"], workspace)
    if reference.hash != facts["sft_hash"]:
        raise ValueError(
            f"SFT policy {facts['reference']!r} has changed since {name} was trained on it: its"
            f" hash is {reference.hash[:12]}, not {facts['sft_hash'][:12]}; restore it, or start"
            " from an SFT run"
        )
    return str(facts["reference"]), reference


def require_matrices_alone(origin: Origin) -> None:
    """ValueError where an adapter trains whole layers or tokens beside its LoRA matrices.

    The frozen copy that KL is measured against would have other weights than the policy.
    """
    other = whole_layers(Path(origin.adapter)) if origin.adapter else []
    if other:
        raise ValueError(
            f"the adapter in {origin.adapter} holds {other[0]} beside its LoRA matrices, which GRPO"
            " cannot train: export it (coach export-policy), and start from the exported folder"
        )


def pin_reference(model: PreTrainedModel, origin: Origin) -> None:
    """Set the frozen "ref" adapter to the SFT policy's weights, whatever the policy's are.

    Where the reference is a plain model, "ref" is made to add nothing to it.
    """
    if not origin.adapter:
        for name, parameter in model.named_parameters():
            if ".ref." in name and "lora_B" in name:
                parameter.data.zero_()
        return
    weights = load_peft_weights(origin.adapter, device="cpu")
    result = set_peft_model_state_dict(model, weights, adapter_name="ref")
    if result.unexpected_keys:
        raise ValueError(
            f"the SFT adapter in {origin.adapter} does not fit the policy: start both from the"
            " same SFT run"
        )


def as_reference(model: PreTrainedModel) -> AbstractContextManager[None]:
    """The policy as the reference, meanwhile: with its adapter "ref", or with none."""
    used: AbstractContextManager[None]
    used = use_adapter(model, "ref" if "ref" in model.peft_config else None)
    return used


def adapter_state(model: torch.nn.Module, name: str = "default") -> dict[str, Tensor]:
    """A copy of an adapter's weights in float32, on the processor.

    An embedding that the adapter brought along is the model's, and the same for all.
    """
    state = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    return {key: value.detach().float().cpu().clone() for key, value in state.items()}


def adapter_distance(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Euclidean distance between two states of an adapter, as a share of the first one's norm."""
    away = sum(float((after[key] - value).square().sum()) for key, value in before.items())
    size = sum(float(value.square().sum()) for value in before.values())
    return float((away / max(size, 1e-30)) ** 0.5)


def reference_hashes(model: PreTrainedModel, reference: Origin) -> tuple[str, str]:
    """(of the reference in memory, of the SFT policy's file): equal where it is that policy.

    Where the reference is a plain model, it is the policy without adapter, or with one that adds
    nothing; then both are the model's own hash.
    """
    pinned = adapter_state(model, "ref") if "ref" in model.peft_config else {}
    if not reference.adapter:
        adds = any(bool(value.any()) for key, value in pinned.items() if "lora_B" in key)
        return (state_hash(pinned) if adds else reference.hash), reference.hash
    stored = load_peft_weights(reference.adapter, device="cpu")
    wanted = state_hash({key: value for key, value in stored.items() if "lora_" in key})
    return (state_hash(pinned) if pinned else "no adapter of its own"), wanted


def state_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names and the float32 values."""
    found = hashlib.sha256()
    for key in sorted(state):
        found.update(key.encode())
        found.update(state[key].float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
