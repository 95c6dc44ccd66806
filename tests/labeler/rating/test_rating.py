"""Rating without a page: sides, tokens, skip, undo, reload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from data import Store
from data.schema import Annotator, Answer, make_prompt
from data.store import ledger
from data.store import tables as t
from labeler.access.auth import COOKIE
from labeler.app import build_app
from labeler.rating import actions
from labeler.rating.actions import RatingState, ShownTask
from labeler.rating.api import BADGE, spell_past, state_json
from labeler.rating.page import FACTS, header_html, task_html
from tests.support.labeler_helpers import add_person, add_tasks, open_store

TOKEN = "press-of-the-undo-key"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


@pytest.fixture
def ann(store: Store) -> Annotator:
    return add_person(store, "ann")


def painted(view: RatingState) -> ShownTask:
    assert view.tasks, view
    return view.tasks[0]


def test_a_is_the_side_shown_first(store: Store, ann: Annotator) -> None:
    add_tasks(store, "pairwise", 12)
    chosen = []
    for _ in range(12):
        task = painted(actions.look(store, ann))
        chosen.append(task.answers[0].text)
        actions.submit(store, ann, task.assignment_id, Answer("a"), task.token)
    judged = store.ledger.judgements()
    assert {j.shown_first for j in judged} == {"a", "b"}
    liked = [(j.task.a if j.answer.value == "a" else j.task.b) for j in judged]
    assert [c.text for c in liked if c] == chosen


@pytest.mark.parametrize(
    ("kind", "value"), [("binary", "good"), ("scalar", "10"), ("pairwise", "tie")]
)
def test_each_kind_is_kept_as_pressed(store: Store, ann: Annotator, kind, value) -> None:
    add_tasks(store, kind, 1)
    task = painted(actions.look(store, ann))
    after = actions.submit(store, ann, task.assignment_id, Answer(value, seconds=3.21), task.token)
    assert after.state == "done"
    assert (after.progress.done, after.left, after.kept) == (1, None, True)
    assert actions.look(store, ann).left == 0
    (judgement,) = store.ledger.judgements()
    assert (judgement.answer.value, judgement.answer.seconds) == (value, 3.21)


def test_a_reload_shows_the_same_task_and_sides(store: Store, ann: Annotator) -> None:
    add_tasks(store, "pairwise", 8)
    first = painted(actions.look(store, ann))
    for _ in range(5):
        again = painted(actions.look(store, ann))
        assert (again.assignment_id, again.answers) == (first.assignment_id, first.answers)


def test_a_repeated_token_stores_nothing(store: Store, ann: Annotator) -> None:
    add_tasks(store, "pairwise", 2)
    task = painted(actions.look(store, ann))
    one = actions.submit(store, ann, task.assignment_id, Answer("a"), task.token)
    two = actions.submit(store, ann, task.assignment_id, Answer("b"), task.token)
    assert two.notice == ""
    assert painted(one).assignment_id == painted(two).assignment_id
    assert len(store.ledger.judgements()) == 1


def test_somebody_elses_task_is_refused(store: Store, ann: Annotator) -> None:
    bob = add_person(store, "bob")
    add_tasks(store, "binary", 3)
    task = painted(actions.look(store, ann))
    view = actions.submit(store, bob, task.assignment_id, Answer("good"), task.token)
    assert "not yours" in view.notice
    assert painted(view).assignment_id != task.assignment_id
    assert store.ledger.judgements() == []


@pytest.mark.parametrize("token", ["", "undo:1", "x" * 65, "spaces in a token !"])
def test_a_token_of_the_wrong_make_is_refused(store: Store, ann: Annotator, token: str) -> None:
    add_tasks(store, "binary", 1)
    task = painted(actions.look(store, ann))
    assert "token" in actions.submit(store, ann, task.assignment_id, Answer("good"), token).notice
    assert store.ledger.judgements() == []


@pytest.mark.parametrize("value", ["11", "0", "a", "", "true"])
def test_a_value_of_another_kind_is_refused(store: Store, ann: Annotator, value: str) -> None:
    add_tasks(store, "scalar", 1)
    task = painted(actions.look(store, ann))
    view = actions.submit(store, ann, task.assignment_id, Answer(value), task.token)
    assert "use 1 to 10" in view.notice
    assert painted(view).assignment_id == task.assignment_id


def test_skip_is_final(store: Store, ann: Annotator) -> None:
    add_tasks(store, "binary", 2)
    first = painted(actions.look(store, ann))
    second = painted(actions.skip(store, ann, first.assignment_id))
    assert second.assignment_id != first.assignment_id
    assert actions.skip(store, ann, second.assignment_id).state == "done"
    assert actions.look(store, ann).left == 0


def test_undo_brings_the_task_back_with_its_sides(store: Store, ann: Annotator) -> None:
    add_tasks(store, "pairwise", 3)
    first = painted(actions.look(store, ann))
    actions.submit(store, ann, first.assignment_id, Answer("a"), first.token)
    back = actions.undo(store, ann, first.assignment_id, TOKEN)
    assert painted(back).assignment_id == first.assignment_id
    assert painted(back).answers == first.answers
    assert painted(back).token != first.token
    assert store.ledger.judgements() == []
    assert back.progress.done == 0


def test_nothing_to_undo_says_so(store: Store, ann: Annotator) -> None:
    assert "nothing to take back" in actions.undo(store, ann, 7, TOKEN).notice
    assert "sent no token" in actions.undo(store, ann, 7, "short").notice


def test_sampling_shows_how_far_it_is(store: Store, ann: Annotator) -> None:
    store.runs.add("sample-1", "sample", {})
    store.runs.update("sample-1", status="running", done=30, total=120)
    view = actions.look(store, ann)
    assert (view.state, view.sampled) == ("sampling", (30, 120))
    store.runs.end("sample-1", "finished", "")
    assert actions.look(store, ann).state == "done"


def test_the_page_never_says_which_side_or_model_it_is(store: Store, ann: Annotator) -> None:
    tasks = {t.id: t for t in add_tasks(store, "pairwise", 6)}
    for _ in range(6):
        view = actions.look(store, ann)
        sent = json.dumps(state_json(view)) + header_html(ann, FACTS)
        for task in tasks.values():
            assert task.id not in sent and task.a.id not in sent
        assert "a-model" not in sent and "shown_first" not in sent
        actions.skip(store, ann, painted(view).assignment_id)


def test_past_answers_come_in_the_pages_terms_and_can_be_changed(
    store: Store, ann: Annotator
) -> None:
    add_tasks(store, "pairwise", 8)
    for _ in range(8):
        task = painted(actions.look(store, ann))
        actions.submit(store, ann, task.assignment_id, Answer("a", 2), task.token)
    past = actions.past(store, ann)
    assert {(s.answer.value, s.answer.strength) for s in past} == {("a", 2)}
    assert past[0].task.assignment_id == actions.look(store, ann).progress.last
    for said in past:
        again = said.task
        view = actions.submit(store, ann, again.assignment_id, Answer("b"), again.token, edit=True)
        assert view.kept
    assert {s.answer.value for s in actions.past(store, ann)} == {"b"}
    assert len(store.ledger.judgements()) == 8


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, 1e9])
def test_an_impossible_time_is_left_out(store: Store, ann: Annotator, seconds: float) -> None:
    add_tasks(store, "binary", 1)
    task = painted(actions.look(store, ann))
    actions.submit(store, ann, task.assignment_id, Answer("good", seconds=seconds), task.token)
    assert store.ledger.judgements()[0].answer.seconds is None


def test_all_turns_are_shown_with_their_roles(store: Store, ann: Annotator) -> None:
    from data.schema import Completion, Task

    prompt = make_prompt(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": "<b>Who</b> are you?"},
        ]
    )
    store.ledger.add_tasks([Task("binary", Completion(prompt, "A model.", finished=False))])
    html = task_html(painted(actions.look(store, ann)))
    for part in ("Instruction", "Person", "Model, earlier", "&lt;b&gt;Who", "cut off"):
        assert part in html


def test_what_a_model_thinks_is_folded_above_its_answer(store: Store, ann: Annotator) -> None:
    from data.schema import Completion, Task

    made = Completion(make_prompt("Hi"), "<think><b>bold</b> plan</think>Hello")
    store.ledger.add_tasks([Task("binary", made)])
    view = actions.look(store, ann)
    folded, _, after = task_html(painted(view)).partition("</details>")
    assert '<details class="thinking">' in folded and "plan" in folded and "<b>bold" not in folded
    assert "Hello" in after and "plan" not in after
    assert state_json(view)["tasks"][0]["answers"] == [{"text": "Hello", "finished": True}]  # type: ignore[index]


def test_the_version_of_the_guidelines_is_the_one_that_was_shown(
    store: Store, ann: Annotator
) -> None:
    add_tasks(store, "binary", 3)
    for text in ("one", "two"):
        store.people.set_guidelines(text)
    task = painted(actions.look(store, ann))
    no = actions.submit(store, ann, task.assignment_id, Answer("good"), task.token, 3)
    assert "no version 3" in no.notice
    actions.submit(store, ann, task.assignment_id, Answer("good"), task.token, 1)
    with store.database.read() as connection:
        stored = connection.scalars(sa.select(t.judgements.c.guidelines_version)).all()
    assert stored == [1]


def test_nobody_receives_what_another_said(store: Store, ann: Annotator) -> None:
    """Whatever the first person said of a task, the second gets the same bytes."""
    ben = add_person(store, "ben")
    add_tasks(store, "scalar", 3, wanted=2)

    def received() -> str:
        view, past = actions.look(store, ben), actions.past(store, ben)
        sent = json.dumps([state_json(view), *map(spell_past, past)])
        for task in view.tasks:
            sent = sent.replace(task.token, "token")
        return sent

    before = received()
    for value in ("2", "9"):
        task = painted(actions.look(store, ann))
        said = Answer(value, comment="a remark of ann's", flags=("harmful",), seconds=4.5)
        actions.submit(store, ann, task.assignment_id, said, task.token)
    actions.skip(store, ann, painted(actions.look(store, ann)).assignment_id, ("other",), "no")
    assert received() == before
    assert len(actions.past(store, ann)) == 2


def test_a_press_takes_three_transactions_and_checks_the_answer_once(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session; what was pressed and the next claim; what the page shows beside the task."""
    begun: list[object] = []
    checked: list[Answer] = []
    monkeypatch.setattr(ledger, "check_answer", lambda _kind, answer: checked.append(answer))
    with Store.open(store_url) as store:
        ann = add_person(store, "ann")
        add_tasks(store, "pairwise", 6)
        client = TestClient(build_app(store, tmp_path, "a-model"), base_url="http://coach.test")
        client.cookies.set(COOKIE, store.people.start_session(ann))
        sa.event.listen(store.database.engine, "begin", begun.append)

        def post(path: str, **body: object) -> dict[str, Any]:
            begun.clear()
            answer = client.post(path, json=body, headers={BADGE: ann.badge})
            assert answer.status_code == 200 and len(begun) == 3, (path, answer.text)
            state: dict[str, Any] = answer.json()
            return state

        shown = post("/rate/tasks")["tasks"]
        given = {"assignment": shown[0]["assignment"], "token": shown[0]["token"], "value": "a"}
        state = post("/rate/answer", **given, strength=2, seconds=1.5, flags=["other"])
        assert state["kept"] and len(checked) == 1
        assert state["tasks"][0]["assignment"] == shown[1]["assignment"]
        assert len(state["tasks"]) == 2
        assert post("/rate/answer", **given)["kept"] and len(checked) == 1  # sent again
        again = given | {"token": "t" * 24, "value": "b", "edit": True}
        assert post("/rate/answer", **again)["kept"] and len(checked) == 2
        assert post("/rate/undo", assignment=given["assignment"], token="u" * 24)["kept"]
        assert post("/rate/skip", assignment=given["assignment"])["kept"]
        assert not post("/rate/answer", **given | {"token": "v" * 24})["kept"]
