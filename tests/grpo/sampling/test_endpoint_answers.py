"""Answers as endpoints really give them: what is text, what is finished, what is counted."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from data.store import Store
from grpo.config import LARGEST_PARAMETERS, SampleSettings, read_parameters
from grpo.sampling import endpoint
from grpo.sampling.chat_answer import ENDED, OddAnswer, read_chat_answer
from grpo.sampling.endpoint import KEY_VARIABLE, LARGEST_BODY, unpack
from tests.grpo.sampling.test_endpoint import draw, fake, fill, refused, settings
from tests.support.endpoint import Fake, Reply, distinct

__all__ = ["fake"]  # a fixture
TEXT = {"type": "text", "text": "Fine."}


def read(reply: Reply) -> Any:
    return read_chat_answer(reply.body())


def of_one_prompt(odd: Reply) -> Callable[[int, dict[str, Any]], Reply]:
    """This to the second prompt that is asked, and ordinary answers to the others."""
    seen: dict[str, None] = {}

    def answer(n: int, body: dict[str, Any]) -> Reply:
        asked = body["messages"][-1]["content"]
        seen.setdefault(asked)
        return odd if [*seen].index(asked) == 1 else distinct(n, body)

    return answer


@pytest.mark.parametrize("reason", [*ENDED, "STOP", "EOS_TOKEN"])
def test_a_model_that_ended_by_itself_is_finished(reason: str) -> None:
    assert read(Reply(reason=reason)).ended


@pytest.mark.parametrize(
    ("reason", "ending"),
    [
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("function_call", "function_call"),
        ("abort", "abort"),
        (None, "null"),
        ("", "null"),
        ("stopped", "unknown"),
        (3, "unknown"),
        (["stop"], "unknown"),
    ],
)
def test_whatever_else_ended_it_it_is_unfinished(
    sqlite_store: Store, fake: Fake, tmp_path: Path, reason: object, ending: str
) -> None:
    fill(sqlite_store, 3)
    fake.answer = of_one_prompt(Reply("Half an answ", reason=reason))
    report = draw(sqlite_store, tmp_path, settings(fake, parallel=1))
    assert report["endings"] == {"stop": 4, ending: 2}
    assert (report["completions"], report["finished"]) == (6, 4)
    assert (f"ended by {ending}" in report["summary"]) == (ending != "length")
    marks = {g.completion.finished for g in sqlite_store.content.generations("their-model")
             if g.completion.text == "Half an answ"}  # fmt: skip
    assert marks == {False}


def test_a_tool_call_beside_text_is_no_end() -> None:
    call = {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "w"}}]}
    assert read(Reply("I will look.", more=call)).ending == "tool_calls"
    with pytest.raises(OddAnswer, match="tool call in place of text"):
        read(Reply(None, reason="tool_calls", more=call))


@pytest.mark.parametrize(
    ("content", "text", "thinking"),
    [
        ([TEXT, {"type": "text", "text": " Thanks."}], "Fine. Thanks.", ""),
        ([{"type": "output_text", "text": "Fine."}], "Fine.", ""),
        ([{"text": "Fine."}], "Fine.", ""),
        (["Fine", "."], "Fine.", ""),
        (TEXT, "Fine.", ""),
        ([], "", ""),
        ([{"type": "thinking", "thinking": "So."}, TEXT], "Fine.", "So."),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "So."}]}, "Fine."],
            "Fine.",
            "So.",
        ),
    ],
)  # fmt: skip
def test_content_in_parts_is_joined(content: object, text: str, thinking: str) -> None:
    answer = read(Reply(content))
    assert (answer.text, answer.thinking) == (text, thinking)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply([{"type": "image_url", "image_url": {"url": "x"}}]), "with parts that are no text"),
        (Reply(["a", {"type": "input_audio"}]), "with parts that are no text"),
        (Reply([{"type": "text", "text": 7}]), "that were no chat completion"),
        (Reply([7]), "that were no chat completion"),
        (Reply(7), "that were no chat completion"),
        (Reply(None, more={"refusal": "I can't."}), "with a refusal in place of text"),
        (Reply(None, more={"audio": {"id": "a", "data": ""}}), "with sound in place of text"),
        (Reply(None, more={"function_call": {"name": "f"}}), "with a tool call in place of text"),
        (Reply("", reason="content_filter"), "empty, ended by content_filter"),
        (Reply("", reason=None), "empty, ended by null"),
        (Reply(None, reason="length"), "empty at the token limit"),
        (Reply(raw=b'{"choices": []}'), "without a choice"),
        (Reply(raw=b"<html>A proxy</html>"), "that were no chat completion"),
        (Reply(raw=b'{"error": {"message": "x", "code": 502}}'), "that no answer came to"),
        (Reply([{"type": "refusal", "refusal": "No."}]), "with a refusal in place of text"),
        (Reply(raw=b""), "that were no chat completion"),
        (Reply(raw=b"[" * 100_000), "that were no chat completion"),
        (Reply("", 308, headers={"location": "https://127.0.0.1/"}), "answered with 308"),
        (Reply("flagged", 403), "answered with 403"),
        (Reply("who are you", 401), "answered with 401"),
        (Reply("gone", 404), "answered with 404"),
        (Reply("long", 413), "refused with 413"),
        (Reply(raw=b" " * (LARGEST_BODY + 1)), f"of more than {LARGEST_BODY:,} bytes"),
        (
            Reply(raw=gzip.compress(b" " * 2**26), headers={"content-encoding": "gzip"}),
            f"of more than {LARGEST_BODY:,} bytes",
        ),
        (Reply(raw=b"plain", headers={"content-encoding": "gzip"}), "that could not be unpacked"),
        (Reply(raw=b"x", headers={"content-encoding": "br"}), "that could not be unpacked"),
        (Reply(raw=b"x", headers={"content-encoding": "gzip, gzip"}), "that could not be unpacked"),
        (Reply("x" * 1_000_001), "longer than 1,000,000 characters"),
        (Reply("still 503", 503), "that no answer came to"),
    ],
)
def test_one_odd_answer_is_counted_and_the_others_are_kept(
    sqlite_store: Store, fake: Fake, tmp_path: Path, reply: Reply, reason: str
) -> None:
    fill(sqlite_store, 4)
    fake.answer = of_one_prompt(reply)
    report = draw(sqlite_store, tmp_path, settings(fake, parallel=1))
    assert report["left_out"] == {reason: 2}
    assert report["completions"] == 6 and f"Left out: 2 {reason}." in report["summary"]


def test_many_answers_of_no_use_in_a_row_end_the_run(
    sqlite_store: Store, fake: Fake, tmp_path: Path
) -> None:
    """What an endpoint gave before is kept, and a broken one is not asked to the end."""
    fill(sqlite_store, 20)
    fake.answer = lambda n, body: distinct(n, body) if n < 5 else Reply(raw=b"<html>maintenance")
    line = refused(
        sqlite_store, tmp_path, settings(fake, parallel=1), "no chat completion (<html>maint"
    )
    assert "API's base" in line and len(fake.calls) <= 12
    assert sqlite_store.content.counts().completions == 4


@pytest.mark.parametrize("packed", [gzip.compress, zlib.compress])
def test_a_packed_answer_that_nobody_asked_for_is_unpacked(
    packed: Callable[[bytes], bytes], sqlite_store: Store, fake: Fake, tmp_path: Path
) -> None:
    fill(sqlite_store, 1)
    raw, kind = packed(Reply("Fine.").body()), "gzip" if packed is gzip.compress else "deflate"
    fake.answer = lambda n, body: Reply(raw=raw, headers={"content-encoding": kind})
    assert draw(sqlite_store, tmp_path, settings(fake))["completions"] == 2


def test_unpacking_stops_at_the_limit() -> None:
    bomb = gzip.compress(b"\x00" * 2**27)
    body, fault = unpack(bomb, "gzip")
    assert len(body) == LARGEST_BODY and "more than" in fault


@property_settings(derandomize=True, max_examples=80, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "content", "type", "text", "finish_reason", "thinking"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_any_json_is_read_or_left_out(content: object) -> None:
    for reply in (Reply(content), Reply(more={"reasoning": content}), Reply(reason=content)):
        try:
            read(reply)
        except OddAnswer as odd:
            assert odd.reason


# --- what is asked


@pytest.mark.parametrize("status", [400, 422])
def test_the_limit_goes_by_the_name_that_the_endpoint_takes(
    store: Store, fake: Fake, tmp_path: Path, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
        " 'max_completion_tokens' instead."
    )
    fake.answer = lambda n, body: (
        Reply(words, status) if "max_tokens" in body else distinct(n, body)
    )
    fill(store, 3)
    report = draw(store, tmp_path, settings(fake, parallel=2))
    assert (report["completions"], report["left_out"]) == (6, {})
    assert {c["max_completion_tokens"] for c in fake.calls if "max_tokens" not in c} == {96}
    assert len(fake.calls) <= 8
    assert capsys.readouterr().out.count("takes max_completion_tokens") == 1


def test_a_limit_that_is_too_large_is_no_other_name(
    sqlite_store: Store, fake: Fake, tmp_path: Path
) -> None:
    fill(sqlite_store, 1)
    fake.answer = lambda n, body: Reply("max_tokens is too large: at most 64", 400)
    refused(sqlite_store, tmp_path, settings(fake), "max_tokens is too large: at most 64")
    assert len(fake.calls) == 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("seed", b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}'),
        ("top_p", b'{"error": {"message": "Unsupported parameter: \'top_p\'"}}'),
        ("temperature", b'{"error": {"message": "temperature does not support 1.0 here"}}'),
    ],
)
def test_a_parameter_that_changes_nothing_is_left_out_where_it_is_refused(
    sqlite_store: Store, fake: Fake, tmp_path: Path, name: str, words: bytes
) -> None:
    fake.answer = lambda n, body: (
        Reply(raw=words, status=422) if name in body else distinct(n, body | {"seed": n})
    )
    fill(sqlite_store, 2)
    assert draw(sqlite_store, tmp_path, settings(fake, parallel=1))["completions"] == 4
    assert len(fake.calls) == 5


def test_a_temperature_that_was_chosen_is_not_left_out(
    sqlite_store: Store, fake: Fake, tmp_path: Path
) -> None:
    fill(sqlite_store, 1)
    fake.answer = lambda n, body: Reply("temperature 0.5 is not supported", 400)
    chosen = replace(SampleSettings().sampling, temperature=0.5)
    refused(sqlite_store, tmp_path, settings(fake, sampling=chosen), "0.5 is not supported")


def test_further_parameters_are_sent_and_kept(store: Store, fake: Fake, tmp_path: Path) -> None:
    fill(store, 2)
    text = '{"top_k": 20, "chat_template_kwargs": {"enable_thinking": false}, "seed": null}'
    draw(store, tmp_path, settings(fake, parameters=text))
    for call in fake.calls:
        assert call["top_k"] == 20 and "seed" not in call
        assert call["chat_template_kwargs"] == {"enable_thinking": False}
    kept = store.content.generations("their-model")
    assert all(g.sampling["parameters"]["top_k"] == 20 for g in kept)


def test_a_limit_of_ones_own_takes_the_other_ones_place(
    sqlite_store: Store, fake: Fake, tmp_path: Path
) -> None:
    fill(sqlite_store, 1)
    draw(sqlite_store, tmp_path, settings(fake, parameters='{"max_completion_tokens": 7}'))
    assert all(c["max_completion_tokens"] == 7 and "max_tokens" not in c for c in fake.calls)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("top_k=20", "are not JSON"),
        ("{'top_k': 20}", "are not JSON"),
        ("[1]", "no JSON object"),
        ('{"top_k": NaN}', "NaN is no JSON number"),
        ('{"top_k": 1e999}', "too large"),
        ('{"top_k": 1, "top_k": 2}', "stands twice"),
        ('{"n": 4}', "'n' not allowed"),
        ('{"n": null}', "'n' not allowed"),
        ('{"stream": true}', "'stream' not allowed"),
        ('{"messages": []}', "'messages' not allowed"),
        ('{"temperature": 0.5}', "use --sampling.temperature"),
        ('{"max_tokens": 5}', "use --sampling.max-new-tokens"),
        ('{"seed": 5}', "its own seed"),
        ('{"stop": "\\ud800"}', "half a character"),
        ('{"stop": "' + "x" * LARGEST_PARAMETERS + '"}', "too long"),
        ('{"a": ' * 120 + "1" + "}" * 120, None),
        ("[" * 900, "JSON"),
    ],
)
def test_parameters_are_checked_before_anything_is_asked(text: str, word: str | None) -> None:
    if word is None:
        assert read_parameters(text)
        return
    with pytest.raises(ValueError, match=word) as error:
        SampleSettings(parameters=text)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "word"),
    [("m\x00", "NUL"), ("m\udcff", "half a character"), ("é" * 401, "most 800")],
)
def test_a_name_that_cannot_be_kept_is_refused(name: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        SampleSettings(policy=name)


def test_a_completion_with_the_key_in_it_is_not_stored(
    sqlite_store: Store, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-secret-4711")
    fill(sqlite_store, 3)
    fake.answer = of_one_prompt(Reply("You sent Bearer sk-secret-4711."))
    report = draw(sqlite_store, tmp_path, settings(fake, parallel=1))
    assert report["left_out"] == {"with the key in it": 2}
    assert not any("4711" in g.completion.text for g in sqlite_store.content.generations())


@pytest.mark.parametrize("asks", ["nan", "inf", "1e400", "-5", "soon"])
def test_a_rest_that_is_no_time_ends_no_run_for_ever(
    sqlite_store: Store, fake: Fake, tmp_path: Path, asks: str
) -> None:
    """An endless rest is not waited for; one that cannot be read is ours to choose."""
    fill(sqlite_store, 1)
    busy = Reply("slow down", 429, headers={"retry-after": asks})
    fake.answer = lambda n, body: busy if n == 1 else distinct(n, body)
    if endpoint.asked_to_wait(asks) > endpoint.LONGEST_WAIT:
        refused(sqlite_store, tmp_path, settings(fake), "slow down", "of rest")
    else:
        assert draw(sqlite_store, tmp_path, settings(fake))["completions"] == 2
