"""Tables of figures with their intervals, and the machine that they were measured on. No torch."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

UNKNOWN = "not enough data"
EstimateRow = Mapping[str, Any]
"""value, low, high; value None where there is too little data."""


def machine() -> str:
    """The processor, how many cores it has, and the date."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return f"{name}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table."""
    made = ["| " + " | ".join(line) + " |" for line in (heads, *lines)]
    return "\n".join([made[0], "|---" * len(heads) + "|", *made[1:]])


def cell(estimate: EstimateRow | None, digits: int = 3) -> str:
    """An estimate with its interval; empty where there is none."""
    if estimate is None:
        return ""
    if estimate["value"] is None:
        return UNKNOWN
    return "{} [{}, {}]".format(
        *(f"{estimate[name]:.{digits}f}" for name in ("value", "low", "high"))
    )
