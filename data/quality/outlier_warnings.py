"""Which of the tests are worth a warning, and the sentence that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data.quality.outliers import FAMILY_ERROR, FIT_MOVED, FITS, Habit, OutlierTest
from data.stats.estimate import MIN_ANSWERS, Estimate, Style, format_estimate, format_value


@dataclass(frozen=True)
class Warning:
    """Something for a lead to look at."""

    annotator: str
    kind: Habit
    sentence: str
    figure: Estimate
    baseline: Estimate | None
    needs: int


def find_outliers(tested: Sequence[tuple[str, OutlierTest]]) -> list[Warning]:
    """Who stands out, of (annotator, test): Holm's correction over all tests, then what is large.

    S. Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    open_ones = [(name, test) for name, test in tested if test.p is not None]
    ordered = sorted(open_ones, key=lambda one: one[1].p or 0.0)
    warnings = []
    for i, (name, test) in enumerate(ordered):
        if (test.p or 0.0) > FAMILY_ERROR / (len(ordered) - i):
            break
        if test.notable and test.figure.n >= MIN_ANSWERS:
            sentence = _describe_outlier(name, test)
            figures = (test.figure, test.baseline, test.needs)
            warnings.append(Warning(name, test.habit, sentence, *figures))
    return sorted(warnings, key=lambda w: (w.annotator, w.kind))


def _describe_outlier(name: str, test: OutlierTest) -> str:
    """One sentence: the figure with its interval, then the rest of the team's."""
    f = test.figure
    style: Style = "share"
    if test.habit == "drift":
        unit = "of a correlation" if test.measure == FIT_MOVED else "standard deviations"
        number = format_estimate(f, "change", count=False)
        said = f"{name}'s {test.measure} {number} {unit} from the first half to the second"
        style, others = "change", "; the rest's by"
    elif test.measure == FITS:
        number = format_estimate(f, "number", count=False)
        said = f"{name} {test.measure} with a correlation of {number} on {f.n:,} {f.unit}"
        style, others = "number", "; the rest"
    else:
        number = format_estimate(f, count=False)
        said = f"{name} {test.measure} in {number} of {f.n:,} {f.unit}"
        others = "; the rest in"
    rest = test.baseline.value if test.baseline else None
    return said + ("." if rest is None else f"{others} {format_value(rest, style)}.")
