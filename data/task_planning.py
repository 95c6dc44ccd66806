"""Who is asked what, and in which order: pure decisions, which the store carries out."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, zip_longest

from data.schema import Completion, Kind, Task
from data.self_identification import names_maker

LEASE_MINUTES = 10
"""How long a task is one annotator's, from their last sign of life."""
AHEAD_MINUTES = 2
"""The same for the task that comes after the one they look at: others may need it sooner."""
SKIPS_TO_LEAD = 3
"""A task that this many annotators skipped is kept for a lead."""
OVERLAP = 3
"""Annotators of a task that several are to judge, so that their agreement can be seen."""
BLOCK = 6
"""Tasks of one kind that follow each other before the kind changes: fewer changes of mind."""
DEFAULT_SHARES: Mapping[Kind, float] = {"pairwise": 0.6, "scalar": 0.2, "binary": 0.2}

Question = tuple[Kind, frozenset[str]]
"""What a task asks, whichever way round: its kind and the ids of its completions."""


def question(task: Task) -> Question:
    """The question of a task: (a, b) and (b, a) are one."""
    return task.kind, frozenset(side.id for side in task.sides)


@dataclass(frozen=True)
class Mix:
    """Completions that are there already, which new ones are paired with."""

    partners: Sequence[Completion] = ()
    """Answers to the same prompts; every pair has a new completion in it."""
    models: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Who wrote a completion, by its id, for the partners and the new ones."""
    across: float = 0.0
    """At least this share of the pairs is between models, even if fewer pairs come of it."""

    def between(self, task: Task) -> bool:
        """Whether a pair's answers are by different models."""
        a, b = (self.models.get(side.id, frozenset()) for side in task.sides)
        return bool(a and b) and not a & b


@dataclass(frozen=True)
class Shares:
    """How much of what annotators are asked serves to see how far they can be trusted."""

    overlap: float = 0.15
    """Of the new tasks, those that three people judge."""
    gold: float = 0.05
    """Of what each person is asked, tasks whose answer is known."""
    repeat: float = 0.05
    """Of what each person is asked, tasks they answered before, with the sides swapped."""
    repeat_days: float = 2.0
    """How long ago they must have answered."""

    def __post_init__(self) -> None:
        for name in ("overlap", "gold", "repeat"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"share {name} {value} not allowed: use 0 to 1")
        if self.gold + self.repeat > 0.5:
            raise ValueError(
                f"gold {self.gold} and repeat {self.repeat} together are more than half of what is"
                " asked: use less"
            )
        if not 0 <= self.repeat_days <= 365:
            raise ValueError(f"repeat days {self.repeat_days} not allowed: use 0 to 365")


def side_order(rng: random.Random) -> str:
    """Which completion of a pair is shown first: a fair coin, decided once and then stored."""
    return rng.choice("ab")


def plan_tasks(
    completions: Iterable[Completion],
    rng: random.Random,
    *,
    limit: int,
    shares: Mapping[Kind, float] = DEFAULT_SHARES,
    wanted: int = 1,
    overlap: float = 0.0,
    start: float = 0.0,
    mix: Mix | None = None,
    asked: Collection[Question] = (),
) -> list[Task]:
    """Up to `limit` tasks over the completions, spread evenly over prompts, in blocks by kind.

    Every prompt gets its first task of a kind before any gets its second. A share of `overlap`
    wants OVERLAP annotators instead of `wanted`. `start` is the position after which the new tasks
    queue. `mix` lets pairs take completions that are there already; what was `asked` is not asked
    again; a text that names its maker is left out. Raises ValueError for a share below 0 or all
    at 0.
    """
    if min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ValueError(f"task shares {dict(shares)} not allowed: use numbers of 0 or more")
    mix = mix or Mix()
    new, old = _by_prompt(completions), _by_prompt(mix.partners)
    total = sum(shares.values())
    chosen: dict[Kind, list[Task]] = {}
    for kind, share in shares.items():
        groups = [_tasks_of(kind, group, old.get(p, []), rng, wanted) for p, group in new.items()]
        rng.shuffle(groups)
        fresh = [[task for task in group if question(task) not in asked] for group in groups]
        if kind == "pairwise" and mix.across:
            pool = _mix_pairs(fresh, mix)
        else:
            pool = [task for turn in zip_longest(*fresh) for task in turn if task is not None]
        chosen[kind] = pool[: round(limit * share / total)]
    ordered = _in_blocks(chosen)
    several = set(rng.sample(range(len(ordered)), round(overlap * len(ordered))))
    return [
        replace(t, wanted=max(t.wanted, OVERLAP * (i in several)), position=start + 1 + i)
        for i, t in enumerate(ordered)
    ]


def _by_prompt(completions: Iterable[Completion]) -> dict[str, list[Completion]]:
    """Each answer once, by prompt id; what cannot be asked about is left out.

    An empty answer is asked about like any other: a model that ended at once has lost. Of those
    that stopped before any answer, and of equal ones after other thinking, one is enough; where
    all stopped before, there is nothing to ask.
    """
    found: dict[str, dict[tuple[str, bool], Completion]] = {}
    for completion in sorted(completions, key=lambda c: not (c.finished or c.text.strip())):
        if not names_maker(completion.written):
            said = completion.text.strip() and completion.text
            group = found.setdefault(completion.prompt.id, {})
            group.setdefault((said, completion.finished or not said), completion)
    groups = {prompt: list(group.values()) for prompt, group in found.items()}
    return {p: g for p, g in groups.items() if any(c.finished or c.text.strip() for c in g)}


def _tasks_of(
    kind: Kind,
    group: Sequence[Completion],
    partners: Sequence[Completion],
    rng: random.Random,
    wanted: int,
) -> list[Task]:
    if kind == "pairwise":
        here = {completion.id for completion in group}
        pairs = [*combinations(group, 2)]
        pairs += [(new, old) for new in group for old in partners if old.id not in here]
        sides = [rng.sample(pair, 2) for pair in pairs]
        tasks = [Task(kind, a, b, wanted) for a, b in sides if a.text != b.text]
    else:
        tasks = [Task(kind, completion, None, wanted) for completion in group]
    rng.shuffle(tasks)
    return tasks


def _mix_pairs(groups: Sequence[Sequence[Task]], mix: Mix) -> list[Task]:
    """Round robin over prompts in which, wherever it is cut, `mix.across` of the pairs are between
    models. A prompt that lacks the pair that is due is passed over."""
    between = [[task for task in group if mix.between(task)][::-1] for group in groups]
    within = [[task for task in group if not mix.between(task)][::-1] for group in groups]
    chosen: list[Task] = []
    crossed, before = 0, -1
    while len(chosen) > before:
        before = len(chosen)
        for these, those in zip(between, within, strict=True):
            due = crossed < mix.across * (len(chosen) + 1)
            if those and not due:
                chosen.append(those.pop())
            elif these:
                chosen.append(these.pop())
                crossed += 1
    return chosen


def _in_blocks(by_kind: Mapping[Kind, list[Task]]) -> list[Task]:
    """Interleave the kinds in blocks, each kind spread over the whole in proportion."""
    blocks: list[tuple[float, list[Task]]] = []
    for tasks in by_kind.values():
        cut = [tasks[i : i + BLOCK] for i in range(0, len(tasks), BLOCK)]
        blocks += [((i + 0.5) / len(cut), block) for i, block in enumerate(cut)]
    blocks.sort(key=lambda item: item[0])
    return [task for _, block in blocks for task in block]
