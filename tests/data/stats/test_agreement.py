"""Numbers about agreement, against textbooks, other libraries and simulation."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from data.stats.agreement import (
    MeasurementLevel,
    alpha,
    alphas_of,
    ceiling,
    coincidences,
    kappa,
    kappas_of,
)
from data.stats.estimate import MIN_ANSWERS
from data.stats.intervals import Floats, change, mean, median, share, welch, wilson
from tests.benchmarks.intervals import agreements, coverage, truths

THREE_CODERS = [
    "*    *    *    *    *    3    4    1    2    1    1    3    3    *    3".split(),
    "1    *    2    1    3    3    4    3    *    *    *    *    *    *    *".split(),
    "*    *    2    1    3    4    4    *    2    1    1    3    3    *    4".split(),
]
"""Krippendorff's example, whose alphas are in his text of 2011."""


def counted() -> Floats:
    units = zip(*THREE_CODERS, strict=True)
    return np.array([[unit.count(value) for value in "1234"] for unit in units], float)


@pytest.mark.parametrize(
    ("level", "known"), [("nominal", 0.691), ("ordinal", 0.807), ("interval", 0.811)]
)
def test_alphas_of_krippendorffs_three_coders(level: MeasurementLevel, known: float) -> None:
    table = counted()
    sums = coincidences(table[table.sum(axis=1) > 1]).sum(axis=0).reshape(1, -1)
    assert alphas_of(sums, level)[0] == pytest.approx(known, abs=5e-4)
    figure = alpha(np.tile(table, (3, 1)), np.arange(3 * len(table)), level, "units")
    library = krippendorff.alpha(value_counts=np.tile(table, (3, 1)), level_of_measurement=level)
    assert figure.value == pytest.approx(library, abs=1e-12)
    assert figure.n == 3 * 12
    assert figure.low is not None and figure.high is not None
    assert figure.low < library < figure.high


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_in_bulk_is_the_librarys(level: MeasurementLevel) -> None:
    rng = np.random.default_rng(0)
    table = rng.multinomial(3, [0.5, 0.1, 0.1, 0.3], size=40).astype(float)
    sums = coincidences(table).sum(axis=0).reshape(1, -1)
    library = krippendorff.alpha(value_counts=table, level_of_measurement=level)
    assert alphas_of(sums, level)[0] == pytest.approx(library, abs=1e-12)


def test_alpha_without_variety_or_without_company() -> None:
    same = alpha(np.tile([0, 3], (30, 1)), np.arange(30), "nominal", "tasks")
    assert same.value is None and same.needs is None and "not defined" in same.note
    alone = alpha(np.tile([0, 1], (30, 1)), np.arange(30), "nominal", "tasks")
    assert (alone.value, alone.n, alone.needs) == (None, 0, MIN_ANSWERS)


