"""Answers of several models in one queue: who is compared with whom, and that nobody can tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data import runs
from data.schema import Completion, Generation, make_prompt
from data.settings import as_config
from data.splits import split_of
from data.store import Store
from grpo.config import SampleSettings
from grpo.sample import sample
from labeler.rating import actions
from labeler.rating.api import state_json
from tests.support.endpoint import Fake, Reply, serving

OLD, NEW = "the-old-model", "the-new-model"


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving() as running:
        running.answer = lambda n, body: Reply(f"Text {body['seed']} of the second kind.")
        yield running


def fill(store: Store, model: str = OLD, prompts: int = 8, each: int = 2) -> None:
    """Answers of another model to prompts that are not held out."""
    asked = [p for p in (make_prompt(f"Question {i}?") for i in range(40)) if split_of(p) != "test"]
    store.content.add_generations(
        Generation(Completion(prompt, f"Text {n} of the first kind."), model)
        for prompt in asked[:prompts]
        for n in range(each)
    )


def draw(store: Store, folder: Path, fake: Fake, **changes: Any) -> dict[str, Any]:
    asked = replace(
        SampleSettings(policy=NEW, endpoint=fake.url, per_prompt=2, tasks=40, mix=("all",)),
        **changes,
    )
    with runs.recording(store, folder, "sample", as_config(asked)) as run:
        report = sample(asked, store, run).as_json()
        run.report(report)
    return report


def models_of(store: Store) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for generation in store.content.generations():
        found.setdefault(generation.completion.id, set()).add(generation.model)
    return found


@pytest.mark.parametrize("mix", [("all",), (OLD,)])
def test_new_answers_are_compared_with_stored_ones(
    store: Store, fake: Fake, tmp_path: Path, mix: tuple[str, ...]
) -> None:
    fill(store)
    report = draw(store, tmp_path, fake, mix=mix, across=0.75)
    models = models_of(store)
    pairs = [ids for kind, ids in store.content.questions() if kind == "pairwise"]
    between = [len(set().union(*(models[i] for i in ids))) == 2 for ids in pairs]
    assert len(pairs) == 24 and 18 <= sum(between) == report["mixed"] < 24
    assert f"{sum(between)} of 24 comparisons are mixed" in report["summary"]
    singles = [ids for kind, ids in store.content.questions() if kind != "pairwise"]
    assert singles and all(models[i] == {NEW} for ids in singles for i in ids)


def test_only_the_models_that_were_named_take_part(
    sqlite_store: Store, fake: Fake, tmp_path: Path
) -> None:
    fill(sqlite_store)
    sqlite_store.content.add_generations(
        Generation(Completion(g.completion.prompt, "Text by a third."), "third")
        for g in sqlite_store.content.generations(OLD)
    )
    draw(sqlite_store, tmp_path, fake, mix=(OLD,), tasks=400, across=1.0)
    models = models_of(sqlite_store)
    asked = {m for _, ids in sqlite_store.content.questions() for i in ids for m in models[i]}
    assert asked == {OLD, NEW}


def test_a_second_round_asks_nothing_again(store: Store, fake: Fake, tmp_path: Path) -> None:
    fill(store)
    draw(store, tmp_path, fake, tasks=30)
    before = store.content.questions()
    n = store.content.counts().tasks_open
    report = draw(store, tmp_path, fake, tasks=30, seed=0)
    after = store.content.questions()
    assert report["completions"] == 16 and report["distinct"] == 16
    assert len(after - before) == report["tasks"] > 0
    assert store.content.counts().tasks_open > n
    pairs = [ids for kind, ids in after if kind == "pairwise"]
    assert len(pairs) == len(set(pairs))


@pytest.mark.parametrize(
    ("mix", "words"),
    [(("nobody",), f"mix nobody: .* use all, {OLD}"), (("nobody", OLD), "mix nobody: ")],
)
def test_an_unknown_model_in_the_mix_is_refused(
    sqlite_store: Store, fake: Fake, tmp_path: Path, mix: tuple[str, ...], words: str
) -> None:
    fill(sqlite_store)
    with pytest.raises(ValueError, match=words):
        draw(sqlite_store, tmp_path, fake, mix=mix)
    assert fake.calls == []


def test_a_mix_needs_another_model(sqlite_store: Store, fake: Fake, tmp_path: Path) -> None:
    fill(sqlite_store, NEW)
    with pytest.raises(ValueError, match="no other model has answered"):
        draw(sqlite_store, tmp_path, fake)


def test_no_model_is_named_to_whoever_judges(store: Store, fake: Fake, tmp_path: Path) -> None:
    """All that the page is sent for a mixed task, and after each answer."""
    fill(store)
    draw(store, tmp_path, fake, across=1.0, tasks=15)
    person = store.people.add("ann", "annotator")
    models, seen = models_of(store), 0
    view = actions.look(store, person)
    while view.tasks:
        sent = json.dumps(state_json(view))
        for secret in (OLD, NEW, "model", "seed", "temperature", fake.url.split("/")[2], *models):
            assert secret not in sent
        seen += view.tasks[0].kind == "pairwise"
        answer = actions.Answer(
            {"pairwise": "a", "scalar": "5", "binary": "good"}[view.tasks[0].kind]
        )
        view = actions.submit(
            store, person, view.tasks[0].assignment_id, answer, view.tasks[0].token
        )
    assert seen == 9
