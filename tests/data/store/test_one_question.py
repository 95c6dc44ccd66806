"""A pair is one question whichever way round, the latest word counts, an id is one thing's."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from data.imports import import_file
from data.schema import Completion, Task, make_prompt
from data.store import Store
from tests.data.exports.test_exports import export_lines as export
from tests.data.imports.test_import_lines import PAIR, SINGLE, standing, write

EARLY, LATE = "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"

SIDES = {"a": "b", "b": "a"}


def other_way_round(row: dict[str, Any]) -> dict[str, Any]:
    """The same judgement of a pair with its sides exchanged."""
    columns = {c: c[:-1] + SIDES[c[-1]] for c in row if c[-2:] in ("_a", "_b")}
    row = {columns.get(column, column): value for column, value in row.items()}
    said = {column: row[column] for column in ("value", "shown_first") if column in row}
    return row | {column: SIDES.get(value, value) for column, value in said.items()}


def pairs(store: Store) -> list[tuple[str, str, str, str | None]]:
    """(text of a, text of b, value, shown first) of what stands."""
    return [
        (j.task.a.text, j.task.b.text if j.task.b else "", j.answer.value, j.shown_first)
        for j in store.ledger.judgements()
    ]


def same_again(store: Store, file: Path, folder: Path) -> None:
    """Importing again changes nothing, and an export survives an import byte for byte."""
    assert set(import_file(store, file).new.values()) <= {0}
    first = export(store, folder / "first")
    assert set(import_file(store, first).new.values()) == {0}
    with Store.open(folder / "again.db") as again:
        import_file(again, first)
        assert export(again, folder / "second").read_bytes() == first.read_bytes()
        assert standing(again) == standing(store)


def test_the_other_way_round_is_the_same_question(store: Store, tmp_path: Path) -> None:
    pair = {**PAIR, "shown_first": "a", "model_a": "one", "model_b": "two", "strength": 2}
    turned = other_way_round({**pair, "annotator": "bo", "value": "a"})
    assert turned["completion_a"] == "y"
    tie = other_way_round({**PAIR, "annotator": "cy", "value": "tie"})
    file = write(tmp_path / "in", pair, turned, tie)
    import_file(store, file)
    assert pairs(store) == [("x", "y", "a", "a"), ("x", "y", "a", "a"), ("x", "y", "tie", None)]
    models = {(g.completion.text, g.model) for g in store.content.generations()}
    assert models == {("x", "one"), ("y", "two")}
    same_again(store, file, tmp_path)


def test_a_vote_the_other_way_round_is_a_second_vote(store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "in", PAIR, other_way_round({**PAIR, "value": "b"}))
    import_file(store, file)
    assert pairs(store) == [("x", "y", "b", None)]
    assert len(export(store, tmp_path / "out").read_text().splitlines()) == 2 + 3
    same_again(store, file, tmp_path)


def test_a_file_turns_onto_what_the_store_asks(store: Store, tmp_path: Path) -> None:
    """The place of a queued task is filled, and its flipped twin is never queued."""
    x, y = (Completion(make_prompt("q"), text) for text in "xy")
    ann, bo = (store.people.add(name, "annotator") for name in ("ann", "bo"))
    both = [Task("pairwise", y, x, wanted=2), Task("pairwise", x, y, wanted=9)]
    assert store.ledger.add_tasks(both) == 1
    assert store.ledger.add_tasks([Task("pairwise", x, y), Task("pairwise", y, x)]) == 0
    import_file(store, write(tmp_path / "in", {**PAIR, "shown_first": "b"}))
    assert pairs(store) == [("y", "x", "b", "a")]
    assert store.content.counts().tasks_open == 1
    assert store.ledger.claim(ann, random.Random(0)) is None
    assert store.ledger.claim(bo, random.Random(0)) is not None


@pytest.mark.parametrize("apart", [False, True])
def test_the_latest_vote_counts_whatever_the_order(
    store: Store, tmp_path: Path, apart: bool
) -> None:
    late = {**PAIR, "value": "b", "created_at": LATE}
    rows: list[dict[str, Any]] = [
        late,
        {**PAIR, "created_at": EARLY},
        {**PAIR, "value": "tie", "created_at": EARLY},
        {**PAIR, "created_at": "2023-01-01", "retracted_at": "2023-02-01"},
    ]
    files = [[row] for row in rows] if apart else [rows]
    for number, part in enumerate(files):
        import_file(store, write(tmp_path / f"{number}", *part))
    assert standing(store) == [("ann", "pairwise", "b")]
    same_again(store, tmp_path / "0", tmp_path)
    import_file(store, write(tmp_path / "more", {**late, "retracted_at": "2026-01-01"}))
    assert standing(store) == []
    import_file(store, write(tmp_path / "now", {**PAIR, "value": "tie"}))
    assert standing(store) == [("ann", "pairwise", "tie")]


def test_an_id_is_one_thing_s(store: Store, tmp_path: Path) -> None:
    named: list[dict[str, Any]] = [
        {"type": "prompt", "prompt": "q", "external_id": "1"},
        {"type": "completion", "prompt": "q", "completion": "x", "external_id": "1"},
        {**PAIR, "external_id": "1"},
        {**other_way_round(PAIR), "annotator": "bo", "external_id": "1"},
        {**SINGLE, "external_id": "1"},
    ]
    file = write(tmp_path / "good", *named)
    import_file(store, file)
    others = [
        {"type": "prompt", "prompt": "other", "external_id": "1"},
        {"type": "completion", "prompt": "q", "completion": "y", "external_id": "1"},
        {**PAIR, "completion_b": "z", "external_id": "1"},
        {**SINGLE, "completion": "y", "external_id": "1"},
    ]
    for row in others:
        bad = write(tmp_path / "bad", {"type": "prompt", "prompt": "new"}, row)
        with pytest.raises(ValueError, match=r"bad:2: external_id \"1\" is another .*'s already"):
            import_file(store, bad)
    before = len(store.content.prompts())
    within = write(
        tmp_path / "in", {**others[0], "external_id": "2"}, {**named[0], "external_id": "2"}
    )
    with pytest.raises(ValueError, match="in:2: external_id"):
        import_file(store, within)
    assert len(store.content.prompts()) == before == 1
    assert import_file(store, within, tmp_path / "skipped").skipped == 1
    same_again(store, file, tmp_path)
