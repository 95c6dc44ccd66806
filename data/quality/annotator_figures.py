"""The figures of one annotator, or of the whole team."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import NamedTuple

import numpy as np

from data.quality.judgement_table import (
    BINARY,
    PAIRWISE,
    SCALAR,
    JudgementTable,
    counts,
    pairs,
    with_others,
)
from data.quality.outliers import CheckedAnswers, OutlierData
from data.stats.agreement import MeasurementLevel, alpha
from data.stats.estimate import Estimate, unrecorded
from data.stats.intervals import Bools, Floats, Ints, change, mean, median, share


@dataclass(frozen=True)
class Alphas:
    """Krippendorff's alpha; of one annotator: with each of the others in turn."""

    pairwise: Estimate
    """Nominal: a, b, tie."""
    strength: Estimate
    """Ordinal: -3 to 3, of ties and of answers that say how much better."""
    binary: Estimate
    scalar: Estimate
    """Ordinal."""


@dataclass(frozen=True)
class Agreement:
    """Share of other annotators who answered alike; every question counts once."""

    with_ties: Estimate
    """Pairs: a, b, tie."""
    without_ties: Estimate
    """Pairs: a or b, of those who did not say tie."""
    binary: Estimate
    scalar: Estimate
    """The same number."""
    scalar_within_one: Estimate


@dataclass(frozen=True)
class Drift:
    """The later half of an annotator's work less the earlier one."""

    rating: Estimate
    """Points of ten."""
    good: Estimate
    """Share of good."""
    agreement: Estimate
    """Share of the others who agree, all kinds."""
    pace: Estimate
    """Time per task, later over earlier: 1 is no change."""


@dataclass(frozen=True)
class Figures:
    """What is known of one annotator, or of the whole team."""

    judgements: int
    alphas: Alphas
    agreement: Agreement
    gold: Estimate
    """Share of known answers given; a rating counts within one."""
    repeats: Estimate
    """Share of answers that were the same when asked again; a rating counts within one."""
    shown_first: Estimate
    """Share of pairs without a tie in which the side shown first was chosen."""
    longer: Estimate
    """Share of pairs without a tie, and of different length, in which the longer was chosen."""
    ties: Estimate
    """Share of pairs."""
    seconds: Estimate
    """Median time of an answer."""
    quick: Estimate
    """Share of answers that came faster than anyone reads."""
    fit: Estimate
    """Correlation of the answers with what the others' answers predict."""
    drift: Drift


class AnswerComparison(NamedTuple):
    """One way to compare answers: which rows, how many values, and how near counts as alike."""

    table: JudgementTable
    values: int
    within: int = 0


