"""From judgements to a report: how far the team and each annotator can be trusted.

`quality` works out every figure, `warnings` says who stands out. Pure: no store and no page.

judgement_table    judgements as columns
annotator_figures  the figures of one annotator, or of the team
leave_one_out      what the others' answers predict of an answer
outliers           tests of each annotator against the rest
outlier_warnings   which tests are worth a warning
model_comparison   what judgements say of the models that wrote
store_report       the report on a store
text               the report in lines of text
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from data.quality.annotator_figures import Agreement, Figures, FigureSource, by_question
from data.quality.judgement_table import (
    TIE,
    JudgementTable,
    JudgementTableBuilder,
    Models,
    counts,
    pairs,
)
from data.quality.leave_one_out import own_scale, predict_from_others
from data.quality.model_comparison import ModelPair, Rate, acceptance_rates, model_pairs
from data.quality.outlier_warnings import Warning, find_outliers
from data.quality.outliers import CheckedAnswers, OutlierData, OutlierTest, run_tests
from data.schema import KINDS, Judgement, Kind
from data.stats.agreement import Ceiling, ceiling, kappa
from data.stats.estimate import MIN_ANSWERS, Estimate
from data.stats.intervals import Ints, share

__all__ = ["Quality", "Warning", "quality", "warnings"]

SEVERAL = 3
"""Annotators from whom a question has a majority."""
NAMES = {"pairwise": ("b", "tie", "a"), "binary": ("bad", "good")}
"""What the codes of a majority stand for."""


@dataclass(frozen=True)
class Person:
    """One annotator's figures, and the tests against the rest of the team."""

    name: str
    figures: Figures
    tests: tuple[OutlierTest, ...]


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of two annotators."""

    first: str
    second: str
    kind: str
    figure: Estimate


@dataclass(frozen=True)
class Majority:
    """What most annotators said about the questions that three or more answered."""

    kind: str
    questions: int
    counts: Mapping[str, int]
    """Questions by answer, and "none" where no answer is ahead. Pairs face as data.table says."""


@dataclass(frozen=True)
class Quality:
    """The whole report; every figure has its n and its interval, or says what it still needs."""

    team: Figures
    people: tuple[Person, ...]
    first_two: Agreement
    """As published figures often count it: of the first two annotators of each question."""
    kappas: tuple[Kappa, ...]
    """Of every two annotators with enough shared tasks."""
    majorities: tuple[Majority, ...]
    ceiling: Ceiling
    longer_wins: Estimate
    """How often "the longer one" is right about a comparison; half right about equal lengths."""
    longer_wins_majority: Estimate
    """The same about what most of three or more annotators say."""
    models: tuple[Rate, ...]
    model_pairs: tuple[ModelPair, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and texts, ready for JSON."""
        plain = asdict(self)
        plain["ceiling"]["sentence"] = self.ceiling.sentence
        return plain


def quality(
    judgements: Sequence[Judgement],
    repeats: Sequence[tuple[Judgement, Judgement]] = (),
    gold: Sequence[tuple[Judgement, str]] = (),
    models: Models | None = None,
    seed: int = 0,
) -> Quality:
    """The report on standing judgements.

    `repeats` are a first answer and the one when asked again; `gold` are answers to tasks whose
    answer is known, with that answer; `models` says who wrote a completion, by its id. These
    control tasks may be among the judgements too; agreement leaves them out.
    """
    everything = {j.id: j for j in judgements}
    everything |= {j.id: j for j, _ in gold} | {j.id: j for two in repeats for j in two}
    names = sorted({j.annotator for j in everything.values()})
    builder = JudgementTableBuilder(names, models or {})
    said = builder.build(everything.values())
    controls = {again.id for _, again in repeats} | {j.id for j, _ in gold}
    again = [(later, first.answer.value) for first, later in repeats]
    rows = np.flatnonzero(np.isin(said.id, [j.id for j in judgements if j.id not in controls]))
    asked = said.where(rows[said.where(rows).latest()])
    z = own_scale(asked, asked.points)
    predicted = predict_from_others(asked, z, builder.sides)
    checked = _check_answers(gold, names), _check_answers(again, names)
    evidence = OutlierData(said, asked, z, predicted, *checked)
    sheet = FigureSource(evidence, seed)
    binary, pair = sheet.views["binary"].table, sheet.views["with_ties"].table
    team, decided = sheet.figures(None), pair.decided
    tested = zip(names, run_tests(evidence, len(names)), strict=True)
    return Quality(
        team=team,
        people=tuple(Person(name, sheet.figures(i), done) for i, (name, done) in enumerate(tested)),
        first_two=sheet.first_two(),
        kappas=_kappas_of_every_two(pair, names, seed) + _kappas_of_every_two(binary, names, seed),
        majorities=tuple(m for m in (_count_majorities(pair), _count_majorities(binary)) if m),
        ceiling=ceiling(team.agreement.without_ties, _majority_right(decided)),
        longer_wins=share(decided.longer, decided.prompt, "pairs without a tie"),
        longer_wins_majority=_longer_wins(pair, builder),
        models=acceptance_rates(binary, builder.writers),
        model_pairs=model_pairs(binary, pair, builder.writers),
    )


