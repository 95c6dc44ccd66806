"""Predictions that a reward model must beat: by length, by order, by the prompt or by words.

No torch here but for the folds, which are those of the reward model's own cross-validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from reward_model.dataset.examples import Examples, Floats, Ints
from reward_model.dataset.preference_pairs import PreferencePairs
from reward_model.evaluation.cross_validation import folds

WORDS = 20_000
"""Different words and pairs of words, at most."""


@dataclass(frozen=True)
class Baselines:
    """Scores that look at no meaning."""

    length: Floats
    """Characters of each completion (N,)."""
    words: Mapping[str, Floats]
    """By kind of judgement, a score of each completion (N,) by the words in it, learned from the
    other prompts' judgements of that kind; nan where nothing could be learned."""
    prompt: Mapping[str, Floats]
    """By kind "scalar" and "binary": what the other completions of its prompt got, row by row."""


def baselines(examples: Examples, pairs: PreferencePairs, seed: int = 0) -> Baselines:
    """All of them, from judgements of all kinds."""
    scalar, binary = examples.scalar, examples.binary
    return Baselines(
        np.array([len(c.text) for c in examples.completions], float),
        by_words(examples, pairs, seed),
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
    return np.asarray((sums + shrink * mean) / (others + shrink))


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


def by_words(examples: Examples, pairs: PreferencePairs, seed: int = 0) -> dict[str, Floats]:
    """Linear models on TF-IDF of words and pairs of words, cross-validated over prompts.

    Comparisons by a logistic model of the difference of two texts, ratings by ridge, good or bad by
    a logistic model. How rare a word is counts over all texts: that uses no judgement.
    """
    unknown = np.full(len(examples.completions), np.nan)
    scores = {kind: unknown.copy() for kind in ("pairwise", "scalar", "binary")}
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=WORDS
    )
    try:
        table = csr_matrix(vectorizer.fit_transform([c.text for c in examples.completions]))
    except ValueError:  # sklearn: no text has a word
        return scores
    if examples.prompts < 2:
        return scores
    ordered, free = (LogisticRegression(fit_intercept=b, max_iter=300) for b in (False, True))
    for train, test in folds(examples, seed=seed):
        part, won = examples.where(train), pairs.where(train[pairs.better])
        tasks = [
            ("scalar", Ridge(alpha=1.0), table[part.scalar.item], part.scalar.rating),
            ("binary", free, table[part.binary.item], part.binary.good),
        ]
        if won.source == "comparisons":
            ahead = table[won.better] - table[won.worse]
            answer = np.repeat([1, 0], len(won))
            tasks.append(("pairwise", ordered, vstack([ahead, -ahead]), answer))
        for kind, model, rows, answer in tasks:
            if len(np.unique(answer)) > 1:
                scores[kind][test] = table[test] @ np.ravel(model.fit(rows, answer).coef_)
    return scores


def rates(code: Ints, prompt: Ints, values: int) -> Floats:
    """The share of each of the answers 0 to values - 1 on the other prompts, row by row (n, K).

    Half an answer is added to each, so that none is held impossible.
    """
    chosen = np.eye(values)[code]
    mine = np.zeros((int(prompt.max(initial=-1)) + 1, values))
    np.add.at(mine, prompt, chosen)
    others = chosen.sum(0) - mine[prompt] + 0.5
    return np.asarray(others / others.sum(1, keepdims=True))
