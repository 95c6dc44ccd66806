"""Runs as child processes: started, followed, stopped, found again."""

from __future__ import annotations

import os
import platform
import secrets
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from data.places.private import private_folder
from data.runs.files import log_tail, runs_folder
from data.store import STORE_VARIABLE, Store
from data.store.run_rows import Run

DEAD_AFTER_SECONDS = 30.0


def new_run(
    store: Store, workspace: Path, kind: str, config: Mapping[str, Any], alone: bool = False
) -> str:
    """Make the row and the folder of a run to come; returns its id.

    Raises ValueError if it is to be the only live run of its kind and is not.
    """
    stamp = time.strftime("%m%d-%H%M%S", time.gmtime())
    run_id = f"{kind}-{stamp}-{secrets.token_hex(2)}"
    store.runs.add(run_id, kind, config, alone)
    (private_folder(runs_folder(workspace)) / run_id).mkdir()
    return run_id


def launch(
    store: Store,
    workspace: Path,
    kind: str,
    arguments: Sequence[str],
    config: Mapping[str, Any],
    launcher: str = "",
) -> str:
    """Start `python -m <arguments> --run-id ID` as its own process group; returns the run's id.

    `launcher` is a prefix such as "accelerate launch" or "srun": it is split like a shell would.
    The child outlives this process. Raises ValueError if the launcher is not found, or a run of
    this kind is going on: two would only slow each other down.
    """
    run_id = new_run(store, workspace, kind, config, alone=True)
    module, *rest = arguments
    prefix = shlex.split(launcher) if launcher else [sys.executable]
    command = [*prefix, "-m", module, *rest, "--run-id", run_id]
    log = runs_folder(workspace) / run_id / "log.txt"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", STORE_VARIABLE: store.url}
    try:
        with log.open("ab") as stream:
            child = subprocess.Popen(
                command,
                stdout=stream,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=environment,
            )
    except FileNotFoundError:
        message = f"launcher {prefix[0]!r} not found: install it or leave the launcher empty"
        store.runs.end(run_id, "failed", message)
        raise ValueError(message) from None
    store.runs.update(
        run_id, pid=child.pid, pid_started=process_start(child.pid), host=platform.node()
    )
    threading.Thread(target=child.wait, daemon=True).start()  # no zombie is left behind
    return run_id


def request_stop(store: Store, run_id: str) -> None:
    """Ask a run to stop at its next step. Raises ValueError if it is not running."""
    run = store.runs.get(run_id)
    if run is None:
        raise ValueError(f"run {run_id!r} unknown: see the list of runs")
    if not run.live:
        raise ValueError(f"run {run_id} is not running: it {run.status}")
    store.runs.update(run_id, stop_requested=True)


def refresh(store: Store, workspace: Path) -> list[Run]:
    """All runs, newest first, after marking as died each that is live in the store only."""
    for run in store.runs.list():
        if run.live and not _is_going_on(run):
            fresh = store.runs.get(run.id)
            if fresh is not None and fresh.live:
                tail = log_tail(runs_folder(workspace) / run.id, 3).strip()
                end = f"; its log ends: {tail}" if tail else ""
                store.runs.end(run.id, "died", f"the process ended without a word{end}")
    return store.runs.list()


def _is_going_on(run: Run) -> bool:
    """Whether a live run's process is there: by its pid on this machine, else by its heartbeat."""
    if run.pid is not None and run.host == platform.node():
        return alive(run.pid, run.pid_started)
    last = datetime.fromisoformat(run.heartbeat or run.created_at)
    return (datetime.now(UTC) - last).total_seconds() < DEAD_AFTER_SECONDS


def alive(pid: int, started: float | None) -> bool:
    """Whether the process is the one that was started: a reused pid has another start."""
    try:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return False
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return started is None or process_start(pid) in (started, None)


def process_start(pid: int) -> float | None:
    """A process's start in clock ticks since boot; None where it is dead or cannot be seen.

    Counted from the boot, since a clock that is set anew moves every process's time of day.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        since_boot = process.create_time() - psutil.boot_time()
    except psutil.Error:
        return None
    return float(round(since_boot * os.sysconf("SC_CLK_TCK")))
