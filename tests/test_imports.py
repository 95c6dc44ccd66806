"""Imports point one way, and the web process stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("data", "reward_model", "grpo", "labeler")
HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "datasets"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every imported module of a file, those within functions too, with its line."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def all_imports(floor: str) -> list[tuple[str, str]]:
    return [
        (f"{path.relative_to(ROOT)}:{line}", module)
        for path in sorted((ROOT / floor).rglob("*.py"))
        for line, module in imports(path)
    ]


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_stands_on_those_below_it(floor: str) -> None:
    above = FLOORS[FLOORS.index(floor) + 1 :]
    found = all_imports(floor)
    assert found
    assert [(at, m) for at, m in found if m.split(".")[0] in above] == []


def test_the_labeler_takes_only_settings_from_the_middle() -> None:
    wrong = [
        (at, module)
        for at, module in all_imports("labeler")
        if module.split(".")[0] in ("reward_model", "grpo") and module.split(".")[1:2] != ["config"]
    ]
    assert wrong == []


@pytest.mark.parametrize("floor", ["data", "labeler"])
def test_a_light_floor_names_no_training_library(floor: str) -> None:
    """But for the datasets of the hub, which one function loads when it is asked for one."""
    named = [(at, m) for at, m in all_imports(floor) if m.split(".")[0] in HEAVY]
    hub = [
        (at, m)
        for at, m in named
        if at.startswith("data/imports/huggingface.py:") and m == "datasets"
    ]
    assert [item for item in named if item not in hub] == []
    assert bool(hub) == (floor == "data")


def light_modules() -> list[str]:
    files = [
        *sorted((ROOT / "data").rglob("*.py")),
        *sorted((ROOT / "labeler").rglob("*.py")),
        ROOT / "reward_model" / "config.py",
        ROOT / "grpo" / "config.py",
    ]
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files]
    return [
        name.removesuffix(".__init__")
        for name in names
        if "migrations" not in name and not name.endswith("__main__")
    ]


def test_the_web_process_loads_no_training_library() -> None:
    """At run time too, through whatever else they import."""
    code = "\n".join(
        [
            *["import sys, importlib"],
            *[f"importlib.import_module({name!r})" for name in light_modules()],
            f"print(sorted({HEAVY!r} & set(sys.modules)))",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
