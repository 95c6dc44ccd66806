"""What killed processes left half made goes at the next start; what is being made stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data import runs
from data.atomic_files import whole_folder, write_bytes
from data.places.leftovers import clean_up, name_beside
from data.store import Store

KILLED = """
import os, signal, sys
from pathlib import Path
from data import atomic_files
from data.atomic_files import whole_folder
target, when = Path(sys.argv[1]), sys.argv[2]
if when == "moving":
    atomic_files.Path.rename = lambda self, to, real=Path.rename: (
        os.kill(os.getpid(), signal.SIGKILL) if self.name.endswith(".part") else real(self, to)
    )
with whole_folder(target) as fresh:
    (fresh / "new").write_bytes(b"x" * 1000)
    if when == "writing":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("when", ["writing", "moving"])
def test_a_killed_export_leaves_nothing_at_the_next_start(tmp_path: Path, when: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "before").write_text("kept")
    child = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "model"), when])
    assert child.returncode == -9
    assert any(name.endswith(".part") for name in names(tmp_path))
    with pytest.raises(KeyError), whole_folder(tmp_path / "another"):
        raise KeyError
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["before"]
    with whole_folder(tmp_path / "model") as fresh:
        (fresh / "new").write_text("")
    assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["new"]


def test_what_is_being_made_stays(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as fresh:
        write_bytes(fresh / "weights", b"x")
        clean_up(tmp_path)
        with whole_folder(tmp_path / "model 2"):
            assert (fresh / "weights").read_bytes() == b"x"
    assert names(tmp_path) == ["model", "model 2"]


def test_only_names_of_ours_are_removed(tmp_path: Path) -> None:
    mine = [".x.part", ".x.0123abcd.parts", "x.0123abcd.part", ".x.0123ABCD.part", ".0123abcd.part"]
    for name in mine:
        (tmp_path / name).write_text("")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.symlink(elsewhere, name_beside(tmp_path / "x", "part"))
    name_beside(tmp_path / "x", "part").write_text("")
    clean_up(tmp_path)
    left = [name for name in names(tmp_path) if not (tmp_path / name).is_symlink()]
    assert left == sorted([*mine, "elsewhere"])


def test_a_run_cleans_its_workspace(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        old = runs.new_run(store, tmp_path, "sft", {})
        left = [name_beside(runs.runs_folder(tmp_path) / old / "model", "part")]
        left += [name_beside(tmp_path / "exports" / "coach.jsonl", "part")]
        for path in left:
            path.parent.mkdir(exist_ok=True)
            path.mkdir()
        with runs.recording(store, tmp_path, "sft", {}):
            assert not any(path.exists() for path in left)
