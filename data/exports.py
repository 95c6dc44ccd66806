"""Files out: the exchange format, and what TRL trains on.

An export of the exchange format, imported into an empty store and exported again, is the same file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from data.archive import Record, load_records, load_unattributed
from data.checks import load_gold
from data.content import load_demonstrations, load_documents, load_generations, load_prompts
from data.files import write_whole
from data.lines import spell
from data.schema import Completion, Generation, Gold, Judgement, Prompt
from data.store import Store

Format = Literal["exchange", "trl-preference", "trl-unpaired", "trl-prompts"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class ExportReport:
    """What was written, by type of line, and what was left out, by reason."""

    written: dict[str, int]
    left_out: dict[str, int]


def export_file(store: Store, path: Path, format: Format = "exchange") -> ExportReport:
    """Write the store to a file; it appears whole or not at all.

    exchange: everything but people, tasks and runs, losslessly. trl-preference: prompt, chosen,
    rejected from standing pairwise judgements, ties left out. trl-unpaired: prompt, completion,
    label from standing binary ones. trl-prompts: the prompts. Raises ValueError for an unknown
    format or a path that is a folder.
    """
    path = Path(path)
    if format not in FORMATS:
        raise ValueError(f"format {format!r} unknown: use {', '.join(FORMATS)}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file in it")
    left_out: Counter[str] = Counter()
    rows = list(
        _exchange(store, left_out) if format == "exchange" else _trl(store, format, left_out)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(row, ensure_ascii=False) for row in rows))
    written = Counter(row["type"] if format == "exchange" else format for row in rows)
    return ExportReport(dict(written), dict(left_out))


def _exchange(store: Store, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    with store.database.read() as connection:
        prompts = load_prompts(connection)
        nouns: list[Any] = list(prompts.values())
        nouns += load_demonstrations(connection, prompts)
        nouns += load_documents(connection)
        nouns += load_generations(connection, prompts)
        nouns += load_unattributed(connection, prompts)
        nouns += load_records(connection, prompts)
        nouns += load_gold(connection, prompts)
    for noun in nouns:
        if _without_text(noun):
            left_out["completion without text"] += 1
        else:
            yield spell(noun)


def _without_text(noun: Any) -> bool:
    if isinstance(noun, Record | Gold):
        return any(c is not None and not c.text.strip() for c in (noun.task.a, noun.task.b))
    completion = noun.completion if isinstance(noun, Generation) else noun
    return isinstance(completion, Completion) and not completion.text.strip()


def _trl(store: Store, format: Format, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    if format == "trl-prompts":
        yield from ({"prompt": _turns(p)} for p in store.content.prompts())
        return
    pairwise = format == "trl-preference"
    for judgement in store.ledger.judgements(["pairwise" if pairwise else "binary"]):
        if judgement.answer.value == "tie":
            left_out["tie"] += 1
        else:
            yield _preference(judgement) if pairwise else _unpaired(judgement)


def _preference(judgement: Judgement) -> dict[str, Any]:
    task = judgement.task
    assert task.b is not None
    chosen, rejected = (task.a, task.b) if judgement.answer.value == "a" else (task.b, task.a)
    return {
        "prompt": _turns(judgement.prompt),
        "chosen": _reply(chosen),
        "rejected": _reply(rejected),
    }


def _unpaired(judgement: Judgement) -> dict[str, Any]:
    return {
        "prompt": _turns(judgement.prompt),
        "completion": _reply(judgement.task.a),
        "label": judgement.answer.value == "good",
    }


def _turns(prompt: Prompt) -> list[dict[str, str]]:
    return [message.as_dict() for message in prompt.messages]


def _reply(completion: Completion) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": completion.text}]
