"""One step of a run's samples.jsonl, found without reading the rest: the file grows to 10^5 lines.

Steps only rise in that file, so where one begins is found by halving.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO


def samples_of(directory: Path, step: int | None = None) -> list[dict[str, Any]]:
    """What a run drew at a step, or at its last.

    A step of which nothing is kept gives the one before it; a last line that is still being written
    is left out.
    """
    try:
        with (directory / "samples.jsonl").open("rb") as file:
            found, _ = _search(file, math.inf if step is None else step)
            _line_start(file, _search(file, found - 1)[1])
            return list(takewhile(lambda sample: sample["step"] == found, _samples_from(file)))
    except FileNotFoundError:
        return []


def _search(file: BinaryIO, step: float) -> tuple[float, int]:
    """The last step kept that is no later than this one, and an offset in the line before the next.

    (-inf, 0) where there is none.
    """
    found, low, high = -math.inf, 0, file.seek(0, os.SEEK_END)
    while low < high:
        middle = (low + high) // 2
        _line_start(file, middle)
        sample = next(_samples_from(file), None)
        if sample is not None and sample["step"] <= step:
            found, low = sample["step"], middle + 1
        else:
            high = middle
    return found, low


def _line_start(file: BinaryIO, offset: int) -> None:
    """Go to the first line that begins at or after an offset."""
    file.seek(max(0, offset - 1))
    if offset:
        file.readline()


def _samples_from(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """The whole lines from where a file stands."""
    for line in file:
        try:
            sample = json.loads(line)
            yield {**sample, "step": int(sample["step"])}
        except (ValueError, TypeError, KeyError):
            return
