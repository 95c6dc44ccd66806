"""An estimate with its 95% interval and n: the type, how it is written, and when it is shown.

Without numpy: the web process and the text of reports use this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NotRequired, TypedDict

MIN_ANSWERS = 20
"""Answers before a figure about annotators is shown: the 95% interval of a share of 20 reaches 20
points to either side, and with fewer it hides more than it tells."""
MIN_CASES = 30
"""Judgements or answers before a figure about a reward model or a policy is shown."""
MIN_PROMPTS = 10
"""Prompts before it is: judgements of one prompt are not independent, so prompts are resampled."""

NOT_RECORDED = "not recorded"

Style = Literal["share", "number", "change", "seconds", "nats", "points"]
_FORMS: dict[Style, tuple[str, str]] = {
    "share": (".0f", "%"),
    "number": (".2f", ""),
    "change": ("+.2f", ""),
    "seconds": (".1f", " s"),
    "nats": (".2f", ""),
    "points": (".2f", " points"),
}
"""How a number is formatted, and what follows it."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval and n; or no number (None), and what it takes or why."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    unit: str = ""
    """What n counts."""
    needs: int | None = None
    """About what n it takes; None where there is enough."""
    note: str = ""
    """Why there is no number although there is enough data."""

    def as_json(self) -> dict[str, float | None]:
        """What reports of policy runs keep."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}

    def map(self, rising: Callable[[float], float]) -> Estimate:
        """The estimate and its interval under a function that never falls."""
        ends = (self.value, self.low, self.high)
        value, low, high = (None if end is None else rising(end) for end in ends)
        return replace(self, value=value, low=low, high=high)


class EstimateJson(TypedDict):
    """An estimate by the bootstrap over prompts, in a receipt; `needs` only without a number."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    prompts: int
    needs: NotRequired[int]
    needs_prompts: NotRequired[int]


def missing(n: int, unit: str, needs: int = MIN_ANSWERS, note: str = "") -> Estimate:
    """No number: too few for one, or, with a note, for another reason."""
    return Estimate(None, None, None, n, unit, None if note else needs, note)


def unrecorded(what: str, unit: str) -> Estimate:
    """No number, however many judgements there are: none of them says what it is about."""
    return missing(0, unit, note=f"{NOT_RECORDED}: {what}")


def missing_json(n: int = 0, prompts: int = 0) -> EstimateJson:
    """No number about a reward model yet: it says how much there is and about how much it takes."""
    return {
        "value": None,
        "low": None,
        "high": None,
        "n": n,
        "prompts": prompts,
        "needs": MIN_CASES,
        "needs_prompts": MIN_PROMPTS,
    }


def format_value(value: float, style: Style = "share", signed: bool = False) -> str:
    """A number in its style: 71%, 0.43, 1.2 s."""
    form, suffix = _FORMS[style]
    form = "+" + form.lstrip("+") if signed else form
    return format(100 * value if style == "share" else value, form) + suffix


def format_duration(seconds: float) -> str:
    """Seconds in the unit that suits them: 45 s, 10 min, 2.0 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_interval(
    estimate: Estimate | Mapping[str, Any], style: Style = "share", signed: bool = False
) -> str:
    """The 95% interval in the same style without its suffix, e.g. [66, 75]; "" where unknown."""
    ends = [_read_part(estimate, name) for name in ("low", "high")]
    if None in ends:
        return ""
    low, high = (format_value(end, style, signed).removesuffix(_FORMS[style][1]) for end in ends)
    return f"[{low}, {high}]"


def format_estimate(
    estimate: Estimate | Mapping[str, Any] | None, style: Style = "share", count: bool = True
) -> str:
    """An estimate, or its stored JSON, in full: "71% [66, 75], n 184", or why it is not shown."""
    value = None if estimate is None else _read_part(estimate, "value")
    if estimate is None or value is None:
        return format_missing(estimate)
    text = f"{format_value(value, style)} {format_interval(estimate, style)}".rstrip()
    return f"{text}, n {_read_part(estimate, 'n'):,}" if count else text


def format_missing(estimate: Estimate | Mapping[str, Any] | None) -> str:
    """Why an estimate, or its stored JSON, has no number, and about how much data it takes."""
    if estimate is None or not (needs := _read_part(estimate, "needs")):
        note = "" if estimate is None else _read_part(estimate, "note")
        if note and note.startswith(NOT_RECORDED):
            return str(note)
        return f"not defined: {note}" if note else "not enough data yet"
    n, prompts = _read_part(estimate, "n"), _read_part(estimate, "prompts")
    if n < needs:
        unit = _read_part(estimate, "unit")
        of = f" {unit}" if unit else ""
        return f"not enough data yet (n {n:,}{of}, about {needs} needed)"
    needs_prompts = _read_part(estimate, "needs_prompts") or 0
    if prompts is not None and prompts < needs_prompts:
        return f"not enough data yet ({prompts} prompts, about {needs_prompts} needed)"
    return "not defined: all the same"


def text_table(
    head: Sequence[str], rows: Sequence[Sequence[object]], numbers: bool = False
) -> list[str]:
    """Lines of aligned columns: on the left, or with `numbers` on the right but for the first."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if numbers:
        cells = [[first, *map(str.rjust, rest, widths[1:])] for first, *rest in cells]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _read_part(estimate: Estimate | Mapping[str, Any], name: str) -> Any:
    if isinstance(estimate, Estimate):
        return getattr(estimate, name, None)
    return estimate.get(name)
