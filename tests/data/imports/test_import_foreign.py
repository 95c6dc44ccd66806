"""Data of other tools: read as what it is, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.imports import ImportReport, import_file
from data.schema import make_prompt
from data.store import Store
from tests.data.imports.test_import_lines import write

ASKED = {"role": "user", "content": "q"}


def reply(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


BETTER = {"prompt": "q", "chosen": "x", "rejected": "y"}
FOUND = {"prompt": "q", "completion": "x", "label": True}
TALK = [ASKED, reply("m"), {"role": "user", "content": "more"}]
STUDIO: dict[str, Any] = {
    "id": 7,
    "data": {"prompt": "q", "answer1": "x", "answer2": "y"},
    "annotations": [],
    "predictions": [],
}
ARGILLA: dict[str, Any] = {
    "id": "r1",
    "fields": {"instruction": "q", "response-1": "x", "response-2": "y"},
    "metadata": {},
    "suggestions": {},
    "responses": {},
    "vectors": {},
    "_server_id": None,
}


def read(
    store: Store, folder: Path, *rows: Any, name: str = "in.jsonl", **settings: Any
) -> ImportReport:
    return import_file(store, write(folder / name, *rows), annotator="ann", **settings)


def said(store: Store) -> list[tuple[Any, ...]]:
    """(prompt, texts, value, annotator) of what stands."""
    return [
        (
            j.prompt.plain(),
            tuple(c.text for c in (j.task.a, j.task.b) if c),
            j.answer.value,
            j.annotator,
        )
        for j in store.ledger.judgements()
    ]


def refused(store: Store, file: Path, where: str, reason: str) -> None:
    """Nothing is stored, and one line says where and why."""
    before = store.content.counts()
    with pytest.raises(ValueError) as caught:
        import_file(store, file, annotator="ann")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(file.parent / where)), caught.value
    assert reason in str(caught.value)
    assert store.content.counts() == before


# -- TRL ---------------------------------------------------------------------------


PREFERENCES: dict[str, tuple[dict[str, Any], Any]] = {
    "standard": (BETTER, "q"),
    "conversational": (
        {"prompt": [ASKED], "chosen": [reply("x")], "rejected": [reply("y")]},
        "q",
    ),
    "a prompt of text that the sides repeat": (
        {"prompt": "q", "chosen": [ASKED, reply("x")], "rejected": [ASKED, reply("y")]},
        "q",
    ),
    "an implicit prompt": (
        {"chosen": [*TALK, reply("x")], "rejected": [*TALK, reply("y")]},
        TALK,
    ),
    "an implicit prompt of text": (
        {"chosen": "The sky is x", "rejected": "The sky is y"},
        "The sky is",
    ),
    "a transcript": (
        {
            "chosen": "\n\nHuman: q\n\nAssistant: m\n\nHuman: more\n\nAssistant: x",
            "rejected": "\n\nHuman: q\n\nAssistant: m\n\nHuman: more\n\nAssistant: y",
        },
        TALK,
    ),
}


@pytest.mark.parametrize("what", PREFERENCES)
def test_trl_preference(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    row, prompt = PREFERENCES[what]
    report = read(sqlite_store, tmp_path, row)
    assert report.read_as == "TRL preference, JSON lines"
    assert said(sqlite_store) == [(prompt, ("x", "y"), "a", "ann")]


def test_a_margin_is_a_strength_or_counted(store: Store, tmp_path: Path) -> None:
    rows = [{**BETTER, "prompt": f"q{n}", "margin": n} for n in (0.5, 1, 2.0, None)]
    report = read(store, tmp_path, *rows)
    assert [j.answer.strength for j in store.ledger.judgements()] == [None, 1, 2, None]
    assert report.left_out == {"margin that is not 1, 2 or 3": 1}


def test_trl_unpaired_and_prompts(store: Store, tmp_path: Path) -> None:
    talk = {"prompt": [ASKED], "completion": [reply("y")], "label": False, "annotator": "bo"}
    assert read(store, tmp_path, FOUND, talk).read_as.startswith("TRL unpaired preference")
    assert said(store) == [("q", ("x",), "good", "ann"), ("q", ("y",), "bad", "bo")]
    report = read(store, tmp_path, {"prompt": "new", "tags": ["t"]}, {"prompt": [ASKED]})
    assert (report.read_as, report.new) == ("TRL prompts, JSON lines", {"prompt": 1})


def test_what_data_is_can_be_said(sqlite_store: Store, tmp_path: Path) -> None:
    file = write(tmp_path / "in", {"prompt": "q"})
    with pytest.raises(ValueError, match="in:1: chosen is missing"):
        import_file(sqlite_store, file, shape="trl-preference")
    with pytest.raises(ValueError, match='format "csv" unknown: use exchange'):
        import_file(sqlite_store, file, shape="csv")  # type: ignore[arg-type]
    assert import_file(sqlite_store, file, shape="trl-prompts").new == {"prompt": 1}


# -- platforms ----------------------------------------------------------------------


def studio(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = {"completed_by": 3, "was_cancelled": False, "created_at": "2026-01-01T00:00:00Z"}
    return STUDIO | {"annotations": [{"id": 1, **made, "result": list(results), **more}]}


def result(kind: str, value: Any, to: str = "answer1,answer2") -> dict[str, Any]:
    return {"type": kind, "from_name": kind, "to_name": to, "value": value}


def test_label_studio(store: Store, tmp_path: Path) -> None:
    row = studio(
        result("pairwise", {"selected": "right"}),
        result("rating", {"rating": 4}, "answer1"),
        result("choices", {"choices": ["Yes"]}, "answer2"),
        result("textarea", {"text": ["shorter"]}),
        completed_by={"id": 3, "email": "ann@example.org"},
        lead_time=4.5,
    )
    skipped = studio(was_cancelled=True) | {"id": 8, "predictions": [{"result": []}]}
    (tmp_path / "in.json").write_text(json.dumps([row, skipped]))
    report = import_file(store, tmp_path / "in.json", scale=["1..5"])
    assert report.read_as == "Label Studio tasks, a JSON array"
    who = "ann@example.org"
    assert said(store) == [
        ("q", ("x", "y"), "b", who),
        ("q", ("x",), "8", who),
        ("q", ("y",), "good", who),
    ]
    first = store.ledger.judgements()[0]
    assert (first.answer.comment, first.answer.seconds) == ("shorter", 4.5)
    assert report.left_out == {
        "task skipped by its annotator": 1,
        "prediction of a model": 1,
        'yes or no to "choices": yes read as good, no as bad': 1,
    }
    assert set(import_file(store, tmp_path / "in.json", scale=["1..5"]).new.values()) == {0}


def test_label_studio_tie_and_one_completion(store: Store, tmp_path: Path) -> None:
    one = studio(result("rating", {"rating": 9}, "x")) | {"data": {"question": "q", "text": "x"}}
    tie = studio(result("choices", {"choices": ["Tie"]}))
    read(store, tmp_path, tie, one | {"id": 8}, scale=["1..10"])
    assert said(store) == [("q", ("x", "y"), "tie", "3"), ("q", ("x",), "9", "3")]


def test_argilla(store: Store, tmp_path: Path) -> None:
    def answers(*values: Any) -> list[dict[str, Any]]:
        return [{"value": v, "user_id": f"u{n}"} for n, v in enumerate(values)]

    three = {"prompt": "q3", "completion_1": "x", "completion_2": "y", "completion_3": "z"}
    ranks = [
        {"value": "completion_2", "rank": 1},
        {"value": "completion_1", "rank": 2},
        {"value": "completion_3", "rank": 2},
    ]
    rows = [
        ARGILLA | {"responses": {"better": answers("response-2", "tie"), "comment": answers("!")}},
        ARGILLA | {"id": "r2", "responses": {"ranking": answers(["response-1", "response-2"])}},
        ARGILLA
        | {"id": "r3", "fields": {"prompt": "q2", "response": "x"}}
        | {"responses": {"quality": answers(7), "ok": answers("no")}},
        ARGILLA | {"id": "r4", "fields": three, "responses": {"ranking": answers(ranks)}},
        ARGILLA
        | {"id": "r5", "fields": {"prompt": "q5", "response": "x"}}
        | {"suggestions": {"quality": {"value": 1, "score": None, "agent": "m"}}},
    ]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    report = import_file(store, tmp_path / "in.json", scale=["quality=1..10"])
    assert report.read_as == "Argilla records, a JSON array"
    assert said(store) == [
        ("q", ("x", "y"), "tie", "u1"),
        ("q", ("x", "y"), "a", "u0"),  # r2 after r1: the later one stands
        ("q2", ("x",), "7", "u0"),
        ("q2", ("x",), "bad", "u0"),
        ("q3", ("x", "y"), "b", "u0"),
        ("q3", ("x", "z"), "tie", "u0"),
        ("q3", ("y", "z"), "a", "u0"),
    ]
    assert report.left_out == {"suggestion of a model": 1}
    assert make_prompt("q5") in store.content.prompts()


PLATFORM_BAD: dict[str, tuple[Any, str]] = {
    "no prompt": (
        STUDIO | {"data": {"text1": "x", "text2": "y"}},
        'no prompt among the fields "text1", "text2"',
    ),
    "a field of another kind": (
        STUDIO | {"data": {"prompt": "q", "colour": "red"}},
        'field "colour" is neither a prompt nor a completion',
    ),
    "a rating of either": (
        studio(result("rating", {"rating": 4}, "both")),
        'which of the fields "answer1", "answer2" "rating" is about is not clear',
    ),
    "a rating of nobody knows how many": (
        studio(result("rating", {"rating": 4}, "answer1")),
        'rating 4 to "rating": the export does not say of how many; add --scale',
    ),
    "responses of texts": (ARGILLA | {"responses": ["x"]}, 'responses ["x"] is no list of obj'),
    "a ranking of others": (
        ARGILLA | {"responses": {"rank": [{"value": ["response-1", "z"], "user_id": "u"}]}},
        '"z" in the ranking "rank" is no completion',
    ),
    "a rank in words": (
        ARGILLA | {"responses": {"r": [{"value": [{"value": "response-1", "rank": "best"}] * 2}]}},
        'rank in "r" "best" not allowed: use a number',
    ),
    "an answer of text": (ARGILLA | {"responses": {"r": "x"}}, 'r "x" is no list of objects'),
    "an annotation of text": (STUDIO | {"annotations": ["x"]}, "is no list of objects"),
    "a value of text": (studio(result("rating", "4")), 'value "4" of a result is not an object'),
    "true for a text": (
        ARGILLA | {"fields": {"prompt": "q", "response": True}},
        "response true not allowed: use a text",
    ),
}


@pytest.mark.parametrize("what", PLATFORM_BAD)
def test_a_platform_s_bad_row_is_named(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    row, reason = PLATFORM_BAD[what]
    (tmp_path / "in.json").write_text(json.dumps([STUDIO if "data" in row else ARGILLA, row]))
    refused(sqlite_store, tmp_path / "in.json", "in.json row 2: ", reason)
