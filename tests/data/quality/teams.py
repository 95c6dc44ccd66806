"""Teams of simulated annotators who judge in memory: no store and no server."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from data import starter
from data.schema import Completion, Judgement, Task, make_prompt, timestamp
from data.simulated_annotators import TYPICAL_UTILITY, Persona, SimulatedAnnotator, crew, utility
from data.task_planning import plan_tasks, side_order

OVERLAP, GOLD, REPEATS = 0.15, 0.05, 0.05
"""The shares of a new workspace."""
PROMPTS = 200
KNOWN = 90
"""Tasks with a known answer, more than anyone is asked."""
CLEAR = 0.7
"""Utility by which a known answer is beyond doubt."""
_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Work:
    """What a team said, in order of time."""

    people: list[SimulatedAnnotator]
    queue: list[Judgement] = field(default_factory=list)
    repeats: list[tuple[Judgement, Judgement]] = field(default_factory=list)
    gold: list[tuple[Judgement, str]] = field(default_factory=list)

    def first(self, each: int) -> Work:
        """The same when everybody had given so many."""
        last = each * len(self.people)
        return Work(
            self.people,
            [j for j in self.queue if j.id < last],
            [two for two in self.repeats if two[1].id < last],
            [one for one in self.gold if one[0].id < last],
        )


@cache
def completions() -> tuple[Completion, ...]:
    """Demonstrations, and each of them made worse, longer or another in several ways."""
    lines = (starter.FOLDER / "demonstrations.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:PROMPTS]]
    found = []
    for i, row in enumerate(rows):
        prompt, text = make_prompt(row["prompt"]), row["completion"]
        other = rows[(i + 1) % len(rows)]["completion"]
        found += [
            Completion(prompt, text),
            Completion(prompt, text[: len(text) // 2], finished=False),
            Completion(prompt, f"{text} {other}"),
            Completion(prompt, f"Great question! {text} I hope that helps, enjoy!"),
            Completion(prompt, f"{other} {other}"),
            Completion(prompt, f"As an AI language model I say: {text[: 2 * len(text) // 3]}"),
        ]
    return tuple(found)


_worth = cache(utility)


def known_answer(task: Task) -> str | None:
    """What is true beyond doubt; None for what is not."""
    if task.kind == "scalar":
        return str(max(1, min(10, round(5.5 + 2.5 * (_worth(task.a) - TYPICAL_UTILITY)))))
    gap = _worth(task.a) - (_worth(task.b) if task.b else TYPICAL_UTILITY)
    if abs(gap) < CLEAR:
        return None
    return ("a" if gap > 0 else "b") if task.b else ("good" if gap > 0 else "bad")


def team(habit: Persona, each: int, seed: int, size: int = 6, with_habit: int = 2) -> Work:
    """`size` annotators, the last `with_habit` of whom have the habit, and what they said."""
    personas: list[Persona] = ["careful"] * (size - with_habit) + [habit] * with_habit
    return judged(crew(personas, size, seed), each, seed)


def judged(people: Sequence[SimulatedAnnotator], each: int, seed: int) -> Work:
    """Everybody gives so many answers in turn: tasks, known ones and repeats as they come."""
    rng = random.Random(f"team-{seed}")
    wanted = round(each * len(people) * 0.9 / (1 + 2 * OVERLAP)) + 50
    tasks = plan_tasks(completions(), rng, limit=wanted, overlap=OVERLAP)
    checks = [t for t in plan_tasks(completions(), rng, limit=4 * KNOWN + 40) if known_answer(t)]
    work = Work(list(people))
    desks = [_Desk(person, rng, tasks, checks[:KNOWN]) for person in people]
    places = [task.wanted for task in tasks]
    for turn in range(each):
        for n, desk in enumerate(desks):
            desk.answer(turn, turn * len(people) + n, places, work)
    return work


class _Desk:
    """One annotator at work."""

    def __init__(
        self, person: SimulatedAnnotator, rng: random.Random, tasks: list[Task], gold: list[Task]
    ) -> None:
        self.person, self.rng = person, rng
        self.gold = rng.sample(gold, len(gold))
        self.tasks = iter(enumerate(tasks))
        self.past: list[Judgement] = []

    def answer(self, turn: int, number: int, places: list[int], work: Work) -> None:
        draw = self.rng.random()
        if draw < GOLD:
            task = self.gold.pop()
            work.gold.append((self._say(task, turn, number), known_answer(task) or ""))
        elif draw < GOLD + REPEATS and len(self.past) > 10:
            first = self.past.pop(self.rng.randrange(len(self.past) - 10))
            shown = {"a": "b", "b": "a"}.get(first.shown_first or "")
            work.repeats.append((first, self._say(first.task, turn, number, shown)))
        else:
            said = self._say(self._next(places), turn, number)
            self.past.append(said)
            work.queue.append(said)

    def _next(self, places: list[int]) -> Task:
        i, task = next((i, task) for i, task in self.tasks if places[i] > 0)
        places[i] -= 1
        return task

    def _say(self, task: Task, turn: int, number: int, shown: str | None = None) -> Judgement:
        side = (shown or side_order(self.rng)) if task.b else None
        answer = self.person.after(turn).judge(task, side, self.rng)
        moment = timestamp(_START + timedelta(minutes=number))
        return Judgement(number, task, self.person.name, answer, side, moment)
