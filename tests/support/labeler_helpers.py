"""What the tests of the web app share: a store with tasks, people, a browser-like client."""

from __future__ import annotations

import random
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from argon2 import PasswordHasher

from data import Store, runs
from data.schema import Annotator, Answer, Completion, Generation, Kind, Prompt, Task, make_prompt
from labeler.access.auth import COOKIE
from tests.support.content import add_content, make_store

PASSWORD = "correct horse"
HASHED = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""A hash says itself how slow it is to check: the app's own are slow on purpose."""


def open_store(folder: Path, prompts: int = 0) -> Store:
    store = Store.open(make_store(folder))
    add_content(store, [make_prompt(f"Question number {i}?") for i in range(prompts)])
    return store


def add_person(store: Store, name: str, role: Any = "annotator") -> Annotator:
    return store.people.add(name, role, HASHED)


def completions(prompt: Prompt, n: int = 2) -> list[Completion]:
    return [Completion(prompt, f"Answer {i} to {prompt.text}") for i in range(n)]


def add_tasks(store: Store, kind: Kind, n: int, wanted: int = 1) -> list[Task]:
    """n tasks of one kind over fresh prompts, at the end of the queue."""
    start = store.ledger.last_position()
    tasks = []
    for i in range(n):
        prompt = make_prompt(f"A {kind} question, number {start + i:.0f}?")
        a, b = completions(prompt)
        tasks.append(Task(kind, a, b if kind == "pairwise" else None, wanted, start + 1 + i))
    store.content.add_generations(
        [Generation(c, "a-model", {}) for t in tasks for c in (t.a, t.b) if c is not None]
    )
    store.ledger.add_tasks(tasks)
    return tasks


def add_comparisons(store: Store, annotator: Annotator, n: int) -> None:
    """n comparisons, judged."""
    from labeler.rating import actions

    add_tasks(store, "pairwise", n)
    for _ in range(n):
        view = actions.look(store, annotator)
        assert view.tasks
        actions.submit(
            store, annotator, view.tasks[0].assignment_id, Answer("a"), view.tasks[0].token
        )


def wait_for_runs(store: Store, workspace: Path) -> None:
    """Until no run goes on: those that a page starts are processes of their own."""
    deadline = time.monotonic() + 120
    while any(run.live for run in runs.refresh(store, workspace)):
        assert time.monotonic() < deadline, store.runs.list()
        time.sleep(0.05)


def request_of(store: Store, person: Annotator | None) -> Any:
    """What a Gradio handler is given: something with cookies."""
    cookies = {COOKIE: store.people.start_session(person)} if person else {}
    return SimpleNamespace(cookies=cookies)


def rng() -> random.Random:
    return random.Random(0)
