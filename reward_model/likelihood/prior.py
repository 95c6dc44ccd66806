"""How strong the prior over the head's weights is, and how far judgements are from independent.

Several people judge one pair, a prompt has several completions, and an annotator's taste is their
own: the summed score of N judgements varies more than that of N independent ones. The design
effect phi says how many times more, clustered two ways, by prompt and by annotator (A. Cameron et
al. 2011, Journal of Business & Economic Statistics 29:238). So N judgements count as N / phi: the
prior N(0, 1 / lambda_0) weighs phi times as much beside them, and the posterior's covariance is phi
times as large (composite likelihood: C. Varin et al. 2011, Statistica Sinica 21:5).

lambda_0 is the precision under which what was judged is likeliest, phi given: the evidence (D.
MacKay 1992, Neural Computation 4:415). Without phi it takes three equal votes on one pair for votes
on three pairs, and overfits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.linalg import solve_triangular
from scipy.optimize import brentq

from data.stats.intervals import Floats, Ints
from reward_model.likelihood.fisher import KindScores, rows_of
from reward_model.likelihood.fit import Basis, HeadFit, Prior, fit_coordinates
from reward_model.likelihood.joint import Joint

WEAK = 1.0
"""Variance of rewards under the prior of the fit that the design effect is read from: where a fit
leaves out what there is to learn, judgements of a cluster miss it together, and seem dependent."""
LOG_VARIANCE = 0.0, 1.5
"""Mean and standard deviation of the logarithm of rewards' variance, before anything is judged."""
LOG_VARIANCE_BESIDE = float(np.log(0.05)), 1.0
"""The same of what judgements add to another reward model's rewards. On halves of PandaLM a head
that starts from the other half's is so no worse than that one from 200 judgements on; with the
variance that rewards have without a start it is behind it there."""
WIDEST = 30.0
"""Powers of e about a variance of 1 within which a likelier one is searched."""
ROUNDS = 15
"""Fits in which precision and design effect settle, at most."""
SETTLED = 0.1
"""Change of the precision's logarithm at which they have."""
FREE = 4
"""Rounds after which a step is halved."""
ROUGH_TOLERANCE = 0.3
"""How far from its mode a fit may stop that is only compared; 0.05 nats."""


def choose_prior(
    z: Floats,
    joint: Joint,
    basis: Basis,
    size: float,
    between: Callable[[], None] = lambda: None,
    mean: Floats | None = None,
    mean_sd: float = 0.0,
) -> Prior:
    """The prior under which the judgements are likeliest, and their design effect.

    z: coordinates (N, m) of all completions in `basis`; size: usual |z|^2, over which a precision
    is the rewards' variance; mean: of the weights (m,), where it is not 0, and mean_sd
    how unsure its length is, as a share of it, were the judgements independent. `between` is called
    between fits and may raise. Without judgements of two prompts rewards are taken to have a
    variance of 1.
    """
    prior = Prior(size, mean=mean)
    if not len(joint) or not z.shape[1] or joint.prompts < 2:
        return prior
    between()
    weak = fit_coordinates(z, joint, prior.times(1 / WEAK), basis, None, ROUGH_TOLERANCE)
    rewards = torch.from_numpy(z @ weak.w)
    rows = rows_of(joint, torch.from_numpy(z), rewards, weak.values)
    effect = design_effect(rows, joint.prompt.numpy(), weak)
    fit: HeadFit | None = weak
    prior = replace(prior, design_effect=effect, mean_sd=np.sqrt(effect) * mean_sd)
    for rounds in range(ROUNDS):
        between()
        fit = fit_coordinates(z, joint, prior, basis, fit, ROUGH_TOLERANCE)
        likeliest, log_sd = likeliest_precision(fit, size)
        step = float(np.log(effect * likeliest / prior.precision))
        prior = prior.times(np.exp(step if rounds < FREE else step / 2))
        prior = replace(prior, log_sd=log_sd)
        if abs(step) < SETTLED:
            break
    return prior


def design_effect(rows: Sequence[KindScores], prompt: Ints, fit: HeadFit) -> float:
    """phi, at least 1, of all judgements at the mode. prompt: of each completion (N,)."""
    pulls = np.concatenate([r.by_weights @ fit.factor for r in rows])
    given = np.concatenate([r.given for r in rows])
    told = np.concatenate([r.information for r in rows])
    prompts = np.concatenate([prompt[r.item] for r in rows])
    people = np.concatenate([r.person for r in rows])
    both = np.unique(np.stack([prompts, people]), axis=1, return_inverse=True)[1].ravel()
    by_prompt, by_both = (_clustered(pulls, given, told, c) for c in (prompts, both))
    # how strongly somebody answers along the reward is no taste of their own: it has a parameter
    reward = solve_triangular(fit.factor, fit.w, lower=True)
    by_person = _clustered(pulls, given, told, people, reward)
    return max(1.0, by_prompt + by_person - by_both)


def _clustered(
    pulls: Floats, given: Floats, told: Floats, cluster: Ints, along: Floats | None = None
) -> float:
    """The variance of the clusters' summed scores, over what independent judgements would make it.

    pulls: by the weights (n, m), in coordinates in which (J + lambda)^-1 = 1; given: scores (n,);
    told: information (n,). The fit follows a cluster's own judgements, which makes their sum
    smaller: with G their information its variance is G - G G. 1 where there is one cluster.

    along: weights (m,) whose strength is each cluster's own: what moves it is left out.
    """
    order = np.argsort(cluster, kind="stable")
    starts = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    if len(starts) == 1:
        return 1.0
    sums = np.add.reduceat((given[:, None] * pulls)[order], starts)
    expected = float((told * np.square(pulls).sum(1)).sum())
    for place, group in enumerate(np.split(order, starts[1:])):
        scaled = np.sqrt(told[group])[:, None] * pulls[group]
        product = scaled @ scaled.T if len(group) < scaled.shape[1] else scaled.T @ scaled
        expected -= float(np.square(product).sum())
        if along is not None and np.any(toward := scaled.T @ (scaled @ along)):
            toward /= np.linalg.norm(toward)
            own = scaled.T @ (scaled @ toward)
            expected -= float(toward @ own - own @ own)
            sums[place] -= toward * float(toward @ sums[place])
    return float(np.square(sums).sum()) / max(expected, 1e-9)


def likeliest_precision(fit: HeadFit, size: float) -> tuple[float, float]:
    """lambda_0, a step nearer, and the standard deviation of its logarithm.

    It is where the weights that the judgements determine have its variance.

    gamma = m - lambda tr (J + lambda)^-1 weights are determined, so that lambda_0 = gamma / w'w (w
    less the prior's mean), but for what is known of it before. The evidence itself is not searched
    further from the mode: large rewards leave little information there, which far away would speak
    for none.
    """
    features = fit.released  # covariates have this prior too, but do not speak for it
    m = len(features.w)
    determined = m - fit.prior.precision * float(np.square(features.factor).sum())
    mean = features.prior.mean
    length = float(np.square(features.w if mean is None else features.w - mean).sum())
    log_variance, sd = LOG_VARIANCE if mean is None else LOG_VARIANCE_BESIDE
    usual = float(np.log(size)) - log_variance

    def slope(log_precision: float) -> float:
        before = (log_precision - usual) / sd**2
        return float(0.5 * (np.exp(log_precision) * length - determined) + before)

    likeliest = float(np.exp(brentq(slope, usual - WIDEST, usual + WIDEST)))
    return likeliest, float((determined / 2 + sd**-2) ** -0.5)
