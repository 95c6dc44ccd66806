"""What a run keeps in its folder: metrics, samples, report, preflight, verdicts, log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_whole(path: Path, found: Any) -> None:
    """Write JSON, whole or not at all: somebody may be reading."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(found, indent=1), encoding="utf-8")
    partial.replace(path)


def runs_folder(workspace: Path) -> Path:
    return Path(workspace) / "runs"


def metrics(directory: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; a last line that is still being written is left out."""
    return _whole_lines(directory / "metrics.jsonl")


def samples(directory: Path) -> list[dict[str, Any]]:
    """The lines of samples.jsonl: completions that a run drew on its way."""
    return _whole_lines(directory / "samples.jsonl")


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def report(directory: Path) -> dict[str, Any] | None:
    """report.json of a finished run, else None."""
    loaded: dict[str, Any] | None = _json(directory / "report.json")
    return loaded


def preflight(directory: Path) -> dict[str, Any] | None:
    """What was checked and measured before the first step (preflight.json), else None."""
    loaded: dict[str, Any] | None = _json(directory / "preflight.json")
    return loaded


def verdicts(directory: Path) -> list[dict[str, Any]]:
    """What a run's figures say so far (verdicts.json); of an older run, what its report says."""
    loaded: list[dict[str, Any]] | None = _json(directory / "verdicts.json")
    return ((report(directory) or {}).get("verdicts") or []) if loaded is None else loaded


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def log_tail(directory: Path, lines: int = 20) -> str:
    """The last lines of log.txt."""
    path = directory / "log.txt"
    if not path.exists():
        return ""
    text = path.read_bytes()[-64_000:].decode("utf-8", "replace")
    shown = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.rstrip("\n").split("\n"))
    return "\n".join(list(shown)[-lines:])
