"""How each annotator judges, beside the crowd: what the fit says of them, with 95% intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from data.schema import JsonObject
from data.stats.intervals import Floats
from reward_model.dataset.examples import Examples
from reward_model.likelihood.fit import HeadFit

Z = 1.96


@dataclass(frozen=True)
class Trait:
    """One parameter of an annotator, and how it is shown."""

    name: str
    shown: Callable[[Floats, float], Floats]
    """From the parameter's middle and ends (3,), and what the crowd has in common, to what people
    read."""
    common: str = ""
    """Name of the crowd's own parameter."""


TRAITS = (
    Trait("consistency", lambda x, _: times(x)),
    Trait("side", lambda x, first: expit(x + first), "first"),
    Trait("threshold", lambda x, gain: expit(-np.exp(gain) * x), "binary_gain"),
    Trait("scale", lambda x, _: times(x)),
    Trait("offset", lambda x, _: x),
)
"""consistency, scale: times the crowd's. side: how often the first of two equal completions is
preferred. threshold: how often good is said of a completion of which the crowd says it every other
time. offset: points on the rating scale."""


def cards(examples: Examples, fit: HeadFit) -> list[JsonObject]:
    """One an annotator, those furthest from the crowd first.

    Each has the annotator, "judgements" by kind, and "traits" by name, with their 95% intervals;
    "apart": the interval leaves out the crowd.
    """
    values = {name: v.numpy() for name, v in fit.values.items()}
    pairs = examples.pairs
    givers = {
        "pairwise": pairs.annotator,
        "scalar": examples.scalar.annotator,
        "binary": examples.binary.annotator,
        "side": pairs.annotator[pairs.side != 0],
    }
    people = len(examples.annotators)
    counts = {kind: np.bincount(who, minlength=people) for kind, who in givers.items()}
    counts["consistency"] = counts["pairwise"] + counts["binary"]
    counts |= {"threshold": counts["binary"]} | dict.fromkeys(("scale", "offset"), counts["scalar"])
    found: list[tuple[float, JsonObject]] = []
    for person, name in enumerate(examples.annotators):
        n = {kind: int(c[person]) for kind, c in counts.items()}
        traits, far = {}, 0.0
        for trait in (t for t in TRAITS if t.name in values and n[t.name]):
            middle = float(values[trait.name][person])
            error = float(fit.sd[trait.name][person])
            common = float(values[trait.common][0]) if trait.common in values else 0.0
            ends = middle + error * np.array([0, -Z, Z])
            if trait.name == "offset":
                ends = points(ends, values)
            value, *interval = trait.shown(ends, common).tolist()
            low, high = sorted(interval)
            crowd = float(trait.shown(np.zeros(3), common)[0])
            apart = not low <= crowd <= high
            traits[trait.name] = {"value": value, "low": low, "high": high, "n": n[trait.name],
                                  "apart": apart}  # fmt: skip
            far = max(far, abs(middle / error))
        judged = {kind: n[kind] for kind in ("pairwise", "scalar", "binary")}
        found.append((far, {"annotator": name, "judgements": judged, "traits": traits}))
    found.sort(key=lambda two: (-two[0], two[1]["annotator"]))
    return [card for _, card in found]


def times(logs: Floats) -> Floats:
    """The middle and both ends of a factor, from those of its logarithm (3,).

    Its own standard deviation is the middle times that of the logarithm: near 0 a logarithm has no
    lower end, and an interval of it leaves out somebody who answers at random.
    """
    middle = np.exp(logs[0])
    return np.asarray(np.maximum(middle * (1 + logs - logs[0]), 0))


def points(offset: Floats, values: Mapping[str, Floats]) -> Floats:
    """What offsets (k,) add to the rating that the crowd gives in the middle of its scale.

    A Gaussian's offsets are in points already.
    """
    if "cut" not in values:
        return offset
    gaps = np.exp(np.clip(values["gaps"], -8, 8))
    cuts = float(values["cut"][0]) + np.concatenate([[0.0], np.cumsum(gaps)])
    middle = float(np.median(cuts))

    def expected(position: Floats) -> Floats:
        return np.asarray(1 + expit(position[:, None] - cuts[None]).sum(1))

    return expected(middle + offset) - expected(np.array([middle]))
