"""Policies on disk: finding one, loading it to train, and saving what was trained."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.save_and_load import (
    get_peft_model_state_dict,
    load_peft_weights,
    set_peft_model_state_dict,
)
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from data.runs.files import runs_folder
from data.store import Store
from reward_model.config import LoraSettings
from reward_model.language_model.loading import load_base, merged
from reward_model.language_model.lora import lora_config, trainable_share, what_trains
from reward_model.language_model.origin import (
    ADAPTER,
    MODEL,
    ORIGIN,
    Origin,
    find_origin,
    save_origin,
)


def find_policy(name: str, workspace: Path) -> Origin:
    """Where a policy's weights are. Raises ValueError for a run that has none."""
    return find_origin(name, runs_folder(workspace))


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


def newest(store: Store, kind: str, what: str, remedy: str) -> str:
    """Id of the newest finished run of a kind. Raises ValueError with the remedy if none is."""
    for run in store.runs.list(kind):
        if run.status == "finished":
            return run.id
    raise ValueError(f"there is no finished {what} yet: {remedy}")


def trainable(
    origin: Origin, lora: LoraSettings, dtype: torch.dtype, base: PreTrainedModel | None = None
) -> PeftModel:
    """The policy with a side-car that trains: its own, or a new one on a plain model.

    Its own keeps its rank, alpha and targets; dropout is no part of it and comes from `lora`. It
    is in float32 whatever the model's precision. `base` is the model under it where that is loaded
    already. Raises ValueError if nothing trains.
    """
    base = load_base(origin, dtype) if base is None else base
    if origin.adapter:
        config = LoraConfig.from_pretrained(origin.adapter)
        config.lora_dropout = lora.dropout
        model = PeftModel.from_pretrained(base, origin.adapter, is_trainable=True, config=config)
    else:
        model = get_peft_model(base, lora_config(base, lora, "CAUSAL_LM"))
    in_float32(model)
    if not trainable_share(model)[0]:
        raise ValueError("no parameter of the policy would train: check its side-car")
    print(what_trains(model), flush=True)
    return model


def in_float32(model: Any) -> None:
    """Bring what trains to float32: smaller steps than its own precision would be lost."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


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


def save_policy(model: Any, folder: Path, origin: Origin, **facts: Any) -> None:
    """Write the trained side-car (only that) and what it sits on."""
    model.save_pretrained(folder / ADAPTER, selected_adapters=["default"])
    save_origin(folder, origin, **facts)


def save_whole(model: Any, tokenizer: Any, folder: Path, origin: Origin, **facts: Any) -> None:
    """Write all weights as an ordinary model folder inside the run's, and what they came from."""
    disable_progress_bar()
    partial = folder / f"{MODEL}.part"
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.replace(folder / MODEL)
    save_origin(folder, origin, **facts)


def save_merged(tokenizer: Any, folder: Path, origin: Origin, **facts: Any) -> None:
    """Make the side-car in a run's folder a whole model: `save_whole`, in its place.

    Merged and written in float32, so that what loads is to the bit what side-car and model gave,
    and a small change is not lost in a coarser rounding.
    """
    adapter = folder / ADAPTER
    whole = merged(Origin(origin.model, str(adapter)), torch.float32)
    save_whole(whole, tokenizer, folder, origin, **facts)
    shutil.rmtree(adapter)
