"""What is asked next: pure decisions."""

from __future__ import annotations

import random
from collections import Counter
from itertools import groupby

import pytest

from data.queue import BLOCK, DEFAULT_SHARES, plan_tasks, side_order
from data.schema import Completion, make_prompt

COMPLETIONS = [
    Completion(make_prompt(f"question {p}"), f"answer {c}") for p in range(30) for c in range(4)
]


def plan(limit: int = 100, seed: int = 0, **kwargs):  # type: ignore[no-untyped-def]
    return plan_tasks(COMPLETIONS, random.Random(seed), limit=limit, **kwargs)


def test_kinds_come_in_their_shares_and_in_blocks() -> None:
    tasks = plan()
    assert Counter(t.kind for t in tasks) == {"pairwise": 60, "scalar": 20, "binary": 20}
    lengths = [len(list(g)) for _, g in groupby(tasks, key=lambda t: t.kind)]
    assert max(lengths) <= 4 * BLOCK
    assert len(lengths) < len(tasks) / 3


def test_every_prompt_gets_one_before_any_gets_two() -> None:
    pairs = [t for t in plan(limit=50) if t.kind == "pairwise"]
    assert len(pairs) == len({t.a.prompt.id for t in pairs}) == 30


def test_no_task_comes_twice_and_positions_go_on() -> None:
    tasks = plan(limit=1000, start=7.0)
    assert len({t.id for t in tasks}) == len(tasks)
    assert [t.position for t in tasks] == [8.0 + i for i in range(len(tasks))]
    unordered = {frozenset((t.a.id, t.b.id)) for t in tasks if t.b}
    assert len(unordered) == sum(1 for t in tasks if t.b)


def test_the_seed_decides_and_sides_are_mixed() -> None:
    assert [t.id for t in plan()] == [t.id for t in plan()]
    assert [t.id for t in plan()] != [t.id for t in plan(seed=1)]
    first = [t.a.text < t.b.text for t in plan(limit=300) if t.b]
    assert 0.35 < sum(first) / len(first) < 0.65
    rng = random.Random(0)
    assert 400 < Counter(side_order(rng) for _ in range(1000))["a"] < 600


def test_equal_and_empty_texts_are_not_asked_about() -> None:
    prompt = make_prompt("q")
    same = [
        Completion(prompt, "x"),
        Completion(prompt, "x", finished=False),
        Completion(prompt, " "),
    ]
    tasks = plan_tasks(same, random.Random(0), limit=50)
    assert {t.kind for t in tasks} == {"scalar", "binary"}
    assert all(t.a.text == "x" for t in tasks)


@pytest.mark.parametrize("share", [-0.1, 0.0])
def test_shares_that_ask_for_nothing_are_refused(share: float) -> None:
    shares = dict.fromkeys(DEFAULT_SHARES, share)
    with pytest.raises(ValueError, match="task shares"):
        plan(shares=shares)


def test_a_share_of_the_tasks_is_for_several() -> None:
    tasks = plan(overlap=0.15)
    assert Counter(t.wanted for t in tasks) == {1: 85, 3: 15}
    assert Counter(t.wanted for t in plan(wanted=5, overlap=0.5)) == {5: 100}
    assert [t.id for t in tasks] == [t.id for t in plan()]
