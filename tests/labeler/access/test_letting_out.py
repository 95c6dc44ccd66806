"""People are let out again: switched off, signed out, their links withdrawn."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from data import Store
from data.schema import Answer
from data.settings import USER_ERROR
from labeler.__main__ import main
from labeler.access.auth import COOKIE
from labeler.app import build_app
from labeler.jobs import Site
from labeler.lead import data_tab, snapshot
from labeler.lead.views import home
from tests.support.labeler_helpers import PASSWORD, add_person, add_tasks, open_store


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as store:
        add_person(store, "lena", "lead")
        add_person(store, "ann")
        yield store


@pytest.fixture
def client(opened: Store, tmp_path: Path) -> TestClient:
    app = build_app(opened, tmp_path, "m")
    return TestClient(app, base_url="http://coach.test", follow_redirects=False)


def sign_in(client: TestClient, name: str) -> Any:
    return client.post("/sign-in", data={"name": name, "password": PASSWORD})


def test_who_is_switched_off_is_out_at_once_and_may_come_back(
    opened: Store, client: TestClient
) -> None:
    add_tasks(opened, "binary", 2)
    sign_in(client, "ann")
    shown = client.post("/rate/tasks", json={}).json()["tasks"][0]
    given = {"assignment": shown["assignment"], "token": shown["token"], "value": "good"}
    assert client.post("/rate/answer", json=given).json()["kept"]
    opened.people.switch_off("ann")
    for path in ("/rate/tasks", "/rate/answer", "/rate/undo"):
        assert client.post(path, json=given).status_code == 401
    assert client.get("/label/").headers["location"] == "/sign-in"
    assert sign_in(client, "ann").status_code == 401
    assert [j.annotator for j in opened.ledger.judgements()] == ["ann"]
    ben = opened.people.add("ben", "annotator")  # what ann held is free
    assert opened.ledger.claim(ben, random.Random(0)) is not None
    opened.people.switch_on("ann")
    assert client.get("/label/").headers["location"] == "/sign-in"  # the old session stays ended
    assert sign_in(client, "ann").headers["location"] == "/label/"


def test_an_old_link_revives_nobody(store: Store) -> None:
    store.people.add("ann", "annotator")
    first, second = (store.people.invite("annotator", "ann") for _ in range(2))
    store.people.accept(first, "", "hash")
    with pytest.raises(ValueError, match="used or has expired"):
        store.people.accept(second, "", "another")  # else it would set a password a week later
    third = store.people.invite("lead", "ann")
    store.people.switch_off("ann")
    with pytest.raises(ValueError, match="switched off: switch them on first"):
        store.people.invite("annotator", "ann")
    for again in (False, True):
        if again:
            store.people.switch_on("ann")
        assert store.people.invitation(third) is None
        with pytest.raises(ValueError, match="used or has expired"):
            store.people.accept(third, "", "hash")
    assert store.people.find("ann").role == "annotator"  # type: ignore[union-attr]
    assert store.people.password_hash("ann") == "hash"


def test_a_link_made_before_somebody_was_switched_off_by_hand(store: Store) -> None:
    """As in a store of before: nobody withdrew it."""
    from data.store import tables as t

    store.people.add("ann", "annotator")
    token = store.people.invite("annotator", "ann")
    with store.database.write() as connection:
        connection.execute(t.annotators.update().values(active=False))
    with pytest.raises(ValueError, match="ann is switched off"):
        store.people.accept(token, "", "hash")
    assert store.people.session(store.people.start_session(store.people.all()[0])) is None


def test_sessions_end_and_links_are_withdrawn(store: Store) -> None:
    ann, ben = (store.people.add(name, "annotator", "hash") for name in ("ann", "ben"))
    sessions = [store.people.start_session(ann) for _ in range(3)]
    other = store.people.start_session(ben)
    token = store.people.invite("annotator", "ann")
    assert (store.people.access()["ann"].sessions, store.people.access()["ann"].links) == (3, 1)
    assert store.people.sign_out("ann") == 3 and store.people.sign_out("ann") == 0
    assert [store.people.session(one) for one in sessions] == [None] * 3
    assert store.people.session(other) == ben
    assert store.people.withdraw("ann") == 1 and store.people.withdraw("ann") == 0
    assert store.people.invitation(token) is None
    assert store.people.access()["ann"].links == 0


def test_the_only_lead_stays(store: Store) -> None:
    store.people.add("lena", "lead", "hash")
    store.people.add("ann", "annotator", "hash")
    store.people.add("max", "lead")  # without a password: cannot sign in
    with pytest.raises(ValueError, match="only lead who can sign in: make another"):
        store.people.switch_off("lena")
    store.people.add("mia", "lead", "hash")
    assert not store.people.switch_off("lena").active
    assert store.people.has_lead()


def test_from_the_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = main(["user", *words, "--workspace", str(tmp_path)])
        told = capsys.readouterr()
        return code, (told.out or told.err).strip()

    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert run("add", "ann", "--role", "annotator", "--password-stdin")[0] == 0
    assert run("add", "ben", "--role", "annotator")[0] == 0
    code, said = run("list")
    assert said.splitlines() == [
        "ann  annotator  can sign in",
        "ben  annotator  no password, 1 open link",
    ]
    assert run("withdraw", "ben") == (0, "1 open link of ben withdrawn")
    assert "switched off" in run("off", "ann")[1]
    assert run("list")[1].splitlines()[0] == "ann  annotator  switched off"
    code, said = run("add", "ann", "--role", "annotator")
    assert code == USER_ERROR and "switch them on first" in said
    assert "can sign in with the password they had" in run("on", "ann")[1]
    assert "0 sessions ended" in run("sign-out", "ann")[1]
    for words, named in [
        (("off", "an"), "nobody is called 'an': use ann"),
        (("off",), "needs a name: user list"),
        (("add", "cleo"), "needs --role"),
        (("add", "ANN", "--role", "lead"), "looks like 'ann'"),
    ]:
        code, said = run(*words)
        assert code == USER_ERROR and named in said, said


def test_from_the_leads_page(opened: Store, tmp_path: Path) -> None:
    site = Site(opened, tmp_path, "m")
    opened.people.start_session(opened.people.all()[1])
    assert "can sign in, 1 session" in home.people_html(snapshot.take(site))
    assert "Ann is signed out: 1 session ended." in data_tab.change_person(site, "sign-out", "ann")
    assert "is switched off" in data_tab.change_person(site, "off", "ann")
    assert "switched off" in home.people_html(snapshot.take(site))
    shown, said = data_tab.add_person(site, "http://here", "ann", "annotator")
    assert shown["visible"] is False and "switch them on first" in said
    assert "is switched on" in data_tab.change_person(site, "on", "ann")
    assert "0 open links" in data_tab.change_person(site, "withdraw", "ann")
    assert "only lead" in data_tab.change_person(site, "off", "lena")
    for nobody in (None, "", []):
        assert "choose a person" in data_tab.change_person(site, "off", nobody)


def test_who_is_out_cannot_call_the_pages_handlers(opened: Store, client: TestClient) -> None:
    opened.people.add("mia", "lead", "hash")
    sign_in(client, "lena")
    body = {"fn_index": 0, "data": [], "session_hash": "abc"}
    opened.people.switch_off("lena")
    assert client.post("/lead/gradio_api/run/predict", json=body).status_code == 401
    assert client.cookies[COOKIE] and client.get("/lead/config").status_code == 401


def test_what_was_said_is_not_the_annotators_to_take_along(opened: Store) -> None:
    add_tasks(opened, "binary", 1)
    ann = opened.people.all()[1]
    held = opened.ledger.claim(ann, random.Random(0))
    assert held is not None
    opened.ledger.submit(ann, held.id, Answer("good"), "token")
    opened.people.switch_off("ann")
    assert opened.ledger.by_annotator() == {"ann": 1}
