"""The receipt as one HTML file: nothing in it is loaded from elsewhere, light and dark.

Made from a Receipt alone, by the templates beside this module; no torch here.
"""

from __future__ import annotations

from data.html_templates import environment
from data.stats import estimate
from reward_model.receipt import plots, wording
from reward_model.receipt.contents import Receipt, ReceiptEstimate

MOST_ANNOTATORS = 200
"""Rows of the annotators' table, at most."""


def receipt_html(receipt: Receipt) -> str:
    """The page: the verdict, its tiles, then a card for each question that a lead asks of a model.

    Texts from outside (annotators' names, facts) are escaped by the templates. The page runs no
    script and loads nothing, since it is shown in a sandboxed frame and sent around as one file.
    """
    traits = [t for a in receipt.annotators for t in a.traits.values()]
    more = receipt.learning.more.value if receipt.learning else None
    template = environment("reward_model.receipt").get_template("receipt.html")
    return template.render(
        receipt=receipt,
        words=wording,
        text=estimate.format_estimate,
        value=estimate.format_value,
        interval=estimate.format_interval,
        missing=estimate.format_missing,
        accuracies=_rank_accuracies(receipt),
        ceiling=_known_ceiling(receipt),
        plots=_make_plots(receipt),
        annotators=receipt.annotators[:MOST_ANNOTATORS],
        trait_names=[n for n in wording.TRAITS if any(n in a.traits for a in receipt.annotators)],
        apart=sum(t.apart for t in traits),
        apart_by_chance=max(1, round(0.05 * len(traits))),
        traits_count=len(traits),
        more=f"{float(f'{more or 0:.2g}'):,.0f}",
        made={"objective": receipt.objective, "tuning": receipt.tuning, **receipt.facts},
    )


def _known_ceiling(receipt: Receipt) -> tuple[float, float] | None:
    """The human ceiling's range, where it is known."""
    found = receipt.ceiling
    if found is None or found.at_least.value is None or found.at_most.value is None:
        return None
    return found.at_least.value, found.at_most.value


def _rank_accuracies(receipt: Receipt) -> list[tuple[str, ReceiptEstimate, bool]]:
    """Name, pairwise accuracy and whether it is the model's own; the strongest baseline first."""
    held_out, other = receipt.held_out, "crossed" if receipt.headline == "held" else "held"
    rows = [("This reward model", held_out.accuracy, True)]
    if other in receipt.scores:
        name = "The head it started from" if other == "crossed" else "Released model, held out"
        rows.append((name, receipt.scores[other]["accuracy"], True))
    ranked = sorted(held_out.baselines.items(), key=lambda item: -(item[1].value or 0))
    names = wording.BASELINES
    return rows + [(names[n][:1].upper() + names[n][1:], e, False) for n, e in ranked]


def _make_plots(receipt: Receipt) -> dict[str, plots.Plot]:
    """Those that there are numbers for."""
    found = {}
    for kind, low, high, what in (
        ("pairs", 0.5, 1.0, "the preferred side won"),
        ("ties", 0.0, None, "there was a tie"),
        ("binary", 0.0, 1.0, "good was said"),
    ):
        if one := receipt.calibration.get(kind):
            title = f"How often {what}, against its predicted probability"
            found[kind] = plots.reliability_diagram(one.bins, low, high, title)
    if curve := receipt.learning:
        known = [p for p in curve.points if p.value is not None]
        if len(known) > 1:
            found["learning"] = plots.learning(known, curve.ahead, _known_ceiling(receipt))
    if receipt.best_of_n:
        found["best_of_n"] = plots.best_of(receipt.best_of_n, share=False)
    if receipt.judged_best_of_n:
        found["judged_best_of_n"] = plots.best_of(receipt.judged_best_of_n, share=True)
    return found
