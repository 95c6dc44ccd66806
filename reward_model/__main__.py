"""python -m reward_model train | evaluate | score | export"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro

from data.runs.files import report as saved_report
from data.runs.files import runs_folder
from data.runs.recorder import recording
from data.settings import STOPPED, as_config, parse, run_command
from reward_model.config import (
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
)


def main() -> int:
    def act() -> int | None:
        settings = parse(Command, prog="python -m reward_model", description=__doc__)
        if isinstance(settings, RewardSettings):
            return _train(settings)
        if isinstance(settings, EvaluateSettings):
            _evaluate(settings)
        elif isinstance(settings, ExportRewardSettings):
            _export(settings)
        elif settings.serve:
            _serve(settings)
        else:
            _score(settings)
        return 0

    return run_command(act)


def _train(settings: RewardSettings) -> int:
    from reward_model.receipt.text import RECEIPT_HTML, lines
    from reward_model.train import train

    with settings.open() as store:
        config = as_config(settings)
        with recording(store, settings.workspace, "reward", config, settings.run_id) as run:
            print(f"run {run.id}", flush=True)
            report = train(settings, store, run)
            run.report(report)
            print("\n".join(lines(report)))
            print(f"receipt: {run.directory / RECEIPT_HTML}")
    if saved_report(run.directory) is not None:
        return 0
    print("stopped as asked; nothing was saved of this model", file=sys.stderr)
    return STOPPED


def _evaluate(settings: EvaluateSettings) -> None:
    from reward_model.evaluate import evaluate
    from reward_model.receipt.text import RECEIPT_HTML, lines, write_receipt

    said: set[str] = set()

    def tick(done: int, total: int, words: str) -> None:
        if words not in said:
            said.add(words)
            print(words, file=sys.stderr, flush=True)

    with settings.open() as store:
        report = evaluate(settings, _folder(settings.workspace, settings.run), store, tick)
    print("\n".join(lines(report)))
    if settings.out:
        folder = Path(settings.out)
        folder.mkdir(parents=True, exist_ok=True)
        write_receipt(report, folder)
        print(f"receipt: {folder / RECEIPT_HTML}")


def _export(settings: ExportRewardSettings) -> None:
    from reward_model.export.folder import export
    from reward_model.export.parity import verdict

    out = Path(settings.out)
    certificate = export(_folder(settings.workspace, settings.run), out)
    print(f"wrote {out}: {verdict(certificate)}")


def _serve(settings: ScoreSettings) -> None:
    from reward_model.scoring.scorer import Scorer, read_facts
    from reward_model.serving.http import serve

    folder = _folder(settings.workspace, settings.run)
    name = read_facts(folder).get("name", folder.resolve().name)
    serve(lambda: Scorer.load(folder), name, settings.host, settings.port)


def _score(settings: ScoreSettings) -> None:
    from reward_model.scoring.scorer import Scorer

    rows = [_row(settings.file, i, s) for i, s in enumerate(_lines(settings.file), 1) if s.strip()]
    scorer = Scorer.load(_folder(settings.workspace, settings.run))
    rewards, sd = scorer.score(
        [r["prompt"] for r in rows],
        [r["completion"] for r in rows],
        [r.get("finished", True) for r in rows],
        return_std=True,
    )
    for row, reward, std in zip(rows, rewards.round(6), sd.round(6), strict=True):
        found = {"reward": float(reward), "std": float(std)}
        sys.stdout.write(json.dumps({**row, **found}) + "\n")


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
    if not isinstance(row.get("finished", True), bool):
        raise ValueError(
            f'{file}:{number}: "finished" {row["finished"]!r} not allowed: use true or false'
        )
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
