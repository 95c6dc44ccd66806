"""Each measure by hand, beside the baseline that it must beat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from data.schema import Answer, Completion, Judgement, Task, make_prompt
from data.stats.bootstrap import Bootstrap
from reward_model.dataset.examples import collect
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.evaluation.baselines import baselines, by_prompt, rates
from reward_model.evaluation.calibration import calibration, reliability
from reward_model.evaluation.cross_validation import Predictions
from reward_model.evaluation.metrics import (
    at_equal_length,
    beside,
    constant_rates,
    evaluation_data,
    measures,
    pair_baselines,
)
from tests.reward_model.evaluation.receipts import tell

PROMPTS = [make_prompt(f"Question number {i}?") for i in range(60)]


def pair(prompt, a, b, value, annotator="ann", first="a"):
    task = Task("pairwise", Completion(prompt, a), Completion(prompt, b))
    return Judgement(0, task, annotator, Answer(value), first, "")


def absolute(prompt, text, value, annotator="ann", kind="scalar"):
    return Judgement(0, Task(kind, Completion(prompt, text)), annotator, Answer(value), None, "")


def asked(judgements, reward, pairs=None, binary=None, scalar=None):
    """What `measures` reads. reward: of a completion's text; the rest: predictions, or none."""
    examples = collect(judgements)
    some = preference_pairs(examples)
    values = np.array([reward(c) for c in examples.completions], float)

    def given(prediction, shape):
        return np.full(shape, np.nan) if prediction is None else np.asarray(prediction, float)

    prediction = Predictions(
        values,
        np.zeros(len(values)),
        given(pairs, (len(examples.pairs), 3)),
        given(binary, len(examples.binary)),
        given(scalar, (len(examples.scalar), 10)),
        0.0,
        len(examples),
    )
    boot = Bootstrap(max(1, examples.prompts))
    return evaluation_data(examples, some, prediction, baselines(examples, some), boot)


# --- pairs of which one is better


def test_accuracy_by_hand_beside_every_baseline():
    judgements = [pair(p, "long long long", "short", "a") for p in PROMPTS[:20]]
    judgements += [pair(p, "tiny", "much much longer", "a", first="b") for p in PROMPTS[20:30]]
    judgements += [pair(p, "same", "other", "tie") for p in PROMPTS[30:50]]
    one = asked(judgements, lambda c: c.text in ("long long long", "tiny"))
    found = measures(one)["accuracy"]
    assert found["value"] == 1.0 and found["n"] == 30 and found["prompts"] == 30
    null = {name: e.value for name, e in pair_baselines(one).items()}
    assert null["longer"] == pytest.approx(2 / 3) and null["shorter"] == pytest.approx(1 / 3)
    assert null["first"] == pytest.approx(2 / 3) and null["prompt"] == 0.5
    assert found["lead"]["value"] == pytest.approx(1 - found["baseline"]["value"])
    assert found["baseline"]["value"] == max(null.values())


def test_equal_rewards_count_half():
    found = measures(asked([pair(p, "x", "y", "a") for p in PROMPTS], lambda c: 0))
    assert found["accuracy"]["value"] == 0.5


def test_the_lead_is_paired():
    """Right where length is right and nowhere else: no lead, however high the accuracy."""
    rng = np.random.default_rng(0)
    judgements = [pair(p, "a long answer", "short", rng.choice(["a", "a", "b"])) for p in PROMPTS]
    found = measures(asked(judgements, lambda c: len(c.text)))["accuracy"]
    assert found["value"] > 0.55
    lead = found["lead"]
    assert lead["over"] == "longer" and lead["value"] == lead["low"] == lead["high"] == 0


def test_one_annotators_ratings_become_pairs():
    examples = collect(
        [
            absolute(PROMPTS[0], "x", "7"),
            absolute(PROMPTS[0], "y", "3"),
            absolute(PROMPTS[0], "z", "3", annotator="bob"),
            absolute(PROMPTS[1], "w", "1"),
        ]
    )
    found = preference_pairs(examples)
    text = [c.text for c in examples.completions]
    assert [(text[b], text[w]) for b, w in zip(found.better, found.worse, strict=True)] == [
        ("x", "y")
    ]
    assert found.source == "ratings" and np.isnan(found.first).all()


