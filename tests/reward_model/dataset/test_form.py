"""Length and layout as covariates of the fit: counted, and left out of the reward."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reward_model.benchmark.worlds import World, draw_judgements, world
from reward_model.dataset.examples import Examples
from reward_model.dataset.form import FORM, form_of
from reward_model.evaluation.cross_validation import (
    Candidate,
    Model,
    cross_validate,
    prior_for,
    with_covariates,
)
from reward_model.likelihood.fit import HeadFit

TEXT = """# Title

Some **bold** words, 2 * 3 * 4.

- one
* two
3. three
1. four

```
- no item
# no heading
```
"""


def test_what_is_counted() -> None:
    counts = np.expm1(form_of(["", "one two", TEXT]))
    assert len(FORM) == counts.shape[1] == 4
    assert counts[0].tolist() == [0, 0, 0, 0]
    assert counts[1].round().tolist() == [2, 0, 0, 0]
    assert counts[2].round().tolist() == [len(TEXT.split()), 4, 1, 1]
    assert form_of([]).shape == (0, 4)


@pytest.fixture(scope="module")
def liked_long() -> tuple[World, Examples, np.ndarray]:
    """A world whose people also like length, which features show; log lengths (N, 1)."""
    here = world(0, prompts=160, dims=12, careless=False)
    rng = np.random.default_rng(0)
    length = 0.6 * here.features[:, 0] + 0.8 * rng.normal(size=len(here.features))
    here.features = np.column_stack([here.features, length + 0.3 * rng.normal(size=len(length))])
    here.tastes = here.tastes + 1.5 * length
    return here, draw_judgements(here, rng, 500, 0, 0, 160), length[:, None]


def fitted(liked: tuple[World, Examples, np.ndarray], out: bool) -> tuple[Candidate, HeadFit]:
    here, examples, length = liked
    on = Candidate.of(here.features, length if out else None)
    return on, on.fit(Model().joint(examples), prior_for(Model(), on, examples))


def test_the_reward_without_length_is_nearer_the_true_one(liked_long) -> None:  # type: ignore[no-untyped-def]
    here, _, length = liked_long

    def near(reward: np.ndarray) -> tuple[float, float]:
        of = [np.corrcoef(reward, other)[0, 1] for other in (here.reward, length[:, 0])]
        return float(of[0]), float(of[1])

    on, fit = fitted(liked_long, out=False)
    true, long = near(on.released @ fit.w)
    beside, apart = fitted(liked_long, out=True)
    true_apart, long_apart = near(beside.released @ apart.w)
    assert true_apart > true + 0.05 and long_apart < long - 0.1
    assert np.log(2) * apart.weights[-1] > 0


def test_what_is_released_knows_the_features_alone(liked_long) -> None:  # type: ignore[no-untyped-def]
    here, _, _ = liked_long
    on, fit = fitted(liked_long, out=True)
    released, d = fit.released, here.features.shape[1]
    assert released.weights.shape == (d,) and not released.basis.covariates
    assert np.allclose(released.rewards(here.features), on.released @ fit.w)
    # its variance is the features' part of the whole posterior's
    m = fit.factor.shape[0] - 1
    whole = fit.factor @ fit.factor.T
    assert np.allclose(released.factor @ released.factor.T, whole[:m, :m])


def test_cross_validated_with_and_without(liked_long) -> None:  # type: ignore[no-untyped-def]
    _, examples, _ = liked_long
    on, fit = fitted(liked_long, out=True)
    crossed = cross_validate(Model(), on, examples, fit.prior)
    whole = with_covariates(Model(), examples, crossed)
    assert whole.nll < crossed.nll  # what people like is predicted better with length in it
    bare = replace(on, features=on.features, basis=on.basis.released, z=on.z[:, :-1])
    assert crossed.reward.shape == cross_validate(Model(), bare, examples, fit.prior).reward.shape
