"""The report on quality as lines of text, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from data.quality import Person, Quality, warnings
from data.stats.estimate import (
    NOT_RECORDED,
    Estimate,
    Style,
    format_estimate,
    format_value,
    text_table,
)


def quality_lines(quality: Quality) -> list[str]:
    """The team's figures, the annotators beside each other, the models, and what to look at."""
    if not quality.people:
        return []
    found = ["how far the judgements can be trusted (95% intervals)"]
    team = [(name, *_with_n(figure, style), figure.unit) for name, style, figure in _team(quality)]
    found += text_table(("", "figure", "n", "of"), team)
    found += ["", *textwrap.wrap(quality.ceiling.sentence, 100, subsequent_indent="  ")]
    for head, rows in _tables(quality):
        if rows:
            found += ["", *text_table(head, rows)]
    named = warnings(quality)
    if not named:
        return [*found, "", "Nobody stands out from the rest of the team by more than chance."]
    found += ["", "To look at:"]
    for warning in named:
        said = f"{warning.kind}: {warning.sentence}"
        found += textwrap.wrap(said, 100, subsequent_indent="  ")
    return found


def _team(quality: Quality) -> list[tuple[str, Style, Estimate]]:
    team, agreement, alphas = quality.team, quality.team.agreement, quality.team.alphas
    return [
        ("agreement on pairs, with ties", "share", agreement.with_ties),
        ("agreement on pairs, without ties", "share", agreement.without_ties),
        ("agreement on good or bad", "share", agreement.binary),
        ("agreement on ratings, the same", "share", agreement.scalar),
        ("agreement on ratings, within one", "share", agreement.scalar_within_one),
        ("alpha, pairs", "number", alphas.pairwise),
        ("alpha, pairs with strength", "number", alphas.strength),
        ("alpha, good or bad", "number", alphas.binary),
        ("alpha, ratings", "number", alphas.scalar),
        ("gold tasks right", "share", team.gold),
        ("same answer when asked again", "share", team.repeats),
        ("side shown first chosen", "share", team.shown_first),
        ("longer side chosen", "share", team.longer),
        ("ties", "share", team.ties),
        ("median time", "seconds", team.seconds),
        ("faster than anyone reads", "share", team.quick),
        ("fit to what others predict", "number", team.fit),
        ("ratings, later half less earlier", "change", team.drift.rating),
        ("the longer one wins", "share", quality.longer_wins),
        ("the longer one wins the majority", "share", quality.longer_wins_majority),
        ("the others' majority is right", "share", quality.ceiling.majority),
    ]


def _tables(quality: Quality) -> Iterator[tuple[Sequence[str], list[tuple[str, ...]]]]:
    """Head and rows of each table below the team's; one without rows is not shown."""
    head = ("annotator", "n", "fit", "known", "again", "first side", "longer", "quick", "time")
    yield head, [_person_row(person) for person in quality.people]
    yield (
        ("two annotators", "judgements", "Cohen's kappa", "n"),
        [
            (f"{k.first} and {k.second}", k.kind, *_with_n(k.figure, "number"))
            for k in quality.kappas
        ],
    )
    yield (
        ("of three or more annotators", "n", "most of them said"),
        [
            (m.kind, str(m.questions), ", ".join(f"{n} {name}" for name, n in m.counts.items()))
            for m in quality.majorities
            if m.questions
        ],
    )
    yield ("model", "good", "n"), [(m.model, *_with_n(m.acceptance)) for m in quality.models]
    yield (
        ("models", "first preferred", "n"),
        [(f"{p.first} v {p.second}", *_with_n(p.first_preferred)) for p in quality.model_pairs],
    )
    # what the first two annotators agreed on, and how often each model's answer was good
    yield (
        ("models", "alike on pairs", "n", "first good", "second good", "n", "alike on good", "n"),
        [
            (
                f"{pair.first} v {pair.second}",
                *(_with_half_width(pair.preference_agreement), str(pair.preference_agreement.n)),
                _with_half_width(pair.first_acceptance),
                *(_with_half_width(pair.second_acceptance), str(pair.second_acceptance.n)),
                *(_with_half_width(pair.acceptance_agreement), str(pair.acceptance_agreement.n)),
            )
            for pair in quality.model_pairs
        ],
    )


def _person_row(person: Person) -> tuple[str, ...]:
    f = person.figures
    return (
        textwrap.shorten(person.name, 24, placeholder="..."),
        str(f.judgements),
        _with_half_width(f.fit, "number"),
        *map(_with_half_width, (f.gold, f.repeats, f.shown_first, f.longer, f.quick)),
        _with_half_width(f.seconds, "seconds"),
    )


def _with_n(figure: Estimate, style: Style = "share") -> tuple[str, str]:
    """72% [65, 78] and its n, or what n it takes."""
    n = str(figure.n) if figure.needs is None else f"{figure.n} of about {figure.needs}"
    if figure.value is None:
        if figure.note.startswith(NOT_RECORDED):
            return NOT_RECORDED, ""
        return "not defined" if figure.note else "not enough data yet", n
    return format_estimate(figure, style, count=False), n


def _with_half_width(figure: Estimate, style: Style = "share") -> str:
    """The number and half the width of its interval."""
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    half = (figure.high - figure.low) / 2
    return f"{format_value(figure.value, style)} ±{format_value(half, style).rstrip('% s')}"
