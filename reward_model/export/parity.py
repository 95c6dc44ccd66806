"""The parity certificate: the reward that was trained is the reward that is served.

Probes go along every route from the trainer's own network to the reward that GRPO maximises, in
float32, one by one, three by three, and sixteen by sixteen in another order. An exported folder
carries the outcome; one whose certificate is not green is not written.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from data.schema import Completion, content_hash
from data.stats.intervals import Floats
from reward_model.export import parity_routes
from reward_model.export.probes import hard_probes
from reward_model.language_model.origin import file_hash
from reward_model.language_model.render import fingerprint
from reward_model.scoring.kept_answers import kept_probes
from reward_model.scoring.scorer import Scorer

CERTIFICATE = "certificate.json"
TOLERANCE = 1e-5
"""In reward units; in the head's own output where its standard deviation is below 1."""
SLACK = 4.0
"""How many times its own rounding a network may be off: other routes add up in other orders."""
MOST_SLACK = 1e-3
"""In the same units: a network whose rounding needs more than this gets no certificate."""
RULE = (
    "Differences are from the trained network in float64; all routes compute in float32. Green"
    f" where every route is within {TOLERANCE:g}, in reward units, or in the head's own output"
    " where its standard deviation is below 1, because dividing by it magnifies rounding. A network"
    " that rounds more than that in float32 by itself, text by text, may be off by"
    f" {SLACK:g} times its own rounding, and by {MOST_SLACK:g} at most."
)


class RouteCheck(TypedDict):
    """What was found along one route."""

    road: str
    """The route's name. The key is kept for certificates that exist."""
    what: str
    n: int
    max_difference: float
    """From the trained network in float64, in the head's own output."""
    max_difference_in_reward_units: float
    passed: bool


Certificate = dict[str, Any]
"""JSON values: `roads` are the checks, `green` whether all of them passed."""


def plans(n: int, seed: int = 0) -> list[list[list[int]]]:
    """Ways to take n probes in batches: one by one, in threes, and in sixteens out of order."""
    order = list(range(n))
    mixed = random.Random(seed).sample(order, n)
    return [
        [some[i : i + size] for i in range(0, n, size)]
        for some, size in ((order, 1), (order, 3), (mixed, 16))
    ]


def certify(
    run: Path, export: Path, say: Callable[[str], None] = lambda outcome: None
) -> Certificate:
    """Compare every route from the run's network to the export's; `say` hears each outcome.

    Returns the certificate; `green` says how it came out. Raises ValueError where a route cannot
    be taken at all.
    """
    scorer = Scorer.load(run, torch.float32, exported=True)
    kept, live, live_dtype = kept_probes(run)
    probes = [*kept, *hard_probes(scorer.tokenizer, scorer.max_tokens)]
    ways = plans(len(probes))

    def along(
        route: parity_routes.Route,
        some: Sequence[parity_routes.Plan] = ways,
        asked: Sequence[Completion] = probes,
    ) -> list[Floats]:
        return [parity_routes.through(route, asked, way) for way in some]

    (exact,) = along(parity_routes.trainer(run, scorer, torch.float64), ways[:1])
    own = along(parity_routes.trainer(run, scorer, torch.float32))
    checks = _Checks(scorer.sd, exact, own[0], say)
    checks.add("trainer", "the trained network, its adapter not merged", own)
    checks.add("scorer", "the Scorer of the run, merged", along(scorer.raw_of))
    grpo = along(parity_routes.grpo(scorer))
    checks.add("grpo", "the reward function that GRPO calls", grpo)
    if live_dtype == "float32":
        checks.add("trained", "what the trainer's live network gave, noted then", [live])
    told = [i for i, c in enumerate(probes) if parity_routes.expressible(scorer, c)]
    called = (
        []
        if scorer.apart
        else [i for i in told if parity_routes.callable_by_all(scorer, probes[i])]
    )
    fresh = parity_routes.reloaded(export, scorer, probes, ways, [probes[i] for i in called])
    checks.add("reloaded", "the folder in a fresh process, by transformers alone", fresh.scored)
    if called:
        how = "over the whole conversation, in a fresh process"
        checks.add("apply_chat_template", how, fresh.applied, called)
        if parity_routes.add_nothing(scorer.tokenizer):
            how = "text-classification on the template's text, in a fresh process"
            checks.add("pipeline", how, [fresh.piped], called)
    as_texts = [probes[i] for i in told]
    with parity_routes.over_http(Scorer.load(export, torch.float32)) as routes:
        for name, route in routes.items():
            if name in parity_routes.AS_TEXT:
                outs = along(route, plans(len(told)), as_texts)
                checks.add(name, "HTTP, from the folder", outs, told)
            else:
                checks.add(name, "HTTP, from the folder", along(route))
    return checks.certificate(scorer, export, probes, len(kept))


