"""Known figures of published human judgements, where COACH_SHARED_DATA names their folder."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from data.quality import Quality, quality
from data.schema import Answer, Completion, Judgement, Kind, Task, make_prompt, parse_timestamp

SHARED = os.environ.get("COACH_SHARED_DATA")
pytestmark = pytest.mark.skipif(not SHARED, reason="COACH_SHARED_DATA is not set")
LEVELS = {"a-is-better": ("a", 2), "a-is-slightly-better": ("a", 1), "tie": ("tie", None)}
LEVELS |= {"b-is-better": ("b", 2), "b-is-slightly-better": ("b", 1)}


def read(name: str) -> str:
    return (Path(SHARED or "") / name).read_text(encoding="utf-8")


def sides(item: str, text: str, one: object, other: object) -> tuple[Completion, Completion]:
    """Published figures keep items apart where texts are the same: so does the prompt here.

    Two sides with one text are one completion: the second is told apart by being cut off.
    """
    prompt = make_prompt(f"{text}\n[{item}]")
    a, b = (str(side if side is not None else "") for side in (one, other))
    return Completion(prompt, a), Completion(prompt, b, finished=a != b)


@cache
def pandalm() -> Quality:
    def judgements() -> Iterator[Judgement]:
        for item in json.loads(read("pandalm/testset-v1.json")):
            text = f"{item['instruction']}\n{item['input']}"
            a, b = sides(item["idx"], text, item["response1"], item["response2"])
            for person in "123":
                value = {0: "tie", 1: "a", 2: "b"}[item[f"annotator{person}"]]
                number = 3 * item["idx"] + int(person)
                yield Judgement(number, Task("pairwise", a, b), person, Answer(value), None, "2023")

    return quality(list(judgements()))


def tulu(again: str) -> Quality:
    """`again` is added to the name of whoever votes a second time, for the earlier vote."""
    rows = [json.loads(line) for line in read("tulu_human_eval/tulu_human_eval.jsonl").splitlines()]
    rows.sort(key=lambda row: row["timestamp"], reverse=True)
    seen: Counter[tuple[str, str]] = Counter()
    judgements: list[Judgement] = []
    models: dict[str, frozenset[str]] = {}
    for row in rows:
        item = f"{row['instance_id']} {' '.join(sorted((row['model_a'], row['model_b'])))}"
        person = row["evaluator"]
        name = person + again * seen[(item, person)]
        seen[(item, person)] += 1
        judgements += _row(row, item, name, len(judgements), models)
    return quality(judgements, models=models)


def _row(
    row: dict[str, Any], item: str, person: str, n: int, models: dict[str, frozenset[str]]
) -> list[Judgement]:
    ordered = sorted("ab", key=lambda side: row[f"model_{side}"])
    texts = [row[f"completion_{side}"] for side in ordered]
    by_side = dict(zip(ordered, sides(item, row["prompt"], *texts), strict=True))
    for side in "ab":
        models[by_side[side].id] = frozenset([row[f"model_{side}"]])
    value, strength = LEVELS[row["preference"]]
    accepted = ("good" if row[f"completion_{s}_is_acceptable"] == "yes" else "bad" for s in "ab")

    def said(i: int, kind: Kind, a: Completion, b: Completion | None, answer: Answer) -> Judgement:
        moment = parse_timestamp(row["timestamp"])
        return Judgement(n + i, Task(kind, a, b), person, answer, None, moment)

    pair = (by_side["a"], by_side["b"])
    return [
        said(0, "pairwise", *pair, Answer(value, strength)),
        *(said(1 + i, "binary", pair[i], None, Answer(v)) for i, v in enumerate(accepted)),
    ]


def test_pandalm() -> None:
    report = pandalm()
    kappas = {(k.first, k.second): k.figure.value for k in report.kappas}
    assert kappas[("1", "2")] == pytest.approx(0.852, abs=5e-4)
    assert kappas[("1", "3")] == pytest.approx(0.879, abs=5e-4)
    assert kappas[("2", "3")] == pytest.approx(0.862, abs=5e-4)
    assert report.majorities[0].questions == 999
    assert dict(report.majorities[0].counts) == {"tie": 105, "a": 422, "b": 472, "none": 0}
    assert report.team.alphas.pairwise.value == pytest.approx(0.864, abs=5e-4)
    assert report.longer_wins_majority.value == pytest.approx(0.674, abs=5e-4)
    assert report.longer_wins_majority.n == 894


def test_tulu() -> None:
    report = tulu(again="")
    pairs = {(p.first, p.second): p for p in report.model_pairs}
    first = pairs[("chatgpt", "tulu_65B")]
    second = pairs[("tulu_65B", "tulu_7B")]
    third = pairs[("tulu_65B", "tulu_human_only_65B")]
    for figure, known, n in [
        (first.first_acceptance, 0.901, 332),
        (first.second_acceptance, 0.792, 332),
        (second.first_acceptance, 0.789, 332),
        (second.second_acceptance, 0.687, 332),
        (third.first_acceptance, 0.813, 332),
        (third.second_acceptance, 0.723, 332),
        (first.preference_agreement, 0.556, 63),
        (second.preference_agreement, 0.607, 56),
        (first.acceptance_agreement, 0.905, 2 * 63),
        (second.acceptance_agreement, 0.786, 2 * 56),
        (report.team.alphas.binary, 0.48, 242),
        (report.team.alphas.strength, 0.37, 121),
    ]:
        assert figure.value == pytest.approx(known, abs=5e-4 if known not in (0.48, 0.37) else 5e-3)
        assert figure.n == n
    assert third.preference_agreement.value is None
    assert report.longer_wins.value == pytest.approx(0.682, abs=5e-4)
    assert report.longer_wins.n == 767


def test_tulu_with_votes_that_were_taken_back() -> None:
    """The published .681 on 774 pairs counts the 9 earlier votes of those who voted twice."""
    report = tulu(again=" before")
    assert report.longer_wins.value == pytest.approx(0.681, abs=5e-4)
    assert report.longer_wins.n == 774
