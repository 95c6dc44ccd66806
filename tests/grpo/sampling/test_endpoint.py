"""Completions from an endpoint: what is asked, kept, tried again, refused, and gone on with."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from data import runs
from data.schema import make_prompt
from data.splits import split_of
from data.store import Store
from grpo.config import SampleSettings, SamplingSettings
from grpo.run import execute
from grpo.sample import sample
from grpo.sampling import endpoint
from grpo.sampling.endpoint import KEY_VARIABLE, asked_to_wait
from tests.support.content import add_content
from tests.support.endpoint import Fake, Reply, distinct, says, serving
from tests.test_imports import HEAVY, ROOT

KEY = "sk-secret-4711"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(endpoint, "POLL", 0.02)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with serving() as running:
        running.answer = distinct
        yield running


def fill(store: Store, prompts: int = 6) -> None:
    """Prompts that are not held out."""
    asked = (make_prompt(f"Question {i}?") for i in range(3 * prompts))
    add_content(store, [p for p in asked if split_of(p) != "test"][:prompts])


def settings(fake: Fake, **changes: Any) -> SampleSettings:
    base = SampleSettings(
        policy="their-model",
        endpoint=fake.url,
        per_prompt=2,
        batch_size=4,
        tasks=12,
        timeout=20,
        overlap=0,
    )
    return replace(base, **changes)


def draw(store: Store, folder: Path, asked: SampleSettings) -> dict[str, Any]:
    """Sample as a run; its report, empty where it was stopped."""
    outcome = execute("sample", sample, replace(asked, workspace=folder), store)
    return outcome.report.as_json() if outcome.report else {}


def each_prompt_has(store: Store, n: int) -> bool:
    there = Counter(g.completion.prompt.id for g in store.content.generations("their-model"))
    return set(there.values()) == {n} and len(there) == store.content.counts().prompts


def refused(store: Store, folder: Path, asked: SampleSettings, *words: str) -> str:
    with pytest.raises(ValueError) as error:
        draw(store, folder, asked)
    line = str(error.value)
    assert len(line.splitlines()) == 1
    for word in (asked.endpoint, *words):
        assert word in line, line
    return line


def test_completions_are_asked_for_stored_and_queued(
    store: Store, fake: Fake, tmp_path: Path
) -> None:
    fill(store)
    second = threading.Event()

    def answer(n: int, body: dict[str, Any]) -> Reply:
        """The first once there is a second call; all slow enough to be seen beside others."""
        second.set() if n > 1 else second.wait(20)
        return replace(distinct(n, body), delay=0.05)

    fake.answer = answer
    sampling = SamplingSettings(temperature=0.7, top_p=0.9, max_new_tokens=33)
    report = draw(store, tmp_path, settings(fake, sampling=sampling, parallel=3, seed=5))
    assert (report["completions"], report["finished"], report["tasks"]) == (12, 12, 10)
    assert report["summary"] == "12 completions of 6 prompts; 12 ended by themselves."
    assert 2 <= fake.at_once <= 3
    call = next(c for c in fake.calls if c["seed"] == 6)
    assert call["messages"] == [{"role": "user", "content": call["messages"][0]["content"]}]
    assert call["path"] == "/v1/chat/completions" and call["model"] == "their-model"
    assert (call["temperature"], call["top_p"], call["max_tokens"]) == (0.7, 0.9, 33)
    assert fake.keys == [None] * 12
    kept = store.content.generations("their-model")
    assert Counter(g.sampling["seed"] for g in kept) == {5: 6, 6: 6}
    assert {g.sampling["endpoint"] for g in kept} == {fake.url.split("/")[2]}
    assert len(store.content.questions()) == store.content.counts().tasks_open == 10
    (run,) = store.runs.list("sample")
    assert (run.status, run.done, run.total) == ("finished", 12, 12)


def test_a_cut_text_is_unfinished_and_an_empty_one_is_kept(
    store: Store, fake: Fake, tmp_path: Path
) -> None:
    """Only what no store can keep is left out: a model that ended at once has answered too."""
    fill(store, 3)
    odd = [
        Reply(None),
        Reply(" \n"),
        Reply("a\x00b"),
        Reply("\ud800"),
        Reply("cut", reason="length"),
    ]
    fake.answer = says(*odd, Reply("whole", reason="eos"))
    report = draw(store, tmp_path, settings(fake, parallel=1, batch_size=6))
    assert report["left_out"] == {"with characters that cannot be stored": 2}
    assert (report["completions"], report["finished"], report["without_answer"]) == (4, 3, 2)
    assert "2 are empty" in report["summary"] and "Left out: 2 with char" in report["summary"]
    texts = {g.completion.text: g.completion.finished for g in store.content.generations()}
    assert texts == {"": True, " \n": True, "cut": False, "whole": True}


@pytest.mark.parametrize(
    "bad",
    [
        Reply("slow down", 429, headers={"retry-after": "7"}),
        Reply(
            raw=b'{"error": {"message": "slow down", "code": 429}}', headers={"retry-after": "7"}
        ),
        Reply("oops", 500),
        Reply(raw=b"<html>bad gateway", status=502),
        Reply("early", 425),
        Reply("timed out", 408),
        Reply("late", delay=3.0),
    ],
)
def test_a_passing_fault_is_tried_again(
    sqlite_store: Store, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: Reply
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(endpoint.asyncio, "sleep", sleep)
    fill(sqlite_store, 1)
    fake.answer = says(bad, bad, Reply("one"), Reply("two"))
    patience = 1.0 if bad.delay else 20.0  # a busy machine answers slowly as well
    report = draw(sqlite_store, tmp_path, settings(fake, parallel=1, timeout=patience))
    assert (report["completions"], report["calls_made_again"]) == (2, 2)
    assert len(waits) == 2 and (waits == [7.0, 7.0]) == ("retry-after" in bad.headers)
    assert {g.completion.text for g in sqlite_store.content.generations()} == {"one", "two"}


def test_an_endpoint_that_stays_broken_ends_the_run_and_missing_goes_on(
    store: Store, fake: Fake, tmp_path: Path
) -> None:
    fill(store)
    fake.answer = lambda n, body: distinct(n, body) if n <= 7 else Reply("overloaded", 503)
    line = refused(store, tmp_path, settings(fake, parallel=1), "answered 503 (overloaded)")
    assert "--missing" in line and len(fake.calls) == 7 + 2 * endpoint.TRIES
    assert store.content.counts().completions == 7
    assert store.runs.list("sample")[0].status == "failed"
    fake.answer = distinct
    report = draw(store, tmp_path, settings(fake, missing=True))
    assert report["completions"] == 5 and each_prompt_has(store, 2)
    asked = len(fake.calls)
    report = draw(store, tmp_path, settings(fake, missing=True))
    assert "No completion is missing" in report["summary"] and len(fake.calls) == asked


def test_a_stopped_run_keeps_what_came_and_missing_goes_on(
    sqlite_store: Store, fake: Fake, tmp_path: Path
) -> None:
    """It does not wait for the answer that it asked for last."""
    fill(sqlite_store)
    over = threading.Event()

    def answer(n: int, body: dict[str, Any]) -> Reply:
        if n == 7:
            (run,) = sqlite_store.runs.list("sample")
            runs.request_stop(sqlite_store, run.id)
            over.wait(20)
        return distinct(n, body)

    fake.answer = answer
    assert draw(sqlite_store, tmp_path, settings(fake, parallel=1)) == {}
    over.set()
    assert sqlite_store.runs.list("sample")[0].status == "stopped"
    assert sqlite_store.content.counts().completions == 6
    fake.answer = distinct
    draw(sqlite_store, tmp_path, settings(fake, missing=True))
    assert each_prompt_has(sqlite_store, 2)


def test_missing_draws_from_new_seeds_only(sqlite_store: Store, fake: Fake, tmp_path: Path) -> None:
    """Also where the model says the same each time, which is one completion and several draws."""
    fill(sqlite_store, 2)
    fake.answer = lambda n, body: Reply("always this") if body["seed"] else Reply("a\x00")
    draw(sqlite_store, tmp_path, settings(fake, per_prompt=3, batch_size=6))
    draw(sqlite_store, tmp_path, settings(fake, per_prompt=4, missing=True))
    seeds = Counter(g.sampling["seed"] for g in sqlite_store.content.generations())
    assert seeds == {1: 2, 2: 2, 3: 2}
    assert sqlite_store.content.counts().completions == 2


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(f"bad key {KEY}", 401), ("answered 401", KEY_VARIABLE)),
        (Reply("no access", 403), ("answered 403", KEY_VARIABLE)),
        (Reply("no such model", 404), ("404 (no such model)", "--policy", "'their-model'")),
        (Reply("", 301, headers={"location": "http://127.0.0.1:1/"}), ("answered 301",)),
        (Reply(raw=b"{not json"), ("no chat completion ({not json)", "API's base")),
        (Reply(raw=b"<html>Welcome</html>"), ("no chat completion (<html>Welcome",)),
        (Reply(raw=b'{"error": {"message": "bad"}}'), ("no chat completion (bad)",)),
        (Reply(raw=b'{"choices": []}'), ("2 without a choice", "'their-model'")),
        (Reply(raw=b'{"choices": {"0": 1}}'), ("no chat completion",)),
        (Reply(raw=b'{"choices": [7]}'), ("no chat completion",)),
        (Reply(raw=b"null"), ("no chat completion",)),
        (Reply(raw=b"\xff\xfe"), ("no chat completion",)),
        (Reply(raw=b"data: {}\n\ndata: [DONE]\n"), ("no chat completion (data: {}",)),
        (Reply(raw=b'{"choices": [{"message": "x"}]}'), ("no chat completion",)),
        (Reply(raw=b'{"choices": [{"message": {"content": 7}}]}'), ("no chat completion",)),
        (Reply(raw=b"[" * 100_000), ("no chat completion",)),
        (Reply("bad prompt", 400), ("2 refused with 400 (bad prompt", "'their-model'")),
        (Reply("", reason="length"), ("2 empty at the token limit", "--sampling.max-new-tokens")),
        (Reply(None, more={"refusal": "No."}), ("2 with a refusal in place of text",)),
    ],
)
def test_a_refusal_is_one_line_with_its_remedy(
    sqlite_store: Store,
    fake: Fake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    words: tuple[str, ...],
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    fill(sqlite_store, 3)
    fake.answer = lambda n, body: reply
    line = refused(sqlite_store, tmp_path, settings(fake, batch_size=2, parallel=2), *words)
    assert KEY not in line and len(line) < 420
    assert len(fake.calls) <= 2
    assert sqlite_store.content.counts().completions == 0


def test_two_refusals_at_once_are_one_line(
    sqlite_store: Store,
    fake: Fake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(*_: object) -> None:
        raise ValueError(f"{fake.url} says no")

    monkeypatch.setattr(endpoint.Endpoint, "_fetch_one", refuse)
    fill(sqlite_store, 3)
    refused(sqlite_store, tmp_path, settings(fake, batch_size=6, parallel=6), "says no")
    gc.collect()  # asyncio tells of what nobody looked at when it is thrown away
    assert caplog.text == ""


def test_one_prompt_that_does_not_fit_is_left_out(
    sqlite_store: Store, fake: Fake, tmp_path: Path
) -> None:
    fill(sqlite_store, 3)
    fake.answer = lambda n, body: Reply("too long", 400) if n <= 2 else distinct(n, body)
    report = draw(sqlite_store, tmp_path, settings(fake, parallel=1, batch_size=6))
    assert report["left_out"] == {"refused with 400": 2} and report["refusal"] == "too long"
    assert report["completions"] == 4
    fake.answer = says(Reply("too long", 400))
    report = draw(sqlite_store, tmp_path, settings(fake, missing=True))
    assert (report["completions"], report["left_out"]) == (0, {"refused with 400": 2})


def test_nobody_listens(sqlite_store: Store, fake: Fake, tmp_path: Path) -> None:
    fill(sqlite_store, 1)
    deaf = replace(settings(fake), endpoint="http://127.0.0.1:1/v1")
    refused(sqlite_store, tmp_path, deaf, "cannot be reached", "see that it runs")


def test_a_hang_is_given_up(sqlite_store: Store, fake: Fake, tmp_path: Path) -> None:
    fill(sqlite_store, 1)
    fake.answer = says(Reply(delay=1.5))
    refused(sqlite_store, tmp_path, settings(fake, timeout=0.1), "no answer within 0.1 s")


def test_a_long_rest_is_not_waited_for(sqlite_store: Store, fake: Fake, tmp_path: Path) -> None:
    fill(sqlite_store, 1)
    fake.answer = says(Reply("quota", 429, headers={"retry-after": "3600"}))
    refused(sqlite_store, tmp_path, settings(fake), "429 (quota), and wants 3600 s of rest")


def test_the_key_is_sent_and_kept_nowhere(
    sqlite_store: Store,
    fake: Fake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, f" {KEY}\n")
    fill(sqlite_store)
    fake.answer = lambda n, body: Reply(f"{KEY} is busy", 500) if n % 3 == 0 else distinct(n, body)
    draw(sqlite_store, tmp_path, settings(fake, parallel=1))
    assert set(fake.keys) == {f"Bearer {KEY}"}
    fake.answer = says(Reply(KEY, 500))
    refused(sqlite_store, tmp_path, settings(fake), "***")
    assert KEY not in "".join(capfd.readouterr())
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "traceback.txt" for path in files)
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []


def test_a_key_that_is_none_is_refused(
    sqlite_store: Store, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "one\ntwo")
    fill(sqlite_store, 1)
    with pytest.raises(ValueError, match="COACH_ENDPOINT_KEY holds characters"):
        draw(sqlite_store, tmp_path, settings(fake))
    assert fake.calls == []


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("host:8000/v1", "is no address"),
        ("ftp://host/v1", "is no address"),
        ("http://", "is no address"),
        ("http://host:x/v1", "is no address"),
        ("http://[::1/v1", "is no address"),
        ("http://a host/v1", "is no address"),
        ("http://host/v1\n", "is no address"),
        (f"http://me:{KEY}@host/v1", "user name"),
        (f"http://host/v1?key={KEY}", "a query"),
        (f"http://{KEY}@host:x/v1", "user name"),
    ],
)
def test_a_wrong_address_is_refused(address: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as error:
        SampleSettings(endpoint=address)
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "change", [{"parallel": 0}, {"timeout": 0}, {"across": -0.1}, {"mix": ("-x",)}]
)
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        SampleSettings(**change)


def test_what_retry_after_may_say() -> None:
    assert (asked_to_wait("7"), asked_to_wait("0.5"), asked_to_wait("-1")) == (7.0, 0.5, 0.0)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < asked_to_wait(soon) <= 30
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    assert asked_to_wait(past) == asked_to_wait("") == asked_to_wait("soon") == 0.0


def test_what_names_its_maker_is_kept_and_not_asked_about(
    store: Store, fake: Fake, tmp_path: Path
) -> None:
    fill(store, 4)

    def answer(n: int, body: dict[str, Any]) -> Reply:
        return Reply("I am ChatGPT.") if body["seed"] == 0 else distinct(n, body)

    fake.answer = answer
    report = draw(store, tmp_path, settings(fake, per_prompt=3, batch_size=12, tasks=100))
    assert (report["completions"], report["names_maker"]) == (12, 4)
    assert "4 completions name their maker, e.g. 'I am ChatGPT'" in report["summary"]
    named = {g.completion.id for g in store.content.generations() if "ChatGPT" in g.completion.text}
    assert len(named) == 4
    asked = store.content.questions()
    assert asked and not any(ids & named for _, ids in asked)


def test_the_command_needs_no_torch(sqlite_store: Store, fake: Fake, tmp_path: Path) -> None:
    fill(sqlite_store, 3)
    code = (
        "import sys\nfrom grpo.__main__ import main\ncode = main()\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)))\nsys.exit(code)"
    )
    words = ["sample", "--workspace", str(tmp_path), "--endpoint", fake.url, "--policy", "m"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--per-prompt", "2", "--mix"],
        cwd=ROOT,
        env={**os.environ, "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    assert "6 completions of 3 prompts; 6 ended by themselves." in done.stdout
    assert len(sqlite_store.content.generations("m")) == 6
