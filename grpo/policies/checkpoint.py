"""Policies on disk: finding one, loading it to train, and saving what was trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers.utils.logging import disable_progress_bar

from data.runs.files import runs_folder
from data.store import Store
from reward_model.language_model.loading import merged
from reward_model.language_model.origin import (
    ADAPTER,
    MODEL,
    Origin,
    find_origin,
    save_origin,
)


def find_policy(name: str, workspace: Path) -> Origin:
    """Where a policy's weights are. Raises ValueError for a run that has none."""
    return find_origin(name, runs_folder(workspace))


def newest(store: Store, kind: str, what: str, remedy: str) -> str:
    """Id of the newest finished run of a kind. Raises ValueError with the remedy if none is."""
    for run in store.runs.list(kind):
        if run.status == "finished":
            return run.id
    raise ValueError(f"there is no finished {what} yet: {remedy}")


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