def test_good_and_bad_of_one_annotator_become_pairs():
    examples = collect(
        [
            absolute(PROMPTS[0], "x", "bad", kind="binary"),
            absolute(PROMPTS[0], "y", "good", kind="binary"),
            absolute(PROMPTS[1], "z", "good", kind="binary"),
        ]
    )
    found = preference_pairs(examples)
    text = [c.text for c in examples.completions]
    assert [(text[found.better[0]], text[found.worse[0]])] == [("y", "x")]
    assert found.source == "good or bad"


def test_ratings_do_not_pass_for_comparisons():
    """The kinds are not pooled: comparisons where there are enough of them."""
    judgements = [absolute(PROMPTS[0], f"t{i}", str(1 + i)) for i in range(9)]
    assert len(preference_pairs(collect(judgements))) == 36
    judgements += [pair(p, "x", "y", "a") for p in PROMPTS[:30]]
    found = preference_pairs(collect(judgements))
    assert found.source == "comparisons" and len(found) == 30
    few = preference_pairs(collect(judgements[:-1]))
    assert few.source == "ratings" and len(few) == 36


def test_who_was_shown_first_follows_the_side():
    judgements = [
        pair(PROMPTS[0], "x", "y", "a", first="a"),
        pair(PROMPTS[1], "x", "y", "b", first="a"),
        pair(PROMPTS[2], "x", "y", "b", first="b"),
        pair(PROMPTS[3], "x", "y", "b", first=None),
    ]
    found = preference_pairs(collect(judgements)).first
    assert found[:3].tolist() == [1, 0, 1] and np.isnan(found[3])


# --- with ties, and losses


def thirty(value, of=slice(0, 30), first="a"):
    return [pair(p, "x", "y", value, first=first) for p in PROMPTS[of]]


def test_three_ways_and_log_losses_by_hand():
    judgements = thirty("a", slice(0, 24)) + thirty("tie", slice(24, 40))
    p = [[0.7, 0.1, 0.2]] * 30 + [[0.2, 0.1, 0.7]] * 10
    found = measures(asked(judgements, lambda c: c.text == "x", pairs=p))
    # right about 24 of a and 10 of 16 ties
    assert found["three_way"]["value"] == pytest.approx(34 / 40)
    assert found["log_loss_ties"]["value"] == pytest.approx(
        -(34 * np.log(0.7) + 6 * np.log(0.2)) / 40
    )
    few = measures(asked(thirty("a"), lambda c: c.text == "x", pairs=[[0.6, 0.2, 0.2]] * 30))
    assert few["log_loss"]["value"] == pytest.approx(-np.log(0.75))


def test_a_lead_in_log_loss_is_positive_where_the_loss_is_lower():
    judgements = thirty("a") + thirty("b", slice(30, 60))
    sure = np.array([[0.9, 0.05, 0.05]] * 30 + [[0.05, 0.9, 0.05]] * 30)
    ahead = measures(asked(judgements, lambda c: 0, pairs=sure))["log_loss"]
    behind = measures(asked(judgements, lambda c: 0, pairs=sure[::-1]))["log_loss"]
    assert ahead["lead"]["low"] > 0 > behind["lead"]["high"]
    assert ahead["baseline"]["name"] == "constant"
    assert ahead["baseline"]["value"] == pytest.approx(np.log(2), abs=0.02)


def test_the_baseline_is_the_best_of_them():
    boot, prompt = Bootstrap(30), np.arange(30)
    ours, low, high = (boot.mean(np.full(30, v), prompt) for v in (0.5, 0.4, 0.7))
    assert beside(ours, {"low": low, "high": high})["baseline"]["name"] == "high"
    found = beside(ours, {"low": low, "high": high}, lower=True)
    assert found["baseline"]["name"] == "low"
    assert found["lead"]["value"] == pytest.approx(-0.1)


