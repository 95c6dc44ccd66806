"""The store on both engines: what a step does, and what the database itself refuses."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from data.schema import (
    Annotator,
    Answer,
    Completion,
    Demonstration,
    Document,
    Generation,
    Task,
    make_prompt,
    timestamp,
)
from data.store import Store
from data.store import tables as t
from data.store.database import WriterQueue
from data.store.ledger import Assignment
from data.store.progress import streak
from data.task_planning import SKIPS_TO_LEAD
from tests.support.content import add_content, claim_ahead

PROMPT = make_prompt("Which is better?", ["choice"])
A, B = Completion(PROMPT, "this"), Completion(PROMPT, "that", finished=False)
PAIR = Task("pairwise", A, B)
GOOD = Answer("good")


@pytest.fixture
def ann(store: Store) -> Annotator:
    return store.people.add("ann", "annotator")


def singles(n: int, wanted: int = 1) -> list[Task]:
    prompts = (make_prompt(f"question {i}") for i in range(n))
    return [
        Task("binary", Completion(p, "x"), wanted=wanted, position=i) for i, p in enumerate(prompts)
    ]


def claim(store: Store, who: Annotator, seed: int = 0) -> Assignment:
    claimed = store.ledger.claim(who, random.Random(seed))
    assert claimed is not None
    return claimed


# -- content -------------------------------------------------------------------


def test_content_comes_back_as_it_went_in_and_once(store: Store) -> None:
    generation = Generation(B, "m", {"temperature": 0.7})
    for _ in range(2):
        add_content(store, [PROMPT])
        add_content(store, [Demonstration(PROMPT, "that one", "d1")])
        add_content(store, [Document("text é \u2028")])
        store.content.add_generations([generation])
    assert store.content.prompts() == [PROMPT]
    assert store.content.demonstrations() == [Demonstration(PROMPT, "that one", "d1")]
    assert store.content.documents() == [Document("text é \u2028")]
    assert store.content.generations() == [generation]
    assert store.content.generations("other") == []
    assert store.content.models() == {"m": 1}


def test_a_failed_write_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.database.write() as connection:
        connection.execute(sa.insert(t.documents).values(id="x", text="x", created_at="now"))
        raise RuntimeError
    assert store.content.documents() == []


# -- claim, submit, skip, undo ---------------------------------------------------


def test_claim_submit_and_then_the_next(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(2))
    first = claim(store, ann)
    assert first.task.a.prompt.text == "question 0"
    store.ledger.submit(ann, first.id, GOOD, "t1")
    assert claim(store, ann).task.a.prompt.text == "question 1"
    progress = store.ledger.overview(ann).progress
    assert (progress.done, progress.done_today, progress.streak) == (1, 1, 1)
    assert store.ledger.overview(ann, count_left=True).left == 1
    assert [(j.annotator, j.answer.value, j.kind) for j in store.ledger.judgements()] == [
        ("ann", "good", "binary")
    ]
    assert store.ledger.by_annotator() == {"ann": 1}
    assert store.content.counts().judgements["binary"] == 1


def test_a_reload_brings_the_same_task_and_sides(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks([replace(PAIR, position=-1.0), *singles(3)])
    first = claim(store, ann)
    assert first.shown_first in ("a", "b")
    assert all(claim(store, ann, seed) == first for seed in range(1, 8))
    assert first.task.b == B


def test_the_two_sides_come_first_equally_often(store: Store, ann: Annotator) -> None:
    prompts = [make_prompt(f"q{i}") for i in range(60)]
    store.ledger.add_tasks(
        [Task("pairwise", Completion(p, "x"), Completion(p, "y")) for p in prompts]
    )
    rng, sides = random.Random(1), Counter[str | None]()
    for i in range(60):
        assignment = store.ledger.claim(ann, rng)
        assert assignment is not None
        sides[assignment.shown_first] += 1
        store.ledger.submit(ann, assignment.id, Answer("tie"), f"t{i}")
    assert 18 <= sides["a"] <= 42
    assert {j.shown_first for j in store.ledger.judgements()} == {"a", "b"}


def test_the_same_token_stores_once(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(2))
    first = claim(store, ann)
    ids = {store.ledger.submit(ann, first.id, GOOD, "twice") for _ in range(3)}
    assert len(ids) == len(store.ledger.judgements()) == 1
    other = store.people.add("eve", "annotator")
    with pytest.raises(ValueError, match="belongs to somebody else"):
        store.ledger.submit(other, first.id, GOOD, "twice")


def test_only_the_holder_answers_and_only_once(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(2))
    held = claim(store, ann)
    eve = store.people.add("eve", "annotator")
    for attempt in (
        lambda: store.ledger.submit(eve, held.id, GOOD, "t1"),
        lambda: store.ledger.skip(eve, held.id),
        lambda: store.ledger.submit(ann, 9999, GOOD, "t2"),
    ):
        with pytest.raises(ValueError, match="not yours"):
            attempt()
    store.ledger.submit(ann, held.id, GOOD, "t3")
    with pytest.raises(ValueError, match="not yours"):
        store.ledger.submit(ann, held.id, Answer("bad"), "t4")
    assert len(store.ledger.judgements()) == 1


def test_an_answer_of_another_kind_stores_nothing(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(1))
    held = claim(store, ann)
    with pytest.raises(ValueError, match="binary value '7' unknown"):
        store.ledger.submit(ann, held.id, Answer("7"), "t")
    assert store.ledger.judgements() == []
    assert claim(store, ann) == held


def test_a_skipped_task_goes_to_others_only(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(1))
    store.ledger.skip(ann, claim(store, ann).id)
    assert store.ledger.claim(ann, random.Random(0)) is None
    assert claim(store, store.people.add("eve", "annotator"))


def test_undo_is_a_new_row_and_brings_the_task_back(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks([PAIR, *singles(1)])
    first = claim(store, ann)
    store.ledger.submit(ann, first.id, Answer("a" if first.task.b else "good"), "t1")
    claim(store, ann)
    assert store.ledger.undo(ann)
    assert claim(store, ann) == first
    assert store.ledger.judgements() == []
    with store.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.judgements)) == 2
    store.ledger.submit(ann, first.id, Answer("b" if first.task.b else "bad"), "t2")
    (stands,) = store.ledger.judgements()
    assert stands.answer.value in ("b", "bad")
    assert store.content.counts().tasks_open == 1


def test_undo_with_nothing_to_undo(store: Store, ann: Annotator) -> None:
    assert not store.ledger.undo(ann)
    assert not store.ledger.undo(ann, 7)


def test_released_work_comes_again_with_its_sides(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks([PAIR])
    first = claim(store, ann)
    store.ledger.release(ann)
    assert all(claim(store, ann, seed).shown_first == first.shown_first for seed in range(6))


def test_work_ahead_keeps_its_order(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(5))
    rng = random.Random(0)
    one, two = claim_ahead(store, ann, rng, 2)
    assert claim_ahead(store, ann, rng, 2) == [one, two]
    assert store.ledger.claim(ann, rng) == one
    store.ledger.submit(ann, one.id, GOOD, "t1")
    three = claim_ahead(store, ann, rng, 2)[1]
    assert claim_ahead(store, ann, rng, 2) == [two, three]
    store.ledger.undo(ann, one.id)
    assert claim_ahead(store, ann, rng, 3) == [one, two, three]
    assert not store.ledger.undo(ann, one.id)
    assert claim_ahead(store, ann, rng, 1) == [one]


def test_an_undo_sent_again_takes_back_nothing_new(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(1))
    held = claim(store, ann)
    store.ledger.submit(ann, held.id, GOOD, "t1")
    assert store.ledger.undo(ann, held.id, "u1")
    store.ledger.submit(ann, held.id, Answer("bad"), "t2")
    assert store.ledger.undo(ann, held.id, "u1")
    (stands,) = store.ledger.judgements()
    assert stands.answer.value == "bad"
    eve = store.people.add("eve", "annotator")
    with pytest.raises(ValueError, match="belongs to somebody else"):
        store.ledger.undo(eve, None, "u1") or store.ledger.undo(eve, held.id, "u1")


@pytest.mark.parametrize(
    ("comment", "named"),
    [("a\x00b", "NUL"), ("a\ud800b", "half a character"), ("x" * 4001, "4,001 characters")],
)
def test_a_comment_that_cannot_be_kept_is_refused(store, ann, comment, named) -> None:
    store.ledger.add_tasks(singles(1))
    held = claim(store, ann)
    with pytest.raises(ValueError, match=named):
        store.ledger.submit(ann, held.id, Answer("good", comment=comment), "t")
    with pytest.raises(ValueError, match=named):
        store.ledger.skip(ann, held.id, [], comment)
    assert claim(store, ann) == held


def test_work_ahead_is_given_up_sooner(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(2))
    now, ahead = claim_ahead(store, ann, random.Random(0), 2)
    with store.database.read() as connection:
        query = sa.select(t.assignments.c.lease_until).order_by(t.assignments.c.turn)
        ends = connection.scalars(query).all()
    assert ends[0] > ends[1]
    eve = store.people.add("eve", "annotator")
    assert store.ledger.claim(eve, random.Random(0)) is None
    with store.database.write() as connection:
        late = t.assignments.c.id == ahead.id
        connection.execute(sa.update(t.assignments).where(late).values(lease_until="2000"))
    assert claim(store, eve).task == ahead.task
    with pytest.raises(ValueError, match="all its answers"):
        store.ledger.submit(ann, ahead.id, GOOD, "late")
    assert claim_ahead(store, ann, random.Random(0), 2) == [now]


def test_an_edit_supersedes_and_keeps_the_first_answer(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(2))
    held = claim(store, ann)
    with pytest.raises(ValueError, match="no answer of yours"):
        store.ledger.edit(ann, held.id, Answer("bad"), "e0")
    store.ledger.submit(ann, held.id, GOOD, "t1")
    changed = {store.ledger.edit(ann, held.id, Answer("bad", comment="hm"), "e1") for _ in "12"}
    (stands,) = store.ledger.judgements()
    assert (changed, stands.answer) == ({stands.id}, Answer("bad", comment="hm"))
    with store.database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(t.judgements)) == 2
    assert store.content.counts().tasks_open == 1
    assert [p.answer.value for p in store.ledger.past(ann, 5)] == ["bad"]


def test_after_some_skips_only_a_lead_is_asked(store: Store) -> None:
    store.ledger.add_tasks([replace(task, wanted=3) for task in singles(1)])
    people = [store.people.add(f"p{i}", "annotator") for i in range(SKIPS_TO_LEAD + 1)]
    for person in people[:-1]:
        assert store.ledger.for_leads() == 0
        held = claim(store, person)
        for _ in "twice is once":
            store.ledger.skip(person, held.id, ["unreadable"], "what is it")
    assert store.ledger.for_leads() == 1
    assert store.ledger.claim(people[-1], random.Random(0)) is None
    assert store.ledger.overview(people[-1], count_left=True).left == 0
    lead = store.people.add("lena", "lead")
    assert store.ledger.overview(lead, count_left=True).left == 1
    store.ledger.submit(lead, claim(store, lead).id, GOOD, "t")
    assert store.ledger.for_leads() == 0 == store.ledger.overview(lead, count_left=True).left
    with store.database.read() as connection:
        row = connection.execute(sa.select(t.assignments).limit(1)).one()
    assert (row.flags, row.comment) == ('["unreadable"]', "what is it")


def test_everything_that_is_said_comes_back(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks([PAIR])
    said = Answer("a", 3, False, "neat", 4.5, ("harmful", "other"))
    with pytest.raises(ValueError, match="flag 'rude' unknown"):
        store.ledger.submit(ann, claim(store, ann).id, replace(said, flags=("rude",)), "t")
    store.ledger.submit(ann, claim(store, ann).id, said, "t")
    assert store.ledger.judgements()[0].answer == said
    (past,) = store.ledger.past(ann, 5)
    assert past.answer == said
    with pytest.raises(ValueError, match="too long"):
        store.ledger.edit(ann, past.assignment.id, replace(said, comment="x" * 5000), "t2")


def test_pace_and_streak(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(3))
    for i, seconds in enumerate((2.0, 9.0, 4.0)):
        answer = Answer("good", seconds=seconds)
        store.ledger.submit(ann, claim(store, ann).id, answer, f"t{i}")
    progress = store.ledger.overview(ann).progress
    assert (progress.done, progress.done_today, progress.pace, progress.streak) == (3, 3, 4.0, 1)
    days = ["2026-03-01", "2026-03-02", "2026-03-04", "2026-03-05"]
    assert [streak(days, date(2026, 3, d)) for d in (2, 3, 4, 5, 6, 7)] == [2, 2, 1, 2, 2, 0]


def test_a_lease_that_ran_out_is_given_to_another(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(1))
    claim(store, ann)
    eve = store.people.add("eve", "annotator")
    assert store.ledger.claim(eve, random.Random(0)) is None
    with store.database.write() as connection:
        connection.execute(sa.update(t.assignments).values(lease_until="2000"))
    assert claim(store, eve)


def test_tasks_queue_once_and_in_order(store: Store) -> None:
    assert store.ledger.add_tasks(singles(3)) == 3
    assert store.ledger.add_tasks(singles(4)) == 1
    assert store.ledger.last_position() == 3.0


# -- many at once ------------------------------------------------------------------


def test_a_write_that_waits_too_long_is_given_up_and_holds_nobody_up() -> None:
    turns = WriterQueue(patience=0.05)
    with turns:
        with pytest.raises(OperationalError, match=r"busy for 0\.05 s"), turns:
            pass
    with turns:  # the one that gave up left no place behind
        pass


def test_two_versions_of_the_guidelines_at_once_are_both_kept(store: Store) -> None:
    texts = [f"version {n}" for n in range(8)]
    with ThreadPoolExecutor(len(texts)) as pool:
        added = list(pool.map(store.people.set_guidelines, texts))
    assert sorted(found.version for found in added) == list(range(1, 9))
    newest = store.people.guidelines()
    assert newest == max(added, key=lambda found: found.version)


def test_many_at_once_never_take_more_than_is_wanted(store: Store) -> None:
    """Eight annotators on one store, tasks wanting two answers each."""
    store.ledger.add_tasks(singles(10, wanted=2))
    people = [store.people.add(f"p{i}", "annotator") for i in range(8)]
    start = threading.Barrier(len(people))

    def work(person: Annotator) -> int:
        rng, n = random.Random(person.id), 0
        start.wait()
        while (held := store.ledger.claim(person, rng)) is not None:
            store.ledger.submit(person, held.id, GOOD, f"{person.id}:{held.id}")
            n += 1
        return n

    with ThreadPoolExecutor(len(people)) as pool:
        done = sum(pool.map(work, people))
    assert done == 20
    per_task = Counter(j.task.id for j in store.ledger.judgements())
    assert set(per_task.values()) == {2}
    assert store.content.counts().tasks_open == 0


def test_one_token_sent_by_many_at_once_is_stored_once(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(1))
    held = claim(store, ann)
    start = threading.Barrier(8)

    def send(_: int) -> int:
        start.wait()
        return store.ledger.submit(ann, held.id, GOOD, "same")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(send, range(8)))) == 1
    assert len(store.ledger.judgements()) == 1


def test_two_handles_see_each_other(store: Store, store_url: str, ann: Annotator) -> None:
    with Store.open(store_url) as other:
        other.ledger.add_tasks(singles(1))
        held = claim(store, ann)
        assert other.ledger.claim(ann, random.Random(5)) == held
        other.ledger.submit(ann, held.id, GOOD, "t")
    assert len(store.ledger.judgements()) == 1


# -- people --------------------------------------------------------------------------


def test_people_have_one_name_each(store: Store, ann: Annotator) -> None:
    assert store.people.find(" ann ") == ann
    for name, role in (("ann", "lead"), ("", "lead"), ("x" * 81, "lead"), ("bo", "boss")):
        with pytest.raises(ValueError):
            store.people.add(name, role)  # type: ignore[arg-type]


def test_a_first_lead_s_link_ends_with_the_first_lead(store: Store) -> None:
    link = store.people.invite("lead")
    store.people.add("ann", "annotator", "hash")
    store.people.add("bob", "lead")  # who cannot sign in yet
    assert store.people.invitation(link) is not None
    store.people.add("ada", "lead", "hash")
    assert store.people.invitation(link) is None
    with pytest.raises(ValueError, match="ask for a new one"):
        store.people.accept(link, "mallory", "hash")


def test_a_link_leaves_a_lead(store: Store) -> None:
    store.people.add("ada", "lead", "hash")
    link = store.people.invite("annotator", "ada")
    with pytest.raises(ValueError, match="make another lead first"):
        store.people.accept(link, "ada", "new hash")
    assert store.people.has_lead()
    assert store.people.password_hash("ada") == "hash"
    store.people.add("bob", "lead", "hash")
    assert store.people.accept(link, "ada", "new hash").role == "annotator"


@pytest.mark.parametrize("typed", ["jose", "JOSE", "jos\u00e8", "josee"])
def test_the_closest_name_is_told(store: Store, typed: str) -> None:
    store.people.add("Jos\u00e9", "annotator")
    with pytest.raises(ValueError, match="use Jos\u00e9"):
        store.people.switch_off(typed)


def test_an_invitation_works_once(store: Store) -> None:
    token = store.people.invite("lead", "ada")
    assert not store.people.has_lead()
    ada = store.people.accept(token, "ignored", "hash")
    assert (ada.name, ada.role, store.people.has_lead()) == ("ada", "lead", True)
    with pytest.raises(ValueError, match="used or has expired"):
        store.people.accept(token, "eve", "hash")


def test_a_session_ends(store: Store, ann: Annotator) -> None:
    token = store.people.start_session(ann)
    assert store.people.session(token) == ann
    assert store.people.session(token + "x") is None
    store.people.end_session(token)
    assert store.people.session(token) is None


def test_guidelines_keep_every_version(store: Store) -> None:
    assert store.people.guidelines() is None
    versions = [store.people.set_guidelines(text).version for text in ("one", "one", "two")]
    assert versions == [1, 1, 2]
    with pytest.raises(ValueError, match="no text"):
        store.people.set_guidelines(" ")


# -- what the database refuses ----------------------------------------------------------

WHEN = {"created_at": "2026-01-01"}
JUDGEMENT = {"task_id": "pair", "annotator_id": 1, "kind": "pairwise", "value": "a", **WHEN}
TASK = {"id": "new", "prompt_id": "p", "wanted": 1, "remaining": 1, "position": 0, **WHEN}
PERSON = {"role": "annotator", "active": True, **WHEN}
LEASE = {"task_id": "pair", "state": "leased", "lease_until": "2026", **WHEN}
REFUSED: dict[str, tuple[sa.Table, dict[str, Any]]] = {
    "a prompt twice": (t.prompts, {"id": "p", "messages": "[]", "tags": "[]", **WHEN}),
    "a completion of no prompt": (
        t.completions,
        {"id": "c9", "prompt_id": "none", "text": "x", "finished": True, **WHEN},
    ),
    "a demonstration of no prompt": (
        t.demonstrations,
        {"id": "d", "prompt_id": "none", "text": "x", **WHEN},
    ),
    "a generation twice": (
        t.generations,
        {"completion_id": "c1", "model": "m", "sampling": "{}", **WHEN},
    ),
    "a name twice": (t.annotators, {"name": "ann", **PERSON}),
    "an unknown role": (t.annotators, {"name": "eve", **PERSON, "role": "boss"}),
    "an unknown task kind": (t.tasks, {**TASK, "kind": "ranking", "completion_a": "c1"}),
    "a pair of one": (t.tasks, {**TASK, "kind": "pairwise", "completion_a": "c1"}),
    "a single of two": (
        t.tasks,
        {**TASK, "kind": "binary", "completion_a": "c1", "completion_b": "c2"},
    ),
    "a pair of the same": (
        t.tasks,
        {**TASK, "kind": "pairwise", "completion_a": "c1", "completion_b": "c1"},
    ),
    "a task of no completion": (t.tasks, {**TASK, "kind": "binary", "completion_a": "none"}),
    "more left than wanted": (
        t.tasks,
        {**TASK, "kind": "binary", "completion_a": "c1", "remaining": 2},
    ),
    "less than nothing left": (
        t.tasks,
        {**TASK, "kind": "binary", "completion_a": "c1", "remaining": -1},
    ),
    "a task leased twice to one": (t.assignments, {**LEASE, "annotator_id": 1}),
    "a lease to nobody": (t.assignments, {**LEASE, "annotator_id": 99}),
    "a lease of no task": (t.assignments, {**LEASE, "annotator_id": 2, "task_id": "none"}),
    "an unknown state": (t.assignments, {**LEASE, "annotator_id": 2, "state": "lost"}),
    "a third side": (t.assignments, {**LEASE, "annotator_id": 2, "shown_first": "c"}),
    "a token twice": (t.judgements, {**JUDGEMENT, "client_token": "t1"}),
    "a value of another kind": (
        t.judgements,
        {**JUDGEMENT, "client_token": "n", "value": "good"},
    ),
    "a scalar of 11": (
        t.judgements,
        {**JUDGEMENT, "client_token": "n", "kind": "scalar", "value": "11"},
    ),
    "no value and nothing undone": (
        t.judgements,
        {**JUDGEMENT, "client_token": "n", "value": None},
    ),
    "a strength of 4": (t.judgements, {**JUDGEMENT, "client_token": "n", "strength": 4}),
    "a strong tie": (
        t.judgements,
        {**JUDGEMENT, "client_token": "n", "value": "tie", "strength": 1},
    ),
    "a judgement shown on a third side": (
        t.judgements,
        {**JUDGEMENT, "client_token": "n", "shown_first": "c"},
    ),
    "one superseded twice": (t.judgements, {**JUDGEMENT, "client_token": "n", "supersedes": 1}),
    "superseding nothing": (t.judgements, {**JUDGEMENT, "client_token": "n", "supersedes": 99}),
    "a judgement by nobody": (t.judgements, {**JUDGEMENT, "client_token": "n", "annotator_id": 99}),
    "a judgement of no task": (t.judgements, {**JUDGEMENT, "client_token": "n", "task_id": "x"}),
    "a session of nobody": (
        t.sessions,
        {"token_hash": "h", "annotator_id": 99, "expires_at": "2026", **WHEN},
    ),
    "an unknown run status": (
        t.runs,
        {
            **{"id": "r", "kind": "sft", "config": "{}", "status": "lost", "message": ""},
            **{"stop_requested": False, "done": 0, "total": 0, **WHEN},
        },
    ),
}


def _fill(connection: sa.Connection) -> None:
    """One of each, written without the store's functions."""

    def add(table: sa.Table, **values: Any) -> None:
        connection.execute(sa.insert(table), [{**values, **WHEN}])

    add(t.prompts, id="p", messages="[]", tags="[]")
    for name in ("c1", "c2"):
        add(t.completions, id=name, prompt_id="p", text=name, finished=True)
    add(t.generations, completion_id="c1", model="m", sampling="{}")
    for name in ("ann", "bo"):
        add(t.annotators, name=name, role="annotator", active=True)
    add(t.tasks, **{**TASK, "id": "pair", "kind": "pairwise"}, completion_a="c1", completion_b="c2")
    add(t.assignments, **LEASE, annotator_id=1)
    add(t.judgements, **JUDGEMENT, client_token="t1")
    add(t.judgements, **JUDGEMENT, client_token="t2", supersedes=1)


