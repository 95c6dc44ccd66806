"""Gold and repeats: asked in the place of a task, kept apart from the queue."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import sqlalchemy as sa

from data import Store
from data.exports import export_file
from data.imports import import_file
from data.schema import Annotator, Answer, Task, timestamp
from data.store import tables as t
from data.task_planning import Shares
from grpo.config import SampleSettings
from grpo.sampling.intake import Intake
from labeler.rating import actions
from labeler.rating.api import state_json
from tests.support.content import claim_ahead, make_store
from tests.support.labeler_helpers import add_person, add_tasks

ALWAYS_GOLD = Shares(gold=0.5, repeat=0)
OFTEN_AGAIN = Shares(gold=0, repeat=0.5, repeat_days=0)
GIVEN = {"pairwise": "a", "binary": "good", "scalar": "7"}


@pytest.fixture
def ann(store: Store) -> Annotator:
    return add_person(store, "ann")


def answer_all(store: Store, person: Annotator, seed: int = 0) -> list[Task]:
    """Everything that comes, answered; what came, in order."""
    rng, came = random.Random(seed), []
    while held := store.ledger.claim(person, rng):
        store.ledger.submit(
            person, held.id, Answer(GIVEN[held.task.kind]), f"{person.id}:{held.id}"
        )
        came.append(held.task)
    return came


def purposes(store: Store) -> dict[str, int]:
    query = sa.select(t.judgements.c.purpose, sa.func.count()).group_by(t.judgements.c.purpose)
    with store.database.read() as connection:
        return {purpose: n for purpose, n in connection.execute(query)}  # noqa: C416


def test_shares_are_kept_and_checked(store: Store) -> None:
    assert store.control_tasks.shares() == Shares(0.15, 0.05, 0.05, 2.0)
    store.control_tasks.set_shares(ALWAYS_GOLD)
    store.control_tasks.set_shares(OFTEN_AGAIN)
    assert store.control_tasks.shares() == OFTEN_AGAIN
    for wrong in ({"gold": 0.3, "repeat": 0.3}, {"overlap": 1.5}, {"repeat_days": -1}):
        with pytest.raises(ValueError, match=r"use less|not allowed: use"):
            Shares(**wrong)


def test_gold_is_asked_of_everybody_once_and_fills_no_place(store: Store, ann: Annotator) -> None:
    known = {task.id: GIVEN[task.kind] for task in add_tasks(store, "pairwise", 4)}
    for person in [add_person(store, f"p{i}") for i in range(2)]:
        answer_all(store, person)  # the four are answered: nothing is left of them in the queue
    assert store.control_tasks.add_gold(known) == 4
    assert store.control_tasks.add_gold(known) == 0
    queued = add_tasks(store, "scalar", 3) + add_tasks(store, "pairwise", 27)
    store.control_tasks.set_shares(ALWAYS_GOLD)
    came = [task.id for task in answer_all(store, ann)]
    assert sorted(came) == sorted([*known, *(task.id for task in queued)])
    assert came[-4:] != list(known)  # in between, not at the end
    assert not known.keys() & set(came[:3])  # nor among tasks of another kind
    assert purposes(store) == {"queue": 34, "gold": 4}
    assert store.content.counts().tasks_open == 0
    assert [(j.annotator, j.answer.value, right) for j, right in store.control_tasks.answers()] == [
        ("ann", "a", "a")
    ] * 4


def test_gold_that_is_still_in_the_queue_keeps_its_places(store: Store, ann: Annotator) -> None:
    [task] = add_tasks(store, "binary", 1, wanted=2)
    add_tasks(store, "scalar", 8)
    store.control_tasks.add_gold({task.id: "good"})
    store.control_tasks.set_shares(ALWAYS_GOLD)
    rng = random.Random(3)
    held = [a for a in claim_ahead(store, ann, rng, 9) if a.task.id == task.id]
    assert len(held) == 1
    with store.database.read() as connection:
        purpose = connection.scalar(
            sa.select(t.assignments.c.purpose).where(t.assignments.c.id == held[0].id)
        )
    before = store.content.counts().tasks_open
    store.ledger.submit(ann, held[0].id, Answer("bad"), "token")
    assert store.content.counts().tasks_open == before - (purpose == "queue")


def test_a_retired_answer_is_asked_and_counted_no_more(store: Store, ann: Annotator) -> None:
    task, *_ = add_tasks(store, "binary", 9)
    store.control_tasks.add_gold({task.id: "bad"})
    store.control_tasks.set_shares(ALWAYS_GOLD)
    answer_all(store, ann, seed=1)
    assert [g.task.id for g in store.control_tasks.gold()] == [task.id]
    assert store.control_tasks.retire_gold([task.id]) == 1
    assert store.control_tasks.retire_gold([task.id]) == 0
    assert store.control_tasks.gold() == store.control_tasks.answers() == []
    assert store.control_tasks.add_gold({task.id: "good"}) == 1


@pytest.mark.parametrize(
    ("known", "named"),
    [
        ({"nobody": "good"}, "task 'nobody' unknown"),
        ({"": "good"}, "unknown"),
        (None, "use good or"),
    ],
)
def test_gold_that_does_not_fit_is_refused(store: Store, known, named) -> None:  # type: ignore[no-untyped-def]
    [task] = add_tasks(store, "binary", 1)
    with pytest.raises(ValueError, match=named):
        store.control_tasks.add_gold(known or {task.id: "a"})
    assert store.control_tasks.gold() == []


def test_what_all_agreed_on_can_become_gold(store: Store) -> None:
    alike, other, few = add_tasks(store, "binary", 3, wanted=3)
    people = [add_person(store, f"p{i}") for i in range(3)]
    for person in people:
        for _ in range(2 if person is people[2] else 3):
            held = store.ledger.claim(person, random.Random(0))
            assert held is not None
            differs = held.task.id == other.id and person is people[0]
            value = "bad" if differs else "good"
            store.ledger.submit(person, held.id, Answer(value), f"{person.id}:{held.id}")
    assert store.control_tasks.agreed() == {alike.id: "good"}
    assert few.id in store.control_tasks.agreed(at_least=2)
    store.control_tasks.add_gold(store.control_tasks.agreed())
    assert store.control_tasks.agreed() == {}


def test_a_repeat_has_its_sides_swapped_and_counts_apart(store: Store, ann: Annotator) -> None:
    add_tasks(store, "pairwise", 20)
    store.control_tasks.set_shares(OFTEN_AGAIN)
    came = answer_all(store, ann, seed=2)
    pairs = store.control_tasks.repeats()
    assert len(pairs) == len(came) - 20 > 3
    for first, again in pairs:
        assert (first.task.a, first.task.b) == (again.task.a, again.task.b)
        assert {first.shown_first, again.shown_first} == {"a", "b"}
        assert first.created_at < again.created_at
    assert len(store.ledger.judgements()) == 20  # nobody counts twice
    assert len({first.id for first, _ in pairs}) == len(pairs)  # and is asked no third time
    assert store.content.counts().tasks_open == 0


def test_a_repeat_waits_its_days(store: Store, ann: Annotator) -> None:
    add_tasks(store, "pairwise", 12)
    store.control_tasks.set_shares(Shares(gold=0, repeat=0.5, repeat_days=2))
    answer_all(store, ann)
    assert store.control_tasks.repeats() == []
    days_ago = timestamp(datetime.now(UTC) - timedelta(days=2, minutes=1))
    with store.database.write() as connection:
        connection.execute(sa.update(t.judgements).values(created_at=days_ago))
    add_tasks(store, "pairwise", 12)
    answer_all(store, ann)
    assert store.control_tasks.repeats() != []


def test_a_repeat_is_one_persons(store: Store, ann: Annotator) -> None:
    """Others are not asked it; its author may release, skip and undo it like any task."""
    [first] = add_tasks(store, "binary", 1)
    answer_all(store, ann)
    later = add_tasks(store, "binary", 6, wanted=2)
    store.control_tasks.set_shares(OFTEN_AGAIN)
    rng = random.Random(0)
    held = claim_ahead(store, ann, rng, 7)
    [again] = [a for a in held if a.task.a == first.a]
    ben = add_person(store, "ben")
    assert {task.a for task in answer_all(store, ben)} == {task.a for task in later}
    store.ledger.release(ann)
    add_tasks(store, "binary", 12)
    assert claim_ahead(store, ann, rng, 7) == held
    [again] = [a for a in held if a.task.a == first.a]
    store.ledger.submit(ann, again.id, Answer("bad"), "once more")
    pairs = [(one, two) for one, two in store.control_tasks.repeats() if one.annotator == "ann"]
    assert [(one.answer.value, two.answer.value) for one, two in pairs] == [("good", "bad")]
    assert store.ledger.undo(ann, again.id)
    assert {one.annotator for one, _ in store.control_tasks.repeats()} == {"ben"}
    store.ledger.skip(ann, again.id)
    judged = store.ledger.judgements(["binary"])
    assert [j.answer.value for j in judged if j.task.a == first.a] == ["good"]
    assert {j.annotator for j in judged} == {"ann", "ben"}


def test_nothing_that_is_sent_tells_a_check_from_a_task(store: Store, ann: Annotator) -> None:
    known = {task.id: "a" for task in add_tasks(store, "pairwise", 3, wanted=0)}
    store.control_tasks.add_gold(known)
    add_tasks(store, "pairwise", 40)  # the page's coin has no seed
    store.control_tasks.set_shares(Shares(gold=0.3, repeat=0.2, repeat_days=0))
    shapes = set()
    while (view := actions.look(store, ann)).tasks:
        sent = state_json(view)
        assert not any(word in json.dumps(sent) for word in ("gold", "repeat", "purpose", "known"))
        shapes.add(tuple(sorted(sent["tasks"][0])))
        actions.submit(store, ann, view.tasks[0].assignment_id, Answer("a"), view.tasks[0].token)
    assert len(shapes) == 1
    assert set(purposes(store)) == {"queue", "gold", "repeat"}


def test_checks_go_out_and_come_in(store: Store, ann: Annotator, tmp_path: Path) -> None:
    """Exported, imported into an empty store, exported again: the same bytes, the same figures."""
    known = {task.id: "b" for task in add_tasks(store, "pairwise", 4, wanted=0)}
    store.control_tasks.add_gold(known)
    store.control_tasks.retire_gold([next(iter(known))])
    for kind in ("binary", "scalar", "pairwise"):
        add_tasks(store, kind, 12)
    store.control_tasks.set_shares(Shares(gold=0.25, repeat=0.25, repeat_days=0))
    answer_all(store, ann, seed=4)
    assert set(purposes(store)) == {"queue", "gold", "repeat"}
    first, again = tmp_path / "first.jsonl", tmp_path / "again.jsonl"
    written = export_file(store, first).written
    assert written["gold"] == 4
    with Store.open(tmp_path / "other") as other:
        assert import_file(other, first).new == written
        assert import_file(other, first).new["gold"] == 0
        export_file(other, again)
        assert again.read_bytes() == first.read_bytes()
        assert len(other.control_tasks.repeats()) == len(store.control_tasks.repeats()) > 0
        assert len(other.control_tasks.answers()) == len(store.control_tasks.answers()) > 0
        assert len(other.ledger.judgements()) == len(store.ledger.judgements())


def test_two_answers_to_one_gold_task_are_refused(store: Store, tmp_path: Path) -> None:
    line = '{"type": "gold", "kind": "binary", "prompt": "Why?", "completion": "So.", "value": %s}'
    file = tmp_path / "gold.jsonl"
    file.write_text(line % "true" + "\n" + line % "false")
    with pytest.raises(ValueError, match=r"gold 'bad': 'good' is known already .* retire"):
        import_file(store, file)
    assert store.control_tasks.gold() == [] and store.content.counts().prompts == 0


def test_sampling_takes_the_share_that_was_set(sqlite_store: Store, tmp_path: Path) -> None:
    sqlite_store.control_tasks.set_shares(Shares(overlap=0.4))
    prompts = [task.a.prompt for task in add_tasks(sqlite_store, "binary", 1)]

    def overlap(**chosen: float) -> float:
        settings = SampleSettings(workspace=tmp_path, **chosen)  # type: ignore[arg-type]
        return Intake(settings, sqlite_store, None, prompts)._overlap  # type: ignore[arg-type]

    assert overlap() == 0.4
    assert overlap(overlap=0.0) == 0.0


def steps_of_claims(folder: Path, gold: int) -> tuple[float, float]:
    """SQLite's steps for a claim, in the median: of a gold task among so many, of one without."""
    with Store.open(make_store(folder)) as store:
        known = {task.id: "good" for task in add_tasks(store, "binary", gold, wanted=0)}
        store.control_tasks.add_gold(known)
        store.control_tasks.set_shares(Shares(gold=0.5, repeat=0))
        add_tasks(store, "binary", 100)
        ann, rng, steps = add_person(store, "ann"), random.Random(0), count()

        @sa.event.listens_for(store.database.engine, "checkout")
        def watch(connection: Any, *_: object) -> None:
            connection.set_progress_handler(lambda: next(steps) < 0, 1)

        took: dict[bool, list[int]] = {True: [], False: []}
        for n in range(40):
            before = next(steps)
            held = store.ledger.claim(ann, rng)
            assert held is not None
            took[held.task.id in known].append(next(steps) - before)
            store.ledger.submit(ann, held.id, Answer("good"), str(n))
        return median(took[True]), median(took[False])


def test_a_known_answer_is_found_as_quickly_as_the_next_task(tmp_path: Path) -> None:
    """However many there are: else whoever waits longer knows that they are being checked."""
    found = {gold: steps_of_claims(tmp_path / str(gold), gold) for gold in (500, 2500)}
    for known, ordinary in found.values():
        assert known == pytest.approx(ordinary, rel=0.1)
    assert found[2500][0] < 1.2 * found[500][0]
