"""The receipt as typed data, read from the JSON that `build.receipt` makes and receipt.json keeps.

No torch here, nor numpy: whoever shows a receipt loads only this. A key that a receipt made before
does not have, and null, take the field's default; keys that are not named here are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from pydantic import TypeAdapter

Unit = Literal["share", "number", "nats", "points"]


@dataclass(frozen=True, kw_only=True)
class ReceiptEstimate:
    """A number with its 95% interval; `value` is None where there is too little to tell."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Judgements that it rests on."""
    prompts: int = 0
    needs: int = 0
    """Judgements needed, and prompts below, where there is no value yet."""
    needs_prompts: int = 0

    @property
    def missing(self) -> str:
        """What an estimate without a value still needs."""
        if self.n < self.needs:
            return f"not enough data yet (n {self.n:,}, about {self.needs} needed)"
        if self.prompts < self.needs_prompts:
            return (
                f"not enough data yet ({self.prompts} prompts, about {self.needs_prompts} needed)"
            )
        return "not defined: all the same" if self.needs else "not enough data yet"

    def amount(self, unit: Unit, signed: bool = False) -> str:
        """The value in its unit: 71%, 0.43, 1.20 points; a dash where there is none."""
        points = " points" if unit == "points" else ""
        return "–" if self.value is None else _number(self.value, unit, signed) + points

    def interval(self, unit: Unit, signed: bool = False) -> str:
        """The 95% interval: [66, 75]."""
        ends = (_number(end or 0.0, unit, signed).rstrip("%") for end in (self.low, self.high))
        return f"[{', '.join(ends)}]"

    def text(self, unit: Unit, n: bool = True) -> str:
        """In full, "71% [66, 75], n 184", or what is missing."""
        if self.value is None:
            return self.missing
        count = f", n {self.n:,}" if n else ""
        return f"{self.amount(unit)} {self.interval(unit)}{count}"


def _number(value: float, unit: Unit, signed: bool) -> str:
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.0f}%" if unit == "share" else f"{value:{sign}.2f}"


@dataclass(frozen=True, kw_only=True)
class Baseline(ReceiptEstimate):
    name: str = ""
    """One of wording.BASELINES."""


@dataclass(frozen=True, kw_only=True)
class Lead(ReceiptEstimate):
    """How far a measure is ahead of its baseline, paired; above 0 is better."""

    over: str = ""
    """The baseline's name."""


@dataclass(frozen=True, kw_only=True)
class Measure(ReceiptEstimate):
    """An estimate beside the strongest baseline."""

    baseline: Baseline = Baseline()
    lead: Lead = Lead()


@dataclass(frozen=True, kw_only=True)
class CalibrationError(ReceiptEstimate):
    by_chance: float = 0.0
    """What a perfectly calibrated model's would be, and its 95% quantile."""
    by_chance_high: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CalibrationBin(ReceiptEstimate):
    """How often it happened, where `forecast` was predicted on average."""

    forecast: float = 0.0


@dataclass(frozen=True)
class Calibration:
    ece: CalibrationError
    brier: Measure
    bins: Sequence[CalibrationBin]


@dataclass(frozen=True, kw_only=True)
class CurvePoint(ReceiptEstimate):
    """Pairwise accuracy of a head that learned from so many judgements."""

    judgements: int
    log_loss: float = 0.0
    """Nats a judgement; 0 for points that are extrapolated."""


@dataclass(frozen=True)
class LearningCurve:
    verdict: str
    sentence: str
    points: Sequence[CurvePoint]
    ahead: Sequence[CurvePoint]
    """Extrapolated."""
    target: float = 0.0
    """An accuracy within reach, and how many more judgements it takes."""
    more: ReceiptEstimate = ReceiptEstimate()


@dataclass(frozen=True, kw_only=True)
class BestOfN(ReceiptEstimate):
    best_of: int


@dataclass(frozen=True)
class Spread:
    """Standard deviation of rewards within prompts, of their error, and the share of variance."""

    verdict: str
    sentence: str
    within: ReceiptEstimate = ReceiptEstimate()
    error: ReceiptEstimate = ReceiptEstimate()
    share: ReceiptEstimate = ReceiptEstimate()


@dataclass(frozen=True, kw_only=True)
class Trait(ReceiptEstimate):
    apart: bool
    """The interval leaves out the crowd."""


@dataclass(frozen=True)
class Annotator:
    annotator: str
    judgements: Mapping[str, int]
    traits: Mapping[str, Trait]


@dataclass(frozen=True)
class HumanCeiling:
    sentence: str
    at_least: ReceiptEstimate = ReceiptEstimate()
    at_most: ReceiptEstimate = ReceiptEstimate()


@dataclass(frozen=True)
class EqualLength:
    """Pairwise accuracy where texts are equally long, by which was preferred, and balanced."""

    near: ReceiptEstimate
    longer: ReceiptEstimate
    shorter: ReceiptEstimate
    balanced: ReceiptEstimate


@dataclass(frozen=True)
class HeldOut:
    """Pairwise accuracy beside its baselines: the headline."""

    of: str
    """What pairs were made of: one of wording.PAIR_SOURCES."""
    accuracy: ReceiptEstimate = ReceiptEstimate()
    lead: Lead = Lead()
    baselines: Mapping[str, ReceiptEstimate] = field(default_factory=dict)
    prompts: int = 0


@dataclass(frozen=True)
class Receipt:
    """All that a receipt shows; `build.receipt` says where each part comes from."""

    summary: str
    verdict: str
    held_out: HeldOut
    headline: str
    """Which of wording.SOURCES `held_out` is about."""
    judgements: Mapping[str, int]
    annotators_count: int
    objective: str
    tuning: str
    scores: Mapping[str, Mapping[str, Measure]]
    """By source and name of the measure."""
    spread: Spread
    best_of_n: Sequence[BestOfN]
    dropped: Mapping[str, int]
    facts: Mapping[str, object]
    ceiling: HumanCeiling | None = None
    equal_length: EqualLength | None = None
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    annotators: Sequence[Annotator] = ()
    learning: LearningCurve | None = None
    judged_best_of_n: Sequence[BestOfN] = ()

    @classmethod
    def read(cls, found: Mapping[str, object]) -> Receipt:
        """From a receipt or a run's report. Raises ValueError where it is neither."""
        return _adapter().validate_python(_without_null(found))


@cache
def _adapter() -> TypeAdapter[Receipt]:
    return TypeAdapter(Receipt)


def read_held_out(found: Mapping[str, object]) -> HeldOut:
    """The headline alone, while a receipt is being made."""
    return TypeAdapter(HeldOut).validate_python(_without_null(found))


def _without_null(value: object) -> object:
    """Without the keys whose value is null: their fields then take the defaults."""
    if isinstance(value, Mapping):
        return {k: _without_null(v) for k, v in value.items() if v is not None}
    return [_without_null(v) for v in value] if isinstance(value, list) else value
