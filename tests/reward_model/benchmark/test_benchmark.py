"""`coach benchmark reward`: the figures by hand, and the command on a made-up file."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data.schema import JsonObject
from data.stats.bootstrap import Bootstrap
from reward_model.benchmark import ceiling, report, run, simulation, uncertainty
from reward_model.benchmark.accuracy import BASELINES, BOTH, CHOSEN, LONGER, WORDS
from reward_model.benchmark.ceiling import (
    Heights,
    heights_of_parts,
    of_all_prompts,
    others_are_right,
    share_of_ceiling,
    whole_prompts,
)
from reward_model.benchmark.speed import JUDGEMENTS
from reward_model.benchmark.starting import ALONE, STARTED
from reward_model.benchmark.tables import UNKNOWN, cell
from reward_model.benchmark.uncertainty import (
    APART,
    ENSEMBLE,
    EXCESS,
    LEAD,
    POOLED,
    POSTERIOR,
    PRIOR,
    RESIDUAL,
    HeldOutErrors,
    held_out_errors,
    uncertainty_figures,
)
from reward_model.benchmark.worlds import draw_judgements, first, world
from reward_model.dataset.examples import A, B, Examples, Pairs
from reward_model.evaluation.cross_validation import Candidate, Model
from tests.support.commands import assert_refused, command

TOOK = {
    "fit": {"clock": [2.0, 3.0], "processor": [1.0, 1.0]},
    "refit": {"clock": [0.4, 1.4, 0.9], "processor": [0.3, 0.3, 0.3]},
}


def pairs(*rows: tuple[int, int, int, int]) -> Pairs:
    """Of (a, b, outcome, annotator)."""
    a, b, outcome, annotator = np.array(rows, np.int64).T
    return Pairs(a, b, outcome, np.zeros(len(a)), np.zeros(len(a), np.int64), annotator)


# -- the human ceiling


def test_the_majority_of_the_others_by_hand() -> None:
    """Three on one pair, one of them against the others and one shown it the other way round; two
    who differ on a second, with a tie beside; one alone on a third."""
    examples = Examples(
        tuple(range(6)),  # type: ignore[arg-type]
        np.array([0, 0, 1, 1, 2, 2]),
        ("ann", "bob", "cid"),
        pairs((0, 1, A, 0), (1, 0, B, 1), (0, 1, B, 2),
              (2, 3, A, 0), (2, 3, B, 1), (2, 3, 2, 2), (4, 5, A, 0)),
    )  # fmt: skip
    right, prompt = others_are_right(examples)
    assert right.tolist() == [0.5, 0.5, 0, 0, 0]
    assert prompt.tolist() == [0, 0, 0, 1, 1]


def twice_judged(n: int) -> Examples:
    """Pairs of n prompts, each judged by two who agree on three of four."""
    rows = []
    for i in range(n):
        rows += [(2 * i, 2 * i + 1, A, 0), (2 * i, 2 * i + 1, B if i % 4 == 0 else A, 1)]
    return Examples(
        tuple(range(2 * n)),  # type: ignore[arg-type]
        np.repeat(np.arange(n), 2),
        ("ann", "bob"),
        pairs(*rows),
    )


def heights(n: int, ours: float) -> Heights:
    """Two pairs a prompt: the head right about a share of them, the best baseline about half."""
    right = (np.arange(2 * n) < ours * 2 * n).astype(float)
    half = np.tile([0.0, 1.0], n)
    correct = {CHOSEN: right, LONGER: half, WORDS: 0 * half, BOTH: 0 * half}
    return Heights(np.repeat(np.arange(n), 2), correct)


def test_the_share_of_the_ceiling_by_hand() -> None:
    n = 40
    found = share_of_ceiling(heights(n, 0.6), twice_judged(n), Bootstrap(n))
    assert found["best"] == LONGER and found["baseline"]["value"] == pytest.approx(0.5)
    assert found["ceiling"]["value"] == pytest.approx(0.75)
    assert found["share"]["value"] == pytest.approx((0.6 - 0.5) / (0.75 - 0.5))
    assert found["share"]["low"] < 0.4 < found["share"]["high"]


def test_a_baseline_at_the_ceiling_leaves_no_share() -> None:
    n = 40
    found = heights(n, 0.9)
    all_right = Heights(found.prompt, {**found.correct, BOTH: np.ones(2 * n)})
    row = share_of_ceiling(all_right, twice_judged(n), Bootstrap(n))
    assert row["share"]["value"] is None and report.share_cell(row) == report.NO_ROOM
    assert report.NO_ROOM in report.ceiling_table({"all": row})


def test_nothing_judged_twice_is_too_little_for_a_ceiling() -> None:
    n = 40
    whole = twice_judged(n)
    once = Examples(whole.completions, whole.prompt, whole.annotators,
                    pairs(*((2 * i, 2 * i + 1, A, 0) for i in range(n))))  # fmt: skip
    found = share_of_ceiling(heights(n, 0.6), once, Bootstrap(n))
    assert found["share"]["value"] is None and found["ceiling"]["value"] is None
    assert cell(found["share"]) == UNKNOWN


def test_parts_of_a_file() -> None:
    made = world(0, prompts=80, dims=4)
    examples = draw_judgements(made, np.random.default_rng(0), 300, 300, 300, 80)
    some = whole_prompts(examples, 200, np.random.default_rng(1))
    assert 200 <= len(some) < 260
    kept = set(made.prompt[some.pairs.a])
    assert len(some.pairs) == np.isin(made.prompt[examples.pairs.a], list(kept)).sum()
    assert len(of_all_prompts(examples, 200, np.random.default_rng(1))) == 200
    texts: Any = SimpleNamespace(examples=first(examples, 200))
    assert heights_of_parts(texts, 1.0, whole_prompts, 1, 0, lambda words: None) is None


# -- what standard deviations predict


def test_rank_correlations_by_hand() -> None:
    n = 60
    up, down = np.arange(n, dtype=float), -np.arange(n, dtype=float)
    parts = [
        HeldOutErrors(np.arange(n), {POSTERIOR: up**3}, {APART: up, EXCESS: down, RESIDUAL: down})
    ]
    found = uncertainty_figures(parts, Bootstrap(n))[POSTERIOR]
    assert found[APART]["value"] == pytest.approx(1)
    assert found[RESIDUAL]["value"] == pytest.approx(-1)
    assert found[EXCESS]["value"] == pytest.approx(-1)


def test_the_excess_of_single_answers_tells_in_the_mean_where_probabilities_are_wrong() -> None:
    """Where the standard deviation is large, probabilities are said to be surer than they are."""
    n, rng = 4000, np.random.default_rng(0)
    sd = rng.random(n)
    true = rng.random(n)
    p = np.clip(true + np.where(rng.random(n) < 0.5, -0.4, 0.4) * sd, 0.01, 0.99)
    y = (rng.random(n) < true).astype(float)
    excess = np.square(p - y) - p * (1 - p)
    parts = [HeldOutErrors(np.arange(n), {POSTERIOR: sd}, {EXCESS: excess})]
    assert uncertainty_figures(parts, Bootstrap(n))[POSTERIOR][EXCESS]["low"] > 0


def test_a_posterior_and_an_ensemble_predict_how_far_a_reward_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some prompts have completions that are far apart: there rewards are less known."""
    made = world(0, prompts=120, dims=6)
    made.features[made.prompt % 2 == 0] *= 4
    examples = draw_judgements(made, np.random.default_rng(0), 400, 0, 0, 120)
    monkeypatch.setattr(uncertainty, "HALVINGS", 2)
    found = held_out_errors(Candidate.of(made.features), Model(), examples, 20.0, 0)
    assert sum(len(part.prompt) for part in found) == 2 * (examples.pairs.outcome <= B).sum()
    figures = uncertainty_figures(found, Bootstrap(examples.prompts))
    assert list(figures) == [PRIOR, POSTERIOR, ENSEMBLE, POOLED]
    for name in (POSTERIOR, ENSEMBLE):
        assert figures[name][APART]["low"] > 0.2, name


