"""Adapter folders, as PEFT and TRL write them: adapter_config.json, weights, maybe a tokenizer."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from reward_model.model_checks.folder import (
    AGAIN,
    TOKENIZER_SETTINGS,
    VOCABULARIES,
    check_tokenizer,
    check_weights,
    has_tokenizer,
    read_json_file,
)

CONFIG = "adapter_config.json"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]*(/[\w.\-]+)?")
MERGE = "merge it into its model (merge_and_unload of PEFT, then save_pretrained), and name that"
EMBEDDING = re.compile(r"(^|\.)(lm_head|embed_out|embed_tokens|wte|embed_in|word_embeddings)\.")
"""Modules with a row for each token."""


def is_adapter(folder: Path) -> bool:
    """Whether PEFT wrote the folder."""
    return (folder / CONFIG).is_file()


def adapter_base(folder: Path) -> str:
    """The model that an adapter belongs to: a folder's absolute path, or a hub id.

    A path is looked for where the command runs and beside the adapter. Raises ValueError where the
    folder holds no adapter that can be used here, or its model is not found.
    """
    config = read_json_file(folder / CONFIG)
    _check_kind(folder, config)
    check_weights(folder, "adapter_model", "adapter_model")
    if has_tokenizer(folder):
        check_tokenizer(folder)
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base.strip():
        raise ValueError(
            f"the adapter in {str(folder)!r} does not say which model it belongs to: set"
            f" base_model_name_or_path in its {CONFIG} to that model's folder or Hugging Face id"
        )
    for place in (Path(base).expanduser(), folder / base, folder.parent / base):
        if place.is_dir():
            if is_adapter(place):
                raise ValueError(
                    f"the adapter in {str(folder)!r} sits on another adapter, {base!r}: {MERGE}"
                )
            return str(place.absolute())
    local = folder.exists() and (base.count("/") > 1 or base.startswith((".", "~", "/")))
    if local or not HUB_ID.fullmatch(base):
        raise ValueError(
            f"the adapter in {str(folder)!r} belongs to the model {base!r}, which is not here: set"
            f" base_model_name_or_path in its {CONFIG} to where that model is"
        )
    return base


def _check_kind(folder: Path, config: dict[str, Any]) -> None:
    """ValueError for an adapter that is not LoRA, or not of a language model."""
    kind, task = config.get("peft_type"), config.get("task_type")
    if kind != "LORA":
        raise ValueError(
            f"the adapter in {str(folder)!r} is of the kind {kind}, and only LORA is read: {MERGE}"
        )
    if task not in (None, "CAUSAL_LM"):
        raise ValueError(
            f"the adapter in {str(folder)!r} was made for {task}, not for writing text (CAUSAL_LM):"
            " name a policy's adapter"
        )
    if any((folder / n).is_file() for n in ("model.safetensors", "model.safetensors.index.json")):
        raise ValueError(
            f"{str(folder)!r} holds both a whole model and an adapter ({CONFIG}): remove the one"
            " that is not meant"
        )


def tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer that lies beside an adapter; empty where its model's is to be taken."""
    if not has_tokenizer(folder):
        return []
    names = (*TOKENIZER_SETTINGS, *VOCABULARIES)
    return [folder / name for name in names if (folder / name).is_file()]


def copy_adapter(folder: Path, into: Path) -> None:
    """Copy an adapter and its tokenizer, without what training left beside them."""
    into.mkdir()
    weights = [p for p in folder.glob("adapter_model*") if p.is_file()]
    for path in [folder / CONFIG, *weights, *tokenizer_files(folder)]:
        shutil.copy(path, into / path.name)


def adapter_weights(folder: Path) -> Path:
    """The file with an adapter's weights."""
    safe = folder / "adapter_model.safetensors"
    return safe if safe.is_file() else folder / "adapter_model.bin"


def embedding_rows(folder: Path) -> int | None:
    """How many tokens the embedding has that an adapter brings along; None where it brings none."""
    for name, shape in _shapes(folder).items():
        if not EMBEDDING.search(name):
            continue
        if "lora_embedding_A" in name:
            return shape[1]
        if "lora_" not in name and "trainable_tokens" not in name and len(shape) == 2:
            return shape[0]
        if "lora_B" in name:
            return shape[0]
    return None


def parts_embedding(folder: Path) -> bool:
    """Whether an adapter makes the first layer's embedding another than the last layer's.

    So it is where it sits on one of them, or brings both along and they differ.
    """
    names = [name for name in _shapes(folder) if EMBEDDING.search(name)]
    if any("lora_" in name for name in names):
        return True
    whole = [_tensor(folder, name) for name in names if name.endswith(".weight")]
    return len(whole) == 1 or any(not torch.equal(whole[0], other) for other in whole[1:])


def _shapes(folder: Path) -> dict[str, list[int]]:
    path = adapter_weights(folder)
    if path.suffix == ".bin":
        return {name: list(value.shape) for name, value in _pickled(path).items()}
    with safe_open(path, framework="pt") as stored:
        return {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118


def _tensor(folder: Path, name: str) -> Tensor:
    path = adapter_weights(folder)
    if path.suffix == ".bin":
        return _pickled(path)[name]
    with safe_open(path, framework="pt") as stored:
        found: Tensor = stored.get_tensor(name)
        return found


def adapter_names(folder: Path) -> set[str]:
    """The names of an adapter's own weights, without whole layers that lie beside them."""
    return {name for name in _shapes(folder) if "lora_" in name}


def whole_layers(folder: Path) -> list[str]:
    """What an adapter trains beside its LoRA matrices: modules_to_save, single tokens, biases.

    An embedding that was only resized trains nothing.
    """
    config = read_json_file(folder / CONFIG)
    tokens = ["trainable_token_indices"] if config.get("trainable_token_indices") else []
    biases = ["bias"] if config.get("bias", "none") != "none" else []
    return [*map(str, config.get("modules_to_save") or []), *tokens, *biases]


def _pickled(path: Path) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{str(path)!r} cannot be read ({type(error).__name__}): {AGAIN}, best as safetensors"
        ) from None
    return found
