"""The prior that the judgements make likeliest, and how many of them tell as much as one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.stats.intervals import Ints
from reward_model.benchmark.worlds import World, draw_judgements, unseen, world
from reward_model.dataset.examples import Examples, rows
from reward_model.evaluation.cross_validation import Model, prior_for
from reward_model.likelihood.fit import HeadFit, Prior, fit_head
from reward_model.likelihood.joint import Joint

SEEN = 120


def made(seed: int, **how: float) -> World:
    return world(seed, prompts=SEEN + 30, dims=12, careless=False, **how)  # type: ignore[arg-type]


def some(here: World, n: int, seed: int = 0) -> Examples:
    return draw_judgements(here, np.random.default_rng(seed), n, n, n, SEEN)


def repeated(examples: Examples, times: int) -> Examples:
    """Every judgement so often, by the same person."""

    def again(item: Ints) -> Ints:
        return np.repeat(np.arange(len(item)), times)

    return replace(
        examples,
        pairs=rows(examples.pairs, again(examples.pairs.a)),
        binary=rows(examples.binary, again(examples.binary.item)),
        scalar=rows(examples.scalar, again(examples.scalar.item)),
    )


def test_judgements_that_say_the_same_count_once() -> None:
    """Three times each: a design effect of about three, and error bars as before."""
    here = made(0)
    once, thrice = some(here, 200), repeated(some(here, 200), 3)
    apart = prior_for(Model(), here.features, once)
    together = prior_for(Model(), here.features, thrice)
    assert apart.design_effect < 1.3
    assert 2 < together.design_effect < 4

    def fitted(examples: Examples, prior: Prior | float) -> HeadFit:
        return fit_head(here.features, Joint(examples), prior)

    a, b = unseen(here, SEEN)
    sd, same, smaller = (
        fit.spread(here.features[a], here.features[b]).mean()
        for fit in (fitted(once, apart), fitted(thrice, together),
                    fitted(thrice, together.precision))
    )  # fmt: skip
    assert same == pytest.approx(sd, rel=0.25)
    assert smaller < 0.75 * sd


def test_people_with_tastes_of_their_own_are_not_independent_judgements() -> None:
    effects = [
        np.mean([prior_for(Model(), here.features, some(here, 240)).design_effect
                 for here in (made(seed, own=own) for seed in range(3))])
        for own in (0.0, 1.0)
    ]  # fmt: skip
    assert effects[0] < 1.25 < effects[1]


def test_intervals_hold_where_the_prior_is_chosen() -> None:
    """95% ones of a reward difference; give or take 3, and 16 worlds' chance."""
    inside = []
    for seed in range(16):
        here = made(seed)
        examples = some(here, 60, seed)
        fit = fit_head(here.features, Joint(examples), prior_for(Model(), here.features, examples))
        a, b = unseen(here, SEEN)
        shift = np.exp(here.crowd.consistency[examples.pairs.annotator]).mean()
        off = fit.rewards(here.features[a]) - fit.rewards(here.features[b])
        off -= shift * (here.reward[a] - here.reward[b])
        inside.append(np.mean(np.abs(off) < 1.96 * fit.spread(here.features[a], here.features[b])))
    assert 0.88 < np.mean(inside) < 0.995


def test_the_variance_is_near_the_true_one() -> None:
    found = []
    for seed in range(3):
        here = made(seed)
        prior = prior_for(Model(), here.features, some(here, 400, seed))
        size = np.square(here.features - here.features.mean(0)).sum(1).mean()
        found.append(size / (prior.precision / prior.design_effect) / here.reward.var())
    assert 0.4 < np.mean(found) < 2.0


def test_one_annotator_does_not_carry_the_unit_away() -> None:
    """Many judgements by people of different tastes: nobody's consistency runs off, nor a gain."""
    here = world(1, prompts=SEEN, own=0.7, careless=False)
    examples = draw_judgements(here, np.random.default_rng(2001), 1000, 1000, 1000, SEEN)
    fit = fit_head(here.features, Joint(examples), prior_for(Model(), here.features, examples))
    k = fit.values["consistency"].numpy()
    assert np.abs(k).max() < 2
    assert all(abs(float(fit.values[gain])) < 0.3 for gain in ("binary_gain", "scalar_gain"))
    assert fit.rewards(here.features).var() > 1
