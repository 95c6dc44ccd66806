"""A file of human judgements, and what a model's layers make of its texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from data.imports import import_file
from data.places.leftovers import scratch_folder
from data.places.private import private_folder
from data.stats.intervals import Floats
from data.store import Store
from reward_model.config import RewardSettings
from reward_model.dataset.examples import Examples, collect
from reward_model.dataset.preference_pairs import PreferencePairs, preference_pairs
from reward_model.evaluation.cross_validation import Model
from reward_model.evaluation.feature_choice import Candidates
from reward_model.language_model.origin import find_origin
from reward_model.language_model.render import render
from reward_model.language_model.views import View, widest
from reward_model.model_checks.context import prompts_taken
from reward_model.training.reading import Backbone, feature_cache, read_states

FEWEST_PAIRS, FEWEST_PROMPTS = 30, 10
"""Pairs with a better side, and prompts, that a file must have."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class JudgedTexts:
    """One file's judgements, and the states of the N completions that they are about."""

    name: str
    examples: Examples
    pairs: PreferencePairs
    states: Floats
    """All that any view reads (N, D)."""
    whole: View
    """What `states` are."""
    views: list[View]
    """The usual one first, the last layer's last token at the end."""
    layers: int
    left_out: str
    """Prompts that the model's chat template refuses, in words; empty where there are none."""
    read: str
    """How the texts were read and in how many seconds, in words."""

    @cached_property
    def candidates(self) -> Candidates:
        """The features of all views, in their order."""
        return Candidates(Model(), [self.of_view(view) for view in self.views])

    def of_view(self, view: View) -> Floats:
        """Features (N, d)."""
        return self.states[:, view.columns(self.whole, self.states.shape[1])]

    def words(self, place: int) -> str:
        """A view, by its place among all, for people."""
        return self.views[place].words(self.layers)


def read_file(settings: RewardSettings, file: Path, recipe: str | None, say: Say) -> JudgedTexts:
    """Import a file into a store of its own, which is gone afterwards, and read its texts.

    States that were read before are taken from the workspace. Raises ValueError where the file
    cannot be imported, or holds too few pairs with a better side.
    """
    backbone = Backbone.of(find_origin(settings.policy))
    say(f"{file.name}: importing")
    private_folder(settings.workspace)
    with scratch_folder(settings.workspace / "benchmark") as folder:
        with Store.open(folder) as store:
            import_file(store, file, recipe=recipe)
            judgements = store.ledger.judgements()
    if not judgements:
        raise ValueError(f"{file} holds no judgements: name a file of comparisons")
    fitting = prompts_taken((j.task.a.prompt for j in judgements), backbone.prompt_ids,
                            settings.policy)  # fmt: skip
    examples = collect([j for j in judgements if j.task.a.prompt.id in fitting.ids])
    pairs = preference_pairs(examples)
    if len(pairs) < FEWEST_PAIRS or examples.prompts < FEWEST_PROMPTS:
        raise ValueError(
            f"{file} has {len(pairs)} pairs with a better side on {examples.prompts} prompts: a"
            f" benchmark needs {FEWEST_PAIRS} on {FEWEST_PROMPTS}"
        )
    cache = feature_cache(settings, backbone)
    views, layers = cache.views(backbone.views)
    texts = [
        render(backbone.tokenizer, c.prompt, c.text, c.finished, settings.max_tokens)
        for c in examples.completions
    ]
    whole, started = widest(views), time.monotonic()
    states = read_states(
        settings, backbone, examples.completions, texts, cache, whole,
        lambda done, total, words: say(f"{file.name}: {words}, {done:,} of {total:,}"),
    )  # fmt: skip
    took = f"{len(texts):,} texts read by {settings.policy}, {backbone.why}, in "
    took += f"{time.monotonic() - started:.0f} s"
    return JudgedTexts(file.name, examples, pairs, states, whole, views, layers,
                       fitting.sentence, took)  # fmt: skip
