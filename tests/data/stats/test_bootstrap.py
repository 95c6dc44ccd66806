"""Figures with intervals: right by hand, right by scipy and sklearn, and their intervals cover."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from data.stats.bootstrap import DRAWS, Bootstrap, BootstrapDistribution, clustered_mean
from data.stats.estimate import format_estimate, missing_json
from data.stats.intervals import wilson
from data.stats.ranks import auc, midranks, rank_correlation


def spread_over(n, prompts):
    return np.arange(n) % prompts


def test_a_mean_is_the_mean_and_carries_what_it_rests_on():
    values = np.array([1.0] * 30 + [0.0] * 10)
    found = Bootstrap(20).mean(values, spread_over(40, 20), share=True)
    assert found.value == 0.75 and found.n == 40 and found.prompts == 20
    assert found.draws.shape == (DRAWS,)
    low, high = found.interval
    assert 0.5 < low < 0.75 < high < 0.95
    assert found.as_json() == {"value": 0.75, "low": low, "high": high, "n": 40, "prompts": 20}


@pytest.mark.parametrize(("n", "prompts"), [(29, 20), (100, 9), (0, 0)])
def test_too_little_is_no_number_but_says_what_it_needs(n, prompts):
    found = BootstrapDistribution(0.5, np.full(DRAWS, 0.5), n, prompts).as_json()
    assert found == missing_json(n, prompts)
    assert found["value"] is None and found["needs"] == 30 and found["needs_prompts"] == 10


def test_what_is_not_defined_is_no_number():
    assert (
        BootstrapDistribution(float("nan"), np.full(DRAWS, np.nan), 50, 50).as_json()["value"]
        is None
    )


def test_the_interval_widens_with_clustering():
    values = (np.random.default_rng(1).random(20) < 0.7).astype(float)
    apart = Bootstrap(200).mean(np.repeat(values, 10), np.arange(200))
    together = Bootstrap(20).mean(np.repeat(values, 10), np.repeat(np.arange(20), 10))
    assert apart.value == together.value
    width = [np.ptp(e.interval) for e in (apart, together)]
    assert 2.5 < width[1] / width[0] < 4.5  # sqrt(10) is 3.2


def test_the_interval_of_few_prompts_is_students():
    """For a mean of normal numbers it is evaluation_data mean +- t s / sqrt(n)."""
    values = np.random.default_rng(5).normal(size=12)
    low, high = Bootstrap(12, seed=3).mean(values, np.arange(12)).interval
    t = 2.201 * values.std(ddof=1) / math.sqrt(12)
    assert (high - low) / 2 == pytest.approx(t, rel=0.12)


def test_a_share_that_no_draw_moves_has_wilsons_interval():
    found = Bootstrap(15).mean(np.ones(60), spread_over(60, 15), share=True)
    assert found.interval == wilson(1.0, 15)
    assert found.interval[0] == pytest.approx(0.796, abs=1e-3)


def test_one_prompt_says_nothing():
    boot = Bootstrap(1)
    assert boot.mean(np.array([0.0, 1]), np.zeros(2, int), share=True).interval == (0, 1)
    assert boot.mean(np.array([0.0, 1]), np.zeros(2, int)).interval == (-math.inf, math.inf)


def test_a_difference_is_paired():
    """Two that nearly agree differ by little, however unsure each is."""
    rng, boot = np.random.default_rng(0), Bootstrap(40)
    one = (rng.random(40) < 0.6).astype(float)
    other = one.copy()
    other[:2] = 1 - other[:2]
    a, b = (boot.mean(v, np.arange(40), share=True) for v in (one, other))
    assert (a - b).value == pytest.approx(one.mean() - other.mean())
    assert np.ptp((a - b).interval) < 0.6 * np.ptp(a.interval)
    same = a - boot.mean(one, np.arange(40), share=True)
    assert same.value == 0 and same.interval == (0, 0)


def test_a_difference_that_no_draw_moves_is_not_taken_for_certain():
    boot = Bootstrap(12)
    right = boot.mean(np.ones(36), spread_over(36, 12), share=True)
    coin = boot.mean(np.full(36, 0.5), spread_over(36, 12))
    low, high = (right - coin).interval
    assert low == pytest.approx(wilson(1.0, 12)[0] - 0.5) and high == 0.5
    wrong = boot.mean(np.zeros(36), spread_over(36, 12), share=True)
    assert (right - wrong).value == 1 and 0.4 < (right - wrong).interval[0] < 0.6


def test_statistics_of_sums_by_hand():
    rows = np.array([[1.0, 2], [3, 2], [5, 4]])
    found = Bootstrap(3).of_sums(rows, np.array([0, 0, 2]), lambda s: s[:, 0] / s[:, 1], n=7)
    assert found.value == 9 / 8 and found.n == 7 and found.prompts == 2


def test_midranks_by_hand():
    weights = np.array([[1.0, 1, 1, 1], [2, 0, 1, 1]])
    found = midranks(weights, np.array([5.0, 7, 7, 1]))
    assert found.tolist() == [[1.5, 3, 3, 0.5], [2, 3.5, 3.5, 0.5]]


def test_rank_correlation_and_auc_are_the_libraries():
    rng = np.random.default_rng(2)
    x = np.round(rng.normal(size=60), 1)
    y = np.round(x + rng.normal(size=60))
    good = (y > 0).astype(float)
    once = np.ones((1, 60))
    assert rank_correlation(once, x, y)[0] == pytest.approx(spearmanr(x, y).statistic)
    assert auc(once, x, good)[0] == pytest.approx(roc_auc_score(good, x))
    times = rng.integers(0, 4, 60)
    often = np.repeat(np.arange(60), times)
    weights = times[None].astype(float)
    assert auc(weights, x, good)[0] == pytest.approx(roc_auc_score(good[often], x[often]))
    found = rank_correlation(weights, x, y)[0]
    assert found == pytest.approx(spearmanr(x[often], y[often]).statistic)


def test_what_does_not_move_has_no_rank_correlation():
    once, moving = np.ones((1, 5)), np.arange(5.0)
    assert rank_correlation(once, np.zeros(5), moving)[0] == 0
    assert math.isnan(rank_correlation(once, moving, np.zeros(5))[0])
    assert auc(once, np.zeros(5), np.array([1.0, 0, 0, 1, 0]))[0] == 0.5


@pytest.mark.parametrize("prompts", [15, 60])
def test_intervals_cover_the_truth(prompts):
    """Of 95% intervals, 92 to 98 in 100 hold the truth, where judgements of a prompt go together.

    Of 400 a share of 95% has a standard error of 1.1 points.
    """
    rng, times = np.random.default_rng(prompts), 400
    prompt = np.repeat(np.arange(prompts), 4)
    inside = 0
    for seed in range(times):
        easy = rng.beta(4, 2, prompts)
        right = (rng.random(len(prompt)) < easy[prompt]).astype(float)
        low, high = Bootstrap(prompts, seed).mean(right, prompt, share=True).interval
        inside += low <= 4 / 6 <= high
    assert 0.92 <= inside / times <= 0.98


def test_intervals_of_a_difference_cover_it():
    rng, times, prompts = np.random.default_rng(7), 300, 40
    prompt, inside = np.repeat(np.arange(prompts), 3), 0
    for seed in range(times):
        easy = rng.beta(4, 2, prompts)[prompt]
        ours = (rng.random(len(prompt)) < easy).astype(float)
        null = (rng.random(len(prompt)) < 0.2 + 0.6 * easy).astype(float)
        boot = Bootstrap(prompts, seed)
        low, high = (boot.mean(ours, prompt, True) - boot.mean(null, prompt, True)).interval
        inside += low <= 4 / 6 - 0.6 <= high
    assert 0.915 <= inside / times <= 0.985


def test_intervals_of_an_auc_cover_it():
    """Scores of good ones are one standard deviation higher: the AUC is Phi(1 / sqrt 2)."""
    rng, times, prompts, inside = np.random.default_rng(8), 120, 30, 0
    prompt = np.repeat(np.arange(prompts), 4)
    for seed in range(times):
        good = (rng.random(len(prompt)) < 0.5).astype(float)
        score = good + rng.normal(size=len(prompt))
        found = Bootstrap(prompts, seed).of_weights(
            prompt, lambda w, s=score, g=good: auc(w, s, g), share=True
        )
        low, high = found.interval
        inside += low <= 0.7602 <= high
    assert 0.89 <= inside / times <= 0.99


def test_clustered_mean_takes_any_names_of_clusters():
    found = clustered_mean([1, 1, 0, 1] * 10, [f"p{i // 2}" for i in range(40)])
    assert found.value == 0.75 and found.n == 40 and found.low < 0.75 < found.high
    assert format_estimate(found).startswith("75% [") and format_estimate(found).endswith("n 40")
    with pytest.raises(ValueError, match="give at least one value"):
        clustered_mean([], [])


def loaded_with(*modules):
    code = f"import sys, json, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_pages_and_cards_are_made_without_torch():
    """The web process shows a receipt, and imports missing_json that trains."""
    shown = loaded_with(
        "reward_model.receipt.html",
        "reward_model.receipt.text",
        "reward_model.receipt.wording",
        "reward_model.receipt.plots",
    )
    assert not shown & {"torch", "transformers", "peft", "sklearn", "scipy", "numpy"}
    figures = loaded_with("data.stats.bootstrap", "reward_model.evaluation.best_of_n")
    assert "scipy" in figures and not figures & {"torch", "transformers", "peft", "sklearn"}
