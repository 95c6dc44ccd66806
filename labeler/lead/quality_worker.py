"""The statistics of the judgements, worked out beside the server and kept until there are more.

They take seconds of arithmetic, which would hold up everybody who rates: a process of its own does
it, at most one at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

from data.store import STORE_VARIABLE
from labeler.jobs import Site
from labeler.lead.snapshot import JsonMapping

REST_SECONDS = 20.0
"""Between the end of one calculation and the start of the next."""
LONGEST_SECONDS = 600.0
NICER = 10


@dataclass(frozen=True)
class QualityResult:
    """The newest statistics that are there."""

    figures: JsonMapping | None
    """None before the first are there."""
    current: bool
    """Whether nothing was judged since."""
    trouble: str = ""
    """Why there are none, in one line."""


class QualityWorker:
    """Statistics of one store; `found` is quick, and sees to it that they follow the store."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._busy = False
        self._mark: object = None
        self._rested = -REST_SECONDS  # the first calculation waits for nothing
        self._found = QualityResult(None, False)

    def mark(self) -> object:
        """Another one once there is something else to be found."""
        found = self.found()
        return id(found.figures), found.current, found.trouble

    def found(self) -> QualityResult:
        """What is there; where the store has moved on, a calculation is started."""
        mark = self._site.store.control_tasks.mark()
        with self._lock:
            current = mark == self._mark
            due = not current and not self._busy
            if due and time.monotonic() - self._rested >= REST_SECONDS:
                self._busy = True
                threading.Thread(target=self._calculate_once, args=(mark,), daemon=True).start()
            return QualityResult(self._found.figures, current, self._found.trouble)

    def _calculate_once(self, mark: object) -> None:
        try:
            found = QualityResult(calculate(self._site), True)
        except (ValueError, OSError) as error:
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)
            why = f"The figures could not be worked out: {line}"
            found = QualityResult(self._found.figures, False, why)
        with self._lock:
            self._found, self._mark, self._busy = found, mark, False
            self._rested = time.monotonic()


def calculate(site: Site) -> JsonMapping:
    """What `python -m data stats --json` prints. Raises ValueError with its complaint."""
    command = [sys.executable, "-m", "data", "stats", "--json", "--workspace", str(site.workspace)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, STORE_VARIABLE: site.store.url, "OMP_NUM_THREADS": "1"},
    ) as child:
        if hasattr(os, "setpriority"):
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, child.pid, NICER)
        try:
            printed, complaint = child.communicate(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            raise ValueError(f"it took more than {LONGEST_SECONDS:.0f} s") from None
    if child.returncode:
        lines = complaint.strip().splitlines()
        raise ValueError(lines[-1] if lines else f"it ended with {child.returncode}")
    figures: JsonMapping = json.loads(printed)
    return figures
