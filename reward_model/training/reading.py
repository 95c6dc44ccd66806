"""What reads the texts of a reward model, and what it read: states, kept from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Completion, Prompt, content_hash
from data.stats.intervals import Floats
from data.texts.thinking import Thinking
from reward_model.chat.chat_format import chat_format
from reward_model.config import RewardSettings
from reward_model.language_model.classifier import with_head
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.features import FeatureCache, read_features
from reward_model.language_model.loading import load_network, load_tokenizer, longest_text
from reward_model.language_model.origin import Origin
from reward_model.language_model.render import (
    Rendered,
    fingerprint,
    render,
    render_apart,
    render_prompt,
)
from reward_model.language_model.views import DEPTHS, View, views_of, widest
from reward_model.model_checks.context import require_known
from reward_model.scoring.encoder import Encoder
from reward_model.training.reference_samples import Tick
from reward_model.training.start import Start


@dataclass
class Backbone:
    """The network that a reward model reads with: a policy's, or another reward model's.

    Its weights load when they are first needed.
    """

    origin: Origin
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    why: str
    """Why this dtype, in words."""
    apart: bool = False
    """How texts are read; see `render`."""
    start: Start | None = None
    """The reward model whose network this is, where it is no policy's."""

    @classmethod
    def of(
        cls,
        origin: Origin,
        tokenizer: PreTrainedTokenizerBase | None = None,
        apart: bool = False,
        start: Start | None = None,
    ) -> Backbone:
        """With its tokenizer, where none is given, in the fastest dtype.

        Raises ValueError where its chat template loses text.
        """
        tokenizer = tokenizer or load_tokenizer(origin, policy=start is None)
        if not apart:
            chat_format(tokenizer)
        return cls(origin, tokenizer, *choose_dtype(), apart, start)

    @cached_property
    def longest(self) -> int | None:
        """The most tokens that the policy reads; None where nothing says."""
        return longest_text(self.origin, self.tokenizer)

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, up to where the policy's turn begins."""
        if self.apart:
            return render_apart(self.tokenizer, prompt, "", finished=False)[0]
        return render_prompt(self.tokenizer, prompt)

    @cached_property
    def causal(self) -> PreTrainedModel:
        """The policy, its adapter merged; of another reward model the network."""
        return load_network(self.origin, self.dtype)

    def views(self) -> tuple[list[View], int]:
        """What a head may read, the last layer's last token at the end; and how many layers."""
        found, layers = views_of(self.causal)
        if self.start and self.start.view not in found:
            found.insert(0, self.start.view)
        return found, layers

    def network(self, view: View, whole: bool = False) -> PreTrainedModel:
        """The policy's body, up to the layer that is needed or whole, under a head; the next call
        loads another."""
        network = with_head(self.causal, self.tokenizer.pad_token_id, view, whole)
        del self.causal  # its body is the network's now
        return network


@dataclass(frozen=True)
class Readings:
    """What the network, and a second model where there is one, read of C completions."""

    texts: list[Rendered]
    """(C,)"""
    states: Floats
    """All that any view reads (C, D)."""
    whole: View
    """What `states` are."""
    views: list[View]
    """That features may be chosen from, the usual one first."""
    layers: int
    """How many the network has."""


def read_all(
    settings: RewardSettings,
    backbone: Backbone,
    encoder: Encoder | None,
    completions: Sequence[Completion],
    tick: Tick,
) -> Readings:
    """The texts and their states, from the cache or read now. A view with the second model's
    features comes behind the usual one."""
    kept = settings.thinking
    texts = [
        render(
            backbone.tokenizer,
            c.prompt,
            c.reading(kept),
            c.ended(kept),
            settings.max_tokens,
            backbone.apart,
        )
        for c in completions
    ]
    cache = feature_cache(settings, backbone)
    views, layers = cache.views(backbone.views)
    whole = widest(views)
    states = read_states(settings, backbone, completions, texts, cache, whole, tick)
    if encoder is not None:
        texts, second = read_second(settings, encoder, completions, texts, tick)
        states = np.hstack([states, second])
        whole = replace(whole, beside=second.shape[1])
        views.insert(1, replace(views[0], beside=whole.beside))
    return Readings(texts, states, whole, views, layers)


def read_states(
    settings: RewardSettings,
    backbone: Backbone,
    completions: Sequence[Completion],
    texts: Sequence[Rendered],
    cache: FeatureCache,
    view: View,
    tick: Tick,
) -> Floats:
    """Of all completions (C, D), from the cache; what is missing is read by the frozen policy."""
    keys = [_feature_key(c, settings.thinking) for c in completions]
    pairs = zip(keys, texts, strict=True)
    new = {key: text for key, text in pairs if key not in cache}
    if new:
        size, pad = settings.batch_size, backbone.tokenizer.pad_token_id
        words = f"reading {len(new):,} completions"
        network = backbone.network(view)
        rows = network.get_input_embeddings().weight.size(0)
        require_known([text.ids for text in new.values()], rows, backbone.tokenizer)
        states = read_features(
            network, list(new.values()), pad, size, lambda i, n: tick(i, n, words), view
        )
        cache.add(list(new), states)
    return cache.get(keys)


def read_second(
    settings: RewardSettings,
    encoder: Encoder,
    completions: Sequence[Completion],
    texts: Sequence[Rendered],
    tick: Tick,
) -> tuple[list[Rendered], Floats]:
    """The texts with what a second model reads of each, and its states (C, E), as `read_states`."""
    kept = settings.thinking
    both = [
        text.with_second(encoder.render(c.prompt, c.reading(kept), c.ended(kept)))
        for c, text in zip(completions, texts, strict=True)
    ]
    cache = FeatureCache(
        settings.workspace / "features",
        "second",
        *weights_read(encoder.origin),
        encoder.fingerprint,
        encoder.longest,
        encoder.layers,
        str(encoder.dtype),
    )
    keys = [_feature_key(c, settings.thinking) for c in completions]
    new = {k: t.beside for k, t in zip(keys, both, strict=True) if k not in cache and t.beside}
    if new:
        words = f"reading {len(new):,} completions with the second model"
        states = encoder.read(
            list(new.values()), settings.batch_size, lambda i, n: tick(i, n, words)
        )
        cache.add(list(new), states)
        del encoder.network  # its memory is needed no more
    return both, cache.get(keys)


def _feature_key(completion: Completion, thinking: Thinking) -> str:
    """The name of what is read of a completion: its id where that is all of it."""
    if completion.ended(thinking) != completion.finished:
        return content_hash("unfinished", completion.id)
    whole = completion.reading(thinking) == completion.written
    return completion.id if whole else content_hash("answer", completion.id)


def feature_cache(settings: RewardSettings, backbone: Backbone) -> FeatureCache:
    """What is kept of this policy's states on texts."""
    return FeatureCache(
        settings.workspace / "features",
        *weights_read(backbone.origin),
        fingerprint(backbone.tokenizer),
        settings.max_tokens,
        str(backbone.dtype),
        *(["apart"] if backbone.apart else ["conversation"]),
        DEPTHS,
    )


def weights_read(origin: Origin) -> tuple[str, str, str]:
    """All that a model's states depend on: its hash, its name, and how an adapter is put on, whose
    scale is no part of its weights."""
    config = Path(origin.adapter) / "adapter_config.json"
    scale = config.read_text() if origin.adapter and config.is_file() else ""
    return origin.hash, origin.model, scale
