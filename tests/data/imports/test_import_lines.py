"""Lines of the exchange format in: what stands afterwards, whatever stood before."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from data.exports import export_file
from data.imports import import_file
from data.schema import Answer, Completion, Task, make_prompt
from data.store import Store

PAIR = {
    **{"type": "judgement", "kind": "pairwise", "prompt": "q", "annotator": "ann"},
    **{"completion_a": "x", "completion_b": "y", "value": "a"},
}
SINGLE = {
    **{"type": "judgement", "kind": "scalar", "prompt": "q", "annotator": "ann"},
    **{"completion": "x", "value": 7},
}
BINARY = {**SINGLE, "kind": "binary", "value": True}


def write(path: Path, *rows: Any) -> Path:
    """A file of rows; bytes are written as they are."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def standing(store: Store) -> list[tuple[str, str, str]]:
    return [(j.annotator, j.kind, j.answer.value) for j in store.ledger.judgements()]


def export(store: Store, path: Path) -> Path:
    export_file(store, path)
    return path


# -- reading ---------------------------------------------------------------------


def test_every_type_of_line(store: Store, tmp_path: Path) -> None:
    file = write(
        tmp_path / "in.jsonl",
        {"type": "prompt", "prompt": "q", "tags": ["t"], "external_id": "7"},
        {"type": "demonstration", "prompt": "q", "completion": "like so"},
        {"type": "document", "text": "prose"},
        {
            **{"type": "completion", "prompt": "q", "completion": "x", "model": "m"},
            "sampling": {"temperature": 0.7},
        },
        {"type": "completion", "prompt": "q", "completion": "cut", "finished": False},
        {**PAIR, "strength": 2, "both_bad": False, "shown_first": "b", "model_b": "other"},
        {**SINGLE, "comment": "nice", "created_at": "2026-01-31T12:00:00+02:00"},
        {**BINARY, "value": False, "annotator": "bo"},
    )
    report = import_file(store, file)
    counts = {"prompt": 1, "demonstration": 1, "document": 1, "completion": 2, "judgement": 3}
    assert report.read == report.new == counts
    assert set(report.already_there.values()) == {0}
    assert store.content.prompts() == [make_prompt("q", ["t"], "7")]
    assert store.content.models() == {"m": 1, "other": 1}
    pair, single, binary = store.ledger.judgements()
    assert (pair.answer.strength, pair.answer.both_bad, pair.shown_first) == (2, False, "b")
    assert (single.answer.value, single.answer.comment) == ("7", "nice")
    assert single.created_at == "2026-01-31T10:00:00.000000Z"
    assert (binary.annotator, binary.answer.value) == ("bo", "bad")
    assert store.content.counts().tasks_open == 0
    assert store.people.password_hash("ann") is None


