"""An import lets others work while it is prepared, and lands at once or not at all."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import sqlalchemy as sa

import data.imports
from data.imports import import_file, insert_lines, staging
from data.schema import Annotator, Answer, Completion, Task, make_prompt
from data.store import Store
from data.store import tables as t
from data.store.database import target
from tests.data.imports.test_import_lines import write

PAIR = {
    "type": "judgement",
    "kind": "pairwise",
    "prompt": "q",
    "completion_a": "x",
    "completion_b": "y",
    "value": "a",
    "annotator": "ann",
    "model_a": "m",
}
ROWS = (
    {"type": "prompt", "prompt": "q", "tags": ["t"], "external_id": "p1"},
    {"type": "document", "text": "d"},
    {"type": "demonstration", "prompt": "q", "completion": "z"},
    PAIR,
    {**PAIR, "value": "b", "created_at": "2026-01-02T00:00:00Z"},
    {**PAIR, "annotator": "bob", "retracted_at": "2026-01-03T00:00:00Z"},
    {"type": "gold", "kind": "binary", "prompt": "q", "completion": "x", "value": True},
)


def question(name: str) -> Task:
    prompt = make_prompt(name)
    return Task("pairwise", Completion(prompt, "x"), Completion(prompt, "y"), 3)


def answer(store: Store, person: Annotator, value: str = "a") -> None:
    """The next task, claimed and judged."""
    held = store.ledger.claim(person, random.Random(0))
    assert held is not None
    store.ledger.submit(person, held.id, Answer(value), f"token-{person.name}-{held.id}")


def imported(store: Store, file: Path, meanwhile: Callable[[], None]) -> None:
    """Import while something else happens between the preparation and the publication."""
    once = iter([meanwhile])

    def prepare(connection: sa.Connection, lines: list[data.imports.Line]) -> object:
        found = insert_lines(connection, lines)
        next(once, lambda: None)()
        return found

    with patch("data.imports.insert_lines", prepare):
        import_file(store, file)


def test_people_rate_while_lines_are_prepared(store: Store, store_url: str, tmp_path: Path) -> None:
    store.ledger.add_tasks([question("asked")])
    eve = store.people.add("eve", "annotator")
    with Store.open(store_url) as others:

        def rate() -> None:
            assert others.content.counts().prompts == 1  # nothing of the file is seen
            assert [person.name for person in others.people.all()] == ["eve"]
            answer(others, eve)

        imported(store, write(tmp_path / "in", *ROWS), rate)
    assert sorted(store.ledger.by_annotator().items()) == [("ann", 1), ("eve", 1)]
    assert store.content.counts().prompts == 2


def test_staged_lines_are_what_is_written_at_once(store: Store, tmp_path: Path) -> None:
    """The same rows as those that one transaction writes."""
    file = write(tmp_path / "in", *ROWS)
    report = import_file(store, file)
    assert report.new == report.read
    assert import_file(store, file).new == dict.fromkeys(report.read, 0)
    with store.database.read() as connection:
        tags, name = connection.execute(sa.select(*t.prompts.c["tags", "external_id"])).one()
        assert (tags, name) == ('["t"]', "p1")
        values = connection.scalars(sa.select(t.judgements.c.value).order_by(t.judgements.c.id))
        assert list(values) == ["a", "b", "a", None]
        if store.database.is_sqlite:
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    assert [j.answer.value for j in store.ledger.judgements()] == ["a"]
    assert store.content.models() == {"m": 1}


def test_an_answer_given_meanwhile_is_superseded_and_not_doubled(
    store: Store, tmp_path: Path
) -> None:
    store.ledger.add_tasks([question("q")])
    ann = store.people.add("ann", "annotator")
    later = {**PAIR, "value": "b", "created_at": "2999-01-01T00:00:00Z"}
    imported(store, write(tmp_path / "in", later), lambda: answer(store, ann))
    assert [j.answer.value for j in store.ledger.judgements()] == ["b"]
    with store.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.judgements)) == 2
        assert connection.scalar(sa.select(t.tasks.c.remaining)) == 2


def test_a_pair_that_is_queued_meanwhile_stays_one_task(store: Store, tmp_path: Path) -> None:
    turned = question("q").turned()
    file = write(tmp_path / "in", PAIR)
    imported(store, file, lambda: store.ledger.add_tasks([turned]) and None)
    assert [j.task.id for j in store.ledger.judgements()] == [turned.id]
    assert [j.answer.value for j in store.ledger.judgements()] == ["b"]
    assert len(store.content.questions()) == 1


def test_an_import_that_is_overtaken_again_and_again_lands(store: Store, tmp_path: Path) -> None:
    numbers = iter(range(9))

    def prepare(connection: sa.Connection, lines: list[data.imports.Line]) -> object:
        found = insert_lines(connection, lines)
        if store.database.writing is None:
            store.ledger.add_tasks([question(f"other {next(numbers)}")])
        return found

    with patch("data.imports.insert_lines", prepare), patch.object(staging, "TRIES", 1):
        import_file(store, write(tmp_path / "in", *ROWS))
    assert store.ledger.by_annotator() == {"ann": 1}


@pytest.mark.parametrize(
    "where", ["data.imports.staging._read_marks", "data.imports.staging._fill"]
)
def test_one_that_breaks_leaves_nothing(store: Store, tmp_path: Path, where: str) -> None:
    file = write(tmp_path / "in", *ROWS)
    with patch(where, side_effect=RuntimeError), pytest.raises(RuntimeError):
        import_file(store, file)
    counts = store.content.counts()
    assert (counts.prompts, counts.documents, counts.completions) == (0, 0, 0)
    assert store.people.all() == []
    assert import_file(store, file).new["judgement"] == 3


def test_a_row_that_no_table_takes_is_refused_before_anybody_waits(store: Store) -> None:
    task = {"id": "t", "kind": "binary", "prompt_id": "p", "completion_a": "c"}
    task |= {"wanted": 1, "remaining": 2, "position": 0.0, "created_at": "2026"}

    def prepare(connection: sa.Connection) -> None:
        connection.execute(sa.insert(target(connection, t.tasks)), task)

    with patch.object(staging, "_move") as move, pytest.raises(sa.exc.IntegrityError):
        staging.publish(store.database, prepare)
    assert not move.called


def test_what_an_earlier_version_imported_is_known(store: Store, tmp_path: Path) -> None:
    """Its tokens hold the key alone, those of now the row's id before it."""
    file = write(tmp_path / "in", *ROWS)
    import_file(store, file)
    tokens = sa.select(*t.judgements.c["id", "client_token"]).order_by(t.judgements.c.id)
    with store.database.write() as connection:
        given = [row for row in connection.execute(tokens) if row.client_token[0] == "i"]
        for i, token in given:
            (prefix, number, key) = token.split(":")
            assert (prefix, int(number)) == ("import", i)
            older = sa.update(t.judgements).values(client_token=f"import:{key}")
            connection.execute(older.where(t.judgements.c.id == i))
    assert len(given) == 3 and import_file(store, file).new["judgement"] == 0
