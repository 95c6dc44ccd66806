"""Predictions that a reward model must beat: by length, order, the prompt, or words and length.

No torch here but for the folds, which are those of the reward model's own cross-validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, hstack, vstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression, Ridge

from data.stats.intervals import Bools, Floats, Ints
from reward_model.dataset.examples import Examples
from reward_model.dataset.preference_pairs import PreferencePairs
from reward_model.evaluation.cross_validation import folds

WORDS = 20_000
"""Different words and pairs of words, at most."""
STRENGTH = 1.0
"""Inverse penalty of linear models of words alone."""
STRENGTHS = (0.03, 0.5)
"""Of words and length: those that are tried."""


@dataclass(frozen=True)
class Baselines:
    """Scores that look at no meaning."""

    length: Floats
    """Characters of each completion (N,)."""
    words: Mapping[str, Floats]
    """By kind of judgement, a score of each completion (N,) by the words in it, learned from the
    other prompts' judgements of that kind; nan where nothing could be learned."""
    words_and_length: Mapping[str, Floats]
    """The same by its words and its length together."""
    prompt: Mapping[str, Floats]
    """By kind "scalar" and "binary": what the other completions of its prompt got, row by row."""


def baselines(examples: Examples, pairs: PreferencePairs, seed: int = 0) -> Baselines:
    """All of them, from judgements of all kinds."""
    scalar, binary = examples.scalar, examples.binary
    words, words_and_length = by_words(examples, pairs, seed)
    return Baselines(
        np.array([len(c.text) for c in examples.completions], float),
        words,
        words_and_length,
        {
            "scalar": by_prompt(scalar.rating.astype(float), scalar.item, examples.prompt),
            "binary": by_prompt(binary.good.astype(float), binary.item, examples.prompt),
        },
    )


def by_prompt(answer: Floats, item: Ints, prompt_of: Ints) -> Floats:
    """What the other completions of the same prompt got, drawn to the mean of all, (n,).

    As much as the variance within prompts over that between them says: where prompts do not differ
    it is the same number for all. A plain mean of the others would be lower exactly where the
    answer itself is higher.
    """
    if not len(answer):
        return np.zeros(0)
    prompt = prompt_of[item]
    size, total = np.bincount(prompt), np.bincount(prompt, answer)
    own_size, own = np.bincount(item), np.bincount(item, answer)
    others = (size[prompt] - own_size[item]).astype(float)
    sums = total[prompt] - own[item]
    mean = float(answer.mean())
    shrink = _variance_ratio(answer, prompt)
    if not np.isfinite(shrink):
        return np.full(len(answer), mean)
    weight = others + shrink
    alone = np.full(len(answer), mean)  # nothing else of its prompt was rated, and nothing shrinks
    return np.asarray(np.divide(sums + shrink * mean, weight, out=alone, where=weight > 0))


def _variance_ratio(answer: Floats, prompt: Ints) -> float:
    """Variance within prompts over that between, by the analysis of variance; inf for none."""
    _, group, size = np.unique(prompt, return_inverse=True, return_counts=True)
    n, groups = len(answer), len(size)
    if groups < 2 or n == groups:
        return float("inf")
    means = np.bincount(group, answer) / size
    within = float(np.square(answer - means[group]).sum()) / (n - groups)
    between = float((size * np.square(means - answer.mean())).sum()) / (groups - 1)
    typical = (n - float(np.square(size).sum()) / n) / (groups - 1)
    spread = (between - within) / typical
    return within / spread if spread > 1e-9 else float("inf")


@dataclass(frozen=True)
class Linear:
    """What a linear model learns of one kind of judgement, from a table of completions (N, d)."""

    kind: str
    item: Ints
    """(n,)"""
    answer: Floats
    """(n,)"""
    other: Ints | None = None
    """Of comparisons: the completion that `item` was preferred to."""

    def where(self, keep: Bools) -> Linear:
        """The judgements of completions with `keep` (N,); both of a comparison's have it."""
        rows = keep[self.item]
        other = None if self.other is None else self.other[rows]
        return Linear(self.kind, self.item[rows], self.answer[rows], other)

    def rows(self, table: csr_matrix) -> tuple[csr_matrix, Floats]:
        """Inputs and answers; each comparison from both sides."""
        if self.other is None:
            return table[self.item], self.answer
        ahead = table[self.item] - table[self.other]
        return vstack([ahead, -ahead]), np.repeat([1.0, 0.0], len(self.item))

    def fit(self, table: csr_matrix, strength: float) -> LogisticRegression | Ridge:
        """Comparisons by a logistic model of the difference of two texts, good or bad by a logistic
        model, ratings by ridge. Raises ValueError where there is nothing to tell apart."""
        rows, answer = self.rows(table)
        if len(np.unique(answer)) < 2:
            raise ValueError("every answer is the same")
        model = Ridge(alpha=1 / strength)
        if self.kind != "scalar":
            free = self.other is None
            model = LogisticRegression(C=strength, fit_intercept=free, max_iter=300, tol=1e-3)
        return model.fit(rows, answer)

    def loss(self, model: LogisticRegression | Ridge, table: csr_matrix) -> float:
        """Squared error of ratings, else nats; summed."""
        rows, answer = self.rows(table)
        if self.kind == "scalar":
            return float(np.square(model.predict(rows) - answer).sum())
        margin = model.decision_function(rows)
        return float(np.logaddexp(0, np.where(answer > 0, -margin, margin)).sum())


