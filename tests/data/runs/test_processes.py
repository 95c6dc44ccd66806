"""Runs as real child processes: finished, failed, stopped, killed, found again."""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from data import runs
from data.store import Store
from data.store.run_rows import Run


def start(store: Store, workspace: Path, mode: str, launcher: str = "") -> str:
    arguments = ["tests.data.runs.child_run", mode, store.url, str(workspace)]
    return runs.launch(store, workspace, "test", arguments, {"mode": mode}, launcher)


def wait(store: Store, run_id: str, until: Callable[[Run], bool]) -> Run:
    """The run once it is so; fails after 20 seconds."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        run = store.runs.get(run_id)
        assert run is not None
        if until(run):
            return run
        time.sleep(0.02)
    pytest.fail(f"still {run}")


def ended(run: Run) -> bool:
    return not run.live


def at_work(run: Run) -> bool:
    return run.status == "running" and run.done >= 2


def folder(workspace: Path, run_id: str) -> Path:
    return runs.runs_folder(workspace) / run_id


def test_a_run_that_finishes(sqlite_store: Store, tmp_path: Path) -> None:
    run_id = start(sqlite_store, tmp_path, "finish")
    run = wait(sqlite_store, run_id, ended)
    where = folder(tmp_path, run_id)
    assert (run.status, run.done, run.total) == ("finished", 3, runs_total())
    assert run.ended_at is not None
    assert json.loads((where / "config.json").read_text()) == {"mode": "finish"} == run.config
    assert [m["step"] for m in runs.metrics(where)] == [0, 1, 2]
    assert runs.report(where) == {"steps": 3}
    assert runs.log_tail(where, 1) == "step 2"


def runs_total() -> int:
    from tests.data.runs.child_run import STEPS

    return STEPS


def test_a_run_that_fails_says_why_in_one_line(sqlite_store: Store, tmp_path: Path) -> None:
    run_id = start(sqlite_store, tmp_path, "fail")
    where = folder(tmp_path, run_id)  # the row says it before the log
    run = wait(sqlite_store, run_id, lambda run: ended(run) and runs.log_tail(where) != "")
    assert (run.status, run.message) == ("failed", "fewer than 20 comparisons: collect more")
    assert runs.report(where) is None
    assert runs.log_tail(where) == "error: fewer than 20 comparisons: collect more"


@pytest.mark.parametrize("how", ["flag", "signal"])
def test_a_run_that_is_stopped_keeps_what_it_has(
    sqlite_store: Store, tmp_path: Path, how: str
) -> None:
    run_id = start(sqlite_store, tmp_path, "work")
    run = wait(sqlite_store, run_id, at_work)
    if how == "flag":
        runs.request_stop(sqlite_store, run_id)
    else:
        assert run.pid is not None
        os.kill(run.pid, signal.SIGTERM)
    run = wait(sqlite_store, run_id, ended)
    assert (run.status, run.message) == ("stopped", "stopped as asked")
    assert len(runs.metrics(folder(tmp_path, run_id))) >= 2
    with pytest.raises(ValueError, match="is not running: it stopped"):
        runs.request_stop(sqlite_store, run_id)


def test_a_run_that_is_killed_is_marked_with_its_last_words(
    sqlite_store: Store, tmp_path: Path
) -> None:
    run_id = start(sqlite_store, tmp_path, "work")
    run = wait(sqlite_store, run_id, at_work)
    assert [r.status for r in runs.refresh(sqlite_store, tmp_path)] == ["running"]
    assert run.pid is not None
    os.killpg(run.pid, signal.SIGKILL)  # its own group: this process lives on
    end = time.monotonic() + 10
    while runs.alive(run.pid, run.pid_started) and time.monotonic() < end:
        time.sleep(0.02)
    (after,) = runs.refresh(sqlite_store, tmp_path)
    assert after.status == "died"
    assert "its log ends: " in after.message
    assert "step " in after.message


def test_a_run_that_ended_stays_as_it_ended(sqlite_store: Store, tmp_path: Path) -> None:
    run_id = start(sqlite_store, tmp_path, "finish")
    wait(sqlite_store, run_id, ended)
    sqlite_store.runs.end(run_id, "died", "no")
    assert [r.status for r in runs.refresh(sqlite_store, tmp_path)] == ["finished"]


def test_a_reused_pid_is_not_the_run(sqlite_store: Store, tmp_path: Path) -> None:
    started = runs.process_start(os.getpid())
    assert started is not None
    assert runs.alive(os.getpid(), started)
    assert not runs.alive(os.getpid(), started - 1)
    run_id = runs.new_run(sqlite_store, tmp_path, "test", {})
    row = {"pid": os.getpid(), "pid_started": started - 1, "status": "running"}
    sqlite_store.runs.update(run_id, **row, host=platform.node())
    assert [r.status for r in runs.refresh(sqlite_store, tmp_path)] == ["died"]


def test_a_run_on_another_machine_is_judged_by_its_heartbeat(
    sqlite_store: Store, tmp_path: Path
) -> None:
    """Its pid means nothing here: on a shared store one machine must not bury another's runs."""
    run_id = runs.new_run(sqlite_store, tmp_path, "test", {})
    sqlite_store.runs.update(run_id, pid=2**22 + 1, status="running", host="another-machine")
    sqlite_store.runs.beat(run_id)
    assert [r.status for r in runs.refresh(sqlite_store, tmp_path)] == ["running"]
    sqlite_store.runs.update(run_id, heartbeat="2026-01-01T00:00:00.000000Z")
    assert [r.status for r in runs.refresh(sqlite_store, tmp_path)] == ["died"]


def test_a_launcher_is_a_prefix(sqlite_store: Store, tmp_path: Path) -> None:
    import sys

    run_id = start(sqlite_store, tmp_path, "finish", f"env COACH_X='a b' {sys.executable}")
    assert wait(sqlite_store, run_id, ended).status == "finished"


def test_a_launcher_that_is_not_there(sqlite_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="launcher 'no-such-tool' not found: install it"):
        start(sqlite_store, tmp_path, "finish", "no-such-tool run")
    (run,) = sqlite_store.runs.list()
    assert run.status == "failed"


def test_a_run_within_this_process(sqlite_store: Store, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(RuntimeError),
        runs.recording(sqlite_store, tmp_path, "test", {}) as recorder,
    ):
        recorder.log(loss=0.5)
        raise RuntimeError("out of memory\nmore")
    (run,) = sqlite_store.runs.list("test")
    assert (run.status, run.message) == ("failed", "RuntimeError: out of memory")
    assert signal.getsignal(signal.SIGTERM) is handler
    with pytest.raises(ValueError, match="run 'nope' unknown"):
        with runs.recording(sqlite_store, tmp_path, "test", {}, "nope"):
            pass


def test_a_line_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step": 1}\n{"st')
    assert runs.metrics(tmp_path) == [{"step": 0}, {"step": 1}]
    assert runs.metrics(tmp_path / "none") == []


def test_two_servers_start_one_run_of_a_kind(store: Store) -> None:
    def start(n: int) -> bool:
        try:
            store.runs.add(f"sample-{n}", "sample", {}, alone=True)
        except ValueError as refused:
            assert "is going on already (sample-" in str(refused)
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(start, range(6))) == 1
    (run,) = store.runs.list("sample")
    store.runs.add("sft-1", "sft", {}, alone=True)
    store.runs.end(run.id, "finished", "")
    store.runs.add("sample-again", "sample", {}, alone=True)
