"""The words of a receipt: names of measures and baselines, explanations, and its sentences."""

from __future__ import annotations

from typing import NamedTuple

from data.stats.estimate import (
    Style,
    format_estimate,
    format_interval,
    format_missing,
    format_value,
)
from reward_model.config import BASELINES as BASELINES
from reward_model.receipt.contents import Features, HeldOut, Receipt

SOURCES = {
    "held": "the released model, on prompts held out from its training",
    "crossed": "the head, cross-validated: on prompts left out of its fit in turn",
}
SHORT_SOURCES = {"held": "Released model, held out", "crossed": "Head, cross-validated"}
PAIR_SOURCES = {
    "comparisons": "comparisons",
    "ratings": "pairs that one annotator rated differently",
    "good or bad": "pairs of which one annotator called one good and the other bad",
}
KINDS = {"pairwise": "comparisons", "scalar": "ratings", "binary": "good or bad"}
CALIBRATED = {"pairs": "preferred side", "ties": "ties", "binary": "good or bad"}
ONE_PERSON = (
    "One person judged everything: this is one taste, and nothing here says how far others share"
    " it."
)


class Words(NamedTuple):
    """How a measure, or a trait of an annotator, is called, explained and written."""

    name: str
    about: str
    style: Style
    suffix: str = ""
    signed: bool = False


MEASURES = {
    "accuracy": Words("Pairwise accuracy", "How often the completion that people preferred has the"
        " higher reward; ties are left out.", "share"),
    "three_way": Words("Three-way accuracy", "How often the likeliest of a, b and tie is the answer"
        " that was given.", "share"),
    "log_loss": Words("Log-loss of comparisons", "Minus the log of the probability of what was"
        " answered; ties are left out. Being sure and wrong costs most; a coin scores 0.69.",
        "nats"),
    "log_loss_ties": Words("Log-loss with ties", "Over a, b and tie. Guessing among the three"
        " scores 1.10.", "nats"),
    "spearman_within": Words("Spearman within prompts", "Rank correlation of rewards with the"
        " ratings of one prompt's completions: 1 is the same order, 0 none.", "number"),
    "spearman": Words("Spearman over all prompts", "The same over all prompts, where knowing easy"
        " prompts from hard ones helps too.", "number"),
    "rating_error": Words("Mean absolute error of ratings", "Mean distance of the predicted"
        " rating from the given one.", "points"),
    "rating_log_loss": Words("Log-loss of ratings", "Over 1 to 10. Guessing scores 2.30.", "nats"),
    "auc_within": Words("AUC within prompts", "How often a completion called good has more reward"
        " than one of the same prompt called bad.", "share"),
    "auc": Words("AUC over all prompts", "How often any completion called good has more reward than"
        " any called bad.", "share"),
    "good_log_loss": Words("Log-loss of good or bad", "A coin scores 0.69.", "nats"),
}  # fmt: skip
TRAITS = {
    "consistency": Words("Consistency", "times the crowd's; near 0 is guessing", "number", "×"),
    "side": Words("First-position rate", "how often the first of two equally good completions"
        " is preferred", "share"),
    "threshold": Words("Threshold", "how often good is said where the crowd says it every"
        " other time", "share"),
    "scale": Words("Scale", "stretch of the ratings, times the crowd's", "number", "×"),
    "offset": Words("Offset", "points above or below the crowd's rating", "number", "", True),
}  # fmt: skip


def summary(held_out: HeldOut, subject: str = "It") -> str:
    """One sentence: whether the rewards beat every baseline, with the numbers that say so.

    subject: which model the numbers are about.
    """
    accuracy, lead = held_out.accuracy, held_out.lead
    pairs = PAIR_SOURCES[held_out.of]
    if accuracy.value is None or lead.value is None or lead.low is None:
        if not accuracy.n:
            return (
                "Nothing to check it by yet: no two completions of a prompt were judged apart."
                " Judge more prompts."
            )
        missing = format_missing(accuracy)
        return f"It is not known yet whether it beats its baselines: {missing}, of {pairs}."
    best = held_out.baselines[lead.over].value or 0.0
    against = (
        f"pairwise accuracy {format_estimate(accuracy)} {pairs} of held-out prompts, against"
        f" {format_value(best)} for {BASELINES[lead.over]}"
    )
    ahead = f"ahead by {100 * lead.value:.0f} points {format_interval(lead)}"
    if lead.low > 0:
        return f"{subject} beats every baseline: {against} ({ahead})."
    if lead.value > 0:
        return (
            f"{subject} is not shown to beat its baselines: {against} ({ahead}, which may be"
            " chance). More judgements will tell."
        )
    return f"{subject} does not beat its baselines: {against}. Do not train a policy on it."


