"""Policies on disk: finding one, loading it to train, and saving what was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from data.runs.files import runs_folder
from reward_model.language_model.loading import merged
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


def run_folder(name: str, workspace: Path) -> Path:
    """The folder of a run by its id, or any folder by its path."""
    inside = runs_folder(workspace) / name
    return inside if inside.is_dir() else Path(name).expanduser()


def read_origin(name: str, workspace: Path) -> dict[str, str]:
    """What a run noted of its origin (origin.json); empty where it noted nothing."""
    path = run_folder(name, workspace) / ORIGIN
    found: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def save_policy(model: PreTrainedModel, folder: Path, origin: Origin, **facts: str) -> None:
    """Write the trained adapter (only that) and the model it belongs to."""
    model.save_pretrained(folder / ADAPTER, selected_adapters=["default"])
    save_origin(folder, origin, **facts)


def save_whole(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    origin: Origin,
    **facts: str,
) -> None:
    """Write all weights as an ordinary model folder inside the run's, and what they came from."""
    disable_progress_bar()
    partial = folder / f"{MODEL}.part"
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.replace(folder / MODEL)
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
