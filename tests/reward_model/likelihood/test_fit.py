"""The head's fit: it finds what the answers were made from, and says how sure it is."""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch

from reward_model.benchmark.worlds import World, accuracy, draw_annotators, draw_judgements, world
from reward_model.config import OBJECTIVES, Objective, ScalarLink
from reward_model.dataset.examples import Examples, Pairs, Scalar, rows
from reward_model.likelihood.annotators_and_prompts import DIFFICULTY
from reward_model.likelihood.fit import COMPONENTS, Basis, HeadFit, fit_head
from reward_model.likelihood.joint import Joint
from tests.reward_model.likelihood.test_joint import ints, truth


@pytest.fixture(autouse=True)
def _no_warning() -> None:
    """A fit that does not converge says so in a warning: here each must."""
    warnings.simplefilter("error", UserWarning)


def centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean()


def true_to_the_priors(seed: int, people: int = 6) -> World:
    """A world as the model takes worlds to be, every effect in it."""
    rng = np.random.default_rng(seed)
    made = world(seed, prompts=250, dims=6, people=people)
    made.hard[:] = 0.7 * rng.normal(size=len(made.hard))
    made.tastes -= made.reward.mean()  # as fits have it: 0 is the average completion
    made.reward -= made.reward.mean()
    them = made.crowd = draw_annotators(rng, people, careless=False)
    them.consistency = centred(0.4 * rng.normal(size=people))
    them.scale = centred(0.4 * rng.normal(size=people))
    them.side, them.tie = 0.4 * rng.normal(size=people), 0.4 * rng.normal(size=people)
    them.binary_gain, them.scalar_gain = 0.4 * rng.normal(size=2)
    them.strength_cuts, them.strength_slope = (0.4, 1.6), 0.3 * rng.normal()
    return made


def within(made: World, examples: Examples, seed: int) -> dict[str, list[bool]]:
    """Whether each parameter's 95% interval holds the truth."""
    joint = Joint(examples)
    fit = fit_head(made.features, joint, 6.0)
    assert fit.converged
    known, inside = truth(joint, made.crowd, made.hard), {}
    for name, sd in fit.sd.items():
        away = np.abs(fit.values[name].numpy() - known[name].numpy())
        inside[name] = (away < 1.96 * sd).tolist()
    rng = np.random.default_rng(seed)
    a, b = rng.integers(len(made.reward), size=(2, 20))
    off = fit.rewards(made.features[a]) - fit.rewards(made.features[b])
    off -= made.reward[a] - made.reward[b]
    sd = fit.spread(made.features[a], made.features[b])
    inside["difference of rewards"] = (np.abs(off) < 1.96 * sd + 1e-12).tolist()
    return inside


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """95% of all, give or take 3; of one name's, at least 80%: 16 worlds leave that to chance."""
    inside: dict[str, list[bool]] = defaultdict(list)
    for seed in range(16):
        made = true_to_the_priors(seed)
        examples = draw_judgements(made, np.random.default_rng(seed), 900, 900, 900, 250)
        for name, found in within(made, examples, seed).items():
            inside[name] += found
    assert {name for name, found in inside.items() if np.mean(found) < 0.8} == set()
    assert 0.92 < np.mean(np.concatenate([*inside.values()])) < 0.98


def fitted(
    made: World,
    n: tuple[int, int, int],
    objective: Objective = "joint",
    scalar: ScalarLink = "ordinal",
    precision: float = 24.0,
    effects: bool = True,
    seed: int = 0,
) -> HeadFit:
    examples = draw_judgements(made, np.random.default_rng(seed), *n, len(made.hard))
    return fit_head(made.features, Joint(examples, objective, scalar, effects), precision)


