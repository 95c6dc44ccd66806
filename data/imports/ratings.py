"""Ratings of other scales: `WORST..BEST`, e.g. 1..5, onto the whole numbers from 1 to 10.

The rule: the worst becomes 1, the best 10, what is between goes in proportion, 1 + 9 (value -
worst) / (best - worst), rounded to the nearest whole number, halves up. The rating as it was given
is kept beside it ("5 of 1..5").
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from data.exchange.validation import JsonObject, show
from data.imports.shapes.lines import Unsaid

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

    def apply(self, line: JsonObject) -> JsonObject:
        """A line with its rating from 1 to 10.

        A rating of a question (`question`) must have a scale; one that is in the exchange format
        has one, unless another is given for all. Raises ValueError without a scale, and for a
        rating beyond it.
        """
        question = line.get("question")
        if question is None and (not self._scales or line.get("original") is not None):
            return line
        line = {key: value for key, value in line.items() if key != "question"}
        if line.get("kind") != "scalar":
            return line
        named = "" if question is None else str(question)
        self._asked.add(named)
        scale = self._scales.get(named) or self._scales.get("")
        value = line.get("value")
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


def _map(question: str, value: object, worst: Fraction, best: Fraction, spelled: str) -> JsonObject:
    about = f" to {show(question)}" if question else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
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
