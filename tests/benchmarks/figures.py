"""What a benchmark reports: numbers beside their bars, as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from reward_model.benchmark.tables import machine

COLUMNS = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Figure:
    """One measured number, beside what it is to be."""

    bar: str
    wanted: str
    """Empty: reported, not judged."""
    measured: str
    value: str
    met: bool | None = None


def count(bar: str, measured: str, n: int) -> Figure:
    """A number that is to be 0."""
    return Figure(bar, "0", measured, str(n), n == 0)


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.{0 if seconds >= 0.1 else 1}f} ms"


def markdown(figures: Mapping[str, list[Figure]]) -> str:
    """The table: one line a figure, one column an engine."""
    lines: dict[tuple[str, str, str], dict[str, Figure]] = {}
    for engine, found in figures.items():
        for figure in found:
            key = (figure.bar, figure.wanted, figure.measured)
            lines.setdefault(key, {})[engine] = figure
    heads = ["bar", "wanted", "measured", *COLUMNS.values(), "met?"]
    table = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for key, by_engine in lines.items():
        values = [by_engine[e].value if e in by_engine else "" for e in COLUMNS]
        judged = [figure.met for figure in by_engine.values() if figure.met is not None]
        met = ("yes" if all(judged) else "NO") if judged else ""
        table.append("| " + " | ".join([*key, *values, met]) + " |")
    return "\n".join(table)


def write(figures: Mapping[str, list[Figure]], out: Path | None) -> None:
    """Keep what is known so far."""
    if out is None:
        return
    if out.suffix == ".json":
        plain = {engine: [asdict(f) for f in found] for engine, found in figures.items()}
        out.write_text(json.dumps({"machine": machine(), "figures": plain}, indent=1) + "\n")
    else:
        out.write_text(f"{machine()}\n\n{markdown(figures)}\n")


def say(text: str) -> None:
    print(text, flush=True)
