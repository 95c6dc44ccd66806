"""Whether an annotator stands out from the rest of the team by more than chance: the tests.

Each annotator is tested against the others for five habits. All tests of a team are corrected
together (Holm): in 19 of 20 teams in which everybody judges alike, nobody at all is named. What is
significant is named only where it is also large: honest people differ, and with enough judgements
any difference is significant. A lead who looks again and again takes that chance each time.

Nobody is banned by this. Where the whole team has a habit nobody stands out: the team's own figures
show it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from data.quality.judgement_table import BINARY, SCALAR, TIE, JudgementTable
from data.stats.estimate import MIN_ANSWERS, Estimate
from data.stats.intervals import Bools, Floats, Ints, change, mean, share, welch

Habit = Literal["side", "length", "careless", "quick", "drift"]
FAMILY_ERROR = 0.05
"""Chance that anybody at all is named in a team where all judge alike."""
NOTABLE = 0.1
"""Difference of shares from the team's below which nobody is named."""
NOTABLE_DRIFT = 0.3
"""The same for a drift, in standard deviations of the annotator's own answers."""
NOTABLE_FIT_LOST = 0.15
"""The same for a drift away from the others: how much of the correlation with them is lost."""
OUTLYING = 0.05
"""Chance, of one test alone, below which an annotator no longer counts among the others' rest."""
CLEAR, CLEAR_DRIFT = 0.2, 0.5
"""Differences that `needs` speaks of: found four times in five."""
HABITS = 5
PAIRS = "pairs without a tie"
KNOWN = "known comparisons and good-or-bad answers"
FITS = "followed what the others' answers predict"
FIT_MOVED = "fit to the others moved by"


@dataclass(frozen=True)
class OutlierTest:
    """One annotator, one habit: the figure, that of the rest, and the chance of it by luck."""

    habit: Habit
    measure: str
    figure: Estimate
    baseline: Estimate | None
    p: float | None
    """None where there is nothing to test yet."""
    notable: bool
    needs: int
    """About how many of what the figure counts it takes to find a clear habit."""


@dataclass(frozen=True)
class CheckedAnswers:
    """Answers that are right or wrong: against a known answer, or one's own earlier one."""

    kind: Ints
    person: Ints
    prompt: Ints
    right: Floats


@dataclass(frozen=True)
class OutlierData:
    """What the tests look at."""

    said: JudgementTable
    """Everything that was said."""
    asked: JudgementTable
    """Each person's latest answer to each question, control tasks left out."""
    z: Floats
    """Of `asked`: the answer on the person's own scale."""
    expected: Floats
    """Of `asked`: what the others' answers predict, on the same scale; nan where nothing."""
    gold: CheckedAnswers
    repeats: CheckedAnswers

    @property
    def fit(self) -> Floats:
        """Of `asked`: the mean of this is the correlation with what the others predict."""
        return self.z * self.expected


Groups = tuple[Bools, Bools]
"""Rows of one annotator, and of those they are compared with."""


def run_tests(evidence: OutlierData, people: int) -> list[tuple[OutlierTest, ...]]:
    """All tests of every annotator, by their number."""
    said = evidence.said
    unequal = said.where((said.longer == 0) | (said.longer == 1))
    shown = said.where(~np.isnan(said.first))
    timed = said.where(~np.isnan(said.quick))
    # standard errors that a difference must measure to be found four times in five
    z = stats.norm.isf(FAMILY_ERROR / max(HABITS * people, 1) / 2) + stats.norm.ppf(0.8)
    needs, drift_needs = (math.ceil(z * z * k) for k in (0.25 / CLEAR**2, 4 / CLEAR_DRIFT**2))
    by_habit = [
        _test_everyone(people, lambda subject: _test_side(evidence, shown, subject, needs)),
        _test_everyone(people, lambda subject: _test_length(evidence, unequal, subject, needs)),
        _test_everyone(people, lambda subject: _test_care(evidence, subject, needs)),
        _test_everyone(people, lambda subject: _test_speed(timed, subject, needs)),
        _test_everyone(people, lambda subject: _test_drift(evidence, subject, drift_needs)),
    ]
    return list(zip(*by_habit, strict=True))


class Subject(NamedTuple):
    """Whom a test is about, and who does not count among the rest."""

    person: int
    aside: tuple[int, ...]

    def among(self, person: Ints) -> Groups:
        own = person == self.person
        return own, ~own & ~np.isin(person, self.aside)


def _test_everyone(people: int, test: Callable[[Subject], OutlierTest]) -> list[OutlierTest]:
    """The test of everybody, outliers not counting among the rest that others are compared with.

    Who stands out most is set aside, and the test repeated; never more than a third of the team.
    Two of a kind would hide each other: it takes less to be set aside than to be named.
    """
    aside: list[int] = []
    while True:
        done = [test(Subject(person, tuple(aside))) for person in range(people)]
        out = [
            (one.p, person)
            for person, one in enumerate(done)
            if person not in aside and one.notable and one.p is not None
        ]
        if not out or min(out)[0] > OUTLYING or len(aside) >= people // 3:
            return done
        aside.append(min(out)[1])


