"""The diagnosis: each rule on its handmade curve, its manners, and real runs."""

from __future__ import annotations

import copy
import json
import math
import random
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpo.diagnosis.diagnose import HOLD, diagnose
from grpo.diagnosis.rules import RULES
from tests.benchmarks.diagnosis import measure
from tests.benchmarks.faults import HEALTHY
from tests.benchmarks.garden import SMALL, garden
from tests.support.training import without_choice_of_views

STEPS = 40
SETTINGS = {
    "steps": STEPS,
    "learning_rate": 1e-3,
    "kl_weight": 0.04,
    "kl_target": 4.0,
    "entropy_weight": 0.001,
    "group_size": 8,
    "sampling": {"temperature": 1.0, "max_new_tokens": 48},
}
BASELINE = {
    "kl": 0.0,
    "kl_floor": 1e-8,
    "entropy": 0.65,
    "group_std": 0.9,
    "reward_mean": 0.0,
    "unique": 1.0,
    "length": 22.0,
    "repetition": 0.01,
    "disagreement": 0.2,
    "grad_norm": 0.1,
    "same_policy": True,
}


def healthy(n=STEPS, **changed):
    """Rows of a run in which all is well; `changed` gives a metric as a function of the step."""
    rng = random.Random(7)
    rows = []
    for step in range(1, n + 1):
        done = step / STEPS
        row = {
            "step": step,
            "loss": 0.01 * rng.gauss(0, 1),
            "learning_rate": 1e-3 * (1 - done),
            "grad_norm": 0.1 * math.exp(rng.gauss(0, 0.3)),
            "reward_mean": 1.2 * (1 - math.exp(-3 * done)) + rng.gauss(0, 0.12),
            "group_std": 0.9 - 0.3 * done + rng.gauss(0, 0.05),
            "noise": 0.2,
            "dropped": 0.0,
            "disagreement": 0.2 + 0.05 * done,
            "kl": 0.18 * (1 - math.exp(-4 * (step - 1) / STEPS)) * math.exp(rng.gauss(0, 0.1)),
            "kl_weight": 0.04,
            "entropy": 0.65 - 0.1 * done + rng.gauss(0, 0.01),
            "length": 22 + rng.gauss(0, 0.7),
            "truncated": 0.02,
            "unique": 1.0 - 0.05 * done,
            "repetition": 0.01,
            "length_corr": rng.gauss(0, 0.1),
            "moved": 0.2 * done,
        }
        row |= {name: make(step) for name, make in changed.items() if name != "kl_nats"}
        row["kl_nats"] = row["kl"] * row["length"]
        row |= {name: make(step) for name, make in changed.items() if name == "kl_nats"}
        rows.append(row)
    return rows


def said(rows, settings=SETTINGS, baseline=BASELINE, samples=()):
    """The verdicts that are not fine, by name."""
    return {v.name: v for v in diagnose(rows, settings, baseline, samples) if v.level != "fine"}


def ever(rows, settings=SETTINGS, baseline=BASELINE):
    """Names of what is said at any step."""
    return {name for n in range(1, len(rows) + 1) for name in said(rows[:n], settings, baseline)}


def after(step, then, before):
    return lambda now: then if now > step else before


ILL = {
    "nothing-trains": {"moved": lambda s: 0.0, "kl": lambda s: 0.0},
    "not-finite": {"grad_norm": after(20, math.nan, 0.1)},
    "wrong-reference": {"kl": lambda s: 0.05},
    "no-kl-term": {"kl_weight": lambda s: 0.0},
    "useless-reward": {"group_std": lambda s: 0.01, "reward_mean": lambda s: 0.0},
    "reward-hacking": {"length_corr": lambda s: 0.95, "length": lambda s: 22.0 + s},
    "kl-runaway": {"kl": lambda s: 0.02 * (s - 1)},
    "flat-kl": {"kl": lambda s: 1e-7 * (s - 1)},
    "kl-not-rising": {"kl": lambda s: 0.003 * (s > 1)},
    "plateau": {"reward_mean": lambda s: 0.002 * (s % 2)},
    "reward-falling": {"reward_mean": lambda s: -0.05 * s},
    "entropy-collapse": {"entropy": lambda s: 0.65 * math.exp(-s / 12)},
    "entropy-explosion": {"entropy": lambda s: 0.65 + 0.03 * s},
    "mode-collapse": {"unique": after(10, 0.3, 1.0)},
    "flat-entropy": {
        "unique": lambda s: 1.0 - 0.01 * s,
        "entropy": lambda s: 0.65,
        "reward_mean": lambda s: 0.05 * s,
    },
    "aggressive-gradients": {"grad_norm": after(10, 4.0, 0.1)},
    "vanishing-gradients": {"grad_norm": after(10, 0.001, 0.1)},
    "truncation": {"truncated": lambda s: min(1.0, 0.02 * s)},
}


