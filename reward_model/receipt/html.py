"""The receipt as one HTML file: nothing in it is loaded from elsewhere, light and dark.

Made from the dict alone; no torch here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from reward_model.receipt import plots
from reward_model.receipt.style import STYLE
from reward_model.receipt.wording import (
    BASELINES,
    MEASURES,
    OF,
    SHORT_SOURCES,
    SOURCES,
    TRAITS,
    Unit,
    amount,
    between,
    known,
    missing,
    people,
    written,
)

Dict = Mapping[str, Any]
KINDS = {"pairwise": "comparisons", "scalar": "ratings", "binary": "good or bad"}
MOST_CARDS = 200
"""Annotators shown, at most."""


def receipt_html(receipt: Dict) -> str:
    """The page."""
    body = "".join(
        [
            _head(receipt),
            _agreement(receipt),
            _length(receipt),
            _calibration(receipt),
            _learning(receipt),
            _policy(receipt),
            _measures(receipt),
            _annotators(receipt),
            _left_out(receipt),
            _facts(receipt),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Receipt of a reward model</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )


def _card(title: str, about: str, inside: str) -> str:
    return f'<section class="card"><h2>{title}</h2><p class="mute">{about}</p>{inside}</section>'


# -- the top


def _head(r: Dict) -> str:
    tone = {"beats": "good", "unsure": "warn", "loses": "bad"}.get(r["verdict"], "warn")
    used = ", ".join(f"{n:,} {KINDS[k]}" for k, n in r["judgements"].items() if n)
    people = r["annotators_count"]
    by = f"by {people:,} annotator{'s' if people != 1 else ''}" if people else ""
    return (
        f'<header><p class="mute small">Receipt of a reward model</p>'
        f'<p class="verdict {tone}">{escape(r["summary"])}</p>'
        f'<p class="mute small">Judgements: {used or "none"} {by}. {_explained(r)}</p></header>'
        f'<div class="tiles">{"".join(_tiles(r))}</div>'
    )


def _explained(r: Dict) -> str:
    prompts = r["held_out"]["prompts"]
    about = f"Measured on {SOURCES[r['headline']]}: {prompts:,} prompts. " if prompts else ""
    return (
        f"{about}A number in brackets is a 95% interval: with other prompts the figure would mostly"
        " be in it. n is how many judgements a figure rests on."
    )


def _tiles(r: Dict) -> Iterable[str]:
    compact, ceiling = r["held_out"], r["ceiling"]
    yield _tile("Picks the better one", compact["accuracy"], OF[compact["of"]])
    lead = compact["lead"]
    if known(lead):
        yield _tile("Best baseline", compact["baselines"][lead["over"]], BASELINES[lead["over"]])
    if ceiling and known(ceiling["at_least"]):
        low, high = ceiling["at_least"]["value"], ceiling["at_most"]["value"]
        yield _box("Human ceiling", f"{100 * low:.0f}–{100 * high:.0f}%",
                   "the best possible: people agree no better")  # fmt: skip
    else:
        n = ceiling["at_least"]["n"] if ceiling else 0
        yield _box("Human ceiling", "–", "not enough data yet: let several people judge the same"
                   f" pairs (n {n}, about 20 needed)")  # fmt: skip
    found = r.get("learning", {})
    if found.get("verdict") == "more":
        yield _box("More judgements", f"+{_short(found['more']['value'])}",
                   f"to {found['target']:.0%}, about")  # fmt: skip
    elif found.get("verdict") in ("flat", "ceiling"):
        yield _box("More judgements", "–", "would hardly help")


def _short(n: float) -> str:
    return f"{n:,.0f}" if n < 100 else f"{round(n, -len(str(int(n))) + 2):,.0f}"


def _tile(title: str, figure: Dict | None, about: str) -> str:
    if figure is None or not known(figure):
        return _box(title, "–", missing(figure))
    words = f"{between(figure, 'share')}, n {figure['n']:,}<br>{escape(about)}"
    return _box(title, amount(figure["value"], "share"), words)


def _box(title: str, big: str, about: str) -> str:
    return (
        f'<div class="card tile"><h3>{title}</h3><b class="big">{big}</b>'
        f'<p class="mute small">{about}</p></div>'
    )


# -- agreement and length


def _agreement(r: Dict) -> str:
    compact = r["held_out"]
    rows = [("<b>This reward model</b>", compact["accuracy"], "own")]
    other = "crossed" if r["headline"] == "held" else "held"
    if other in r["scores"]:
        name = "The head it started from" if other == "crossed" else "Released model, held out"
        rows.append((name, r["scores"][other]["accuracy"], "own"))
    ranked = sorted(compact["baselines"].items(), key=lambda two: -(two[1]["value"] or 0))
    rows += [(f"{BASELINES[n][:1].upper()}{BASELINES[n][1:]}", f, "") for n, f in ranked]
    ceiling = r["ceiling"]
    people = ""
    if ceiling:
        people = f'<p class="small">{escape(ceiling["sentence"])}</p>'
    return _card(
        "Does it agree with people?",
        f"How often it picks what people preferred, of {OF[compact['of']]}. It earns its keep above"
        " every yardstick below it; 50% is a coin.",
        f'<div class="forest">{"".join(_track(*row, r) for row in rows)}</div>{people}',
    )


def _track(name: str, figure: Dict | None, kind: str, r: Dict) -> str:
    """A dot with its interval on a line from 0 to 100%, the human ceiling as a stripe."""
    if figure is None or not known(figure):
        words = f'<span class="mute small wide">{missing(figure)}</span>'
        return f'<div class="line"><span>{name}</span>{words}</div>'
    low, high, value = (100 * figure[k] for k in ("low", "high", "value"))
    stripe, ceiling = "", r["ceiling"]
    if ceiling and known(ceiling["at_least"]):
        start, end = (100 * ceiling[k]["value"] for k in ("at_least", "at_most"))
        stripe = f'<i class="people" style="left:{start:.1f}%;width:{end - start:.1f}%"></i>'
    return (
        f'<div class="line"><span>{name}</span><span class="track {kind}">{stripe}'
        f'<i class="coin"></i>'
        f'<i class="range" style="left:{low:.1f}%;width:{high - low:.1f}%"></i>'
        f'<i class="spot" style="left:{value:.1f}%"></i></span>'
        f'<span class="small num">{written(figure, "share")}</span></div>'
    )


def _length(r: Dict) -> str:
    found = r.get("equal_length")
    if not found:
        return ""
    names = {
        "near": "Where both are about as long",
        "longer": "Where people preferred the longer",
        "shorter": "Where people preferred the shorter",
        "balanced": "<b>Mean of the last two</b>",
    }
    rows = "".join(
        _track(name, found[key], "own" if key in ("near", "balanced") else "", r)
        for key, name in names.items()
    )
    return _card(
        "Is it only length?",
        "A reward that only counts characters scores 50% in the first and the last line, whichever"
        " length it likes.",
        f'<div class="forest">{rows}</div><p class="small">{_length_words(found)}</p>',
    )


def _length_words(found: Dict) -> str:
    figure = found["balanced"] if known(found["balanced"]) else found["near"]
    if not known(figure):
        return "Not enough data yet to tell quality from length."
    if figure["low"] > 0.5:
        return "With length held fixed it still knows the better one: it is not length alone."
    return (
        "With length held fixed it is not shown to do better than a coin: it may be length alone."
    )


# -- calibration


def _calibration(r: Dict) -> str:
    found = r.get("calibration") or {}
    parts = []
    if "pairs" in found:
        parts.append(
            _plot(
                "The side it prefers",
                plots.reliability(found["pairs"]["bins"], 0.5, "How often that side was preferred"),
                found["pairs"],
            )
        )
    if "ties" in found:
        parts.append(_plot("Ties", plots.ties(found["ties"]["bins"]), found["ties"]))
    if "binary" in found:
        parts.append(_plot("Good or bad", plots.reliability(
            found["binary"]["bins"], 0.0, "How often good was said"), found["binary"]))  # fmt: skip
    if not parts:
        return ""
    return _card(
        "Can its confidence be trusted?",
        "Of what it calls 70% likely, about 70% should come true: dots on the dashed line. Each dot"
        " is as many judgements as the next, with its 95% interval.",
        f'<div class="plots">{"".join(parts)}</div>',
    )


def _plot(title: str, svg: str, found: Dict) -> str:
    ece, brier = found["ece"], found["brier"]
    return (
        f'<figure><figcaption><b>{title}</b></figcaption><p class="axis small mute">how often it'
        f' came true</p>{svg}<p class="small">{_trust(ece)}</p>'
        f'<p class="mute small">Brier score (mean squared error of a forecast, less is better):'
        f" {written(brier, 'number')}{_constant(brier)}.</p></figure>"
    )


def _trust(ece: Dict) -> str:
    if not known(ece):
        return f"Calibration: {missing(ece)}."
    by_chance = f"chance alone makes about {100 * ece['by_chance']:.0f}"
    words = (
        f"Off by {100 * ece['value']:.0f} points on average"
        f" ({between(ece, 'share')}; ECE {ece['value']:.3f}, n {ece['n']:,}); {by_chance}."
    )
    if ece["value"] <= ece["by_chance_high"]:
        return f"<b>Trustworthy as far as this can tell.</b> {words}"
    return f"<b>Off by more than chance.</b> {words}"


def _constant(figure: Dict) -> str:
    base = figure.get("baseline")
    return f"; {amount(base['value'], 'number')} with the same chances always" if base else ""


# -- more judgements, and the policy


def _learning(r: Dict) -> str:
    found = r.get("learning")
    if not found:
        return ""
    ceiling = r["ceiling"]
    people = None
    if ceiling and known(ceiling["at_least"]):
        people = (ceiling["at_least"]["value"], ceiling["at_most"]["value"])
    plot = ""
    if len([p for p in found["points"] if known(p)]) > 1:
        plot = plots.learning(found["points"], found["ahead"], people)
        plot = (
            '<div class="plots"><figure><p class="axis small mute">picks the better one</p>'
            f"{plot}</figure>{_points(found)}</div>"
        )
    return _card(
        "Would more judgements help?",
        "The head, learned anew from fewer and fewer prompts and asked about unseen ones; dashed,"
        " where the curve goes from here.",
        f"<p><b>{escape(found['sentence'])}</b></p>{plot}",
    )


def _points(found: Dict) -> str:
    rows = [
        [f"{p['judgements']:,}", written(p, "share", n=False), amount(p["log_loss"], "nats")]
        for p in found["points"]
    ]
    rows += [
        [f"{p['judgements']:,}", f"<i>{written(p, 'share', n=False)} foretold</i>", ""]
        for p in found["ahead"]
    ]
    return _table(("judgements", "picks the better one", "surprise a judgement"), rows)


def _policy(r: Dict) -> str:
    parts = [f"<p><b>{escape(r['spread']['sentence'])}</b></p>"]
    if known(r["spread"]["within"]):
        parts.append(_table(("", "standard deviation, in reward units"), [
            ["Between answers to one prompt", written(r["spread"]["within"], "number")],
            ["What the model is unsure of", written(r["spread"]["error"], "number")],
            ["Part of all differences that is within prompts",
             written(r["spread"]["share"], "share")],
        ]))  # fmt: skip
    figures = []
    if r["best_of_n"]:
        figures.append(
            "<figure><figcaption><b>Reward of the policy's best of n answers</b></figcaption>"
            '<p class="axis small mute">above one answer, in reward units</p>'
            f"{plots.best_of(r['best_of_n'], 0.0, share=False)}</figure>"
        )
    judged = r.get("judged_best_of_n")
    if judged:
        last = judged[-1]
        figures.append(
            "<figure><figcaption><b>What people say of the best of n</b></figcaption>"
            '<p class="axis small mute">preferred to another answer to the prompt</p>'
            f'{plots.best_of(judged, 0.5, share=True)}<p class="small">People prefer the best of'
            f" {last['best_of']}, by a reward that had not seen the prompt, in"
            f" {written(last, 'share')}; 50% is a random one.</p></figure>"
        )
    plot = f'<div class="plots">{"".join(figures)}</div>' if figures else ""
    return _card(
        "Can GRPO learn from it?",
        "GRPO compares answers to one prompt: if the reward hardly differs between them, or less"
        " than it is unsure of, there is nothing to climb. A reward unit is the standard deviation"
        " over the SFT policy's answers.",
        "".join(parts) + plot,
    )


# -- tables


def _measures(r: Dict) -> str:
    blocks = []
    for source, scores in r["scores"].items():
        rows = [_measure(key, scores[key]) for key in MEASURES if key in scores]
        head = ("", SHORT_SOURCES[source], "to beat", "ahead by")
        blocks.append(_table(head, rows, "stack"))
    return _card(
        "All figures",
        "Each beside what it must beat, and how far it is ahead of that on the same judgements;"
        " above 0 is ahead. Surprise is in nats.",
        "".join(blocks) or '<p class="mute">Not enough data yet: judge a second prompt.</p>',
    )


def _measure(key: str, figure: Dict) -> list[str]:
    words = MEASURES[key]
    name = f'{words.name}<br><span class="mute small">{words.about}</span>'
    base, lead = figure.get("baseline"), figure.get("lead")
    if not base or not known(lead) or lead is None:
        return [name, written(figure, words.unit), "", ""]
    below = f'<span class="mute small">{BASELINES[base["name"]]}</span>'
    against = f"{amount(base['value'], words.unit)}<br>{below}"
    return [name, written(figure, words.unit), against, _lead(lead, words.unit)]


def _lead(lead: Dict, unit: Unit) -> str:
    tone = "good" if lead["low"] > 0 else "bad" if lead["high"] < 0 else "warn"
    text = f"{amount(lead['value'], unit, signed=True)} {between(lead, unit, signed=True)}"
    return f'<span class="{tone}">{text}</span>'


def _annotators(r: Dict) -> str:
    if people(r):
        return _card("The annotators", people(r), "")
    cards = r.get("annotators") or []
    shown = [t for t in TRAITS if any(t in c["traits"] for c in cards)]
    if not cards or not shown:
        words = "Everybody was taken to judge alike." if cards else "Nobody has judged yet."
        return _card("The annotators", words, "")
    rows = [
        [escape(c["annotator"]), f"{sum(c['judgements'].values()):,}",
         *(_trait(c["traits"].get(t), t) for t in shown)]
        for c in cards[:MOST_CARDS]
    ]  # fmt: skip
    head = ["who", "judgements"]
    head += [f'{TRAITS[t][0]}<br><span class="mute">{TRAITS[t][1]}</span>' for t in shown]
    traits = [t for c in cards for t in c["traits"].values()]
    apart = sum(t["apart"] for t in traits)
    more = f" The {len(cards) - MOST_CARDS:,} nearest to the crowd are not shown." * (
        len(cards) > MOST_CARDS
    )
    return _card(
        "The annotators",
        "How each judges beside the crowd, furthest first. The model takes this into account; with"
        " few judgements it takes them for the crowd. Bold: the 95% interval leaves out the crowd."
        f" {apart} of {len(traits)} do; about {max(1, round(0.05 * len(traits)))} would by chance."
        + more,
        _table(head, rows, "people"),
    )


def _trait(trait: Dict | None, name: str) -> str:
    if trait is None:
        return "–"
    share = name in ("side", "threshold")
    value = amount(trait["value"], "share" if share else "number", signed=name == "offset")
    value += "" if share or name == "offset" else "×"
    value = f'<b class="warn">{value}</b>' if trait["apart"] else value
    interval = between(trait, "share" if share else "number", signed=name == "offset")
    return f'{value} <span class="mute small">{interval}<br>n {trait["n"]:,}</span>'


def _left_out(r: Dict) -> str:
    rows = [[escape(str(what)), f"{n:,}"] for what, n in r["dropped"].items()]
    inside = _table(("", "how many"), rows) if rows else '<p class="mute">Nothing.</p>'
    return _card("What was left out or cut", "Nothing is dropped without being counted.", inside)


def _facts(r: Dict) -> str:
    facts = {"objective": r["objective"], "tuning": r["tuning"], **r["facts"]}
    rows = [[escape(str(k)), escape(str(v))] for k, v in facts.items()]
    return _card(
        "How it was made",
        "Intervals are by a bootstrap over prompts: judgements of one prompt hang together.",
        _table(("", ""), rows),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls by itself where it is too wide."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    first = f"<thead><tr>{top}</tr></thead>" if any(head) else ""
    return f'<div class="scroll"><table class="{kind}">{first}<tbody>{body}</tbody></table></div>'
