"""Simulated annotators with a known utility, for demonstrations and tests: what is learned from
them can be checked against the truth.

The taste values what a person would: an answer to the question that was asked, concise, friendly,
finished, without repetition, copying or boilerplate. Length alone earns little: an answer that is
merely short or merely long scores low. Each simulated annotator adds noise, an own threshold and
scale, and a slight pull to the side shown first. A persona is a habit on top: in a hurry, drawn to
the left or to length, guessing, tiring. No torch here.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Literal

from data.schema import VALUES, Answer, Completion, Task
from data.store import Store

WEIGHTS = {
    "relevant": 1.0,
    "concise": 0.8,
    "friendly": 0.8,
    "finished": 1.0,
    "repetitive": -1.5,
    "copied": -0.7,
    "boilerplate": -0.7,
}
"""What each part of the taste is worth; all parts lie in [0, 1]."""
TYPICAL_UTILITY = 2.0
"""About what an ordinary answer of a small fine-tuned model is worth."""
TYPICAL_WORDS = 30
"""About how long it is."""
TIRED_AFTER = 150
"""Judgements after which an annotator who tires has lost about two thirds of what they will."""

Persona = Literal["careful", "lazy", "left-biased", "length-loving", "random", "drifting"]
PERSONAS: Mapping[Persona, Mapping[str, float]] = {
    "careful": {},
    "lazy": {"consistency": 0.6, "tie_width": 2.0, "spread": 0.8, "log_seconds": 0.7},
    "left-biased": {"first_side_pull": 2.5},
    "length-loving": {"per_word": 0.08},
    "random": {"guesses": 1.0, "log_seconds": 0.7},
    "drifting": {"fading": 0.8, "hardening": 1.5},
}
"""What sets each habit apart from a careful annotator."""

_WORD = re.compile(r"[a-z0-9']+")
_SMALL_WORDS = frozenset(
    "a about after all also an and any are as at be because been before but by can could did do"
    " does each for from get give had has have he her him his how i if in into is it its just"
    " like make many may me more most much my no not of on one only or other our out over please"
    " put say she should so some such than that the their them then there these they this"
    " those to two up us use very was we were what when where which who why will with"
    " would write you your".split()
)
_WARM = {
    "glad", "happy", "enjoy", "hope", "thank", "thanks", "welcome", "lovely", "wonderful", "kind",
    "luck", "care", "congratulations", "cheers", "delighted", "pleasure",
}  # fmt: skip
_BOILERPLATE = (
    "as an ai", "language model", "great question", "certainly!", "important to note",
    "in conclusion", "i cannot provide", "it depends on various",
)  # fmt: skip


def traits(completion: Completion) -> dict[str, float]:
    """The parts of the taste, each in [0, 1]."""
    text = completion.text.lower()
    words = _WORD.findall(text)
    asked = _WORD.findall(completion.prompt.messages[-1].content.lower())
    n = len(words)
    warm = len(set(words) & _WARM)  # two different warm words, or one and speaking to the person
    runs, fours, source = _word_runs(words, 3), _word_runs(words, 4), set(_word_runs(asked, 4))
    copied = sum(run in source for run in fours) / len(fours) if fours else 0.0
    return {
        "relevant": _share_taken_up(asked, words),
        "concise": n / 10 if n < 10 else max(0.0, min(1.0, (80 - n) / 40)),
        "friendly": min(1.0, 0.5 * warm + 0.25 * any(w.startswith("you") for w in words)),
        "finished": float(completion.finished and completion.text.rstrip()[-1:] in set(".!?)\"'")),
        "repetitive": 1 - len(set(runs)) / len(runs) if runs else 0.0,
        "copied": max(0.0, 2 * copied - 1),  # of what is copied, the first half costs nothing
        "boilerplate": min(1.0, sum(p in text for p in _BOILERPLATE)),
    }


def utility(completion: Completion) -> float:
    """What the taste says an answer is worth; from about -3 to 3.6."""
    return sum(WEIGHTS[name] * value for name, value in traits(completion).items())


def _share_taken_up(asked: list[str], words: list[str]) -> float:
    """Share of up to four of the question's content words (by stem) that the answer takes up."""
    wanted = {w[:5] for w in asked if w not in _SMALL_WORDS and len(w) > 2}
    if not wanted or not words:
        return 0.5 if words else 0.0
    return min(1.0, len(wanted & {w[:5] for w in words}) / min(4, len(wanted)))


def _word_runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(length)), strict=False))


