"""What training and evaluation start from: judgements, the features of what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from data.schema import Completion, Judgement
from data.splits import split_of
from data.stats.intervals import Bools, Floats
from data.store import Store
from reward_model.config import RewardSettings
from reward_model.dataset.examples import Examples, collect
from reward_model.dataset.form import form_of
from reward_model.dataset.sufficiency import require_enough
from reward_model.evaluation.cross_validation import Candidate, Model
from reward_model.evaluation.feature_choice import Candidates
from reward_model.language_model.render import (
    Rendered,
    require_thinking,
)
from reward_model.language_model.views import LAST, View
from reward_model.likelihood.fit import HeadFit, Prior
from reward_model.model_checks.context import prompts_taken
from reward_model.scoring.encoder import Encoder
from reward_model.training.reading import Backbone, read_all
from reward_model.training.reference_samples import Tick, reference_samples


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
    read = read_all(settings, backbone, encoder, completions, tick)
    views, start = read.views, backbone.start
    known = start.view if start else known
    if known == LAST:  # trained when there was nothing to choose
        known, views = views[-1], views[-1:]
    elif known and known not in views:
        raise ValueError(
            f"it reads the {known.words(read.layers)}, which is not read now: train it again"
        )
    judged = read.states[: len(training)]
    offered = [known] if known else views
    form = form_of([c.reading(settings.thinking) for c in completions])
    if settings.form == "in":
        form = form[:, :0]
    features = [judged[:, v.columns(read.whole, judged.shape[1])] for v in offered]
    among = Candidates(model, features, form[: len(training)], start.weights if start else None)
    usual = among.prior(train_examples, lambda: tick(0, 1, "choosing the prior"))
    choice = among.choose(train_examples, usual, lambda: tick(0, 1, "choosing the features"))
    return TrainingInputs(
        settings, policy, backbone, judgements, examples, training, model, completions, source,
        read.texts, form, read.states, read.whole, views, read.layers, offered[choice.place], usual,
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
