"""The figures of one annotator, or of the whole team."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp
from typing import NamedTuple

import numpy as np

from data.quality.judgement_table import (
    BINARY,
    PAIRWISE,
    SCALAR,
    Bools,
    Votes,
    counts,
    first_two,
    pairs,
    with_others,
)
from data.quality.outliers import Evidence, Marks
from data.stats.agreement import Level, alpha
from data.stats.intervals import Figure, Floats, change, mapped, mean, median, share


@dataclass(frozen=True)
class Alphas:
    """Krippendorff's alpha; of one annotator: with each of the others in turn."""

    pairwise: Figure
    """Nominal: a, b, tie."""
    strength: Figure
    """Ordinal: -3 to 3, of ties and of answers that say how much better."""
    binary: Figure
    scalar: Figure
    """Ordinal."""


@dataclass(frozen=True)
class Agreement:
    """Share of other annotators who answered alike; every question counts once."""

    with_ties: Figure
    """Pairs: a, b, tie."""
    without_ties: Figure
    """Pairs: a or b, of those who did not say tie."""
    binary: Figure
    scalar: Figure
    """The same number."""
    scalar_within_one: Figure


@dataclass(frozen=True)
class Drift:
    """The later half of an annotator's work less the earlier one."""

    rating: Figure
    """Points of ten."""
    good: Figure
    """Share of good."""
    agreement: Figure
    """Share of the others who agree, all kinds."""
    pace: Figure
    """Time per task, later over earlier: 1 is no change."""


@dataclass(frozen=True)
class Figures:
    """What is known of one annotator, or of the whole team."""

    judgements: int
    alphas: Alphas
    agreement: Agreement
    gold: Figure
    """Share of known answers given; a rating counts within one."""
    repeats: Figure
    """Share of answers that were the same when asked again; a rating counts within one."""
    shown_first: Figure
    """Share of pairs without a tie in which the side shown first was chosen."""
    longer: Figure
    """Share of pairs without a tie, and of different length, in which the longer was chosen."""
    ties: Figure
    """Share of pairs."""
    seconds: Figure
    """Median time of an answer."""
    quick: Figure
    """Share of answers that came faster than anyone reads."""
    fit: Figure
    """Correlation of the answers with what the others' answers foretell."""
    drift: Drift


class View(NamedTuple):
    """One way to compare answers: which rows, how many values, and how near counts as alike."""

    votes: Votes
    values: int
    within: int = 0


_LEVELS: Mapping[str, Level] = {
    "pairwise": "nominal",
    "strength": "ordinal",
    "binary": "nominal",
    "scalar": "ordinal",
}


