"""What a browser receives around a task does not tell why it was asked."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from data import Store
from data.schema import Annotator, Answer
from data.store import tables as t
from data.task_planning import Shares
from labeler.access.auth import COOKIE
from labeler.app import build_app
from labeler.rating.api import BADGE
from tests.support.content import claim_ahead
from tests.support.labeler_helpers import add_person, add_tasks

Json = dict[str, Any]
PURPOSES = {"queue", "gold", "repeat"}


@pytest.fixture
def ann(store: Store) -> Annotator:
    return add_person(store, "ann")


def prepare(store: Store, ann: Annotator, queued: int) -> None:
    """Answers to repeat, known answers, a queue, and every other task of it a control task."""
    store.control_tasks.set_shares(Shares(gold=0, repeat=0))
    add_tasks(store, "pairwise", 12)
    for n in range(12):
        held = store.ledger.claim(ann, random.Random(n))
        assert held is not None
        store.ledger.submit(ann, held.id, Answer("a"), f"before {n}")
    store.control_tasks.add_gold(
        {task.id: "a" for task in add_tasks(store, "pairwise", 12, wanted=0)}
    )
    add_tasks(store, "pairwise", queued)
    store.control_tasks.set_shares(Shares(gold=0.25, repeat=0.25, repeat_days=0))


def purpose_of(store: Store, assignment: int) -> str:
    query = sa.select(t.assignments.c.purpose).where(t.assignments.c.id == assignment)
    with store.database.read() as connection:
        return str(connection.scalar(query))


class Browser:
    """One annotator's page: what it asks, and what it is told."""

    def __init__(self, store: Store, folder: Path, person: Annotator) -> None:
        self._client = TestClient(build_app(store, folder, "m"), base_url="http://coach.test")
        self._client.cookies.set(COOKIE, store.people.start_session(person))
        self._headers = {BADGE: person.badge}

    def ask(self, path: str, **body: object) -> Json:
        answer = self._client.post(f"/rate/{path}", json=body, headers=self._headers)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    def past(self) -> list[Json]:
        found: list[Json] = self._client.get("/rate/past", headers=self._headers).json()
        return found