def verdict(held_out: HeldOut) -> str:
    """beats, unsure (ahead, but it may be chance), loses, or unknown where too little is judged."""
    lead = held_out.lead
    if lead.value is None or lead.low is None:
        return "unknown"
    if lead.low > 0:
        return "beats"
    return "unsure" if lead.value > 0 else "loses"


def missing_baseline(held_out: HeldOut) -> str:
    """Which baseline needs what was not recorded; "" where nothing does."""
    known = held_out.shown_first_known
    if held_out.of != "comparisons" or known is None or known >= held_out.pairs:
        return ""
    of = f"{known:,} of {held_out.pairs:,} comparisons"
    if not known:
        return f'"{BASELINES["first"].capitalize()}" is left out: display order known of {of}.'
    return f'"{BASELINES["first"].capitalize()}" is on the {of} whose display order is known.'


def further_measures(receipt: Receipt) -> list[tuple[str, str]]:
    """Names and numbers of what stands beside `scores`: accuracy at equal length, calibration."""
    found = []
    if receipt.equal_length:
        found += [
            ("accuracy with length held fixed", format_estimate(receipt.equal_length.balanced)),
            ("accuracy where both are as long", format_estimate(receipt.equal_length.near)),
        ]
    for kind, one in receipt.calibration.items():
        ece, brier = one.ece, one.brier
        chance = f"; {ece.by_chance:.2f} by chance" if ece.value is not None else ""
        base = brier.baseline
        against = f"; {base.value:.2f} {BASELINES[base.name]}" if base.value is not None else ""
        found += [
            (f"ECE, {CALIBRATED[kind]}", format_estimate(ece, "number") + chance),
            (f"Brier score, {CALIBRATED[kind]}", format_estimate(brier, "number") + against),
        ]
    return found


OTHER_HEADS = {
    "last layer": "a head on the last layer's last token",
    "export": "the exported head, on one layer's last token",
    "form": "the same head with length and form in the reward",
    "start": "the reward model that it starts from, as it is",
    "alone": "a head that starts from no other",
    "encoder": "a head that reads the second model too",
    "without encoder": "a head that reads the policy alone",
}


def features_told(features: Features) -> list[str]:
    """Sentences on what the head reads, how surely that was chosen, and what an export loses."""
    same = sum(one == features.reads for one in features.in_folds)
    found = [f"The head reads the states of {features.reads}."]
    if len(features.among) > 1 and features.in_folds:
        found.append(
            f"Of {len(features.among)} views this one was chosen in {same} of"
            f" {len(features.in_folds)} folds; the figures pay for choosing."
        )
    for other in features.others:
        if other.lead.value is not None:
            lead = f"{100 * other.lead.value:+.1f} points {format_interval(other.lead)}"
            found.append(
                f"Against {OTHER_HEADS[other.name]} ({other.reads}), which has"
                f" {format_estimate(other)}: {lead}."
            )
    return found


def limits(receipt: Receipt) -> list[str]:
    """Sentences on how far the figures reach: who judged, what the head reads, ceiling, learning
    curve, spread."""
    parts = (receipt.ceiling, receipt.learning, receipt.spread)
    alone = [ONE_PERSON] if receipt.annotators_count == 1 else []
    unknown = [missing_baseline(receipt.held_out)] if missing_baseline(receipt.held_out) else []
    read = features_told(receipt.features) if receipt.features else []
    if start := receipt.facts.get("starts from"):
        alone.append(
            f"It starts from {start}: if that one learned from judgements of these prompts, what is"
            " cross-validated here flatters it; held-out prompts, which no training of this project"
            " uses, do not."
        )
    return alone + unknown + read + [part.sentence for part in parts if part and part.sentence]
