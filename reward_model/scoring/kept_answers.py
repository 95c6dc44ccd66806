"""Judged answers that a reward model keeps beside its weights, with what it made of them.

Held-out pairs with its accuracy on them: whoever loads the model later can see whether it still is
the one that was trained, for another renderer, dtype or damaged weights would show here first.
Probes with the raw rewards of the trainer's live network: an export is compared with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.atomic_files import write_json
from data.schema import Completion, make_prompt
from data.stats.intervals import Floats
from data.texts.thinking import Thinking, part
from reward_model.dataset.preference_pairs import PreferencePairs
from reward_model.scoring.scorer import Scorer

HELD = "held.json"
"""File, inside a reward model's folder: held-out pairs."""
PROBES = "probes.json"
"""File, inside a reward model's folder: completions with raw rewards."""
MOST_PAIRS = 64
MOST_PROBES = 12
MAY_TURN = 0.1
"""Share of pairs, and always one, that may turn by rounding: two rewards may be all but equal."""


@dataclass(frozen=True)
class Reproduced:
    """Accuracy on the kept pairs, as recorded and as found now."""

    recorded: float
    found: float
    n: int

    @property
    def same(self) -> bool:
        """Whether no more pairs have turned than rounding explains."""
        return abs(self.found - self.recorded) * self.n <= max(1, MAY_TURN * self.n)


def keep_held(
    folder: Path, completions: Sequence[Completion], pairs: PreferencePairs, raw: Floats
) -> None:
    """Note up to 64 pairs (places of completions) and how often the raw rewards (N,) are right."""
    chosen = _spread_out(len(pairs), MOST_PAIRS)
    if not chosen:
        return
    sides = [(completions[pairs.better[i]], completions[pairs.worse[i]]) for i in chosen]
    rows = [
        {"prompt": b.prompt.plain(), "better": _answer_fields(b), "worse": _answer_fields(w)}
        for b, w in sides
    ]
    accuracy = float(pairs.correct(raw)[chosen].mean())
    write_json(folder / HELD, {"accuracy": accuracy, "of": pairs.source, "pairs": rows})


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
    better, worse = np.split(scorer.raw_of(sides), 2)
    right = 0.5 + 0.5 * np.sign(better - worse)
    return Reproduced(float(kept["accuracy"]), float(right.mean()), len(right))


def keep_probes(
    run: Path,
    completions: Sequence[Completion],
    raw: Floats,
    dtype: torch.dtype,
    thinking: Thinking = "answer",
    exported: Floats | None = None,
) -> None:
    """Note what the live network gave completions (N,), before anything was saved and loaded.

    exported: by the head that an export holds (N,), where that is another one.
    """
    rows = [
        {
            "prompt": completions[i].prompt.plain(),
            "completion": completions[i].reading(thinking),
            "finished": completions[i].finished,
            "raw": float(raw[i]),
            **({} if exported is None else {"exported": float(exported[i])}),
        }
        for i in _spread_out(len(completions), MOST_PROBES)
    ]
    write_json(run / PROBES, {"dtype": str(dtype).removeprefix("torch."), "probes": rows})


def kept_probes(run: Path) -> tuple[list[Completion], Floats, str]:
    """(completions, raw rewards (N,) by an export's head, dtype) as `keep_probes` noted them; none
    without.

    Where the thinking was read too, those that hold any are left out: other routes read a text as
    it is given to them.
    """
    if not (run / PROBES).is_file():
        return [], np.zeros(0), ""
    kept = json.loads((run / PROBES).read_text(encoding="utf-8"))
    rows = [row for row in kept["probes"] if part(row["completion"]).answer == row["completion"]]
    completions = [
        Completion(make_prompt(r["prompt"]), r["completion"], r["finished"]) for r in rows
    ]
    return completions, np.array([r.get("exported", r["raw"]) for r in rows]), kept["dtype"]


def _spread_out(n: int, most: int) -> list[int]:
    """At most so many of n places, from the first to the last."""
    places: list[int] = np.linspace(0, n - 1, min(most, n)).round().astype(int).tolist()
    return places


def _answer_fields(completion: Completion) -> dict[str, object]:
    return {"completion": completion.written, "finished": completion.finished}
