"""Label Studio and Argilla: what was said, read from what the export says, or counted."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from data.exports import export_file
from data.imports import ImportReport, import_file
from data.imports.ratings import Scales
from data.store import Store
from tests.data.imports.test_import_foreign import result, said
from tests.data.imports.test_import_lines import standing
from tests.support.commands import assert_refused, command

SIDES = {"question": "q", "response_b": "Navy.", "response_a": "Red."}
ONE = {"prompt": "q", "answer": "x"}
"""Label Studio sorts the keys of data: their order says nothing."""


def studio(*results: dict[str, Any], data: dict[str, Any] = ONE, **more: Any) -> dict[str, Any]:
    """A task with one annotation; `more` is the task's."""
    made = {"id": 1, "completed_by": 3, "was_cancelled": False, "result": list(results)}
    return {"id": 7, "data": data, "annotations": [made], **more}


def choice(name: str, *chosen: str, to: str = "answer") -> dict[str, Any]:
    value = {"choices": list(chosen)}
    return {"type": "choices", "from_name": name, "to_name": to, "value": value}


def record(responses: dict[str, Any], fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """A record of Argilla; each question has one answer, of u1."""
    said = {q: [{"value": v, "user_id": "u1", "status": "submitted"}] for q, v in responses.items()}
    return {"id": "r1", "fields": fields or {"prompt": "q", "response": "x"}, "responses": said}


def load(store: Store, folder: Path, *rows: Any, **settings: Any) -> ImportReport:
    (folder / "in.json").write_text(json.dumps(rows))
    return import_file(store, folder / "in.json", **settings)


def values(store: Store) -> list[str]:
    return [value for _, _, value in standing(store)]


# -- which side won ------------------------------------------------------------------


def winner(store: Store) -> str | None:
    (judgement,) = store.ledger.judgements()
    task, value = judgement.task, judgement.answer.value
    assert task.b is not None
    return {"a": task.a.text, "b": task.b.text}.get(value)


LEFT: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "the left of to_name": (
        studio(result("pairwise", {"selected": "left"}, "response_a,response_b"), data=SIDES),
        *({}, "Red."),
    ),
    "the right of to_name": (
        studio(result("pairwise", {"selected": "right"}, "response_b, response_a"), data=SIDES),
        *({}, "Red."),
    ),
    "tags that end with the fields' names": (
        studio(result("pairwise", {"selected": "left"}, "t-response_a,t-response_b"), data=SIDES),
        *({}, "Red."),
    ),
    "tags of other names, named": (
        studio(result("pairwise", {"selected": "left"}, "l,r"), data=SIDES),
        *({"l": "response_a", "r": "response_b"}, "Red."),
    ),
    "sides of no names, named": (
        studio(result("pairwise", {"selected": "left"}, "both"), data=SIDES),
        *({"left": "response_a", "right": "response_b"}, "Red."),
    ),
    "the name of a completion": (studio(choice("better", "Response B"), data=SIDES), {}, "Navy."),
    "a place that names have": (studio(choice("better", "1"), data=SIDES), {}, "Red."),
    "a model's name for a place": (studio(choice("better", "model_a"), data=SIDES), {}, "Red."),
    "a place in Argilla": (
        record({"best": "B"}, {"prompt": "q", "answer2": "Navy.", "answer1": "Red."}),
        *({}, "Navy."),
    ),
    "a side in Argilla, named": (
        record({"best": "left"}, {"prompt": "q", "answer2": "Navy.", "answer1": "Red."}),
        *({"left": "answer1", "right": "answer2"}, "Red."),
    ),
}


