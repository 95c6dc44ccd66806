"""The report on quality: every figure, whatever the judgements; who is named, and who is not."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from statistics import fmean
from typing import Any

import pytest

from data.quality import Quality, quality, warnings
from data.quality.text import quality_lines
from data.schema import Answer, Completion, Judgement, Kind, Task, make_prompt
from data.simulated_annotators import Persona
from tests.data.quality.teams import Work, team


def task(kind: Kind, n: int, flipped: bool = False) -> Task:
    prompt = make_prompt(f"What is {n} and {n}?")
    texts = [f"{2 * n}", f"It is {2 * n}, as anybody knows."]
    a, b = (Completion(prompt, text) for text in (texts[::-1] if flipped else texts))
    return Task(kind, a, b if kind == "pairwise" else None)


def said(number: int, asked: Task, name: str, value: str, **more: Any) -> Judgement:
    answer = Answer(value, more.pop("strength", None), seconds=more.pop("seconds", 9.0))
    side = "a" if asked.b else None
    return Judgement(number, asked, name, answer, side, f"2026-01-01T00:00:{number:09}Z")


def everyone(
    names: Sequence[str], value: str, kind: Kind = "pairwise", tasks: int = 30
) -> list[Judgement]:
    rows = [(n, name) for n in range(tasks) for name in names]
    return [said(i, task(kind, n), name, value) for i, (n, name) in enumerate(rows)]


APART = [said(i, task("binary", i), "ann" if i < 30 else "bob", "good") for i in range(60)]


@pytest.mark.parametrize(
    "judgements",
    [
        [],
        [said(1, task("pairwise", 1), "ann", "a")],
        [said(1, task("scalar", 1), "ann", "7", seconds=None)],
        everyone(["ann"], "b"),
        everyone(["ann", "bob"], "tie"),
        everyone(["ann", "bob", "cy"], "a"),
        everyone(["ann", "bob"], "good", "binary"),
        everyone(["ann", "bob", "cy"], "10", "scalar"),
        everyone(["ann", "bob"], "1", "scalar", tasks=1),
        APART,
    ],
)
def test_whatever_was_said_there_is_a_report(judgements: list[Judgement]) -> None:
    report = quality(judgements)
    assert warnings(report) == []
    sound(report)
    assert all(len(line) <= 100 for line in quality_lines(report))


def sound(report: Quality) -> None:
    """It is JSON without nan; a number has its interval around it, no number has a reason."""

    def check(value: Any) -> None:
        if isinstance(value, dict):
            if {"value", "low", "high", "n", "needs"} <= set(value):
                figure(value)
            for inner in value.values():
                check(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                check(inner)
        elif isinstance(value, float):
            assert math.isfinite(value)

    def figure(f: dict[str, Any]) -> None:
        if f["value"] is None:
            assert f["note"] or f["n"] < f["needs"]
            assert f["low"] is None and f["high"] is None
        else:
            assert f["needs"] is None and f["unit"]
            assert f["low"] - 1e-9 <= f["value"] <= f["high"] + 1e-9

    check(report.as_dict())
    json.dumps(report.as_dict(), allow_nan=False)


def test_both_ways_round_are_one_question() -> None:
    judgements = []
    for n in range(25):
        judgements.append(said(2 * n, task("pairwise", n), "ann", "a", strength=2))
        judgements.append(said(2 * n + 1, task("pairwise", n, True), "bob", "b", strength=2))
    agreement = quality(judgements).team.agreement
    assert agreement.with_ties.value == agreement.without_ties.value == 1
    assert agreement.with_ties.n == 25


def test_a_tie_has_a_strength_only_where_strengths_are_stated() -> None:
    def strength(stated: int | None) -> Any:
        answers = [
            said(n, task("pairwise", n // 2), name, value, strength=s)
            for n, (name, value, s) in enumerate([("ann", "a", stated), ("bob", "tie", None)] * 30)
        ]
        return quality(answers).team.alphas.strength

    assert strength(None).value is None
    assert strength(None).n == 0
    assert strength(2).n == 0  # of two people, one states none: nothing to compare
    both = [
        said(n, task("pairwise", n // 2), "ann" if n % 2 else "bob", value, strength=s)
        for n, (value, s) in enumerate([("a", 2), ("a", 2), ("tie", None), ("tie", None)] * 20)
    ]
    figure = quality(both).team.alphas.strength
    assert (figure.value, figure.n) == (1, 40)


def test_agreement_with_ties_and_without() -> None:
    """Ann and Bob agree on 20 of 30, and differ by a tie on the rest."""
    judgements = everyone(["ann", "bob"], "a")
    judgements[40:] = [
        said(j.id, j.task, j.annotator, "tie" if j.id % 2 else "a") for j in judgements[40:]
    ]
    report = quality(judgements)
    assert report.team.agreement.with_ties.value == pytest.approx(2 / 3)
    assert report.team.agreement.without_ties.value == 1
    assert report.team.agreement.without_ties.n == 20
    assert report.first_two.with_ties.value == pytest.approx(2 / 3)


def test_of_several_answers_to_a_question_the_latest_counts() -> None:
    judgements = everyone(["ann", "bob"], "a")
    again = [said(100 + n, task("pairwise", n, True), "ann", "a") for n in range(30)]
    assert quality(judgements).team.agreement.with_ties.value == 1
    assert quality(judgements + again).team.agreement.with_ties.value == 0


def test_checks_have_figures_of_their_own() -> None:
    judgements = everyone(["ann"], "a", tasks=40)
    again = [said(100 + j.id, j.task, "ann", "ab"[j.id % 2]) for j in judgements]
    gold = [(said(200 + n, task("scalar", n), "ann", "7"), str(7 + n % 4)) for n in range(40)]
    report = quality([*judgements, *again], list(zip(judgements, again, strict=True)), gold)
    assert report.team.repeats.value == 0.5
    assert report.team.gold.value == 0.5
    assert report.team.agreement.scalar.n == 0
    assert report.team.judgements == 120


def test_majorities_and_the_longer_one() -> None:
    judgements = [
        said(3 * n + i, task("pairwise", n), name, value)
        for n in range(30)
        for i, (name, value) in enumerate(
            zip(("ann", "bob", "cy"), ("aab", "ttt", "abt")[n % 3].replace("t", "T"), strict=True)
        )
        for value in ["tie" if value == "T" else value]
    ]
    report = quality(judgements)
    (majority,) = report.majorities
    assert majority.questions == 30
    assert dict(majority.counts) == {"a": 10, "b": 0, "tie": 10, "none": 10}
    assert report.longer_wins.n == 50
    assert report.longer_wins.value == pytest.approx(0.4)
    assert report.longer_wins_majority.n == 10


def test_models_side_by_side() -> None:
    judgements, models = [], {}
    for n in range(40):
        pair = task("pairwise", n, flipped=n % 2 == 1)
        short, long = sorted((pair.a, pair.b or pair.a), key=lambda c: len(c.text))
        models |= {short.id: frozenset(["small"]), long.id: frozenset(["large"])}
        value = "a" if pair.a is long else "b"
        judgements += [
            said(3 * n, pair, "ann", value),
            said(3 * n + 1, Task("binary", short), "ann", "good" if n % 4 == 0 else "bad"),
            said(3 * n + 2, Task("binary", long), "ann", "good"),
        ]
    report = quality(judgements, models=models)
    assert {r.model: r.acceptance.value for r in report.models} == {"large": 1, "small": 0.25}
    (pair_of_models,) = report.model_pairs
    assert (pair_of_models.first, pair_of_models.second) == ("large", "small")
    assert pair_of_models.first_preferred.value == 1
    assert pair_of_models.second_acceptance.value == 0.25
    assert any("large v small" in line for line in quality_lines(report))


@cache
def judged(habit: Persona, seed: int) -> Work:
    return team(habit, 400, seed)


def named(work: Work) -> dict[str, set[str]]:
    report = quality(work.queue, work.repeats, work.gold)
    sound(report)
    found: dict[str, set[str]] = {person.name: set() for person in work.people}
    for warning in warnings(report):
        found[warning.annotator].add(warning.kind)
        assert warning.annotator in warning.sentence and warning.figure.value is not None
        assert len(warning.sentence) > 40 and warning.needs > 20
    return found


@pytest.mark.parametrize(
    ("habit", "kinds"),
    [
        ("left-biased", {"side"}),
        ("length-loving", {"length"}),
        ("random", {"careless", "quick"}),
        ("lazy", {"careless", "quick"}),
    ],
)
def test_planted_habits_are_found_and_nobody_else_is_named(habit: Persona, kinds: set[str]) -> None:
    for name, found in named(judged(habit, 1)).items():
        assert found >= kinds if habit in name else not found


def test_one_who_never_looks_is_named() -> None:
    """Always the side shown first, always good, always 7: no variance, and no accident."""
    work = judged("careful", 1)
    blind = {"pairwise": "a", "binary": "good", "scalar": "7"}
    queue = [
        replace(j, shown_first="a" if j.task.b else None, answer=Answer(blind[j.kind], seconds=9))
        if j.annotator.endswith("-1")
        else j
        for j in work.queue
    ]
    kinds = {(w.annotator[-1], w.kind) for w in warnings(quality(queue))}
    assert kinds == {("1", "side"), ("1", "careless")}


def test_one_who_shuns_length_is_named_and_not_the_others() -> None:
    """The short answers are shown first, and Ann always takes them; the others toss coins."""
    coins = random.Random(1)
    judgements = [
        said(3 * n + i, task("pairwise", n), name, "a" if name == "ann" else coins.choice("ab"))
        for n in range(60)
        for i, name in enumerate(("ann", "bob", "cy"))
    ]
    named = {(w.annotator, w.kind) for w in warnings(quality(judgements))}
    assert named == {("ann", "side"), ("ann", "length")}


def test_a_careful_team_is_left_alone() -> None:
    for seed in range(3):
        assert not any(named(judged("careful", seed)).values())


def test_one_who_hardens_moves() -> None:
    """A drift is hard to be sure of; that ratings fell shows in the figures."""
    report = quality(judged("drifting", 2).queue)
    drifted = [p.figures.drift.rating for p in report.people if "drifting" in p.name]
    careful = [p.figures.drift.rating for p in report.people if "careful" in p.name]
    assert fmean(f.value or 0 for f in drifted) < fmean(f.value or 0 for f in careful) - 0.5


def test_most_drifts_are_found_after_400_judgements() -> None:
    """Ratings alone moved, or the fit alone: neither may hide the other, nor one who drifts two."""
    drifted = [
        "drift" in kinds
        for seed in (1, 2, 3)
        for name, kinds in named(judged("drifting", seed)).items()
        if "drifting" in name
    ]
    assert sum(drifted) >= 4, drifted


def test_the_same_judgements_give_the_same_report() -> None:
    work = judged("lazy", 1).first(100)
    first, second = (quality(work.queue, work.repeats, work.gold, seed=5) for _ in range(2))
    assert first.as_dict() == second.as_dict()
    assert first.as_dict() == quality(work.queue[::-1], work.repeats, work.gold, seed=5).as_dict()


def test_the_text_says_who_and_how_sure() -> None:
    work = judged("length-loving", 1)
    text = quality_lines(quality(work.queue, work.repeats, work.gold))
    assert all(len(line) <= 100 for line in text)
    shown = "\n".join(text)
    assert "The best possible reward model would be right about" in shown
    assert "length: simulated-length-loving-5 chose the longer in" in shown
    few = quality_lines(quality(work.queue[:12]))
    assert "not enough data yet" in "\n".join(few)
    assert quality_lines(quality([])) == []
