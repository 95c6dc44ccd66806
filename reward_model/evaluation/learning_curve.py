"""What more judgements would bring: accuracy against their number, and on from there.

The head is fitted anew to nested parts of the prompts and asked about the same unseen ones. Errors
of learners fall about as a power of the data (Hestness et al. 2017, arXiv:1712.00409): beyond what
was seen, accuracy = top - b n^-c, with c drawn anew for every draw of prompts, since four points
cannot tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from data.schema import JsonObject
from data.stats.agreement import Ceiling
from data.stats.bootstrap import DRAWS, Bootstrap, BootstrapDistribution
from data.stats.intervals import Floats
from reward_model.dataset.examples import Examples
from reward_model.dataset.preference_pairs import PreferencePairs
from reward_model.evaluation.cross_validation import Candidate, FoldHead, Model, folds, predict
from reward_model.evaluation.metrics import EvaluationData
from reward_model.likelihood.fit import HeadFit, Prior

OnRefit = Callable[[int, int, str], None]
SHARES = (0.125, 0.25, 0.5)
"""Parts of the prompts that are learned from; the whole is the cross-validation itself."""
MIN_PART = 20
"""Judgements in a part, at least."""
ENOUGH_PAIRS, ENOUGH_PROMPTS = 100, 20
EXPONENTS = (0.2, 1.0)
FURTHEST = 10.0
"""Times today's judgements: no extrapolation goes beyond."""
LITTLE = 0.02
"""Accuracy that four times the judgements must bring to be called worth it."""
STEP = 0.05
KNOWN_CEILING = 0.2
"""Width of the human ceiling's interval from which on it is compared with."""


@dataclass(frozen=True)
class PartialFit:
    """What a head knew that had learned from a share of the prompts."""

    share: float
    reward: Floats
    """Of all completions (N,), each by a head that had not seen its prompt."""
    nll: float
    """Nats a judgement."""
    heads: Sequence[FoldHead] = ()
    """What gave the rewards."""
    others: Sequence[Floats] = ()
    """The rewards by heads that had learned from other prompts (T, N): see `retraining`."""


def enough_pairs(pairs: PreferencePairs) -> bool:
    """Whether there are pairs enough for a curve."""
    return len(pairs) >= ENOUGH_PAIRS and len(np.unique(pairs.prompt)) >= ENOUGH_PROMPTS


def fit_curve_points(
    model: Model,
    features: Floats | Candidate,
    examples: Examples,
    prior: Prior | float,
    progress: OnRefit,
    seed: int = 0,
) -> list[PartialFit]:
    """Heads fitted to nested parts of the other folds' prompts, the smallest first.

    features: (N, d), one row a completion; with covariates: a Candidate.
    """
    shares = [s for s in SHARES if s * 0.8 * len(examples) >= MIN_PART]
    if examples.prompts < ENOUGH_PROMPTS or not shares:
        return []
    on = features if isinstance(features, Candidate) else Candidate.of(features)
    rewards = np.full((len(shares), len(on.z)), np.nan)
    nll, asked = np.zeros(len(shares)), 0
    heads: list[list[FoldHead]] = [[] for _ in shares]
    for fold, (train, test) in enumerate(folds(examples, seed=seed)):
        held = examples.where(test)
        asked += len(model.joint(held))
        fit: HeadFit | None = None
        order = np.random.default_rng(seed + fold).permutation(np.unique(examples.prompt[train]))
        for i, share in enumerate(shares):  # the larger parts hold the smaller
            progress(fold * len(shares) + i, 5 * len(shares), "the learning curve")
            kept = order[: max(1, round(share * len(order)))]
            part = train & np.isin(examples.prompt, kept)
            fit = on.fit(model.joint(examples.where(part)), prior, fit)
            found = predict(model, held, on.released @ fit.w, np.zeros(0), fit.values)
            rewards[i, test] = found.reward[test]
            nll[i] += found.nll
            heads[i].append(FoldHead(part, test, fit, on.z, on.released))
    curve = zip(shares, rewards, (nll / max(1, asked)).tolist(), heads, strict=True)
    return [PartialFit(*point) for point in curve]


def learning_curve(
    learned: Sequence[PartialFit], data: EvaluationData, ceiling: Ceiling | None
) -> JsonObject:
    """Points of the curve, its extrapolation, and what they say about collecting more.

    "points" and "ahead", extrapolated: pairwise accuracies from so many "judgements". "verdict" and
    "sentence": whether more would help; "more", where known: how many more to the "target".
    """
    pairs, crossed, boot = data.pairs, data.predictions, data.bootstrap
    total = len(data.examples)
    if not enough_pairs(pairs) or not learned:
        prompts = len(np.unique(pairs.prompt))
        return {
            "verdict": "unknown",
            "sentence": "Not enough data yet to predict what more judgements would bring:"
            f" {len(pairs)} pairs with a better side on {prompts} prompts, about {ENOUGH_PAIRS} on"
            f" {ENOUGH_PROMPTS} are needed.",
            "points": [],
            "ahead": [],
        }
    others = [one.reward for one in data.others]
    whole = PartialFit(1.0, crossed.reward, crossed.nll / max(1, crossed.n), (), others)
    curve = [*learned, whole]

    def right(boot: Bootstrap, reward: Floats) -> BootstrapDistribution:
        return boot.mean(pairs.correct(reward), pairs.prompt, share=True)

    accuracy = [boot.retrained(right, c.reward, c.others) for c in curve]
    points = [
        {"judgements": round(c.share * total), "log_loss": c.nll, **a.as_json()}
        for c, a in zip(curve, accuracy, strict=True)
    ]
    future = Extrapolation(np.array([c.share for c in curve]), accuracy, seed=0)
    ahead = [
        {"judgements": round(times * total), **future.at(times).as_json()} for times in (2.0, 4.0)
    ]
    return {"points": points, "ahead": ahead, **_curve_verdict(future, total, ceiling)}