def test_reading_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", {"type": "prompt", "prompt": "q"}, PAIR, SINGLE, PAIR)
    assert import_file(store, file).new == {"prompt": 1, "judgement": 2}
    before = export_file(store, tmp_path / "one.jsonl")
    assert import_file(store, file).already_there == {"prompt": 1, "judgement": 3}
    assert import_file(store, tmp_path / "one.jsonl").new == dict.fromkeys(before.written, 0)
    export_file(store, tmp_path / "two.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_the_last_word_stands_and_all_are_kept(store: Store, tmp_path: Path) -> None:
    import_file(store, write(tmp_path / "1", PAIR, {**PAIR, "value": "b"}))
    assert standing(store) == [("ann", "pairwise", "b")]
    import_file(store, write(tmp_path / "2", {**PAIR, "value": "tie"}, {**PAIR, "annotator": "bo"}))
    assert standing(store) == [("ann", "pairwise", "tie"), ("bo", "pairwise", "a")]
    assert export_file(store, tmp_path / "out").written["judgement"] == 4


def test_what_was_taken_back_stays_taken_back(store: Store, tmp_path: Path) -> None:
    when = {"retracted_at": "2026-02-01T00:00:00Z"}
    import_file(store, write(tmp_path / "1", {**PAIR, **when}, SINGLE))
    assert standing(store) == [("ann", "scalar", "7")]
    import_file(store, write(tmp_path / "2", {**SINGLE, **when}))
    assert standing(store) == []
    import_file(store, write(tmp_path / "3", {**PAIR, "value": "b"}))
    assert standing(store) == [("ann", "pairwise", "b")]


def test_an_own_judgement_is_recognised_and_superseded(store: Store, tmp_path: Path) -> None:
    """What was answered in the browser comes back from a file, changed or not."""
    prompt = make_prompt("q")
    store.ledger.add_tasks([Task("pairwise", Completion(prompt, "x"), Completion(prompt, "y"))])
    ann = store.people.add("ann", "annotator")
    for value in ("a", "b"):
        held = store.ledger.claim(ann, random.Random(0))
        assert held is not None
        store.ledger.submit(ann, held.id, Answer(value), f"token-{value}")
        if value == "a":
            store.ledger.undo(ann)
    export_file(store, tmp_path / "one")
    assert import_file(store, tmp_path / "one").new["judgement"] == 0
    import_file(store, write(tmp_path / "in", PAIR))
    assert standing(store) == [("ann", "pairwise", "a")]
    with Store.open(tmp_path / "other.db") as other:
        import_file(other, export(store, tmp_path / "two"))
        assert standing(other) == standing(store)
        assert export(other, tmp_path / "three").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_answer_after_an_import_supersedes_it(store: Store, tmp_path: Path) -> None:
    prompt = make_prompt("q")
    store.ledger.add_tasks([Task("scalar", Completion(prompt, "x"))])
    ann = store.people.add("ann", "annotator")
    held = store.ledger.claim(ann, random.Random(0))
    assert held is not None
    import_file(store, write(tmp_path / "in", SINGLE))
    store.ledger.submit(ann, held.id, Answer("2"), "t")
    assert standing(store) == [("ann", "scalar", "2")]


def test_an_answer_that_an_import_took_back_cannot_be_changed(store: Store, tmp_path: Path) -> None:
    store.ledger.add_tasks([Task("scalar", Completion(make_prompt("q"), "x"))])
    ann = store.people.add("ann", "annotator")
    held = store.ledger.claim(ann, random.Random(0))
    assert held is not None
    store.ledger.submit(ann, held.id, Answer("7"), "t")
    rows = [json.loads(line) for line in export(store, tmp_path / "out").read_text().splitlines()]
    (line,) = [row for row in rows if row["type"] == "judgement"]
    import_file(store, write(tmp_path / "in", line | {"retracted_at": "2027-02-01T00:00:00Z"}))
    assert standing(store) == []
    with pytest.raises(ValueError, match="no answer of yours"):
        store.ledger.edit(ann, held.id, Answer("8"), "t2")
    assert store.content.counts().tasks_open == 1


def test_imported_answers_fill_places_of_the_queue(store: Store, tmp_path: Path) -> None:
    """A task that wants three gets three: whoever answered in a file is not asked again."""
    prompt = make_prompt("q")
    store.ledger.add_tasks([Task("binary", Completion(prompt, "x"), wanted=3)])
    ann, bob, eve = (store.people.add(name, "annotator") for name in ("ann", "bob", "eve"))
    held = store.ledger.claim(bob, random.Random(0))
    assert held is not None
    common = {"type": "judgement", "kind": "binary", "prompt": "q", "completion": "x"}
    said = [{**common, "annotator": name, "value": True} for name in ("ann", "bob")]
    import_file(store, write(tmp_path / "in", *said))
    assert store.ledger.claim(ann, random.Random(0)) is None
    assert store.ledger.claim(bob, random.Random(0)) is None  # answered while they held it
    assert [store.ledger.overview(person, count_left=True).left for person in (ann, bob, eve)] == [
        0,
        0,
        1,
    ]
    store.ledger.submit(bob, held.id, Answer("bad"), "t1")
    last = store.ledger.claim(eve, random.Random(0))
    assert last is not None
    store.ledger.submit(eve, last.id, Answer("good"), "t2")
    assert store.content.counts().tasks_open == 0
    assert store.ledger.undo(bob)
    assert store.content.counts().tasks_open == 1
    assert len(standing(store)) == 2


def test_tags_are_added_to_a_prompt_that_came_without(store: Store, tmp_path: Path) -> None:
    import_file(store, write(tmp_path / "1", PAIR))
    import_file(store, write(tmp_path / "2", {"type": "prompt", "prompt": "q", "tags": ["t"]}))
    import_file(store, write(tmp_path / "3", {"type": "prompt", "prompt": "q", "tags": ["no"]}))
    assert store.content.prompts()[0].tags == ("t",)


def test_the_longest_names_of_models_fit(store: Store, tmp_path: Path) -> None:
    letters = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=2600))
    row = {"type": "completion", "prompt": "q", "completion": "x", "model": letters[:800]}
    row["sampling"] = {"stop": letters[800:2588]}
    assert import_file(store, write(tmp_path / "in", row)).new == {"completion": 1}