class FigureSource:
    """Everything that figures of annotators and of the team are taken from, worked out once."""

    def __init__(self, evidence: OutlierData, seed: int) -> None:
        self.evidence, self.seed = evidence, seed
        asked = evidence.asked
        pair, binary, scalar = (asked.of(kind) for kind in (PAIRWISE, BINARY, SCALAR))
        self.views = {
            "with_ties": AnswerComparison(pair, 3),
            "without_ties": AnswerComparison(asked.decided, 3),
            "binary": AnswerComparison(binary, 2),
            "scalar": AnswerComparison(scalar, 10),
            "scalar_within_one": AnswerComparison(scalar, 10, 1),
        }
        strong = pair.where(~np.isnan(pair.level))
        strong = replace(strong, code=(strong.level + 3).astype(np.int64))
        self._scales: dict[str, tuple[JudgementTable, int, MeasurementLevel]] = {
            "pairwise": (pair, 3, "nominal"),
            "strength": (strong, 7, "ordinal"),
            "binary": (binary, 2, "nominal"),
            "scalar": (scalar, 10, "ordinal"),
        }
        self._alike = {name: with_others(*view) for name, view in self.views.items()}
        self._pairs = {name: pairs(scale[0]) for name, scale in self._scales.items()}
        self._alike_of_any_kind = np.full(len(asked), np.nan)
        """Of each row: the share of the others who agree; a rating counts within one."""
        kinds = ((PAIRWISE, "with_ties"), (BINARY, "binary"), (SCALAR, "scalar_within_one"))
        for kind, name in kinds:
            self._alike_of_any_kind[asked.kind == kind] = self._alike[name]

    def figures(self, person: int | None) -> Figures:
        """Of one annotator, by number; of the team for None."""
        said, asked, fit = self.evidence.said, self.evidence.asked, self.evidence.fit
        mine = said.where(_rows_of(said.person, person))
        shown = mine.where(~np.isnan(mine.first))
        unequal = mine.where((mine.longer == 0) | (mine.longer == 1))
        pair = mine.of(PAIRWISE)
        timed = mine.where(~np.isnan(mine.seconds))
        slow = unrecorded("how long an answer took", "timed answers")
        return Figures(
            judgements=len(mine),
            alphas=Alphas(**{name: self._alpha(name, person) for name in self._scales}),
            agreement=Agreement(**{name: self._agreement(name, person) for name in self.views}),
            gold=_share_right(self.evidence.gold, person, "known answers"),
            repeats=_share_right(self.evidence.repeats, person, "repeats"),
            shown_first=share(shown.first, shown.prompt, "pairs without a tie")
            if len(shown) or not len(mine.decided)
            else unrecorded("which side was shown first", "pairs without a tie"),
            longer=share(unequal.longer, unequal.prompt, "pairs without a tie"),
            ties=share(np.isnan(pair.longer), pair.prompt, "pairs"),
            seconds=median(timed.seconds, "timed answers") if len(timed) or not len(mine) else slow,
            quick=share(timed.quick, timed.prompt, "timed answers")
            if len(timed) or not len(mine)
            else slow,
            fit=mean(fit[_rows_of(asked.person, person) & ~np.isnan(fit)], "answers"),
            drift=self._drift_of(mine, person),
        )

    def first_two(self) -> Agreement:
        """Agreement of the first two annotators of each question."""
        return Agreement(**{name: agreement_of_two(view) for name, view in self.views.items()})

    def _agreement(self, name: str, person: int | None) -> Estimate:
        table, alike = self.views[name].table, self._alike[name]
        several = ~np.isnan(alike) & _rows_of(table.person, person)
        table, alike = table.where(several), alike[several]
        if person is None:
            return by_question(table, alike)
        return share(alike, table.prompt, "shared tasks")

    def _alpha(self, name: str, person: int | None) -> Estimate:
        table, values, level = self._scales[name]
        if person is None:
            given, at = counts(table, values)
            prompts = np.zeros(len(given), np.int64)
            prompts[at] = table.prompt
            return alpha(given, prompts, level, "shared tasks", self.seed)
        early, late = self._pairs[name]
        own = (table.person[early] == person) | (table.person[late] == person)
        early, late = early[own], late[own]
        given, rows = np.zeros((len(early), values)), np.arange(len(early))
        given[rows, table.code[early]] += 1
        given[rows, table.code[late]] += 1
        return alpha(given, table.prompt[early], level, "answers beside another's", self.seed)

    def _drift_of(self, mine: JudgementTable, person: int | None) -> Drift:

        def by_half(x: Floats, late: Bools, unit: str) -> Estimate:
            return change(x[~late], x[late], unit)

        asked, alike = self.evidence.asked, self._alike_of_any_kind
        shared = ~np.isnan(alike + asked.place) & _rows_of(asked.person, person)
        dated = mine.dated
        if len(mine) and not len(dated):
            never = unrecorded("when answers were given", "answers")
            return Drift(never, never, never, never)
        scalar, binary = dated.of(SCALAR), dated.of(BINARY)
        timed = dated.where(~np.isnan(dated.seconds))
        logs = np.log(np.maximum(timed.seconds, 0.1))
        pace = by_half(logs, timed.late, "timed answers").map(exp)
        return Drift(
            rating=by_half(scalar.points, scalar.late, "ratings"),
            good=by_half(binary.points, binary.late, "good-or-bad answers"),
            agreement=by_half(alike[shared], asked.late[shared], "shared tasks"),
            pace=pace
            if len(timed) or not len(mine)
            else unrecorded("how long an answer took", "timed answers"),
        )


def by_question(table: JudgementTable, hits: Floats) -> Estimate:
    """The share over questions, each with the mean of its rows."""
    _, first, at = np.unique(table.question, return_index=True, return_inverse=True)
    means = np.bincount(at, hits) / np.maximum(np.bincount(at), 1)
    return share(means, table.prompt[first], "shared tasks")


def agreement_of_two(view: AnswerComparison) -> Estimate:
    """Share of questions whose first two annotators answered alike."""
    order = np.argsort(view.table.question, kind="stable")
    _, start, size = np.unique(view.table.question[order], return_index=True, return_counts=True)
    start = start[size > 1]
    one, other = order[start], order[start + 1]
    apart = np.abs(view.table.code[one] - view.table.code[other])
    return share(apart <= view.within, view.table.prompt[one], "shared tasks")


def _rows_of(column: Ints, person: int | None) -> Bools:
    """The rows of one annotator; all of them for None."""
    return np.ones(len(column), bool) if person is None else column == person


def _share_right(checked: CheckedAnswers, person: int | None, unit: str) -> Estimate:
    own = _rows_of(checked.person, person)
    return share(checked.right[own], checked.prompt[own], unit)
