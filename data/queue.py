"""Who is asked what, and in which order: pure decisions, which the store carries out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from data.schema import Completion, Kind, Task

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
) -> list[Task]:
    """Up to `limit` tasks over the completions, spread evenly over prompts, in blocks by kind.

    Every prompt gets its first task of a kind before any gets its second. A share of `overlap`
    wants OVERLAP annotators instead of `wanted`. `start` is the position after which the new tasks
    queue. Raises ValueError for a share below 0 or all at 0.
    """
    if min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ValueError(f"task shares {dict(shares)} not allowed: use numbers of 0 or more")
    by_prompt: dict[str, list[Completion]] = {}
    for completion in completions:
        if completion.text.strip():
            by_prompt.setdefault(completion.prompt.id, []).append(completion)
    total = sum(shares.values())
    chosen: dict[Kind, list[Task]] = {}
    for kind, share in shares.items():
        pool = _round_robin(
            [_tasks_of(kind, group, rng, wanted) for group in by_prompt.values()], rng
        )
        chosen[kind] = pool[: round(limit * share / total)]
    ordered = _in_blocks(chosen)
    several = set(rng.sample(range(len(ordered)), round(overlap * len(ordered))))
    return [
        replace(
            task,
            wanted=max(task.wanted, OVERLAP) if i in several else task.wanted,
            position=start + 1 + i,
        )
        for i, task in enumerate(ordered)
    ]


def _tasks_of(
    kind: Kind, group: Sequence[Completion], rng: random.Random, wanted: int
) -> list[Task]:
    if kind == "pairwise":
        pairs = [rng.sample(pair, 2) for pair in combinations(group, 2)]
        tasks = [Task(kind, a, b, wanted) for a, b in pairs if a.text != b.text]
    else:
        tasks = [Task(kind, completion, None, wanted) for completion in group]
    rng.shuffle(tasks)
    return tasks


def _round_robin(groups: list[list[Task]], rng: random.Random) -> list[Task]:
    rng.shuffle(groups)
    depth = max((len(g) for g in groups), default=0)
    return [group[i] for i in range(depth) for group in groups if i < len(group)]


def _in_blocks(by_kind: Mapping[Kind, list[Task]]) -> list[Task]:
    """Interleave the kinds in blocks, each kind spread over the whole in proportion."""
    blocks: list[tuple[float, list[Task]]] = []
    for tasks in by_kind.values():
        cut = [tasks[i : i + BLOCK] for i in range(0, len(tasks), BLOCK)]
        blocks += [((i + 0.5) / len(cut), block) for i, block in enumerate(cut)]
    blocks.sort(key=lambda item: item[0])
    return [task for _, block in blocks for task in block]
