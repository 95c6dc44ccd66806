"""The nouns: one by content, and refusing what is not valid."""

from __future__ import annotations

import pytest

from data.schema import (
    Answer,
    Completion,
    Prompt,
    Task,
    check_answer,
    content_hash,
    make_prompt,
    parse_timestamp,
)

HELLO = make_prompt("Hello?")


def test_a_text_and_its_one_user_turn_are_the_same_prompt() -> None:
    turns = make_prompt([{"role": "user", "content": "Hello?"}], tags=["x"])
    assert turns.id == HELLO.id
    assert turns.plain() == "Hello?"


def test_more_than_one_turn_is_spelled_as_turns() -> None:
    value = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "And you?"},
    ]
    prompt = make_prompt(value)
    assert prompt.plain() == value
    assert prompt.id != make_prompt("And you?").id
    assert prompt.text == "Hi\nHello!\nAnd you?"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "no text"),
        (" \n", "no text"),
        ([], "must be a text or a list"),
        (7, "must be a text or a list"),
        (["Hello"], "must be a text or a list"),
        ([{"role": "robot", "content": "x"}], "role 'robot' unknown"),
        ([{"role": "user", "content": 3}], "content must be a text"),
        ([{"role": "assistant", "content": "x"}], "last turn must be the user's"),
    ],
)
def test_a_prompt_that_asks_nothing_is_refused(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        make_prompt(value)


def test_ids_depend_on_content_only() -> None:
    assert Prompt(HELLO.messages, ("tag",), "ext", "2026-01-01").id == HELLO.id
    assert Completion(HELLO, "Hi").id == Completion(HELLO, "Hi", external_id="7").id
    assert Completion(HELLO, "Hi").id != Completion(HELLO, "Hi", finished=False).id
    assert Completion(HELLO, "Hi").id != Completion(make_prompt("Hello"), "Hi").id


def test_the_hash_is_the_published_one() -> None:
    """Ids are stored: another way of hashing would split every store in two."""
    assert content_hash("prompt", [{"role": "user", "content": "é"}]) == (
        "df7d7841d7807d71123e9e82ad31f83b"
    )


def test_a_task_takes_what_its_kind_compares() -> None:
    a, b = Completion(HELLO, "A"), Completion(HELLO, "B")
    elsewhere = Completion(make_prompt("Other?"), "B")
    for kind, first, second in (
        ("pairwise", a, None),
        ("binary", a, b),
        ("pairwise", a, a),
        ("pairwise", a, elsewhere),
    ):
        with pytest.raises(ValueError):
            Task(kind, first, second)  # type: ignore[arg-type]
    assert Task("pairwise", a, b).id != Task("pairwise", b, a).id


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("binary", Answer("yes")),
        ("scalar", Answer("0")),
        ("scalar", Answer("11")),
        ("pairwise", Answer("c")),
        ("ranking", Answer("a")),
        ("pairwise", Answer("a", strength=4)),
        ("pairwise", Answer("tie", strength=1)),
        ("scalar", Answer("3", strength=1)),
        ("binary", Answer("good", both_bad=False)),
    ],
)
def test_an_answer_that_does_not_fit_its_kind_is_refused(kind: str, answer: Answer) -> None:
    with pytest.raises(ValueError):
        check_answer(kind, answer)


def test_moments_are_kept_in_utc_and_sort_as_text() -> None:
    assert parse_timestamp("2026-01-31T12:00:00+02:00") == "2026-01-31T10:00:00.000000Z"
    assert parse_timestamp("2026-01-31T12:00") == "2026-01-31T12:00:00.000000Z"
    assert parse_timestamp("0999-01-01T00:00:00Z") == "0999-01-01T00:00:00.000000Z"
    with pytest.raises(ValueError, match="'yesterday' is not ISO 8601"):
        parse_timestamp("yesterday")
