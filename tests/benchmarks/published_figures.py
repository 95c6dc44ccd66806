"""The figures of published human judgements, counted as their sources count them.

python -m tests.benchmarks.published_figures --workspace DIR     (after python -m data import ...)

A store takes the same texts for one question, whoever asked it. A source may ask it several times,
of other models' answers for instance, and count each. What stands in an external id before a # is
the item of the source; after it may stand whose answer to the item is judged. So every item gets a
prompt of its own here, and every named model a completion of its own.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from data.quality import Quality, quality
from data.quality.text import quality_lines
from data.schema import Completion, Judgement, Record, Task, make_prompt
from data.store import Store
from data.store.content import load_prompts
from data.store.history import load_records


def figures_by_source(store: Store) -> Quality:
    """Of each item the latest answer of each annotator, not taken back."""
    with store.database.read() as connection:
        records = load_records(connection, load_prompts(connection))
    known, models = store.content.writers(), dict[str, frozenset[str]]()
    named: dict[str, set[str]] = defaultdict(set)
    for record in records:
        item, _, model = (record.external_id or "").partition("#")
        if model:
            named[item].add(model)
    latest: dict[tuple[str, str, frozenset[str]], Judgement] = {}
    for number, record in enumerate(records):
        if record.purpose != "queue" or record.retracted_at:
            continue
        said = _of_item(number, record)
        item, _, model = (record.external_id or "").partition("#")
        sides = zip(_sides(record.task), _sides(said.task), strict=True)
        for stored, side in sides if named[item] else ():
            writers = known.get(stored.id, frozenset())
            models[side.id] = frozenset([model]) if model else writers & named[item] or writers
        key = (said.annotator, said.kind, frozenset(side.id for side in _sides(said.task)))
        latest[key] = max(latest.get(key, said), said, key=lambda j: (j.created_at, j.id))
    return quality(list(latest.values()), models=models)


def _of_item(number: int, record: Record) -> Judgement:
    """The judgement of a task of the item's own."""
    item, _, model = (record.external_id or "").partition("#")
    prompt = make_prompt(f"{record.task.a.prompt.text}\n[{item}]")
    a, *b = (
        Completion(prompt, f"{side.text}\n[{model}]" if model else side.text, side.finished)
        for side in _sides(record.task)
    )
    task, said = Task(record.task.kind, a, *b), record.created_at or ""
    return Judgement(number, task, record.annotator, record.answer, None, said)


def _sides(task: Task) -> list[Completion]:
    return [side for side in (task.a, task.b) if side]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workspace", type=Path, required=True)
    with Store.open(parser.parse_args().workspace) as store:
        print("\n".join(quality_lines(figures_by_source(store))))


if __name__ == "__main__":
    main()
