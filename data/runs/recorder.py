"""A run: a child process with a directory and a row; started, followed, stopped, found again.

    runs/<id>/config.json     what was asked, written first
    runs/<id>/metrics.jsonl   one line a step, flushed
    runs/<id>/log.txt         everything the process printed
    runs/<id>/samples.jsonl   GRPO: every completion with its reward, in the order of the steps
    runs/<id>/preflight.json  GRPO, tuned reward model: what was checked before the first step
    runs/<id>/verdicts.json   GRPO: what the figures so far say, written anew after each step
    runs/<id>/report.json     written last: its presence means finished

A run is launched by `launch` (the browser) or entered directly by a command (`recording`): both
keep the same row and the same folder. A run that was killed is marked as died by `refresh`, with
the tail of its log.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from data.atomic_files import write_json
from data.places.private import private_folder
from data.runs.files import clean_up_workspace, runs_folder
from data.runs.processes import new_run, process_start
from data.schema import canonical_json
from data.store import Store

HEARTBEAT_SECONDS = 2.0


class Stopped(Exception):
    """Raised inside a run that was asked to stop, where there is nothing left to save."""


class Recorder:
    """A run seen from inside its process: progress, metrics, the wish to stop."""

    def __init__(self, store: Store, run_id: str, directory: Path) -> None:
        self.id = run_id
        self.directory = directory
        self._store = store
        self._stop = threading.Event()
        self._over = threading.Event()
        self._metrics = (directory / "metrics.jsonl").open("a", encoding="utf-8")
        self._beat = threading.Thread(target=self._keep_alive, daemon=True)
        self._beat.start()

    def progress(self, done: int, total: int, message: str = "") -> None:
        """How far the work is; shown as a bar in the browser."""
        self._store.runs.update(self.id, done=done, total=total, message=message)

    def log(self, **metrics: Any) -> None:
        """One line of metrics, on disk before this returns."""
        self._metrics.write(json.dumps(metrics) + "\n")
        self._metrics.flush()
        os.fsync(self._metrics.fileno())

    @property
    def stop_requested(self) -> bool:
        """True once somebody asked for the run to stop: by browser, command or SIGTERM."""
        return self._stop.is_set()

    def request_stop(self) -> None:
        self._stop.set()

    def check_stop(self) -> None:
        """Raise Stopped if a stop was asked for: for work with nothing to save."""
        if self.stop_requested:
            raise Stopped

    def report(self, report: Mapping[str, Any]) -> None:
        """Write report.json, whole or not at all: the mark of a finished run."""
        write_json(self.directory / "report.json", report)

    def close(self) -> None:
        self._over.set()
        self._beat.join()
        self._metrics.close()

    def _keep_alive(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with suppress(SQLAlchemyError):  # a busy or full store now: the next beat may reach it
                if self._store.runs.beat(self.id):
                    self._stop.set()


@contextmanager
def recording(
    store: Store,
    workspace: Path,
    kind: str,
    config: Mapping[str, Any],
    run_id: str | None = None,
) -> Iterator[Recorder]:
    """Be a run: the row says running, beats, and ends as finished, stopped or failed.

    SIGTERM and the first Ctrl-C ask for a stop at the next step; a second Ctrl-C interrupts.
    """
    run_id = run_id or new_run(store, workspace, kind, config)
    row = store.runs.get(run_id)
    if row is None:
        raise ValueError(f"run {run_id!r} unknown in this store: leave --run-id out")
    clean_up_workspace(workspace)
    directory = runs_folder(workspace) / run_id
    private_folder(directory.parent)
    directory.mkdir(exist_ok=True)
    write_json(directory / "config.json", config)
    pid = os.getpid()
    store.runs.update(
        run_id,
        status="running",
        pid=pid,
        pid_started=process_start(pid),
        host=platform.node(),
        config=canonical_json(dict(config)),
    )
    recorder = Recorder(store, run_id, directory)
    undo_signals = _catch_signals(recorder)
    try:
        yield recorder
    except Stopped:
        store.runs.end(run_id, "stopped", "stopped as asked")
    except KeyboardInterrupt:
        store.runs.end(run_id, "stopped", "interrupted")
        raise
    except BaseException as error:
        _keep_failure(store, run_id, directory, error)
        raise
    else:
        if (directory / "report.json").exists():
            store.runs.end(run_id, "finished", "")
        else:
            store.runs.end(run_id, "stopped", "stopped as asked")
    finally:
        undo_signals()
        recorder.close()


def _catch_signals(recorder: Recorder) -> Any:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, _frame: object) -> None:
        if recorder.stop_requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        print("\nstopping at the next step (Ctrl-C again: at once)", file=sys.stderr, flush=True)
        recorder.request_stop()

    for number in before:
        signal.signal(number, ask)
    return lambda: [signal.signal(s, handler) for s, handler in before.items()]


def _keep_failure(store: Store, run_id: str, directory: Path, error: BaseException) -> None:
    """Note the reason in the row and the traceback in the folder, as far as the disk lets it."""
    with suppress(OSError):
        (directory / "traceback.txt").write_text("".join(traceback.format_exception(error)))
    with suppress(SQLAlchemyError):
        kind = type(error).__name__
        first = next(iter(str(error).strip().splitlines()), kind)
        reason = first if isinstance(error, ValueError) else f"{kind}: {first}"
        store.runs.end(run_id, "failed", reason)
