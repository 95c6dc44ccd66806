"""What judgements come to as rows for a trainer."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from data.exports.training_rows import (
    AGAIN,
    BOTH_BAD,
    CUT_OFF,
    ExportTable,
    preference_table,
    rating_table,
    unpaired_table,
)
from data.schema import Answer, Completion, Judgement, Kind, Task, make_prompt
from data.splits import split_of

ASKED = make_prompt("q")
X, Y = Completion(ASKED, "x"), Completion(ASKED, "y")
NUMBER = count(1)


def said(value: str, who: str = "ann", *shown: Completion, **more: Any) -> Judgement:
    """One judgement: of a pair where two completions are shown, x and y unless others are."""
    a, *rest = shown or ((X, Y) if value in ("a", "b", "tie") else (X,))
    kinds: dict[str, Kind] = {"good": "binary", "bad": "binary"}
    kind = "pairwise" if rest else kinds.get(value, "scalar")
    number = next(NUMBER)
    moment = more.pop("created_at", f"2026-01-01T00:00:{number % 60:02d}")
    task = Task(kind, a, rest[0] if rest else None)
    return Judgement(number, task, who, Answer(value, **more), None, moment)


def rows(table: ExportTable) -> list[dict[str, Any]]:
    return [row for side in table.rows.values() for row in side]


def left_out(table: ExportTable) -> dict[str, int]:
    return {reason: n for reason, n in table.left_out.items() if n}


def test_a_preference_is_one_row_with_its_votes() -> None:
    table = preference_table(
        [
            said("a", "ann", strength=3),
            said("a", "bo"),
            said("b", "cy", strength=2),
            said("tie", "d"),
        ]
    )
    assert rows(table) == [
        {
            "prompt": [{"role": "user", "content": "q"}],
            "chosen": [{"role": "assistant", "content": "x"}],
            "rejected": [{"role": "assistant", "content": "y"}],
            "margin": (3 + 1 - 2 + 0) / 4,
            "weight": 1,
            **{"votes_chosen": 2, "votes_rejected": 1, "votes_tie": 1, "votes_both_bad": 0},
            "finished": True,
        }
    ]
    assert (table.judgements, table.annotators) == (4, 4)
    assert [column.name for column in table.columns] == list(rows(table)[0])


def test_a_pair_is_the_same_whichever_side_was_a() -> None:
    table = preference_table([said("b", "ann"), said("a", "bo", Y, X)])
    (row,) = rows(table)
    assert row["chosen"][0]["content"] == "y"
    assert (row["weight"], row["votes_rejected"]) == (2, 0)


def test_everybody_counts_once_with_what_they_said_last() -> None:
    first = said("a", "ann", created_at="2026-01-01")
    later = said("a", "ann", Y, X, created_at="2026-01-09")
    for order in ([first, later], [later, first]):
        table = preference_table(order)
        (row,) = rows(table)
        assert (row["chosen"][0]["content"], row["weight"]) == ("y", 1)
        assert left_out(table) == {AGAIN: 1}


def test_most_voices_decide_and_strength_only_moves_the_margin() -> None:
    table = preference_table([said("a", "ann"), said("a", "bo"), said("b", "cy", strength=3)])
    (row,) = rows(table)
    assert (row["chosen"][0]["content"], row["margin"]) == ("x", 0.0)


@pytest.mark.parametrize(
    ("judgements", "reason"),
    [
        ([said("tie"), said("tie", "bo")], "pair judged a tie"),
        ([said("a"), said("b", "bo", strength=3)], "pair on which the votes are even"),
        ([said("a", "ann", X, Completion(ASKED, "x", False))], "pair of one text, cut off or not"),
    ],
)
def test_undecided_pairs_are_left_out(judgements: list[Judgement], reason: str) -> None:
    table = preference_table(judgements)
    assert (rows(table), left_out(table)) == ([], {reason: 1})


def test_what_is_kept_but_should_be_known_is_counted() -> None:
    cut = Completion(ASKED, "z", finished=False)
    table = preference_table(
        [said("a", both_bad=True, flags=("harmful",)), said("a", "ann", X, cut, flags=("private",))]
    )
    assert sorted((row["finished"], row["votes_both_bad"]) for row in rows(table)) == [
        (False, 0),
        (True, 1),
    ]
    assert table.facts[CUT_OFF] == table.facts[BOTH_BAD] == 1
    assert table.facts["judgements flagged private (kept)"] == 1


def test_good_or_bad_by_majority() -> None:
    table = unpaired_table(
        [
            *(said("good"), said("good", "bo"), said("bad", "cy"), said("good", "ann", Y)),
            said("good", "ann", Completion(ASKED, "z")),
            said("bad", "bo", Completion(ASKED, "z")),
        ]
    )
    found = {
        row["completion"][0]["content"]: (row["label"], row["weight"], row["votes_bad"])
        for row in rows(table)
    }
    assert found == {"x": (True, 1, 1), "y": (True, 1, 0)}
    assert left_out(table) == {"completion on which the votes are even": 1}


def test_ratings_come_as_a_mean_and_as_a_target_on_each_annotator_s_scale() -> None:
    table = rating_table(
        [
            said(str(number), who, completion)
            for who, numbers in (("harsh", (1, 3)), ("mild", (8, 10)))
            for number, completion in zip(numbers, (X, Y), strict=True)
        ]
    )
    found = {row["completion"][0]["content"]: row for row in rows(table)}
    assert found["x"]["score"] == pytest.approx((4.5 - 1) / 9)
    assert found["y"]["score"] == pytest.approx((6.5 - 1) / 9)
    assert found["x"]["labels"] == pytest.approx(-found["y"]["labels"])
    assert found["x"]["n"] == 2
    one_sided = rating_table([said("1", "harsh", X), said("10", "mild", Y)])
    low, high = sorted(row["labels"] for row in rows(one_sided))
    assert low < 0 < high


def test_held_out_ratings_do_not_move_the_targets_of_the_others() -> None:
    asked = {split_of(make_prompt(str(i))): make_prompt(str(i)) for i in range(60)}
    training = [
        said(str(rating), "ann", Completion(asked["train"], f"answer {rating}"))
        for rating in (2, 5, 9)
    ]
    tests = [said("10", "ann", Completion(asked["test"], f"{i}")) for i in range(5)]
    assert rating_table(training).rows["train"] == rating_table(training + tests).rows["train"]
    assert len(rating_table(tests).rows["test"]) == 5
