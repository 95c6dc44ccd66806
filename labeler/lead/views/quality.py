"""What the Quality tab says, as HTML made from `python -m data stats --json`. Nothing of Gradio."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from data.stats.estimate import (
    Style,
    format_estimate,
    format_interval,
    format_missing,
    format_value,
)
from labeler.lead.quality_worker import QualityResult
from labeler.lead.snapshot import JsonMapping
from labeler.rendering import note, refusal, render_macro

TextRow = tuple[str, str]

StyledRows = tuple[tuple[str, str, Style], ...]
"""Path of a figure, words, how it is written."""
TEAM: StyledRows = (
    ("agreement.without_ties", "Agreement on comparisons, ties left out", "share"),
    ("agreement.with_ties", "Agreement on comparisons, ties included", "share"),
    ("agreement.binary", "Agreement on good/bad", "share"),
    ("agreement.scalar", "Agreement on 1 to 10, the same number", "share"),
    ("agreement.scalar_within_one", "Agreement on 1 to 10, within one", "share"),
    ("alphas.pairwise", "Krippendorff's alpha, comparisons (nominal)", "number"),
    ("alphas.strength", "Krippendorff's alpha, how much better (ordinal)", "number"),
    ("alphas.binary", "Krippendorff's alpha, good/bad (nominal)", "number"),
    ("alphas.scalar", "Krippendorff's alpha, 1 to 10 (ordinal)", "number"),
    ("repeats", "Consistency: the same answer when asked again", "share"),
    ("gold", "Gold tasks: the known answer was given", "share"),
    ("shown_first", "Position bias: the side shown first was chosen", "share"),
    ("longer", "Length preference: the longer side was chosen", "share"),
    ("ties", "Ties", "share"),
    ("seconds", "Median seconds per answer", "seconds"),
    ("quick", "Too quick: faster than anyone reads", "share"),
)
PERSON: StyledRows = (
    ("agreement.without_ties", "agrees with others", "share"),
    ("repeats", "with themselves", "share"),
    ("gold", "on gold tasks", "share"),
    ("shown_first", "shown first", "share"),
    ("longer", "the longer", "share"),
    ("seconds", "seconds", "seconds"),
    ("quick", "too quick", "share"),
)
DRIFT: StyledRows = (
    ("drift.rating", "Drift of ratings: later half minus earlier half", "number"),
    ("drift.good", "Drift of good/bad: share of good, later half minus earlier half", "number"),
    ("drift.agreement", "Drift of agreement: later half minus earlier half", "number"),
    ("drift.pace", "Drift of pace: time per task, later half over earlier half", "number"),
)
SOME = """With so few judgements only a strong habit would show; docs/results.md says what is found
after how many."""


def quality_html(found: QualityResult) -> str:
    """Warnings, the human ceiling, the team's figures, everybody's, the models'."""
    if found.figures is None:
        if found.trouble:
            return refusal(ValueError(found.trouble))
        return note("The figures are being computed: this takes a few seconds.")
    figures: JsonMapping = found.figures["quality"]
    people, longer = figures["people"], figures["longer_wins"]
    longer_right = "" if longer["value"] is None else format_estimate(longer)
    called_good = [(m["model"], figure_html(m["acceptance"], "share")) for m in figures["models"]]
    parts = [
        "" if found.current else note("More was judged since: the figures are being renewed."),
        refusal(ValueError(found.trouble)) if found.trouble else "",
        render_macro("quality", "warnings", found.figures["warnings"], nobody_stands_out(people)),
        render_macro("quality", "ceiling", figures["ceiling"]["sentence"], longer_right),
        render_macro("quality", "team", *_table_of(figures["team"], TEAM)),
        annotators_html(people),
        render_macro("quality", "models", called_good),
    ]
    return render_macro("quality", "stack", parts)


def nobody_stands_out(people: Iterable[JsonMapping]) -> str:
    """Why nobody is named: nobody stands out, or there is too little to tell."""
    tests = [test for person in people for test in person["tests"]]
    if all(test["figure"]["value"] is None for test in tests):
        return "Not enough data yet to tell whether anybody stands out."
    said = "Nobody stands out from the rest of the team by more than chance."
    figures = [(test["figure"]["n"], test["needs"]) for test in tests]
    least = min((n / needs for n, needs in figures if n), default=0)
    return said if least >= 1 else f"{said} {SOME}"


def _table_of(figures: JsonMapping, rows: StyledRows) -> tuple[str, list[TextRow]]:
    """The table's head, and each figure with its words."""
    head = f"{figures['judgements']:,} judgements"
    return head, [(words, figure_html(figure_at(figures, path), how)) for path, words, how in rows]


def annotators_html(people: Sequence[JsonMapping]) -> str:
    """The figures of each annotator that tell them apart; all of them in folds."""
    rows = []
    for person in people:
        figures = person["figures"]
        cells = [figure_html(figure_at(figures, path), how, True) for path, _, how in PERSON]
        rows.append((person["name"], f"{figures['judgements']:,}", *cells))
    head = ("annotator", "judgements", *(words for _, words, _ in PERSON))
    details = [(p["name"], *_table_of(p["figures"], (*TEAM, *DRIFT))) for p in people]
    return render_macro("quality", "people", head, rows, details)


def figure_html(figure: JsonMapping, how: Style, short: bool = False) -> str:
    """A figure with its interval and n, or what it still needs."""
    if figure["value"] is None:
        needs = f"{figure['n']:,} of about {figure['needs']:,}" if figure["needs"] else ""
        if short:
            return render_macro("quality", "missing", needs or "–")
        why = f"not enough data yet: {needs} {figure['unit']}" if needs else format_missing(figure)
        return render_macro("quality", "missing", why)
    unit = "" if short else f" {figure['unit']}"
    value, interval = format_value(figure["value"], how), format_interval(figure, how)
    return render_macro("quality", "figure", value, interval, f"{figure['n']:,}", unit, short)


def gold_html(found: QualityResult) -> str:
    """How many gold tasks there are, and how many more could be."""
    if found.figures is None:
        return ""
    known, more = len(found.figures["gold"]), found.figures["agreed"]
    return render_macro("quality", "gold", f"{known:,}", f"{more:,}")


def gold_choices(found: QualityResult) -> list[tuple[str, str]]:
    """Gold tasks to choose from, the most doubtful first."""
    if found.figures is None:
        return []
    doubtful = sorted(found.figures["gold"], key=lambda g: g["right"] / g["n"] if g["n"] else 1.0)
    return [
        (f"{gold['right']} of {gold['n']} gave {gold['value']!r}: {gold['about']}", gold["task"])
        for gold in doubtful
    ]


def figure_at(values: JsonMapping, path: str) -> JsonMapping:
    """The figure at a dotted path."""
    for name in path.split("."):
        values = values[name]
    return values
