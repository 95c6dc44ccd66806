"""Every bad line is named, with what is wrong and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.imports import import_file
from data.store import Store
from tests.data.imports.test_import_lines import BINARY, PAIR, SINGLE, write

BAD: dict[str, tuple[Any, str]] = {
    "not UTF-8": (b'{"type": "prompt", "prompt": "\xe9"}', "not UTF-8 (byte 0xe9)"),
    "UTF-16": ("{}".encode("utf-16"), "not UTF-8"),
    "not JSON": (b"{'type': 1}", "not JSON (Expecting property name"),
    "cut off": (b'{"type": "prompt", "prom', "not JSON (Unterminated string"),
    "not a number": (b'{"type": "prompt", "prompt": NaN}', "NaN is no JSON number"),
    "too large": (b'{"seconds": 1e999}', "number 1e999 is too large: use one below 1e308"),
    "too many digits": (b'{"seconds": ' + b"9" * 5000 + b"}", "has 5,000 digits: use at most 300"),
    "a key twice": (b'{"type": "prompt", "type": "x"}', '"type" stands twice in one object'),
    "too deep": (b"[" * 100_000, "nested too deeply"),
    "a list": ([1, 2], "[1, 2] is not an object"),
    "no type": ({"prompt": "q"}, "type null unknown: use prompt, demonstration"),
    "unknown type": ({"type": "answer"}, 'type "answer" unknown: use prompt'),
    "a type of another type": ({"type": ["prompt"]}, 'type ["prompt"] unknown'),
    "no prompt": ({"type": "prompt"}, "prompt is missing"),
    "prompt without text": ({"type": "prompt", "prompt": " "}, "prompt has no text"),
    "prompt of a number": ({"type": "prompt", "prompt": 7}, "must be a text or a list"),
    "prompt of true": ({"type": "prompt", "prompt": True}, "must be a text or a list"),
    "unknown key in a turn": (
        {"type": "prompt", "prompt": [{"role": "user", "content": "q", "name": "x"}]},
        '"name" in a turn of prompt unknown: use role and content',
    ),
    "tags of a text": ({"type": "prompt", "prompt": "q", "tags": "x"}, 'tags "x" not allowed'),
    "tags of numbers": ({"type": "prompt", "prompt": "q", "tags": [1]}, "tags [1] not allowed"),
    "a tag of half a character": (
        {"type": "prompt", "prompt": "q", "tags": ["\ud800"]},
        "tags holds half a character",
    ),
    "a NUL": ({"type": "prompt", "prompt": "q\x00"}, "prompt holds a NUL character"),
    "half a character": ({"type": "document", "text": "\udcff"}, "text holds half a character"),
    "no completion": ({"type": "demonstration", "prompt": "q"}, "completion is missing"),
    "empty demonstration": (
        {"type": "demonstration", "prompt": "q", "completion": ""},
        "completion '' has no text",
    ),
    "a completion of null": (
        {"type": "completion", "prompt": "q", "completion": None, "model": "m"},
        "completion is missing: write a text",
    ),
    "a picture in a turn": (
        {"type": "prompt", "prompt": [{"role": "user", "content": [{"type": "image_url"}]}]},
        'part {"type": "image_url"} in a turn of prompt is no text',
    ),
    "boolean where text belongs": (
        {"type": "completion", "prompt": "q", "completion": True},
        "completion true not allowed: use a text",
    ),
    "number where text belongs": ({"type": "document", "text": 3}, "text 3 not allowed"),
    "finished of a text": (
        {"type": "completion", "prompt": "q", "completion": "x", "finished": "no"},
        'finished "no" not allowed: use true or false',
    ),
    "sampling of a number": (
        {"type": "completion", "prompt": "q", "completion": "x", "model": "m", "sampling": 1},
        "sampling 1 not allowed: use an object",
    ),
    "sampling of no model": (
        {"type": "completion", "prompt": "q", "completion": "x", "sampling": {"top_p": 1}},
        "sampling goes with a model",
    ),
    "a model without a name": (
        {"type": "completion", "prompt": "q", "completion": "x", "model": ""},
        "model '' has no text",
    ),
    "a model with a long name": (
        {**SINGLE, "model": "m" * 801},
        "model of 801 bytes is too long: use at most 800",
    ),
    "sampling of a book": (
        {"type": "completion", "prompt": "q", "completion": "x", "model": "m"}
        | {"sampling": {"stop": "x" * 1800}},
        "sampling of 1,812 bytes is too long: use at most 1,800",
    ),
    "unknown column": (
        {"type": "prompt", "prompt": "q", "tag": "x"},
        'column "tag" unknown in a prompt: use type, created_at, external_id, prompt or tags',
    ),
    "unknown kind": ({**PAIR, "kind": "ranking"}, 'kind "ranking" unknown: use binary, scalar'),
    "scalar 11": (
        {**SINGLE, "value": 11},
        "value 11 not allowed: use a whole number",
    ),
    "scalar 0": ({**SINGLE, "value": 0}, "value 0 not allowed"),
    "scalar 7.5": ({**SINGLE, "value": 7.5}, "value 7.5 not allowed"),
    "scalar true": ({**SINGLE, "value": True}, "value true not allowed"),
    "scalar of a text": ({**SINGLE, "value": "7"}, 'value "7" not allowed'),
    "binary yes": ({**BINARY, "value": "yes"}, 'value "yes" not allowed: use true or false'),
    "binary 1": ({**BINARY, "value": 1}, "value 1 not allowed"),
    "pairwise c": ({**PAIR, "value": "c"}, 'value "c" not allowed: use "a", "b" or "tie"'),
    "no value": ({k: v for k, v in PAIR.items() if k != "value"}, "value is missing"),
    "strength 4": ({**PAIR, "strength": 4}, "strength 4 not allowed: use 1"),
    "strength true": ({**PAIR, "strength": True}, "strength true not allowed"),
    "a strong tie": ({**PAIR, "value": "tie", "strength": 1}, "strength goes with a or b"),
    "strength of a scalar": ({**SINGLE, "strength": 1}, 'column "strength" unknown in a scalar'),
    "both_bad of a number": ({**PAIR, "both_bad": 1}, "both_bad 1 not allowed: use true or false"),
    "shown_first c": ({**PAIR, "shown_first": "c"}, 'shown_first "c" not allowed: use "a" or "b"'),
    "one text twice": ({**PAIR, "completion_b": "x"}, "are the same text"),
    "no annotator": (
        {k: v for k, v in PAIR.items() if k != "annotator"},
        "annotator is missing",
    ),
    "annotator without a name": ({**PAIR, "annotator": " "}, "annotator ' ' has no text"),
    "annotator with a long name": ({**PAIR, "annotator": "x" * 81}, "1 to 80 characters"),
    "a moment that is none": (
        {**PAIR, "created_at": "yesterday"},
        'created_at "yesterday" not allowed: use ISO 8601',
    ),
    "a moment of a number": ({**PAIR, "created_at": 1700000000}, "created_at 1700000000 not"),
    "a moment before time": ({**PAIR, "created_at": "0001-01-01T00:00:00+05:00"}, "ISO 8601"),
    "negative seconds": ({**PAIR, "seconds": -1}, "seconds -1 not allowed"),
    "version 0": ({**PAIR, "guidelines_version": 0}, "guidelines_version 0 not allowed"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_line_is_named_and_nothing_is_stored(
    sqlite_store: Store, tmp_path: Path, what: str
) -> None:
    row, reason = BAD[what]
    file = write(tmp_path / "in.jsonl", {"type": "prompt", "prompt": "good"}, row, PAIR)
    with pytest.raises(ValueError) as caught:
        import_file(sqlite_store, file)
    assert str(caught.value).startswith(f"{file}:2: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sqlite_store.content.prompts() == []


def test_bad_lines_are_left_out_counted_and_listed(store: Store, tmp_path: Path) -> None:
    rows = [row for row, _ in BAD.values()]
    file = write(tmp_path / "in.jsonl", {"type": "prompt", "prompt": "good"}, *rows, PAIR)
    report = import_file(store, file, tmp_path / "bad.jsonl")
    assert report.skipped == len(BAD)
    assert report.new == {"prompt": 1, "judgement": 1}
    listed = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [item["number"] for item in listed] == list(range(2, len(BAD) + 2))
    for item, (row, reason) in zip(listed, BAD.values(), strict=True):
        assert reason in item["reason"]
        if not isinstance(row, bytes):
            assert json.loads(item["text"]) == row
