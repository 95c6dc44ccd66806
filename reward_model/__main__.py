"""python -m reward_model train | evaluate | score | export | benchmark"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import tyro

from data.runs.files import report as saved_report
from data.runs.files import run_folder
from data.runs.recorder import recording
from data.settings import STOPPED, as_config, loading, parse_arguments, run_command
from reward_model.config import (
    BenchmarkSettings,
    EvaluateSettings,
    ExportRewardSettings,
    RewardSettings,
    ScoreSettings,
)

Command = (
    Annotated[RewardSettings, tyro.conf.subcommand("train")]
    | Annotated[EvaluateSettings, tyro.conf.subcommand("evaluate")]
    | Annotated[ScoreSettings, tyro.conf.subcommand("score")]
    | Annotated[ExportRewardSettings, tyro.conf.subcommand("export")]
    | Annotated[BenchmarkSettings, tyro.conf.subcommand("benchmark")]
)


def _train_model(settings: RewardSettings) -> int:
    with loading():
        from reward_model.receipt.text import RECEIPT_HTML, receipt_lines
        from reward_model.train import train

    with settings.open() as store:
        config = as_config(settings)
        with recording(store, settings.workspace, "reward", config, settings.run_id) as run:
            print(f"run {run.id}", flush=True)
            report = train(settings, store, run)
            run.report(report)
            print("\n".join(receipt_lines(report)))
            print(f"receipt: {run.directory / RECEIPT_HTML}")
    if saved_report(run.directory) is not None:
        return 0
    print("stopped as asked; nothing was saved of this model", file=sys.stderr)
    return STOPPED


def _evaluate_model(settings: EvaluateSettings) -> None:
    with loading():
        from reward_model.evaluate import evaluate
        from reward_model.receipt.text import RECEIPT_HTML, receipt_lines, write_receipt

    @cache  # each message once, however often it is reported
    def say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    folder = run_folder(settings.run, settings.workspace)
    with settings.open() as store:
        report = evaluate(settings, folder, store, lambda done, total, message: say(message))
    print("\n".join(receipt_lines(report)))
    if settings.out:
        folder = Path(settings.out)
        folder.mkdir(parents=True, exist_ok=True)
        write_receipt(report, folder)
        print(f"receipt: {folder / RECEIPT_HTML}")


def _export_model(settings: ExportRewardSettings) -> None:
    with loading():
        from reward_model.export.folder import export
        from reward_model.export.parity import certificate_line

    out = Path(settings.out)
    certificate = export(run_folder(settings.run, settings.workspace), out)
    print(f"wrote {out}: {certificate_line(certificate)}")


def _benchmark(settings: BenchmarkSettings) -> None:
    with loading():
        from reward_model.benchmark.run import benchmark

    benchmark(settings, lambda text: print(text, flush=True), _say_now)


def _say_now(words: str) -> None:
    """What a long command is doing, where it stays out of what it prints."""
    print(words, file=sys.stderr, flush=True)


def _score_or_serve(settings: ScoreSettings) -> None:
    from data.schema import make_prompt

    with loading():
        from reward_model.model_checks.context import prompts_taken
        from reward_model.scoring.scorer import Scorer, read_facts

    folder = run_folder(settings.run, settings.workspace)
    if settings.serve:
        from reward_model.serving.http import serve

        name = read_facts(folder).get("name", folder.resolve().name)
        serve(lambda: Scorer.load(folder), name, settings.host, settings.port)
        return
    rows = _read_rows(settings.file)
    scorer = Scorer.load(folder)
    prompts = [make_prompt(row["prompt"]) for row in rows]
    fitting = prompts_taken(prompts, lambda p: scorer.render(p, "", False).ids, settings.run)
    if fitting.counted:
        print(fitting.sentence, file=sys.stderr)
    rows = [row for row, prompt in zip(rows, prompts, strict=True) if prompt.id in fitting.ids]
    rewards, sd = scorer.score(
        [row["prompt"] for row in rows],
        [row["completion"] for row in rows],
        [row.get("finished", True) for row in rows],
        return_std=True,
    )
    if scorer.truncated:
        print(
            f"{scorer.truncated} of {len(rows)} texts are longer than the {scorer.max_tokens}"
            " tokens that this reward model reads, and lost their prompt's beginning",
            file=sys.stderr,
        )
    for row, reward, std in zip(rows, rewards.round(6), sd.round(6), strict=True):
        print(json.dumps({**row, "reward": float(reward), "std": float(std)}))


def _read_rows(file: str) -> list[dict[str, Any]]:
    from data.schema import make_prompt

    path = Path(file)
    if not path.is_file():
        raise ValueError(f"file {file!r} not found: name a file of JSON lines")
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"file {file!r} is not UTF-8: convert it first") from None
    rows = []
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("completion"), str):
                raise ValueError('give "prompt" and "completion" as texts')
            if not isinstance(row.get("finished", True), bool):
                raise ValueError(f'"finished" {row["finished"]!r} not allowed: use true or false')
            make_prompt(row.get("prompt"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{file}:{n}: not JSON ({error.msg}): one object a line") from None
        except ValueError as error:
            raise ValueError(f"{file}:{n}: {error}") from None
        rows.append(row)
    return rows


COMMANDS: dict[type, Callable[[Any], int | None]] = {
    RewardSettings: _train_model,
    EvaluateSettings: _evaluate_model,
    ScoreSettings: _score_or_serve,
    ExportRewardSettings: _export_model,
    BenchmarkSettings: _benchmark,
}


def main() -> int:
    """Run the command that the arguments name; returns its exit code."""

    def act() -> int | None:
        settings = parse_arguments(Command, prog="python -m reward_model", description=__doc__)
        return COMMANDS[type(settings)](settings)

    return run_command(act)


if __name__ == "__main__":
    sys.exit(main())
