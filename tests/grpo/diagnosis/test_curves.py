"""Curves read from a run's rows: trends with intervals, and what is no number."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo.diagnosis.curves import curves, finite_or_none, trend


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e6, 1e6), min_size=0, max_size=90))
def test_a_trend_turns_with_its_series(values):
    up, down = trend(values), trend([-v for v in values])
    assert up.z == pytest.approx(-down.z)
    assert up.slope == pytest.approx(-down.slope)
    assert up.low <= up.slope <= up.high


def test_a_trend_is_found_and_its_interval_holds_the_slope():
    rng = random.Random(0)
    held = 0
    for _ in range(100):
        found = trend([0.1 * i + rng.gauss(0, 1) for i in range(25)])
        held += found.low <= 0.1 <= found.high
    assert held >= 88
    assert trend([1.0, 2, 3, 4, 5, 6]).z > 1.96
    assert trend([1.0] * 9).z == 0


def test_numbers_are_told_from_what_only_looks_like_them():
    assert finite_or_none(3) == 3.0 and finite_or_none(0.5) == 0.5
    assert [finite_or_none(v) for v in (None, True, "3", math.nan, math.inf, 10**400)] == [None] * 6
    assert curves([{"step": 2, "kl": math.nan}], {}, None).broken == ["kl"]
