"""Recipes: any table as lines of the exchange format, with what was changed counted."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data.imports import import_file
from data.imports.recipe import SHIPPED, Recipe, load_recipe
from data.quality import Quality
from data.store import Store
from tests.benchmarks.published_figures import figures_by_source
from tests.data.imports.test_import_lines import standing, write

SHARED = os.environ.get("COACH_SHARED_DATA", "")
shared = pytest.mark.skipif(not SHARED, reason="COACH_SHARED_DATA names no folder")

PANDA: dict[str, Any] = {
    **{"idx": 0, "motivation_app": "Mail", "cmp_key": "m-1_m-2", "instruction": "q", "input": ""},
    **{"response1": "x", "response2": "y", "annotator1": 1, "annotator2": 2, "annotator3": 0},
}
TULU: dict[str, Any] = {
    **{"id": 1, "instance_id": "i1", "prompt": "q\n", "model_a": "m1", "model_b": "m2"},
    **{"completion_a": "x", "completion_b": "y", "preference": "b-is-slightly-better"},
    **{"completion_a_is_acceptable": "yes", "completion_b_is_acceptable": "no"},
    **{"evaluator": "se", "timestamp": "2023-05-21T20:54:05.000"},
}


def run(store: Store, file: Path, name: str) -> Any:
    return import_file(store, file, recipe=load_recipe(name))


def test_pandalm(store: Store, tmp_path: Path) -> None:
    rows = [
        PANDA,
        PANDA | {"idx": 1, "input": "more", "response1": True, "response2": ""},
        PANDA | {"idx": 2, "cmp_key": "m-2_m-3", "response1": "y", "response2": "x"},
    ]
    (tmp_path / "in.json").write_text(json.dumps(rows))
    report = run(store, tmp_path / "in.json", "pandalm")
    assert report.read_as == "recipe pandalm, a JSON array"
    assert report.new == {"prompt": 2, "judgement": 9}
    assert report.left_out == {
        'response1 true read as "True"': 1,
        'response2 without text read as "(empty)"': 1,
    }
    judged = store.ledger.judgements(["pairwise"])
    found = [(j.prompt.text, j.task.a.text, j.answer.value, j.shown_first) for j in judged]
    assert found == [
        *(("q\n\nmore", "True", value, "a") for value in ("a", "b", "tie")),
        *(("q", "x", value, "b") for value in ("b", "a", "tie")),  # asked again, sides exchanged
    ]
    assert store.content.prompts()[0].tags == ("Mail",)
    assert store.content.models() == {"m-1": 2, "m-2": 2, "m-3": 1}
    assert set(run(store, tmp_path / "in.json", "pandalm").new.values()) == {0}


def test_tulu(store: Store, tmp_path: Path) -> None:
    rows = [
        TULU,
        TULU | {"id": 2, "preference": "tie", "timestamp": "2023-05-20T00:00:00"},
        TULU | {"instance_id": "i3", "prompt": "q3", "completion_b": "x", "evaluator": "yo"},
        TULU | {"id": 4, "completion_a": None, "evaluator": "yu", "model_a": "m3"},
    ]
    report = run(store, write(tmp_path / "in.jsonl", *rows), "tulu_human_eval")
    assert report.left_out == {
        "pairwise left out: both answers are the same text": 1,
        'completion_a without text read as "(empty)"': 1,
    }
    assert report.new == {"prompt": 2, "judgement": 11}
    (pair, empty) = store.ledger.judgements(["pairwise"])
    assert (pair.answer.value, pair.answer.strength, pair.shown_first) == ("b", 1, "a")
    assert pair.created_at == "2023-05-21T20:54:05.000000Z"
    assert (empty.task.a.text, pair.prompt.text) == ("(empty)", "q")
    assert Counter(v for _, kind, v in standing(store) if kind == "binary") == {"good": 2, "bad": 3}


def recipe(**more: Any) -> Recipe:
    line = {"type": "demonstration", "prompt": {"column": "ask"}, "completion": {"column": "say"}}
    return Recipe("mine", {"lines": [line | more]})


def test_rows_and_parts_left_out_are_counted(sqlite_store: Store, tmp_path: Path) -> None:
    written = {
        "each": "turns",
        "leave_out": [
            {"when": {"column": "turns.mark", "is": [0, "no"]}, "why": "not checked"},
            {"when": {"column": "turns.say.0", "empty": True}, "why": "no text"},
        ],
        "lines": [
            {
                "type": "demonstration",
                "prompt": {"column": "ask"},
                "completion": {"column": "turns.say.0"},
            }
        ],
    }
    turns = [{"mark": m, "say": [s]} for m, s in ((1, "x"), (0, "y"), ("no", "y"), (1, " "))]
    file = write(tmp_path / "in", {"ask": "q", "turns": turns}, {"ask": "r", "turns": None})
    report = import_file(sqlite_store, file, recipe=Recipe("mine", written))
    assert report.new == {"demonstration": 1}
    assert report.left_out == {"row left out: not checked": 2, "row left out: no text": 1}


def test_columns_in_order_of_the_alphabet() -> None:
    made = Recipe("mine", {"lines": [{"type": "document", "text": {"text": "{one,two}: {two}"}}]})
    for row in ({"one": "x", "two": "y"}, {"one": "z", "two": "y"}):
        (line,) = made.lines(row, Counter())
        assert line["text"] == ",".join(sorted(row.values())) + ": y"


def test_a_table_s_numbers_are_numbers_again(sqlite_store: Store, tmp_path: Path) -> None:
    line = {"type": "judgement", "kind": "scalar", "value": {"column": "stars"}, "prompt": "q"}
    mine = Recipe("mine", {"lines": [line | {"completion": {"column": "text"}}]})
    (tmp_path / "in.csv").write_text("text,stars\nx,7\n")
    import_file(sqlite_store, tmp_path / "in.csv", recipe=mine, annotator="ann")
    assert standing(sqlite_store) == [("ann", "scalar", "7")]


BAD_ROWS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a column that is not there": ({}, {"ask": "q"}, 'column "say" is missing: it has ask'),
    "true for a text": ({}, {"ask": "q", "say": True}, "completion true not allowed: use a text"),
    "an empty completion": ({}, {"ask": "q", "say": ""}, "completion '' has no text"),
    "a value that is not in the map": (
        {"completion": {"column": "say", "map": {"x": "y", "z": "y"}}},
        {"ask": "q", "say": "w"},
        'say "w" is not in the recipe: it has x or z',
    ),
    "a number that is no text": (
        {"completion": {"column": "say", "not_text": {"true": "True"}}},
        {"ask": "q", "say": 3},
        "say 3 is not in the recipe: it has true",
    ),
    "a part that is not there": (
        {"completion": {"column": "say", "split": "_", "part": 1}},
        {"ask": "q", "say": "x"},
        '"x" has no part 1 between "_"',
    ),
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_row_that_a_recipe_cannot_read(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    more, row, reason = BAD_ROWS[what]
    good = {"ask": "q", "say": "x_y" if "part" in what else "x"}
    file = write(tmp_path / "in.jsonl", good, row)
    with pytest.raises(ValueError) as caught:
        import_file(sqlite_store, file, recipe=recipe(**more))
    assert str(caught.value).startswith(f"{file}:2: ")
    assert reason in str(caught.value)
    assert sqlite_store.content.prompts() == []
    skipped = import_file(sqlite_store, file, tmp_path / "bad", recipe=recipe(**more))
    assert (skipped.new, skipped.skipped) == ({"demonstration": 1}, 1)


BAD_RECIPES: dict[str, tuple[Any, str]] = {
    "a list": ([], "write an object with a list of lines"),
    "no lines": ({"about": "x"}, "write an object with a list of lines"),
    "an unknown key": ({"lines": [], "line": 1}, '"line" unknown: use about, each, leave_out'),
    "a line of text": ({"lines": ["x"]}, 'line "x" is not an object'),
    "an unknown type": ({"lines": [{"type": "pair"}]}, 'line of type "pair" unknown'),
    "an unknown column": ({"lines": [{"type": "prompt", "ask": 1}]}, '"ask" unknown: use type'),
    "no source": ({"lines": [{"type": "prompt", "prompt": {"map": {}}}]}, "needs one of column"),
    "an unknown step": (
        {"lines": [{"type": "prompt", "prompt": {"column": "q", "upper": True}}]},
        '"upper" unknown: use column, join',
    ),
    "a map of text": (
        {"lines": [{"type": "prompt", "prompt": {"column": "q", "map": "x"}}]},
        'map "x" is of the wrong type',
    ),
    "a rule of text": ({"leave_out": "x", "lines": []}, '"x" needs when, with a column'),
    "a rule without a reason": (
        {"leave_out": [{"when": {"column": "x", "empty": True}}], "lines": []},
        "needs when, with a column, and why",
    ),
    "a condition without a test": (
        {"leave_out": [{"when": {"column": "x"}, "why": "y"}], "lines": []},
        "needs one of is, empty or same_as",
    ),
}


@pytest.mark.parametrize("what", BAD_RECIPES)
def test_a_bad_recipe_is_named(tmp_path: Path, what: str) -> None:
    written, reason = BAD_RECIPES[what]
    (tmp_path / "mine.json").write_text(json.dumps(written))
    with pytest.raises(ValueError) as caught:
        load_recipe(str(tmp_path / "mine.json"))
    assert str(caught.value).startswith("recipe mine: ")
    assert reason in str(caught.value)


def test_recipes_by_name(sqlite_store: Store, tmp_path: Path) -> None:
    names = sorted(file.stem for file in SHIPPED.glob("*.json"))
    assert [load_recipe(name).name for name in names] == names == ["pandalm", "tulu_human_eval"]
    with pytest.raises(ValueError, match='"none" unknown: name a file, or use pandalm or tulu'):
        load_recipe("none")
    (tmp_path / "mine.json").write_text("{\n'")
    with pytest.raises(ValueError, match=r"mine\.json:2: not JSON"):
        load_recipe(str(tmp_path / "mine.json"))
    with pytest.raises(ValueError, match="leave --as out, or the recipe"):
        import_file(sqlite_store, tmp_path, shape="argilla", recipe=recipe())


# -- the published figures, where the published files are at hand ------------------------


def figures(store: Store) -> Quality:
    return figures_by_source(store)


@shared
def test_pandalm_s_figures(sqlite_store: Store) -> None:
    report = run(sqlite_store, Path(SHARED) / "pandalm" / "testset-v1.json", "pandalm")
    assert sum(report.left_out.values()) == 54 + 6
    assert len(standing(sqlite_store)) == 3 * 863  # 136 rows ask a question again
    found = figures(sqlite_store)
    assert [round(k.figure.value or 0, 3) for k in found.kappas] == [0.852, 0.879, 0.862]
    (majority,) = found.majorities
    assert majority.counts == {"tie": 105, "a": 422, "b": 472, "none": 0}
    assert round(found.team.alphas.pairwise.value or 0, 3) == 0.864
    longer = found.longer_wins_majority
    assert (round(longer.value or 0, 3), longer.n) == (0.674, 894)


@shared
def test_tulu_s_figures(sqlite_store: Store) -> None:
    """All but agreement on pairs, which is .556 of 63 and .607 of 56 where texts that are compared
    with themselves count, as ties."""
    file = Path(SHARED) / "tulu_human_eval" / "tulu_human_eval.jsonl"
    report = run(sqlite_store, file, "tulu_human_eval")
    assert sorted(report.left_out.values()) == [1, 40]
    found = figures(sqlite_store)
    seen = [
        (pair.first_acceptance, pair.second_acceptance, pair.acceptance_agreement)
        for pair in found.model_pairs
    ]
    assert [tuple(f.value and round(f.value, 3) for f in three) for three in seen] == [
        *((0.901, 0.792, 0.905), (0.789, 0.687, 0.786)),
        (0.813, 0.723, None),
    ]
    assert [tuple(f.n for f in three) for three in seen] == [
        *((332, 332, 2 * 63), (332, 332, 2 * 56), (332, 332, 4))
    ]
    first, second, _ = (pair.preference_agreement for pair in found.model_pairs)
    assert (round(first.value or 0, 3), first.n) == (0.548, 62)
    assert (round(second.value or 0, 3), second.n) == (0.6, 55)
    alphas = found.team.alphas
    assert round(alphas.binary.value or 0, 2) == 0.48
    assert round(alphas.strength.value or 0, 2) == 0.37
    assert round(found.longer_wins.value or 0, 3) == 0.681
