"""python -m grpo pretrain | sft | sample | train | stop | evaluate | export | loop"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import tyro

from data.runs.processes import request_stop
from data.runs.recorder import recording
from data.settings import STOPPED, as_config, parse, run_command
from grpo.config import (
    WINDOW,
    ComparisonSettings,
    ExportSettings,
    LoopSettings,
    PolicySettings,
    PretrainSettings,
    SampleSettings,
    SftSettings,
    StopSettings,
)

Command = (
    Annotated[PretrainSettings, tyro.conf.subcommand("pretrain")]
    | Annotated[SftSettings, tyro.conf.subcommand("sft")]
    | Annotated[SampleSettings, tyro.conf.subcommand("sample")]
    | Annotated[PolicySettings, tyro.conf.subcommand("train")]
    | Annotated[StopSettings, tyro.conf.subcommand("stop")]
    | Annotated[ComparisonSettings, tyro.conf.subcommand("evaluate")]
    | Annotated[ExportSettings, tyro.conf.subcommand("export")]
    | Annotated[LoopSettings, tyro.conf.subcommand("loop")]
)


def main() -> int:
    def act() -> int | None:
        settings = parse(Command, prog="python -m grpo", description=__doc__)
        if isinstance(settings, LoopSettings):
            from grpo.loop import loop

            loop(settings)
        elif isinstance(settings, StopSettings):
            with settings.open() as store:
                request_stop(store, settings.run)
            print(f"{settings.run} stops at its next step")
        elif isinstance(settings, ExportSettings):
            from grpo.export import export

            print(f"wrote {export(settings)}")
        else:
            return _run(settings)
        return None

    return run_command(act)


def _run(settings: Any) -> int:
    from grpo.reports.text import lines

    kind, work = _work(settings)
    with settings.open() as store:
        if isinstance(settings, PolicySettings):
            from grpo.train import resolved

            settings = resolved(settings, store)
        config = as_config(settings)
        whole = False
        with recording(store, settings.workspace, kind, config, settings.run_id) as run:
            print(f"run {run.id}", flush=True)
            report = work(settings, store, run)
            print("\n".join(lines(report)))
            whole = not run.stop_requested or report.get("steps") == config.get("steps", -1)
            if whole:  # a stop that comes after the last step ends nothing early
                run.report(report)
    if whole:
        return 0
    kept = any(run.directory.glob(f"checkpoint-*/{WINDOW}")) or config.get("resume")
    going = kind == "grpo" and kept
    go_on = f"; go on with --resume {run.id}" if going else "; what was stored is kept"
    print(f"stopped as asked{go_on}", file=sys.stderr)
    return STOPPED


def _work(settings: Any) -> tuple[str, Callable[..., dict[str, Any]]]:
    """(run kind, function): torch is imported here, so that --help is quick."""
    if isinstance(settings, PretrainSettings):
        from grpo import pretrain

        return "pretrain", pretrain.train
    if isinstance(settings, SftSettings):
        from grpo import sft

        return "sft", sft.train
    if isinstance(settings, SampleSettings):
        from grpo import sample

        return "sample", sample.sample
    if isinstance(settings, PolicySettings):
        from grpo import train

        return "grpo", train.train
    from grpo import evaluate

    return "compare", evaluate.compare


if __name__ == "__main__":
    sys.exit(main())
