"""Whether judgements can carry an objective; refusals in one line. No torch here."""

from __future__ import annotations

import numpy as np

from reward_model.config import KINDS_OF, MIN_JUDGEMENTS, OBJECTIVES, Objective
from reward_model.dataset.examples import TIE, Examples

NAMES = {"pairwise": "comparisons", "scalar": "1-10 ratings", "binary": "good-or-bad judgements"}


def require_enough(objective: Objective, examples: Examples, where: str = "") -> None:
    """Raise ValueError, with what to do, where the judgements cannot carry the objective.

    `where` says which judgements they are, e.g. " of training prompts".
    """
    kinds = KINDS_OF[objective]
    named = ("judgements" if len(kinds) > 1 else NAMES[kinds[0]]) + where
    n = sum(examples.kinds[kind] for kind in kinds)
    if not n:
        there = ", ".join(f"{n:,} {NAMES[kind]}" for kind, n in examples.kinds.items())
        raise ValueError(
            f"no {named} for objective {objective} (there are {there}): collect some"
            f"{_suggest_objective(objective, examples)}"
        )
    telling = sum(_count_telling(examples, kind) for kind in kinds)
    if not telling:
        said = {
            "pairwise": ["ties"] * bool(len(examples.pairs)),
            "scalar": [f"{rating} of 10" for rating in examples.scalar.rating[:1]],
            "binary": ["good" if good else "bad" for good in examples.binary.good[:1]],
        }
        answers = ", ".join(answer for kind in said if kind in kinds for answer in said[kind])
        raise ValueError(
            f"all {n} {named} say the same ({answers}): there is nothing to learn from them;"
            f" collect some that differ{_suggest_objective(objective, examples)}"
        )
    if telling < MIN_JUDGEMENTS:
        raise ValueError(
            f"{telling} {named} that tell completions apart are too few: at least"
            f" {MIN_JUDGEMENTS} are needed, so collect {MIN_JUDGEMENTS - telling} more"
        )


def _count_telling(examples: Examples, kind: str) -> int:
    """How many judgements say anything: comparisons that are not ties, ratings that differ."""
    if kind == "pairwise":
        return int((examples.pairs.outcome != TIE).sum())
    said = examples.scalar.rating if kind == "scalar" else examples.binary.good
    return len(said) if len(np.unique(said)) > 1 else 0


def _suggest_objective(objective: Objective, examples: Examples) -> str:
    """Another objective that these judgements can carry, if there is one."""
    for other in OBJECTIVES:
        able = sum(_count_telling(examples, kind) for kind in KINDS_OF[other]) >= MIN_JUDGEMENTS
        if other != objective and able:
            return f", or use --objective {other}"
    return ""
