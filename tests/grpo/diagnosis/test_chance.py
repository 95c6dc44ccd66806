"""What the diagnosis must not take for a fault: chance in small batches, odd but healthy starts;
and what its actions and its "since" say."""

from __future__ import annotations

import json
import math
import re

import pytest

from grpo.diagnosis.curves import curves as columns
from grpo.diagnosis.curves import jitter
from grpo.diagnosis.diagnose import LOOK_BACK, diagnose
from grpo.diagnosis.rules.base import WORDS
from tests.grpo.diagnosis.healthy_curves import curves
from tests.grpo.diagnosis.test_diagnose import BASELINE, ILL, SETTINGS, healthy, ill, said

SEEDS = range(4)


def ever(seed, **shape):
    """Names of what is said of a healthy run at any step."""
    rows, settings, baseline = curves(seed, **shape)
    return {
        name for n in range(1, len(rows) + 1) for name in said(rows[:n], settings, baseline)
    }  # fmt: skip


@pytest.mark.parametrize(
    "shape",
    [
        {"entropy": 0.06},
        {"entropy": 0.04},
        {"unique": 0.4},
        {"prompts": 1, "size": 4},
        {"prompts": 1, "size": 8},
        {"prompts": 2, "size": 2},
        {"prompts": 4, "size": 2},
        {"prompts": 1, "size": 2},
        {"prompts": 2, "size": 4, "follows": 0.5},
        {"iterations": 4},
    ],
    ids=str,
)
def test_healthy_runs_of_any_shape_are_not_accused(shape):
    assert [ever(seed, **shape) for seed in SEEDS] == [set()] * len(SEEDS)


def test_small_groups_whose_reward_is_length_are_named_all_the_same():
    rows, settings, baseline = curves(0, prompts=2, size=2, follows=0.999)
    assert "reward-hacking" in said(rows, settings, baseline)
    rows = [{**row, "dropped": 0.5 + 0.5 * (row["step"] % 2)} for row in rows]
    assert "useless-reward" in said(rows, settings, baseline)


def test_entropy_explodes_only_where_it_is_more_than_a_trace():
    trace = healthy(entropy=lambda s: 0.02 + 0.0005 * s)
    assert "entropy-explosion" not in said(trace, baseline=BASELINE | {"entropy": 0.02})
    babble = healthy(entropy=lambda s: 0.02 + 0.01 * s)
    assert said(babble, baseline=BASELINE | {"entropy": 0.02})["entropy-explosion"].level == "stop"


def test_answers_that_grow_alike_are_named_from_any_start():
    rows = healthy(unique=lambda s: 0.4 if s < 10 else 0.2)
    assert "mode-collapse" in said(rows, baseline=BASELINE | {"unique": 0.4})


# --- the reward


def test_a_fall_is_told_from_a_lucky_start():
    rows, settings, baseline = curves(0, prompts=1, size=4, gain=0.0)
    now = sum(row["reward_mean"] for row in rows[-5:]) / 5
    lucky = baseline | {"reward_mean": now + 1.0}
    assert "reward-falling" not in said(rows, settings, lucky)
    assert "reward-falling" in said(rows, settings, baseline | {"reward_mean": now + 4.0})


def test_a_great_loss_is_never_called_fine_or_chance():
    for n in range(5, 21):
        rows = healthy(n, reward_mean=lambda s: -3.57 * (s > 2) + 0.1 * (s % 3))
        verdicts = diagnose(rows, SETTINGS, BASELINE)
        assert not [v.text for v in verdicts if v.level == "fine" and v.metric == "reward_mean"]
    assert "reward-falling" in said(healthy(reward_mean=lambda s: -3.57 * (s > 2) + 0.01 * s))
    recovers = healthy(30, reward_mean=lambda s: min(0.0, -2.5 + 0.1 * s))
    assert "reward-falling" not in said(recovers)
    small = diagnose(healthy(reward_mean=lambda s: -0.3 + 0.01 * (s % 2)), SETTINGS, BASELINE)
    (told,) = [v for v in small if v.metric == "reward_mean"]
    assert told.name == "reward-falls" and "more than chance" in told.text


def test_no_reward_is_well_in_a_run_that_is_to_stop():
    rows = healthy(kl_nats=lambda s: 90.0)
    verdicts = diagnose(rows, SETTINGS, BASELINE)
    assert "stop" in {v.level for v in verdicts}
    assert "reward_mean" not in {v.metric for v in verdicts}


def test_a_reward_that_may_stand_still_does_not_rise_while_it_is_gamed():
    gamed = {"repetition": lambda s: 0.4, "disagreement": lambda s: 1.0}
    still = healthy(reward_mean=lambda s: 0.3 * (-1) ** s + 0.001 * s, **gamed)
    assert "reward-hacking" not in said(still)
    assert "reward-hacking" in said(healthy(reward_mean=lambda s: 0.05 * s, **gamed))


def test_jitter_is_the_noise_about_a_trend():
    rows, *_ = curves(1, steps=400, gain=0.0)
    values = [row["reward_mean"] + 0.01 * row["step"] for row in rows]
    assert jitter(values) == pytest.approx(math.sqrt(0.49 / 4 + 0.51 / 32), rel=0.15)
    assert jitter([]) == jitter([1.0]) == 0


# --- the reference


def test_a_reference_is_accused_only_where_it_is_known_to_be_the_start():
    away = healthy(3, kl=lambda s: 0.05)
    unknown = {k: v for k, v in BASELINE.items() if k != "same_policy"}
    assert "wrong-reference" not in said(away, baseline=unknown)
    assert "wrong-reference" not in said(away, baseline=None)
    assert "wrong-reference" in said(away, baseline={"same_policy": True})
    rounded = healthy(3, kl=lambda s: 1.4e-3)
    assert "wrong-reference" not in said(rounded, baseline={"same_policy": True})
    for floor in (1e-7, 1e-5):
        assert "wrong-reference" in said(rounded, baseline=BASELINE | {"kl_floor": floor})


