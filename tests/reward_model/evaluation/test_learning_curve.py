"""What more judgements would bring, in words and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from data.stats.agreement import Ceiling
from data.stats.bootstrap import DRAWS, BootstrapDistribution
from data.stats.estimate import Estimate
from reward_model.evaluation.cross_validation import Model, folds
from reward_model.evaluation.learning_curve import (
    Extrapolation,
    PartialFit,
    fit_curve_points,
    learning_curve,
)
from tests.reward_model.evaluation.receipts import Told, compared, tell

SHARES = (0.125, 0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def asked():
    """400 comparisons, the first of which is always the better, on 200 prompts."""
    told = Told()
    for i in range(200):
        a, b = told.completion(i, "one", [1]), told.completion(i, "two", [0])
        told.say("pairwise", a, "a", "ann", b)
        told.say("pairwise", a, "a", "bob", b)
    return told.examples()


def ceiling(low, high, width=0.06):
    def figure(value):
        return Estimate(value, value - width / 2, value + width / 2, 300, "shared tasks")

    return Ceiling(figure(low), figure(high), figure(high))


def curve(examples, accuracies, people=None, nested=True):
    """The curve of heads that are right on such shares of the prompts, nested or drawn anew."""
    rng = np.random.default_rng(0)
    order = rng.permutation(examples.prompts)
    first = np.array([c.text == "one" for c in examples.completions])

    def reward(accuracy):
        rank = (order if nested else rng.permutation(examples.prompts))[examples.prompt]
        right = rank < round(accuracy * examples.prompts)
        return np.where(first == right, 1.0, 0.0)

    learned = [PartialFit(s, reward(a), 0.6) for s, a in zip(SHARES, accuracies[:-1], strict=False)]
    return learning_curve(learned, compared(examples, reward(accuracies[-1]), 200.0, 400), people)


def test_points_are_the_curve(asked):
    found = curve(asked, [0.55, 0.6, 0.65, 0.7])
    assert [p["judgements"] for p in found["points"]] == [50, 100, 200, 400]
    assert [p["value"] for p in found["points"]] == pytest.approx([0.55, 0.6, 0.65, 0.7])
    assert found["points"][-1]["log_loss"] == 0.5
    assert [p["judgements"] for p in found["ahead"]] == [800, 1600]


def test_a_curve_that_climbs_says_how_many_more(asked):
    found = curve(asked, [0.46, 0.56, 0.64, 0.7])
    assert found["verdict"] == "more" and found["target"] == pytest.approx(0.75)
    # gains shrink by about a fifth with each doubling: 4.7 points in the next, so about 460 more
    assert found["more"]["low"] < 460 < (found["more"]["high"] or np.inf)
    assert 300 < found["more"]["value"] < 1400
    assert found["sentence"].startswith("About ") and "more judgements to 75%" in found["sentence"]
    assert "today it is 70%" in found["sentence"]
    values = [p["value"] for p in found["ahead"]]
    assert 0.72 < values[0] < 0.76 and values[0] < values[1] < 0.82


def test_a_curve_at_the_human_ceiling_says_so(asked):
    found = curve(asked, [0.74, 0.76, 0.755, 0.76], ceiling(0.75, 0.8))
    assert found["verdict"] == "ceiling"
    assert "at the human ceiling (75% to 80%)" in found["sentence"]
    assert "four times as many judgements would bring" in found["sentence"]


def test_a_flat_curve_below_the_ceiling_is_not_called_the_ceiling(asked):
    found = curve(asked, [0.76, 0.76, 0.76, 0.76], ceiling(0.85, 0.9))
    assert found["verdict"] == "flat" and "ceiling" not in found["sentence"]
    assert "flat at 76%" in found["sentence"]


@pytest.mark.parametrize("people", [None, (0.75, 0.8)])
def test_a_sentence_says_what_the_curve_shows_and_advises_nothing(asked, people):
    """That another model, or other judgements, would help was never measured."""
    for accuracies in ([0.76] * 4, [0.74, 0.76, 0.755, 0.76], [0.46, 0.56, 0.64, 0.7]):
        said = curve(asked, accuracies, ceiling(*people) if people else None)["sentence"].lower()
        assert not {"help", "larger", "may.", "judge", "collect"} & set(said.split())


def test_a_ceiling_that_is_hardly_known_is_not_compared_with(asked):
    found = curve(asked, [0.74, 0.76, 0.755, 0.76], ceiling(0.75, 0.8, width=0.3))
    assert "ceiling" not in found["sentence"]


def test_a_curve_that_wavers_is_not_predicted(asked):
    found = curve(asked, [0.66, 0.7, 0.66, 0.68], nested=False)
    assert found["verdict"] == "unsure"
    assert "does not yet say" in found["sentence"]


def test_few_pairs_are_not_enough():
    told = Told()
    for i in range(99):
        a, b = told.completion(i, "one", [1]), told.completion(i, "two", [0])
        told.say("pairwise", a, "a", "ann", b)
    found = curve(told.examples(), [0.5, 0.6, 0.7, 0.8])
    assert found["verdict"] == "unknown" and found["points"] == [] == found["ahead"]
    assert "99 pairs with a better side on 99 prompts, about 100 on 20" in found["sentence"]


def test_the_extrapolation_follows_a_power_law():
    """accuracy = 0.9 - 0.2 n^-0.6: within the interval at 2 and 4 times."""
    noise = np.random.default_rng(0).normal(scale=0.004, size=(DRAWS, 4))

    def at(n):
        return 0.9 - 0.2 * np.asarray(n) ** -0.6

    accuracy = [
        BootstrapDistribution(float(at(s)), at(s) + noise[:, i], 400, 100, True)
        for i, s in enumerate(SHARES)
    ]
    future = Extrapolation(np.array(SHARES), accuracy, 0)
    for times in (2.0, 4.0):
        low, high = future.at(times).interval
        assert low < at(times) < high and high - low < 0.2
    assert np.median(future.times_to(float(at(3.0)))) == pytest.approx(3, rel=0.35)
    assert np.isinf(future.times_to(0.99)).mean() > 0.8


def test_a_curve_is_never_predicted_to_fall():
    accuracy = [
        BootstrapDistribution(a, np.full(DRAWS, a), 400, 100, True) for a in (0.8, 0.75, 0.7, 0.65)
    ]
    future = Extrapolation(np.array(SHARES), accuracy, 0)
    assert future.gain(4.0).max() == 0 and future.at(4.0).value == pytest.approx(0.65)


def test_refits_learn_from_nested_parts_and_never_from_the_prompt():
    """A head that knew the prompt would use the number that stands for it alone."""
    told = tell(prompts=30, pairs=0, binary=0, ratings=3, dims=2)
    examples = told.examples()
    features = told.table(examples)
    calls = []
    found = fit_curve_points(
        Model(), features, examples, 2.0, lambda done, total, words: calls.append((done, total))
    )
    assert [one.share for one in found] == [0.5]  # an eighth and a quarter are below 20
    assert calls == [(i, 5) for i in range(5)]
    assert np.isfinite(found[0].reward).all() and found[0].nll > 0
    train, test = next(iter(folds(examples, seed=0)))
    changed = features.copy()
    changed[test] += 100.0 * (examples.prompt[test] % 2)[:, None]
    other = fit_curve_points(Model(), changed, examples, 2.0, lambda *_: None)
    assert np.isfinite(other[0].reward).all()
    assert not set(examples.prompt[train]) & set(examples.prompt[test])


def test_a_stop_ends_the_refits():
    told = tell(prompts=30)
    examples = told.examples()

    def stop(done, total, words):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_curve_points(Model(), told.table(examples), examples, 2.0, stop)
