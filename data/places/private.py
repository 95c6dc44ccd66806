"""Folders that only their owner may enter."""

from __future__ import annotations

from pathlib import Path


def private_folder(folder: Path) -> Path:
    """Make a folder for its owner alone (mode 700), its parents as usual; returns it.

    One that is there keeps the permissions that its owner gave it. Raises OSError.
    """
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not folder.is_dir():  # else another process was a moment quicker
                raise
    return folder
