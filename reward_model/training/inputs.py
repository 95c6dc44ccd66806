"""What training and evaluation start from: judgements, the features of what they are about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Completion, Judgement
from data.splits import split_of
from data.store import Store
from reward_model.config import RewardSettings
from reward_model.dataset.examples import Bools, Examples, collect
from reward_model.dataset.sufficiency import require_enough
from reward_model.evaluation.cross_validation import Model, choose_prior_precision
from reward_model.language_model.classifier import with_head
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.features import FeatureCache, read_features
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import Origin
from reward_model.language_model.render import Rendered, fingerprint, render
from reward_model.training.reference_samples import reference_samples

Array = NDArray[np.float64]
Tick = Callable[[int, int, str], None]
"""Called with (done, total, what is being done); raises where a stop was asked for."""


@dataclass
class Backbone:
    """The policy that a reward model starts from; its weights load when they are first needed."""

    origin: Origin
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    why: str
    """Why this dtype, in words."""

    @classmethod
    def of(cls, origin: Origin) -> Backbone:
        """With its tokenizer, in the fastest dtype."""
        return cls(origin, load_tokenizer(origin), *choose_dtype())

    @cached_property
    def causal(self) -> PreTrainedModel:
        """The policy, its adapter merged."""
        return load_model(self.origin, self.dtype)

    @cached_property
    def network(self) -> PreTrainedModel:
        """The policy's body under a head."""
        network = with_head(self.causal, self.tokenizer.pad_token_id)
        del self.causal  # its body is the network's now
        return network

    def hand_over(self) -> PreTrainedModel:
        """The network, for one who changes it: the next call loads another."""
        network = self.network
        del self.network
        return network


@dataclass(frozen=True)
class TrainingInputs:
    """The judgements of a store, read by one policy.

    Of C completions the first N are judged; the rest are samples of the policy.
    """

    settings: RewardSettings
    policy: str
    """As it was named."""
    backbone: Backbone
    judgements: list[Judgement]
    """All standing ones."""
    examples: Examples
    training: Bools
    """Which judged completions are of training prompts (N,)."""
    model: Model
    """Which likelihood."""
    completions: list[Completion]
    """(C,)"""
    source: str
    """Where the samples come from, in words."""
    texts: list[Rendered]
    """(C,)"""
    features: Array
    """States of the frozen policy (C, d)."""
    precision: float
    """Of the prior over the head's weights."""

    @property
    def train_examples(self) -> Examples:
        """Those of training prompts."""
        return self.examples.where(self.training)

    @property
    def judged(self) -> slice:
        """Where the judged completions are among all."""
        return slice(0, len(self.training))

    @property
    def sampled(self) -> slice:
        """Where the policy's samples are among all."""
        return slice(len(self.training), len(self.completions))


def training_inputs(
    settings: RewardSettings, store: Store, policy: str, backbone: Backbone, tick: Tick
) -> TrainingInputs:
    """Collect the judgements, sample the policy where needed, read features, choose the prior.

    Raises ValueError where the judgements cannot carry the objective.
    """
    judgements = store.ledger.judgements()
    examples = collect(judgements)
    require_enough(settings.objective, examples)
    training = training_side(examples)
    train_examples = examples.where(training)
    require_enough(settings.objective, train_examples, " of training prompts")
    model = Model(settings.objective, settings.scalar, settings.effects)
    print(f"reward model on {policy}, {backbone.why}", flush=True)
    samples, source = reference_samples(
        store, policy, lambda: backbone.causal, backbone.tokenizer, tick
    )
    completions = [*examples.completions, *samples]
    texts = [
        render(backbone.tokenizer, c.prompt, c.text, c.finished, settings.max_tokens)
        for c in completions
    ]
    features = _read_features(settings, backbone, completions, texts, tick)
    judged = features[: len(training)]
    precision = choose_prior_precision(
        model, judged, train_examples, lambda: tick(0, 1, "choosing the prior")
    )
    return TrainingInputs(
        settings, policy, backbone, judgements, examples, training, model, completions, source,
        texts, features, precision,
    )  # fmt: skip


def training_side(examples: Examples) -> Bools:
    """Which completions are of training prompts (N,)."""
    return np.array([split_of(c.prompt) == "train" for c in examples.completions], bool)


def _read_features(
    settings: RewardSettings,
    backbone: Backbone,
    completions: Sequence[Completion],
    texts: Sequence[Rendered],
    tick: Tick,
) -> Array:
    """Of all completions (C, d), from the cache; what is missing is read by the frozen policy."""
    origin = backbone.origin
    # how an adapter is put on counts too: its scale is no part of its weights
    config = Path(origin.adapter) / "adapter_config.json"
    cache = FeatureCache(
        settings.workspace / "features",
        origin.hash,
        origin.model,
        config.read_text() if origin.adapter and config.is_file() else "",
        fingerprint(backbone.tokenizer),
        settings.max_tokens,
        str(backbone.dtype),
    )
    pairs = zip(completions, texts, strict=True)
    new = {c.id: text for c, text in pairs if c.id not in cache}
    if new:
        size, pad = settings.batch_size, backbone.tokenizer.pad_token_id
        words = f"reading {len(new):,} completions"
        states = read_features(
            backbone.network, list(new.values()), pad, size, lambda i, n: tick(i, n, words)
        )
        cache.add(list(new), states)
    return cache.get([c.id for c in completions])
