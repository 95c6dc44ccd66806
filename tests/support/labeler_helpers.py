"""What the tests of the web app share: a store with tasks, people, a browser-like client."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from data import Store
from data.schema import Annotator, Answer, Completion, Generation, Kind, Prompt, Task, make_prompt
from labeler.access.auth import COOKIE, hash_password
from tests.support.content import add_content

PASSWORD = "correct horse"


def open_store(folder: Path, prompts: int = 0) -> Store:
    store = Store.open(folder)
    add_content(store, [make_prompt(f"Question number {i}?") for i in range(prompts)])
    return store


def add_person(store: Store, name: str, role: Any = "annotator") -> Annotator:
    return store.people.add(name, role, hash_password(PASSWORD))


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
        assert view.task is not None
        actions.submit(store, annotator, view.task.assignment_id, Answer("a"), view.task.token)


def request_of(store: Store, person: Annotator | None) -> Any:
    """What a Gradio handler is given: something with cookies."""
    cookies = {COOKIE: store.people.start_session(person)} if person else {}
    return SimpleNamespace(cookies=cookies)


def rng() -> random.Random:
    return random.Random(0)