def test_constant_rates_take_no_side_where_no_order_is_known():
    """In columns of chosen and rejected texts the first is always preferred: that is no habit."""
    outcome, prompt = np.array([0, 0, 0, 2]), np.arange(4)
    found = constant_rates(outcome, np.zeros(4), prompt)
    assert (found[:, 0] == found[:, 1]).all() and found.sum(1) == pytest.approx(np.ones(4))
    # of those whose order is known, the others of them alone say who leans which way
    partly = constant_rates(outcome, np.array([1.0, 1, 0, 0]), prompt)
    assert partly[0].tolist() == [1.5 / 2.5, 0.5 / 2.5, 0.5 / 2.5] and partly[2, 0] == partly[2, 1]
    unknown = asked(thirty("a", first=None), lambda c: 0, pairs=[[0.6, 0.3, 0.1]] * 30)
    assert measures(unknown)["log_loss"]["baseline"]["value"] == pytest.approx(np.log(2))
    assert calibration(unknown)["pairs"]["brier"]["baseline"]["value"] == pytest.approx(0.25)


def test_undecided_predictions_are_partly_right():
    judgements = thirty("a", slice(0, 30))
    found = measures(asked(judgements, lambda c: 0, pairs=[[1 / 3] * 3] * 30))
    assert found["three_way"]["value"] == pytest.approx(1 / 3)


def test_a_likelihood_without_ties_is_not_asked_how_likely_they_were():
    judgements = thirty("a") + thirty("tie", slice(30, 45))
    one = asked(judgements, lambda c: 0, pairs=[[0.6, 0.4, 0]] * 45)
    found = measures(one)
    assert "log_loss_ties" not in found and found["three_way"]["value"] == pytest.approx(2 / 3)
    assert set(calibration(one)) == {"pairs"}


def test_constant_rates_know_the_side_and_not_the_own_prompt():
    outcome = np.array([0, 0, 1, 2])
    side = np.array([1.0, 1, -1, 1])
    found = constant_rates(outcome, side, np.array([0, 1, 2, 3]))
    # the first was preferred in rows 0, 1 and 2; half an answer is added to each
    assert found[3].tolist() == [3.5 / 4.5, 0.5 / 4.5, 0.5 / 4.5]
    assert found[2].tolist() == [0.5 / 4.5, 2.5 / 4.5, 1.5 / 4.5]
    assert rates(np.array([1, 1, 0]), np.array([0, 0, 1]), 2)[0].tolist() == [0.75, 0.25]


# --- length held fixed


def test_a_reward_that_is_only_length_knows_nothing_at_equal_length():
    rng, judgements = np.random.default_rng(3), []
    for i, p in enumerate(PROMPTS):
        long = "word " * int(rng.integers(6, 20))
        judgements.append(pair(p, long, "short", "a" if i % 4 else "b"))
        judgements.append(pair(p, f"aaaa{i % 10}", f"bbbb{i % 10}", "a"))
    one = asked(judgements, lambda c: len(c.text))
    found = at_equal_length(one)
    assert found["near"]["value"] == 0.5 and found["balanced"]["value"] == 0.5
    assert found["longer"]["value"] == 1 and found["longer"]["n"] == 45
    assert found["shorter"]["value"] is None and found["shorter"]["n"] == 15
    shorter = at_equal_length(
        replace(one, predictions=replace(one.predictions, reward=-one.reward))
    )
    assert shorter["balanced"]["value"] == 0.5 and shorter["longer"]["value"] == 0
    assert measures(one)["accuracy"]["lead"]["value"] <= 0


def test_a_reward_that_knows_better_does_so_at_equal_length():
    judgements = [pair(p, "good " * (1 + i % 3), "bad words", "a") for i, p in enumerate(PROMPTS)]
    found = at_equal_length(asked(judgements, lambda c: c.text.startswith("good")))
    assert found["balanced"]["value"] == 1
    assert found["balanced"]["low"] < 1


def test_one_length_throughout_leaves_nothing_to_balance():
    found = at_equal_length(asked(thirty("a"), lambda c: c.text == "x"))
    assert found["balanced"]["value"] is None and found["near"]["value"] == 1


# --- ratings, good or bad


