"""Imports point one way, and the web process stays light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("data", "reward_model", "grpo", "labeler")
ROOMS = {
    "data": """texts schema stats places atomic_files html_templates self_identification
        splits exchange task_planning store settings runs imports exports quality ports
        simulated_annotators starter""",
    "reward_model": """config chat model_checks language_model dataset likelihood evaluation receipt
        scoring serving training export benchmark train evaluate""",
    "grpo": """config diagnosis reports policies sampling trainer supervised run pretrain sft
        sample train evaluate export loop""",
    "labeler": """gradio_import theme jobs safe_html rendering access rating lead app serve
        simulate command_line""",
}
"""Rooms and modules of each package from the ground up: each imports earlier ones alone."""
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


def imported_modules(path: Path) -> Iterator[str]:
    """What a file imports, to the module: a name imported from a module counts as the module."""
    for _, name in imports(path):
        file = ROOT / Path(*name.split("."))
        is_module = file.is_dir() or file.with_suffix(".py").exists()
        yield name if is_module else name.rpartition(".")[0] or name


def files_of(package: str) -> list[Path]:
    """A package's files but its migrations and its face, which hand names on."""
    faces = {ROOT / package / "__init__.py", ROOT / package / "__main__.py"}
    found = sorted((ROOT / package).rglob("*.py"))
    return [path for path in found if path not in faces and "migrations" not in path.parts]


@pytest.mark.parametrize("package", FLOORS)
def test_imports_between_rooms_point_down(package: str) -> None:
    order = ROOMS[package].split()
    for path in files_of(package):
        room = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        assert room in order, f"{path}: name its room in ROOMS, above all that it imports"
        for module in imported_modules(path):
            if module.startswith(f"{package}.") and (other := module.split(".")[1]) != room:
                assert order.index(other) < order.index(room), f"{path} imports {module}"


@pytest.mark.parametrize("package", FLOORS)
def test_no_file_imports_itself_through_others(package: str) -> None:
    def name_of(path: Path) -> str:
        return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    left = {name_of(path): set(imported_modules(path)) for path in files_of(package)}
    while left:
        free = {name for name, others in left.items() if not others & left.keys() - {name}}
        assert free, f"a circle among {sorted(left)}"
        left = {name: others for name, others in left.items() if name not in free}


@pytest.mark.parametrize("package", [*FLOORS, "tests"])
def test_no_folder_is_crowded(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    crowded = {f for f in folders if len(list(f.glob("*.py"))) > 12 and f.name != "versions"}
    assert not crowded


@pytest.mark.parametrize("package", FLOORS)
def test_every_room_says_what_is_in_it(package: str) -> None:
    for folder in {path.parent for path in files_of(package)}:
        if folder.name in ("versions", "migrations"):
            continue
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert text, f"{folder} has no docstring in __init__.py"
        inside = [p for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()]
        names = {p.stem for p in inside if not p.name.startswith("__") and p.name != "migrations"}
        told = set(re.findall(r"\w+", text))
        assert names <= told, f"{folder}/__init__.py does not name {sorted(names - told)}"


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
        if at.startswith("data/imports/files/huggingface.py:") and m == "datasets"
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
    """At run time too, through whatever else they import, and when the app is made."""
    code = "\n".join(
        [
            *["import sys, importlib, pathlib, tempfile"],
            *[f"importlib.import_module({name!r})" for name in light_modules()],
            "from data import Store; from labeler.app import build_app",
            "folder = tempfile.mkdtemp(); build_app(Store.open(folder), pathlib.Path(folder), 'm')",
            f"print(sorted({HEAVY!r} & set(sys.modules)))",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