def test_the_database_refuses(store: Store) -> None:
    with store.database.write() as connection:
        _fill(connection)
    taken = []
    for what, (table, row) in REFUSED.items():
        with suppress(sa.exc.IntegrityError), store.database.write() as connection:
            connection.execute(sa.insert(table), [row])
            taken.append(what)
    assert taken == []


def test_the_same_rows_are_taken_where_nothing_is_wrong(store: Store) -> None:
    """The refusals above are for the reason they name: each table takes a sound row."""
    sound: list[tuple[sa.Table, dict[str, Any]]] = [
        (t.tasks, {**TASK, "kind": "binary", "completion_a": "c1"}),
        (t.annotators, {"name": "eve", **PERSON}),
        (t.assignments, {**LEASE, "annotator_id": 2, "shown_first": "b"}),
        (t.judgements, {**JUDGEMENT, "client_token": "n", "strength": 3, "shown_first": "a"}),
        (t.judgements, {**JUDGEMENT, "client_token": "u", "value": None, "supersedes": 3}),
    ]
    with store.database.write() as connection:
        _fill(connection)
        for table, row in sound:
            connection.execute(sa.insert(table), [row])


def test_a_store_that_cannot_be_opened_says_why(tmp_path: Any) -> None:
    (tmp_path / "bad.db").write_bytes(b"this is no database, not at all" * 10)
    with pytest.raises(ValueError, match="cannot open the store"):
        Store.open(tmp_path / "bad.db")
    with pytest.raises(ValueError, match="is not a database URL"):
        Store.open("nonsense://x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="cannot make the folder"):
        Store.open(tmp_path / "file" / "workspace")


def test_a_read_sees_one_moment(store: Store) -> None:
    count = sa.select(sa.func.count()).select_from(t.documents)
    with store.database.read() as connection:
        assert connection.scalar(count) == 0
        add_content(store, [Document("added meanwhile")])
        assert connection.scalar(count) == 0
    assert store.content.documents() == [Document("added meanwhile")]


def test_days_are_counted_by_what_stands(store: Store, ann: Annotator) -> None:
    """An answer of yesterday that is taken back today takes nothing from today."""
    store.ledger.add_tasks(singles(3))
    for n in range(2):
        store.ledger.submit(ann, claim(store, ann).id, GOOD, f"day {n}")
    yesterday = timestamp(datetime.now(UTC) - timedelta(days=1))
    with store.database.write() as connection:
        old = sa.update(t.judgements).where(t.judgements.c.client_token == "day 0")
        connection.execute(old.values(created_at=yesterday))
    figures = store.ledger.overview(ann).progress
    assert (figures.done, figures.done_today, figures.streak) == (2, 1, 2)
    with store.database.read() as connection:
        first = connection.scalar(
            sa.select(t.judgements.c.assignment_id).where(t.judgements.c.client_token == "day 0")
        )
    assert store.ledger.undo(ann, first)
    figures = store.ledger.overview(ann).progress
    assert (figures.done, figures.done_today, figures.streak) == (1, 1, 1)
    store.ledger.submit(ann, claim(store, ann).id, GOOD, "day 2")
    assert store.ledger.overview(ann).progress.done_today == 2


def test_a_token_is_good_for_one_task(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(2))
    store.ledger.submit(ann, claim(store, ann).id, GOOD, "token")
    with pytest.raises(ValueError, match="used for another task"):
        store.ledger.submit(ann, claim(store, ann).id, GOOD, "token")


def test_a_look_renews_the_lease_and_signing_out_frees_it(store: Store, ann: Annotator) -> None:
    store.ledger.add_tasks(singles(1))
    held = claim(store, ann)
    until = sa.select(t.assignments.c.lease_until).where(t.assignments.c.id == held.id)
    with store.database.write() as connection:
        soon = timestamp(datetime.now(UTC) + timedelta(seconds=5))
        connection.execute(sa.update(t.assignments).values(lease_until=soon))
    claim(store, ann)
    with store.database.read() as connection:
        renewed = connection.scalar(until)
    ten = timestamp(datetime.now(UTC) + timedelta(minutes=9, seconds=30))
    assert renewed is not None and renewed > ten
    ben = store.people.add("ben", "annotator")
    assert store.ledger.claim(ben, random.Random(0)) is None
    store.ledger.release(ann)
    assert claim(store, ben).task == held.task


def test_sqlite_keeps_what_it_has_confirmed(sqlite_store: Store) -> None:
    with sqlite_store.database.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
