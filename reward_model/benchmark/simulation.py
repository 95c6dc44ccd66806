"""Whether intervals and probabilities hold in worlds whose true reward is known.

Each world has a linear reward in DIMENSIONS numbers, SEEN prompts to judge and UNSEEN to be asked
about, four completions each, six annotators, a third of the judgements of each kind. Worlds in
which the likelihood is right stand beside ones in which it is not. Each fit chooses its prior as
training does. Intervals are 95%, by Student's t over worlds.

A reward's unit is one logit of the average judgement. Where answers are noisier than the likelihood
knows, a logit is a larger step of reward: the truth is then taken in the unit of a head that has
MANY judgements and next to no prior, by least squares, since no number of judgements would tell the
other one.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import spearmanr
from scipy.stats import t as student

from data.schema import JsonObject
from reward_model.benchmark.judged_texts import Say
from reward_model.benchmark.worlds import (
    Array,
    World,
    accuracy,
    calibration_error,
    draw_judgements,
    first,
    unseen,
    world,
)
from reward_model.dataset.examples import Examples
from reward_model.evaluation.annotators import cards
from reward_model.evaluation.cross_validation import Candidate, Model, prior_for
from reward_model.likelihood.fit import HeadFit, Prior, fit_coordinates

SIZES = (180, 360, 720, 1440)
"""Judgements of which intervals are tried."""
FEW = 201
"""Of which probabilities are."""
MANY = 9_000
WEAK = 100.0
"""Variance of rewards under the prior of a head that has MANY: next to no prior."""
DIMENSIONS, SEEN, UNSEEN = 24, 400, 100
WIDTH_95 = 1.959964


@dataclass(frozen=True)
class WorldKind:
    """One kind of world, and how it differs from what the likelihood takes worlds to be."""

    name: str
    careless: bool = False
    """One annotator hardly looks."""
    own: float = 0.0
    judges: int = 1
    pair_noise: float = 0.0
    heavy: float = 0.0

    @property
    def as_assumed(self) -> bool:
        """Whether the likelihood is that of the world."""
        return not (self.own or self.pair_noise or self.heavy)

    def make(self, seed: int) -> World:
        """A world of this kind, whose rewards average 0."""
        made = world(seed, SEEN + UNSEEN, dims=DIMENSIONS, own=self.own, careless=self.careless)
        made.judges, made.pair_noise, made.heavy = self.judges, self.pair_noise, self.heavy
        return made


KINDS = (
    WorldKind("as the likelihood has it"),
    WorldKind("one annotator hardly looks", careless=True),
    WorldKind("tastes differ", own=0.7),
    WorldKind(
        "three judge each pair, and share what features do not show", judges=3, pair_noise=1.0
    ),
    WorldKind("heavy-tailed noise", heavy=0.5),
)


@dataclass(frozen=True)
class Answered:
    """A world, its judgements, and the truth in the unit of heads."""

    here: World
    examples: Examples
    flattened: float
    """What noise that the likelihood does not know makes of a logit."""

    def true(self, examples: Examples) -> Array:
        """Differences of rewards of unseen pairs (n,), in the unit of a head on these examples."""
        a, b = unseen(self.here, SEEN)
        apart = self.here.reward[a] - self.here.reward[b]
        return self.flattened * average_consistency(self.here, examples) * apart


def average_consistency(here: World, examples: Examples) -> float:
    """What is 1 in the unit of a head: the mean over the comparisons' annotators."""
    return float(np.exp(here.crowd.consistency[examples.pairs.annotator]).mean())


def over_worlds(values: list[float]) -> JsonObject:
    """Mean, and Student's 95% interval over at least two worlds."""
    v = np.asarray(values, float)
    half = float(student.ppf(0.975, len(v) - 1) * v.std(ddof=1) / len(v) ** 0.5)
    middle = float(v.mean())
    return {"value": middle, "low": middle - half, "high": middle + half, "n": len(v)}


