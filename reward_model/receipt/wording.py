"""The words of the receipt: names, one-line explanations and numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Unit = Literal["share", "number", "nats", "points"]
BASELINES = {
    "longer": "always the longer",
    "shorter": "always the shorter",
    "first": "always the one shown first",
    "prompt": "the prompt alone",
    "words": "the words alone (TF-IDF)",
    "constant": "the same chances always",
}
SOURCES = {
    "held": "the released model, on prompts held out from its training",
    "crossed": "the head, on prompts left out of its fit in turn (cross-validation)",
}
SHORT_SOURCES = {"held": "Released model", "crossed": "Head, cross-validated"}
OF = {
    "comparisons": "comparisons",
    "ratings": "pairs that one annotator rated differently",
    "good or bad": "pairs of which one annotator called one good and the other bad",
}


@dataclass(frozen=True)
class Words:
    """How a measure is named, explained and written."""

    name: str
    about: str
    unit: Unit
    higher: bool = True
    """More is better."""


MEASURES = {
    "accuracy": Words(
        "Picks the better one",
        "How often the completion that people preferred has the higher reward, ties apart.",
        "share",
    ),
    "three_way": Words(
        "Foretells a, b or tie",
        "How often the likeliest of the three answers is the one that was given.",
        "share",
    ),
    "log_loss": Words(
        "Surprise at comparisons",
        "Log-loss, ties apart: being sure and wrong costs most. A coin scores 0.69.",
        "nats",
        False,
    ),
    "log_loss_ties": Words(
        "Surprise, ties counted",
        "Log-loss over a, b and tie. Guessing among the three scores 1.10.",
        "nats",
        False,
    ),
    "spearman_within": Words(
        "Orders ratings of one prompt",
        "Spearman's rank correlation within a prompt: 1 is the same order, 0 none.",
        "number",
    ),
    "spearman": Words(
        "Orders all ratings",
        "The same over all prompts, where knowing easy prompts from hard ones helps too.",
        "number",
    ),
    "rating_error": Words(
        "Misses a rating by", "Mean distance of the foretold rating from the given one.", "points",
        False,
    ),
    "rating_log_loss": Words(
        "Surprise at ratings", "Log-loss over 1 to 10. Guessing scores 2.30.", "nats", False
    ),
    "auc_within": Words(
        "Tells good from bad, one prompt",
        "AUC within a prompt: how often a good completion has more reward than a bad one.",
        "share",
    ),
    "auc": Words(
        "Tells good from bad, all prompts",
        "AUC: how often any good completion has more reward than any bad one.",
        "share",
    ),
    "good_log_loss": Words(
        "Surprise at good or bad", "Log-loss. A coin scores 0.69.", "nats", False
    ),
}  # fmt: skip

TRAITS = {
    "consistency": ("Consistency", "times the crowd's; near 0 is guessing"),
    "side": ("Takes the first", "of two equally good completions"),
    "threshold": ("Says good", "where the crowd does every other time"),
    "scale": ("Stretch", "of the rating scale, times the crowd's"),
    "offset": ("Rates", "points above or below the crowd"),
}


CALIBRATED = {"pairs": "the side it prefers", "ties": "ties", "binary": "good or bad"}
ONE_PERSON = (
    "One person judged everything: this is one taste, and nothing here says how far others share"
    " it."
)


def known(figure: Mapping[str, Any] | None) -> bool:
    """There is a number in it."""
    return bool(figure) and figure is not None and figure.get("value") is not None


def missing(figure: Mapping[str, Any] | None) -> str:
    """What a figure without a number still needs."""
    if not figure or "needs" not in figure:
        return "not enough data yet"
    n, prompts = figure["n"], figure["prompts"]
    if n < figure["needs"]:
        return f"not enough data yet (n {n:,}, about {figure['needs']} needed)"
    if prompts < figure["needs_prompts"]:
        return f"not enough data yet ({prompts} prompts, about {figure['needs_prompts']} needed)"
    return "not defined: all the same"


def amount(value: float, unit: Unit, signed: bool = False) -> str:
    """A number in its unit: 71%, 0.43, 1.2 points."""
    plus = "+" if signed else ""
    if unit == "share":
        return f"{100 * value:{plus}.0f}%"
    text = f"{value:{plus}.2f}"
    return text + {"number": "", "nats": "", "points": " points"}[unit]


def between(figure: Mapping[str, Any], unit: Unit, signed: bool = False) -> str:
    """The 95% interval: [66, 75]."""
    scale, plus = (100 if unit == "share" else 1), "+" if signed else ""
    digits = 0 if unit == "share" else 2
    low, high = (f"{scale * figure[end]:{plus}.{digits}f}" for end in ("low", "high"))
    return f"[{low}, {high}]"


def written(figure: Mapping[str, Any] | None, unit: Unit, n: bool = True) -> str:
    """A figure in full: "71% [66, 75], n 184"."""
    if figure is None or not known(figure):
        return missing(figure)
    count = f", n {figure['n']:,}" if n else ""
    return f"{amount(figure['value'], unit)} {between(figure, unit)}{count}"


def summary(compact: Mapping[str, Any], it: str = "It") -> str:
    """One sentence: whether the rewards say more than a baseline does, the numbers after it.

    `it` names what the numbers are about.
    """
    found, lead = compact["accuracy"], compact["lead"]
    of = OF[compact["of"]]
    if not known(found) or not known(lead):
        if not found or not found["n"]:
            return (
                "Nothing to check it by yet: no two completions of a prompt were judged apart."
                " Judge more prompts."
            )
        return f"It is not known yet whether it beats its baselines: {missing(found)}, of {of}."
    best, name = compact["baselines"][lead["over"]], BASELINES[lead["over"]]
    against = (
        f"right about {written(found, 'share')} {of} of unseen prompts,"
        f" against {amount(best['value'], 'share')} for {name}"
    )
    ahead = f"ahead by {100 * lead['value']:.0f} points {between(lead, 'share')}"
    if lead["low"] > 0:
        return f"{it} beats every baseline: {against} ({ahead})."
    if lead["value"] > 0:
        return (
            f"{it} is not shown to beat its baselines: {against} ({ahead}, which may be chance)."
            " More judgements will tell."
        )
    return f"{it} does not beat its baselines: {against}. Do not train a policy on it."


def further(receipt: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and numbers of what stands beside the measures: length held fixed, and calibration."""
    found = []
    equal = receipt.get("equal_length")
    if equal:
        found += [
            ("right with length held fixed", written(equal["balanced"], "share")),
            ("right where both are as long", written(equal["near"], "share")),
        ]
    for kind, one in (receipt.get("calibration") or {}).items():
        ece, brier = one["ece"], one["brier"]
        chance = f"; {ece['by_chance']:.2f} by chance" if known(ece) else ""
        base = brier.get("baseline")
        beat = f"; {base['value']:.2f} {BASELINES[base['name']]}" if base else ""
        found.append((f"ECE, {CALIBRATED[kind]}", written(ece, "number") + chance))
        found.append((f"Brier, {CALIBRATED[kind]}", written(brier, "number") + beat))
    return found


def people(receipt: Mapping[str, Any]) -> str:
    """What is to be said of who judged: something only where one person did."""
    return ONE_PERSON if receipt["annotators_count"] == 1 else ""
