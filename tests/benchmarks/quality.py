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

from scipy import stats

from data import simulated_annotators
from data.quality import Quality, quality, warnings
from data.quality.outliers import FAMILY_ERROR
from data.quality.outliers import HABITS as TESTED
from data.simulated_annotators import Persona
from data.stats.intervals import wilson
from reward_model.benchmark.tables import machine
from tests.benchmarks.figures import say
from tests.data.quality.teams import Work, team

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
SIZE = 6
"""Annotators in a team."""
HABITS: Sequence[Persona] = ("random", "lazy", "length-loving", "left-biased", "drifting")
HONEST = "careful, beside these"
ALONE = "careful, all six"
HONEST_TEAMS = 5
"""Teams without a habit for each team with one: what is rare takes more to be seen."""

Tally = dict[tuple[str, int], list[frozenset[str]]]
"""What each annotator was named for, by who they are and how many judgements."""


def report(work: Work, seed: int) -> Quality:
    return quality(work.queue, work.repeats, work.gold, seed=seed)


def measure(teams: int) -> Tally:
    """Judge with every habit, and with none; look at it after some judgements and after more."""
    tally: Tally = defaultdict(list)
    each_habit = [
        (habit, 100 * seed + i) for seed in range(teams) for i, habit in enumerate(HABITS)
    ]
    without = [("careful", 100 * seed + 5) for seed in range(HONEST_TEAMS * teams)]
    for habit, seed in each_habit + without:
        work = team(habit, AFTER[-1], seed, SIZE)
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


def at_best(teams: int) -> str:
    """How often a pull to the left would be found by the sides alone: no test that does not know
    which side is better sees more. Exact binomial test against even, at the level of the first
    that is named in a team."""
    works = [team("left-biased", AFTER[-1], 100 * seed + 3, SIZE) for seed in range(teams)]
    said = [j for work in works for j in work.queue if "left-biased" in j.annotator and j.task.b]
    taken = [j.answer.value == j.shown_first for j in said if j.answer.value != "tie"]
    share, decided = sum(taken) / len(taken), len(taken) / (2 * teams * AFTER[-1])
    found = []
    for each in AFTER:
        n = round(each * decided)
        least = stats.binom.isf(FAMILY_ERROR / (TESTED * SIZE) / 2, n, 0.5)
        found.append(f"{stats.binom.sf(least, n, share):.0%} after {each}")
    return (
        f"left-biased: the side shown first in {share:.0%} of {decided:.0%} of the judgements;"
        f" by the sides alone found in {', '.join(found)}"
    )


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
    teams = [[any(hit[i : i + SIZE]) for i in range(0, len(hit), SIZE)] for hit in hits]
    lines.append(_line("the same, by team", "anybody, wrongly", teams))
    return "\n".join(lines)


def _line(name: str, what: str, hits: Sequence[Sequence[bool]]) -> str:
    return "| " + " | ".join([name, what, str(len(hits[0])), *map(rate, hits)]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--teams", type=int, default=20, help="teams for each habit")
    teams = parser.parse_args().teams
    began = time.perf_counter()
    with patch.object(simulated_annotators, "utility", cache(simulated_annotators.utility)):
        tally, best = measure(teams), at_best(teams)
    took = time.perf_counter() - began
    say(f"{machine()}, {teams} teams of {SIZE} for each habit, {took:.0f} s\n")
    say(f"{table(tally)}\n\n{best}")


if __name__ == "__main__":
    main()