# -- simulated worlds


def test_several_judge_one_pair_and_share_what_features_do_not_show() -> None:
    made = world(0, prompts=60, careless=False)
    made.judges, made.pair_noise = 3, 40.0
    asked = draw_judgements(made, np.random.default_rng(0), 300, 0, 0, 60).pairs
    for name in ("a", "b"):
        assert len(set(map(tuple, getattr(asked, name).reshape(-1, 3)[:, [0, 0]]))) <= 100
        assert (np.ptp(getattr(asked, name).reshape(-1, 3), axis=1) == 0).all()
    people = asked.annotator.reshape(-1, 3)
    assert all(len(set(row)) == 3 for row in people.tolist())
    agree = [a == b for row in asked.outcome.reshape(-1, 3).tolist()
             for a, b in combinations(row, 2)]  # fmt: skip
    assert np.mean(agree) > 0.9


def test_the_first_of_each_kind() -> None:
    made = draw_judgements(world(0, prompts=20), np.random.default_rng(0), 30, 5, 9, 20)
    assert first(made, 7).kinds == {"pairwise": 7, "binary": 5, "scalar": 7}


def test_a_small_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the world that the likelihood assumes intervals hold; heavy tails have no ECE."""
    monkeypatch.setattr(simulation, "SIZES", (180,))
    monkeypatch.setattr(simulation, "SEEN", 60)
    monkeypatch.setattr(simulation, "UNSEEN", 20)
    monkeypatch.setattr(simulation, "DIMENSIONS", 4)
    monkeypatch.setattr(simulation, "MANY", 1500)
    kinds = simulation.KINDS[0], simulation.WorldKind("heavy", heavy=1.0)
    rows = [
        row for kind in kinds for row in simulation.simulate_worlds(kind, 3, 0, lambda words: None)
    ]
    assert [(row["kind"], row["judgements"]) for row in rows] == [
        (simulation.KINDS[0].name, 180), (simulation.KINDS[0].name, simulation.FEW), ("heavy", 180)
    ]  # fmt: skip
    assert rows[0]["coverage"]["value"] > 0.8 and 0.5 < rows[0]["slope"]["value"] < 1.4
    assert rows[1]["ece"]["value"] < 0.2
    assert all(row["coverage"]["n"] == 3 for row in (rows[0], rows[2]))


# -- bars


def test_bars_of_worlds() -> None:
    def told(value: float) -> JsonObject:
        return {"value": value, "low": value - 0.1, "high": value + 0.1, "n": 3}

    rows = [
        {"kind": "one", "judgements": 180, "coverage": told(0.91)},
        {"kind": "one", "judgements": 360, "coverage": told(0.97)},
        {"kind": "one", "judgements": 201, "ece": told(0.051)},
    ]
    bars = report.bars_of_worlds(rows, TOOK)
    assert [bar.met for bar in bars] == [False, True, False, True]
    assert [bar.verdict for bar in bars] == ["NOT met", "met", "NOT met", "met"]
    assert "0.90 s" in report.bars_table(bars) and f"{JUDGEMENTS:,}" in report.speed_table(TOOK)


# -- the command


@pytest.fixture(autouse=True)
def _no_worlds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "simulate_worlds", lambda kind, worlds, seed, say: [])
    monkeypatch.setattr(run, "seconds", lambda seed, say: TOOK)


def judgements(n: int, people: int = 2) -> list[JsonObject]:
    """Comparisons of n prompts: a friendly answer is preferred, and is the longer one by turns."""
    rows = []
    for i in range(n):
        good = "Thank you, a friendly one." + " Plainly said." * (i % 3)
        poor = "No." + " Not at all today, nor later." * (i % 2)
        for person in range(people):
            value = "b" if (i + person) % 7 == 0 else "tie" if i % 11 == 0 else "a"
            rows.append(
                {"type": "judgement", "kind": "pairwise", "prompt": f"Question {i}?",
                 "completion_a": f"{good} {i}", "completion_b": f"{poor} {i}", "value": value,
                 "annotator": f"person {person}"}
            )  # fmt: skip
    return rows


def write(path: Path, rows: list[JsonObject]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def measured(*words: Any) -> str:
    done = command("reward_model", "benchmark", "reward", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_from_judgements_to_tables(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceiling, "SMALL", 60)
    monkeypatch.setattr(uncertainty, "HALVINGS", 1)
    monkeypatch.setattr(uncertainty, "MEMBERS", 2)
    file = write(tmp_path / "made_up.jsonl", judgements(60))
    place, out = tmp_path / "work", tmp_path / "figures.json"
    words = (file, "--policy", tiny_model, "--workspace", place, "--out", out)
    said = measured(*words, "--draws", 1)
    kept = json.loads(out.read_text())
    figures = kept["files"][str(file)]
    assert figures["judgements"] == 120 and figures["prompts"] == 60
    rows = figures["accuracy"]
    assert next(iter(rows)) == CHOSEN and list(rows)[-3:] == list(BASELINES) and len(rows) > 4
    assert rows[CHOSEN]["chosen_above"] is None and rows[WORDS]["accuracy"]["value"] > 0.7
    assert all(row["log_loss"]["value"] > 0 for row in rows.values())
    assert rows[LONGER]["balanced"]["value"] == pytest.approx(0.5)
    whole = figures["ceiling"]["all judgements"]
    assert 0.5 < whole["ceiling"]["value"] < 1
    few = [figures["ceiling"][f"60, {name}"] for name in ceiling.PARTS]
    assert all(55 < row["accuracy"]["n"] < 85 for row in few)
    assert {row["ceiling"]["n"] for row in (whole, *few)} == {whole["ceiling"]["n"]}
    started = figures["starting"]["50"]
    assert started["above alone"]["value"] == pytest.approx(
        started[STARTED]["value"] - started[ALONE]["value"]
    )
    assert set(figures["uncertainty"][PRIOR]) == {APART, EXCESS, RESIDUAL}
    assert set(figures["uncertainty"][POSTERIOR]) == {APART, EXCESS, RESIDUAL, LEAD}
    bars = {bar["measured"]: bar for bar in figures["bars"]}
    assert bars["balanced accuracy"]["met"] is (rows[CHOSEN]["balanced"]["value"] >= 0.68)
    assert "share of the ceiling at 60, some judgements of all prompts" in bars
    for words_of_table in (CHOSEN, LONGER, "NOT met", "| met |", "share of the ceiling", "cores"):
        assert words_of_table in said
    assert sorted(path.name for path in place.iterdir()) == ["features"]


def test_without_a_file_worlds_alone_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    said = measured("--workspace", tmp_path / "work", "--out", out, "--worlds", 2)
    assert json.loads(out.read_text())["files"] == {}
    assert "2 of each kind" in said and "refit" in said


def test_what_cannot_be_measured_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    at = ("--policy", tiny_model, "--workspace", tmp_path / "work")
    benchmark = ("reward_model", "benchmark", "reward")
    assert_refused(command(*benchmark, tmp_path / "none.jsonl", *at), "none.jsonl", "not found")
    few = write(tmp_path / "few.jsonl", judgements(5))
    assert_refused(command(*benchmark, few, *at), "few.jsonl", "5 prompts", "needs 30")
    empty = write(tmp_path / "empty.jsonl", [{"type": "prompt", "prompt": "Why?"}])
    assert_refused(command(*benchmark, empty, *at), "no judgements")
    assert_refused(command(*benchmark, few, *at, "--recipe", "pandalm", "tulu"), "2 recipes", "one")
    assert_refused(command(*benchmark, *at, "--worlds", 1), "worlds 1 not allowed")
