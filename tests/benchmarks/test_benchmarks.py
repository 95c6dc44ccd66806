"""The benchmarks find what they look for."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from data import Store
from data.schema import Answer
from reward_model.benchmark.worlds import accuracy, calibration_error, draw_judgements, world
from tests.benchmarks.figures import Figure, count, markdown, milliseconds, write
from tests.benchmarks.ground import Ground, fill
from tests.benchmarks.labeler import checked, claims, mark_judged
from tests.benchmarks.reward import (
    JOINT,
    MORE,
    Method,
    all_as_pairs,
    bradley_terry,
    needed,
    regression,
)

CLEAN = {"lost": 0, "duplicated": 0, "over-assigned": 0}


def test_the_check_finds_planted_faults(store: Store, store_url: str, tmp_path: Path) -> None:
    fill(Ground(tmp_path, store_url), 60, wanted=(1, 2, 3))
    people = [store.people.add(name, "annotator") for name in ("ann", "bob")]
    tokens = []
    for i in range(40):
        held = store.ledger.claim(people[i % 2], random.Random(i))
        assert held is not None
        value = {"pairwise": "tie", "binary": "bad", "scalar": "3"}[held.task.kind]
        store.ledger.submit(people[i % 2], held.id, Answer(value), f"token-{i}")
        tokens.append(f"token-{i}")
    assert store.ledger.undo(people[0])
    del tokens[38]
    assert checked(store, tokens) == CLEAN
    assert checked(store, [*tokens, "token-38"]) == CLEAN | {"lost": 1}
    assert checked(store, [*tokens, "token-1"]) == CLEAN | {"duplicated": 1}

    with store.database.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO judgements (task_id, annotator_id, assignment_id, kind, value,"
                " client_token, created_at) SELECT task_id, annotator_id, assignment_id, kind,"
                " value, 'again', created_at FROM judgements WHERE client_token = 'token-5'"
            )
        )
    found = checked(store, tokens)
    assert (found["lost"], found["duplicated"]) == (0, 1)
    assert found["over-assigned"] >= 1


def test_marked_tasks_are_as_if_judged(store: Store, store_url: str, tmp_path: Path) -> None:
    fill(Ground(tmp_path, store_url), 1200, wanted=(3,))
    ahead, other = (store.people.add(name, "annotator") for name in ("ahead", "other"))
    mark_judged(store, ahead, 0, 100)
    assert checked(store, []) == CLEAN
    held = store.ledger.claim(ahead, random.Random(0))
    assert held is not None and held.task.position == 101
    assert len(claims(store, [ahead, other])) == 400
    assert checked(store, []) == CLEAN


def test_the_table(tmp_path: Path) -> None:
    late = Figure("load", "<= 1 s", "p99", milliseconds(1.2), False)
    figures = {
        "sqlite": [count("load", "errors", 0), late, Figure("load", "", "rate", "9.9")],
        "postgresql": [count("load", "errors", 0)],
    }
    assert markdown(figures).splitlines() == [
        "| bar | wanted | measured | SQLite | PostgreSQL | met? |",
        "|---|---|---|---|---|---|",
        "| load | 0 | errors | 0 | 0 | yes |",
        "| load | <= 1 s | p99 | 1200 ms |  | NO |",
        "| load |  | rate | 9.9 |  |  |",
    ]
    for name in ("figures.md", "figures.json"):
        write(figures, tmp_path / name)
        assert "errors" in (tmp_path / name).read_text()


def test_how_many_times_the_judgements() -> None:
    """A method that is with 4 n judgements what joint is with n, in every world."""
    curves = {(JOINT, 180, 1.0): [0.8, 0.8, 0.8]}
    curves |= {("other", n, 1.0): [0.8 if n >= 720 else 0.7] * 3 for n in MORE}
    assert needed(curves, "other", 180, 3) == "4.0 [4.0, 4.0]"
    curves |= {("worse", n, 1.0): [0.7] * 3 for n in MORE}
    assert needed(curves, "worse", 180, 3) == "over 32 [over 32, over 32]"


def test_the_calibration_error_by_hand() -> None:
    said, true = np.array([0.9, 0.1, 0.55, 0.45]), np.array([0.7, 0.3, 0.55, 0.45])
    assert calibration_error(said, true) == pytest.approx(0.1)
    assert calibration_error(true, true) == pytest.approx(0)


@pytest.mark.parametrize("method", [bradley_terry, regression, all_as_pairs])
def test_ordinary_methods_learn_in_a_simulated_world(method: Method) -> None:
    made = world(0, prompts=150, dims=8)
    examples = draw_judgements(made, np.random.default_rng(0), 300, 300, 300, 100)
    assert accuracy(made, method(made, examples, 8.0), 100) > 0.8
