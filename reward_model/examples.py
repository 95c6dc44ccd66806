"""What a reward model learns from: the standing judgements as comparisons and targets.

A comparison or a target refers to completions by their place in one list, so that each text is read
once however often it was judged.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from data.scales import own_scale
from data.schema import Completion, Judgement
from data.splits import split_of
from reward_model.config import MIN_COMPARISONS, Objective


@dataclass(frozen=True)
class Comparison:
    """One pairwise judgement: places of the two completions, and who was better."""

    a: int
    b: int
    outcome: float
    """1 a, 0 b, 0.5 tie."""
    first: float
    """1 where a was shown first, 0 where b was, 0.5 where it is not known."""


@dataclass(frozen=True)
class Target:
    """One absolute judgement, on the annotator's own scale brought to mean 0 and spread 1."""

    item: int
    value: float
    raw: float
    kind: str
    annotator: str


@dataclass
class Examples:
    """Judged completions and what was said of them."""

    completions: list[Completion] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def by_prompt(self) -> dict[str, list[int]]:
        """Places of the completions, by prompt."""
        groups: dict[str, list[int]] = defaultdict(list)
        for place, completion in enumerate(self.completions):
            groups[completion.prompt.id].append(place)
        return dict(groups)


def split_judgements(
    judgements: Iterable[Judgement],
) -> tuple[list[Judgement], list[Judgement]]:
    """(train, held out) by prompt: a prompt is never on both sides."""
    train: list[Judgement] = []
    held_out: list[Judgement] = []
    for judgement in judgements:
        (train if split_of(judgement.prompt) == "train" else held_out).append(judgement)
    return train, held_out


def collect(judgements: Sequence[Judgement]) -> Examples:
    """Examples of all kinds."""
    examples = Examples()
    places: dict[str, int] = {}

    def place(completion: Completion) -> int:
        if completion.id not in places:
            places[completion.id] = len(examples.completions)
            examples.completions.append(completion)
        return places[completion.id]

    absolute = []
    for judgement in judgements:
        task = judgement.task
        if task.b is not None:
            outcome = {"a": 1.0, "b": 0.0, "tie": 0.5}[judgement.answer.value]
            first = {"a": 1.0, "b": 0.0}.get(judgement.shown_first or "", 0.5)
            examples.comparisons.append(Comparison(place(task.a), place(task.b), outcome, first))
        else:
            absolute.append((judgement, place(task.a)))
    examples.targets = _targets(absolute)
    return examples


def _targets(absolute: list[tuple[Judgement, int]]) -> list[Target]:
    raw = [_number(judgement) for judgement, _ in absolute]
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    kinds: dict[str, list[float]] = defaultdict(list)
    for (judgement, _), value in zip(absolute, raw, strict=True):
        groups[judgement.kind, judgement.annotator].append(value)
        kinds[judgement.kind].append(value)
    scales = {key: own_scale(values, kinds[key[0]]) for key, values in groups.items()}
    targets = []
    for (judgement, item), value in zip(absolute, raw, strict=True):
        mean, spread = scales[judgement.kind, judgement.annotator]
        standard = (value - mean) / spread
        targets.append(Target(item, standard, value, judgement.kind, judgement.annotator))
    return targets


def _number(judgement: Judgement) -> float:
    return float({"good": "1", "bad": "0"}.get(judgement.answer.value, judgement.answer.value))


def require_enough(objective: Objective, judgements: Sequence[Judgement]) -> None:
    """Raise ValueError where the judgements cannot carry the objective."""
    kinds = Counter(j.kind for j in judgements)
    have = ", ".join(f"{kinds[k]} {k}" for k in ("pairwise", "scalar", "binary"))
    if objective == "bradley_terry":
        decided = sum(j.kind == "pairwise" and j.answer.value != "tie" for j in judgements)
        if not kinds["pairwise"]:
            raise ValueError(
                f"no pairwise judgements for objective bradley_terry (there are {have}): collect"
                " some, or use --objective regression"
            )
        if decided < MIN_COMPARISONS:
            raise ValueError(
                f"{decided} comparisons that are not ties are too few: at least {MIN_COMPARISONS}"
                f" are needed, so collect {MIN_COMPARISONS - decided} more"
            )
    else:
        n = kinds["scalar"] + kinds["binary"]
        if not n:
            raise ValueError(
                f"no scalar or binary judgements for objective regression (there are {have}):"
                " collect some, or use --objective bradley_terry"
            )
        if n < MIN_COMPARISONS:
            raise ValueError(
                f"{n} ratings are too few: at least {MIN_COMPARISONS} are needed, so collect"
                f" {MIN_COMPARISONS - n} more"
            )
        if len({(j.kind, j.answer.value) for j in judgements if j.kind != "pairwise"}) < 2:
            raise ValueError("all ratings are the same: there is nothing to learn from them")
