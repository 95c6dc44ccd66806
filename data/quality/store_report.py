"""The statistics of a store's judgements: read, worked out, and ready to be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data.quality import Quality, Warning, quality, same_answer, warnings
from data.store import Store


@dataclass(frozen=True)
class GoldCount:
    """A task whose answer is known, how many answered it, and how many gave that answer."""

    task: str
    about: str
    """The beginning of its prompt."""
    value: str
    n: int
    right: int


@dataclass(frozen=True)
class QualityReport:
    """How far the judgements of a store can be trusted."""

    quality: Quality
    warnings: Sequence[Warning]
    """Who stands out from the rest of the team: for a lead to look at."""
    gold: Sequence[GoldCount]
    """Known answers in use, and how many gave them."""
    agreed: int
    """Tasks that could become gold: three or more people answered alike."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"quality": self.quality.as_dict()}


def quality_report(store: Store) -> QualityReport:
    """Everything that `data.quality` says of this store's standing judgements."""
    answers = store.control_tasks.answers()
    figures = quality(
        store.ledger.judgements(), store.control_tasks.repeats(), answers, store.content.writers()
    )
    asked = Counter(judgement.task.id for judgement, _ in answers)
    right = Counter(
        judgement.task.id
        for judgement, value in answers
        if same_answer(judgement.kind, judgement.answer.value, value)
    )
    gold = [
        GoldCount(
            task=gold.task.id,
            about=" ".join(gold.task.a.prompt.text.split())[:80],
            value=gold.value,
            n=asked[gold.task.id],
            right=right[gold.task.id],
        )
        for gold in store.control_tasks.gold()
    ]
    return QualityReport(figures, warnings(figures), gold, agreed=len(store.control_tasks.agreed()))
