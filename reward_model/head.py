"""The head fitted in closed form on frozen features: where LoRA training starts from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from reward_model.config import Objective
from reward_model.examples import Examples

Array = NDArray[np.float64]
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FOLDS = 4


def fit_head(features: Array, examples: Examples, objective: Objective) -> tuple[Array, float]:
    """Weights (d,) and intercept of r = features @ weights + intercept.

    features: (N, d), one row a completion of `examples`. The penalty is chosen by cross-validation
    grouped by prompt; features are standardised for the fit and the scale is folded back in.
    """
    mean, spread = features.mean(0), features.std(0) + 1e-6
    z = (features - mean) / spread
    groups = np.array([c.prompt.id for c in examples.completions])
    if objective == "bradley_terry":
        weights = _fit_comparisons(z, examples, groups)
        intercept = 0.0
    else:
        weights, intercept = _fit_targets(z, examples, groups)
    weights = weights / spread
    return weights, float(intercept - mean @ weights)


def _fit_comparisons(z: Array, examples: Examples, groups: NDArray[np.str_]) -> Array:
    a = np.array([c.a for c in examples.comparisons])
    b = np.array([c.b for c in examples.comparisons])
    outcome = np.array([c.outcome for c in examples.comparisons])
    x = z[a] - z[b]
    x2, y2 = np.vstack([x, x]), np.r_[np.ones(len(x)), np.zeros(len(x))]
    w2 = np.r_[outcome, 1 - outcome]  # a tie is half a win each way
    group2 = np.r_[groups[a], groups[a]]

    def fit(c: float, rows: NDArray[np.bool_]) -> LogisticRegression:
        keep = rows & (w2 > 0)
        model = LogisticRegression(C=c, fit_intercept=False, max_iter=200)
        # both orders of each comparison: the fit cannot learn a side
        return model.fit(
            np.vstack([x2[keep], -x2[keep]]),
            np.r_[y2[keep], 1 - y2[keep]],
            np.r_[w2[keep], w2[keep]],
        )

    def loss(c: float) -> float:
        total = 0.0
        for train, test in _folds(group2):
            keep = test & (w2 > 0)
            p = fit(c, train).predict_proba(x2[keep])
            total += log_loss(y2[keep], p, labels=[0, 1], sample_weight=w2[keep], normalize=False)
        return total

    best = min(PENALTIES, key=loss)
    weights: Array = fit(best, np.ones(len(w2), bool)).coef_[0]
    return weights


def _fit_targets(z: Array, examples: Examples, groups: NDArray[np.str_]) -> tuple[Array, float]:
    item = np.array([t.item for t in examples.targets])
    y = np.array([t.value for t in examples.targets])
    x, group = z[item], groups[item]

    def loss(c: float) -> float:
        errors = [
            np.square(Ridge(alpha=1 / c).fit(x[train], y[train]).predict(x[test]) - y[test]).sum()
            for train, test in _folds(group)
        ]
        return float(sum(errors))

    best = Ridge(alpha=1 / min(PENALTIES, key=loss)).fit(x, y)
    return np.asarray(best.coef_, float), float(best.intercept_)


def _folds(groups: NDArray[np.str_]) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """(train, test) masks, grouped by prompt; none where there is one prompt only."""
    n = min(FOLDS, len(set(groups.tolist())))
    if n < 2:
        return []
    folds = []
    for _, test in GroupKFold(n).split(groups, groups=groups):
        mask = np.zeros(len(groups), bool)
        mask[test] = True
        folds.append((~mask, mask))
    return folds
