"""Which completion an answer means: signs, points, and fields that are counted from 0.

And new names for questions, fields and what answers name, wherever a tool keeps them.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from data.imports import import_file
from data.store import Store
from tests.data.imports.shapes.test_annotation_tools import (
    FLAT,
    VERSION_1,
    choice,
    external_ids,
    load,
    record,
    studio,
    values,
    winner,
)
from tests.data.imports.shapes.test_odd_answers import PAIR

NUMBERED = {"prompt": "q", "response_1": "Red.", "response_2": "Navy."}
FROM_0 = {"prompt": "q", "response_0": "Red.", "response_1": "Navy."}


@pytest.mark.parametrize("value", ["-2", "+1", "1.0", "-0.5", "\u22122"])
def test_a_signed_label_is_no_place(sqlite_store: Store, tmp_path: Path, value: str) -> None:
    """Asked about even where bad rows are left out: what stands in the others means more, too."""
    for row in (
        record({"preference": value}, NUMBERED),
        studio(choice("preference", value), data=NUMBERED),
    ):
        with pytest.raises(ValueError, match="--columns preference="):
            load(sqlite_store, tmp_path, row, skip_bad=tmp_path / "bad")
        load(sqlite_store, tmp_path, row, columns={"preference": ""})
    assert values(sqlite_store) == []


def test_a_zero_among_places_stops_the_file(sqlite_store: Store, tmp_path: Path) -> None:
    rows = [record({"preference": value}, NUMBERED) for value in ("2", "0")]
    with pytest.raises(ValueError, match="--columns 0=FIELD"):
        load(sqlite_store, tmp_path, *rows, skip_bad=tmp_path / "bad")
    assert values(sqlite_store) == []


@pytest.mark.parametrize("value", ["-A", "!B", "A-", "A+", "~A", "A>B", "A < B", "<A>"])
def test_no_sign_is_taken_off_a_name(sqlite_store: Store, tmp_path: Path, value: str) -> None:
    report = load(sqlite_store, tmp_path, record({"preference": value}, PAIR))
    assert values(sqlite_store) == []
    assert any("of another kind" in reason for reason in report.left_out)


@pytest.mark.parametrize("value", ["A", "first", "1", "0", "Response 1", "second"])
def test_fields_from_0_are_asked_about(sqlite_store: Store, tmp_path: Path, value: str) -> None:
    row: dict[str, Any] = record({"better": value}, FROM_0)
    remedy = f"--columns '{value}=FIELD'" if " " in value else f"--columns {value}=FIELD"
    with pytest.raises(ValueError, match=remedy):
        load(sqlite_store, tmp_path, row)
    load(sqlite_store, tmp_path, row, columns={value: "response_0"})
    assert winner(sqlite_store) == "Red."


def test_a_field_from_0_is_named_by_its_name(sqlite_store: Store, tmp_path: Path) -> None:
    load(sqlite_store, tmp_path, record({"better": "response_1"}, FROM_0))
    assert winner(sqlite_store) == "Navy."


@pytest.mark.parametrize(
    ("label", "remedy", "value"),
    [("4/5", "4/5=4", "8"), ("80%", "80%=80", None), ("3,5", "3,5=3.5", "7"),
     ("5 stars", "'5 stars=5'", "10"), ("3 - Okay", "'3 - Okay=3'", "6")],
)  # fmt: skip
def test_a_number_in_words_has_a_remedy(
    sqlite_store: Store, tmp_path: Path, label: str, remedy: str, value: str | None
) -> None:
    report = load(sqlite_store, tmp_path, record({"quality": label}))
    assert any(f"--columns {remedy})" in reason for reason in report.left_out), report.left_out
    old, _, new = remedy.strip("'").rpartition("=")
    scale = ["1..5"] if value else ["0..100"]
    load(sqlite_store, tmp_path, record({"quality": label}), columns={old: new}, scale=scale)
    assert values(sqlite_store) == [value or "8"]


# -- new names -----------------------------------------------------------------------


def flat(question: str, value: Any) -> dict[str, Any]:
    kept = {"id": "1", "prompt": "q", "response_a": "Red.", "response_b": "Navy."}
    said = {"": [value], ".users": ["u"], ".status": ["submitted"]}
    return kept | {f"{question}.responses{end}": cell for end, cell in said.items()}


def version_1(question: str, value: Any) -> dict[str, Any]:
    said = {"user_id": "u", "values": {question: {"value": value}}, "status": "submitted"}
    return VERSION_1 | {"fields": PAIR, "responses": [said]}


@pytest.mark.parametrize("make", [flat, version_1])
def test_questions_of_argilla_s_other_forms_have_new_names(
    sqlite_store: Store, tmp_path: Path, make: Any
) -> None:
    ranked = make("best", ["response_b", "response_a"])
    with pytest.raises(ValueError, match="--columns best=ranking"):
        load(sqlite_store, tmp_path, ranked)
    load(sqlite_store, tmp_path, ranked, columns={"best": ""})
    assert values(sqlite_store) == []
    load(sqlite_store, tmp_path, ranked, columns={"best": "ranking"})
    assert winner(sqlite_store) == "Navy."


@pytest.mark.parametrize("make", [flat, version_1])
def test_a_place_in_argilla_s_other_forms(sqlite_store: Store, tmp_path: Path, make: Any) -> None:
    row = make("grade", "B")
    (reason,) = load(sqlite_store, tmp_path, row).left_out
    assert "--columns grade=preference" in reason
    load(sqlite_store, tmp_path, row, columns={"grade": "preference", "B": "response_a"})
    assert winner(sqlite_store) == "Red."


def test_a_flat_table_in_csv_has_new_names(sqlite_store: Store, tmp_path: Path) -> None:
    row = flat("grade", "B")
    with (tmp_path / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([row, row.values()])
    names = {"grade": "preference", "B": "response_a"}
    import_file(sqlite_store, tmp_path / "in.csv", columns=names)
    assert winner(sqlite_store) == "Red."


def test_two_questions_do_not_become_one(sqlite_store: Store, tmp_path: Path) -> None:
    row = FLAT | {"ok.responses": ["no", "no"]}
    with pytest.raises(ValueError, match="--columns ok="):
        load(sqlite_store, tmp_path, row, columns={"quality": "ok"})
    load(sqlite_store, tmp_path, row, columns={"quality": "ok", "ok": ""})
    assert values(sqlite_store) == ["good"]


def test_a_field_of_a_task_s_own_name(sqlite_store: Store, tmp_path: Path) -> None:
    data = {"prompt": "q", "answer": "x", "id": "own", "project": "p"}
    row = studio(choice("ok", "yes"), data=data, project=4)
    with pytest.raises(ValueError, match="--columns id="):
        load(sqlite_store, tmp_path, row)
    load(sqlite_store, tmp_path, row, columns={"id": "", "project": ""})
    assert external_ids(sqlite_store, tmp_path) == ["project-4/7:ok"]


def test_a_comment_keeps_its_words(sqlite_store: Store, tmp_path: Path) -> None:
    row = record({"preference": "left", "comment": "left, clearer, A"}, PAIR)
    load(sqlite_store, tmp_path, row, columns={"left": "response_a", "A": "response_b"})
    (judgement,) = sqlite_store.ledger.judgements()
    assert (winner(sqlite_store), judgement.answer.comment) == ("Red.", "left, clearer, A")
