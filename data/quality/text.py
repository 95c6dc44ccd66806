"""The report on quality as lines of text, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from data.quality import Quality, warnings
from data.quality.annotator_figures import Agreement, Figures
from data.quality.model_comparison import ModelPair
from data.stats.estimate import Estimate, Style, format_estimate, format_value

WIDTH = 100
Row = tuple[str, Style, Estimate]


def _format_cell(figure: Estimate, style: Style = "share") -> str:
    """72% [65, 78]; n and what it takes have columns of their own."""
    if figure.value is None:
        return "not defined" if figure.note else "not enough data yet"
    return format_estimate(figure, style, count=False)


def lines(quality: Quality) -> list[str]:
    """The team's figures, the annotators beside each other, the models, and what to look at."""
    if not quality.people:
        return []
    found = ["how far the judgements can be trusted (95% intervals)"]
    found += _write_text_table(("", "figure", "n", "of"), list(_team_rows(quality)))
    found += ["", *_wrap_text(quality.ceiling.sentence)]
    found += ["", *_write_text_table(("annotator", *_COLUMNS), list(_people_rows(quality)))]
    found += _kappas_and_majorities(quality)
    found += _model_lines(quality)
    return [*found, "", *_warning_lines(quality)]


def _warning_lines(quality: Quality) -> list[str]:
    named = warnings(quality)
    if not named:
        return ["Nobody stands out from the rest of the team by more than chance."]
    found = ["To look at:"]
    for warning in named:
        found += _wrap_text(f"{warning.kind}: {warning.sentence}")
    return found


def _team_rows(quality: Quality) -> Iterator[tuple[str, ...]]:
    team, agreement, alphas = quality.team, quality.team.agreement, quality.team.alphas
    rows: list[Row] = [
        *_agreement_rows(agreement),
        ("alpha, pairs", "number", alphas.pairwise),
        ("alpha, pairs with strength", "number", alphas.strength),
        ("alpha, good or bad", "number", alphas.binary),
        ("alpha, ratings", "number", alphas.scalar),
        *_other_rows(team),
        ("the longer one wins", "share", quality.longer_wins),
        ("the longer one wins the majority", "share", quality.longer_wins_majority),
        ("the others' majority is right", "share", quality.ceiling.majority),
    ]
    for name, style, figure in rows:
        yield name, _format_cell(figure, style), _format_n(figure), figure.unit


def _agreement_rows(agreement: Agreement) -> list[Row]:
    return [
        ("agreement on pairs, with ties", "share", agreement.with_ties),
        ("agreement on pairs, without ties", "share", agreement.without_ties),
        ("agreement on good or bad", "share", agreement.binary),
        ("agreement on ratings, the same", "share", agreement.scalar),
        ("agreement on ratings, within one", "share", agreement.scalar_within_one),
    ]


def _other_rows(team: Figures) -> list[Row]:
    return [
        ("known answers given", "share", team.gold),
        ("same answer when asked again", "share", team.repeats),
        ("side shown first chosen", "share", team.shown_first),
        ("longer side chosen", "share", team.longer),
        ("ties", "share", team.ties),
        ("median time", "seconds", team.seconds),
        ("faster than anyone reads", "share", team.quick),
        ("fit to what others predict", "number", team.fit),
        ("ratings, later half less earlier", "change", team.drift.rating),
    ]


def _format_n(figure: Estimate) -> str:
    return str(figure.n) if figure.needs is None else f"{figure.n} of about {figure.needs}"


_COLUMNS = ("n", "fit", "known", "again", "first side", "longer", "quick", "time")


def _people_rows(quality: Quality) -> Iterator[tuple[str, ...]]:
    for person in quality.people:
        f = person.figures
        shares = (f.gold, f.repeats, f.shown_first, f.longer, f.quick)
        cells = [_with_half_width(share) for share in shares]
        yield (
            textwrap.shorten(person.name, 24, placeholder="..."),
            str(f.judgements),
            _with_half_width(f.fit, "number"),
            *cells,
            _with_half_width(f.seconds, "seconds"),
        )


def _with_half_width(figure: Estimate, style: Style = "share") -> str:
    """The number and half the width of its interval."""
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    half = (figure.high - figure.low) / 2
    return f"{format_value(figure.value, style)} ±{format_value(half, style).rstrip('% s')}"


def _kappas_and_majorities(quality: Quality) -> list[str]:
    """Kappas, and what majorities said."""
    found = []
    if quality.kappas:
        two = [
            (
                f"{k.first} and {k.second}",
                k.kind,
                _format_cell(k.figure, "number"),
                _format_n(k.figure),
            )
            for k in quality.kappas
        ]
        found += [
            "",
            *_write_text_table(("two annotators", "judgements", "Cohen's kappa", "n"), two),
        ]
    several = [m for m in quality.majorities if m.questions]
    if several:
        counted = (", ".join(f"{n} {name}" for name, n in m.counts.items()) for m in several)
        rows = [(m.kind, str(m.questions), c) for m, c in zip(several, counted, strict=True)]
        found += [
            "",
            *_write_text_table(("of three or more annotators", "n", "most of them said"), rows),
        ]
    return found


def _model_lines(quality: Quality) -> list[str]:
    found = []
    if quality.models:
        rows = [
            (rate.model, _format_cell(rate.acceptance), _format_n(rate.acceptance))
            for rate in quality.models
        ]
        found += ["", *_write_text_table(("model", "good", "n"), rows)]
    if quality.model_pairs:
        pairs = [
            (
                f"{pair.first} v {pair.second}",
                _format_cell(pair.first_preferred),
                _format_n(pair.first_preferred),
            )
            for pair in quality.model_pairs
        ]
        found += ["", *_write_text_table(("models", "first preferred", "n"), pairs)]
        found += ["", *_model_pair_lines(quality.model_pairs)]
    return found


def _model_pair_lines(pairs: Sequence[ModelPair]) -> list[str]:
    """What the first two annotators agreed on, and how often each model's answer was good."""
    head = ("models", "alike on pairs", "n", "first good", "second good", "n", "alike on good", "n")
    rows = [
        (
            f"{pair.first} v {pair.second}",
            *(_with_half_width(pair.preference_agreement), str(pair.preference_agreement.n)),
            _with_half_width(pair.first_acceptance),
            *(_with_half_width(pair.second_acceptance), str(pair.second_acceptance.n)),
            *(_with_half_width(pair.acceptance_agreement), str(pair.acceptance_agreement.n)),
        )
        for pair in pairs
    ]
    return _write_text_table(head, rows)


def _wrap_text(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _write_text_table(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    cells = [tuple(head), *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    padded = ([cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in cells)
    return ["  ".join(row).rstrip() for row in padded]
