"""Whether a policy can learn from rewards, and what the best of n is worth."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from data.stats.bootstrap import Bootstrap
from reward_model.evaluation.best_of_n import best_of_n, chance_of_best, judged_best_of_n, spread
from tests.reward_model.evaluation.receipts import Told, compared


def samples(within, between, prompts=20, each=4, seed=0):
    """Rewards of so many samples that spread so within a prompt, and prompts so between them."""
    rng = np.random.default_rng(seed)
    inside = rng.normal(size=(prompts, each))
    inside -= inside.mean(1, keepdims=True)
    inside /= np.sqrt(np.square(inside).sum(1, keepdims=True) / (each - 1))
    rewards = between * rng.normal(size=(prompts, 1)) + within * inside
    return rewards.ravel(), np.repeat(np.arange(prompts), each)


def test_spread_within_prompts_by_hand():
    rewards, prompt = samples(0.5, 2.0)
    found = spread(rewards, np.full(80, 0.3), prompt, Bootstrap(20))
    assert found["within"]["value"] == pytest.approx(0.5)
    assert found["error"]["value"] == pytest.approx(0.3)
    assert found["share"]["value"] == pytest.approx(0.25 / rewards.var())
    assert found["within"]["n"] == 80 and found["within"]["prompts"] == 20


@pytest.mark.parametrize(
    ("within", "error", "verdict", "words"),
    [
        (0.05, 0.01, "flat", "nearly flat"),
        (0.0, 0.2, "flat", "GRPO cannot learn"),
        (0.4, 0.6, "unsure", "less than the 0.60"),
        (0.6, 0.2, "enough", "GRPO has something to learn from"),
    ],
)
def test_the_verdict_on_the_spread(within, error, verdict, words):
    rewards, prompt = samples(within, 1.0)
    found = spread(rewards, np.full(80, error), prompt, Bootstrap(20))
    assert found["verdict"] == verdict and words in found["sentence"]


def test_a_constant_reward_is_flat():
    found = spread(np.zeros(80), np.zeros(80), np.repeat(np.arange(20), 4), Bootstrap(20))
    assert found["verdict"] == "flat" and found["share"]["value"] == 0


@pytest.mark.parametrize(("prompts", "each"), [(9, 4), (40, 1), (0, 0), (10, 2)])
def test_few_samples_say_nothing(prompts, each):
    n = prompts * each
    prompt = np.repeat(np.arange(prompts), each)
    found = spread(np.arange(n, dtype=float), np.ones(n), prompt, Bootstrap(max(1, prompts)))
    assert found["verdict"] == "unknown" and found["within"]["value"] is None
    assert "Not enough samples" in found["sentence"]


def test_best_of_n_is_the_mean_over_all_choices():
    rng = np.random.default_rng(1)
    prompt = np.concatenate([np.repeat(np.arange(12), 8), np.repeat(np.arange(12, 15), 3)])
    rewards = np.round(rng.normal(size=len(prompt)), 1)
    found = best_of_n(rewards, prompt, Bootstrap(15))
    assert [p["best_of"] for p in found] == [2, 4, 8]
    for point in found:
        gains = []
        for p in range(12):  # the other prompts have fewer samples than eight
            own = rewards[prompt == p]
            best = [max(c) for c in combinations(own, point["best_of"])]
            gains.append(np.mean(best) - own.mean())
        assert point["value"] == pytest.approx(np.mean(gains))
        assert point["n"] == 96 and point["low"] < point["value"] < point["high"]


def test_best_of_n_needs_prompts_with_several():
    assert best_of_n(np.arange(36.0), np.repeat(np.arange(9), 4), Bootstrap(9)) == []
    assert best_of_n(np.arange(20.0), np.arange(20), Bootstrap(20)) == []
    assert best_of_n(np.zeros(0), np.zeros(0, np.int64), Bootstrap(1)) == []


def test_chances_to_be_best_by_hand():
    assert chance_of_best(3, 2).tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    assert chance_of_best(5, 1).tolist() == pytest.approx([0.2] * 5)
    assert chance_of_best(200, 64).sum() == pytest.approx(1)


def judged(prompts=30, each=4):
    """Every pair of each prompt's completions, judged by their number, with some noise and ties."""
    told, rng = Told(), np.random.default_rng(0)
    for i in range(prompts):
        made = [told.completion(i, f"{i} {k}", [k]) for k in range(each)]
        for a, b in combinations(range(each), 2):
            value = rng.choice(["a", "b", "tie"], p=[0.2, 0.6, 0.2])
            told.say("pairwise", made[a], str(value), "ann", made[b])
    return told.examples()


def test_judged_best_of_n_is_the_mean_over_all_choices():
    """Against every choice of n of a prompt's completions and every judged pair of the best."""
    examples = judged()
    rng = np.random.default_rng(3)
    reward = rng.normal(size=len(examples.completions))
    found = judged_best_of_n(compared(examples, reward))
    assert [p["best_of"] for p in found] == [2, 3, 4]
    pairs = examples.pairs
    worth = {0: (1, 0), 1: (0, 1), 2: (0.5, 0.5)}
    for point in found:
        total = weight = 0.0
        for p in range(examples.prompts):
            own = np.flatnonzero(examples.prompt == p)
            choices = list(combinations(own, point["best_of"]))
            rows = np.flatnonzero(examples.prompt[pairs.a] == p)
            for choice in choices:
                best = max(choice, key=lambda i: reward[i])
                for row in rows:
                    for side, place in enumerate((pairs.a[row], pairs.b[row])):
                        if place == best:
                            total += worth[int(pairs.outcome[row])][side] / len(choices)
                            weight += 1 / len(choices)
        assert point["value"] == pytest.approx(total / weight)


def test_a_reward_that_says_nothing_gains_nothing():
    examples = judged()
    flat = judged_best_of_n(compared(examples, np.zeros(len(examples.completions))))
    assert [p["value"] for p in flat] == pytest.approx([0.5] * 3)


def test_nothing_judged_has_no_best_of_n():
    assert judged_best_of_n(compared(Told().examples(), np.zeros(0))) == []


@pytest.mark.parametrize("n", [2, 3])
def test_equal_rewards_share_the_chance_of_being_the_best(n):
    """Two that are equal at the top, of four: each is the best as often as the mean of both."""
    found = judged_best_of_n(compared(judged(), np.tile([0.0, 5, 5, 1], 30)))
    alone = chance_of_best(4, n)
    by_place = np.array([alone[0], alone[2:].mean(), alone[2:].mean(), alone[1]])
    pairs, worth = judged().pairs, np.array([1, 0, 0.5])
    a, b = by_place[pairs.a % 4], by_place[pairs.b % 4]
    won = worth[pairs.outcome]
    value = next(point["value"] for point in found if point["best_of"] == n)
    assert value == pytest.approx((a * won + b * (1 - won)).sum() / (a + b).sum())
