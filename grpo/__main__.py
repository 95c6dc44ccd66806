"""python -m grpo pretrain | sft | sample | train | stop | evaluate | export | loop"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import tyro

from data.runs.processes import request_stop
from data.settings import STOPPED, loading, parse_arguments, run_command
from grpo import config

Command = (
    Annotated[config.PretrainSettings, tyro.conf.subcommand("pretrain")]
    | Annotated[config.SftSettings, tyro.conf.subcommand("sft")]
    | Annotated[config.SampleSettings, tyro.conf.subcommand("sample")]
    | Annotated[config.PolicySettings, tyro.conf.subcommand("train")]
    | Annotated[config.StopSettings, tyro.conf.subcommand("stop")]
    | Annotated[config.ComparisonSettings, tyro.conf.subcommand("evaluate")]
    | Annotated[config.ExportSettings, tyro.conf.subcommand("export")]
    | Annotated[config.LoopSettings, tyro.conf.subcommand("loop")]
)
WORK = {
    config.PretrainSettings: ("pretrain", "grpo.pretrain", "train"),
    config.SftSettings: ("sft", "grpo.sft", "train"),
    config.SampleSettings: ("sample", "grpo.sample", "sample"),
    config.PolicySettings: ("grpo", "grpo.train", "train"),
    config.ComparisonSettings: ("compare", "grpo.evaluate", "compare"),
}
"""Kind of run, module and function of each verb's settings. Modules with torch are imported when
they are needed, so that --help is quick."""


def main() -> int:
    """Run the command that the arguments name; returns its exit code."""
    return run_command(_act)


def _act() -> int:
    settings = parse_arguments(Command, prog="python -m grpo", description=__doc__)
    if isinstance(settings, config.LoopSettings):
        with loading():
            from grpo.loop import loop

        loop(settings)
        return 0
    if isinstance(settings, config.StopSettings):
        with settings.open() as store:
            request_stop(store, settings.run)
        print(f"{settings.run} stops at its next step")
        return 0
    if isinstance(settings, config.ExportSettings):
        with loading():
            from grpo.export import export

        print(f"wrote {export(settings)}")
        return 0
    from grpo.reports.text import report_lines
    from grpo.run import execute

    kind, module, function = WORK[type(settings)]
    with loading():
        work = getattr(import_module(module), function)
    with settings.open() as store:
        outcome = execute(kind, work, settings, store)
    if outcome.report:
        print("\n".join(report_lines(outcome.report)))
    if outcome.finished:
        return 0
    resumable = isinstance(settings, config.PolicySettings) and (
        settings.resume or any(outcome.folder.glob(f"checkpoint-*/{config.WINDOW}"))
    )
    go_on = f"; go on with --resume {outcome.run_id}" if resumable else "; what was stored is kept"
    print(f"stopped as asked{go_on}", file=sys.stderr)
    return STOPPED


if __name__ == "__main__":
    sys.exit(main())