@pytest.mark.parametrize("n", [3, 10, 30, 60])
@pytest.mark.parametrize("scalar", ["ordinal", "gaussian"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_mode_collapses(objective: Objective, scalar: ScalarLink, n: int) -> None:
    """With few judgements, many features and a weak prior: slopes and noise stay themselves."""
    made = world(n, prompts=60, dims=48)
    fit = fitted(made, (n // 3, n // 3, n // 3), objective, scalar, precision=4.0)
    assert fit.converged
    assert all(torch.isfinite(v).all() for v in fit.values.values())
    for name in ("binary_gain", "scalar_gain", "consistency", "scale"):
        if name in fit.values:
            assert fit.values[name].abs().max() < 1.2, name
    if "log_sd" in fit.values:
        assert 0 < float(fit.values["log_sd"]) < 1.2
    assert np.isfinite(fit.spread(made.features, fit.basis.mean)).all()


def test_the_unit_of_the_reward_is_found() -> None:
    """Where ratings are many and comparisons few, which alone fix the unit."""
    slopes = []
    for seed in range(6):
        made = world(seed, prompts=200)
        made.crowd = draw_annotators(np.random.default_rng(seed), 6, careless=False)
        fit = fitted(made, (200, 0, 800), precision=12.0, seed=seed)
        r = fit.rewards(made.features)
        slopes.append(np.polyfit(made.reward, r, 1)[0])
    assert 0.75 < np.mean(slopes) < 1.25


def test_gaussian_noise_is_found_from_fewer_ratings_than_features() -> None:
    made = world(1, prompts=60, dims=48)
    examples = draw_judgements(made, np.random.default_rng(0), 0, 0, 40, 60)
    rng = np.random.default_rng(1)
    rating = np.clip(np.round(5.5 + made.reward[examples.scalar.item] + 1.5 * rng.normal(size=40)),
                     1, 10)  # fmt: skip
    examples = replace(examples, scalar=replace(examples.scalar, rating=rating.astype(np.int64)))
    fit = fit_head(made.features, Joint(examples, "regression"), 48 / 3)
    assert 0.8 < np.exp(float(fit.values["log_sd"])) < 2.2


# -- the same fit, whichever way


def test_a_refit_ends_where_a_cold_fit_does() -> None:
    made = world(2, prompts=100)
    examples = draw_judgements(made, np.random.default_rng(0), 200, 200, 200, 100)
    upto = slice(0, 190)
    early = replace(examples, pairs=rows(examples.pairs, upto), scalar=rows(examples.scalar, upto),
                    binary=rows(examples.binary, upto))  # fmt: skip
    before = fit_head(made.features, Joint(early), 24.0)
    again = fit_head(made.features, Joint(examples), 24.0, start=before)
    cold = fit_head(made.features, Joint(examples), 24.0)
    sd = np.sqrt(np.square(cold.factor).sum(1))
    assert np.abs((again.w - cold.w) / sd).max() < 0.02
    assert np.abs((before.w - cold.w) / sd).max() > 0.05


def test_a_refit_starts_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    made = world(2, prompts=100)
    examples = draw_judgements(made, np.random.default_rng(0), 100, 100, 100, 100)
    done = fit_head(made.features, Joint(examples), 24.0)
    monkeypatch.setattr("reward_model.likelihood.fit.ROUNDS", 1)  # none but the first look
    again = fit_head(made.features, Joint(examples), 24.0, start=done)
    assert again.converged and np.array_equal(again.w, done.w)


def test_new_annotators_and_prompts_join_a_refit() -> None:
    made = world(3, prompts=40, people=4)
    examples = draw_judgements(made, np.random.default_rng(0), 60, 60, 60, 40)
    few = examples.where(examples.prompt < 30)
    few = replace(few, prompt=np.minimum(few.prompt, 29), annotators=few.annotators[:3],
                  pairs=rows(few.pairs, few.pairs.annotator < 3),
                  binary=rows(few.binary, few.binary.annotator < 3),
                  scalar=rows(few.scalar, few.scalar.annotator < 3))  # fmt: skip
    before = fit_head(made.features, Joint(few), 24.0)
    again = fit_head(made.features, Joint(examples), 24.0, start=before)
    assert again.converged and len(again.values["consistency"]) == 4


def test_bradley_terry_without_effects_is_scikit_learns_logistic_regression() -> None:
    from sklearn.linear_model import LogisticRegression

    made = world(4, prompts=60)
    examples = draw_judgements(made, np.random.default_rng(0), 150, 0, 0, 60)
    pairs = rows(examples.pairs, examples.pairs.outcome < 2)
    fit = fit_head(made.features, Joint(replace(examples, pairs=pairs), effects=False), 5.0)
    z = fit.basis.coordinates(made.features)
    theirs = LogisticRegression(C=1 / 5.0, fit_intercept=False, tol=1e-8, max_iter=1000)
    theirs.fit(z[pairs.a] - z[pairs.b], pairs.outcome == 0)
    sd = np.sqrt(np.square(fit.factor).sum(1))
    assert np.abs((fit.w - theirs.coef_[0]) / sd).max() < 0.02


def test_regression_without_effects_is_ridge_regression() -> None:
    from sklearn.linear_model import Ridge

    made = world(5, prompts=60)
    examples = draw_judgements(made, np.random.default_rng(0), 0, 0, 150, 60)
    fit = fit_head(made.features, Joint(examples, "regression", effects=False), 5.0)
    z = fit.basis.coordinates(made.features)[examples.scalar.item]
    theirs = Ridge(alpha=5.0).fit(z, examples.scalar.rating)
    sd = np.sqrt(np.square(fit.factor).sum(1))
    assert np.abs((fit.w - theirs.coef_) / sd).max() < 0.02
    centre = z - z.mean(0)  # the level's own prior is wide
    exact = np.linalg.inv(centre.T @ centre + 5 * np.eye(24))
    assert np.allclose(fit.factor @ fit.factor.T, exact, rtol=0.02, atol=1e-4)


def test_weights_on_raw_features_give_the_same_rewards() -> None:
    made = world(6, prompts=40, width=80)
    fit = fitted(made, (50, 50, 50))
    raw = made.features @ fit.weights + fit.intercept
    assert np.allclose(raw, fit.rewards(made.features), atol=1e-8)


# -- how sure


def test_what_the_features_never_showed_stays_as_unsure_as_the_prior() -> None:
    """More features than completions: a direction outside them has the prior's whole spread."""
    made = world(7, prompts=10, width=100)
    fit = fitted(made, (40, 0, 0), precision=7.0)
    rng = np.random.default_rng(0)
    axes = fit.basis.axes
    assert axes.shape == (100, 40)
    away = rng.normal(size=100)
    away -= axes @ (axes.T @ away)
    sd = fit.spread((fit.basis.mean + away * fit.basis.spread)[None], fit.basis.mean)
    assert sd[0] == pytest.approx(np.linalg.norm(away) / np.sqrt(7.0))


def test_an_annotator_with_one_judgement_is_one_of_the_crowd() -> None:
    made = world(8, prompts=80, people=3)
    examples = draw_judgements(made, np.random.default_rng(0), 300, 300, 300, 80)
    once = np.arange(300) == 0
    binary = replace(examples.binary, annotator=np.where(once, 2, examples.binary.annotator % 2))
    examples = replace(examples, pairs=rows(examples.pairs, examples.pairs.annotator < 2),
                       scalar=rows(examples.scalar, examples.scalar.annotator < 2),
                       binary=binary)  # fmt: skip
    fit = fit_head(made.features, Joint(examples), 24.0)
    assert abs(fit.values["consistency"][2]) < 0.25 and fit.sd["consistency"][2] > 0.4
    assert abs(fit.values["threshold"][2]) < 1.0 and fit.sd["threshold"][2] > 0.7
    for name in ("scale", "offset", "side", "tie"):  # of which nothing was seen
        assert abs(fit.values[name][2]) < 1e-3
        assert fit.sd[name][2] == pytest.approx(Joint(examples).parts[name].sd, rel=0.02)


# -- what judgements may be like


def some(n: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2 * n, 3))


def pairs_of(n: int, outcome: int) -> Pairs:
    places = np.arange(n)
    return Pairs(places, places + n, np.full(n, outcome), np.ones(n), places * 0, places * 0)


@pytest.mark.parametrize("outcome", [0, 1, 2])
def test_pairs_that_all_say_the_same(outcome: int) -> None:
    n = 12
    examples = Examples((), np.tile(np.arange(n), 2), ("ann",), pairs_of(n, outcome))
    fit = fit_head(some(n), Joint(examples), 3.0)
    apart = fit.rewards(some(n))[:n] - fit.rewards(some(n))[n:]
    assert np.isfinite(apart).all()
    if outcome == 2:
        assert np.abs(apart).max() < 0.1 and float(fit.values["log_tie"]) > 0.5


@pytest.mark.parametrize("scalar", ["ordinal", "gaussian"])
@pytest.mark.parametrize("rating", [1, 5, 10])
def test_ratings_that_are_all_the_same(rating: int, scalar: ScalarLink) -> None:
    n = 20
    ratings = Scalar(np.arange(n), np.full(n, rating), np.arange(n) % 2)
    examples = Examples((), np.arange(n) // 2, ("ann", "bob"), scalar=ratings)
    fit = fit_head(some(n // 2), Joint(examples, scalar=scalar), 3.0)
    assert np.abs(fit.rewards(some(n // 2))).max() < 0.5


def test_contradictory_judgements_leave_no_opinion() -> None:
    n = 10
    forth, back = pairs_of(n, 0), pairs_of(n, 1)
    both = Pairs(*(np.concatenate([getattr(forth, f), getattr(back, f)])
                   for f in ("a", "b", "outcome", "side", "strength", "annotator")))  # fmt: skip
    examples = Examples((), np.tile(np.arange(n), 2), ("ann",), both)
    fit = fit_head(some(n), Joint(examples), 3.0)
    assert np.abs(fit.rewards(some(n))).max() < 1e-2


def test_unconnected_annotators_are_not_compared_wrongly() -> None:
    """Each has prompts of their own; who is harsher is then left to the features."""
    made = world(9, prompts=100, people=2)
    made.crowd = draw_annotators(np.random.default_rng(9), 2, careless=False)
    examples = draw_judgements(made, np.random.default_rng(0), 0, 400, 400, 100)
    mine = examples.prompt >= 50
    b, s = examples.binary, examples.scalar
    apart = replace(examples, binary=rows(b, mine[b.item] == b.annotator),
                    scalar=rows(s, mine[s.item] == s.annotator))  # fmt: skip
    fit = fit_head(made.features, Joint(apart), 24.0)
    assert np.corrcoef(fit.rewards(made.features), made.reward)[0, 1] > 0.85


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nothing_judged_leaves_the_prior(objective: Objective) -> None:
    examples = Examples((), ints(0, 0, 1, 1), ("ann",))
    x = np.random.default_rng(0).normal(size=(4, 3))
    fit = fit_head(x, Joint(examples, objective), 3.0)
    assert not fit.w.any()
    assert np.allclose(fit.factor @ fit.factor.T, np.eye(3) / 3)


def test_one_judgement_and_one_feature() -> None:
    examples = Examples((), ints(0, 0), ("ann",), Pairs(ints(0), ints(1), ints(0), np.ones(1),
                                                         ints(3), ints(0)))  # fmt: skip
    fit = fit_head(np.array([[1.0], [2.0]]), Joint(examples), 1.0)
    assert fit.rewards(np.array([[1.0], [2.0]])) @ [1, -1] > 0


def test_a_judgement_given_twice_counts_twice() -> None:
    made = world(10, prompts=30)
    examples = draw_judgements(made, np.random.default_rng(0), 60, 0, 0, 30)
    twice = np.repeat(np.arange(60), 2)
    double = replace(examples, pairs=rows(examples.pairs, twice))
    x = made.features
    one = fit_head(x, Joint(examples, effects=False), 6.0)
    two = fit_head(x, Joint(double, effects=False), 12.0)  # twice the likelihood, twice the prior
    assert np.allclose(one.w, two.w, atol=2e-3)


# -- what features may be like


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_by_number(bad: float) -> None:
    x = some()
    x[2, 1] = bad
    examples = Examples((), np.tile(np.arange(4), 2), ("ann",), pairs_of(4, 0))
    with pytest.raises(ValueError, match=r"1 of 8 completions have features that are not finite .*"
                                         r"number 3"):  # fmt: skip
        fit_head(x, Joint(examples), 3.0)
    good = fit_head(some(), Joint(examples), 3.0)
    with pytest.raises(ValueError, match="not finite"):
        fit_head(x, Joint(examples), 3.0, start=good)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_features_does_not_matter(scale: float) -> None:
    made = world(11, prompts=30, dims=6)
    examples = draw_judgements(made, np.random.default_rng(0), 60, 60, 60, 30)
    one = fit_head(made.features, Joint(examples), 6.0).rewards(made.features)
    other = fit_head(made.features * scale, Joint(examples), 6.0).rewards(made.features * scale)
    assert np.allclose(one, other, atol=1e-6)


def test_a_feature_that_never_varies_is_not_used() -> None:
    made = world(12, prompts=30, dims=6)
    x = np.column_stack([made.features, np.full(len(made.features), 1e6 + 0.1)])
    examples = draw_judgements(made, np.random.default_rng(0), 60, 60, 60, 30)
    fit = fit_head(x, Joint(examples), 6.0)
    assert abs(fit.weights[-1]) < 1e-6
    assert accuracy(made, fit.rewards(x), 0) > 0.75


def test_one_wild_completion_among_those_read_changes_nothing() -> None:
    made = world(13, prompts=100, dims=6)
    examples = draw_judgements(made, np.random.default_rng(0), 200, 200, 200, 100)
    examples = examples.where(np.arange(400) > 0)
    calm = fit_head(made.features, Joint(examples), 6.0).rewards(made.features)
    made.features[0] = 1e6
    wild = fit_head(made.features, Joint(examples), 6.0).rewards(made.features)
    assert np.corrcoef(calm[1:], wild[1:])[0, 1] > 0.999
    assert np.std(wild[1:]) == pytest.approx(np.std(calm[1:]), rel=0.15)


def test_many_features_are_brought_to_their_largest_components() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 20)) @ rng.normal(size=(20, 500)) + 0.01 * rng.normal(size=(400, 500))
    basis = Basis.of(x)
    assert basis.axes.shape == (500, COMPONENTS)
    assert np.allclose(basis.axes.T @ basis.axes, np.eye(COMPONENTS), atol=1e-8)
    assert basis.outside(x).max() < 0.01 * np.square(basis.coordinates(x)).sum(1).min()


# -- when it fails, and annotators alone


def test_a_fit_that_stops_early_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reward_model.likelihood.fit.ROUNDS", 1)
    with pytest.warns(UserWarning, match="standard deviations from its best point"):
        fit = fitted(world(14, prompts=30), (30, 30, 30))
    assert not fit.converged


def test_annotators_are_found_where_the_rewards_are_known() -> None:
    made = true_to_the_priors(3)
    examples = draw_judgements(made, np.random.default_rng(0), 1500, 1500, 1500, 250)
    joint = Joint(examples)
    values = fit_head(made.reward[:, None], joint, 1.0).values
    known = truth(joint, made.crowd, made.hard)
    for name in ("consistency", "side", "tie", "scale", "offset"):
        found = np.corrcoef(values[name].numpy(), known[name].numpy())[0, 1]
        assert found > 0.85, name
    assert np.corrcoef(values[DIFFICULTY].numpy(), made.hard)[0, 1] > 0.6
