"""Where a model comes from: built-in, a folder, a hub id, a run's adapter or whole model."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from reward_model.model_checks.adapter_files import adapter_base, adapter_weights, is_adapter
from reward_model.model_checks.folder import check_model, has_tokenizer, read_json_file

ADAPTER = "adapter"
"""Folder, inside a run's, that holds the adapter."""
MODEL = "model"
"""Folder, inside a run's, that holds a policy's whole weights and its tokenizer."""
START = "start"
"""Folder, inside a reward model's, with the network that it started from, where that was tuned."""
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
        return file_hash(adapter_weights(Path(self.adapter)))


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

    A folder is a run's, a model's, or an adapter's as PEFT and TRL write it. Raises ValueError
    naming the value for a run that has no policy, and for a folder that holds none or whose files
    are not whole.
    """
    folder = runs / name if runs is not None and (runs / name).is_dir() else Path(name).expanduser()
    if (folder / ORIGIN).is_file():
        return _origin_of_run(folder)
    if is_adapter(folder):
        beside = folder.parent / ORIGIN
        if folder.name == ADAPTER and beside.is_file():
            return _origin_of_run(folder.parent)
        return _checked(Origin(adapter_base(folder), str(folder.absolute())))
    if folder.is_dir():
        return _checked(Origin(str(folder.absolute()), ""))
    if name.startswith(("/", "./", "../", "~")):
        raise ValueError(f"there is no folder {name!r}: name a model's folder, or a finished run")
    return Origin(name, "")


def _origin_of_run(folder: Path) -> Origin:
    facts = read_json_file(folder / ORIGIN)
    if "objective" in facts:
        raise ValueError(
            f"{folder.name!r} is a reward model, which writes no text: name a policy (a"
            " pretraining, SFT or GRPO run, or a model)"
        )
    if (folder / MODEL).is_dir():
        return _checked(Origin(str((folder / MODEL).absolute()), ""))
    return _checked(noted_origin(folder, facts["model"], ADAPTER))


def _checked(origin: Origin) -> Origin:
    """The origin, once the files of its model are found to be whole, where it is a folder."""
    if Path(origin.model).is_dir():
        own = origin.adapter and has_tokenizer(Path(origin.adapter))
        check_model(Path(origin.model), tokenizer=not own)
    return origin


def save_origin(folder: Path, origin: Origin, **facts: object) -> None:
    """Note beside a policy which model it was trained from, and any facts that belong to it.

    A model in this or another run's folder is named from here (`../RUN/model`), so that a workspace
    may be moved or copied.
    """
    noted = {"model": name_from(folder, origin), **facts}
    (folder / ORIGIN).write_text(json.dumps(noted, indent=1))


def name_from(folder: Path, origin: Origin) -> str:
    """What a run's folder calls a model; see `save_origin`."""
    model, here = Path(origin.model), folder.absolute()
    beside = model.name in (MODEL, START) and model.parent.parent == here.parent
    if beside or model.parent == here:
        return os.path.join(os.curdir, os.path.relpath(model, here))
    return origin.model


def noted_origin(folder: Path, model: str, adapter: str) -> Origin:
    """What `save_origin` noted in a run's folder, wherever that is now, and an adapter in it."""
    name = os.path.normpath(folder.absolute() / model) if model.startswith(".") else model
    return Origin(name, str(folder / adapter) if (folder / adapter).is_dir() else "")
