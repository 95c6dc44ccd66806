"""What a run keeps in its folder: metrics, samples, report, preflight, verdicts, log."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO

from data.places.leftovers import clean_up
from data.schema import JsonObject


def runs_folder(workspace: Path) -> Path:
    return Path(workspace) / "runs"


def clean_up_workspace(workspace: Path) -> None:
    """Remove what killed processes left half made in the runs' folders and among the exports."""
    folders = sorted(runs_folder(workspace).glob("*"))
    for folder in (*folders, Path(workspace) / "exports"):
        clean_up(folder)


def run_folder(name: str, workspace: Path) -> Path:
    """The folder of a run by its id, or any folder by its path."""
    inside = runs_folder(workspace) / name
    return inside if inside.is_dir() else Path(name).expanduser()


def take_in(workspace: Path, sent: Path) -> Path:
    """A file that a browser sent, kept for the run that is to read it, under its own name."""
    folder = Path(workspace) / "incoming" / secrets.token_hex(8)
    folder.mkdir(parents=True, mode=0o700)
    kept = folder / sent.name
    try:
        os.link(sent, kept)
    except OSError:  # on another disk
        shutil.copyfile(sent, kept)
    return kept


def remove_incoming(workspace: Path, kept: Path | None = None) -> None:
    """Remove what `take_in` has kept: one file, or all."""
    there = Path(workspace) / "incoming"
    if kept is None:
        shutil.rmtree(there, ignore_errors=True)
    elif there.absolute() == kept.absolute().parent.parent:
        shutil.rmtree(kept.parent, ignore_errors=True)


def metrics(directory: Path) -> list[JsonObject]:
    """The lines of metrics.jsonl; a last line that is still being written is left out."""
    return _whole_lines(directory / "metrics.jsonl")


def samples(directory: Path) -> list[JsonObject]:
    """The lines of samples.jsonl: completions that a run drew on its way."""
    return _whole_lines(directory / "samples.jsonl")


def samples_of(directory: Path, step: int | None = None) -> list[JsonObject]:
    """What a run drew at a step, or at its last.

    A step of which nothing is kept gives the one before it; a last line that is still being written
    is left out. The file grows to 10^5 lines. Steps only rise in it, so where one begins is found
    by halving, without reading the rest.
    """
    try:
        with (directory / "samples.jsonl").open("rb") as file:
            found, _ = _search_step(file, math.inf if step is None else step)
            _seek_line(file, _search_step(file, found - 1)[1])
            return list(takewhile(lambda sample: sample["step"] == found, _samples_from(file)))
    except FileNotFoundError:
        return []


def report(directory: Path) -> JsonObject | None:
    """report.json of a finished run, else None."""
    found: JsonObject | None = _read_json(directory / "report.json")
    return found


def preflight(directory: Path) -> JsonObject | None:
    """What was checked and measured before the first step (preflight.json), else None."""
    found: JsonObject | None = _read_json(directory / "preflight.json")
    return found


def verdicts(directory: Path) -> list[JsonObject]:
    """What a run's figures say so far (verdicts.json); of an older run, what its report says."""
    found: list[JsonObject] | None = _read_json(directory / "verdicts.json")
    return ((report(directory) or {}).get("verdicts") or []) if found is None else found


def log_tail(directory: Path, lines: int = 20) -> str:
    """The last lines of log.txt."""
    path = directory / "log.txt"
    if not path.exists():
        return ""
    text = path.read_bytes()[-64_000:].decode("utf-8", "replace")
    shown = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.rstrip("\n").split("\n"))
    return "\n".join(list(shown)[-lines:])


def _whole_lines(path: Path) -> list[JsonObject]:
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _search_step(file: BinaryIO, step: float) -> tuple[float, int]:
    """The last step kept that is no later than this one, and an offset in the line before the next.

    (-inf, 0) where there is none.
    """
    found, low, high = -math.inf, 0, file.seek(0, os.SEEK_END)
    while low < high:
        middle = (low + high) // 2
        _seek_line(file, middle)
        sample = next(_samples_from(file), None)
        if sample is not None and sample["step"] <= step:
            found, low = sample["step"], middle + 1
        else:
            high = middle
    return found, low


def _seek_line(file: BinaryIO, offset: int) -> None:
    """Go to the first line that begins at or after an offset."""
    file.seek(max(0, offset - 1))
    if offset:
        file.readline()


def _samples_from(file: BinaryIO) -> Iterator[JsonObject]:
    """The whole lines from where a file stands."""
    for line in file:
        try:
            sample = json.loads(line)
            yield {**sample, "step": int(sample["step"])}
        except (ValueError, TypeError, KeyError):
            return
