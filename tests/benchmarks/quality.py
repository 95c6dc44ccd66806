"""Which habits of annotators are found after how many judgements, and who is accused wrongly.

python -m tests.benchmarks.quality [--teams N]

Teams of six simulated annotators, four of them careful, each with a threshold and a scale of their
own; tasks, checks and shares as a new workspace has them. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from unittest.mock import patch

from data import simulated
from data.agreement import wilson
from data.quality import Quality, quality, warnings
from data.simulated import Persona
from tests.benchmarks.figures import machine, say
from tests.teams import Work, team

AFTER = (50, 150, 400)
"""Judgements of each annotator."""
SOUGHT: Sequence[tuple[Persona, frozenset[str]]] = (
    ("random", frozenset({"quick"})),
    ("random", frozenset({"careless"})),
    ("lazy", frozenset({"quick"})),
    ("lazy", frozenset({"careless"})),
    ("length-loving", frozenset({"length"})),
    ("left-biased", frozenset({"side"})),
    ("drifting", frozenset({"drift"})),
    ("drifting", frozenset({"drift", "careless"})),
)
"""What each habit is to be named for."""
HABITS: Sequence[Persona] = ("random", "lazy", "length-loving", "left-biased", "drifting")
HONEST = "careful, beside these"
ALONE = "careful, all six"

Tally = dict[tuple[str, int], list[frozenset[str]]]
"""What each annotator was named for, by who they are and how many judgements."""


def report(work: Work, seed: int) -> Quality:
    return quality(work.queue, work.repeats, work.gold, seed=seed)


def measure(teams: int) -> Tally:
    """Judge with every habit, and with none; look at it after some judgements and after more."""
    tally: Tally = defaultdict(list)
    for seed in range(teams):
        for i, habit in enumerate((*HABITS, "careful")):
            work = team(habit, AFTER[-1], 100 * seed + i)
            for each in AFTER:
                _count(work.first(each), habit, each, seed, tally)
    return tally


def _count(work: Work, habit: Persona, each: int, seed: int, tally: Tally) -> None:
    named = defaultdict(set)
    for warning in warnings(report(work, seed)):
        named[warning.annotator].add(warning.kind)
    for person in work.people:
        who = HONEST if person.persona == "careful" else person.persona
        who = ALONE if habit == "careful" else who
        tally[who, each].append(frozenset(named[person.name]))


def rate(hits: Sequence[bool]) -> str:
    low, high = wilson(sum(hits) / len(hits), len(hits))
    return f"{sum(hits) / len(hits):.0%} [{low:.0%}, {high:.0%}]"


def table(tally: Tally) -> str:
    """One line a habit, one column a number of judgements."""
    heads = ["annotators", "named for", "n", *(f"after {each}" for each in AFTER)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, kinds in SOUGHT:
        hits = [[bool(kinds & named) for named in tally[name, each]] for each in AFTER]
        lines.append(_line(name, " or ".join(sorted(kinds)), hits))
    for honest in (HONEST, ALONE):
        hits = [[bool(named) for named in tally[honest, each]] for each in AFTER]
        lines.append(_line(honest, "anything, wrongly", hits))
    return "\n".join(lines)


def _line(name: str, what: str, hits: Sequence[Sequence[bool]]) -> str:
    return "| " + " | ".join([name, what, str(len(hits[0])), *map(rate, hits)]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teams", type=int, default=20, help="teams for each habit")
    teams = parser.parse_args().teams
    began = time.perf_counter()
    with patch.object(simulated, "utility", cache(simulated.utility)):
        tally = measure(teams)
    say(f"{machine()}, {teams} teams of 6 for each habit, {time.perf_counter() - began:.0f} s\n")
    say(table(tally))


if __name__ == "__main__":
    main()
