"""The receipt as typed data, read from the JSON that `build.receipt` makes and receipt.json keeps.

No torch here, nor numpy: whoever shows a receipt loads only this. A key that a receipt made before
does not have, and null, take the field's default; keys that are not named here are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from pydantic import TypeAdapter

from data.stats.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class ReceiptEstimate(Estimate):
    """An estimate by the bootstrap over prompts, as a receipt keeps it.

    `value` is None where there is too little data: n and prompts then say how much there is.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    prompts: int = 0
    needs_prompts: int = 0
    """Prompts that it takes, where there is no value yet."""


@dataclass(frozen=True, kw_only=True)
class Baseline(ReceiptEstimate):
    name: str = ""
    """One of config.BASELINES."""


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
class TraitEstimate(ReceiptEstimate):
    apart: bool
    """The interval leaves out the crowd."""


@dataclass(frozen=True)
class AnnotatorTraits:
    annotator: str
    judgements: Mapping[str, int]
    traits: Mapping[str, TraitEstimate]


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


@dataclass(frozen=True, kw_only=True)
class OtherHead(ReceiptEstimate):
    """Cross-validated pairwise accuracy of a head that reads something else."""

    name: str
    """One of wording.OTHER_HEADS."""
    reads: str
    lead: ReceiptEstimate = ReceiptEstimate()
    """How far the model's own head is ahead, paired; selecting its features is paid for."""


@dataclass(frozen=True)
class Features:
    """Which hidden states the head reads, and what was chosen among."""

    reads: str
    in_folds: Sequence[str] = ()
    among: Sequence[str] = ()
    others: Sequence[OtherHead] = ()


@dataclass(frozen=True)
class HeldOut:
    """Pairwise accuracy beside its baselines: the headline."""

    of: str
    """What pairs were made of: one of wording.PAIR_SOURCES."""
    accuracy: ReceiptEstimate = ReceiptEstimate()
    lead: Lead = Lead()
    baselines: Mapping[str, ReceiptEstimate] = field(default_factory=dict)
    prompts: int = 0
    pairs: int = 0
    shown_first_known: int | None = None
    """Pairs of which it is known which was shown first; None in receipts that did not count it."""


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
    features: Features | None = None
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    annotators: Sequence[AnnotatorTraits] = ()
    learning: LearningCurve | None = None
    judged_best_of_n: Sequence[BestOfN] = ()

    @classmethod
    def read(cls, found: Mapping[str, object]) -> Receipt:
        """From a receipt's JSON, or a report of a reward model's run, which holds one.

        Raises ValueError, which names the field, where it is neither.
        """
        return _adapter().validate_python(_without_null(found))


@cache
def _adapter() -> TypeAdapter[Receipt]:
    return TypeAdapter(Receipt)


def read_held_out(found: Mapping[str, object]) -> HeldOut:
    """The headline alone, while a receipt is being made."""
    return TypeAdapter(HeldOut).validate_python(_without_null(found))


def _without_null(value: object) -> object:
    """Without the keys whose value is null: their fields then take the defaults.

    Null and an absent key mean the same to whoever shows a receipt, and versions differ in which
    of the two they wrote.
    """
    if isinstance(value, Mapping):
        return {k: _without_null(v) for k, v in value.items() if v is not None}
    return [_without_null(v) for v in value] if isinstance(value, list) else value
