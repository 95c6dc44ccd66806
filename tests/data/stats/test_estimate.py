"""How an estimate, or its stored JSON, is written; why one is not shown."""

from __future__ import annotations

from typing import Any

import pytest

from data.stats.estimate import (
    Estimate,
    Style,
    format_duration,
    format_estimate,
    format_interval,
    format_missing,
    missing,
    missing_json,
)


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("share", "71% [66, 75], n 1,840"),
        ("number", "0.71 [0.66, 0.75], n 1,840"),
        ("change", "+0.71 [+0.66, +0.75], n 1,840"),
        ("seconds", "0.7 s [0.7, 0.8], n 1,840"),
    ],
)
def test_an_estimate_and_its_json_are_written_alike(style: Style, text: str) -> None:
    estimate = Estimate(0.71, 0.66, 0.75, 1840, "pairs")
    assert format_estimate(estimate, style) == format_estimate(estimate.as_json(), style) == text
    assert format_estimate(estimate, style, count=False) == text.partition(", n")[0]
    assert format_interval(Estimate(0.7, None, None, 30)) == ""


@pytest.mark.parametrize(
    ("estimate", "reason"),
    [
        (None, "not enough data yet"),
        (missing(7, "tasks"), "n 7 tasks, about 20 needed"),
        (missing(30, "tasks", note="all alike"), "not defined: all alike"),
        (missing_json(12, 12), "n 12, about 30 needed"),
        (missing_json(40, 6), "6 prompts, about 10 needed"),
        (missing_json(40, 40), "not defined: all the same"),
    ],
)
def test_what_is_not_shown_says_what_it_takes(estimate: Any, reason: str) -> None:
    assert reason in format_missing(estimate)
    assert format_estimate(estimate) == format_missing(estimate)


def test_the_ends_follow_a_function_that_rises() -> None:
    moved = Estimate(1.0, 0.5, 2.0, 40, "t").map(lambda x: 2 * x)
    assert (moved.value, moved.low, moved.high, moved.n, moved.unit) == (2, 1, 4, 40, "t")
    assert missing(3, "t").map(lambda x: 2 * x) == missing(3, "t")


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "5 s"), (45, "45 s"), (600, "10 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
