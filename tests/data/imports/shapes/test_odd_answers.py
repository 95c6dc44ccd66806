"""Answers of annotation tools that look like something else: counted, asked about, or refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from data.imports import import_file
from data.store import Store
from tests.data.imports.shapes.test_annotation_tools import (
    ONE,
    choice,
    load,
    record,
    studio,
    values,
    winner,
)

PAIR = {"prompt": "q", "response_a": "Red.", "response_b": "Navy."}


def rating(name: str, value: int, to: str) -> dict[str, Any]:
    return {"type": "rating", "from_name": name, "to_name": to, "value": {"rating": value}}


def pairwise(name: str, side: str) -> dict[str, Any]:
    said = {"type": "pairwise", "from_name": name, "to_name": "response_a,response_b"}
    return said | {"value": {"selected": side}}


# -- who is named is not always who won ----------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        record({"which_is_worse": "response_b"}, PAIR),
        record({"contains_error": ["response_b"]}, PAIR),
        record({"rank_worst_first": ["response_a", "response_b"]}, PAIR),
        studio(choice("worst", "response_b", to="prompt,response_a"), data=PAIR),
        studio(pairwise("worse", "left"), data=PAIR),
    ],
)
def test_one_that_is_named_as_the_worse_did_not_win(
    sqlite_store: Store, tmp_path: Path, row: dict[str, Any]
) -> None:
    report = load(sqlite_store, tmp_path, row)
    assert values(sqlite_store) == []
    (reason,) = report.left_out
    assert "may be the worse" in reason


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (studio(choice("preferred", "response_b", "response_a"), data=PAIR), "several values"),
        (studio(choice("preferred_traits", "response_b", "concise"), data=PAIR), "several values"),
        (studio(choice("difficulty", "2", to="x"), data=PAIR), "--columns difficulty=preference"),
        (record({"grade": "A"}, PAIR), "--columns grade=preference"),
        (studio(rating("quality", 2, to="prompt")), "about the prompt"),
        (studio(choice("prompt_is_clear", "no", to="prompt")), "about the prompt"),
        (record({"prompt_is_clear": "no"}), "about the prompt"),
        (studio(choice("is_misleading", "yes")), "yes may mean bad"),
        (studio(choice("needs_correction", "yes")), "yes may mean bad"),
        (studio(rating("stars", 2, to="answer") | {"value": {"rating": 2, "item_index": 0}}),
         "about a part of a text"),
    ],
)  # fmt: skip
def test_what_is_no_judgement_of_a_completion_is_counted(
    sqlite_store: Store, tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    report = load(sqlite_store, tmp_path, row)
    assert values(sqlite_store) == []
    assert any(words in reason for reason in report.left_out), report.left_out


def test_boxes_that_may_be_a_ranking_are_asked_about(sqlite_store: Store, tmp_path: Path) -> None:
    row = record({"preferred_responses": ["response_b", "response_a"]}, PAIR)
    with pytest.raises(ValueError, match="--columns preferred_responses=ranking"):
        load(sqlite_store, tmp_path, row)
    load(sqlite_store, tmp_path, row, columns={"preferred_responses": "ranking"})
    assert winner(sqlite_store) == "Navy."


def test_a_place_counts_where_the_question_compares(sqlite_store: Store, tmp_path: Path) -> None:
    """Whatever tag the question stands at: a tool wants one named."""
    load(sqlite_store, tmp_path, studio(choice("preference", "B", to="prompt"), data=PAIR))
    assert winner(sqlite_store) == "Navy."


def test_an_instruction_that_is_followed_is_about_the_answer(
    sqlite_store: Store, tmp_path: Path
) -> None:
    load(sqlite_store, tmp_path, record({"instruction_following": 4}), scale=["1..5"])
    assert values(sqlite_store) == ["8"]


def test_yes_to_a_question_that_nobody_knows_is_told(sqlite_store: Store, tmp_path: Path) -> None:
    report = load(sqlite_store, tmp_path, studio(choice("magenta", "yes")))
    assert values(sqlite_store) == ["good"]
    assert report.left_out == {'yes or no to "magenta": yes read as good, no as bad': 1}


# -- annotations ---------------------------------------------------------------------


def test_annotations_in_either_place_are_read(sqlite_store: Store, tmp_path: Path) -> None:
    row = studio(choice("good", "yes"))
    old = {**row, "completions": row["annotations"], "annotations": None}
    load(sqlite_store, tmp_path, old)
    assert values(sqlite_store) == ["good"]


def test_annotations_that_are_only_counted_are_told(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"id": 1, "data": ONE, "annotations": [], "total_annotations": 2}
    report = load(sqlite_store, tmp_path, row)
    assert report.left_out == {"annotation that the export only counts": 2}


def test_a_second_annotation_by_one_person_is_told(sqlite_store: Store, tmp_path: Path) -> None:
    row = studio(choice("good", "yes"))
    row["annotations"] += [row["annotations"][0] | {"id": 2}]
    report = load(sqlite_store, tmp_path, row)
    assert report.left_out == {"annotation that replaces one by the same person on the task": 1}


# -- what the user says --------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"scale": ["1..10", "helpfull=1..5"]}, 'names "helpfull", which no rating answers'),
        ({"scale": ["1..10"], "people": {"anm": "Bob"}}, 'names "anm", who is nobody'),
        ({"scale": ["1..10"], "turns": ["chozen"]}, '"chozen" of --turns or --texts is in no row'),
    ],
)
def test_a_name_that_is_misspelt_is_refused(
    sqlite_store: Store, tmp_path: Path, said: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        load(sqlite_store, tmp_path, record({"helpful": 5}), **said)
    assert values(sqlite_store) == []


def test_two_columns_do_not_become_one(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"prompt": "q", "completion": "old", "text": "new", "label": True}
    for given in (row, dict(reversed(row.items()))):
        with pytest.raises(ValueError, match="--columns completion="):
            load(sqlite_store, tmp_path, given, columns={"text": "completion"}, annotator="ann")


def test_two_columns_are_not_given_one_name(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"prompt": "q", "one": "x", "two": "y", "label": True}
    both = {"one": "completion", "two": "completion"}
    with pytest.raises(ValueError, match='makes two columns "completion"'):
        load(sqlite_store, tmp_path, row, columns=both, annotator="ann")


def test_what_was_said_of_people_may_be_said_again(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"prompt": "q", "completion": "x", "label": True, "annotator": "anna"}
    for _ in range(2):
        load(sqlite_store, tmp_path, row, people={"anna": "anna"})
    load(sqlite_store, tmp_path, row | {"prompt": "r"}, people={"anna": "bob"})
    assert {person.name for person in sqlite_store.people.all()} == {"anna", "bob"}


# -- transcripts and cells -----------------------------------------------------------

SPELLED = {
    "Vicuna's": "USER: hi ASSISTANT: {} USER: more ASSISTANT: {}",
    "Q and A": "Q: hi\nA: {}\nQ: more\nA: {}",
    "in tags": "<human>: hi\n<bot>: {}\n<human>: more\n<bot>: {}",
    "numbered": "User 1: hi\nAgent 1: {}\nUser 1: more\nAgent 1: {}",
    "in headings": "### Human\nhi\n### Assistant\n{}\n### Human\nmore\n### Assistant\n{}",
    "in bold": "**User**: hi\n**Assistant**: {}\n**User**: more\n**Assistant**: {}",
    "of a shop": "Customer: hi\nAgent: {}\nCustomer: more\nAgent: {}",
    "full-width": "User\uff1ahi\nAssistant\uff1a{}\nUser\uff1amore\nAssistant\uff1a{}",
    "DeepSeek's": "<\uff5cUser\uff5c>hi there<\uff5cAssistant\uff5c>{}{}",
    "Cohere's": "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>hi<|END_OF_TURN_TOKEN|>{}{}",
    "OpenChat's": "GPT4 Correct User: hi<|end_of_turn|>GPT4 Correct Assistant: {}{}",
}


@pytest.mark.parametrize("name", SPELLED)
def test_a_conversation_is_never_one_answer(sqlite_store: Store, tmp_path: Path, name: str) -> None:
    row = {"chosen": SPELLED[name].format("yes", "Red."),
           "rejected": SPELLED[name].format("no", "Navy.")}  # fmt: skip
    with pytest.raises(ValueError, match="write them as lists of"):
        load(sqlite_store, tmp_path, row, annotator="ann")


@pytest.mark.parametrize(
    "answer",
    [
        "Red.<|im_end|>\n<|im_start|>user\nmore",
        "Red.\n### Human: more",
        "Red.\nUser: more\nAssistant: Navy.",
    ],
)
def test_an_answer_with_the_next_question_in_it_is_refused(
    sqlite_store: Store, tmp_path: Path, answer: str
) -> None:
    row = {"prompt": "q", "completion": answer, "label": True}
    with pytest.raises(ValueError, match="turns of both sides"):
        load(sqlite_store, tmp_path, row, annotator="ann")


def test_an_alpaca_instruction_may_be_a_transcript(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"instruction": "Human: q\nAssistant:", "output": "a\nHuman: more\nAssistant: b"}
    with pytest.raises(ValueError, match="turns of both sides"):
        load(sqlite_store, tmp_path, row)
    load(sqlite_store, tmp_path, row | {"output": "a"})
    (made,) = sqlite_store.content.demonstrations()
    assert made.prompt.plain() == "q" and made.text == "a"


@pytest.mark.parametrize(
    "cell",
    [
        "[{'name': None, 'role': 'assistant', 'content': 'a'}]",
        '[{"id": 1, "role": "assistant", "content": "a"}]',
        "[OrderedDict([('role', 'assistant'), ('content', 'a')])]",
        "({'role': 'assistant', 'content': 'a'},)",
    ],
)
def test_turns_in_any_spelling_are_asked_about(
    sqlite_store: Store, tmp_path: Path, cell: str
) -> None:
    file = tmp_path / "in.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([["prompt", "chosen", "rejected"], ["q", cell, "b"]])
    with pytest.raises(ValueError, match="may be a conversation or a text"):
        import_file(sqlite_store, file, annotator="ann")


def test_cells_that_a_viewer_cut_short_are_refused(sqlite_store: Store, tmp_path: Path) -> None:
    row = {"prompt": "q", "chosen": "Long answ", "rejected": "b"}
    page = {"features": [], "rows": [{"row_idx": 0, "row": row, "truncated_cells": ["chosen"]}]}
    file = tmp_path / "in.json"
    file.write_text(json.dumps(page))
    with pytest.raises(ValueError, match="cut short"):
        import_file(sqlite_store, file, annotator="ann")
    page = {"features": [], "rows": [{"row_idx": 0, "row": row}], "num_rows_total": 500}
    file.write_text(json.dumps(page))
    assert "1 of the 500 rows" in import_file(sqlite_store, file, annotator="ann").read_as


def test_cells_of_pandas(sqlite_store: Store, tmp_path: Path) -> None:
    head = "Unnamed: 0.1,Unnamed: 0,kind,type,prompt,completion,value,annotator"
    file = tmp_path / "in.csv"
    file.write_text(f"{head}\n0,0,scalar,judgement,q,x,7,ann\n")
    assert sum(import_file(sqlite_store, file).left_out.values()) == 2
    assert values(sqlite_store) == ["7"]
    file.write_text(f"{head}\n0,0,scalar,judgement,q,x,NaN,ann\n")
    with pytest.raises(ValueError, match='value "NaN" not allowed'):
        import_file(sqlite_store, file)


def test_a_number_of_floating_point_is_the_same_person(sqlite_store: Store, tmp_path: Path) -> None:
    rows = ["prompt,completion,label,annotator", "q,x,true,3", "r,x,true,3.0"]
    (tmp_path / "in.csv").write_text("\n".join(rows))
    import_file(sqlite_store, tmp_path / "in.csv")
    assert [person.name for person in sqlite_store.people.all()] == ["3"]