def test_external_ids_are_added_where_they_lack(store: Store, tmp_path: Path) -> None:
    bare: list[dict[str, Any]] = [
        {"type": "prompt", "prompt": "q"},
        {"type": "demonstration", "prompt": "q", "completion": "x"},
        {"type": "document", "text": "d"},
        {"type": "completion", "prompt": "q", "completion": "x"},
        {"type": "completion", "prompt": "q", "completion": "y", "model": "m"},
    ]
    named = [{**row, "external_id": f"n{i}"} for i, row in enumerate(bare)]
    assert import_file(store, write(tmp_path / "bare", *bare)).left_out == {}
    assert import_file(store, write(tmp_path / "both", *named, *bare)).left_out == {}
    again = [{**row, "external_id": "other " + row["external_id"]} for row in named]
    assert import_file(store, write(tmp_path / "again", *again)).left_out == {
        "external_id of a prompt that has another one: left out": 1,
        "external_id of a demonstration that has another one: left out": 1,
        "external_id of a document that has another one: left out": 1,
        "external_id of a completion that has another one: left out": 2,
    }
    lines = map(json.loads, export(store, tmp_path / "out").read_text().splitlines())
    assert sorted(line["external_id"] for line in lines) == ["n0", "n1", "n2", "n3", "n4"]


def test_the_first_line_of_a_completion_may_name_it(store: Store, tmp_path: Path) -> None:
    row = {"type": "completion", "prompt": "q", "completion": "x", "model": "m"}
    import_file(store, write(tmp_path / "in", {**row, "external_id": "c"}, {**row, "model": "n"}))
    lines = map(json.loads, export(store, tmp_path / "out").read_text().splitlines())
    assert [line["external_id"] for line in lines if line["type"] == "completion"] == ["c", "c"]


def test_byte_order_mark_and_windows_line_ends(sqlite_store: Store, tmp_path: Path) -> None:
    rows = b"\r\n".join(json.dumps(r).encode() for r in ({"type": "prompt", "prompt": "é"}, PAIR))
    (tmp_path / "in").write_bytes(b"\xef\xbb\xbf" + rows + b"\r\n\r\n")
    assert import_file(sqlite_store, tmp_path / "in").new == {"prompt": 1, "judgement": 1}


def test_files_that_cannot_be_read(sqlite_store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"\n \n")
    for name, reason in (("none", "does not exist"), ("", "is a folder"), ("empty", "no lines")):
        with pytest.raises(ValueError, match=reason):
            import_file(sqlite_store, tmp_path / name)
    with pytest.raises(ValueError, match="is the file itself"):
        import_file(sqlite_store, tmp_path / "empty", tmp_path / "empty")


def test_the_starter_content_is_sound(sqlite_store: Store) -> None:
    starter = Path(__file__).parents[3] / "data" / "starter"
    for name in ("prompts", "demonstrations"):
        report = import_file(sqlite_store, starter / f"{name}.jsonl")
        assert report.read == report.new
    counts = sqlite_store.content.counts()
    assert counts.prompts >= 240
    assert counts.demonstrations >= 160
    assert all(8 <= len(d.text.split()) <= 45 for d in sqlite_store.content.demonstrations())
