"""Folders and files that a killed process left half made: told from those being made, and removed.

Whoever makes one holds a lock on it, which the system lets go when the process ends, however it
does.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{8}\.(?P<ending>part|old)", re.DOTALL)


def name_beside(path: Path, ending: str) -> Path:
    """A name beside this one that nobody else writes to, e.g. two exports at once."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{ending}")


def hold(path: Path) -> int:
    """Lock a file or folder that this process makes; closing the descriptor lets go of it."""
    descriptor = os.open(path, os.O_RDONLY)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@contextmanager
def held(path: Path) -> Iterator[None]:
    """`hold` for as long as the context lasts."""
    descriptor = hold(path)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` to work in, removed at the end.

    What killed processes left there is removed first.
    """
    clean_up(target.parent)
    scratch = name_beside(target, "part")
    scratch.mkdir()
    descriptor = hold(scratch)
    while not scratch.is_dir():  # another process took it for a leftover before it was held
        os.close(descriptor)
        scratch.mkdir()
        descriptor = hold(scratch)
    try:
        yield scratch
    finally:
        remove(scratch)
        os.close(descriptor)


def clean_up(folder: Path) -> None:
    """Remove what killed processes left in a folder under names of `name_beside`.

    What had been moved aside for something new that never came is put back.
    """
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        name = _NAME.fullmatch(path.name)
        if name is not None:
            target = folder / name["target"]
            kept = name["ending"] == "old" and not target.exists()
            with suppress(OSError):
                remove_unheld(path, put_back=target if kept else None)


def remove_unheld(path: Path, put_back: Path | None = None) -> None:
    """Remove a file or folder, or move it to `put_back`, unless a living process holds it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if put_back is None:
            remove(path)
        else:
            path.rename(put_back)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it; nothing where neither is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
