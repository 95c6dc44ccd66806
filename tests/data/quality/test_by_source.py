"""What a source asked several times counts several times, where that is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.imports import import_file
from data.quality import Quality
from data.quality.store_report import quality_report
from data.quality.text import quality_lines as printed_lines
from data.store import Store
from tests.benchmarks.published_figures import figures_by_source
from tests.data.imports.test_import_lines import BINARY, PAIR, write

ASKED = 20


def rows(item: str, **said: Any) -> list[dict[str, Any]]:
    """Two annotators on twenty pairs of one item of a source each."""
    return [
        {**PAIR, "prompt": f"q{n}", "annotator": who, "external_id": f"{item}{n}", **said}
        for n in range(ASKED)
        for who in ("ann", "bo")
    ]


def found(store: Store, folder: Path, *lines: dict[str, Any]) -> tuple[Quality, Quality]:
    """Figures by question and by source."""
    import_file(store, write(folder / "in.jsonl", *lines))
    return quality_report(store).quality, figures_by_source(store)


def test_one_question_of_two_items_counts_twice(store: Store, tmp_path: Path) -> None:
    turned = {"completion_a": PAIR["completion_b"], "completion_b": PAIR["completion_a"]}
    plain, apart = found(store, tmp_path, *rows("x"), *rows("y", **turned))
    assert plain.team.agreement.with_ties.n == ASKED
    assert apart.team.agreement.with_ties.n == 2 * ASKED
    assert [kappa.figure.n for kappa in apart.kappas] == [2 * ASKED]


def test_of_an_item_the_last_word_counts(store: Store, tmp_path: Path) -> None:
    early, late = {"created_at": "2026-01-01T00:00:00Z"}, {"created_at": "2026-01-02T00:00:00Z"}
    back = {"created_at": "2026-01-03T00:00:00Z", "retracted_at": "2026-01-04T00:00:00Z"}
    again = [*rows("x", **late, value="tie"), *rows("x", **early), *rows("x", **back, value="b")]
    _, apart = found(store, tmp_path, *again)
    assert (apart.team.ties.n, apart.team.ties.value) == (2 * ASKED, 1.0)


def test_kappas_majorities_and_models_are_printed(store: Store, tmp_path: Path) -> None:
    said = {"model_a": "m1", "model_b": "m2"}
    lines = [row | said | {"annotator": who} for row in rows("x") for who in ("ann", "bo", "cy")]
    lines[0] = lines[0] | {"value": "b"}
    plain, _ = found(store, tmp_path, *lines)
    printed = [line.split() for line in printed_lines(plain)]
    assert ["pairwise", "20", "0", "b,", "0", "tie,", "20", "a,", "0", "none"] in printed
    assert any(line[:4] == ["ann", "and", "bo", "pairwise"] for line in printed)
    assert any(line[:3] == ["m1", "v", "m2"] and len(line) == 11 for line in printed)


def test_an_item_says_whose_answer_it_asks_about(store: Store, tmp_path: Path) -> None:
    """Two models gave one answer: of each item it is the answer of the one that it names."""
    lines = [
        {**BINARY, "prompt": f"q{n}", "external_id": f"x{n}#{model}", "model": model}
        | {"value": model == "m1"}
        for n in range(ASKED)
        for model in ("m1", "m2")
    ]
    plain, apart = found(store, tmp_path, *lines)
    assert [rate.acceptance.value for rate in plain.models] == [0.0, 0.0]
    assert [(rate.model, rate.acceptance.value) for rate in apart.models] == [
        *(("m1", 1.0), ("m2", 0.0))
    ]
    (pair,) = apart.model_pairs
    assert (pair.first_acceptance.n, pair.second_acceptance.value) == (ASKED, 0.0)
