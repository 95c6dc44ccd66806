"""A run: a child process with a directory and a row; started, followed, stopped, found again.

    runs/<id>/config.json     what was asked, written first
    runs/<id>/metrics.jsonl   one line a step, flushed
    runs/<id>/log.txt         everything the process printed
    runs/<id>/samples.jsonl   GRPO: every completion with its reward, in the order of the steps
    runs/<id>/preflight.json  GRPO: what was checked before the first step
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
import secrets
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from data.runrows import Run
from data.schema import canonical_json
from data.store import STORE_VARIABLE, Store

HEARTBEAT_SECONDS = 2.0
DEAD_AFTER_SECONDS = 30.0


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
        write_whole(self.directory / "report.json", report)

    def close(self) -> None:
        self._over.set()
        self._beat.join()
        self._metrics.close()

    def _keep_alive(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with suppress(SQLAlchemyError):  # a busy or full store now: the next beat may reach it
                if self._store.runs.beat(self.id):
                    self._stop.set()


def write_whole(path: Path, found: Any) -> None:
    """Write JSON, whole or not at all: somebody may be reading."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(found, indent=1), encoding="utf-8")
    partial.replace(path)


def runs_folder(workspace: Path) -> Path:
    return Path(workspace) / "runs"


def new_run(
    store: Store, workspace: Path, kind: str, config: Mapping[str, Any], alone: bool = False
) -> str:
    """Make the row and the folder of a run to come; returns its id.

    Raises ValueError if it is to be the only live run of its kind and is not.
    """
    stamp = time.strftime("%m%d-%H%M%S", time.gmtime())
    run_id = f"{kind}-{stamp}-{secrets.token_hex(2)}"
    directory = runs_folder(workspace) / run_id
    store.runs.add(run_id, kind, config, alone)
    directory.mkdir(parents=True)
    write_whole(directory / "config.json", config)
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
    directory = runs_folder(workspace) / run_id
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / "config.json", config)
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
        finished = (directory / "report.json").exists()
        if finished:
            store.runs.end(run_id, "finished", "")
        else:
            store.runs.end(run_id, "stopped", "stopped as asked")
    finally:
        undo_signals()
        recorder.close()


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
        if run.live and not _going_on(run):
            fresh = store.runs.get(run.id)
            if fresh is not None and fresh.live:
                store.runs.end(run.id, "died", _last_words(runs_folder(workspace) / run.id))
    return store.runs.list()


def _going_on(run: Run) -> bool:
    """Whether a live run's process is there: by its pid on this machine, else by its heartbeat."""
    if run.pid is not None and run.host == platform.node():
        return alive(run.pid, run.pid_started)
    last = datetime.fromisoformat(run.heartbeat or run.created_at)
    return (datetime.now(UTC) - last).total_seconds() < DEAD_AFTER_SECONDS


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


def alive(pid: int, started: float | None) -> bool:
    """Whether the process is the one that was started: a reused pid has another start."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state, current = _process(pid)
    if state == "Z":
        return False
    return current is None or started is None or current == started


def process_start(pid: int) -> float | None:
    """A process's start in clock ticks since boot; None where /proc does not tell or it is dead."""
    state, started = _process(pid)
    return None if state == "Z" else started


def _process(pid: int) -> tuple[str, float | None]:
    """(state, start) as /proc tells them; ("", None) where it does not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return "", None
    return fields[0], float(fields[19])


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
        store.runs.end(run_id, "failed", _one_line(error))


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    first = text[0] if text else type(error).__name__
    return first if isinstance(error, ValueError) else f"{type(error).__name__}: {first}"


def _last_words(directory: Path) -> str:
    tail = log_tail(directory, 3).strip()
    return (
        f"the process ended without a word; its log ends: {tail}"
        if tail
        else ("the process ended without a word")
    )
