"""What the Quality tab says, as HTML made from `python -m data stats --json`. Nothing of Gradio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labeler.lead.quality_worker import Found
from labeler.lead.views.home import note, refusal, table_html
from labeler.safe_html.markdown import escape

Values = Mapping[str, Any]

# key (with a dot into what it belongs to), words, how it is written
TEAM = (
    ("agreement.without_ties", "Agreement on comparisons, ties left out", "share"),
    ("agreement.with_ties", "Agreement on comparisons, ties included", "share"),
    ("agreement.binary", "Agreement on good/bad", "share"),
    ("agreement.scalar", "Agreement on 1 to 10, the same number", "share"),
    ("agreement.scalar_within_one", "Agreement on 1 to 10, within one", "share"),
    ("alphas.pairwise", "Krippendorff's alpha, comparisons (nominal)", "number"),
    ("alphas.strength", "Krippendorff's alpha, how much better (ordinal)", "number"),
    ("alphas.binary", "Krippendorff's alpha, good/bad (nominal)", "number"),
    ("alphas.scalar", "Krippendorff's alpha, 1 to 10 (ordinal)", "number"),
    ("repeats", "The same answer when asked again", "share"),
    ("gold", "Known answers given", "share"),
    ("shown_first", "The side shown first was chosen", "share"),
    ("longer", "The longer side was chosen", "share"),
    ("ties", "Called a tie", "share"),
    ("seconds", "Seconds an answer, median", "seconds"),
    ("quick", "Answered faster than anyone reads", "share"),
)
PERSON = (
    ("agreement.without_ties", "agrees with others", "share"),
    ("repeats", "with themselves", "share"),
    ("gold", "with known answers", "share"),
    ("shown_first", "shown first", "share"),
    ("longer", "the longer", "share"),
    ("seconds", "seconds", "seconds"),
    ("quick", "too quick", "share"),
)
DRIFT = (
    ("drift.rating", "Ratings, later half less the earlier", "number"),
    ("drift.good", "Share of good, later half less the earlier", "number"),
    ("drift.agreement", "Agreement, later half less the earlier", "number"),
    ("drift.pace", "Time a task, later half over the earlier", "number"),
)
SOME = """With so few judgements only a strong habit would show; the README says what is found
after how many."""
TEAM_KEY = """In brackets: the 95% interval; n: what the figure is taken over. Alpha is agreement
beyond chance: 1 is full, 0 is what guessing would give. A coin decides which side of a pair comes
first, so 50% is even; a pull to the longer side may be taste."""
PEOPLE_KEY = """Of comparisons, ties left out: agrees with others; the side shown first was chosen;
the longer was chosen. Too quick: faster than anyone reads."""
WRITTEN = {"share": (100, 0), "number": (1, 2), "seconds": (1, 1)}
"""How a figure is written: times what, with how many digits."""


def quality_html(found: Found) -> str:
    """Warnings, the human ceiling, the team's figures, everybody's, the models'."""
    if found.figures is None:
        if found.trouble:
            return refusal(ValueError(found.trouble))
        return note("The figures are being worked out: a few seconds.")
    figures: Values = found.figures["quality"]
    parts = [
        "" if found.current else note("More was judged since: the figures are being renewed."),
        refusal(ValueError(found.trouble)) if found.trouble else "",
        warnings_html(found.figures["warnings"], figures),
        ceiling_html(figures),
        team_html(figures),
        people_html(figures["people"]),
        models_html(figures["models"]),
    ]
    return f'<div class="stack">{"".join(parts)}</div>'


def warnings_html(found: Iterable[Values], figures: Values) -> str:
    """Who stands out. Nobody is banned: a lead looks, asks, and decides."""
    rows = "".join(
        f'<li><b>{escape(w["annotator"])}</b> <span class="pill warn">{escape(w["kind"])}</span>'
        f"<div>{escape(w['sentence'])}</div></li>"
        for w in found
    )
    if rows:
        said = f'<ul class="plain">{rows}</ul>'
        about = "Nothing is done about it: look, ask, and decide."
    else:
        said, about = "", nobody(figures["people"])
    return f'<div class="card"><h3>Worth a look</h3>{said}<p class="mute small">{about}</p></div>'


def nobody(people: Iterable[Values]) -> str:
    """Why nobody is named: nobody stands out, or there is too little to tell."""
    tests = [test for person in people for test in person["tests"]]
    if all(test["figure"]["value"] is None for test in tests):
        return "Not enough data yet to tell whether anybody stands out."
    said = "Nobody stands out from the rest of the team by more than chance."
    least = min(test["figure"]["n"] / test["needs"] for test in tests)
    return said if least >= 1 else f"{said} {SOME}"


