"""The report on quality as lines of text, at most 100 columns wide."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence

from data.quality import Quality, warnings
from data.quality.annotator_figures import Agreement, Figures
from data.quality.model_comparison import ModelPair
from data.stats.intervals import Figure

WIDTH = 100
Shown = Callable[[Figure], str]


def percent(figure: Figure) -> str:
    """72% [65%, 78%], or how much is there of what it takes."""
    return _shown(figure, "{:.0%}")


def number(figure: Figure) -> str:
    return _shown(figure, "{:.2f}")


def seconds(figure: Figure) -> str:
    return _shown(figure, "{:.1f} s")


def moved(figure: Figure) -> str:
    return _shown(figure, "{:+.2f}")


def _shown(figure: Figure, form: str) -> str:
    if figure.value is None:
        return "not defined" if figure.note else "not enough data yet"
    value = form.format(figure.value)
    if figure.low is None or figure.high is None:
        return value
    return f"{value} [{form.format(figure.low)}, {form.format(figure.high)}]"


def lines(quality: Quality) -> list[str]:
    """The team's figures, the annotators beside each other, the models, and what to look at."""
    if not quality.people:
        return []
    found = ["how far the judgements can be trusted (95% intervals)"]
    found += _table(("", "figure", "n", "of"), list(_team(quality)))
    found += ["", *_wrapped(quality.ceiling.sentence)]
    found += ["", *_table(("annotator", *_COLUMNS), list(_people(quality)))]
    found += _two_by_two(quality)
    found += _models(quality)
    return [*found, "", *_warned(quality)]


def _warned(quality: Quality) -> list[str]:
    named = warnings(quality)
    if not named:
        return ["Nobody stands out from the rest of the team by more than chance."]
    found = ["To look at:"]
    for warning in named:
        found += _wrapped(f"{warning.kind}: {warning.sentence}")
    return found


def _team(quality: Quality) -> Iterator[tuple[str, ...]]:
    team, agreement, alphas = quality.team, quality.team.agreement, quality.team.alphas
    rows: list[tuple[str, Shown, Figure]] = [
        *_agreement(agreement),
        ("alpha, pairs", number, alphas.pairwise),
        ("alpha, pairs with strength", number, alphas.strength),
        ("alpha, good or bad", number, alphas.binary),
        ("alpha, ratings", number, alphas.scalar),
        *_alone(team),
        ("the longer one wins", percent, quality.longer_wins),
        ("the longer one wins the majority", percent, quality.longer_wins_majority),
        ("the others' majority is right", percent, quality.ceiling.majority),
    ]
    for name, shown, figure in rows:
        yield name, shown(figure), _count(figure), figure.unit


def _agreement(agreement: Agreement) -> list[tuple[str, Shown, Figure]]:
    return [
        ("agreement on pairs, with ties", percent, agreement.with_ties),
        ("agreement on pairs, without ties", percent, agreement.without_ties),
        ("agreement on good or bad", percent, agreement.binary),
        ("agreement on ratings, the same", percent, agreement.scalar),
        ("agreement on ratings, within one", percent, agreement.scalar_within_one),
    ]


def _alone(team: Figures) -> list[tuple[str, Shown, Figure]]:
    return [
        ("known answers given", percent, team.gold),
        ("same answer when asked again", percent, team.repeats),
        ("side shown first chosen", percent, team.shown_first),
        ("longer side chosen", percent, team.longer),
        ("ties", percent, team.ties),
        ("median time", seconds, team.seconds),
        ("faster than anyone reads", percent, team.quick),
        ("fit to what others foretell", number, team.fit),
        ("ratings, later half less earlier", moved, team.drift.rating),
    ]


def _count(figure: Figure) -> str:
    return str(figure.n) if figure.needs is None else f"{figure.n} of about {figure.needs}"


_COLUMNS = ("n", "fit", "known", "again", "first side", "longer", "quick", "time")


def _people(quality: Quality) -> Iterator[tuple[str, ...]]:
    for person in quality.people:
        f = person.figures
        shares = (f.gold, f.repeats, f.shown_first, f.longer, f.quick)
        cells = [_bare(share, "{:.0%}") for share in shares]
        yield (
            textwrap.shorten(person.name, 24, placeholder="..."),
            str(f.judgements),
            _bare(f.fit, "{:.2f}"),
            *cells,
            _bare(f.seconds, "{:.1f} s"),
        )


def _bare(figure: Figure, form: str) -> str:
    """The number and half the width of its interval."""
    if figure.value is None or figure.low is None or figure.high is None:
        return "-"
    half = (figure.high - figure.low) / 2
    return f"{form.format(figure.value)} ±{form.format(half).rstrip('% s')}"


def _two_by_two(quality: Quality) -> list[str]:
    """Kappas, and what majorities said."""
    found = []
    if quality.kappas:
        two = [
            (f"{k.first} and {k.second}", k.kind, number(k.figure), _count(k.figure))
            for k in quality.kappas
        ]
        found += ["", *_table(("two annotators", "judgements", "Cohen's kappa", "n"), two)]
    several = [m for m in quality.majorities if m.questions]
    if several:
        counted = (", ".join(f"{n} {name}" for name, n in m.counts.items()) for m in several)
        rows = [(m.kind, str(m.questions), c) for m, c in zip(several, counted, strict=True)]
        found += ["", *_table(("of three or more annotators", "n", "most of them said"), rows)]
    return found


def _models(quality: Quality) -> list[str]:
    found = []
    if quality.models:
        rows = [
            (rate.model, percent(rate.acceptance), _count(rate.acceptance))
            for rate in quality.models
        ]
        found += ["", *_table(("model", "good", "n"), rows)]
    if quality.model_pairs:
        pairs = [
            (
                f"{pair.first} v {pair.second}",
                percent(pair.first_preferred),
                _count(pair.first_preferred),
            )
            for pair in quality.model_pairs
        ]
        found += ["", *_table(("models", "first preferred", "n"), pairs)]
        found += ["", *_compared(quality.model_pairs)]
    return found


def _compared(pairs: Sequence[ModelPair]) -> list[str]:
    """What the first two annotators agreed on, and how often each model's answer was good."""
    head = ("models", "alike on pairs", "n", "first good", "second good", "n", "alike on good", "n")
    rows = [
        (
            f"{pair.first} v {pair.second}",
            *(_bare(pair.preference_agreement, "{:.0%}"), str(pair.preference_agreement.n)),
            _bare(pair.first_acceptance, "{:.0%}"),
            *(_bare(pair.second_acceptance, "{:.0%}"), str(pair.second_acceptance.n)),
            *(_bare(pair.acceptance_agreement, "{:.0%}"), str(pair.acceptance_agreement.n)),
        )
        for pair in pairs
    ]
    return _table(head, rows)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")


def _table(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    cells = [tuple(head), *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    padded = ([cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in cells)
    return ["  ".join(row).rstrip() for row in padded]
