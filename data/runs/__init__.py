"""A run: a child process with a row in the store and a folder of files.

recorder   what a running run writes of itself
processes  starting, stopping, finding again
files      reading what a run wrote
"""

from data.runs.files import (
    log_tail,
    metrics,
    preflight,
    report,
    runs_folder,
    samples,
    samples_of,
    verdicts,
)
from data.runs.processes import alive, launch, new_run, process_start, refresh, request_stop
from data.runs.recorder import Recorder, Stopped, recording

__all__ = [
    "Recorder",
    "Stopped",
    "alive",
    "launch",
    "log_tail",
    "metrics",
    "new_run",
    "preflight",
    "process_start",
    "recording",
    "refresh",
    "report",
    "request_stop",
    "runs_folder",
    "samples",
    "samples_of",
    "verdicts",
]