def ill(name, n=STEPS):
    return healthy(n, **ILL[name])


def test_a_healthy_run_is_called_healthy_from_its_first_step_on():
    rows = healthy()
    assert ever(rows) == set()
    assert ever(rows, baseline=None) == set()
    assert [v.name for v in diagnose(rows[:2], SETTINGS, BASELINE)] == ["not-enough-steps"]
    verdicts = diagnose(rows, SETTINGS, BASELINE)
    assert [v.name for v in verdicts] == ["kl-fine", "reward-rises", "entropy-fine"]
    assert "rose by" in verdicts[1].text


def test_a_run_in_which_nothing_happened_is_not_called_fine():
    """KL of 0.0005 nats where 6 are allowed, after the six steps of a short run."""
    settings = {**SETTINGS, "steps": 6, "kl_target": 6.0}
    rows = healthy(6, kl=lambda s: 2e-5 * (s - 1), kl_nats=lambda s: 1e-4 * s)
    (first, *others) = diagnose(rows, settings, BASELINE)
    assert (first.name, first.level) == ("nothing-happened", "watch")
    assert "0.0004 nats" in first.text and "6 steps" in first.text and "target of 6" in first.text
    assert "more steps" in first.action and first.change == {"learning_rate": 0.003}
    assert "kl-fine" not in {verdict.name for verdict in others}
    (early,) = (v for v in diagnose(rows, {**settings, "steps": 200}, BASELINE) if "kl" in v.metric)
    assert (early.name, early.level) == ("nothing-yet", "fine")
    assert "194 steps are to come" in early.text
    for target in (0.0, None):  # without a target, of what is usual
        told = diagnose(rows, {**settings, "kl_target": target}, BASELINE)
        assert told[0].name == "nothing-happened" and "target" not in told[0].text


@pytest.mark.parametrize("name", ILL)
def test_each_pathology_is_named_with_its_number_one_action_and_a_source(name):
    verdict = next(
        said(ill(name, n))[name] for n in range(1, STEPS + 1) if name in said(ill(name, n))
    )
    assert verdict.text.endswith(".") and ". " not in verdict.text
    assert any(figure.isdigit() for figure in verdict.text)
    assert verdict.action.endswith(".") and verdict.source
    assert 1 <= verdict.step <= STEPS
    json.dumps(asdict(verdict))


def test_the_table_of_pathologies_is_whole():
    names = {v for name in ILL for v in ever(ill(name))}
    assert set(ILL) <= names
    assert len(RULES) >= len(ILL)


@pytest.mark.parametrize("name", ["nothing-trains", "wrong-reference", "no-kl-term"])
def test_hard_evidence_speaks_at_the_first_step(name):
    assert name in said(ill(name, 1))


def test_a_jump_of_kl_speaks_at_once_and_a_cause_silences_what_it_explains():
    assert "kl-runaway" in said(healthy(4, kl_nats=after(2, 900.0, 0.0)))
    assert said(healthy(30, moved=lambda s: 0.0, kl=lambda s: 0.0)).keys() == {"nothing-trains"}


def test_rewards_that_draw_together_while_entropy_falls_are_a_collapse():
    rows = healthy(
        group_std=lambda s: max(0.1, 0.9 - 0.05 * s), entropy=lambda s: max(0.45, 0.65 - 0.01 * s)
    )
    found = said(rows)["mode-collapse"]
    assert found.metric == "group_std" and "11%" in found.text
    assert ever([{**row, "entropy": 0.65} for row in rows]) == set()


def test_kl_at_the_start_is_expected_of_an_earlier_rounds_policy():
    rows = healthy(10, kl=lambda s: 0.05)
    assert "wrong-reference" not in said(rows, baseline=BASELINE | {"same_policy": False})


def test_a_blip_is_not_a_verdict_and_a_verdict_does_not_flicker():
    blip = healthy(entropy=lambda s: 2.0 if s == 20 else 0.65)
    assert ever(blip) == set()
    rows = healthy(grad_norm=lambda s: 5.0 if 10 <= s < 20 else 0.1)
    shown = ["aggressive-gradients" in said(rows[:n]) for n in range(1, STEPS + 1)]
    changes = sum(a != b for a, b in pairwise(shown))
    assert changes == 2 and sum(shown) >= HOLD


