"""No run starts with a number that would kill it: every numeric setting, by shell and page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest

from grpo.config import (
    ComparisonSettings,
    LoopSettings,
    PolicySettings,
    PretrainSettings,
    SampleSettings,
    SamplingSettings,
    SftSettings,
)
from reward_model.config import LoraSettings, RewardSettings
from tests.support.commands import assert_refused, command

KINDS: tuple[Any, ...] = (
    LoraSettings, RewardSettings, SamplingSettings, PretrainSettings, SftSettings, SampleSettings,
    PolicySettings, ComparisonSettings, LoopSettings,
)  # fmt: skip
ABSURD = (math.nan, math.inf, -math.inf, 1e308, -1, 10**30, -(10**30))


def numbers() -> Iterator[tuple[Any, str]]:
    for kind in KINDS:
        hints = get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if hints[field.name] in (int, float, float | None):
                yield kind, field.name


@pytest.mark.parametrize(("kind", "name"), list(numbers()))
def test_absurd_numbers_are_refused_in_one_line(kind: Any, name: str) -> None:
    needed = {"policy": "x"} if kind is ComparisonSettings else {}
    for number in ABSURD:
        with pytest.raises(ValueError, match="not allowed: use ") as refused:
            kind(**needed, **{name: number})
        assert "\n" not in str(refused.value) and name.split("_")[0] in str(refused.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("grpo", "sft", "--learning-rate", "1e308"),
            "rate 1e+308 not allowed: use 0 to 1",
        ),
        (("grpo", "sft", "--epochs", "nan"), "epochs nan not allowed"),
        (("grpo", "train", "--sampling.temperature", "1e-300"), "temperature 1e-300 not allowed"),
        (("reward_model", "train", "--seed", "-1"), "seed -1 not allowed: use 0 to 4,294,967,295"),
        (("labeler", "simulate", "--pace", "nan"), "pace nan not allowed"),
    ],
)
def test_the_shell_says_so(tmp_path: Any, words: tuple[str, ...], said: str) -> None:
    outcome = command(*words, "--workspace", str(tmp_path))
    assert_refused(outcome, said)
    assert list(tmp_path.iterdir()) == []