def test_kappa_by_hand() -> None:
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: (0.7 - 0.5) / (1 - 0.5)."""
    assert kappas_of(np.array([[20.0, 5, 10, 15]]))[0] == pytest.approx(0.4)
    first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
    second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    figure = kappa(first, second, np.arange(50), "tasks")
    assert figure.value == pytest.approx(0.4)
    assert figure.value == pytest.approx(cohen_kappa_score(first, second))
    assert figure.low is not None and figure.high is not None
    assert 0.1 < figure.low < 0.2 and 0.6 < figure.high < 0.7
    assert "not defined" in kappa([1] * 30, [1] * 30, np.arange(30), "tasks").note


def test_wilson_is_scipys_and_counts_alike_answers_once() -> None:
    for k, n in [(0, 20), (7, 20), (300, 400), (50, 50)]:
        known = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k / n, n) == pytest.approx((known.low, known.high))
    hits = np.repeat(np.arange(40) % 2, 5)
    together = share(hits, np.repeat(np.arange(40), 5), "answers")
    few = (stats.norm.isf(0.025) / stats.t.isf(0.025, 39)) ** 2
    assert (together.low, together.high) == pytest.approx(wilson(0.5, 39 * few), abs=1e-3)
    apart = share(hits, np.arange(200), "answers")
    assert (apart.low, apart.high) == pytest.approx(wilson(0.5, 200 * 199 / 200), abs=1e-3)
    one_prompt = share(np.ones(100), np.zeros(100), "answers")
    assert one_prompt.low is not None and one_prompt.low < 0.3
    assert share([1.0] * 19, range(19), "answers").value is None


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """300 samples of 60 prompts with 3 judgements each, whose answers go together."""
    rng = np.random.default_rng(1)
    prompts = np.repeat(np.arange(60), 3)
    held = 0
    for _ in range(300):
        hits = rng.random(180) < np.repeat(rng.choice([0.3, 0.9], 60), 3)
        figure = share(hits, prompts, "answers")
        assert figure.low is not None and figure.high is not None
        held += figure.low <= 0.6 <= figure.high
    assert 0.91 <= held / 300 <= 0.98


def test_the_other_intervals() -> None:
    x = np.random.default_rng(2).normal(5, 1, 400)
    middle, average, moved = median(x, "t"), mean(x, "t"), change(x[:200], x[200:] + 1, "t")
    for figure, truth in ((middle, 5), (average, 5), (moved, 1)):
        assert figure.low is not None and figure.high is not None
        assert figure.low < truth < figure.high < figure.low + 0.5
    p, *_ = welch(x[200:], x[:200])
    known = stats.ttest_ind(x[200:], x[:200], equal_var=False, alternative="greater")
    assert p == pytest.approx(known.pvalue)
    assert change([1.0] * 20, [2.0] * 20, "t").value == 1
    assert change([1.0] * 19, [2.0] * 30, "t").needs == 2 * MIN_ANSWERS
    assert median([], "t").value is None


@pytest.mark.parametrize("strong", [0.5, 1.0, 3.0])
def test_the_best_predictor_lies_between_the_ceilings_ends(strong: float) -> None:
    rng = np.random.default_rng(3)
    p = rng.beta(1 / strong, 1 / strong, 20_000)
    votes = rng.random((2, len(p))) < p
    best = np.maximum(p, 1 - p).mean()
    found = ceiling(share(votes[0] == votes[1], np.arange(len(p)), "tasks"), share([], [], "tasks"))
    low, high = found.at_least, found.at_most
    assert low.value is not None and high.value is not None
    assert low.value - 0.01 <= best <= high.value + 0.01
    assert high.low is not None and high.high is not None
    assert high.low <= high.value <= high.high
    assert f"{low.value:.0%} to {high.value:.0%}" in found.sentence


def test_a_ceiling_where_people_guess_or_never_differ() -> None:
    for hits, ends in ((0.4, (0.5, 0.5)), (1.0, (1.0, 1.0))):
        found = ceiling(share([hits] * 50, range(50), "tasks"), share([], [], "tasks"))
        assert (found.at_least.value, found.at_most.value) == ends
    assert "not enough data yet" in ceiling(share([], [], "t"), share([], [], "t")).sentence


def test_intervals_of_few_prompts_are_widened_as_all_are() -> None:
    """At 8 prompts, where plain percentiles hold the truth in 86 to 88%."""
    found = list(zip(*[agreements(seed, 8) for seed in range(150)], strict=True))
    for truth, each in zip(truths(), found, strict=True):
        shown, without = coverage(list(each), truth)
        assert without / 150 < 0.9 < shown / 150


def test_agreement_about_everything_is_not_certain() -> None:
    """20 tasks of 10 prompts: Wilson's lower end of 10 of 10 is 0.722, of which luck makes 0.5."""
    same = np.repeat([0, 1], 10)
    table = np.stack([3.0 * (same == 0), 3.0 * (same == 1)], 1)
    prompts = np.arange(20) // 2
    low = (wilson(1.0, 10)[0] - 0.5) / 0.5
    for figure in (alpha(table, prompts, "nominal", "t"), kappa(same, same, prompts, "t")):
        assert (figure.value, figure.high) == (1, 1)
        assert figure.low == pytest.approx(low) == pytest.approx(0.445, abs=1e-3)


def test_one_prompt_says_nothing_of_others() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(2, size=(2, 30))
    one = np.zeros(30, int)
    table = np.stack([2.0 - first - second, first + second], 1)
    for figure in (kappa(first, second, one, "t"), alpha(table, one, "nominal", "t")):
        assert (figure.low, figure.high) == (-1, 1)


def test_shares_of_few_prompts_hold_the_truth() -> None:
    """300 samples of 8 prompts with 5 alike answers each; without Student's t, 90%."""
    rng, prompts, held = np.random.default_rng(4), np.repeat(np.arange(8), 5), 0
    for _ in range(300):
        hits = rng.random(40) < np.repeat(rng.beta(1.5, 1.5, 8), 5)
        figure = share(hits, prompts, "answers")
        assert figure.low is not None and figure.high is not None
        held += figure.low <= 0.5 <= figure.high
    assert 0.93 <= held / 300 <= 0.99