def tolerance(sd: float, rounding: float = 0.0) -> float:
    """What a route may be off by, in the head's own output.

    sd: the standard deviation that rewards are divided by. rounding: what the trained network is
    off by in float32, by itself. See RULE.
    """
    unit = max(1.0, sd)
    return max(TOLERANCE * unit, min(SLACK * rounding, MOST_SLACK * unit))


class _Checks:
    """What was found along each route."""

    def __init__(self, sd: float, exact: Floats, own: Floats, say: Callable[[str], None]) -> None:
        """exact, own: (N,), what the trained network gives in float64 and in float32."""
        self.sd = sd
        self.exact = exact
        self.say = say
        self.found: list[RouteCheck] = []
        # text by text: an allowance that batches raise would hide faults of batching
        self.rounding = float(np.abs(own - exact).max())
        self.tolerance = tolerance(sd, self.rounding)

    def add(
        self, name: str, what: str, outputs: Sequence[Floats], places: Sequence[int] | None = None
    ) -> None:
        """Head outputs (N,) for each way of batching, of the probes at `places`.

        Without places: of the first N.
        """
        exact = self.exact if places is None else self.exact[list(places)]
        apart = np.concatenate([np.abs(out - exact[: len(out)]) for out in outputs])
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
        said = "ok" if most < self.tolerance else "DIFFERS"
        in_units = f"({most / self.sd:.1e} in reward units)"
        self.say(f"{name:<22} {said:<8} at most {most:.1e} over n={len(apart)} {in_units}")

    def certificate(
        self, scorer: Scorer, export: Path, probes: Sequence[Completion], kept: int
    ) -> Certificate:
        """All checks, and what they were made with. kept: how many probes were judged."""
        tokenizer = scorer.tokenizer
        texts = [scorer.render(p.prompt, p.text, p.finished) for p in probes]
        weights = sorted(export.glob("*.safetensors"))
        return {
            "green": all(check["passed"] for check in self.found),
            "rule": RULE,
            "within_1e-5": all(c["max_difference"] < tolerance(self.sd) for c in self.found),
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


def certificate_line(certificate: Certificate) -> str:
    """A green certificate in a line."""
    worst = max(check["max_difference"] for check in certificate["roads"])
    routes = f"{len(certificate['roads'])} routes give the trained rewards to {worst:.1e}"
    if certificate["within_1e-5"]:
        return routes
    return f"{routes}; this network's own float32 rounding is {certificate['own_rounding']:.1e}"


def require_green(certificate: Certificate) -> None:
    """Raise ValueError for a certificate that is not, naming the route that is furthest off."""
    if certificate["green"]:
        return
    worst = max(certificate["roads"], key=lambda check: check["max_difference"])
    raise ValueError(
        f"not the rewards that were trained: {worst['road']} is off by"
        f" {worst['max_difference']:.1e}, allowed is below {certificate['tolerance']:.0e}; nothing"
        " was written: train it again, or serve the run itself with coach score --serve"
    )
