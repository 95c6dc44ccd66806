"""Conversations: transcripts, content in parts, and data for supervised fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.imports import ImportReport, import_file
from data.store import Store
from tests.data.imports.test_import_foreign import ASKED, BETTER, TALK, reply, said
from tests.data.imports.test_import_lines import write

HH = "\n\nHuman: q\n\nAssistant:"


def load(store: Store, folder: Path, row: Any, **settings: Any) -> ImportReport:
    return import_file(store, write(folder / "in.jsonl", row), annotator="ann", **settings)


# -- transcripts ---------------------------------------------------------------------------


TRANSCRIPTS: dict[str, dict[str, Any]] = {
    "of HH": {"chosen": f"{HH} x", "rejected": f"{HH} y"},
    "with its prompt apart": {"prompt": HH, "chosen": " x", "rejected": " y"},
    "a line for each turn": {"chosen": "User: q\nAssistant: x", "rejected": "User: q\nAI: y"},
    "with signs": {
        "chosen": "### Human: q\n### Assistant: x",
        "rejected": "### Human: q\n### Assistant: y",
    },
}


@pytest.mark.parametrize("what", TRANSCRIPTS)
def test_a_transcript_is_turns(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    load(sqlite_store, tmp_path, TRANSCRIPTS[what])
    assert said(sqlite_store) == [("q", ("x", "y"), "a", "ann")]


def test_names_within_a_transcript_of_blank_lines_are_text(
    sqlite_store: Store, tmp_path: Path
) -> None:
    row = {"chosen": f"{HH} x\nHuman: is a word", "rejected": f"{HH} y"}
    load(sqlite_store, tmp_path, row)
    assert said(sqlite_store)[0][1] == ("x\nHuman: is a word", "y")


def test_other_shapes_with_a_transcript_for_a_prompt(sqlite_store: Store, tmp_path: Path) -> None:
    for row in ({"prompt": HH}, {"prompt": HH, "completion": " x"}):
        assert load(sqlite_store, tmp_path, row).left_out == {
            "prompt spelled as a transcript: read as turns": 1
        }
    load(sqlite_store, tmp_path, {"prompt": HH, "completion": " x", "label": True})
    assert said(sqlite_store) == [("q", ("x",), "good", "ann")]
    assert [p.text for p in sqlite_store.content.prompts()] == ["q"]
    assert [d.text for d in sqlite_store.content.demonstrations()] == ["x"]


PARTED: dict[str, tuple[dict[str, Any], str]] = {
    "before the last turn": (
        {
            "chosen": f"{HH} x\n\nHuman: sure?\n\nAssistant: Yes",
            "rejected": f"{HH} y\n\nHuman: sure?\n\nAssistant: No",
        },
        "chosen holds assistant, user, assistant after the prompt",
    ),
    "on one side": (
        {"chosen": f"{HH} x", "rejected": f"{HH} y\n\nHuman: sure?\n\nAssistant: No"},
        "rejected holds assistant, user, assistant after the prompt",
    ),
    "a line for each turn": (
        {
            "chosen": "Human: q\nAssistant: x\nHuman: sure?\nAssistant: Yes",
            "rejected": "Human: q\nAssistant: y\nHuman: sure?\nAssistant: No",
        },
        "chosen holds assistant, user, assistant after the prompt",
    ),
    "behind a prompt": (
        {"prompt": HH, "chosen": " x\n\nHuman: sure?\n\nAssistant: Yes", "rejected": " y"},
        'chosen holds turns of both sides ("Human:" ...)',
    ),
    "behind a prompt of text": (
        {**BETTER, "rejected": "y\n\nHuman: sure?\n\nAssistant: No"},
        'rejected holds turns of both sides ("Human:" ...)',
    ),
    "an answer that is found good": (
        {"prompt": "q", "completion": "y\n\nHuman: sure?\n\nAssistant: No", "label": True},
        'completion holds turns of both sides ("Human:" ...)',
    ),
    "lists": (
        {"chosen": [*TALK, reply("x")], "rejected": [ASKED, reply("o"), *TALK[2:], reply("y")]},
        "chosen holds assistant, user, assistant after the prompt",
    ),
    "a model's template": (
        {
            "chosen": "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nx",
            "rejected": "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\ny",
        },
        'in a spelling that is not read ("<|im_start|>"): write them as lists',
    ),
}


@pytest.mark.parametrize("what", PARTED)
def test_no_answer_holds_turns(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    row, reason = PARTED[what]
    with pytest.raises(ValueError) as caught:
        load(sqlite_store, tmp_path, row)
    assert reason in str(caught.value)


# -- turns -----------------------------------------------------------------------------------


TURNS: dict[str, dict[str, Any]] = {
    "text in parts": {
        "prompt": [{"role": "user", "content": [{"type": "text", "text": "q"}]}],
        "chosen": [
            reply("x") | {"content": [{"type": "text", "text": "x"}, {"type": "text", "text": ""}]}
        ],
        "rejected": [reply("y")],
    },
    "null keys": {
        "prompt": [ASKED | {"name": None}],
        "chosen": [reply("x") | {"tool_calls": None}],
        "rejected": [reply("y")],
    },
    "one turn for a list": {"prompt": [ASKED], "chosen": reply("x"), "rejected": reply("y")},
    "ShareGPT's turns": {
        "prompt": "q",
        "chosen": {"from": "gpt", "value": "x"},
        "rejected": {"from": "gpt", "value": "y"},
    },
    "blanks at the ends of what was asked": {
        "prompt": "q",
        "chosen": [{"role": "user", "content": "q\n"}, reply("x")],
        "rejected": [{"role": "user", "content": " q"}, reply("y")],
    },
}


@pytest.mark.parametrize("what", TURNS)
def test_turns_of_other_programs(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    load(sqlite_store, tmp_path, TURNS[what])
    assert said(sqlite_store) == [("q", ("x", "y"), "a", "ann")]


def test_parts_in_the_exchange_format(sqlite_store: Store, tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b", "annotations": None}]
    turns = [{"role": "user", "content": parts, "name": None}]
    load(sqlite_store, tmp_path, {"type": "prompt", "prompt": turns})
    assert [p.plain() for p in sqlite_store.content.prompts()] == ["ab"]


# -- demonstrations -----------------------------------------------------------------------------


SYSTEM = {"role": "system", "content": "s"}
SHAREGPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "x"}]
DEMONSTRATIONS: dict[str, tuple[dict[str, Any], Any, str]] = {
    "messages": ({"messages": [ASKED, reply("x")]}, "q", "messages"),
    "a system turn": ({"messages": [SYSTEM, ASKED, reply("x")]}, [SYSTEM, ASKED], "messages"),
    "several turns": ({"messages": [*TALK, reply("x")]}, TALK, "messages"),
    "a prompt beside them": ({"prompt": "q", "messages": [ASKED, reply("x")]}, "q", "messages"),
    "prompt and completion": ({"prompt": "q", "completion": "x"}, "q", "prompt and completion"),
    "the same as turns": (
        {"prompt": [SYSTEM, ASKED], "completion": [reply("x")]},
        *([SYSTEM, ASKED], "prompt and completion"),
    ),
    "ShareGPT": ({"conversations": SHAREGPT}, "q", "ShareGPT"),
    "ShareGPT with a system text": (
        {"conversations": SHAREGPT, "system": "s", "id": "c1"},
        *([SYSTEM, ASKED], "ShareGPT"),
    ),
    "conversations of roles": ({"conversations": [ASKED, reply("x")]}, "q", "ShareGPT"),
    "Alpaca": ({"instruction": "q", "input": "", "output": "x"}, "q", "Alpaca"),
    "Alpaca with an input": ({"instruction": "q", "input": "i", "output": "x"}, "q\n\ni", "Alpaca"),
    "Alpaca with turns before": (
        {"instruction": "more", "output": "x", "history": [["q", "m"]], "system": "s"},
        *([SYSTEM, *TALK], "Alpaca"),
    ),
}


@pytest.mark.parametrize("what", DEMONSTRATIONS)
def test_demonstrations(sqlite_store: Store, tmp_path: Path, what: str) -> None:
    row, prompt, read_as = DEMONSTRATIONS[what]
    report = load(sqlite_store, tmp_path, row)
    assert report.read_as.startswith(read_as)
    (found,) = sqlite_store.content.demonstrations()
    assert (found.prompt.plain(), found.text) == (prompt, "x")
    assert sum(report.left_out.values()) == (what in ("several turns", "a prompt beside them"))
    assert load(sqlite_store, tmp_path, row).new == {"demonstration": 0}


def test_messages_in_a_table(sqlite_store: Store, tmp_path: Path) -> None:
    """A column that can be nothing but a conversation is read as one, however it is spelled."""
    spelled = (json.dumps([ASKED, reply("x")]), str([ASKED, reply("x")]))
    cells = ['"' + text.replace('"', '""') + '"' for text in spelled]
    (tmp_path / "in.csv").write_text("messages\n" + "\n".join(cells) + "\n")
    assert import_file(sqlite_store, tmp_path / "in.csv").read == {"demonstration": 2}
    assert [d.text for d in sqlite_store.content.demonstrations()] == ["x"]


def test_what_waits_for_an_answer_is_a_prompt(sqlite_store: Store, tmp_path: Path) -> None:
    report = load(sqlite_store, tmp_path, {"messages": TALK})
    assert (report.new, sum(report.left_out.values())) == ({"prompt": 1}, 1)


def test_documents(sqlite_store: Store, tmp_path: Path) -> None:
    assert load(sqlite_store, tmp_path, {"text": "prose"}).new == {"document": 1}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no turns": ({"messages": []}, "use a list of {role, content}"),
    "an answer to nothing": (
        {"messages": [reply("x")]},
        "they must end with a turn whose role is user and",
    ),
    "tool calls": (
        {"messages": [ASKED, reply("x") | {"tool_calls": [{}]}]},
        '"tool_calls" in a turn of messages unknown',
    ),
    "a picture": (
        {"messages": [ASKED | {"content": [{"type": "image_url", "image_url": "u"}]}, reply("x")]},
        "is no text: use parts of type text alone",
    ),
    "another prompt beside": (
        {"prompt": "other", "messages": [ASKED, reply("x")]},
        'prompt "other" is not what messages begin with',
    ),
    "a tool that speaks": (
        {"conversations": [SHAREGPT[0], {"from": "observation", "value": "x"}]},
        'speaker "observation" unknown: use human',
    ),
    "a weight on a turn": (
        {"conversations": [SHAREGPT[0], SHAREGPT[1] | {"weight": 0}]},
        '"weight" in a turn of conversations unknown',
    ),
    "another column": (
        {"messages": [ASKED], "source": "web"},
        "leave it out with --columns source=",
    ),
    "nothing demonstrated": ({"prompt": "q", "completion": " "}, "completion ' ' has no text"),
    "an output of numbers": ({"instruction": "q", "output": 3}, "output 3 not allowed"),
    "a history of texts": (
        {"instruction": "q", "output": "x", "history": ["a"]},
        'history "a" not allowed: use [question, answer]',
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_demonstration_can_be_made_of(
    sqlite_store: Store, tmp_path: Path, what: str
) -> None:
    row, reason = REFUSED[what]
    with pytest.raises(ValueError) as caught:
        load(sqlite_store, tmp_path, row)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'in.jsonl'}:1: ")
