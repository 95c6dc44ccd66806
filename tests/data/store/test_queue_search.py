"""Where the search for the next task begins is a shortcut: it never changes what is found."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import sqlalchemy as sa

from data.schema import Annotator, Answer, Completion, Record, Task, make_prompt
from data.store import Store, assignments
from data.store import tables as t
from data.store.history import insert_records
from tests.support.content import claim_ahead

STEPS = 150
LONG_AGO = "2020-01-01T00:00:00.000000Z"


def task(n: int, wanted: int, position: float) -> Task:
    return Task("binary", Completion(make_prompt(f"question {n}"), "x"), None, wanted, position)


def next_for(store: Store, who: Annotator, from_the_start: bool) -> str | None:
    """The task that a claim would find now; nothing is changed."""
    with store.database.engine.connect() as connection, connection.begin() as transaction:
        if from_the_start:
            connection.execute(sa.update(t.annotators).values(queue_from=None))
        found = assignments.next_task(connection, who, None)
        transaction.rollback()
    return found[0] if found else None


def queue_from(store: Store, who: Annotator) -> float | None:
    query = sa.select(t.annotators.c.queue_from).where(t.annotators.c.id == who.id)
    with store.database.read() as connection:
        return connection.scalar(query)


class Office:
    """People who do at random all that can be done to a queue."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.rng = store, random.Random(seed)
        self.people = [store.people.add(f"person {i}", "annotator") for i in range(4)]
        self.people.append(store.people.add("lead", "lead"))
        self.made = 0
        self.took: Counter[str] = Counter()
        self.more_tasks()

    def more_tasks(self) -> None:
        """New tasks, at places before and behind those there are."""
        new = []
        for _ in range(6):
            self.made += 1
            place = float(self.rng.randint(-9, 9) + self.made)
            new.append(task(self.made, self.rng.choice([1, 1, 2, 3]), place))
        self.store.ledger.add_tasks(new)

    def step(self) -> None:
        who = self.rng.choice(self.people)
        steps = {
            self.answer: 12,
            self.skip: 3,
            self.undo: 3,
            self.sign_out: 2,
            self.lose_leases: 1,
            self.more_tasks: 1,
            self.read_file: 2,
        }
        step = self.rng.choices(list(steps), list(steps.values()))[0]
        step() if step in (self.lose_leases, self.more_tasks) else step(who)  # type: ignore[call-arg]
        self.took[step.__name__] += 1

    def answer(self, who: Annotator) -> None:
        for held in claim_ahead(self.store, who, self.rng, 2)[:1]:
            token = f"token {self.rng.random()}"
            self.store.ledger.submit(who, held.id, Answer("good"), token)

    def skip(self, who: Annotator) -> None:
        for held in claim_ahead(self.store, who, self.rng, 2)[:1]:
            self.store.ledger.skip(who, held.id)

    def undo(self, who: Annotator) -> None:
        self.store.ledger.undo(who)

    def sign_out(self, who: Annotator) -> None:
        self.store.ledger.release(who)

    def lose_leases(self) -> None:
        with self.store.database.write() as connection:
            connection.execute(sa.update(t.assignments).values(lease_until=LONG_AGO))

    def read_file(self, who: Annotator) -> None:
        """An answer to one of the tasks, or an answer that is taken back."""
        n = self.rng.randint(1, self.made)
        said = Record(
            task(n, 0, 0.0),
            who.name,
            Answer("bad"),
            created_at=LONG_AGO,
            retracted_at=self.rng.choice([None, LONG_AGO]),
        )
        with self.store.database.write() as connection:
            insert_records(connection, [said])


@pytest.mark.parametrize("seed", range(2))
def test_the_search_finds_what_a_search_from_the_start_finds(store: Store, seed: int) -> None:
    office = Office(store, seed)
    for _ in range(STEPS):
        office.step()
        for who in office.people:
            expected = next_for(store, who, from_the_start=True)
            assert next_for(store, who, from_the_start=False) == expected
    assert set(office.took) == {
        *("answer", "skip", "undo", "sign_out", "lose_leases", "more_tasks", "read_file")
    }
    begun = [queue_from(store, who) for who in office.people]
    assert all(place is not None and place > 0 for place in begun)  # it does save something


def test_nobody_passes_over_a_task_that_is_reopened_meanwhile(store: Store) -> None:
    """All at once: claims, answers taken back, sign-outs, imports."""
    office = Office(store, 0)
    for _ in range(5):
        office.more_tasks()

    def work(who: Annotator) -> None:
        own = random.Random(who.id)
        steps = [office.answer, office.undo, office.read_file, office.skip, office.sign_out]
        for _ in range(40):
            own.shuffle(steps)
            step = steps[0]
            with suppress(ValueError):  # "this task has all its answers already"
                step(who)

    with ThreadPoolExecutor(len(office.people)) as pool:
        for done in [pool.submit(work, who) for who in office.people]:
            done.result(60)
    for who in office.people:
        expected = next_for(store, who, from_the_start=True)
        assert next_for(store, who, from_the_start=False) == expected


def test_a_lead_made_of_an_annotator_is_asked_what_annotators_skipped(store: Store) -> None:
    store.ledger.add_tasks([task(n, 1, n) for n in range(3)])
    rng = random.Random(0)
    for name in ("a", "b", "c"):
        who = store.people.add(name, "annotator")
        held = store.ledger.claim(who, rng)
        assert held is not None
        store.ledger.skip(who, held.id)
    dana = store.people.add("dana", "annotator")
    held = store.ledger.claim(dana, rng)
    assert held is not None and held.task.position == 1
    store.ledger.release(dana)
    promoted = store.people.accept(store.people.invite("lead", "dana"), "dana", "hash")
    held = claim_ahead(store, promoted, rng, 2)
    assert sorted(one.task.position for one in held) == [0, 1]
