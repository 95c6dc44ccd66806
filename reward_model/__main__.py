"""python -m reward_model train | evaluate | score"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from data.runs import recording, runs_folder
from data.runs import report as saved_report
from data.settings import STOPPED, as_config, parse, run_command
from reward_model.config import EvaluateSettings, RewardSettings, ScoreSettings

Command = (
    Annotated[RewardSettings, tyro.conf.subcommand("train")]
    | Annotated[EvaluateSettings, tyro.conf.subcommand("evaluate")]
    | Annotated[ScoreSettings, tyro.conf.subcommand("score")]
)


def main() -> int:
    def act() -> int | None:
        settings = parse(Command, prog="python -m reward_model", description=__doc__)
        if isinstance(settings, RewardSettings):
            return _train(settings)
        if isinstance(settings, EvaluateSettings):
            _evaluate(settings)
        else:
            _score(settings)
        return 0

    return run_command(act)


def _train(settings: RewardSettings) -> int:
    from reward_model.report import lines
    from reward_model.train import train

    with settings.open() as store:
        config = as_config(settings)
        with recording(store, settings.workspace, "reward", config, settings.run_id) as run:
            print(f"run {run.id}", flush=True)
            report = train(settings, store, run)
            run.report(report)
            print("\n".join(lines(report)))
    if saved_report(run.directory) is not None:
        return 0
    print("stopped as asked; nothing was saved of this model", file=sys.stderr)
    return STOPPED


def _evaluate(settings: EvaluateSettings) -> None:
    from reward_model.evaluate import held_out_report, summary
    from reward_model.examples import collect, split_judgements
    from reward_model.report import lines
    from reward_model.score import Scorer

    with settings.open() as store:
        scorer = Scorer.load(_folder(settings.workspace, settings.run))
        _, held_side = split_judgements(store.ledger.judgements())
    examples = collect(held_side)
    rewards = scorer.score(
        [c.prompt for c in examples.completions],
        [c.text for c in examples.completions],
        [c.finished for c in examples.completions],
    )
    held = held_out_report(examples, rewards)
    print("\n".join(lines({"summary": summary(held), "held_out": held})))


def _score(settings: ScoreSettings) -> None:
    from reward_model.score import Scorer

    rows = [_row(settings.file, i, s) for i, s in enumerate(_lines(settings.file), 1) if s.strip()]
    scorer = Scorer.load(_folder(settings.workspace, settings.run))
    rewards = scorer.score(
        [r["prompt"] for r in rows],
        [r["completion"] for r in rows],
        [r.get("finished", True) for r in rows],
    )
    for row, reward in zip(rows, rewards, strict=True):
        sys.stdout.write(json.dumps({**row, "reward": round(float(reward), 6)}) + "\n")


def _lines(file: str) -> list[str]:
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"file {file!r} not found: name a file of JSON lines")
    try:
        return path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"file {file!r} is not UTF-8: convert it first") from None


def _row(file: str, number: int, line: str) -> dict[str, Any]:
    from data.schema import make_prompt

    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}:{number}: not JSON ({error.msg}): one object a line") from None
    if not isinstance(row, dict) or not isinstance(row.get("completion"), str):
        raise ValueError(f'{file}:{number}: give "prompt" and "completion" as texts')
    try:
        make_prompt(row.get("prompt"))
    except ValueError as error:
        raise ValueError(f"{file}:{number}: {error}") from None
    return row


def _folder(workspace: Path, run: str) -> Path:
    inside = runs_folder(workspace) / run
    return inside if inside.is_dir() else Path(run)


if __name__ == "__main__":
    sys.exit(main())
