"""What training and evaluation start from: judgements, the features of what they are about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Completion, Judgement, Prompt, content_hash
from data.splits import split_of
from data.stats.intervals import Bools, Floats
from data.store import Store
from data.texts.thinking import Thinking
from reward_model.chat.chat_format import chat_format
from reward_model.config import RewardSettings
from reward_model.dataset.examples import Examples, collect
from reward_model.dataset.form import form_of
from reward_model.dataset.sufficiency import require_enough
from reward_model.evaluation.cross_validation import Candidate, Model
from reward_model.evaluation.feature_choice import Candidates
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
    require_thinking,
)
from reward_model.language_model.views import DEPTHS, LAST, View, views_of, widest
from reward_model.likelihood.fit import HeadFit, Prior
from reward_model.model_checks.context import prompts_taken, require_known
from reward_model.scoring.encoder import Encoder
from reward_model.training.reference_samples import Tick, reference_samples
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
class TrainingInputs:
    """The judgements of a store, read by one policy.

    Of C completions the first N are judged; the rest are samples of the policy.
    """

    settings: RewardSettings
    policy: str
    """As it was named."""
    backbone: Backbone
    judgements: list[Judgement]
    """All standing ones on prompts that the policy's chat template takes."""
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
    form: Floats
    """Length and layout, where the reward leaves them out (C, 4), else (C, 0)."""
    states: Floats
    """Of the frozen policy: all that any view reads (C, D)."""
    whole: View
    """What `states` are."""
    views: list[View]
    """That features are chosen from, the usual one first."""
    layers: int
    """How many the policy has."""
    view: View
    """The chosen one."""
    usual_prior: Prior
    """For any of the views; see `Candidates.prior`."""
    prior: Prior
    """The same, over the chosen view's weights."""
    left_out: dict[str, int]
    """How many prompts, and judgements on them, by reason."""
    encoder: Encoder | None
    """The second model that was asked for; whether it is read says the view."""

    @property
    def train_examples(self) -> Examples:
        """Those of training prompts."""
        return self.examples.where(self.training)

    @cached_property
    def features(self) -> Floats:
        """What the head reads (C, d)."""
        return self.of_view(self.view)

    @cached_property
    def candidate(self) -> Candidate:
        """What a head is fitted to, of the judged completions (N,)."""
        return Candidate.of(self.features[self.judged], self.form[self.judged], self.start)

    @property
    def start(self) -> Floats | None:
        """Weights (d,) of the head of another reward model to start from."""
        return self.backbone.start.weights if self.backbone.start else None

    def fit(self, examples: Examples) -> HeadFit:
        """Of the head on the frozen policy to some of the examples, the coefficients of length and
        layout last."""
        return self.candidate.fit(self.model.joint(examples), self.prior)

    def of_view(self, view: View) -> Floats:
        """What one of the views, or a part of it, reads (C, d)."""
        return self.states[:, view.columns(self.whole, self.states.shape[1])]

    @property
    def judged(self) -> slice:
        """Where the judged completions are among all."""
        return slice(0, len(self.training))

    @property
    def sampled(self) -> slice:
        """Where the policy's samples are among all."""
        return slice(len(self.training), len(self.completions))


