"""python -m data from the shell: what it prints, and one clear line on bad input."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import pytest
import sqlalchemy as sa

from data.__main__ import main
from data.imports.details import split_details
from tests.data.imports.test_import_files import cut_off

ROOT = Path(__file__).parents[2]


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """A command run in an empty folder, in this process: a new one takes a second to start."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["data", *arguments])
        try:
            code = main()
        except SystemExit as exit:  # what tyro does after --help and unknown arguments
            code = int(exit.code or 0)
        return Done(code, *capsys.readouterr())

    return call


def refused(run: Callable[..., Done], *arguments: str) -> str:
    """The one line on standard error of a command that a user got wrong."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    return line


def test_init_import_stats_export(run: Callable[..., Done], tmp_path: Path) -> None:
    lines = [
        {"type": "completion", "prompt": "q", "completion": "x", "model": "small"},
        {
            **{"type": "judgement", "kind": "scalar", "prompt": "q", "completion": "x"},
            **{"value": 7, "annotator": "ann"},
        },
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    made = run("init")
    assert made.returncode == 0
    assert f"{tmp_path}/workspace/store.db" in made.stdout
    read = run("import", "in.jsonl")
    assert read.returncode == 0, read.stderr
    assert [line.split() for line in read.stdout.splitlines()[2:]] == [
        ["completion", "1", "1", "0"],
        ["judgement", "1", "1", "0"],
    ]
    shown = run("stats").stdout
    rows = [line.split() for line in shown.splitlines()]
    for row in (["scalar", "1"], ["ann", "1"], ["small", "1"], ["prompts", "1"]):
        assert row in rows
    written = run("export", "out/all.jsonl", "--format", "exchange")
    assert written.returncode == 0, written.stderr
    assert len((tmp_path / "out" / "all.jsonl").read_text().splitlines()) == 3
    folder = run("export", "ratings", "--format", "scalar")
    assert folder.returncode == 0, folder.stderr
    assert folder.stdout.splitlines()[0] == "wrote ratings"
    assert [line.split() for line in folder.stdout.splitlines()[1:3]] == [
        ["rows", "written"],
        ["train", "1"],
    ]
    assert {p.name for p in (tmp_path / "ratings").iterdir()} == {
        *("train.parquet", "README.md", "manifest.json")
    }
    assert refused(run, "export", "pairs", "--format", "trl-preference") == (
        "error: no pairwise judgements for trl-preference: collect some, or choose another format"
    )


def test_what_a_user_can_get_wrong(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"type": "prompt", "prompt": "q"}\n{"type": "prompt"}\n')
    assert refused(run, "import", "none.jsonl") == (
        "error: none.jsonl does not exist: check the path"
    )
    assert not (tmp_path / "workspace").exists()
    assert refused(run, "import", "bad.jsonl").startswith("error: bad.jsonl:2: prompt is missing")
    assert refused(run, "stats", "--workspace", "elsewhere").startswith(
        "error: no store at elsewhere/store.db: name its --workspace"
    )
    assert not (tmp_path / "elsewhere").exists()
    assert refused(run, "export", ".").startswith("error: . is the folder you are in")
    assert refused(run, "export", "bad.jsonl", "--workspace", "no").startswith("error: no store")
    assert "is not a database URL" in refused(run, "init", "--store", "x://y")
    assert refused(run, "init", "--workspace", "bad.jsonl").startswith(
        "error: cannot make the folder"
    )


def test_what_cannot_be_written_is_named_as_it_was_given(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text('{"type": "prompt", "prompt": "q"}\n')
    assert refused(run, "import", "in.jsonl", "--skip-bad", "none/bad.jsonl") == (
        "error: No such file or directory at none/bad.jsonl: check the path"
    )
    run("import", "in.jsonl")
    assert refused(run, "export", "/proc/out") == (
        "error: No such file or directory at /proc/out: check the path"
    )


def test_a_store_that_cannot_be_written_is_one_line(
    run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.jsonl").write_text('{"type": "prompt", "prompt": "q"}\n')
    run("init")
    for said, told in (
        (
            "database is locked",
            "error: another program has locked the store: end it, or try again in a while",
        ),
        (
            "attempt to write a readonly database",
            "error: the store is read-only: check who may write to its file and folder",
        ),
    ):
        away = sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError(said))
        monkeypatch.setattr("data.imports.insert_lines", Mock(side_effect=away))
        assert refused(run, "import", "in.jsonl") == told
    bug = sa.exc.OperationalError("SELECT", {}, sqlite3.OperationalError("no such column: x"))
    monkeypatch.setattr("data.imports.insert_lines", Mock(side_effect=bug))
    with pytest.raises(sa.exc.OperationalError):
        run("import", "in.jsonl")


def test_skip_bad_lists_what_it_left_out(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"type": "prompt", "prompt": "q"}\nnonsense\n')
    done = run("import", "in.jsonl", "--skip-bad", "bad.jsonl")
    assert done.returncode == 0, done.stderr
    assert "skipped 1, listed in bad.jsonl" in done.stdout
    assert json.loads((tmp_path / "bad.jsonl").read_text())["text"] == "nonsense"


def test_completions_that_name_their_maker_are_counted(
    run: Callable[..., Done], tmp_path: Path
) -> None:
    sides = {"completion_a": "I am ChatGPT.", "completion_b": "Blue."}
    judged = {"type": "judgement", "kind": "pairwise", "value": "b", "annotator": "ann"}
    lines = [
        {"type": "completion", "prompt": "q", "completion": "OpenAI made GPT-4.", "model": "m"},
        {"type": "completion", "prompt": "q", "completion": "As Qwen, I like it.", "model": "m"},
        {"type": "demonstration", "prompt": "q", "completion": "I am ChatGPT."},
        judged | {"prompt": "q"} | sides,
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run("import", "in.jsonl").stdout.splitlines()[-1] == (
        "2 completions name their maker, e.g. line 2 'As Qwen, I': they are kept, and not put"
        " before annotators"
    )
    assert "completions that name their maker: 2" in run("stats").stdout.splitlines()


@pytest.mark.parametrize("verb", ["init", "import", "export", "stats"])
def test_every_verb_has_help(run: Callable[..., Done], verb: str) -> None:
    done = run(verb, "--help")
    assert done.returncode == 0
    assert "--workspace" in done.stdout
    assert verb in run("--help").stdout


def test_an_unknown_format_names_those_there_are(run: Callable[..., Done]) -> None:
    done = run("export", "out", "--format", "csv")
    assert done.returncode == 2
    assert "trl-preference" in done.stderr


def test_as_a_process_of_its_own(tmp_path: Path) -> None:
    def shell(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "data", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    assert shell("init").returncode == 0
    wrong = shell("import", "none.jsonl")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: none.jsonl does not exist: check the path\n"


def test_import_says_what_it_took_the_file_for(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("prompt,chosen,rejected,margin\nq,x,y,0.5\n")
    assert refused(run, "import", "in.csv").endswith("judged: add --annotator NAME")
    done = run("import", "in.csv", "--annotator", "ann")
    assert done.stdout.splitlines()[0] == "read in.csv as TRL preference, CSV"
    assert done.stdout.splitlines()[-1] == "1 x margin that is not 1, 2 or 3"
    forced = refused(run, "import", "in.csv", "--as", "trl-unpaired")
    assert 'column "chosen" unknown in TRL unpaired preference' in forced
    assert refused(run, "import", "in.csv", "--recipe", "x").startswith('error: recipe "x" unknown')
    assert "'chosen' not allowed" in refused(run, "import", "in.csv", "--columns", "chosen")


def test_import_renames_columns(run: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("ask,best,rejected,source\nq,x,y,web\n")
    renamed = ("--columns", "ask=prompt", "best=chosen", "source=")
    done = run("import", "in.csv", "--annotator", "ann", *renamed)
    assert done.stdout.splitlines()[0] == "read in.csv as TRL preference, CSV"


def test_a_dataset_of_the_hub_with_no_network(
    run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off(monkeypatch)
    line = refused(run, "import", "nobody/nothing", "--workspace", "elsewhere")
    assert line.startswith(
        "error: nobody/nothing is no file here, and the Hugging Face hub did not"
    )


def test_further_words_of_an_import_are_read_by_many_threads_at_once() -> None:
    before = sys.stderr
    with ThreadPoolExecutor(6) as pool:
        read = list(pool.map(split_details, ["--scale 1..5"] * 60))
    assert sys.stderr is before and read == [["--scale", "1..5"]] * 60