def by_words(
    examples: Examples, pairs: PreferencePairs, seed: int = 0
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Linear models on TF-IDF of words and pairs of words, alone and with the length of the text.

    Under the folds of the head's own cross-validation. Which words there are, how rare they are,
    how far lengths scatter and how strong the penalty on both is come from the training side of
    each.
    """
    unknown = np.full(len(examples.completions), np.nan)
    alone, both = (
        {kind: unknown.copy() for kind in ("pairwise", "scalar", "binary")} for _ in "12"
    )
    tasks = [
        Linear("scalar", examples.scalar.item, examples.scalar.rating.astype(float)),
        Linear("binary", examples.binary.item, examples.binary.good.astype(float)),
    ]
    if pairs.source == "comparisons":
        tasks.append(Linear("pairwise", pairs.better, np.ones(len(pairs)), pairs.worse))
    if examples.prompts < 2:
        return alone, both
    for train, test, inner, tables in _tables(examples, seed):
        words, with_length = tables
        for task in (task.where(train) for task in tasks if len(task.item)):
            if len(np.unique(task.rows(words)[1])) < 2:
                continue  # there is nothing to tell apart
            strength = _strength(task, with_length, inner)
            for scores, table, model in (
                (alone, words, task.fit(words, STRENGTH)),
                (both, with_length, task.fit(with_length, strength)),
            ):
                scores[task.kind][test] = table[test] @ np.ravel(model.coef_)
    return alone, both


def _tables(
    examples: Examples, seed: int
) -> Iterator[tuple[Bools, Bools, Bools, tuple[csr_matrix, csr_matrix]]]:
    """Of each fold: train, test, what of train chooses the penalty (N,); words; words and length.

    Nothing where no text has a word.
    """
    texts = [c.text for c in examples.completions]
    try:
        counts = CountVectorizer(ngram_range=(1, 2), min_df=2).fit_transform(texts)
    except ValueError:  # sklearn: no word is in two texts
        return
    counts = csr_matrix(counts.astype(float))
    length = np.log1p([len(text) for text in texts])
    sides = list(folds(examples, seed=seed))
    for place, (train, test) in enumerate(sides):
        often = np.asarray((counts[train] > 0).sum(0)).ravel()
        known = np.argsort(-often, kind="stable")[:WORDS]
        known = known[often[known] > 1]
        if not len(known):
            continue
        weigh = TfidfTransformer(sublinear_tf=True).fit(counts[train][:, known])
        words = csr_matrix(weigh.transform(counts[:, known]))
        away = (length - length[train].mean()) / (length[train].std() or 1.0)
        inner = sides[(place + 1) % len(sides)][1]
        yield train, test, inner, (words, csr_matrix(hstack([words, away[:, None]])))


def _strength(task: Linear, table: csr_matrix, inner: Bools) -> float:
    """The inverse penalty under which the judgements in `inner` (N,) are best predicted."""
    rest, asked = task.where(~inner), task.where(inner)
    try:
        losses = [asked.loss(rest.fit(table, strength), table) for strength in STRENGTHS]
    except ValueError:  # too few prompts to leave out any more
        return STRENGTHS[-1]
    return STRENGTHS[int(np.argmin(losses))]


def rates(code: Ints, prompt: Ints, values: int) -> Floats:
    """The share of each of the answers 0 to values - 1 on the other prompts, row by row (n, K).

    Half an answer is added to each, so that none is held impossible.
    """
    chosen = np.eye(values)[code]
    mine = np.zeros((int(prompt.max(initial=-1)) + 1, values))
    np.add.at(mine, prompt, chosen)
    others = chosen.sum(0) - mine[prompt] + 0.5
    return np.asarray(others / others.sum(1, keepdims=True))
