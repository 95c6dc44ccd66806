"""How each annotator judges, beside the crowd: what the fit says of them, with 95% intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reward_model.dataset.examples import Examples
from reward_model.likelihood.fit import HeadFit

Array = NDArray[np.float64]
Z = 1.96


@dataclass(frozen=True)
class Trait:
    """One parameter of an annotator, and how it is shown."""

    name: str
    shown: Callable[[Array, float], Array]
    """From the parameter, and what the crowd has in common, to what people read."""
    common: str = ""
    """Name of the crowd's own parameter."""


def _times(x: Array, _: float) -> Array:
    return np.exp(x)


def _itself(x: Array, _: float) -> Array:
    return x


def _chance(x: Array, common: float) -> Array:
    chance: Array = 1 / (1 + np.exp(-(x + common)))
    return chance


def _strict(x: Array, gain: float) -> Array:
    chance: Array = 1 / (1 + np.exp(np.exp(gain) * x))
    return chance


TRAITS = (
    Trait("consistency", _times),
    Trait("side", _chance, "first"),
    Trait("threshold", _strict, "binary_gain"),
    Trait("scale", _times),
    Trait("offset", _itself),
)
"""consistency, scale: times the crowd's. side: how often the first of two equal completions is
preferred. threshold: how often good is said of a completion of which the crowd says it every other
time. offset: points on the rating scale."""


def cards(examples: Examples, fit: HeadFit) -> list[dict[str, Any]]:
    """One an annotator, those furthest from the crowd first.

    Each trait has value, low, high, n and "apart": whether its interval leaves out the crowd.
    """
    values = {name: v.numpy() for name, v in fit.values.items()}
    counts = _counts(examples)
    found = []
    for person, name in enumerate(examples.annotators):
        n = {kind: int(c[person]) for kind, c in counts.items()}
        traits = {t.name: _trait(t, person, n, values, fit.sd) for t in TRAITS if t.name in values}
        traits = {t: card for t, card in traits.items() if card["n"]}
        far = max((card.pop("z") for card in traits.values()), default=0.0)
        judged = {kind: n[kind] for kind in ("pairwise", "scalar", "binary")}
        found.append((far, {"annotator": name, "judgements": judged, "traits": traits}))
    found.sort(key=lambda two: (-two[0], two[1]["annotator"]))
    return [card for _, card in found]


def _counts(examples: Examples) -> dict[str, NDArray[np.int64]]:
    """Judgements of each annotator, by kind and by the trait that they tell about."""
    people = len(examples.annotators)
    pairs, shown = examples.pairs.annotator, examples.pairs.side != 0
    pairwise, scalar, binary, side = (
        np.bincount(who, minlength=people)
        for who in (pairs, examples.scalar.annotator, examples.binary.annotator, pairs[shown])
    )
    return {
        "pairwise": pairwise,
        "scalar": scalar,
        "binary": binary,
        "consistency": pairwise + binary,
        "side": side,
        "threshold": binary,
        "scale": scalar,
        "offset": scalar,
    }


def _trait(
    trait: Trait, person: int, n: Mapping[str, int], values: Mapping[str, Array], sd: Any
) -> dict[str, Any]:
    middle = float(values[trait.name][person])
    error = float(sd[trait.name][person])
    common = float(values[trait.common][0]) if trait.common in values else 0.0
    ends = np.array([middle, middle - Z * error, middle + Z * error])
    if trait.name == "offset":
        ends = points(ends, values)
    value, *interval = trait.shown(ends, common).tolist()
    return {
        "value": value,
        "low": min(interval),
        "high": max(interval),
        "n": n[trait.name],
        "apart": abs(middle) > Z * error,
        "z": abs(middle) / error,
    }


def points(offset: Array, values: Mapping[str, Array]) -> Array:
    """What offsets (k,) add to the rating that the crowd gives in the middle of its scale.

    A Gaussian's offsets are in points already.
    """
    if "cut" not in values:
        return offset
    gaps = np.exp(np.clip(values["gaps"], -8, 8))
    cuts = float(values["cut"][0]) + np.concatenate([[0.0], np.cumsum(gaps)])
    middle = float(np.median(cuts))

    def expected(position: Array) -> Array:
        above: Array = 1 / (1 + np.exp(cuts[None] - position[:, None]))
        return 1 + above.sum(1)

    shifted: Array = expected(middle + offset) - expected(np.array([middle]))
    return shifted
