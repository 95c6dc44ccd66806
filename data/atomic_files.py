"""Files and folders that appear whole or not at all, on disk before the call returns."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from data.places.leftovers import held, name_beside, remove, scratch_folder


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a file of these lines, with a newline after each."""
    with whole_file(path) as stream:
        stream.writelines((line + "\n").encode() for line in lines)


def write_json(path: Path, value: object) -> None:
    """Write a file of this JSON value, one value a line."""
    write_bytes(path, json.dumps(value, indent=1).encode())


def write_bytes(path: Path, content: bytes) -> None:
    with whole_file(path) as stream:
        stream.write(content)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of these files; one that is there makes way for it, all that it holds too."""
    with whole_folder(folder) as fresh:
        for name, content in files.items():
            write_bytes(fresh / name, content)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill: it takes the place of `folder` at the end, or goes on failure.

    What a killed process left half made beside it is removed first.
    """
    folder = folder.resolve()  # a link stays a link: what it leads to is replaced
    old = name_beside(folder, "old")
    try:
        with scratch_folder(folder) as fresh:
            yield fresh
            _replace_folder(fresh, folder, old)
    except BaseException as error:
        _name_target(error, folder)
        raise
    remove(old)


def _replace_folder(fresh: Path, folder: Path, old: Path) -> None:
    """Move the fresh folder to its place; what was there is moved aside, or stays on failure."""
    # rename() replaces no folder that holds something: hence two, and a moment without either.
    if not folder.exists():
        fresh.rename(folder)
        return
    with held(folder):  # else another process puts it back in that moment
        folder.rename(old)
        try:
            fresh.rename(folder)
        except BaseException:
            old.rename(folder)
            raise


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write: it appears whole at the end, or not at all."""
    partial = name_beside(path, "part")
    try:
        with partial.open("wb") as stream, held(partial):
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        _name_target(error, path)
        raise


def _name_target(error: BaseException, path: Path) -> None:
    """Let an error of the system name what was to be written, not the name it had meanwhile."""
    if isinstance(error, OSError) and error.filename is not None:
        error.filename, error.filename2 = str(path), None