def shape(value: object) -> object:
    """Everything of an answer that is not the task's own words, numbers or token."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"[\w-]{20,}|\d+", "#", value)
    return type(value).__name__


def course(*states: Json) -> list[tuple[object, ...]]:
    """How the counters go from each state to the next, and what else a state says."""
    found: list[tuple[object, ...]] = []
    for one, two in pairwise(states):
        before, after = one["progress"], two["progress"]
        steps = [after[name] - before[name] for name in ("left", "done", "today")]
        found.append((*steps, two["kept"], two["notice"], two["state"], len(two["tasks"])))
    return found


def test_nothing_received_around_a_task_says_why_it_was_asked(
    store: Store, ann: Annotator, tmp_path: Path
) -> None:
    """Answered, taken back, answered anew, changed later; and skipped."""
    prepare(store, ann, 60)
    browser = Browser(store, tmp_path, ann)
    seen: dict[str, list[object]] = defaultdict(list)
    for n in range(40):
        first = browser.ask("tasks")
        task = first["tasks"][0]
        mine = {"assignment": task["assignment"]}
        purpose = purpose_of(store, task["assignment"])
        if n % 4 == 3:
            skipped = browser.ask("skip", **mine)
            states = [first, browser.ask("tasks")]
            seen[purpose].append(("skip", shape(skipped), shape(states), course(*states)))
            continue
        answered = browser.ask("answer", **mine, token=task["token"], value="a")
        looked = browser.ask("tasks")
        back = browser.ask("undo", **mine, token=f"undo-{n:020}")
        assert back["tasks"][0]["assignment"] == task["assignment"]
        again = browser.ask("answer", **mine, token=f"again-{n:020}", value="b")
        later = browser.ask("tasks")
        changed = browser.ask("answer", **mine, token=f"edit-{n:020}", value="tie", edit=True)
        last = browser.ask("tasks")
        past = browser.past()
        assert past[0]["assignment"] == task["assignment"]
        moved = course(first, looked, back, later, last)
        assert [step[0] for step in moved] == [-1, 1, -1, 0]
        told = [answered, looked, back, again, later, changed, last, past[0]]
        seen[purpose].append(("answer", shape(told), moved))
    assert seen.keys() == PURPOSES
    kinds = {purpose: {repr(item) for item in items} for purpose, items in seen.items()}
    assert kinds["gold"] <= kinds["queue"] and kinds["repeat"] <= kinds["queue"]
    assert all(len({repr(i) for i in items if i[0] == "answer"}) == 1 for items in seen.values())  # type: ignore[index]


def test_what_is_left_falls_by_one_to_the_end(store: Store, ann: Annotator, tmp_path: Path) -> None:
    prepare(store, ann, 20)
    browser = Browser(store, tmp_path, ann)
    lefts = []
    while (view := browser.ask("tasks"))["tasks"]:
        lefts.append(view["progress"]["left"])
        task = view["tasks"][0]
        browser.ask("answer", assignment=task["assignment"], token=task["token"], value="a")
    assert view["progress"]["left"] == 0 and lefts[0] == 20 and len(lefts) > 25
    assert all(two == one - 1 or two <= 2 for one, two in pairwise(lefts))


class Drawn(random.Random):
    """What is drawn is given; everything else comes out the same."""

    def __init__(self, draw: float) -> None:
        super().__init__(0)
        self._draw = draw

    def random(self) -> float:
        return self._draw

    def randint(self, a: int, b: int) -> int:
        return a

    def choice(self, seq: Any) -> Any:
        return seq[0]


def test_choosing_a_control_task_takes_the_same_statements(store: Store, ann: Annotator) -> None:
    """So it takes as long as choosing none; the claim that is one ahead searches all the same."""
    prepare(store, ann, 40)
    store.control_tasks.set_shares(Shares(gold=0.15, repeat=0.15, repeat_days=0))
    said: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    def claim(draw: float, count: int) -> tuple[list[str], int]:
        """The statements of one claim, undone afterwards, and how many tasks are held then."""
        said.clear()
        with pytest.raises(KeyboardInterrupt), store.database.write() as connection:
            store.ledger.lease_ahead(ann, Drawn(draw), count)
            statements, held = list(said), t.assignments.c.state == "leased"
            n = connection.scalar(sa.select(sa.func.count(t.assignments.c.id)).where(held))
            raise KeyboardInterrupt
        return statements, int(n or 0)

    sa.event.listen(store.database.engine, "before_cursor_execute", note)
    none, gold, again = (claim(draw, 1) for draw in (0.9, 0.01, 0.3))
    assert (none[1], gold[1], again[1]) == (1, 2, 2)
    assert set(none[0]) == set(gold[0]) == set(again[0])
    assert len(none[0]) + 1 == len(gold[0]) == len(again[0])  # the lease itself
    store.ledger.lease_ahead(ann, Drawn(0.01), 1)  # two are held now
    dry, _ = claim(0.9, 2)
    assert len(dry) >= len(none[0]) - 2


def test_the_last_task_of_all_may_be_a_control_task(store: Store) -> None:
    last = set()
    for n in range(12):
        person = add_person(store, f"person {n} of twelve")
        if n == 0:
            prepare(store, person, 0)
            add_tasks(store, "pairwise", 2, wanted=12)
        purpose = ""
        rng = random.Random(n)
        while held := store.ledger.claim(person, rng):
            purpose = purpose_of(store, held.id)
            store.ledger.submit(person, held.id, Answer("a"), f"{n}:{held.id}")
        last.add(purpose)
    assert last >= {"queue", "gold"}


def test_a_control_task_is_lost_and_kept_with_the_task_beside_it(
    store: Store, ann: Annotator
) -> None:
    prepare(store, ann, 16)
    rng = random.Random(1)
    held = claim_ahead(store, ann, rng, 16)
    assert {purpose_of(store, one.id) for one in held} == PURPOSES
    store.ledger.release(ann)
    assert claim_ahead(store, ann, rng, 16) == held  # signed in again: the same, in the same order
    store.ledger.release(ann)
    others = [add_person(store, f"other {n} person") for n in range(2)]
    store.control_tasks.set_shares(Shares(gold=0, repeat=0))
    for other in others:
        claim_ahead(store, other, rng, 8)
    assert claim_ahead(store, ann, rng, 16) == []


def test_a_lease_from_before_the_clock_was_set_back_is_over(store: Store, ann: Annotator) -> None:
    """Made a year ahead of time: nobody would get the task for a year."""
    add_tasks(store, "binary", 2)
    held = claim_ahead(store, ann, random.Random(0), 2)
    with store.database.write() as connection:
        connection.execute(sa.update(t.assignments).values(lease_until="2999-01-01T00:00:00Z"))
    ben = add_person(store, "ben")
    assert [one.task for one in claim_ahead(store, ben, random.Random(0), 1)] == [held[0].task]
    assert claim_ahead(store, ann, random.Random(0), 2) == [held[1]]
