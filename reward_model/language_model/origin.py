"""Where a model comes from: built-in, a folder, a hub id, a run's adapter or whole model."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

ADAPTER = "adapter"
"""Folder, inside a run's, that holds the adapter."""
MODEL = "model"
"""Folder, inside a run's, that holds a policy's whole weights and its tokenizer."""
ORIGIN = "origin.json"


@dataclass(frozen=True)
class Origin:
    """A model, and the adapter on it."""

    model: str
    """Name or folder of the model without adapter."""
    adapter: str
    """Folder of the adapter; empty where there is none."""

    @property
    def hash(self) -> str:
        """SHA-256 over the adapter's weights; without one, the folder's, else the model's name."""
        if not self.adapter:
            weights = sorted(Path(self.model).glob("*.safetensors"))
            named = [self.model] if not weights else [file_hash(path) for path in weights]
            return hashlib.sha256("".join(named).encode()).hexdigest()
        return file_hash(Path(self.adapter) / "adapter_model.safetensors")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_hash(folder: Path) -> str:
    """SHA-256 over the weights in a folder, whatever else lies there."""
    paths = sorted([*folder.rglob("*.safetensors"), *folder.rglob("*.npz")])
    named = "".join(f"{path.relative_to(folder)} {file_hash(path)} " for path in paths)
    return hashlib.sha256(named.encode()).hexdigest()


def find_origin(name: str, runs: Path | None = None) -> Origin:
    """Where a policy's weights are: a run id (with its `runs` folder), a folder, or a model's name.

    Raises ValueError naming the value for a run that has no policy or a folder that has no model.
    """
    folder = runs / name if runs is not None and (runs / name).is_dir() else Path(name).expanduser()
    if (folder / ORIGIN).is_file():
        if (folder / MODEL).is_dir():
            return Origin(str((folder / MODEL).absolute()), "")
        return noted_origin(folder, json.loads((folder / ORIGIN).read_text())["model"], ADAPTER)
    if folder.is_dir():
        if (folder / "config.json").is_file() and (folder / "tokenizer_config.json").is_file():
            return Origin(str(folder.absolute()), "")
        raise ValueError(
            f"{name!r} holds no model: name a finished run, or a folder with a model's config.json"
            " and tokenizer"
        )
    return Origin(name, "")


def save_origin(folder: Path, origin: Origin, **facts: object) -> None:
    """Note beside a policy which model it was trained from, and any facts that belong to it.

    A model in another run's folder is named from here (`../RUN/model`), so that a workspace may be
    moved or copied.
    """
    model, here = Path(origin.model), folder.absolute()
    beside = model.name == MODEL and model.parent.parent == here.parent
    name = os.path.relpath(model, here) if beside else origin.model
    (folder / ORIGIN).write_text(json.dumps({"model": name, **facts}, indent=1))


def noted_origin(folder: Path, model: str, adapter: str) -> Origin:
    """What `save_origin` noted in a run's folder, wherever that is now, and an adapter in it."""
    name = os.path.normpath(folder.absolute() / model) if model.startswith("..") else model
    return Origin(name, str(folder / adapter) if (folder / adapter).is_dir() else "")