def training_inputs(
    settings: RewardSettings,
    store: Store,
    policy: str,
    backbone: Backbone,
    tick: Tick,
    known: View | None = None,
    sampler: Backbone | None = None,
    encoder: Encoder | None = None,
) -> TrainingInputs:
    """Collect the judgements, sample the policy where needed, read features, choose among them.

    known: the view of a model that is trained already; sampler: the policy, where `backbone` is
    another network; encoder: a second model to read the texts beside it. Raises ValueError where
    the judgements cannot carry the objective.
    """
    if settings.thinking == "whole" and not backbone.apart:
        require_thinking(backbone.tokenizer)
    judgements, left_out = _on_prompts_taken(store.ledger.judgements(), policy, backbone)
    examples = collect(judgements)
    require_enough(settings.objective, examples)
    training = training_side(examples)
    train_examples = examples.where(training)
    require_enough(settings.objective, train_examples, " of training prompts")
    model = Model(settings.objective, settings.scalar, settings.effects)
    reads = backbone.start.name if backbone.start else policy
    print(f"reward model on {reads}, {backbone.why}", flush=True)
    writer = sampler or backbone
    samples, source = reference_samples(
        store, policy, lambda: writer.causal, writer.tokenizer, writer.longest, tick
    )
    if writer is not backbone:
        vars(writer).pop("causal", None)  # its memory is the network's now
    completions = [*examples.completions, *samples]
    texts = [
        render(
            backbone.tokenizer,
            c.prompt,
            c.reading(settings.thinking),
            c.ended(settings.thinking),
            settings.max_tokens,
            backbone.apart,
        )
        for c in completions
    ]
    cache = feature_cache(settings, backbone)
    views, layers = cache.views(backbone.views)
    start = backbone.start
    known = start.view if start else known
    whole = widest(views)
    states = read_states(settings, backbone, completions, texts, cache, whole, tick)
    if encoder is not None:
        texts, second = read_second(settings, encoder, completions, texts, tick)
        states = np.hstack([states, second])
        whole = replace(whole, beside=second.shape[1])
        views.insert(1, replace(views[0], beside=whole.beside))
    if known == LAST:  # trained when there was nothing to choose
        known, views = views[-1], views[-1:]
    elif known and known not in views:
        raise ValueError(
            f"it reads the {known.words(layers)}, which is not read now: train it again"
        )
    judged = states[: len(training)]
    offered = [known] if known else views
    form = form_of([c.reading(settings.thinking) for c in completions])
    if settings.form == "in":
        form = form[:, :0]
    features = [judged[:, v.columns(whole, judged.shape[1])] for v in offered]
    among = Candidates(model, features, form[: len(training)], start.weights if start else None)
    usual = among.prior(train_examples, lambda: tick(0, 1, "choosing the prior"))
    choice = among.choose(train_examples, usual, lambda: tick(0, 1, "choosing the features"))
    return TrainingInputs(
        settings, policy, backbone, judgements, examples, training, model, completions, source,
        texts, form, states, whole, views, layers, offered[choice.place], usual,
        among.prior_of(choice.place, usual), left_out, encoder,
    )  # fmt: skip


def _on_prompts_taken(
    judgements: list[Judgement], policy: str, backbone: Backbone
) -> tuple[list[Judgement], dict[str, int]]:
    """(judgements on prompts that the chat template accepts, how many others there are by
    reason)."""
    fitting = prompts_taken((j.task.a.prompt for j in judgements), backbone.prompt_ids, policy)
    if not fitting.counted:
        return judgements, {}
    found = [j for j in judgements if j.task.a.prompt.id in fitting.ids]
    less = len(judgements) - len(found)
    print(f"{fitting.sentence} With them {less} judgements.", flush=True)
    return found, {**fitting.counted, "judgements on such prompts": less}


def training_side(examples: Examples) -> Bools:
    """Which completions are of training prompts (N,)."""
    return np.array([split_of(c.prompt) == "train" for c in examples.completions], bool)


def feature_cache(settings: RewardSettings, backbone: Backbone) -> FeatureCache:
    """What is kept of this policy's states on texts."""
    origin = backbone.origin
    # how an adapter is put on counts too: its scale is no part of its weights
    config = Path(origin.adapter) / "adapter_config.json"
    return FeatureCache(
        settings.workspace / "features",
        origin.hash,
        origin.model,
        config.read_text() if origin.adapter and config.is_file() else "",
        fingerprint(backbone.tokenizer),
        settings.max_tokens,
        str(backbone.dtype),
        *(["apart"] if backbone.apart else ["conversation"]),
        DEPTHS,
    )


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
        replace(text, beside=encoder.render(c.prompt, c.reading(kept), c.ended(kept)))
        for c, text in zip(completions, texts, strict=True)
    ]
    origin = encoder.origin
    cache = FeatureCache(
        settings.workspace / "features",
        "second",
        origin.hash,
        origin.model,
        fingerprint(encoder.tokenizer),
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
