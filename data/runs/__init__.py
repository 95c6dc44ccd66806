"""A run: a child process with a row in the store and a folder of files.

kinds      the kinds of run: their commands, titles and buttons
recorder   what a running run writes of itself
checks     what its preflight found
processes  starting, stopping, finding again
files      reading what a run wrote
"""

from data.runs.files import (
    clean_up_workspace,
    log_tail,
    metrics,
    preflight,
    remove_incoming,
    report,
    runs_folder,
    samples,
    samples_of,
    take_in,
    verdicts,
)
from data.runs.processes import alive, launch, new_run, process_start, refresh, request_stop
from data.runs.recorder import Recorder, Stopped, recording

__all__ = [
    "Recorder",
    "Stopped",
    "alive",
    "clean_up_workspace",
    "launch",
    "log_tail",
    "metrics",
    "new_run",
    "preflight",
    "process_start",
    "recording",
    "refresh",
    "remove_incoming",
    "report",
    "request_stop",
    "runs_folder",
    "samples",
    "samples_of",
    "take_in",
    "verdicts",
]
