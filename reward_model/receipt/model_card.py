"""The receipt as a model card: Markdown below the front matter that model hubs read. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from reward_model.receipt.wording import (
    BASELINES,
    MEASURES,
    SOURCES,
    amount,
    further,
    known,
    people,
    written,
)

FRONT = """---
pipeline_tag: text-classification
tags:
- reward-model
- coach
---
"""
USE = """## Use

One number for a prompt and a completion: how much the people who judged would like it. {unit}

```python
from reward_model import Scorer

scorer = Scorer.load("this folder")
scorer.score(["Why is the sky blue?"], ["Air scatters blue light the most."])  # shape (1,)
```

The text that it reads is the chat template's, with the end-of-turn token only where the completion
ended by itself. It ranks completions of one prompt; rewards of different prompts say less.
"""


def card(receipt: Mapping[str, Any]) -> str:
    """What it is, what it is worth, what it was made of."""
    parts = [
        FRONT,
        f"# A reward model\n\n{receipt['summary']}\n",
        USE.format(unit=_unit(receipt)),
        _figures(receipt),
        _limits(receipt),
        _made(receipt),
    ]
    return "\n".join(part for part in parts if part)


def _unit(receipt: Mapping[str, Any]) -> str:
    unit = receipt["facts"].get("reward unit")
    return f"Its unit: {unit}." if unit else ""


def _figures(receipt: Mapping[str, Any]) -> str:
    text = ""
    for source, scores in receipt["scores"].items():
        rows = [_figure(key, f) for key, f in scores.items() if known(f)]
        if rows:
            text += f"\n### {SOURCES[source][0].upper()}{SOURCES[source][1:]}\n\n"
            text += "| | value [95% interval] | to beat | |\n|---|---|---|---|\n" + "".join(rows)
    rows = [f"| {name[0].upper()}{name[1:]} | {figure} |\n" for name, figure in further(receipt)]
    if rows:
        text += "\n### Length held fixed, and calibration\n\n| | |\n|---|---|\n" + "".join(rows)
    return f"## What it is worth\n{text}" if text else ""


def _figure(key: str, figure: Mapping[str, Any]) -> str:
    words, base = MEASURES[key], figure.get("baseline")
    beat = f"{amount(base['value'], words.unit)} | {BASELINES[base['name']]}" if base else " | "
    return f"| {words.name} | {written(figure, words.unit)} | {beat} |\n"


def _limits(receipt: Mapping[str, Any]) -> str:
    said = [
        receipt[part]["sentence"]
        for part in ("ceiling", "learning", "spread")
        if receipt.get(part) and receipt[part].get("sentence")
    ]
    said += [people(receipt)] if people(receipt) else []
    return "## Limits\n\n" + "".join(f"- {s}\n" for s in said) if said else ""


def _made(receipt: Mapping[str, Any]) -> str:
    judged = ", ".join(f"{n:,} {kind}" for kind, n in receipt["judgements"].items())
    rows = {
        "judgements": f"{judged}, by {receipt['annotators_count']} annotators",
        "objective": receipt["objective"],
        "tuning": receipt["tuning"],
        **receipt["facts"],
        **{f"left out or cut: {what}": n for what, n in receipt["dropped"].items() if n},
    }
    table = "".join(f"| {_cell(k)} | {_cell(v)} |\n" for k, v in rows.items())
    return f"## How it was made\n\n| | |\n|---|---|\n{table}"


def _cell(value: object) -> str:
    return escape(str(value), quote=False).replace("|", "\\|").replace("\n", " ")
