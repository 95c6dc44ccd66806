"""What a rule finds, and what rules share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grpo.diagnosis.curves import Curves, finite_or_none

Severity = Literal["fine", "watch", "stop"]
Pick = Literal["telling", "best", "cut", "repeated", "group"]
"""Which completions show it: of the largest advantage, of the best reward, unfinished ones, ones
that stand more than once, or those of one group."""
SURE = 1.96
"""Standard normal, two-sided 5%."""
VERY_SURE = 2.58
"""1%."""
STILL_LEARNING = 0.3
"""Share of the largest learning rate below which curves flatten of themselves."""
Turn = tuple[str, dict[str, object]]
"""One setting moved: in words that follow "and", and as a setting, where the run has it."""
START_AGAIN = "Start again and {}."


@dataclass(frozen=True)
class Finding:
    """What one rule has to say at one step."""

    name: str
    level: Severity
    text: str
    metric: str
    value: float | None
    threshold: float | None
    action: str
    """With {} where the words of the turn stand."""
    source: str
    turn: Turn = ("", {})
    pick: Pick = "telling"
    step: int | None = None
    """Since when, where the rule knows; else it is sought."""


def ratio(c: Curves, name: str, t: int) -> float | None:
    """A level beside its start."""
    now, start = c.level(name, t), c.start(name)
    return now / start if now is not None and start is not None and start > 0 else None


def pooled(c: Curves, name: str, t: int, each: float, width: int) -> float | None:
    """A mean over the last `width` batches, or as many more as hold 20 of what each has `each` of;
    None before there are 20. Small groups say little: a rank correlation of two is 1 or -1."""
    least = c.rows_of(each)
    found = c.recent(name, t, max(width, least))
    return finite_or_none(sum(found) / len(found)) if found and c.batches(t) >= least else None


WORDS = {
    "entropy_weight": "entropy coefficient",
    "group_size": "group size",
    "kl_weight": "KL coefficient",
    "learning_rate": "learning rate",
    "length_penalty": "length penalty",
    "pessimism": "pessimism",
    "sampling.max_new_tokens": "longest completion",
    "sampling.temperature": "temperature",
}


def turned(c: Curves, name: str, factor: float, from_zero: float = 0.0) -> Turn:
    """A setting moved by a factor from the run's own value; from 0, to `from_zero`."""
    now = c.setting(name)
    new = None if now is None else now * factor if now > 0 else from_zero
    return put_to(c, name, new, "raise" if factor > 1 else "lower")


def put_to(c: Curves, name: str, new: float | None, verb: str) -> Turn:
    now, new = c.setting(name), finite_or_none(new)
    if now is None or new is None or new == now or (new > now) != (verb == "raise"):
        return f"{verb} the {WORDS[name]}", {}
    whole = name in ("group_size", "sampling.max_new_tokens")
    value = int(new) if whole else float(f"{new:.3g}")
    return f"{verb} the {WORDS[name]} from {now:g} to {value:g}", {name: value}


def livelier(c: Curves) -> Turn:
    """A temperature of 1 where it was low, else a larger entropy coefficient."""
    if (c.setting("sampling.temperature") or 1.0) < 0.7:
        return put_to(c, "sampling.temperature", 1.0, "raise")
    return turned(c, "entropy_weight", 5, from_zero=0.005)
