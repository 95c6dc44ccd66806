"""The reference policy of GRPO's KL term, pinned by the hash of its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft.utils.save_and_load import (
    get_peft_model_state_dict,
    load_peft_weights,
    set_peft_model_state_dict,
)
from torch import Tensor
from transformers import PreTrainedModel

from data.runs.files import runs_folder
from grpo.policies.checkpoint import find_policy
from reward_model.language_model.origin import (
    ORIGIN,
    Origin,
)


def reference_of(name: str, workspace: Path) -> tuple[str, Origin]:
    """The SFT policy that KL is measured against: a GRPO run's own reference, else the policy.

    So a second round that starts from the first one's policy keeps the same reference. Raises
    ValueError where the reference is no longer what it was.
    """
    origin = find_policy(name, workspace)
    inside = runs_folder(workspace) / name
    path = (inside if inside.is_dir() else Path(name).expanduser()) / ORIGIN
    facts = json.loads(path.read_text()) if path.is_file() else {}
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


def pin_reference(model: PreTrainedModel, origin: Origin) -> None:
    """Set the frozen "ref" side-car to the SFT policy's weights, whatever the policy's are.

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
            f"the SFT side-car in {origin.adapter} does not fit the policy: start both from the"
            " same SFT run"
        )


def side_car(model: Any, name: str = "default") -> dict[str, Tensor]:
    """A copy of a side-car's weights in float32, on the processor."""
    state = get_peft_model_state_dict(model, adapter_name=name)
    return {key: value.detach().float().cpu().clone() for key, value in state.items()}


def moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Euclidean distance between two states of a side-car, as a share of the first one's norm."""
    away = sum(float((after[key] - value).square().sum()) for key, value in before.items())
    size = sum(float(value.square().sum()) for value in before.values())
    return float((away / max(size, 1e-30)) ** 0.5)


def reference_hashes(model: Any, reference: Origin) -> tuple[str, str]:
    """(of the reference in memory, of the SFT policy's file): equal where it is that policy.

    Where the reference is a plain model, it is the policy without side-car, or with one that adds
    nothing; then both are the model's own hash.
    """
    if not reference.adapter:
        adds = "ref" in model.peft_config and any(
            bool(value.any()) for key, value in side_car(model, "ref").items() if "lora_B" in key
        )
        return (state_hash(side_car(model, "ref")) if adds else reference.hash), reference.hash
    if "ref" not in model.peft_config:
        return "no side-car of its own", state_hash(_on_disk(reference))
    return state_hash(side_car(model, "ref")), state_hash(_on_disk(reference))


def state_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names and the float32 values."""
    found = hashlib.sha256()
    for key in sorted(state):
        found.update(key.encode())
        found.update(state[key].float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _on_disk(origin: Origin) -> dict[str, Tensor]:
    return dict(load_peft_weights(origin.adapter, device="cpu"))