# --- since when


def test_since_is_the_rules_own_where_it_knows_and_else_honest_about_how_far_it_looked():
    n = 3 * LOOK_BACK
    settings = {**SETTINGS, "steps": n}
    changed = {"moved": lambda s: 1e-3 * s, "truncated": lambda s: 0.5, "kl": lambda s: 0.05}
    found = said(healthy(n, **changed, kl_weight=lambda s: 0.0), settings)
    for name in ("wrong-reference", "no-kl-term"):
        assert found[name].step == 1 and not found[name].or_earlier
    assert found["truncation"].step == n - LOOK_BACK and found["truncation"].or_earlier
    late = {**changed, "truncated": lambda s: 0.5 * (s > n - 40)}
    assert not said(healthy(n, **late), settings)["truncation"].or_earlier


# --- actions

RUN = {
    **SETTINGS,
    "length_penalty": 2.0,
    "pessimism": 1.5,
    "kl_weight": 0.07,
    "learning_rate": 3e-4,
    "sampling": {"temperature": 1.2, "max_new_tokens": 64},
}
AT_ZERO = {
    "kl_weight": 0.0,
    "entropy_weight": 0.0,
    "length_penalty": 0.0,
    "pessimism": 0.0,
    "sampling": {"temperature": 0.5, "max_new_tokens": 64},
}
MOVE = re.compile(r"(raise|lower) the ([\w ]+?) from ([\d.e+-]+) to ([\d.e+-]*\d)")


def setting(settings, path):
    owner, _, name = path.rpartition(".")
    return (settings[owner] if owner else settings)[name]


@pytest.mark.parametrize("settings", [RUN, RUN | AT_ZERO], ids=["set", "at zero"])
@pytest.mark.parametrize("name", ILL)
def test_an_action_moves_one_setting_that_it_names_the_way_it_says(name, settings):
    for verdict in said(ill(name), settings).values():
        moves = MOVE.findall(verdict.action)
        assert len(moves) == len(verdict.change) <= 1, verdict.action
        for (verb, words, old, new), (path, value) in zip(
            moves, verdict.change.items(), strict=True
        ):
            now = setting(settings, path)
            assert words == WORDS[path] and float(old) == now and float(new) == value
            assert value > now if verb == "raise" else 0 < value < now


def test_gaming_raises_the_penalty_that_the_run_has():
    hacked = said(ill("reward-hacking"), RUN)["reward-hacking"]
    assert hacked.change == {"length_penalty": 4.0}
    unsure = healthy(
        reward_mean=lambda s: 0.05 * s, repetition=lambda s: 0.4, disagreement=lambda s: 1.0
    )
    assert said(unsure, RUN)["reward-hacking"].change == {"pessimism": 3.0}
    babble = said(ill("entropy-explosion"), RUN | {"entropy_weight": 0.0})["entropy-explosion"]
    assert babble.change == {"sampling.temperature": 1.0}
    assert said(ill("kl-runaway"), RUN)["kl-runaway"].change == {"learning_rate": 1.5e-4}


def test_settings_that_are_not_known_are_not_changed():
    for name in ILL:
        assert all(not verdict.change for verdict in said(ill(name), {}).values())


# --- rows


@pytest.mark.parametrize("lost", [math.nan, math.inf, None])
@pytest.mark.parametrize("name", ["loss", "grad_norm", "kl"])
@pytest.mark.parametrize("n", [1, 6])
def test_a_metric_that_is_no_number_any_more_is_named_live_and_from_the_file(lost, name, n):
    rows = healthy(n)
    rows[-1] |= {name: lost, "entropy": lost if name == "kl" else 0.65}
    kept = [json.loads(json.dumps(row)) for row in rows]
    for read in (rows, kept):
        found = said(read)["not-finite"]
        assert (found.level, found.metric, found.step) == ("stop", name, n)
        assert found.text.lower().startswith(name.replace("_", " "))
        assert found.value is None and json.dumps(found.change, allow_nan=False)


def test_what_no_row_has_known_may_be_missing():
    rows = healthy(6)
    later = [rows[0], *({**row, "clip_ratio": None} for row in rows[1:])]
    assert columns(later, {}, None).broken == [""] * 6


def test_steps_on_one_batch_count_once():
    rows, settings, baseline = curves(0, steps=40, iterations=4)
    once = columns(rows, settings, baseline)
    assert once.recent("reward_mean", 39, 99) == [row["reward_mean"] for row in rows[::4]]
    assert len(once.recent("kl", 39, 99)) == 40 and once.batches(39) == 10
    thick = columns(rows, {**settings, "iterations": 1}, baseline)
    assert abs(once.going("reward_mean", 39, 40).z) < abs(thick.going("reward_mean", 39, 40).z)
    slopes = once.going("reward_mean", 39, 40).slope, thick.going("reward_mean", 39, 40).slope
    assert slopes[0] == pytest.approx(slopes[1], rel=0.3)


def test_a_verdict_on_a_batch_needs_as_many_batches_as_without_iterations():
    first = {}
    for iterations in (1, 4):
        changed = {"truncated": lambda s: 0.5}
        rows = [row for row in healthy(10, **changed) for _ in range(iterations)]
        rows = [{**row, "step": i + 1} for i, row in enumerate(rows)]
        settings = {**SETTINGS, "steps": 40 * iterations, "iterations": iterations}
        first[iterations] = next(
            n for n in range(1, len(rows)) if "truncation" in said(rows[:n], settings)
        )
    assert first == {1: 5, 4: 17}  # the fifth batch