def test_flat_curves_late_in_a_run_are_what_a_falling_learning_rate_makes():
    level = 0.02
    rows = healthy(
        kl=lambda s: min(level, 0.002 * (s - 1)),
        reward_mean=lambda s: min(0.6, 0.03 * s) + 0.01 * (s % 2),
    )
    assert "plateau" not in said(rows) and "kl-not-rising" not in said(rows)


def test_thresholds_are_relative_to_what_preflight_measured():
    low = healthy(entropy=lambda s: 0.2)
    assert "entropy-collapse" in said(low)
    assert "entropy-collapse" not in said(low, baseline=BASELINE | {"entropy": 0.2})
    noisy = healthy(5, kl=lambda s: 0.002)
    assert "wrong-reference" in said(noisy)
    assert "wrong-reference" not in said(noisy, baseline=BASELINE | {"kl_floor": 1e-3})


def test_older_runs_rows_are_read_too():
    keys = ("step", "reward_mean", "group_std", "kl", "kl_nats", "entropy", "truncated")
    rows = [{k: row[k] for k in keys} for row in healthy()]
    assert ever(rows, {}, None) == set()
    still = [{**row, "kl": 0.0, "kl_nats": 0.0} for row in rows]
    assert "nothing-trains" in said(still, {}, None)


def test_evidence_is_of_the_newest_step_and_shows_the_point():
    drawn = [
        {"step": step, "prompt": "Why?", "completion": f"{step}-{i}", "finished": i > 3,
         "reward": float(i), "advantage": i - 4.0, "tokens": 9}
        for step in (3, 4)
        for i in range(8)
    ]  # fmt: skip
    cut = said(ill("truncation"), samples=drawn)["truncation"].samples
    assert [s["completion"] for s in cut] == ["4-0", "4-1", "4-2"]
    best = said(ill("reward-hacking"), samples=drawn)["reward-hacking"].samples
    assert [s["reward"] for s in best] == [7.0, 6.0, 5.0]
    assert set(best[0]) == {"step", "prompt", "completion", "reward", "advantage"}


def test_the_action_changes_a_setting_the_run_has():
    hot = said(ill("entropy-explosion"))["entropy-explosion"]
    assert hot.change == {"entropy_weight": 0.0001}
    cold = {**SETTINGS, "sampling": {"temperature": 0.1}}
    collapsed = said(ill("mode-collapse"), cold)["mode-collapse"]
    assert collapsed.change == {"sampling.temperature": 1.0}


def test_a_premium_above_the_spread_asks_for_judgements():
    outweighed = healthy(risk_premium=lambda s: 1.5)
    careful = SETTINGS | {"pessimism": 1.0}
    verdict = said(outweighed, careful)["uncertain-reward"]
    assert (
        verdict.metric == "risk_premium"
        and verdict.value == 1.5
        and "more judgements" in verdict.action
    )
    assert not said(outweighed, SETTINGS | {"pessimism": 0.0})
    assert not said(healthy(risk_premium=lambda s: 0.1), careful)


# --- manners

ODD = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(-(10**400), 10**400), st.text(max_size=3)
)
NAMES = sorted({*healthy(1)[0], "step"})
ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES), ODD), max_size=25)
SOME = st.dictionaries(st.sampled_from([*SETTINGS, *BASELINE, "sampling"]), ODD)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(ROWS, SOME, st.one_of(st.none(), SOME), st.lists(SOME, max_size=3))
def test_nothing_that_a_file_may_hold_makes_it_raise(rows, run, baseline, drawn):
    before = copy.deepcopy((rows, run, baseline))
    verdicts = diagnose(rows, run, baseline, drawn)
    assert repr(before) == repr((rows, run, baseline))
    assert repr(verdicts) == repr(diagnose(rows, run, baseline, drawn))
    assert all(v.text and v.level in ("fine", "watch", "stop") for v in verdicts)


# --- real runs


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with without_choice_of_views(), garden(tmp_path_factory.mktemp("garden"), SMALL) as made:
        yield made


def test_a_real_run_is_called_healthy_and_real_faults_are_named_at_once(world, tmp_path):
    (well,) = measure(world, tmp_path, HEALTHY, [100], steps=6)
    assert well.first == {} and not well.preflight and not well.ended
    (frozen,) = measure(world, tmp_path, "frozen adapter", [100], steps=6)
    assert frozen.found_at() == 1 and "trainable parameters" in frozen.preflight
    (away,) = measure(world, tmp_path, "wrong reference", [100], steps=6)
    assert away.found_at() == 1 and "reference" in away.preflight
