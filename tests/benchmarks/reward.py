"""What the reward model's head costs in seconds, and what it saves in judgements.

python -m tests.benchmarks.reward [--seeds N]

Worlds with a known linear reward in 24 numbers, 400 prompts to judge and 100 to be tested on, four
completions each, six annotators of whom one hardly looks; a third of the judgements of each kind.
Accuracy is against the true reward. Every method has the prior precision, of a few, that suits it
best over all worlds; for calibration it is chosen by cross-validation. Intervals are 95%, over
worlds. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge

from reward_model.benchmark.simulation import over_worlds
from reward_model.benchmark.tables import machine, markdown_table
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
from reward_model.dataset.examples import TIE, Examples, rows
from reward_model.evaluation.cross_validation import Model, cross_validate, prior_for
from reward_model.likelihood.fit import Basis, HeadFit, Prior, fit_head
from tests.benchmarks.figures import say

SEEN = 400
SIZES = (180, 360, 720, 1440)
MORE = (*SIZES, 2880, 5760)
"""Judgements that ordinary methods are given, to find where they catch up."""
PRECISIONS = (6.0, 14.0, 40.0)
Method = Callable[[World, Examples, float], Array]
Curves = dict[tuple[str, int, float], list[float]]
"""Accuracies, one a world, by method, judgements and precision."""


# -- the methods: rewards (N,) of all completions


def joint(effects: bool, objective: str = "joint") -> Method:
    model = Model(objective, effects=effects)  # type: ignore[arg-type]

    def rewards(world: World, examples: Examples, precision: float) -> Array:
        fit = fit_head(world.features, model.joint(examples), precision)
        return fit.rewards(world.features)

    return rewards


def bradley_terry(world: World, examples: Examples, precision: float) -> Array:
    """Logistic regression on differences of features, ties dropped."""
    pairs = rows(examples.pairs, examples.pairs.outcome != TIE)
    better = np.where(pairs.outcome == 0, pairs.a, pairs.b)
    worse = np.where(pairs.outcome == 0, pairs.b, pairs.a)
    return _logistic(world, better, worse, precision)


def regression(world: World, examples: Examples, precision: float) -> Array:
    """Squared error on ratings standardised by annotator."""
    x = world.features[examples.scalar.item]
    return world.features @ Ridge(alpha=precision).fit(x, _standard(examples)).coef_


def all_as_pairs(world: World, examples: Examples, precision: float) -> Array:
    """Also a pair: two of a prompt that were rated differently, or one called good and one bad."""
    pairs = rows(examples.pairs, examples.pairs.outcome != TIE)
    better = np.where(pairs.outcome == 0, pairs.a, pairs.b)
    worse = np.where(pairs.outcome == 0, pairs.b, pairs.a)
    rated = _within(examples, examples.scalar.item, _standard(examples))
    called = _within(examples, examples.binary.item, examples.binary.good.astype(float))
    both = [np.concatenate(x) for x in zip((better, worse), rated, called, strict=True)]
    return _logistic(world, both[0], both[1], precision)


def _logistic(world: World, better: Array, worse: Array, precision: float) -> Array:
    x = world.features[better] - world.features[worse]
    fit = LogisticRegression(C=1 / precision, fit_intercept=False, max_iter=500)
    fit.fit(np.vstack([x, -x]), np.repeat([1, 0], len(x)), np.full(2 * len(x), 0.5))
    return world.features @ fit.coef_[0]


def _standard(examples: Examples) -> Array:
    """Ratings less their annotator's mean, over their standard deviation."""
    y, who = examples.scalar.rating.astype(float), examples.scalar.annotator
    for person in np.unique(who):
        mine = who == person
        y[mine] = (y[mine] - y[mine].mean()) / (y[mine].std() or 1.0)
    return y


def _within(examples: Examples, item: Array, value: Array) -> tuple[Array, Array]:
    """(better, worse) of judged completions of one prompt."""
    prompt = examples.prompt[item]
    one, other = np.nonzero((prompt[:, None] == prompt) & (value[:, None] > value))
    apart = item[one] != item[other]
    return item[one][apart], item[other][apart]


JOINT, PLAIN = "joint", "joint without effects"
BT, MSE, POOLED = "Bradley-Terry on the comparisons", "squared error on the ratings", "all as pairs"
METHODS: dict[str, Method] = {
    JOINT: joint(True),
    PLAIN: joint(False),
    BT: bradley_terry,
    MSE: regression,
    POOLED: all_as_pairs,
}
ALL_PAIRS = "as many comparisons alone: Bradley-Terry"
JOINT_PAIRS = "as many comparisons alone: joint"