def test_rank_correlation_within_prompts_by_hand():
    judgements, reward = [], {}
    for i, p in enumerate(PROMPTS[:12]):
        for k, rating in enumerate([3, 5, 9]):
            text = f"{i} {k}"
            judgements.append(absolute(p, text, str(rating)))
            reward[text] = 100 * i + [0, 2, 1][k]  # prompts far apart, two of a prompt swapped
    found = measures(asked(judgements, lambda c: reward[c.text]))
    within = found["spearman_within"]
    assert within["value"] == pytest.approx(0.5) and within["n"] == 36 and within["prompts"] == 12
    overall = spearmanr(list(reward.values()), [3, 5, 9] * 12).statistic
    assert found["spearman"]["value"] == pytest.approx(overall)
    assert within["baseline"]["name"] in ("longer", "shorter", "words")


def test_all_ratings_the_same_have_no_order():
    judgements = [absolute(p, t, "5") for p in PROMPTS[:20] for t in ("x", "y")]
    found = measures(asked(judgements, lambda c: c.text == "x"))
    assert found["spearman"]["value"] is None and found["spearman_within"]["value"] is None
    assert found["accuracy"]["value"] is None


def test_how_far_a_rating_is_missed_by_hand():
    judgements = [absolute(p, "x", "7" if i % 2 else "5") for i, p in enumerate(PROMPTS)]
    prediction = np.tile(np.eye(10)[6] * 0.9 + 0.01, (60, 1))
    found = measures(asked(judgements, lambda c: 0, scalar=prediction))
    assert found["rating_error"]["value"] == 1.0
    assert found["rating_log_loss"]["value"] == pytest.approx(-(np.log(0.91) + np.log(0.01)) / 2)


def test_auc_within_and_over_prompts_by_hand():
    judgements, reward = [], {}
    for i, p in enumerate(PROMPTS[:20]):
        for k, value in enumerate(["good", "bad"]):
            reward[f"{i} {k}"] = 100 * i + (k if i < 5 else -k)
            judgements.append(absolute(p, f"{i} {k}", value, kind="binary"))
    prediction = [0.8, 0.4] * 20
    found = measures(asked(judgements, lambda c: reward[c.text], binary=prediction))
    assert found["auc_within"]["value"] == pytest.approx(15 / 20)
    assert found["auc"]["value"] == pytest.approx((190 + 15) / 400)
    assert found["good_log_loss"]["value"] == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)


# --- calibration


def test_calibration_by_hand():
    prompt = np.repeat(np.arange(20), 2)
    p, happened = np.full(40, 0.7), np.array([1.0] * 20 + [0] * 20)
    found = reliability(Bootstrap(20), p, happened, prompt, np.full(40, 0.5))
    assert found["ece"]["value"] == pytest.approx(0.2)
    assert found["brier"]["value"] == pytest.approx((0.09 + 0.49) / 2)
    assert found["brier"]["baseline"]["value"] == 0.25
    assert found["brier"]["lead"]["value"] == pytest.approx(-0.04)
    (single,) = found["bins"]
    assert single["forecast"] == pytest.approx(0.7) and single["value"] == 0.5 and single["n"] == 40


def test_bins_hold_equally_many_and_are_told_apart():
    rng = np.random.default_rng(0)
    p = rng.random(400)
    happened = (rng.random(400) < p).astype(float)
    found = reliability(Bootstrap(100), p, happened, np.arange(400) % 100, np.full(400, 0.5))
    assert [b["n"] for b in found["bins"]] == [40] * 10
    assert found["ece"]["value"] < found["ece"]["by_chance_high"]
    predictions = [b["forecast"] for b in found["bins"]]
    assert predictions == sorted(predictions)
    wrong = reliability(Bootstrap(100), p**3, happened, np.arange(400) % 100, np.full(400, 0.5))
    assert wrong["ece"]["value"] > wrong["ece"]["by_chance_high"] and wrong["ece"]["low"] > 0


def test_what_chance_makes_of_a_true_prediction():
    """Of n answers at p, E|share - p| is sqrt(2 p (1 - p) / (pi n))."""
    half, prompt = np.full(100, 0.5), np.arange(100) % 50
    found = reliability(Bootstrap(50), half, np.tile([0.0, 1], 50), prompt, half)
    assert found["ece"]["by_chance"] == pytest.approx(np.sqrt(0.5 / (np.pi * 100)), rel=0.15)


