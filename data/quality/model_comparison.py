"""What judgements say of the models that wrote: acceptance, and how two of them compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np

from data.quality.annotator_figures import AnswerComparison, agreement_of_two, by_question
from data.quality.judgement_table import TIE, JudgementTable, with_others
from data.stats.estimate import Estimate
from data.stats.intervals import share

Writers = Sequence[tuple[frozenset[str], frozenset[str]]]
"""Of each question: which models wrote its first side, and its second."""


@dataclass(frozen=True)
class Rate:
    """How often a model's completions are good: the first judgement of each counts."""

    model: str
    acceptance: Estimate


@dataclass(frozen=True)
class ModelPair:
    """Two models, on the prompts of which answers of both were judged."""

    first: str
    second: str
    first_acceptance: Estimate
    second_acceptance: Estimate
    acceptance_agreement: Estimate
    """Of the first two annotators of each completion."""
    preference_agreement: Estimate
    """Of the first two annotators of each pair, with ties."""
    preference_agreement_all: Estimate
    """Of all annotators of each pair, with ties."""
    first_preferred: Estimate
    """Share of pairs that went to the first model, ties left out: the first judgement of each."""


def acceptance_rates(binary: JudgementTable, writers: Writers) -> tuple[Rate, ...]:
    written = _tables_by_model(binary, writers)
    return tuple(Rate(name, _acceptance_rate(table)) for name, table in sorted(written.items()))


def model_pairs(
    binary: JudgementTable, pair: JudgementTable, writers: Writers
) -> tuple[ModelPair, ...]:
    """Every two models that were judged on the same prompts, by name."""
    written = _tables_by_model(binary, writers)
    compared = _tables_by_compare(pair, writers)
    prompts = {name: set(table.prompt.tolist()) for name, table in written.items()}
    both = {two for two in combinations(sorted(written), 2) if prompts[two[0]] & prompts[two[1]]}
    nothing = binary.where(np.zeros(0, np.int64))
    found = []
    for first, second in sorted(both | set(compared)):
        shared = list(prompts.get(first, set()) & prompts.get(second, set()))
        one, other = (written.get(name, nothing) for name in (first, second))
        one, other = (table.where(np.isin(table.prompt, shared)) for table in (one, other))
        faced = compared.get((first, second), nothing)
        columns = zip(vars(one).values(), vars(other).values(), strict=True)
        either = JudgementTable(*map(np.concatenate, columns))
        alike = with_others(faced, 3)
        several = ~np.isnan(alike)
        firsts = _first_judgements(faced)
        decided = firsts.where(firsts.code != TIE)
        report = ModelPair(
            first=first,
            second=second,
            first_acceptance=_acceptance_rate(one),
            second_acceptance=_acceptance_rate(other),
            acceptance_agreement=agreement_of_two(AnswerComparison(either, 2)),
            preference_agreement=agreement_of_two(AnswerComparison(faced, 3)),
            preference_agreement_all=by_question(faced.where(several), alike[several]),
            first_preferred=share(decided.code > TIE, decided.prompt, "pairs without a tie"),
        )
        found.append(report)
    return tuple(found)


def _acceptance_rate(table: JudgementTable) -> Estimate:
    firsts = _first_judgements(table)
    return share(firsts.code, firsts.prompt, "completions")


def _first_judgements(table: JudgementTable) -> JudgementTable:
    """The first judgement of each question."""
    _, first = np.unique(table.question, return_index=True)
    return table.where(np.sort(first))


def _tables_by_model(binary: JudgementTable, writers: Writers) -> dict[str, JudgementTable]:
    """The good-or-bad judgements of each model's completions."""
    questions: dict[str, list[int]] = {}
    for question in np.unique(binary.question).tolist():
        for name in writers[question][0]:
            questions.setdefault(name, []).append(question)
    return {name: binary.where(np.isin(binary.question, q)) for name, q in questions.items()}


def _tables_by_compare(
    pair: JudgementTable, writers: Writers
) -> dict[tuple[str, str], JudgementTable]:
    """The comparisons of each two models, facing with the first by name on the first side."""
    questions: dict[tuple[str, str], dict[int, bool]] = {}
    for question in np.unique(pair.question).tolist():
        a, b = writers[question]
        for one, other in product(a - b, b - a):
            low, high = sorted((one, other))
            questions.setdefault((low, high), {})[question] = one > other
    found = {}
    for two, facing in questions.items():
        table = pair.where(np.isin(pair.question, list(facing)))
        away = [question for question, other_way in facing.items() if other_way]
        turn = np.isin(table.question, away)
        code, level = np.where(turn, 2 * TIE - table.code, table.code), table.level
        found[two] = replace(table, code=code, level=np.where(turn, -level, level))
    return found