def simulate_worlds(kind: WorldKind, worlds: int, seed: int, say: Say) -> list[JsonObject]:
    """One row for each number of judgements, over worlds of one kind.

    "kind", "judgements"; "coverage" of 95% intervals of the difference of two unseen rewards;
    "rms_z", its error in standard deviations; "slope" of estimate on truth; "accuracy";
    "rank_correlation" of standard deviation and error; "design_effect"; "prior_variance" of
    rewards, and the "true_variance" (half that of differences within prompts); "careless_held", how
    often the interval of the one who hardly looks holds their consistency; at FEW judgements "ece"
    alone.
    """
    measured: dict[int, dict[str, list[float]]] = {n: defaultdict(list) for n in (*SIZES, FEW)}
    for number in range(worlds):
        say(f"{kind.name}: world {number + 1} of {worlds}")
        answered = _answered(kind, seed + number)
        for n, figures_of_size in measured.items():
            some = first(answered.examples, n // 3)
            fit = _fit(answered.here, some)
            figures = _ece(answered, fit) if n == FEW else _intervals(answered, some, fit)
            if kind.careless and n != FEW:
                figures["careless_held"] = _careless_held(answered.here, some, fit)
            for name, value in figures.items():
                figures_of_size[name].append(value)
    return [
        {"kind": kind.name, "judgements": n}
        | {name: over_worlds(values) for name, values in of_size.items()}
        for n, of_size in measured.items()
        if of_size
    ]


def _answered(kind: WorldKind, seed: int) -> Answered:
    here = kind.make(seed)
    third = SIZES[-1] // 3
    examples = draw_judgements(here, np.random.default_rng(1000 + seed), third, third, third, SEEN)
    if kind.as_assumed:
        return Answered(here, examples, 1.0)
    rng, third = np.random.default_rng(2000 + seed), MANY // 3
    many = draw_judgements(here, rng, third, third, third, SEEN)
    rewards = _fit(here, many, WEAK).rewards(here.features)
    true = here.reward * average_consistency(here, many)
    return Answered(here, examples, float(np.polyfit(true, rewards, 1)[0]))


def _fit(here: World, examples: Examples, variance: float | None = None) -> HeadFit:
    """variance: of rewards under the prior; None: chosen as training does."""
    on = Candidate.of(here.features)
    with warnings.catch_warnings():  # one that stopped early counts as it is
        warnings.simplefilter("ignore", UserWarning)
        prior = Prior(on.size / variance) if variance else prior_for(Model(), on, examples)
        return fit_coordinates(on.z, Model().joint(examples), prior, on.basis)


def _differences(answered: Answered, fit: HeadFit) -> tuple[Array, Array]:
    """Of unseen pairs: estimates and their standard deviations (n,)."""
    x = answered.here.features
    a, b = unseen(answered.here, SEEN)
    return fit.rewards(x[a]) - fit.rewards(x[b]), fit.spread(x[a], x[b])


def _intervals(answered: Answered, some: Examples, fit: HeadFit) -> dict[str, float]:
    (d, sd), true = _differences(answered, fit), answered.true(some)
    off = np.abs(d - true)
    size = float(np.square(fit.basis.coordinates(answered.here.features)).sum(1).mean())
    return {
        "prior_variance": size / fit.errors[1],
        "design_effect": fit.prior.design_effect,
        "true_variance": float(true.var() / 2),
        "coverage": float((off <= WIDTH_95 * sd).mean()),
        "rms_z": float(np.sqrt(np.square(off / sd).mean())),
        "slope": float(d @ true / (true @ true)),
        "accuracy": accuracy(answered.here, fit.rewards(answered.here.features), SEEN),
        "rank_correlation": float(spearmanr(sd, off).statistic),
    }


def _careless_held(here: World, some: Examples, fit: HeadFit) -> float:
    """1 where the last annotator's interval, as a receipt shows it, holds the consistency."""
    last = str(len(here.crowd) - 1)
    (card,) = (card for card in cards(some, fit) if card["annotator"] == last)
    told = card["traits"]["consistency"]
    true = float(np.exp(here.crowd.consistency[-1])) / average_consistency(here, some)
    return float(told["low"] <= true <= told["high"])


def _ece(answered: Answered, fit: HeadFit) -> dict[str, float]:
    """Of P(A is preferred by an annotator drawn at random who decides), over the posterior.

    Where answers hold noise that no likelihood here knows, the truth has no such formula: empty.
    """
    here = answered.here
    if here.pair_noise or here.heavy:
        return {}
    d, sd = _differences(answered, fit)
    a, b = unseen(here, SEEN)
    k = np.exp(fit.values["consistency"].numpy())[:, None]
    said = expit(k * d / np.sqrt(1 + np.pi * np.square(k * sd) / 8)).mean(0)
    apart = here.tastes[:, a] - here.tastes[:, b]
    truth = expit(np.exp(here.crowd.consistency)[:, None] * apart).mean(0)
    return {"ece": calibration_error(said, truth)}
