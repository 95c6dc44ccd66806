"""How much of the way from the best baseline to what people reach a head has gone.

    share = (accuracy - best baseline) / (ceiling - best baseline)

The ceiling is what a person who knows the others' answers reaches: how often the majority of the
others who judged a pair is right about one of them. The best possible head may be above it: few
others are a rough guide to what people think.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from data.schema import JsonObject
from data.stats.bootstrap import Bootstrap, BootstrapDistribution
from data.stats.estimate import missing_json
from data.stats.intervals import Bools, Floats, Ints
from reward_model.benchmark.accuracy import BASELINES, CHOSEN, Compared, baseline_ways
from reward_model.benchmark.judged_texts import JudgedTexts, Say
from reward_model.dataset.examples import A, B, Examples, rows
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.evaluation.cross_validation import FOLDS
from reward_model.likelihood.fit import Prior

SMALL = 500
"""Judgements to learn from, at which the share is taken too."""


def others_are_right(examples: Examples) -> tuple[Floats, Ints]:
    """(n,) whether the majority of the others is right about one who preferred a side, and prompts.

    Of pairs that others judged too and found no tie; half right where they split evenly.
    """
    pairs = examples.pairs
    decided = rows(pairs, pairs.outcome <= B)
    low, high = np.minimum(decided.a, decided.b), np.maximum(decided.a, decided.b)
    vote = np.where((decided.outcome == A) == (decided.a == low), 1, -1)
    _, pair = np.unique(np.stack([low, high], 1), axis=0, return_inverse=True)
    pair = pair.ravel()
    total, size = np.bincount(pair, vote), np.bincount(pair)
    several = size[pair] > 1
    right = 0.5 + 0.5 * np.sign(total[pair] - vote) * vote
    return right[several], examples.prompt[decided.a[several]]


@dataclass(frozen=True)
class Heights:
    """What was right about the pairs of one part of a file: the head's, and each baseline's."""

    prompt: Ints
    """(n,)"""
    correct: Mapping[str, Floats]
    """By name (n,)."""


def share_of_ceiling(heights: Heights, examples: Examples, boot: Bootstrap) -> JsonObject:
    """Estimates of the "share" and its parts; "best" names the best baseline.

    In each draw of the bootstrap the best baseline is the one that is best there. Without pairs
    that several judged, share and ceiling are those of too few judgements.
    """
    right, prompt = others_are_right(examples)
    ours = boot.mean(heights.correct[CHOSEN], heights.prompt, share=True)
    baselines = {n: boot.mean(heights.correct[n], heights.prompt, share=True) for n in BASELINES}
    best = max(baselines, key=lambda name: baselines[name].value)
    draws = np.max([one.draws for one in baselines.values()], axis=0)
    base = BootstrapDistribution(baselines[best].value, draws, ours.n, ours.prompts, share=True)
    found: JsonObject = {"accuracy": ours.as_json(), "baseline": base.as_json(), "best": best}
    if not len(right):
        return {**found, "ceiling": missing_json(), "share": missing_json()}
    top = boot.mean(right, prompt, share=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(top.draws > base.draws, top.draws - base.draws, np.nan)
        shares = (ours.draws - base.draws) / room
    value = float("nan")
    if top.value > base.value:
        value = (ours.value - base.value) / (top.value - base.value)
    share = BootstrapDistribution(value, shares, top.n, top.prompts)
    return {**found, "ceiling": top.as_json(), "share": share.as_json()}


# -- parts of a file


def whole_prompts(examples: Examples, n: int, rng: np.random.Generator) -> Examples:
    """All judgements of random prompts, as many as have about n."""
    order = rng.permutation(examples.prompts)
    size = np.bincount(_prompts(examples), minlength=examples.prompts)[order]
    upto = int(np.searchsorted(np.cumsum(size), n)) + 1
    return examples.where(np.isin(examples.prompt, order[:upto]))


def of_all_prompts(examples: Examples, n: int, rng: np.random.Generator) -> Examples:
    """n random judgements, whatever their prompt."""
    kept = np.zeros(len(examples), bool)
    kept[rng.permutation(len(examples))[:n]] = True
    ends = np.cumsum([len(examples.pairs), len(examples.binary)])
    pairs, binary, scalar = np.split(kept, ends)
    return Examples(examples.completions, examples.prompt, examples.annotators,
                    rows(examples.pairs, pairs), rows(examples.binary, binary),
                    rows(examples.scalar, scalar))  # fmt: skip


def _prompts(examples: Examples) -> Ints:
    """The prompt of each judgement (n,)."""
    items = examples.pairs.a, examples.binary.item, examples.scalar.item
    return examples.prompt[np.concatenate(items)]


Subset = Callable[[Examples, int, np.random.Generator], Examples]
PARTS: dict[str, Subset] = {
    "all judgements of some prompts": whole_prompts,
    "some judgements of all prompts": of_all_prompts,
}


def heights_of_parts(
    texts: JudgedTexts, prior: Prior, part: Subset, draws: int, seed: int, say: Say
) -> Heights | None:
    """What heads and baselines that learn from SMALL judgements say of other prompts' pairs.

    Five folds within a part of 5/4 as many, several times over; the view is chosen in each fold,
    the prior is the whole file's. None where a file has too few.
    """
    n = SMALL * FOLDS // (FOLDS - 1)
    if len(texts.examples) < n:
        return None
    found = []
    for draw in range(draws):
        say(f"{texts.name}: {SMALL} judgements, {draw + 1} of {draws}")
        rng = np.random.default_rng((seed, draw))
        some = part(texts.examples, n, rng)
        found.append(_heights(texts, prior, some, seed + draw))
    names = (CHOSEN, *BASELINES)
    return Heights(
        np.concatenate([one.prompt for one in found]),
        {name: np.concatenate([one.correct[name] for one in found]) for name in names},
    )


def _heights(texts: JudgedTexts, prior: Prior, some: Examples, seed: int) -> Heights:
    pairs, among = preference_pairs(some), texts.candidates
    crossed, _ = among.cross_validate(some, prior, seed=seed)
    known: Bools = np.isfinite(crossed.reward)
    asked = known[pairs.better] & known[pairs.worse]
    correct = {CHOSEN: pairs.correct(crossed.reward)}
    correct |= {name: way.correct for name, way in baseline_ways(some, pairs, seed).items()}
    return Heights(pairs.prompt[asked], {name: right[asked] for name, right in correct.items()})


def ceiling_figures(
    texts: JudgedTexts, compared: Compared, draws: int, seed: int, say: Say
) -> dict[str, JsonObject | None]:
    """Shares at all judgements and, by the way they were drawn, at SMALL; None: too few."""
    correct = {name: compared.ways[name].correct for name in (CHOSEN, *BASELINES)}
    whole = Heights(texts.pairs.prompt, correct)
    found: dict[str, JsonObject | None] = {
        "all judgements": share_of_ceiling(whole, texts.examples, compared.boot)
    }
    for name, part in PARTS.items():
        heights = heights_of_parts(texts, compared.prior, part, draws, seed, say)
        share = share_of_ceiling(heights, texts.examples, compared.boot) if heights else None
        found[f"{SMALL}, {name}"] = share
    return found


def names_of(shares: Iterable[str]) -> list[str]:
    """Those at SMALL judgements."""
    return [name for name in shares if name.startswith(f"{SMALL},")]