@pytest.mark.parametrize("what", LEFT)
def test_the_side_that_won_is_the_one_named(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    row, columns, won = LEFT[what]
    assert load(sqlite_store, tmp_path, row, columns=columns).new == {"judgement": 1}
    assert winner(sqlite_store) == won


UNKNOWN_SIDES: dict[str, tuple[dict[str, Any], str]] = {
    "tags of other names": (
        studio(result("pairwise", {"selected": "left"}, "left_txt,right_txt"), data=SIDES),
        "--columns left=FIELD right=FIELD",
    ),
    "one tag": (
        studio(result("pairwise", {"selected": "left"}, "response_a"), data=SIDES),
        "--columns left=FIELD right=FIELD",
    ),
    "one tag twice": (
        studio(result("pairwise", {"selected": "left"}, "response_a,response_a"), data=SIDES),
        "--columns left=FIELD right=FIELD",
    ),
    "a choice of a side": (studio(choice("better", "left"), data=SIDES), "--columns left=FIELD"),
    "a place that no name has": (
        studio(choice("better", "1"), data={"prompt": "q", "answer": "x", "reply": "y"}),
        "--columns 1=FIELD",
    ),
    "a side in Argilla": (record({"best": "right"}, SIDES), "--columns right=FIELD"),
}


@pytest.mark.parametrize("what", UNKNOWN_SIDES)
def test_a_side_that_is_not_named_is_asked_for(tmp_path: Path, what: str) -> None:
    row, remedy = UNKNOWN_SIDES[what]
    (tmp_path / "in.json").write_text(json.dumps([row]))
    refused = command("data", "import", tmp_path / "in.json", "--workspace", tmp_path)
    assert_refused(refused, "in.json row 1: ", remedy)


# -- what is counted ------------------------------------------------------------------


ANNOTATED = studio(choice("ok", "good"))["annotations"][0]
COUNTED: dict[str, tuple[dict[str, Any], dict[str, int], list[str]]] = {
    "nothing said": (
        studio() | {"annotations": [ANNOTATED, ANNOTATED | {"id": 2, "result": []}]},
        *({"annotation without a result": 1}, ["good"]),
    ),
    "a result of null": (
        studio() | {"annotations": [ANNOTATED | {"result": None}]},
        *({"annotation without a result": 1}, []),
    ),
    "drafts, with and without what they say": (
        studio(choice("ok", "good"), drafts=[{"user": "noa", "result": [choice("ok", "bad")]}, 12]),
        *({"draft of an annotation": 2}, ["good"]),
    ),
    "an empty choice": (
        studio(choice("ok"), choice("fine", "good")),
        *({'answer to "ok" without a value': 1}, ["good"]),
    ),
    "a review, comments, a mark": (
        studio(choice("ok", "good"), reviews=[{"accepted": False}], comment_count=2)
        | {"annotations": [ANNOTATED | {"ground_truth": True, "reviews": [{"by": 1}]}]},
        {
            '"reviews" of a task: not taken over': 1,
            '"reviews" of an annotation: not taken over': 1,
            '"ground_truth" of an annotation: not taken over': 1,
            "comment on a task, which the export only counts": 2,
        },
        ["good"],
    ),
    "a note on a result": (
        studio(choice("ok", "good") | {"meta": {"text": ["hm"]}}),
        *({'"meta" of a result: not taken over': 1}, ["good"]),
    ),
    "checkboxes": (
        studio(choice("traits", "Helpful", "Honest"), choice("ok", "good")),
        *({'answer to "traits" with several values': 1}, ["good"]),
    ),
    "a choice that is no judgement": (
        studio(choice("colour", "blue"), choice("ok", "good")),
        {'answer to "colour" of another kind than yes, no, a number, a completion or tie': 1},
        ["good"],
    ),
    "yes to a fault": (
        studio(choice("toxic", "yes"), choice("ok", "good")),
        *({'yes or no to "toxic", where yes may mean bad: left out': 1}, ["good"]),
    ),
    "other results": (
        studio(result("taxonomy", {"taxonomy": [["a"]]}), result("number", {"number": 3}))
        | {"drafts": []},
        *({'result of type "taxonomy"': 1, 'result of type "number"': 1}, []),
    ),
    "a choice on a part of the text": (
        studio({**choice("ok", "good"), "value": {"start": 0, "end": 1, "choices": ["good"]}}),
        *({'result "ok" about a part of a text': 1}, []),
    ),
    "a corrected text": (
        studio(choice("ok", "good"), result("textarea", {"text": ["x!"]}) | {"from_name": "mend"}),
        *({'text under "mend"': 1}, ["good"]),
    ),
    "a comment alone": (
        studio(result("textarea", {"text": ["hm"]})),
        *({"comment of nobody who judged: left out": 1}, []),
    ),
    "a field about an answer": (
        studio(choice("ok", "good"), data=ONE | {"answer_model": "gpt", "model": "gpt"}),
        {'field "answer_model": not taken over': 1, 'field "model": not taken over': 1},
        ["good"],
    ),
    "multi-label": (
        record({"traits": ["helpful", "short"], "ok": "yes"}),
        *({'answer to "traits" with several values': 1}, ["good"]),
    ),
    "a span": (
        record({"span": [{"start": 0, "end": 1, "label": "good"}], "ok": "yes"}),
        *({'answer to "span" with several values': 1}, ["good"]),
    ),
    "a free text": (
        record({"corrected": "About eight.", "ok": "yes"}),
        {'answer to "corrected" of another kind than yes, no, a number, a completion or tie': 1},
        ["good"],
    ),
    "an answer of null": (
        record({"ok": None}),
        *({'answer to "ok" without a value': 1}, []),
    ),
    "a draft, a discarded answer, one that waits": (
        record({})
        | {
            "responses": {
                "ok": [
                    {"value": "yes", "user_id": f"u{n}", "status": status}
                    for n, status in enumerate(("draft", "discarded", "pending", "submitted"))
                ]
            }
        },
        {"answer that is draft": 1, "answer that is discarded": 1, "answer that is pending": 1},
        ["good"],
    ),
    "metadata, keys of no meaning": (
        record({"ok": "yes"})
        | {"metadata": {"a": 1}, "vectors": {}, "extra": [1], "score": 0, "kept": False},
        {
            '"score" of a record: not taken over': 1,
            '"kept" of a record: not taken over': 1,
            '"metadata" of a record: not taken over': 1,
            '"extra" of a record: not taken over': 1,
        },
        ["good"],
    ),
    "two questions of one kind": (
        record({"ok": "yes", "fine": "no"}),
        {
            "binary answer that replaces one by the same person on the same text (leave a question "
            "out with --columns QUESTION=)": 1
        },
        ["bad"],
    ),
}


@pytest.mark.parametrize("what", COUNTED)
def test_what_is_not_taken_over_is_counted(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    row, left_out, judged = COUNTED[what]
    assert load(sqlite_store, tmp_path, row).left_out == left_out
    assert values(sqlite_store) == judged
    assert "x" in sqlite_store.content.texts()  # judged or not, the completion is there


def test_a_question_or_a_field_can_be_left_out(sqlite_store: Store, tmp_path: Path) -> None:
    row = studio(choice("ok", "good"), choice("fine", "bad"), data=ONE | {"topic": "eggs"})
    with pytest.raises(ValueError, match=r'"topic" is neither .* out with --columns topic='):
        load(sqlite_store, tmp_path, row)
    assert load(sqlite_store, tmp_path, row, columns={"topic": "", "fine": ""}).left_out == {}
    assert values(sqlite_store) == ["good"]
    other = record({"ok": "yes", "fine": "no"}, {"prompt": "q2", "response": "x"})
    assert load(sqlite_store, tmp_path, other, columns={"fine": ""}).left_out == {}
    assert values(sqlite_store) == ["good", "good"]


def test_completions_that_nobody_judged_are_kept(sqlite_store: Store, tmp_path: Path) -> None:
    data = {"prompt": "q", "answer_1": "x", "answer_2": "y", "answer_3": "z"}
    row = studio(result("pairwise", {"selected": "left"}, "answer_3,answer_1"), data=data)
    assert load(sqlite_store, tmp_path, row).new == {"completion": 1, "judgement": 1}
    assert sorted(sqlite_store.content.texts()) == ["x", "y", "z"]


def test_an_empty_answer_was_judged(sqlite_store: Store, tmp_path: Path) -> None:
    load(sqlite_store, tmp_path, studio(choice("ok", "bad"), data={"prompt": "q", "answer": ""}))
    assert [(s[1], s[2]) for s in said(sqlite_store)] == [(("",), "bad")]


# -- scales ---------------------------------------------------------------------------


def stars(value: Any, name: str = "stars") -> dict[str, Any]:
    made = {"type": "rating", "from_name": name, "to_name": "answer", "value": {"rating": value}}
    return studio(made)


SCALED: list[tuple[dict[str, Any], list[str], str, str | None]] = [
    (stars(5), ["1..5"], "10", "5 of 1..5"),
    (stars(3), ["1..5"], "6", "3 of 1..5"),  # 5.5: halves go up
    (stars(1), ["1..5"], "1", "1 of 1..5"),
    (stars(4.5), ["0..5"], "9", "4.5 of 0..5"),
    (stars(7), ["1..10"], "7", None),
    (stars(1), ["5..1"], "10", "1 of 5..1"),
    (stars(1), ["1..7", "stars=0..1"], "10", "1 of 0..1"),
    (record({"quality": 0}), ["0..10"], "1", "0 of 0..10"),
    (record({"quality": "4"}), ["1..5"], "8", "4 of 1..5"),
]


@pytest.mark.parametrize(("row", "scale", "value", "original"), SCALED)
def test_a_rating_has_a_scale(
    store: Store, tmp_path: Path, row: Any, scale: list[str], value: str, original: str | None
) -> None:
    """Mapped to 1 to 10, and what was given is kept, written and read again."""
    load(store, tmp_path, row, scale=scale)
    (judged,) = store.ledger.judgements()
    assert (judged.answer.value, judged.answer.original) == (value, original)
    assert set(load(store, tmp_path, row, scale=scale).new.values()) == {0}
    export_file(store, tmp_path / "out")
    with Store.open(tmp_path / "other.db") as other:
        import_file(other, tmp_path / "out")
        assert other.ledger.judgements()[0].answer == judged.answer
    assert set(import_file(store, tmp_path / "out").new.values()) == {0}


def test_two_ratings_that_become_one_value_are_two(store: Store, tmp_path: Path) -> None:
    load(store, tmp_path, record({"quality": 5}), scale=["0..10"])
    assert load(store, tmp_path, record({"quality": 6}), scale=["0..10"]).new == {"judgement": 1}
    assert store.ledger.judgements()[0].answer.original == "6 of 0..10"


REFUSED_SCALES: list[tuple[Any, list[str], str]] = [
    (stars(5), [], "add --scale WORST..BEST, e.g. --scale 1..5"),
    (record({"quality": 3}), [], 'rating 3 to "quality": the export does not say of how many'),
    (stars(5), ["other=1..5"], "add --scale"),
    (stars(7), ["1..5"], 'rating 7 to "stars" is beyond 1..5: check --scale'),
    (stars(5), ["1-5"], '--scale "1-5" not allowed: write WORST..BEST'),
    (stars(5), ["5..5"], "not allowed: write WORST..BEST"),
    (stars(5), ["0..1e9"], "not allowed: write WORST..BEST"),
]


@pytest.mark.parametrize(("row", "scale", "remedy"), REFUSED_SCALES)
def test_a_rating_without_a_scale_is_asked_about(
    tmp_path: Path, row: Any, scale: list[str], remedy: str
) -> None:
    (tmp_path / "in.json").write_text(json.dumps([row]))
    words = ["import", tmp_path / "in.json", "--workspace", tmp_path]
    words += ["--scale", *scale] if scale else []
    assert_refused(command("data", *words, "--skip-bad", tmp_path / "bad"), remedy)


def test_a_table_of_stars(sqlite_store: Store, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(
        "type,kind,prompt,completion,value,annotator\njudgement,scalar,q,x,4.5,ann\n"
    )
    import_file(sqlite_store, tmp_path / "in.csv", scale=["1..5"])
    assert values(sqlite_store) == ["9"]


def test_the_rule_keeps_order_and_ends() -> None:
    scales = Scales(["0..100"])
    mapped = [scales.apply({"kind": "scalar", "value": n})["value"] for n in range(101)]
    assert (mapped[0], mapped[-1], mapped) == (1, 10, sorted(mapped))


# -- Argilla's other forms -------------------------------------------------------------


FLAT: dict[str, Any] = {
    **{"id": "r1", "status": "completed", "_server_id": "x", "prompt": "q", "response": "x"},
    **{"quality.responses": ["yes", "no"], "quality.responses.users": ["u1", "u2"]},
    **{"quality.responses.status": ["submitted", "discarded"], "quality.suggestion": None},
}
VERSION_1: dict[str, Any] = {
    **{"fields": {"prompt": "q", "response": "x"}, "metadata": {}, "suggestions": []},
    **{"external_id": "e1"},
    "responses": [
        {"user_id": "u1", "values": {"quality": {"value": "yes"}}, "status": "submitted"},
        {"user_id": "u2", "values": None, "status": "discarded"},
    ],
}


@pytest.mark.parametrize("row", [FLAT, VERSION_1])
def test_argilla_s_other_forms(sqlite_store: Store, tmp_path: Path, row: dict[str, Any]) -> None:
    report = load(sqlite_store, tmp_path, row)
    assert report.read_as == "Argilla records, a JSON array"
    assert said(sqlite_store) == [("q", ("x",), "good", "u1")]
    assert report.left_out == {"answer that is discarded": 1}


@pytest.mark.parametrize(
    "cells",
    [
        {c: str(v) for c, v in FLAT.items() if isinstance(v, list)},
        {c: str(v).replace(",", "") for c, v in FLAT.items() if isinstance(v, list)},
        {c: json.dumps(v) for c, v in FLAT.items() if isinstance(v, list)},
    ],
    ids=["Python", "NumPy", "JSON"],
)
def test_a_flat_table_in_csv(sqlite_store: Store, tmp_path: Path, cells: dict[str, str]) -> None:
    """Columns that hold nothing but lists are read as lists, however these are spelled."""
    row = {c: v for c, v in (FLAT | cells).items() if v is not None} | {"lang": "en"}
    with (tmp_path / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([row, row.values()])
    report = import_file(sqlite_store, tmp_path / "in.csv")
    assert said(sqlite_store) == [("q", ("x",), "good", "u1")]
    assert report.left_out == {
        "answer that is discarded": 1,
        'column "lang": not taken over': 1,
    }


OTHER_EXPORTS: list[tuple[dict[str, Any], str]] = [
    (FLAT | {"quality.responses.users": ["u1"]}, "are no lists of one length: export nested"),
    (
        {"text": "x", "inputs": {}, "prediction": None, "annotation": "a"},
        "Argilla 1's classic records",
    ),
    (
        {"id": 1, "prompt": "q", "ok": "yes", "annotator": 1, "annotation_id": 2, "lead_time": 1.5},
        "Label Studio's JSON-MIN or CSV: export it as JSON",
    ),
]


@pytest.mark.parametrize(("row", "remedy"), OTHER_EXPORTS)
def test_an_export_of_another_form_says_which_to_make(
    sqlite_store: Store, tmp_path: Path, row: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(ValueError) as caught:
        load(sqlite_store, tmp_path, row)
    assert remedy in str(caught.value)


# -- several projects -------------------------------------------------------------------


def external_ids(store: Store, folder: Path) -> list[str]:
    export_file(store, folder / "ids.jsonl")
    lines = map(json.loads, (folder / "ids.jsonl").read_text().splitlines())
    return [line["external_id"] for line in lines if line["type"] == "judgement"]


def test_projects_count_from_one(store: Store, tmp_path: Path) -> None:
    """Ids are unique within a project, or within the source that the user names."""
    peru, chile = (
        studio(choice("ok", "yes"), data={"prompt": q, "answer": a})
        for q, a in (("Capital of Peru?", "Lima"), ("Capital of Chile?", "Santiago"))
    )
    load(store, tmp_path, peru)
    with pytest.raises(ValueError, match="another source, name it with --source NAME"):
        load(store, tmp_path, chile)
    for _ in range(2):
        load(store, tmp_path, peru)
        load(store, tmp_path, chile, source="chile")
    assert external_ids(store, tmp_path) == ["7:ok", "chile/7:ok"]


def test_an_export_that_carries_its_project(store: Store, tmp_path: Path) -> None:
    rows = [
        studio(choice("ok", "yes"), data={"prompt": f"q{n}", "answer": "x"}, project=n)
        for n in (4, 5)
    ]
    assert load(store, tmp_path, *rows).new == {"judgement": 2}
    assert load(store, tmp_path, *rows).new == {"judgement": 0}
    assert external_ids(store, tmp_path) == ["project-4/7:ok", "project-5/7:ok"]


def test_what_was_read_before_keeps_its_id(store: Store, tmp_path: Path) -> None:
    """A bare id that this very thing has already is its own."""
    row = studio(choice("ok", "yes"))
    load(store, tmp_path, row)
    assert load(store, tmp_path, row | {"project": 4}).new == {"judgement": 0}
    assert external_ids(store, tmp_path) == ["7:ok"]