@dataclass(frozen=True)
class SimulatedAnnotator:
    """One annotator's way of judging the common taste."""

    name: str
    consistency: float = 3.0
    """How steeply utility differences decide: logits per unit of utility."""
    tie_width: float = 0.5
    """Davidson's tie propensity: 0 never ties."""
    first_side_pull: float = 0.2
    """Logits in favour of the side shown first."""
    threshold: float = TYPICAL_UTILITY
    """Utility from which good is likelier than bad."""
    centre: float = 5.5
    """The rating given to a typical answer."""
    spread: float = 2.5
    """Rating points per unit of utility."""
    persona: Persona = "careful"
    log_seconds: float = 2.3
    """Logarithm of the median seconds a judgement takes."""
    per_word: float = 0.0
    """Utility that this annotator alone sees in each word beyond the typical length."""
    guesses: float = 0.0
    """Share of the answers that are given without looking."""
    fading: float = 0.0
    """Share of the consistency that is lost in the end."""
    hardening: float = 0.0
    """Utility by which the demands have risen in the end."""

    def after(self, judgements: int) -> SimulatedAnnotator:
        """The same annotator with that many judgements behind them."""
        tired = 1 - math.exp(-judgements / TIRED_AFTER)
        return replace(
            self,
            consistency=self.consistency * (1 - self.fading * tired),
            threshold=self.threshold + self.hardening * tired,
            centre=self.centre - self.spread * self.hardening * tired,
        )

    def judge(self, task: Task, shown_first: str | None, rng: random.Random) -> Answer:
        """An answer to the task: Davidson's Bradley-Terry, a logistic threshold, or a rating."""
        seconds = round(rng.lognormvariate(self.log_seconds, 0.4), 1)
        if self.guesses and rng.random() < self.guesses:
            value = rng.choice(VALUES[task.kind])
        elif task.b is not None:
            pull = self.first_side_pull * (1 if shown_first == "a" else -1)
            difference = self._utility_to_me(task.a) - self._utility_to_me(task.b)
            d = self.consistency * difference + pull
            weights = (math.exp(d / 2), math.exp(-d / 2), self.tie_width)
            value = rng.choices(("a", "b", "tie"), weights)[0]
        elif task.kind == "binary":
            logit = self.consistency * (self._utility_to_me(task.a) - self.threshold)
            chance = 1 / (1 + math.exp(-logit))
            value = "good" if rng.random() < chance else "bad"
        else:
            mean = self.centre + self.spread * (self._utility_to_me(task.a) - TYPICAL_UTILITY)
            value = str(max(1, min(10, round(rng.gauss(mean, 1.0)))))
        return Answer(value, seconds=seconds)

    def _utility_to_me(self, completion: Completion) -> float:
        """The common taste, and what this annotator sees in length."""
        words = len(_WORD.findall(completion.text.lower()))
        return utility(completion) + self.per_word * (words - TYPICAL_WORDS)


def crowd(size: int, seed: int) -> list[SimulatedAnnotator]:
    """Annotators with thresholds and scales of their own. Raises ValueError for fewer than one."""
    if size < 1:
        raise ValueError(f"annotators {size} not allowed: use 1 or more")
    rng = random.Random(f"crowd-{seed}")
    return [
        SimulatedAnnotator(
            name=f"simulated-{i + 1}",
            consistency=3.0 * rng.lognormvariate(0, 0.2),
            threshold=TYPICAL_UTILITY + rng.gauss(0, 0.2),
            centre=5.5 + rng.gauss(0, 0.7),
            spread=2.5 * rng.lognormvariate(0, 0.2),
        )
        for i in range(size)
    ]


def crew(personas: Sequence[Persona], size: int, seed: int) -> list[SimulatedAnnotator]:
    """A crowd whose members take the personas in turn, each with thresholds and scales of its own.

    Raises ValueError for fewer than one annotator, or no persona.
    """
    if not personas:
        raise ValueError(f"no personas given: use one or more of {', '.join(PERSONAS)}")
    return [
        replace(one, name=f"simulated-{persona}-{i}", persona=persona, **PERSONAS[persona])
        for i, (one, persona) in enumerate(zip(crowd(size, seed), cycle(personas), strict=False), 1)
    ]


def simulate(
    store: Store,
    judgements: int,
    annotators: int = 6,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Let simulated annotators work through the queue, one claim and one answer at a time.

    They take the same path as people: claim, answer, submit. Returns how many judgements were
    given; fewer than asked where the queue runs empty. Raises ValueError for fewer than one.
    """
    if judgements < 1:
        raise ValueError(f"judgements {judgements} not allowed: use 1 or more")
    rng = random.Random(f"simulate-{seed}")
    working = []
    for simulated in crowd(annotators, seed):
        person = store.people.find(simulated.name) or store.people.add(simulated.name, "annotator")
        working.append((simulated, person))
    given = 0
    while working and given < judgements:
        simulated, person = working[given % len(working)]
        assignment = store.ledger.claim(person, rng)
        if assignment is None:
            working.remove((simulated, person))
            continue
        answer = simulated.judge(assignment.task, assignment.shown_first, rng)
        store.ledger.submit(person, assignment.id, answer, f"simulated:{rng.getrandbits(96):x}")
        given += 1
        if progress:
            progress(given, judgements)
    return given