def ceiling_html(figures: Values) -> str:
    """What a reward model could reach, beside what the longer one reaches."""
    longer = figures["longer_wins"]
    beside = (
        f'<p class="mute small">"The longer one is better" is right about {written(longer)}.</p>'
        if longer["value"] is not None
        else ""
    )
    text = escape(figures["ceiling"]["sentence"])
    return f'<div class="card"><h3>Human ceiling</h3><p>{text}</p>{beside}</div>'


def team_html(figures: Values) -> str:
    """Every figure of the team with its interval and n."""
    team = figures["team"]
    rows = [(words, figure_html(pick(team, key), how)) for key, words, how in TEAM]
    head = ("", f"{team['judgements']:,} judgements")
    return f'<div class="card"><h3>The team</h3>{table_html(head, rows)}{_key(TEAM_KEY)}</div>'


def _key(text: str) -> str:
    return f'<p class="mute small">{text}</p>'


def people_html(people: Sequence[Values]) -> str:
    """The same of each annotator, as far as it tells them apart."""
    rows = [
        (
            escape(person["name"]),
            f"{person['figures']['judgements']:,}",
            *(figure_html(pick(person["figures"], key), how, short=True) for key, _, how in PERSON),
        )
        for person in people
    ]
    if not rows:
        return (
            '<div class="card"><h3>Annotators</h3><p class="mute">Nobody has judged yet.</p></div>'
        )
    head = ("annotator", "judgements", *(words for _, words, _ in PERSON))
    details = "".join(map(_details, people))
    table = f"{table_html(head, rows)}{_key(PEOPLE_KEY)}"
    return f'<div class="card people"><h3>Annotators</h3>{table}{details}</div>'


def _details(person: Values) -> str:
    """All figures of one annotator, folded away."""
    figures = person["figures"]
    rows = [(words, figure_html(pick(figures, key), how)) for key, words, how in (*TEAM, *DRIFT)]
    table = table_html(("", f"{figures['judgements']:,} judgements"), rows)
    return f"<details><summary>{escape(person['name'])}, every figure</summary>{table}</details>"


def models_html(models: Iterable[Values]) -> str:
    """How often what each model wrote was called good."""
    rows = [(escape(m["model"]), figure_html(m["acceptance"], "share")) for m in models]
    if not rows:
        return ""
    return f'<div class="card"><h3>Called good</h3>{table_html(("model", ""), rows)}</div>'


def figure_html(figure: Values, how: str, short: bool = False) -> str:
    """A figure with its interval and n, or what it still needs."""
    if figure["value"] is None:
        needs = f"{figure['n']:,} of about {figure['needs']:,}" if figure["needs"] else ""
        if short:
            return f'<span class="mute small">{needs or "–"}</span>'
        why = f"{needs} {escape(figure['unit'])}" if needs else escape(figure["note"])
        return f'<span class="mute small">not enough data yet: {why}</span>'
    gap, unit = ("<br>", "") if short else (" ", f" {escape(figure['unit'])}")
    about = f"{_interval(figure, how)}{gap}n {figure['n']:,}{unit}"
    return f'<span class="figure">{_number(figure["value"], how)} <small>{about}</small></span>'


def written(figure: Values) -> str:
    """A share in running text."""
    return f"{_number(figure['value'], 'share')} {_interval(figure, 'share')}, n {figure['n']:,}"


def gold_html(found: Found) -> str:
    """How many known answers there are, and how many more could be."""
    if found.figures is None:
        return ""
    known, more = len(found.figures["gold"]), found.figures["agreed"]
    return f"<p>{known:,} in use; {more:,} more tasks have three or more answers, all alike.</p>"


def gold_choices(found: Found) -> list[tuple[str, str]]:
    """Known answers to choose from, the most doubtful first."""
    if found.figures is None:
        return []

    def doubt(known: Values) -> float:
        return float(known["right"] / known["n"]) if known["n"] else 1.0

    return [
        (
            f"{known['right']} of {known['n']} gave {known['value']!r}: {known['about']}",
            known["task"],
        )
        for known in sorted(found.figures["gold"], key=doubt)
    ]


def pick(values: Values, path: str) -> Values:
    """The figure at a dotted path."""
    for name in path.split("."):
        values = values[name]
    return values


def _number(value: float, how: str) -> str:
    scale, digits = WRITTEN[how]
    return f"{scale * value:.{digits}f}{'%' if how == 'share' else ''}"


def _interval(figure: Values, how: str) -> str:
    low, high = figure["low"], figure["high"]
    if low is None or high is None:
        return ""
    scale, digits = WRITTEN[how]
    return f"[{scale * low:.{digits}f}, {scale * high:.{digits}f}]"
