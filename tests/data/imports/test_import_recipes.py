"""Published data sets, and tables of one's own, as lines of the exchange format."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.imports import import_file
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
    return import_file(store, file, recipe=name)


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
        "response2 without text: read as an empty answer": 1,
    }
    judged = store.ledger.judgements(["pairwise"])
    found = [(j.prompt.text, j.task.a.text, j.answer.value) for j in judged]
    assert {j.shown_first for j in judged} == {None}
    assert found == [
        *(("q\n\nmore", "True", value) for value in ("a", "b", "tie")),
        *(("q", "x", value) for value in ("b", "a", "tie")),  # asked again, sides exchanged
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
        "completion_a without text: read as an empty answer": 1,
    }
    assert report.new == {"prompt": 2, "judgement": 11}
    (pair, empty) = store.ledger.judgements(["pairwise"])
    assert (pair.answer.value, pair.answer.strength, pair.shown_first) == ("b", 1, None)
    assert pair.created_at == "2023-05-21T20:54:05.000000Z"
    assert (empty.task.a.text, pair.prompt.text) == ("", "q")
    assert Counter(v for _, kind, v in standing(store) if kind == "binary") == {"good": 2, "bad": 3}


def test_a_table_of_ones_own_is_read_by_a_function(sqlite_store: Store, tmp_path: Path) -> None:
    def stars(row: dict[str, Any], left_out: Counter[str]) -> Iterator[dict[str, Any]]:
        if row["checked"] == "no":
            left_out["not checked"] += 1
            return
        judged = {"type": "judgement", "kind": "scalar", "prompt": row["question"]}
        yield judged | {"completion": row["reply"], "value": row["stars"]}

    (tmp_path / "in.csv").write_text("question,reply,stars,checked\nq,x,7,yes\nq,y,3,no\n")
    report = import_file(sqlite_store, tmp_path / "in.csv", recipe=stars, annotator="ann")
    assert report.left_out == {"not checked": 1}
    assert report.read_as == "recipe stars, CSV"
    assert standing(sqlite_store) == [("ann", "scalar", "7")]  # a number again


def test_columns_are_renamed_and_left_out(sqlite_store: Store, tmp_path: Path) -> None:
    columns = {"question": "prompt", "best": "chosen", "worst": "rejected", "source": ""}
    (tmp_path / "in.csv").write_text("question,best,worst,source\nq,x,y,web\n")
    report = import_file(sqlite_store, tmp_path / "in.csv", columns=columns, annotator="ann")
    assert report.read_as == "TRL preference, CSV"
    assert standing(sqlite_store) == [("ann", "pairwise", "a")]


BAD_ROWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "a column that is not there": ("pandalm", {}, 'column "instruction" is missing: it has idx'),
    "a value of no meaning": (
        *("pandalm", PANDA | {"annotator2": 3}),
        "annotator2 3 not allowed: use 0, 1 or 2",
    ),
    "a number for a text": ("pandalm", PANDA | {"response1": 3}, "completion_a 3 not allowed"),
    "one model": ("pandalm", PANDA | {"cmp_key": "m"}, 'cmp_key "m" names one model'),
    "a word of no meaning": (
        *("tulu_human_eval", TULU | {"completion_a_is_acceptable": "perhaps"}),
        'completion_a_is_acceptable "perhaps" not allowed: use yes or no',
    ),
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_row_that_a_recipe_cannot_read(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    name, row, reason = BAD_ROWS[what]
    good = PANDA if name == "pandalm" else TULU
    file = write(tmp_path / "in.jsonl", good, row or {"idx": 1})
    with pytest.raises(ValueError) as caught:
        import_file(sqlite_store, file, recipe=name)
    assert str(caught.value).startswith(f"{file}:2: ")
    assert reason in str(caught.value)
    assert sqlite_store.content.prompts() == []
    assert import_file(sqlite_store, file, tmp_path / "bad", recipe=name).skipped == 1


def test_recipes_by_name(sqlite_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'"mine\.json" unknown: use pandalm or tulu_human_eval;'):
        import_file(sqlite_store, write(tmp_path / "in", PANDA), recipe="mine.json")
    with pytest.raises(ValueError, match="leave --as out, or the recipe"):
        import_file(sqlite_store, tmp_path, shape="argilla", recipe="pandalm")


# -- the published figures, where the published files are at hand ------------------------


def figures(store: Store) -> Quality:
    return figures_by_source(store)


@shared
def test_pandalm_s_figures(sqlite_store: Store) -> None:
    """All but how often the first of two answers wins, .422 of 999, and kappas of .852, .879 and
    .862: 136 rows ask a question again, some with its sides exchanged, which then face one way."""
    report = run(sqlite_store, Path(SHARED) / "pandalm" / "testset-v1.json", "pandalm")
    assert sum(report.left_out.values()) == 54 + 6
    assert len(standing(sqlite_store)) == 3 * 863
    found = figures(sqlite_store)
    assert [round(k.figure.value or 0, 3) for k in found.kappas] == [0.852, 0.878, 0.861]
    (majority,) = found.majorities
    assert majority.counts == {"tie": 105, "a": 407, "b": 487, "none": 0}
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
    assert round(found.longer_wins.value or 0, 3) == 0.682
