"""Ratings of other scales: `WORST..BEST`, e.g. 1..5, onto the whole numbers from 1 to 10.

The rule: the worst becomes 1, the best 10, what is between goes in proportion, 1 + 9 (value -
worst) / (best - worst), rounded to the nearest whole number, halves up. The rating as it was given
is kept beside it ("5 of 1..5").
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from data.exchange.validation import show, spell_pair
from data.imports.shapes.lines import Unsaid
from data.imports.shapes.questions import tone_of
from data.schema import JsonObject

_SCALE = re.compile(
    r"(?:(?P<question>.+)=)?(?P<worst>-?\d+(?:\.\d+)?)\.\.(?P<best>-?\d+(?:\.\d+)?)"
)
LARGEST = 1_000_000


class Scales:
    """The scale of each question's ratings, as the user says it.

    Raises ValueError for what is no scale.
    """

    def __init__(self, said: Sequence[str] = ()) -> None:
        self._scales: dict[str, tuple[Fraction, Fraction, str]] = {}
        """By question; "" for all others."""
        self._asked: set[str] = set()
        for words in said:
            found = _SCALE.fullmatch(words.strip())
            if found is None:
                raise _no_scale(words)
            worst, best = Fraction(found["worst"]), Fraction(found["best"])
            if worst == best or max(abs(worst), abs(best)) > LARGEST:
                raise _no_scale(words)
            spelled = f"{found['worst']}..{found['best']}"
            self._scales[found["question"] or ""] = worst, best, spelled

    def apply(self, line: JsonObject, left_out: Counter[str] | None = None) -> JsonObject:
        """A line with its rating from 1 to 10.

        A rating of a question (`question`) must have a scale; one that is in the exchange format
        has one, unless another is given for all. The scale for all does not cover a question that
        asks about a fault, and it is told where a name does not say what is asked. Raises
        ValueError without a scale, and for a rating beyond it.
        """
        question = line.get("question")
        if question is None and (not self._scales or line.get("original") is not None):
            return line
        line = {key: value for key, value in line.items() if key != "question"}
        if line.get("kind") != "scalar":
            return line
        named = "" if question is None else str(question)
        self._asked.add(named)
        scale, value = self._scales.get(named), line.get("value")
        if scale is None and question is not None:
            _check_tone(named, value, "" in self._scales, left_out)
        scale = scale or self._scales.get("")
        if scale is None:
            if question is None:
                return line
            raise Unsaid(
                f"rating {show(value)} to {show(named)}: the export does not say of how many; add "
                "--scale WORST..BEST, e.g. --scale 1..5 for five stars"
            )
        return line | _map(named, value, *scale)

    def check_used(self) -> None:
        """ValueError for the scale of a question that no rating answered."""
        unused = self._scales.keys() - self._asked - {""}
        if unused:
            asked = ", ".join(sorted(map(show, self._asked - {""}))) or "no question by name"
            raise Unsaid(
                f"--scale names {show(min(unused))}, which no rating answers: the ratings answer"
                f" {asked}"
            )


def _check_tone(question: str, value: object, scaled: bool, left_out: Counter[str] | None) -> None:
    """Ask about the rating of a fault; tell, where one scale holds for all, of an unknown one."""
    tone = tone_of(question)
    if tone == "fault":
        raise Unsaid(
            f"rating {show(value)} to {show(question)}, where the highest may be the worst: say"
            f" --scale {spell_pair(question, 'WORST..BEST')}, e.g."
            f" {spell_pair(question, '5..1')}, or leave the question out with --columns"
            f" {spell_pair(question)}"
        )
    if tone == "neither" and scaled and left_out is not None:
        left_out[
            f"rating to {show(question)}: read on the scale for all (else say --scale"
            f" {spell_pair(question, 'WORST..BEST')})"
        ] += 1


def _map(question: str, value: object, worst: Fraction, best: Fraction, spelled: str) -> JsonObject:
    about = f" to {show(question)}" if question else ""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isinf(value):
        raise ValueError(f"rating {show(value)}{about} not allowed: use a number")
    exact = Fraction(repr(value))
    if not min(worst, best) <= exact <= max(worst, best):
        raise Unsaid(f"rating {value:g}{about} is beyond {spelled}: check --scale")
    mapped = math.floor(1 + 9 * (exact - worst) / (best - worst) + Fraction(1, 2))
    same = worst == 1 and best == 10 and exact == mapped
    return {"value": mapped, "original": None if same else f"{value:g} of {spelled}"}


def _no_scale(words: str) -> ValueError:
    return ValueError(
        f"--scale {show(words)} not allowed: write WORST..BEST, e.g. 1..5, or QUESTION=1..5 for "
        "one question"
    )