class Extrapolation:
    """Where the curve goes, as multiples of today's judgements."""

    def __init__(self, shares: Floats, accuracy: list[BootstrapDistribution], seed: int) -> None:
        last = accuracy[-1]
        self.today = replace(last, draws=last.stretched_draws, retraining=None)
        self.falling = max(a.value for a in accuracy[:-1]) > self.today.value + LITTLE / 2
        """Fewer judgements did clearly better than all: the curve has not settled."""
        rng = np.random.default_rng(seed)
        self._c = rng.uniform(*EXPONENTS, DRAWS)
        y = np.stack([a.stretched_draws for a in accuracy], 1)  # (DRAWS, sizes)
        x = -(shares[None] ** -self._c[:, None])
        x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
        self._b: Floats = np.maximum(0, (x * y).sum(1) / np.square(x).sum(1))

    def gain(self, times: float) -> Floats:
        """Accuracy gained by that many times the judgements (DRAWS,)."""
        return np.minimum(self._b * (1 - times**-self._c), 1 - self.today.draws)

    def at(self, times: float) -> BootstrapDistribution:
        draws = self.today.draws + self.gain(times)
        return replace(self.today, value=float(np.median(draws)), draws=draws)

    def times_to(self, target: float) -> Floats:
        """Times today's judgements until the target (DRAWS,); inf where it is never reached."""
        need = (target - self.today.value) / np.maximum(self._b, 1e-12)
        with np.errstate(divide="ignore"):
            times = np.where(need < 1, np.maximum(1 - need, 0) ** (-1 / self._c), np.inf)
        return np.where(times > FURTHEST, np.inf, times)


def _curve_verdict(future: Extrapolation, total: int, ceiling: Ceiling | None) -> JsonObject:
    gain = future.gain(4.0)
    most, middle, least = (float(np.quantile(gain, q)) for q in (0.975, 0.5, 0.025))
    people = _ceiling_range(future.today, ceiling)
    if people and middle < LITTLE:
        return _verdict_at_limit(future.today, most, people)
    rising = future.today.interval[0] > 0.5 and not future.falling
    if rising and most < LITTLE:
        return _verdict_at_limit(future.today, most, people)
    if rising and least >= 0.002 and middle >= LITTLE / 2:
        return _verdict_more(future, total)
    why = "it does not rise, and a few more prompts may change that."
    if rising:
        between = f"{100 * least:.1f} and {100 * most:.1f} percentage points"
        why = f"four times as many would bring between {between}."
    text = f"The curve does not yet say whether more judgements would help: {why}"
    return {"verdict": "unsure", "sentence": text}


def _ceiling_range(today: BootstrapDistribution, ceiling: Ceiling | None) -> str:
    """The range of the human ceiling where it is known well enough, and today's accuracy in it."""
    if ceiling is None:
        return ""
    least, most = ceiling.at_least, ceiling.at_most
    if least.value is None or least.low is None or least.high is None or most.value is None:
        return ""
    unlike = least.high - least.low > KNOWN_CEILING or today.value < least.value
    return "" if unlike else f"{least.value:.0%} to {most.value:.0%}"


def _verdict_at_limit(today: BootstrapDistribution, most: float, people: str) -> JsonObject:
    ahead = (
        "going on as it does, four times as many judgements would bring"
        f" {100 * most:.1f} percentage points at most"
    )
    if people:
        return {
            "verdict": "ceiling",
            "sentence": f"At {today.value:.0%} the curve is at the human ceiling ({people}), for"
            f" people agree no better with one another; {ahead}.",
        }
    return {
        "verdict": "flat",
        "sentence": f"The curve is flat at {today.value:.0%}: {ahead}. That is about this model and"
        " judgements of this sort alone.",
    }


def _verdict_more(future: Extrapolation, total: int) -> JsonObject:
    """The next round number within reach, and what it takes."""
    today, reach = future.today.value, future.at(4.0).value
    target = np.ceil((today + 0.005) / STEP) * STEP
    if target > reach:
        target = min(1.0, np.ceil(100 * (today + future.gain(2.0).mean())) / 100)
    more = (future.times_to(float(target)) - 1) * total
    low, middle, high = (float(np.quantile(more, q, method="nearest")) for q in (0.025, 0.5, 0.975))
    if not np.isfinite(middle):
        middle, high = (FURTHEST - 1) * total, np.inf
    upper = _two_figures(high) if np.isfinite(high) else f"more than {_two_figures(9 * total)}"
    return {
        "verdict": "more",
        "target": float(target),
        "more": {"value": middle, "low": low, "high": high if np.isfinite(high) else None},
        "sentence": f"About {_two_figures(middle)} more judgements to {target:.0%} (95%: between"
        f" {_two_figures(low)} and {upper}), going on as the curve does; today it is {today:.0%}.",
    }


def _two_figures(n: float) -> str:
    """Rounded to two significant figures: more would claim more than is known."""
    size = 10 ** max(0, len(str(int(n))) - 2)
    return f"{max(1, round(n / size) * size):,}"
