"""Whether a standard deviation predicts how far a reward is off.

The reward itself is never seen, only answers that are drawn from it. What is compared with a
standard deviation of the difference of two rewards is therefore:

apart     |d - d'|: how far a second head, fitted to the judgements of the other half of the
          prompts, is from the first. Both are equally unsure and equally drawn to 0, so what is
          left is how far chance moved them. This is the one that is judged: it is of the kind that
          the standard deviation speaks of, and rank correlation takes it in any unit. What both
          halves get wrong alike it does not see; simulated worlds show that.
excess    (p - y)^2 - p (1 - p), whose mean is (p - P(y = 1))^2: the error of the probability beyond
          what the probability itself implies. True of the mean alone, so it is Pearson's
          correlation with the standard deviation's rank; a single answer tells little, which holds
          it near 0. A probability near 0 or 1 hardly moves, however unsure the reward is.
residual  |p - y|, the simple one. It falls with the size of the difference, which grows with the
          distance of the two texts, as the standard deviation does: a good one can be negative
          here. It is reported, not judged.

Beside posterior and ensemble stands the prior, which knows how far apart two texts are and nothing
of the judgements: how far two heads are apart grows with that, too, so it is what must be beaten.

p: of the first head, for the annotator who judged; y: 1 where a was better. All are of comparisons
whose prompts the first head has not seen. Intervals are 95%, by a bootstrap over prompts.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from data.schema import JsonObject
from data.stats.bootstrap import Bootstrap, BootstrapDistribution
from data.stats.intervals import Bools, Floats, Ints
from data.stats.ranks import rank_correlation
from reward_model.benchmark.judged_texts import Say
from reward_model.dataset.examples import TIE, A, Examples
from reward_model.evaluation.cross_validation import Candidate, Model, predict
from reward_model.likelihood.fit import HeadFit, Prior, fit_coordinates
from reward_model.training.ensemble import resampled

HALVINGS = 3
"""Times that the prompts are parted."""
MEMBERS = 8
"""Of an ensemble, each on its own bootstrap sample of the prompts."""
PRIOR = "prior: the distance of the two texts"
POSTERIOR, ENSEMBLE, POOLED = "posterior", f"ensemble of {MEMBERS}", "both together"
APART, EXCESS, RESIDUAL = "apart", "excess", "residual"
LEAD = "apart_above_prior"


@dataclass(frozen=True)
class HeldOutErrors:
    """Comparisons of one half of the prompts: what was predicted of them, and how it came out."""

    prompt: Ints
    """(n,)"""
    sd: dict[str, Floats]
    """By where it comes from, of the difference (n,)."""
    error: dict[str, Floats]
    """By measure (n,)."""


def held_out_errors(
    on: Candidate,
    model: Model,
    examples: Examples,
    prior: Prior,
    seed: int,
    say: Say = lambda words: None,
) -> list[HeldOutErrors]:
    """Of both halves, HALVINGS times over."""
    found = []
    for halving in range(HALVINGS):
        rng = np.random.default_rng((seed, halving))
        side = (rng.permutation(examples.prompts) % 2 == 1)[examples.prompt]
        say(f"standard deviations, {halving + 1} of {HALVINGS}")
        fits = [_fit(on, model, examples.where(half), prior) for half in (side, ~side)]
        for own, other, half in ((fits[0], fits[1], side), (fits[1], fits[0], ~side)):
            members = [
                _fit(on, model, resampled(examples.where(half), rng), prior) for _ in range(MEMBERS)
            ]
            found.append(_errors_of(on, model, examples, own, other, members, ~half))
    return found


def _fit(on: Candidate, model: Model, examples: Examples, prior: Prior) -> HeadFit:
    with warnings.catch_warnings():  # a resample may be odd; what stops early is near enough
        warnings.simplefilter("ignore", UserWarning)
        return fit_coordinates(on.z, model.joint(examples), prior, on.basis)


def _errors_of(
    on: Candidate,
    model: Model,
    examples: Examples,
    own: HeadFit,
    other: HeadFit,
    members: list[HeadFit],
    asked: Bools,
) -> HeldOutErrors:
    """own: the head that has not seen the completions in `asked` (N,); other: the one that has."""
    held = examples.where(asked)
    rewards = on.z @ own.w
    told = predict(model, held, rewards, rewards, own.values).pairs
    decided = held.pairs.outcome != TIE
    a, b = held.pairs.a[decided], held.pairs.b[decided]
    p = told[decided, 0] / told[decided, :2].sum(1)
    y = (held.pairs.outcome[decided] == A).astype(float)

    def differences(fit: HeadFit) -> Floats:
        return np.asarray((on.z[a] - on.z[b]) @ fit.w)

    prior = np.linalg.norm(on.z[a] - on.z[b], axis=1) / np.sqrt(own.errors[1])
    posterior = own.spread(on.features[a], on.features[b])
    scatter = np.std([differences(member) for member in members], axis=0, ddof=1)
    sd = {PRIOR: prior, POSTERIOR: posterior, ENSEMBLE: scatter}
    sd[POOLED] = np.hypot(posterior, scatter)
    error = {
        APART: np.abs(differences(own) - differences(other)),
        EXCESS: np.square(p - y) - p * (1 - p),
        RESIDUAL: np.abs(p - y),
    }
    return HeldOutErrors(examples.prompt[a], sd, error)


def uncertainty_figures(
    found: list[HeldOutErrors], boot: Bootstrap
) -> dict[str, dict[str, JsonObject]]:
    """Correlations with intervals, by standard deviation and measure of error: Spearman's, and of
    EXCESS the one in the mean. LEAD: that with APART less the prior's, paired."""
    prompt = np.concatenate([part.prompt for part in found])

    def column(pick: Callable[[HeldOutErrors], Floats]) -> Floats:
        return np.concatenate([pick(part) for part in found])

    def correlation(source: str, measure: str) -> BootstrapDistribution:
        sd = column(lambda part: part.sd[source])
        error = column(lambda part: part.error[measure])
        how = mean_correlation if measure == EXCESS else rank_correlation
        return boot.of_weights(prompt, lambda weights: how(weights, sd, error))

    figures = {
        source: {measure: correlation(source, measure) for measure in found[0].error}
        for source in found[0].sd
    }
    told = {
        source: {measure: {**one.as_json()} for measure, one in row.items()}
        for source, row in figures.items()
    }
    for source in figures.keys() - {PRIOR} if PRIOR in figures else ():
        lead = figures[source][APART] - figures[PRIOR][APART]
        told[source][LEAD] = {**lead.as_json()}
    return told


def mean_correlation(weights: Floats, x: Floats, y: Floats) -> Floats:
    """Pearson's correlation (draws,) of the rank of x with y, (n,) each, weights (draws, n)."""
    ranks = rankdata(x)
    total = weights.sum(1)
    a = ranks - (weights @ ranks / total)[:, None]
    b = y - (weights @ y / total)[:, None]
    both, own, theirs = ((weights * product).sum(1) for product in (a * b, a * a, b * b))
    return np.asarray(both / np.sqrt(own * theirs))
