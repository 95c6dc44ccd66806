"""What everybody else's answers predict of an answer.

Each completion gets a score from all judgements but one person's: a comparison is the difference of
two scores, good or bad and a rating are one score, each on its annotator's own scale. So tasks that
only one person judged still tell how they fit the others, through the completions in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsqr

from data.quality.judgement_table import PAIRWISE, JudgementTable
from data.schema import Completion
from data.stats.intervals import Floats

RIDGE = 1.0
"""Scores are shrunk as if they differed by as much as single answers scatter."""


def own_scale(table: JudgementTable, numbers: Floats) -> Floats:
    """Numbers (N,) in standard deviations from the mean of their person and kind.

    So neither a severe annotator nor a narrow one differs by that alone. The sides of pairs are
    arbitrary: their mean is 0. Who always says the same has 0 throughout.
    """
    key = table.person * 3 + table.kind
    n = np.maximum(np.bincount(key), 1)
    mean = np.bincount(key, numbers) / n
    mean[PAIRWISE::3] = 0
    away = numbers - mean[key]
    spread = np.sqrt(np.bincount(key, away**2) / n)[key]
    return np.where(spread > 1e-9, away / np.maximum(spread, 1e-9), 0)


def predict_from_others(
    table: JudgementTable, z: Floats, sides: Sequence[tuple[Completion, Completion | None]]
) -> Floats:
    """Each row's answer as the others' rows predict it, on the person's own scale (N,).

    z (N,) are the answers on their own scales; nan where nobody else judged what is in the task.
    """
    number: dict[str, int] = {}
    rows, columns, facing = [], [], []
    for row, question in enumerate(table.question.tolist()):
        for side, sign in zip(sides[question], (1.0, -1.0), strict=True):
            if side is not None:
                rows.append(row)
                columns.append(number.setdefault(side.id, len(number)))
                facing.append(sign)
    # (N, completions): 1 for a row's first completion and -1 for its second; and 1 for both
    signs = csr_matrix((facing, (rows, columns)), shape=(len(table), len(number)))
    judged = abs(signs)
    predicted = np.full(len(table), np.nan)
    total = np.asarray(judged.sum(axis=0)).ravel()
    for person in np.unique(table.person):
        own = table.person == person
        scores = lsqr(signs[~own], z[~own], damp=RIDGE**0.5, iter_lim=50)[0]
        # A task whose completions nobody else judged has the ridge's scores of 0: no prediction.
        others = total - np.asarray(judged[own].sum(axis=0)).ravel()
        known = judged[own] @ others > 0
        predicted[own] = np.where(known, signs[own] @ scores, np.nan)
    seen = ~np.isnan(predicted)
    predicted[seen] = own_scale(table.where(seen), predicted[seen])
    return predicted
