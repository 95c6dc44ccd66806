"""What is asked next: pure decisions."""

from __future__ import annotations

import random
from collections import Counter
from itertools import groupby

import pytest

from data.schema import Completion, make_prompt
from data.task_planning import BLOCK, DEFAULT_SHARES, Mix, plan_tasks, question, side_order

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


def test_equal_texts_are_not_compared_and_of_empty_ones_one_is_asked_about() -> None:
    prompt = make_prompt("q")
    same = [Completion(prompt, "x"), Completion(prompt, "x", finished=False)]
    tasks = plan_tasks(same, random.Random(0), limit=50)
    assert {t.kind for t in tasks} == {"scalar", "binary"}
    empty = [
        Completion(prompt, "<think>Well", finished=False),
        Completion(prompt, " "),
        Completion(prompt, ""),
        Completion(prompt, "<think>So.</think>x"),
    ]
    tasks = plan_tasks([*empty, *same], random.Random(0), limit=50)
    sides = {side.id for t in tasks for side in t.sides}
    assert sides == {empty[1].id, empty[3].id, same[1].id}
    pairs = [{side.text for side in t.sides} for t in tasks if t.kind == "pairwise"]
    assert plan_tasks(empty[:1], random.Random(0), limit=50) == []
    assert pairs == [{" ", "x"}] * 2  # a model that ended at once has lost, if people say so


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


# --- answers that are there already


def written(model: str, prompts: int = 30, each: int = 2) -> list[Completion]:
    return [
        Completion(make_prompt(f"question {p}"), f"{model} answers {c}")
        for p in range(prompts)
        for c in range(each)
    ]


NEW, OLD = written("new"), written("old", 20, 3)
WRITERS = {c.id: frozenset([c.text.split()[0]]) for c in (*NEW, *OLD)}


def mixed(limit: int, across: float, seed: int = 0, old: list[Completion] = OLD, **kwargs):  # type: ignore[no-untyped-def]
    mix = Mix(old, WRITERS, across)
    tasks = plan_tasks(
        NEW, random.Random(seed), limit=limit, shares={"pairwise": 1}, mix=mix, **kwargs
    )
    return tasks, [mix.between(task) for task in tasks]


@pytest.mark.parametrize("across", [0.1, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("limit", [1, 7, 20, 50])
def test_a_share_of_the_pairs_is_between_models(limit: int, across: float) -> None:
    tasks, between = mixed(limit, across)
    assert len(tasks) == limit
    assert sum(between) >= across * limit
    if limit <= 20:  # beyond, some prompts have no pair of one model left
        assert sum(between) < across * limit + 1


def test_the_share_is_kept_where_pairs_run_out() -> None:
    tasks, between = mixed(1000, 0.9)
    assert (sum(between), len(tasks)) == (20 * 2 * 3, 120 + 13)
    _, between = mixed(1000, 0.5)
    assert (sum(between), len(between)) == (120, 120 + 30)
    few, between = mixed(1000, 0.5, old=OLD[:3])
    assert sum(between) >= 0.5 * len(few) and len(few) == 12
    assert mixed(100, 0.5, old=[])[0] == []
    assert len(mixed(100, 0.0, old=[])[0]) == 30


def test_mixed_pairs_are_spread_and_have_a_new_answer_in_them() -> None:
    tasks, _ = mixed(40, 0.5)
    assert max(Counter(t.a.prompt.id for t in tasks).values()) <= 2
    assert all({t.a.id, t.b.id} & {c.id for c in NEW} for t in tasks if t.b)
    first = ["new" in WRITERS[t.a.id] for t in mixed(1000, 1.0)[0]]
    assert 0.35 < sum(first) / len(first) < 0.65
    assert [t.id for t in tasks] == [t.id for t in mixed(40, 0.5)[0]]


def test_a_text_that_both_wrote_is_no_pair_between_them() -> None:
    new, old = NEW[0], OLD[0]
    both = {**WRITERS, old.id: frozenset(["old", "new"])}
    tasks = plan_tasks(
        [new], random.Random(0), limit=9, shares={"pairwise": 1}, mix=Mix([old], both, 0.5)
    )
    assert tasks == []


def test_what_was_asked_is_not_asked_again_either_way_round() -> None:
    first = plan(limit=200)
    turned = {question(t) for t in first}
    assert ("pairwise", frozenset([first[0].b.id, first[0].a.id])) in turned  # type: ignore[union-attr]
    second = plan(limit=1000, seed=1, asked=turned)
    assert second and not turned & {question(t) for t in second}
    assert len(turned) + len(second) == 30 * (6 + 4 + 4)


def test_one_completion_drawn_twice_is_one() -> None:
    prompt = make_prompt("q")
    drawn = [Completion(prompt, text) for text in ("x", "y", "x", "z", "y")]
    tasks = plan_tasks(drawn, random.Random(0), limit=50, shares={"pairwise": 1})
    assert len(tasks) == len({question(t) for t in tasks}) == 3


def test_texts_that_name_their_maker_are_not_asked_about() -> None:
    prompt = make_prompt("Who are you?")
    named = Completion(prompt, "I am ChatGPT.")
    plain = [Completion(prompt, "A helper."), Completion(prompt, "Guess!")]
    tasks = plan_tasks([*plain, named], random.Random(0), limit=50, mix=Mix([named]))
    assert len(tasks) == 5
    assert not any(named in (t.a, t.b) for t in tasks)