def _compare_shares(
    hits: Floats, prompt: Ints, groups: Groups, unit: str
) -> tuple[Estimate, Estimate]:
    own, rest = (share(hits[rows], prompt[rows], unit) for rows in groups)
    return own, rest


def _dealt_p(hits: Floats, groups: Groups, more: bool) -> float | None:
    """Chance of so many hits of one's own, or so few, were all answers dealt out at random.

    As many as there are count half (Lancaster 1961, "Significance tests in discrete
    distributions"): of few answers, the whole would hide what several signs say together.
    """
    if not all(rows.any() for rows in groups):
        return None
    (k, n), (others, more_n) = ((int(hits[rows].sum()), int(rows.sum())) for rows in groups)
    dealt = stats.hypergeom(n + more_n, k + others, n)
    beyond = dealt.sf(k) if more else dealt.cdf(k - 1)
    return float(beyond + dealt.pmf(k) / 2)


def _differs_notably(figure: Estimate, rest: Estimate, above: bool) -> bool:
    if figure.value is None or rest.value is None:
        return False
    return (figure.value - rest.value) * (1 if above else -1) >= NOTABLE


def _test_side(
    evidence: OutlierData, shown: JudgementTable, subject: Subject, needs: int
) -> OutlierTest:
    """Drawn to one side: further from even than chance, and than the others, both the same way."""
    groups = subject.among(shown.person)
    figure, rest = _compare_shares(shown.first, shown.prompt, groups, PAIRS)
    own, others = _lean_beyond_prediction(evidence, evidence.asked.first, subject)
    first = bool(own.sum() > 0)
    p = _welch_p(own, others) if first else _welch_p(others, own)
    if p is not None:
        # A mean so far from 0 by chance; the scatter is around 0, as it is where there is no pull.
        pull = abs(own.sum()) / max(math.sqrt(float((own**2).sum())), 1e-9)
        p = min(1.0, 2 * max(p, float(stats.norm.sf(pull))))
    notable = _differs_notably(figure, rest, first) and abs((figure.value or 0.5) - 0.5) >= NOTABLE
    return OutlierTest("side", "chose the side shown first", figure, rest, p, notable, needs)


def _test_length(
    evidence: OutlierData, unequal: JudgementTable, subject: Subject, needs: int
) -> OutlierTest:
    """Drawn to length more than the others, which together may be a taste; or away from length,
    which is more than not to look at it."""
    figure, rest = _compare_shares(
        unequal.longer, unequal.prompt, subject.among(unequal.person), PAIRS
    )
    longer = evidence.asked.longer
    own, others = _lean_beyond_prediction(
        evidence, np.where(longer == 0.5, np.nan, longer), subject
    )
    p, q = _welch_p(own, others), _welch_p(others, own)
    p, more = (None, True) if p is None or q is None else (min(1.0, 2 * min(p, q)), p < q)
    notable = _differs_notably(figure, rest, more) and (
        more or (figure.value or 0) <= 0.5 - NOTABLE
    )
    return OutlierTest("length", "chose the longer", figure, rest, p, notable, needs)


def _lean_beyond_prediction(
    evidence: OutlierData, chosen: Floats, subject: Subject
) -> tuple[Floats, Floats]:
    """How far each comparison went to a side beyond what the others' answers predict: of one
    annotator, and of the rest. chosen (N,) is 1 for that side, 0 for the other, else nan."""
    asked = evidence.asked
    toward = 2 * chosen - 1
    predicted = np.nan_to_num(evidence.expected * toward * (asked.code - TIE))
    seen = ~np.isnan(toward)
    # least squares through 0: an intercept would take away the very pull that is looked for
    slope = (predicted * toward)[seen].sum() / max(float((predicted[seen] ** 2).sum()), 1e-9)
    beyond = toward - slope * predicted
    own, rest = (beyond[rows & seen] for rows in subject.among(asked.person))
    return own, rest


def _welch_p(more: Floats, less: Floats) -> float | None:
    """Chance of a mean so far above another; None where there is too little to compare."""
    if min(len(more), len(less)) < MIN_ANSWERS or more.std() + less.std() < 1e-9:
        return None
    return welch(more, less)[0]


def _test_speed(table: JudgementTable, subject: Subject, needs: int) -> OutlierTest:
    """Mostly faster than anyone reads, and more often so than the others, if there are any."""
    groups = subject.among(table.person)
    figure, rest = _compare_shares(table.quick, table.prompt, groups, "timed answers")
    n, k = int(groups[0].sum()), int(table.quick[groups[0]].sum())
    p = float(stats.binomtest(k, n, alternative="greater").pvalue) if n else None
    against = _dealt_p(table.quick, groups, True)
    if p is not None and against is not None:
        p = max(p, against)
    notable = figure.value is not None and (
        rest.value is None or _differs_notably(figure, rest, True)
    )
    measure = "answered faster than anyone can read"
    return OutlierTest("quick", measure, figure, rest if rest.n else None, p, notable, needs)


