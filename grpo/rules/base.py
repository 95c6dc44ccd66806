"""What a rule finds, and what rules share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from grpo.signals import Curves

Level = Literal["fine", "watch", "stop"]
Pick = Literal["telling", "best", "cut", "repeated", "group"]
"""Which completions show it: of the largest advantage, of the best reward, unfinished ones, ones
that stand more than once, or those of one group."""
SURE = 1.96
"""Standard normal, two-sided 5%."""
VERY_SURE = 2.58
"""1%."""
STILL_LEARNING = 0.3
"""Share of the largest learning rate below which curves flatten of themselves."""


@dataclass(frozen=True)
class Finding:
    """What one rule has to say at one step."""

    name: str
    level: Level
    text: str
    metric: str
    value: float
    threshold: float
    action: str
    source: str
    change: Mapping[str, Any] = field(default_factory=dict)
    pick: Pick = "telling"


def ratio(c: Curves, name: str, t: int, width: int | None = None) -> float | None:
    """A level beside its start."""
    now, start = c.level(name, t, width), c.start(name)
    return now / start if now is not None and start is not None and start > 0 else None


def times(c: Curves, name: str, factor: float) -> dict[str, Any]:
    """A setting changed by a factor, where the run has it."""
    now = c.setting(name)
    return {name: float(f"{factor * now:.3g}")} if now else {}


def livelier(c: Curves) -> dict[str, Any]:
    temperature = c.setting("sampling.temperature")
    if temperature is not None and temperature < 0.7:
        return {"sampling.temperature": 1.0}
    return times(c, "entropy_weight", 5) or {"entropy_weight": 0.005}
