"""Simulated annotators: the common taste, and the habit that each persona adds."""

from __future__ import annotations

import random
from collections import Counter
from statistics import fmean, pstdev

import pytest

from data.schema import Completion, Kind, Task, make_prompt
from data.simulated_annotators import PERSONAS, Persona, SimulatedAnnotator, crew, crowd, utility

PROMPT = make_prompt("Why do the leaves of my garden plant turn yellow?")
GOOD = "Yellow leaves on a garden plant mean too much water. I hope it is glad of a rest, you too."
POOR = "It it it it it it it depends on various things, as an ai language model says"
FILLER = "and the soil wants some time to dry out before it gets any more from anybody here now "


def member(persona: Persona) -> SimulatedAnnotator:
    return crew([persona], 1, seed=0)[0]


def pair(first: str, second: str) -> Task:
    return Task("pairwise", Completion(PROMPT, first), Completion(PROMPT, second))


def single(kind: Kind, text: str) -> Task:
    return Task(kind, Completion(PROMPT, text))


def said(
    annotator: SimulatedAnnotator, task: Task, shown_first: str = "a", n: int = 400
) -> Counter:
    rng = random.Random(1)
    first = shown_first if task.b else None
    return Counter(annotator.judge(task, first, rng).value for _ in range(n))


def ratings(annotator: SimulatedAnnotator, text: str) -> list[int]:
    counted = said(annotator, single("scalar", text))
    return [int(value) for value in counted.elements()]


def test_the_crowd_judges_as_it_always_did() -> None:
    texts = [GOOD, POOR, FILLER + GOOD, GOOD[:40], "Yes.", FILLER * 6]
    tasks = [pair(a, b) for a in texts for b in texts if a != b]
    tasks += [single(kind, text) for kind in ("binary", "scalar") for text in texts]
    rng = random.Random(0)
    values = [person.judge(task, "a", rng).value for person in crowd(2, 0) for task in tasks]
    assert "".join(value[0] for value in values) == (
        "aaaaabbbbataaaababaababtabbbbbgbgbbb919321aaaaabbbbabaaaatabaababbabbbbbgbggbb111411"
    )


def test_careful_annotators_are_the_crowd() -> None:
    tasks = [pair(GOOD, POOR), single("binary", GOOD), single("scalar", POOR)]
    for old, new in zip(crowd(3, 7), crew(["careful"], 3, 7), strict=True):
        answers = [[p.judge(t, "b", random.Random(2)) for t in tasks] for p in (old, new)]
        assert answers[0] == answers[1]
        assert new.after(1000) == new


def test_a_careful_annotator_prefers_what_is_better() -> None:
    assert utility(pair(GOOD, POOR).a) > utility(pair(POOR, GOOD).a) + 1
    assert said(member("careful"), pair(POOR, GOOD))["b"] > 380


def test_left_biased_annotators_take_the_side_shown_first() -> None:
    even = pair(GOOD + " Really.", GOOD + " Surely.")
    shares = {
        persona: [said(member(persona), even, side)[side] / 400 for side in "ab"]
        for persona in ("left-biased", "careful")
    }
    assert min(shares["left-biased"]) > 0.75
    assert max(shares["careful"]) < 0.6


def test_length_loving_annotators_take_the_longer_one() -> None:
    padded = pair(GOOD, GOOD + " " + FILLER * 2)
    assert said(member("careful"), padded)["a"] > 200
    assert said(member("length-loving"), padded)["b"] > 300
    short, long = (fmean(ratings(member("length-loving"), t)) for t in (GOOD, GOOD + FILLER * 2))
    assert long > short


def test_lazy_annotators_are_quick_and_stay_in_the_middle() -> None:
    lazy, careful = member("lazy"), member("careful")
    clear = pair(GOOD, POOR)
    assert said(lazy, clear)["tie"] > 4 * max(1, said(careful, clear)["tie"])
    assert said(lazy, clear)["a"] < said(careful, clear)["a"]
    both = [ratings(person, GOOD) + ratings(person, POOR) for person in (lazy, careful)]
    assert pstdev(both[0]) < 0.6 * pstdev(both[1])
    seconds = [person.judge(clear, "a", random.Random(3)).seconds for person in (lazy, careful)]
    assert seconds[0] and seconds[1] and seconds[0] < seconds[1] / 3


def test_random_annotators_do_not_look() -> None:
    guesser = member("random")
    for task, values in ((pair(GOOD, POOR), 3), (single("scalar", GOOD), 10)):
        counted = said(guesser, task, n=3000)
        assert len(counted) == values
        assert max(counted.values()) < 1.3 * 3000 / values
    assert abs(said(guesser, single("binary", POOR), n=3000)["good"] - 1500) < 150


def test_drifting_annotators_start_careful_and_tire() -> None:
    fresh, tired = member("drifting").after(0), member("drifting").after(600)
    clear = pair(POOR, GOOD)
    assert said(fresh, clear) == said(member("careful"), clear)
    assert said(tired, clear)["b"] < said(fresh, clear)["b"] - 20
    ordinary = single("binary", GOOD)
    assert said(tired, ordinary)["good"] < said(fresh, ordinary)["good"] - 40
    assert fmean(ratings(tired, GOOD)) < fmean(ratings(fresh, GOOD)) - 1
    assert member("drifting").after(10**6).consistency > 0


def test_a_crew_takes_the_personas_in_turn() -> None:
    people = crew(["careful", "lazy", "careful"], 7, seed=4)
    assert Counter(p.persona for p in people) == {"careful": 5, "lazy": 2}
    assert len({p.name for p in people}) == 7
    assert people == crew(["careful", "lazy", "careful"], 7, seed=4)
    assert people != crew(["careful", "lazy", "careful"], 7, seed=5)
    assert [p.persona for p in crew(list(PERSONAS), 6, 0)] == list(PERSONAS)


def test_bad_crews_are_named() -> None:
    with pytest.raises(ValueError, match="annotators 0 not allowed"):
        crew(["lazy"], 0, 0)
    with pytest.raises(ValueError, match="no personas given: use one or more of careful, lazy"):
        crew([], 3, 0)
