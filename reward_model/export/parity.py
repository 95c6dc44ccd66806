"""The parity certificate: the reward that was trained is the reward that is served.

Probes go along every road from the trainer's own network to the reward that GRPO climbs, in
float32, one by one, three by three, and sixteen by sixteen in another order. An exported folder
carries the outcome; one whose certificate is not green is not written.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.schema import Completion, content_hash
from reward_model.export import parity_routes
from reward_model.language_model.origin import file_hash
from reward_model.language_model.render import fingerprint
from reward_model.scoring.probes import hard_probes, kept_probes
from reward_model.scoring.scorer import Scorer

Array = NDArray[np.float64]
CERTIFICATE = "certificate.json"
TOLERANCE = 1e-5
"""In reward units; in the head's own output where its standard deviation is below 1."""
SLACK = 4.0
"""How many times its own rounding a network may be off: other roads add up in other orders."""
MOST_SLACK = 1e-3
"""In the same units: a network whose rounding needs more than this gets no certificate."""
RULE = (
    "Differences are from the trained network in float64; all roads compute in float32. Green where"
    f" every road is within {TOLERANCE:g}, in reward units, or in the head's own output where its"
    " standard deviation is below 1, because dividing by it magnifies rounding. A network that"
    " rounds more than that in float32 by itself, text by text, may be off by"
    f" {SLACK:g} times its own rounding, and by {MOST_SLACK:g} at most."
)


def plans(n: int, seed: int = 0) -> list[list[list[int]]]:
    """Ways to take n probes in batches: one by one, in threes, and in sixteens out of order."""
    order = list(range(n))
    mixed = random.Random(seed).sample(order, n)
    return [_chunks(order, 1), _chunks(order, 3), _chunks(mixed, 16)]


def _chunks(order: Sequence[int], size: int) -> list[list[int]]:
    return [list(order[i : i + size]) for i in range(0, len(order), size)]


def certify(
    run: Path, export: Path, say: Callable[[str], None] = lambda road: None
) -> dict[str, Any]:
    """Compare every road from the run's network to the export's; `say` hears which one is next.

    Returns the certificate: JSON values, `green` says how it came out. Raises ValueError where a
    road cannot be taken at all.
    """
    scorer = Scorer.load(run, torch.float32)
    kept, live, live_dtype = kept_probes(run)
    probes = [*kept, *hard_probes(scorer.tokenizer, scorer.max_tokens)]
    ways = plans(len(probes))
    exact = parity_routes.through(
        parity_routes.trainer(run, scorer, torch.float64), probes, ways[0]
    )
    own = parity_routes.trainer(run, scorer, torch.float32)
    legs = _Legs(scorer.sd, exact, parity_routes.through(own, probes, ways[0]), say)
    for name, what, road in (
        ("trainer", "the trained network, its side-car not merged", own),
        ("scorer", "the Scorer of the run, merged", parity_routes.scored(scorer)),
        ("grpo", "the reward function that GRPO calls", parity_routes.climbed(scorer)),
    ):
        legs.take(name, what, [parity_routes.through(road, probes, way) for way in ways])
    if live_dtype == "float32":
        legs.take("trained", "what the trainer's live network gave, noted then", [live])
    fresh = parity_routes.reloaded(export, probes, ways)
    legs.take("reloaded", "the folder in a fresh process, by transformers alone", fresh)
    with parity_routes.over_http(Scorer.load(export, torch.float32)) as roads:
        for name, road in roads.items():
            legs.take(
                name,
                "HTTP, from the folder",
                [parity_routes.through(road, probes, w) for w in ways],
            )
    return legs.certificate(scorer, export, probes, len(kept))


def tolerance(sd: float, rounding: float = 0.0) -> float:
    """What a road may be off by, in the head's own output.

    sd: the standard deviation that rewards are divided by. rounding: what the trained network is
    off by in float32, by itself. See RULE.
    """
    unit = max(1.0, sd)
    return max(TOLERANCE * unit, min(SLACK * rounding, MOST_SLACK * unit))


class _Legs:
    """What was found along each road."""

    def __init__(self, sd: float, exact: Array, own: Array, say: Callable[[str], None]) -> None:
        """exact, own: (N,), what the trained network gives in float64 and in float32."""
        self.sd = sd
        self.exact = exact
        self.say = say
        self.found: list[dict[str, Any]] = []
        self.rounding = float(np.abs(own - exact).max())
        self.tolerance = tolerance(sd, self.rounding)

    def take(self, name: str, what: str, outputs: Sequence[Array]) -> None:
        """Head outputs (N,) of the probes, or of the first of them, for each way of batching."""
        apart = np.concatenate([np.abs(out - self.exact[: len(out)]) for out in outputs])
        most = float(apart.max()) if np.isfinite(apart).all() else float("inf")
        self.found.append(
            {
                "road": name,
                "what": what,
                "n": len(apart),
                "max_difference": most,
                "max_difference_in_reward_units": most / self.sd,
                "passed": most < self.tolerance,
            }
        )
        self.say(line(self.found[-1]))

    def certificate(
        self, scorer: Scorer, export: Path, probes: Sequence[Completion], kept: int
    ) -> dict[str, Any]:
        tokenizer = scorer.tokenizer
        texts = [scorer.render(p.prompt, p.text, p.finished) for p in probes]
        weights = sorted(export.glob("*.safetensors"))
        return {
            "green": all(leg["passed"] for leg in self.found),
            "rule": RULE,
            "within_1e-5": all(leg["max_difference"] < tolerance(self.sd) for leg in self.found),
            "tolerance": self.tolerance,
            "own_rounding": self.rounding,
            "reward_mean": scorer.mean,
            "reward_sd": scorer.sd,
            "roads": self.found,
            "probes": {
                "n": len(probes),
                "judged": kept,
                "hard": len(probes) - kept,
                "cut_to_fit": sum(t.truncated for t in texts),
                "token_ids": content_hash([t.ids for t in texts]),
            },
            "tokenizer": fingerprint(tokenizer),
            "template": hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest(),
            "weights": {path.name: file_hash(path) for path in weights},
            "dtype": "float32",
            "device": str(scorer.model.device.type),
            "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def line(leg: Mapping[str, Any]) -> str:
    """One road's outcome in words."""
    said = "ok" if leg["passed"] else "DIFFERS"
    return (
        f"{leg['road']:<22} {said:<8} at most {leg['max_difference']:.1e} over n={leg['n']}"
        f" ({leg['max_difference_in_reward_units']:.1e} in reward units)"
    )


def verdict(certificate: Mapping[str, Any]) -> str:
    """A green certificate in a line."""
    worst = max(leg["max_difference"] for leg in certificate["roads"])
    roads = f"{len(certificate['roads'])} roads give the trained rewards to {worst:.1e}"
    if certificate["within_1e-5"]:
        return roads
    return f"{roads}; this network's own float32 rounding is {certificate['own_rounding']:.1e}"


def check(certificate: Mapping[str, Any]) -> None:
    """Raise ValueError where a certificate is not green, naming the road that is furthest off."""
    if certificate["green"]:
        return
    worst = max(certificate["roads"], key=lambda leg: leg["max_difference"])
    raise ValueError(
        f"not the rewards that were trained: {worst['road']} is off by"
        f" {worst['max_difference']:.1e}, allowed is below {certificate['tolerance']:.0e}; nothing"
        " was written: train it again, or serve the run itself with score --serve"
    )
