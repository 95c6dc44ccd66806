"""What a reward model learns from: judgements of every kind as arrays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from data.schema import Answer, Completion, Judgement, Kind, Prompt, Task, make_prompt
from reward_model.dataset.examples import TIE, A, B, collect, group_rows, latest_answers, rows

PROMPTS = [make_prompt(f"Question number {i}?") for i in range(4)]
NUMBER = itertools.count()


def pair(
    prompt: Prompt,
    a: str,
    b: str,
    value: str,
    annotator: str = "ann",
    first: str | None = "a",
    strength: int | None = None,
) -> Judgement:
    task = Task("pairwise", Completion(prompt, a), Completion(prompt, b))
    return Judgement(next(NUMBER), task, annotator, Answer(value, strength), first, "")


def single(
    prompt: Prompt, text: str, value: str, kind: Kind = "scalar", annotator: str = "ann"
) -> Judgement:
    task = Task(kind, Completion(prompt, text))
    return Judgement(next(NUMBER), task, annotator, Answer(value), None, "")


def test_judgements_of_every_kind_by_hand() -> None:
    examples = collect(
        [
            pair(PROMPTS[0], "x", "y", "b", first="b"),
            single(PROMPTS[0], "y", "7", annotator="bob"),
            single(PROMPTS[1], "z", "bad", "binary"),
            single(PROMPTS[1], "z", "good", "binary", annotator="bob"),
            pair(PROMPTS[1], "z", "w", "tie", first=None, annotator="bob"),
        ]
    )
    assert [c.text for c in examples.completions] == ["x", "y", "z", "w"]
    assert examples.prompt.tolist() == [0, 0, 1, 1] and examples.prompts == 2
    assert examples.annotators == ("ann", "bob")
    pairs, binary, scalar = examples.pairs, examples.binary, examples.scalar
    assert (pairs.a.tolist(), pairs.b.tolist()) == ([0, 2], [1, 3])
    assert pairs.outcome.tolist() == [B, TIE] and pairs.side.tolist() == [-1, 0]
    assert pairs.annotator.tolist() == [0, 1]
    assert (binary.item.tolist(), binary.good.tolist()) == ([2, 2], [0, 1])
    assert (scalar.item.tolist(), scalar.rating.tolist()) == ([1], [7])
    assert scalar.annotator.tolist() == [1]
    assert len(examples) == 5
    assert examples.kinds == {"pairwise": 2, "scalar": 1, "binary": 2}


def test_the_same_text_under_two_prompts_is_two_completions() -> None:
    examples = collect([single(PROMPTS[0], "x", "3"), single(PROMPTS[1], "x", "9")])
    assert len(examples.completions) == 2 and examples.prompt.tolist() == [0, 1]


def test_nothing_judged() -> None:
    examples = collect([])
    assert len(examples) == examples.prompts == 0
    assert len(examples.pairs.side) == 0 and examples.pairs.side.dtype == np.float64


def test_the_latest_answer_to_a_question_counts() -> None:
    """The same two completions are one question whichever comes first."""
    given = [
        pair(PROMPTS[0], "x", "y", "a"),
        pair(PROMPTS[0], "x", "y", "b", annotator="bob"),
        single(PROMPTS[0], "x", "2"),
        pair(PROMPTS[0], "y", "x", "a"),
        single(PROMPTS[0], "x", "9"),
        single(PROMPTS[0], "x", "good", "binary"),
    ]
    assert latest_answers(given) == [given[1], *given[3:]]
    examples = collect(given)
    assert examples.kinds == {"pairwise": 2, "scalar": 1, "binary": 1}
    assert examples.scalar.rating.tolist() == [9]
    better = np.where(examples.pairs.outcome == A, examples.pairs.a, examples.pairs.b)
    assert [examples.completions[i].text for i in better] == ["y", "y"]


def test_a_strength_left_out_is_the_least_for_those_who_state_one_at_times() -> None:
    examples = collect(
        [
            pair(PROMPTS[0], "x", "y", "a", strength=3),
            pair(PROMPTS[1], "x", "y", "b"),
            pair(PROMPTS[2], "x", "y", "tie"),
            pair(PROMPTS[0], "x", "y", "a", annotator="bob"),
        ]
    )
    assert examples.pairs.strength.tolist() == [3, 1, 0, 0]


def test_a_strength_that_was_taken_back_still_shows_that_they_state_one() -> None:
    examples = collect(
        [pair(PROMPTS[0], "x", "y", "a", strength=2), pair(PROMPTS[0], "x", "y", "b")]
    )
    assert examples.pairs.strength.tolist() == [1]


def test_some_completions_judgements() -> None:
    examples = collect(
        [
            pair(PROMPTS[0], "x", "y", "a"),
            pair(PROMPTS[1], "x", "y", "b"),
            single(PROMPTS[1], "x", "4"),
            single(PROMPTS[0], "y", "bad", "binary"),
        ]
    )
    some = examples.where(examples.prompt == 1)
    assert some.kinds == {"pairwise": 1, "scalar": 1, "binary": 0}
    assert some.pairs.a.tolist() == [2] and some.completions == examples.completions
    # both sides of a pair must be there
    assert len(examples.where(np.arange(4) != 1).pairs) == 1
    assert [g.tolist() for g in group_rows(examples.prompt)] == [[0, 1], [2, 3]]


@pytest.mark.parametrize("chosen", [np.array([True, False]), np.array([0])])
def test_rows_by_mask_or_place(chosen: np.ndarray) -> None:
    examples = collect([pair(PROMPTS[0], "x", "y", "a"), pair(PROMPTS[1], "x", "y", "b")])
    assert rows(examples.pairs, chosen).outcome.tolist() == [A]
