"""What is fitted beside the reward: of each annotator, each prompt, and each kind of question.

An annotator has a consistency, a side they favour, a leaning to ties, a threshold for "good", and
an offset and a scale of ratings; a prompt has a difficulty; kinds of questions have cut points and
gains. Each has a Gaussian prior, so an annotator or prompt with few judgements stays near the
average one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from reward_model.dataset.examples import Binary, Pairs, Scalar

Values = dict[str, Tensor]
"""Parameters by name; how many each name stands for is in `Part`."""
RATINGS = 10
DIFFICULTY = "difficulty"
"""The prompts' difficulties."""
DIFFICULTY_SD = 0.7
"""Prior standard deviation of a prompt's difficulty, in logits."""
GAINS = ("binary_gain", "scalar_gain", "strength_slope")
"""What a unit of reward is in other kinds of answers than which of two is better."""
SPREAD = 0.5
"""Prior standard deviation of sides and ties between annotators, and of log gains."""
PEOPLE = 0.8
"""Prior standard deviation of log consistency and log scale between annotators: wide enough for one
who hardly looks."""
PINNED = 0.01
"""How far from 0 the logarithm of the average consistency, and of the average scale, may be."""


@dataclass(frozen=True)
class Part:
    """One group of parameters: how many, and the Gaussian prior of each."""

    size: int
    mean: float = 0.0
    sd: float = 1.0


def parameters(
    pairs: Pairs, binary: Binary, scalar: Scalar, *, ordinal: bool, annotators: int, prompts: int
) -> dict[str, Part]:
    """What these judgements tell of, by name.

    ordinal: whether ratings have cut points, or are read as numbers. annotators, prompts: how many
    have parameters of their own; 0 leaves all of those out.
    """
    parts: dict[str, Part] = {}
    if len(pairs) and annotators:
        parts |= {"first": Part(1, 0, SPREAD), "log_tie": Part(1, math.log(0.5), 1)}
        if pairs.strength.any():
            parts |= {"strength_cut": Part(1, 0, 2), "strength_gap": Part(1, 0, 1)}
            parts["strength_slope"] = Part(1, 0, SPREAD)
    if len(binary):
        parts["bar"] = Part(1, 0, 2)
    if len(binary) and len(pairs):
        parts["binary_gain"] = Part(1, 0, SPREAD)
    if len(scalar) and ordinal:
        parts |= {"cut": Part(1, -3, 3), "gaps": Part(RATINGS - 2, math.log(0.8), 2)}
    elif len(scalar):
        parts["level"] = Part(1, 5.5, 5)
    if len(scalar) and (len(pairs) or len(binary)):
        parts["scalar_gain"] = Part(1, 0, SPREAD)
    if annotators:
        parts |= _of_annotators(pairs, binary, scalar, ordinal, annotators)
        if len(scalar) or len(binary):
            parts[DIFFICULTY] = Part(prompts, 0, DIFFICULTY_SD)
    return parts


def _of_annotators(
    pairs: Pairs, binary: Binary, scalar: Scalar, ordinal: bool, annotators: int
) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    if len(pairs) or len(binary):
        parts["consistency"] = Part(annotators, 0, PEOPLE)
    if len(pairs):
        parts |= {"side": Part(annotators, 0, SPREAD), "tie": Part(annotators, 0, SPREAD)}
    if len(binary):
        parts["threshold"] = Part(annotators, 0, 1)
    if len(scalar):
        parts |= {"offset": Part(annotators, 0, 1), "scale": Part(annotators, 0, PEOPLE)}
    if len(scalar) and not ordinal:
        parts["log_sd"] = Part(1, math.log(1.5), SPREAD)
    return parts