class Sheet:
    """What all figures are taken from, worked out once."""

    def __init__(self, evidence: Evidence, seed: int) -> None:
        self.evidence, self.seed = evidence, seed
        asked = evidence.asked
        pair, binary, scalar = (asked.of(kind) for kind in (PAIRWISE, BINARY, SCALAR))
        self.views = {
            "with_ties": View(pair, 3),
            "without_ties": View(asked.decided, 3),
            "binary": View(binary, 2),
            "scalar": View(scalar, 10),
            "scalar_within_one": View(scalar, 10, 1),
        }
        strong = pair.where(~np.isnan(pair.level))
        strong = replace(strong, code=(strong.level + 3).astype(np.int64))
        self._scales = {
            "pairwise": View(pair, 3),
            "strength": View(strong, 7),
            "binary": View(binary, 2),
            "scalar": View(scalar, 10),
        }
        self._alike = {name: with_others(*view) for name, view in self.views.items()}
        self._pairs = {name: pairs(view.votes) for name, view in self._scales.items()}

    def figures(self, person: int | None) -> Figures:
        """Of one annotator, by number; of the team for None."""
        said = self.evidence.said
        mine = said if person is None else said.where(said.person == person)
        shown = mine.where(~np.isnan(mine.first))
        unequal = mine.where((mine.longer == 0) | (mine.longer == 1))
        pair = mine.of(PAIRWISE)
        timed = mine.where(~np.isnan(mine.seconds))
        return Figures(
            judgements=len(mine),
            alphas=Alphas(**{name: self._alpha(name, person) for name in self._scales}),
            agreement=Agreement(**{name: self._agreement(name, person) for name in self.views}),
            gold=_right(self.evidence.gold, person, "known answers"),
            repeats=_right(self.evidence.repeats, person, "repeats"),
            shown_first=share(shown.first, shown.prompt, "pairs without a tie"),
            longer=share(unequal.longer, unequal.prompt, "pairs without a tie"),
            ties=share(np.isnan(pair.longer), pair.prompt, "pairs"),
            seconds=median(timed.seconds, "timed answers"),
            quick=share(timed.quick, timed.prompt, "timed answers"),
            fit=self._fit(person),
            drift=self._drift(mine, person),
        )

    def first_two(self) -> Agreement:
        """Agreement of the first two annotators of each question."""
        return Agreement(**{name: agreement_of_two(view) for name, view in self.views.items()})

    def _agreement(self, name: str, person: int | None) -> Figure:
        votes, alike = self.views[name].votes, self._alike[name]
        several = ~np.isnan(alike)
        if person is not None:
            several &= votes.person == person
        votes, alike = votes.where(several), alike[several]
        if person is None:
            return by_question(votes, alike)
        return share(alike, votes.prompt, "shared tasks")

    def _alpha(self, name: str, person: int | None) -> Figure:
        votes, values, _ = self._scales[name]
        if person is None:
            table, at = counts(votes, values)
            prompts = np.zeros(len(table), np.int64)
            prompts[at] = votes.prompt
            return alpha(table, prompts, _LEVELS[name], "shared tasks", self.seed)
        early, late = self._pairs[name]
        own = (votes.person[early] == person) | (votes.person[late] == person)
        early, late = early[own], late[own]
        table, rows = np.zeros((len(early), values)), np.arange(len(early))
        table[rows, votes.code[early]] += 1
        table[rows, votes.code[late]] += 1
        unit = "answers beside another's"
        return alpha(table, votes.prompt[early], _LEVELS[name], unit, self.seed)

    def _fit(self, person: int | None) -> Figure:
        fit = self.evidence.fit
        own = ~np.isnan(fit)
        if person is not None:
            own &= self.evidence.asked.person == person
        return mean(fit[own], "answers")

    def _drift(self, mine: Votes, person: int | None) -> Drift:
        asked, alike = self.evidence.asked, pooled(self.evidence.asked)
        shared = ~np.isnan(alike)
        if person is not None:
            shared &= asked.person == person
        scalar, binary = mine.of(SCALAR), mine.of(BINARY)
        timed = mine.where(~np.isnan(mine.seconds))
        logs = np.log(np.maximum(timed.seconds, 0.1))
        return Drift(
            rating=_halves(scalar.points, scalar.late, "ratings"),
            good=_halves(binary.points, binary.late, "good-or-bad answers"),
            agreement=_halves(alike[shared], asked.late[shared], "shared tasks"),
            pace=mapped(_halves(logs, timed.late, "timed answers"), exp),
        )


def by_question(votes: Votes, hits: Floats) -> Figure:
    """The share over questions, each with the mean of its rows."""
    _, first, at = np.unique(votes.question, return_index=True, return_inverse=True)
    means = np.bincount(at, hits) / np.maximum(np.bincount(at), 1)
    return share(means, votes.prompt[first], "shared tasks")


def agreement_of_two(view: View) -> Figure:
    """Share of questions whose first two annotators answered alike."""
    one, other = first_two(view.votes)
    apart = np.abs(view.votes.code[one] - view.votes.code[other])
    return share(apart <= view.within, view.votes.prompt[one], "shared tasks")


def _right(marks: Marks, person: int | None, unit: str) -> Figure:
    own = np.ones(len(marks.person), bool) if person is None else marks.person == person
    return share(marks.right[own], marks.prompt[own], unit)


def _halves(x: Floats, late: Bools, unit: str) -> Figure:
    return change(x[~late], x[late], unit)


def pooled(asked: Votes) -> Floats:
    """Of each row: the share of the others who agree; a rating counts within one."""
    alike = np.full(len(asked), np.nan)
    for kind, values, within in ((PAIRWISE, 3, 0), (BINARY, 2, 0), (SCALAR, 10, 1)):
        alike[asked.kind == kind] = with_others(asked.of(kind), values, within)
    return alike