def warnings(quality: Quality) -> list[Warning]:
    """Who stands out, and in what, for a lead to look at: see data.quality.outliers."""
    return find_outliers(
        [(person.name, test) for person in quality.people for test in person.tests]
    )


def _check_answers(
    checked: Sequence[tuple[Judgement, str]], names: Sequence[str]
) -> CheckedAnswers:
    """Right or wrong for each answer and what it should be; prompts numbered among themselves."""
    prompts: dict[str, int] = {}
    number = {name: i for i, name in enumerate(names)}
    return CheckedAnswers(
        np.array([KINDS.index(j.kind) for j, _ in checked], np.int64),
        np.array([number[j.annotator] for j, _ in checked], np.int64),
        np.array([prompts.setdefault(j.prompt.id, len(prompts)) for j, _ in checked], np.int64),
        np.array([same_answer(j.kind, j.answer.value, value) for j, value in checked], float),
    )


def same_answer(kind: Kind, given: str, known: str) -> bool:
    """Whether an answer is the known, or an earlier, one; a rating counts within one."""
    return abs(int(given) - int(known)) <= 1 if kind == "scalar" else given == known


def _kappas_of_every_two(
    table: JudgementTable, names: Sequence[str], seed: int
) -> tuple[Kappa, ...]:
    early, late = pairs(table)
    one, other = table.person[early], table.person[late]
    swap = one > other
    early, late = np.where(swap, late, early), np.where(swap, early, late)
    key = table.person[early] * len(names) + table.person[late]
    two, size = np.unique(key, return_counts=True)
    found = []
    for pair in two[size >= MIN_ANSWERS].tolist():
        a, b = early[key == pair], late[key == pair]
        figure = kappa(table.code[a], table.code[b], table.prompt[a], "shared tasks", seed)
        kind = KINDS[int(table.kind[0])]
        found.append(Kappa(names[pair // len(names)], names[pair % len(names)], kind, figure))
    return tuple(found)


def _majority_codes(table: JudgementTable, values: int) -> tuple[Ints, Ints]:
    """Questions of SEVERAL annotators or more, and the code that is ahead in each; -1 for none."""
    given, _ = counts(table, values)
    questions = np.unique(table.question)
    most = given.max(axis=1, initial=0)
    code = np.where((given == most[:, None]).sum(axis=1) == 1, given.argmax(axis=1), -1)
    several = given.sum(axis=1) >= SEVERAL
    return questions[several], code[several]


def _count_majorities(table: JudgementTable) -> Majority | None:
    if not len(table):
        return None
    kind = KINDS[int(table.kind[0])]
    names = NAMES[kind]
    _, code = _majority_codes(table, len(names))
    found = {name: int((code == i).sum()) for i, name in enumerate(names)}
    return Majority(kind, len(code), found | {"none": int((code < 0).sum())})


def _longer_wins(pair: JudgementTable, builder: JudgementTableBuilder) -> Estimate:
    """How often the longer side is the majority's; equal lengths are half right."""
    questions, code = _majority_codes(pair, 3)
    questions, code = questions[(code >= 0) & (code != TIE)], code[(code >= 0) & (code != TIE)]
    sides = [builder.sides[question] for question in questions.tolist()]
    more = [len(a.text) - len(b.text) if b else 0 for a, b in sides]
    right = 0.5 + 0.5 * np.sign(np.array(more, float)) * (code - TIE)
    judged = pair.where(np.isin(pair.question, questions))
    _, first = np.unique(judged.question, return_index=True)
    return share(right, judged.prompt[first], "majorities without a tie")


def _majority_right(decided: JudgementTable) -> Estimate:
    """How often the majority of the others is right about one annotator; half where they split.

    Over questions with three annotators or more who decided. No predictor made of other people
    does better than the best possible one, so this too lies below the ceiling.
    """
    table, at = counts(decided, 3)
    m = table.sum(axis=1)[at]
    side = decided.code - TIE
    lead = (table[:, 2] - table[:, 0])[at] - side
    right = 0.5 + 0.5 * np.sign(lead) * side
    several = m >= SEVERAL
    return by_question(decided.where(several), right[several])
