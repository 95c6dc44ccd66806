"""Pairs of completions of which one was judged better, from whichever kind of judgement there is.

No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from data.stats.estimate import MIN_CASES
from data.stats.intervals import Bools, Floats, Ints
from reward_model.dataset.examples import TIE, A, Binary, Examples, Scalar

Source = Literal["comparisons", "ratings", "good or bad"]
KIND_OF: dict[Source, str] = {
    "comparisons": "pairwise",
    "ratings": "scalar",
    "good or bad": "binary",
}


@dataclass(frozen=True)
class PreferencePairs:
    """One pair a row (n,)."""

    better: Ints
    """Place of the completion that was preferred."""
    worse: Ints
    first: Floats
    """1 where the better one was shown first, 0 where second; nan where no order is known."""
    prompt: Ints
    source: Source

    def __len__(self) -> int:
        return len(self.better)

    def where(self, keep: Bools) -> PreferencePairs:
        better, worse, first = self.better[keep], self.worse[keep], self.first[keep]
        return PreferencePairs(better, worse, first, self.prompt[keep], self.source)

    def correct(self, score: Floats) -> Floats:
        """1 where the better completion has the higher score (N,), 0.5 where they are equal."""
        return 0.5 + 0.5 * np.sign(score[self.better] - score[self.worse])


def preference_pairs(examples: Examples) -> PreferencePairs:
    """Comparisons that are not ties; where they are few, pairs that one annotator rated apart.

    The kinds are never pooled: many pairs made of a few ratings would pass for many comparisons.
    """
    pairs = examples.pairs
    decided = pairs.outcome != TIE
    a_won = (pairs.outcome == A)[decided]
    a, b = pairs.a[decided], pairs.b[decided]
    better, worse = np.where(a_won, a, b), np.where(a_won, b, a)
    first = 0.5 + 0.5 * np.where(a_won, 1, -1) * pairs.side[decided]
    first[pairs.side[decided] == 0] = np.nan
    found = [
        PreferencePairs(better, worse, first, examples.prompt[better], "comparisons"),
        _from_ratings(examples, examples.scalar, examples.scalar.rating, "ratings"),
        _from_ratings(examples, examples.binary, examples.binary.good, "good or bad"),
    ]
    return next((some for some in found if len(some) >= MIN_CASES), max(found, key=len))


def _from_ratings(
    examples: Examples, table: Binary | Scalar, answer: Ints, source: Source
) -> PreferencePairs:
    """Two completions of one prompt to which one annotator gave different answers."""
    item, annotator = table.item, table.annotator
    groups: dict[tuple[int, int], list[int]] = {}
    for row, key in enumerate(zip(examples.prompt[item], annotator, strict=True)):
        groups.setdefault((int(key[0]), int(key[1])), []).append(row)
    found = [
        (i, j) if answer[i] > answer[j] else (j, i)
        for rows in groups.values()
        for i, j in combinations(rows, 2)
        if answer[i] != answer[j] and item[i] != item[j]
    ]
    better, worse = item[np.array(found, np.int64).reshape(-1, 2).T]
    first = np.full(len(better), np.nan)
    return PreferencePairs(better, worse, first, examples.prompt[better], source)