class Sign(NamedTuple):
    """One of several that a test takes together."""

    figure: Estimate
    rest: Estimate
    p: float | None
    measure: str


def _combine_signs(signs: Sequence[Sign]) -> tuple[Sign, float | None]:
    """The clearest sign that has a figure to show, and the chance of all (Fisher's method)."""
    seen = [sign.p for sign in signs if sign.p is not None]
    clearest = min(signs, key=lambda s: (s.figure.value is None, 1.0 if s.p is None else s.p))
    return clearest, float(stats.combine_pvalues(np.maximum(seen, 1e-300)).pvalue) if seen else None


def _test_care(evidence: OutlierData, subject: Subject, needs: int) -> OutlierTest:
    """Fits what the others say less than they do, misses known answers, changes the own ones."""
    fit, seen = evidence.fit, ~np.isnan(evidence.fit)
    own, rest = (fit[rows & seen] for rows in subject.among(evidence.asked.person))
    # without ratings: one on a scale of one's own is no mistake
    rows = evidence.gold.kind != SCALAR
    gold = CheckedAnswers(*(column[rows] for column in vars(evidence.gold).values()))
    sign, p = _combine_signs(
        [
            Sign(mean(own, "answers"), mean(rest, "answers"), _welch_p(rest, own), FITS),
            _checked_sign(gold, subject, "gave the known answer", KNOWN),
            _checked_sign(
                evidence.repeats, subject, "gave the same answer when asked again", "repeats"
            ),
        ]
    )
    notable = _differs_notably(sign.figure, sign.rest, False)
    return OutlierTest("careless", sign.measure, sign.figure, sign.rest, p, notable, needs)


def _checked_sign(checked: CheckedAnswers, subject: Subject, measure: str, unit: str) -> Sign:
    groups = subject.among(checked.person)
    p = _dealt_p(checked.right, groups, False)
    return Sign(*_compare_shares(checked.right, checked.prompt, groups, unit), p, measure)


def _test_drift(evidence: OutlierData, subject: Subject, needs: int) -> OutlierTest:
    """Severer or milder than before on what the others find as good, or fitting them less; either
    more than chance, and more than the others changed."""
    asked, fit = evidence.asked, evidence.fit
    # how far each person's answers of a kind follow what is predicted
    key, seen = asked.person * 3 + asked.kind, ~np.isnan(fit)
    slopes = np.bincount(key, np.nan_to_num(fit)) / np.maximum(np.bincount(key, seen), 1)
    left = evidence.z - np.nan_to_num(slopes[key] * evidence.expected)
    seen &= ~np.isnan(asked.place)
    ratings, single = seen & (asked.kind == SCALAR), seen & (asked.kind == BINARY)
    signs = [
        Sign(*_compare_halves(asked.where(ratings), left[ratings], subject), "ratings moved by"),
        Sign(
            *_compare_halves(asked.where(single), left[single], subject),
            "good-or-bad answers moved by",
        ),
        Sign(*_compare_halves(asked.where(seen), fit[seen], subject, fall=True), FIT_MOVED),
    ]
    sign, p = _combine_signs(signs)
    least = NOTABLE_FIT_LOST if sign.measure == FIT_MOVED else NOTABLE_DRIFT
    notable = abs(sign.figure.value or 0) >= least and sign.rest.value is not None
    return OutlierTest("drift", sign.measure, sign.figure, sign.rest, p, notable, needs)


def _compare_halves(
    table: JudgementTable, x: Floats, subject: Subject, fall: bool = False
) -> tuple[Estimate, Estimate, float | None]:
    """The person's change from half to half, the others', and the chance of the person's trend.

    The larger of two chances: that of a trend at all, and that of one so different. A straight
    line through all answers wastes less than a comparison of halves.
    """
    groups = subject.among(table.person)
    halves = ((x[rows & ~table.late], x[rows & table.late]) for rows in groups)
    figure, rest = (change(early, late, "answers") for early, late in halves)
    if figure.value is None or rest.value is None:
        return figure, rest, None
    # least squares: by how much x changes from first to last, and the standard error of that
    own, others = (stats.linregress(table.place[rows], x[rows]) for rows in groups)
    if own.stderr < 1e-6:
        return figure, rest, 1.0
    apart = (own.slope - others.slope) / math.hypot(own.stderr, others.stderr)
    scores = own.slope / own.stderr, apart
    if fall:
        return figure, rest, float(stats.norm.cdf(max(scores)))
    if scores[0] * scores[1] < 0:
        return figure, rest, 1.0
    return figure, rest, float(2 * stats.norm.sf(min(abs(score) for score in scores)))