# -- figures with intervals


def interval(values: Sequence[float]) -> str:
    found = over_worlds(list(values))
    return f"{found['value']:.3f} ± {found['high'] - found['value']:.3f}"


def best(curves: Curves, name: str, n: int) -> list[float]:
    """Accuracies at the precision that suits the method best at that size."""
    found = [v for (m, size, _), v in curves.items() if (m, size) == (name, n)]
    return max(found, key=lambda v: float(np.mean(v)))


# -- what is measured


def efficiency(seeds: int, own: float) -> Curves:
    curves: Curves = defaultdict(list)
    for seed in range(seeds):
        here = world(seed, own=own)
        rng = np.random.default_rng(1000 + seed)
        mixed = draw_judgements(here, rng, *[MORE[-1] // 3] * 3, SEEN)
        alone = draw_judgements(here, rng, SIZES[-1], 0, 0, SEEN)
        for n in MORE:
            for name, method in METHODS.items():
                if n in SIZES or name not in (JOINT, PLAIN):
                    _measure(curves, name, method, here, first(mixed, n // 3), n)
        for n in SIZES:
            _measure(curves, ALL_PAIRS, bradley_terry, here, first(alone, n), n)
            _measure(curves, JOINT_PAIRS, joint(True), here, first(alone, n), n)
    return curves


def _measure(
    curves: Curves, name: str, method: Method, here: World, examples: Examples, n: int
) -> None:
    for precision in PRECISIONS:
        rewards = method(here, examples, precision)
        curves[name, n, precision].append(accuracy(here, rewards, SEEN))


def accuracies(curves: Curves) -> str:
    lines = [[name, *(interval(best(curves, name, n)) for n in SIZES)]
             for name in (*METHODS, ALL_PAIRS, JOINT_PAIRS)]  # fmt: skip
    for name in (PLAIN, BT, MSE, POOLED, ALL_PAIRS):
        gaps = [np.subtract(best(curves, JOINT, n), best(curves, name, n)) for n in SIZES]
        lines.append([f"joint less {name}", *(interval(list(g)) for g in gaps)])
    return markdown_table(["accuracy after n judgements", *map(str, SIZES)], lines)


def needed(curves: Curves, name: str, n: int, seeds: int) -> str:
    """How many times n judgements a method needs to be as good as joint with n."""
    rng = np.random.default_rng(0)
    grid = np.log(MORE)
    ours = np.array(best(curves, JOINT, n))
    theirs = np.array([best(curves, name, size) for size in MORE])
    ratios = []
    for draw in [np.arange(seeds), *rng.integers(seeds, size=(2000, seeds))]:
        curve, at = np.unique(np.maximum.accumulate(theirs[:, draw].mean(1)), return_index=True)
        goal = ours[draw].mean()
        beyond = goal > curve[-1]
        ratios.append(np.inf if beyond else np.exp(np.interp(goal, curve, grid[at])) / n)
    low, high = np.quantile(ratios[1:], [0.025, 0.975], method="nearest")
    shown = [f"{x:.1f}" if np.isfinite(x) else f"over {MORE[-1] / n:.0f}"
             for x in (ratios[0], low, high)]  # fmt: skip
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def savings(curves: Curves, seeds: int) -> str:
    lines = [[name, *(needed(curves, name, n, seeds) for n in SIZES[:3])]
             for name in (BT, MSE, POOLED)]  # fmt: skip
    return markdown_table(
        ["times as many needed, to match joint with", *map(str, SIZES[:3])], lines
    )


def calibration(seeds: int) -> str:
    """Of P(A is preferred by an annotator drawn at random who decides), against the truth."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    sizes = SIZES[:3]
    for seed in range(seeds):
        here = world(seed)
        mixed = draw_judgements(
            here, np.random.default_rng(1000 + seed), *[sizes[-1] // 3] * 3, SEEN
        )
        a, b = unseen(here, SEEN)
        apart = here.reward[a] - here.reward[b]
        truth = expit(np.exp(here.crowd.consistency)[:, None] * apart).mean(0)
        for n in sizes:
            examples = first(mixed, n // 3)
            for name, chances in _chances(here, examples, a, b).items():
                found[name, n].append(calibration_error(chances, truth))
    names = list(dict.fromkeys(name for name, _ in found))
    lines = [[name, *(interval(found[name, n]) for n in sizes)] for name in names]
    return markdown_table(["calibration error after n judgements", *map(str, sizes)], lines)


def _chances(here: World, examples: Examples, a: Array, b: Array) -> dict[str, Array]:
    plain, full = Model("bradley_terry", effects=False), Model()
    x = here.features
    decided = first(examples, len(examples))
    pairs = rows(examples.pairs, examples.pairs.outcome != TIE)
    decided = Examples(examples.completions, examples.prompt, examples.annotators, pairs)
    bt = _chosen(plain, x, decided)
    fit = _chosen(full, x, examples)
    k = np.exp(fit.values["consistency"].numpy())[:, None]
    d, sd = fit.rewards(x[a]) - fit.rewards(x[b]), fit.spread(x[a], x[b])
    return {
        "Bradley-Terry on the comparisons": expit(bt.rewards(x[a]) - bt.rewards(x[b])),
        "joint, the most likely reward": expit(k * d).mean(0),
        "joint, averaged over the posterior": expit(
            k * d / np.sqrt(1 + np.pi * np.square(k * sd) / 8)
        ).mean(0),
    }


def precision_lost(seed: int, n: int) -> float:
    """Accuracy on unseen prompts that the best of five fixed precisions has above the chosen one,
    from n judgements of each kind."""
    here, model = world(seed, prompts=150), Model()
    examples = draw_judgements(here, np.random.default_rng(seed), n, n, n, 120)

    def reached(precision: Prior | float) -> float:
        fit = fit_head(here.features, model.joint(examples), precision)
        return accuracy(here, fit.rewards(here.features), 120)

    chosen = reached(prior_for(model, here.features, examples))
    return max(reached(24 / variance) for variance in (0.1, 0.3, 1, 3, 10)) - chosen


def precisions(seeds: int) -> str:
    lines = [[str(3 * n), interval([precision_lost(s, n) for s in range(seeds)])]
             for n in (20, 60, 200)]  # fmt: skip
    return markdown_table(["judgements", "accuracy below the best fixed precision's"], lines)


def _chosen(model: Model, features: Array, examples: Examples) -> HeadFit:
    prior = prior_for(model, features, examples)
    return fit_head(features, model.joint(examples), prior)


def seconds() -> str:
    """5,000 judgements of 1,500 prompts, 10 annotators, 576 features; 30 of them new in a refit."""
    here = world(0, prompts=1500, width=576, people=10)
    examples = draw_judgements(here, np.random.default_rng(0), *[1667] * 3, 1500)
    x, model = here.features, Model()
    found: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, act: Callable[[], HeadFit | float | object]) -> object:
        began = time.perf_counter()
        out = act()
        found[name].append(time.perf_counter() - began)
        return out

    basis = Basis.of(x)
    precision = float(np.square(basis.coordinates(x)).sum(1).mean())
    earlier = fit_head(x, model.joint(first(examples, 1657)), precision, basis)
    for _ in range(5):
        timed("principal components", lambda: Basis.of(x))
        timed("cold fit", lambda: fit_head(x, model.joint(examples), precision, basis))
        timed("refit", lambda: fit_head(x, model.joint(examples), precision, start=earlier))
    timed("standard deviations of 6,000 scores", lambda: earlier.spread(x, basis.mean))
    timed("choosing the precision", lambda: prior_for(model, x, examples))
    timed("cross-validation", lambda: cross_validate(model, x, examples, precision))
    lines = [[name, f"{np.median(v):.2f}", f"{min(v):.2f} to {max(v):.2f}", str(len(v))]
             for name, v in found.items()]  # fmt: skip
    return markdown_table(["at 5,000 judgements", "median s", "from, to", "n"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=12, help="worlds")
    seeds = parser.parse_args().seeds
    began = time.perf_counter()
    say(f"{machine()}, {seeds} worlds\n\n{seconds()}\n")
    curves = efficiency(seeds, own=0.0)
    say(f"{accuracies(curves)}\n\n{savings(curves, seeds)}\n")
    fewer = max(seeds // 2, 2)
    say(f"Calibration, {fewer} worlds:\n\n{calibration(fewer)}\n")
    apart = efficiency(fewer, own=0.7)
    say(f"Where annotators have tastes of their own, {fewer} worlds:\n\n{accuracies(apart)}\n")
    say(f"The precision chosen by cross-validation, {fewer} worlds:\n\n{precisions(fewer)}\n")
    say(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
