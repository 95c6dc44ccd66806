"""The front door: it lists every verb, and runs the one that is named as its package would."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from data.settings import verbs_of
from labeler.command_line import STEPS, VERBS, closest, main

ROOT = Path(__file__).parents[1]
PACKAGES = ("data", "reward_model", "grpo", "labeler")


def test_its_verbs_are_those_of_the_packages() -> None:
    there = {
        (package, verb)
        for package in PACKAGES
        for verb in verbs_of(import_module(f"{package}.__main__").Command)
    }
    assert {(verb.package, verb.verb) for verb in VERBS.values()} == there
    assert len(VERBS) == sum(map(len, STEPS.values())) == len(there)


def test_the_script_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["coach"].partition(":")
    assert getattr(import_module(module), function) is main


def test_help_lists_every_verb_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for step, verbs in STEPS.items():
        at = lines.index(step)
        for line, verb in zip(lines[at + 1 :], verbs, strict=False):
            assert line.split() == [verb.name, *verb.summary.split()] and len(line) <= 80


def test_help_loads_no_library() -> None:
    code = (
        "import sys; from labeler.command_line import main; main(['--help'])\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    )
    heavy = ("torch", "gradio", "sqlalchemy", "numpy", "tyro", "fastapi", "data", "grpo")
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_in_its_own_name(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["coach"])
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    said = capsys.readouterr().out
    assert not left.value.code
    assert said.startswith(f"usage: coach {name} ") and "--workspace" in said


def test_arguments_and_exit_codes_are_the_package_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["coach"])
    assert main(["init", "--workspace", str(tmp_path)]) == 0
    assert (tmp_path / "store.db").exists()
    assert main(["reward", "--members", "0"]) == 2
    assert "members 0 not allowed" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["sft", "--epoch", "3"])
    assert left.value.code == 2 and "coach sft --help" in capsys.readouterr().err

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("grpo.__main__.request_stop", interrupted)
    assert main(["stop", "--run", "any", "--workspace", str(tmp_path)]) == 130


def test_without_a_verb_it_lists_them_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: coach VERB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("train", ["reward", "grpo"]),
        ("evaluate", ["evaluate-reward", "evaluate-policy"]),
        ("train-reward", ["reward"]),
        ("reward_model", ["reward"]),
        ("smaple", ["sample"]),
        ("xyz", []),
    ],
)
def test_an_unknown_verb_names_the_closest(
    word: str, meant: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert closest(word) == meant
    assert main([word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert repr(word) in line and (" or ".join(meant) or "coach --help") in line