def test_tie_calibration_is_about_ties():
    judgements = thirty("a", slice(0, 40)) + thirty("tie", slice(40, 50))
    one = asked(judgements, lambda c: 0, pairs=[[0.4, 0.2, 0.4]] * 50)
    found = calibration(one)
    assert found["ties"]["mean_forecast"]["value"] == pytest.approx(0.4)
    assert found["ties"]["share"]["value"] == pytest.approx(0.2)
    assert found["ties"]["ece"]["value"] == pytest.approx(0.2)
    assert found["pairs"]["mean_forecast"]["value"] == pytest.approx(2 / 3)
    assert found["pairs"]["share"]["value"] == 1


def test_which_side_is_called_a_does_not_matter():
    """Sure of b and right: as calibrated as sure of a and right."""
    one = calibration(asked(thirty("a"), lambda c: 0, pairs=[[0.8, 0.1, 0.1]] * 30))["pairs"]
    other = calibration(
        asked(thirty("b", first="b"), lambda c: 0, pairs=[[0.1, 0.8, 0.1]] * 30)
    )["pairs"]  # fmt: skip
    for key in ("ece", "brier"):
        assert one[key]["value"] == pytest.approx(other[key]["value"])
    assert one["brier"]["baseline"]["value"] == pytest.approx(other["brier"]["baseline"]["value"])


# --- baselines


def test_the_prompt_alone_tells_prompts_apart_and_does_not_see_the_answer():
    rng = np.random.default_rng(0)
    easy = np.repeat(rng.normal(size=30), 4)
    answer = easy + 0.1 * rng.normal(size=120)
    item, prompt_of = np.arange(120), np.repeat(np.arange(30), 4)
    found = by_prompt(answer, item, prompt_of)
    assert np.corrcoef(found, easy)[0, 1] > 0.95
    changed = answer.copy()
    changed[0] += 0.5
    assert abs(by_prompt(changed, item, prompt_of)[0] - found[0]) < 0.02
    noise = rng.normal(size=120)
    assert (
        np.ptp(by_prompt(noise - np.repeat(noise.reshape(30, 4).mean(1), 4), item, prompt_of)) == 0
    )


def test_a_rating_without_others_beside_it_gets_the_mean_of_all() -> None:
    """Also where answers of a prompt never differ, so that nothing is drawn to the mean."""
    found = by_prompt(np.array([5.0, 5.0, 8.0]), np.arange(3), np.array([0, 0, 1]))
    assert found.tolist() == [5.0, 5.0, 6.0]


def test_words_that_the_own_prompt_alone_has_teach_nothing():
    """Each prompt has a word of its own that says which is better: unseen, it says nothing."""
    judgements = [pair(p, f"only{i} only{i}", "other", "a") for i, p in enumerate(PROMPTS[:20])]
    one = asked(judgements + [pair(p, "x", "y", "b") for p in PROMPTS[20:40]], lambda c: 0)
    text = [c.text for c in one.examples.completions]
    scores = one.baselines.words["pairwise"][
        [i for i, t in enumerate(text) if t.startswith("only")]
    ]
    assert np.ptp(scores) == pytest.approx(0, abs=1e-9)


def test_only_what_has_a_reward_is_asked_about():
    told = tell(prompts=12)
    examples = told.examples()
    some = preference_pairs(examples)
    known = examples.prompt < 6
    reward = np.where(known, 1.0, np.nan)
    empty = Predictions(reward, reward, np.full((len(examples.pairs), 3), 0.3),
                     np.full(len(examples.binary), 0.5), np.full((len(examples.scalar), 10), 0.1),
                     0.0, 0)  # fmt: skip
    one = evaluation_data(examples, some, empty, baselines(examples, some), Bootstrap(12))
    assert len(one.predictions.pairs) == len(one.examples.pairs)
    assert (
        len(one.predictions.scalar)
        == len(one.examples.scalar)
        == len(one.baselines.prompt["scalar"])
    )
    assert 0 < len(one.examples.binary) < len(examples.binary)
    assert (examples.prompt[one.examples.binary.item] < 6).all()
    assert (one.pairs.prompt < 6).all()
