"""A small run as a process: python -m tests.data.runs.child_run MODE STORE WORKSPACE."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from data import runs
from data.settings import run_command
from data.store import Store

STEPS = 400


def main(mode: str, store_path: str, workspace: str, run_id: str) -> int:
    def work() -> None:
        runs.HEARTBEAT_SECONDS = 0.05
        with Store.open(store_path) as store:
            with runs.recording(store, Path(workspace), "test", {"mode": mode}, run_id) as recorder:
                if mode == "fail":
                    raise ValueError("fewer than 20 comparisons: collect more\nand a second line")
                for step in range(3 if mode == "finish" else STEPS):
                    recorder.log(step=step, loss=1.0 / (step + 1))
                    recorder.progress(step + 1, STEPS, "working")
                    print(f"step {step}", flush=True)
                    recorder.check_stop()
                    if mode == "vanish" and step == 2:
                        os._exit(9)
                    time.sleep(0 if mode == "finish" else 0.05)
                recorder.report({"steps": 3})

    return run_command(work)


if __name__ == "__main__":
    mode, store_path, workspace, _, run_id = sys.argv[1:]
    sys.exit(main(mode, store_path, workspace, run_id))
