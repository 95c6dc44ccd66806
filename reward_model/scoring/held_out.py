"""Held-out pairs that a reward model keeps, with what it was worth on them when it was trained.

Whoever loads the model later can see whether it still is: another renderer, precision or damaged
weights would show here first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.schema import Completion, make_prompt
from reward_model.dataset.preference_pairs import PreferencePairs
from reward_model.scoring.scorer import Scorer

Array = NDArray[np.float64]
HELD = "held.json"
"""File, inside a reward model's folder."""
KEPT = 64
"""Pairs, at most."""
ALLOWED = 0.1
"""Share of pairs, and always one, that may turn by rounding: two rewards may be all but equal."""


@dataclass(frozen=True)
class Reproduced:
    """Accuracy on the kept pairs, as recorded and as found now."""

    recorded: float
    found: float
    n: int

    @property
    def same(self) -> bool:
        return abs(self.found - self.recorded) * self.n <= max(1, ALLOWED * self.n)


def keep_held(
    folder: Path, completions: Sequence[Completion], pairs: PreferencePairs, raw: Array
) -> None:
    """Note up to 64 pairs (places of completions) and how often the raw rewards (N,) are right."""
    chosen = np.linspace(0, len(pairs) - 1, min(KEPT, len(pairs))).round().astype(int)
    if not len(pairs):
        return
    right = pairs.correct(raw)[chosen]
    rows = [
        {
            "prompt": completions[pairs.better[i]].prompt.plain(),
            "better": _answer(completions[pairs.better[i]]),
            "worse": _answer(completions[pairs.worse[i]]),
        }
        for i in chosen.tolist()
    ]
    kept = {"accuracy": float(right.mean()), "of": pairs.source, "pairs": rows}
    (folder / HELD).write_text(json.dumps(kept, indent=1), encoding="utf-8")


def reproduce(folder: Path, scorer: Scorer) -> Reproduced | None:
    """Score the kept pairs anew; None where the model kept none."""
    if not (folder / HELD).is_file():
        return None
    kept = json.loads((folder / HELD).read_text(encoding="utf-8"))
    sides = [
        Completion(make_prompt(row["prompt"]), row[side]["completion"], row[side]["finished"])
        for side in ("better", "worse")
        for row in kept["pairs"]
    ]
    raw = scorer.raw(
        [c.prompt for c in sides], [c.text for c in sides], [c.finished for c in sides]
    )
    better, worse = np.split(raw, 2)
    right = 0.5 + 0.5 * np.sign(better - worse)
    return Reproduced(float(kept["accuracy"]), float(right.mean()), len(right))


def _answer(completion: Completion) -> dict[str, object]:
    return {"completion": completion.text, "finished": completion.finished}
