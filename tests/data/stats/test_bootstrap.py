"""Figures with intervals: right by hand, right by scipy and sklearn, and their intervals cover."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import roc_auc_score

from data.stats.bootstrap import (
    DRAWS,
    HALVINGS,
    Bootstrap,
    BootstrapDistribution,
    Retraining,
    clustered_mean,
    streamed,
)
from data.stats.estimate import format_estimate, missing_json
from data.stats.intervals import wilson
from data.stats.ranks import auc, midranks, rank_correlation, ranks_within


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


# --- models that are trained on other prompts


def share_right(boot, right):
    return boot.mean(right, np.arange(right.shape[0]), share=True)


def test_a_model_that_other_prompts_change_has_a_longer_interval():
    """By hand: the variance of the model, and twice the covariance, at Student's distance."""
    draws = np.random.default_rng(0).normal(size=DRAWS)
    values = 0.5 * draws[:50] + np.random.default_rng(1).normal(size=50)
    alone = BootstrapDistribution(0.0, draws, 400, 200)
    found = replace(alone, retraining=Retraining(values, 3.0))
    added = 3.0 + 2 * np.cov(draws[:50], values)[0, 1]
    assert found.retraining.added_variance(draws) == pytest.approx(added)
    t = 1.97196 * math.sqrt(200 / 199)
    half = math.hypot(np.ptp(alone.interval) / 2, t * math.sqrt(added))
    assert np.ptp(found.interval) / 2 == pytest.approx(half, rel=1e-4)
    assert np.mean(found.interval) == pytest.approx(np.mean(alone.interval))
    assert found.stretched_draws.var() == pytest.approx(draws.var() + added)
    assert alone.stretched_draws is draws
    opposed = replace(alone, retraining=Retraining(-10 * draws[:50], 0.0))
    assert opposed.interval == alone.interval


def test_what_two_models_get_right_by_luck_is_not_taken_for_the_model():
    """Models right at random, each elsewhere, are equally good; ones good and bad are not."""
    rng, boot, n = np.random.default_rng(0), Bootstrap(60), 60
    own = (rng.random(n) < 0.7).astype(float)
    luck = [(rng.random(n) < 0.7).astype(float) for _ in range(200)]
    skill = [(rng.random(n) < p).astype(float) for p in rng.choice([0.5, 0.9], 200)]
    by_luck, by_skill = (boot.retrained(share_right, own, others) for others in (luck, skill))
    assert abs(by_luck.retraining.variance) < 0.001
    assert by_skill.retraining.variance == pytest.approx(0.04, rel=0.15)
    assert np.ptp(by_skill.interval) > 1.5 * np.ptp(by_luck.interval)
    assert boot.retrained(share_right, own, []).retraining is None


def test_a_difference_of_models_carries_their_training():
    boot, n = Bootstrap(40), 40
    rng = np.random.default_rng(3)
    own = (rng.random(n) < 0.7).astype(float)
    others = [(rng.random(n) < p).astype(float) for p in rng.choice([0.5, 0.9], 60)]
    model, fixed = boot.retrained(share_right, own, others), boot.mean(1 - own, np.arange(n))
    ahead, behind = model - fixed, fixed - model
    assert ahead.retraining.variance == behind.retraining.variance == model.retraining.variance
    assert np.array_equal(ahead.retraining.values, -behind.retraining.values)
    assert (ahead - ahead).value == 0 and (fixed - fixed).retraining is None
    plain = replace(model, retraining=None) - fixed
    assert np.ptp(ahead.interval) > np.ptp(plain.interval)
    low, high = model.interval
    assert low >= 0 and high <= 1


def test_halves_part_the_prompts():
    halves = Bootstrap.halves(9)
    assert halves.weights.shape == (1 + 2 * HALVINGS, 9) and (halves.weights[0] == 1).all()
    assert (halves.weights[1::2] + halves.weights[2::2] == 1).all()
    assert set(halves.weights.sum(1)) == {4, 5, 9}


def test_a_statistic_in_blocks_is_that_of_weights_that_are_kept():
    """Of a mean."""
    values = np.random.default_rng(0).normal(size=60)
    rows, prompt = np.stack([values, np.ones(60)], 1), np.arange(60) // 2

    def mean(s):
        return s[:, 0] / s[:, 1]

    kept = Bootstrap(30, seed=5).of_sums(rows, prompt, mean)
    blocks = streamed(rows, prompt, mean, 5)
    assert blocks.draws == pytest.approx(kept.draws)
    assert (blocks.value, blocks.n, blocks.prompts) == (pytest.approx(kept.value), 60, 30)


def test_ranks_within_groups_are_scipys():
    rng = np.random.default_rng(0)
    groups, values = rng.integers(7, size=80), np.round(rng.normal(size=80), 1)
    found = ranks_within(groups, values)
    for group in range(7):
        own = groups == group
        assert found[own].tolist() == rankdata(values[own]).tolist()
    assert ranks_within(groups[:0], values[:0]).shape == (0,)


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
