"""Policies on disk: finding one, loading it to train, and saving what was trained."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from data.atomic_files import whole_folder
from data.runs.files import run_folder, runs_folder
from reward_model.language_model.loading import merged
from reward_model.language_model.origin import (
    ADAPTER,
    MODEL,
    ORIGIN,
    Origin,
    find_origin,
    save_origin,
)
from reward_model.model_checks.adapter_files import tokenizer_files
from reward_model.model_checks.saving import check_saving


def find_policy(name: str, workspace: Path) -> Origin:
    """Where a policy's weights are. Raises ValueError for a run that has none."""
    return find_origin(name, runs_folder(workspace))


def read_origin(name: str, workspace: Path) -> dict[str, str]:
    """What a run noted of its origin (origin.json); empty where it noted nothing."""
    path = run_folder(name, workspace) / ORIGIN
    found: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def save_policy(model: PreTrainedModel, folder: Path, origin: Origin, **facts: str) -> None:
    """Write the trained adapter, the tokenizer that it came with, and the model it belongs to."""
    with warnings.catch_warnings():  # an embedding that was resized goes along, as it should
        warnings.filterwarnings("ignore", "Setting `save_embedding_layers`")
        model.save_pretrained(folder / ADAPTER, selected_adapters=["default"])
    for path in tokenizer_files(Path(origin.adapter)) if origin.adapter else []:
        shutil.copy(path, folder / ADAPTER / path.name)
    save_origin(folder, origin, **facts)


def try_saving(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    tuning: str,
    merged_after: bool = False,
) -> None:
    """Try before a training what is saved after it: ValueError where that would fail.

    merged_after: whether an adapter is merged into the whole weights in the end.
    """
    whole = tuning == "full" or merged_after
    parts = [p for p in model.parameters() if whole or p.requires_grad]
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    size = 4 * sum(p.numel() for p in parts)  # bytes: saved in float32
    check_saving(folder, size, tokenizer, base if whole else None)


def save_whole(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    origin: Origin,
    **facts: str,
) -> None:
    """Write all weights as an ordinary model folder inside the run's, and what they came from."""
    disable_progress_bar()
    with whole_folder(folder / MODEL) as whole:
        model.save_pretrained(whole)
        tokenizer.save_pretrained(whole)
    save_origin(folder, origin, **facts)


def save_merged(
    tokenizer: PreTrainedTokenizerBase, folder: Path, origin: Origin, **facts: str
) -> None:
    """Merge the adapter in a run's folder into its model: `save_whole`, in the adapter's place.

    Merged and written in float32, so that the model gives to the bit what adapter and model gave,
    and a small change is not lost in a coarser rounding.
    """
    adapter = folder / ADAPTER
    whole = merged(Origin(origin.model, str(adapter)), torch.float32)
    save_whole(whole, tokenizer, folder, origin, **facts)
    shutil.rmtree(adapter)
