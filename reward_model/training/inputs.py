"""What training and evaluation share: judgements, their features, and what a receipt rests on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from data.schema import Completion
from data.splits import split_of
from data.store import Store
from reward_model.config import KINDS_OF, RewardSettings
from reward_model.dataset.examples import Bools, Examples, Ints, collect
from reward_model.dataset.sufficiency import require_enough
from reward_model.evaluation.cross_validation import (
    Model,
    Predictions,
    choose_prior_precision,
    cross_validate,
    merge_folds,
    predict,
)
from reward_model.language_model.classifier import with_head
from reward_model.language_model.device import choose_precision
from reward_model.language_model.features import FeatureCache, Floats32, read_features
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import Origin
from reward_model.language_model.render import Rendered, fingerprint, render
from reward_model.likelihood.fit import HeadFit, fit_head
from reward_model.receipt.build import Evidence
from reward_model.training.reference_samples import reference_samples

Array = NDArray[np.float64]
Tick = Callable[[int, int, str], None]
"""Called with (done, total, what is being done); raises where a stop was asked for."""
FEATURES = "features"
"""Folder in the workspace."""


@dataclass
class Backbone:
    """The policy that a reward model starts from; its weights load when they are first needed."""

    origin: Origin
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    why: str
    _causal: Any = field(default=None, repr=False)
    _network: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, origin: Origin) -> Backbone:
        return cls(origin, load_tokenizer(origin), *choose_precision())

    def causal(self) -> Any:
        """The policy, its side-car merged."""
        if self._causal is None:
            self._causal = load_model(self.origin, self.dtype)
        return self._causal

    def network(self) -> Any:
        """The policy's body under a head."""
        if self._network is None:
            self._network = with_head(self.causal(), self.tokenizer.pad_token_id)
            self._causal = None
        return self._network

    def hand_over(self) -> Any:
        """The network, for one who changes it: the next call loads another."""
        network, self._network = self.network(), None
        return network


class Study:
    """The judgements of a store, read by one policy."""

    def __init__(
        self, settings: RewardSettings, store: Store, policy: str, backbone: Backbone, tick: Tick
    ) -> None:
        """Raises ValueError where the judgements cannot carry the objective."""
        self.settings, self.policy, self.tick = settings, policy, tick
        self.judgements = store.ledger.judgements()
        self.examples = collect(self.judgements)
        require_enough(settings.objective, self.examples)
        self.training = training_side(self.examples)
        """Which completions are of training prompts (N,)."""
        require_enough(settings.objective, self.train_examples, " of training prompts")
        self.model = Model(settings.objective, settings.scalar, settings.effects)
        self.backbone = b = backbone
        print(f"reward model on {policy}, {b.why}", flush=True)
        samples, self.source = reference_samples(store, policy, b.causal, b.tokenizer, tick)
        self.completions: list[Completion] = [*self.examples.completions, *samples]
        self.texts = self._render()
        self.features = self._read_features()
        """Of all completions, judged ones first (C, d)."""
        self.precision = choose_prior_precision(
            self.model,
            self.features[self.judged],
            self.train_examples,
            lambda: tick(0, 1, "choosing the prior"),
        )

    @property
    def train_examples(self) -> Examples:
        return self.examples.where(self.training)

    @property
    def judged(self) -> slice:
        """Where the judged completions are among all."""
        return slice(0, len(self.examples.completions))

    @property
    def sampled(self) -> slice:
        """Where the policy's samples are among all."""
        return slice(len(self.examples.completions), len(self.completions))

    def _render(self) -> list[Rendered]:
        tokenizer, most = self.backbone.tokenizer, self.settings.max_tokens
        return [render(tokenizer, c.prompt, c.text, c.finished, most) for c in self.completions]

    def _read_features(self) -> Array:
        """From the cache; what is missing is read by the frozen policy."""
        b = self.backbone
        cache = FeatureCache(
            self.settings.workspace / FEATURES,
            b.origin.hash,
            b.origin.model,
            _adapter_config(b.origin),
            fingerprint(b.tokenizer),
            self.settings.max_tokens,
            str(b.dtype),
        )
        known = zip(self.completions, self.texts, strict=True)
        new = {c.id: text for c, text in known if c.id not in cache}
        if new:
            cache.add(list(new), self.states(b.network(), list(new.values()), "reading"))
        return cache.get([c.id for c in self.completions])

    def states(self, network: Any, texts: Sequence[Rendered], doing: str) -> Floats32:
        """A network's states at the ends of texts (N, d)."""
        pad, size = self.backbone.tokenizer.pad_token_id, self.settings.batch_size
        words = f"{doing} {len(texts):,} completions"
        return read_features(network, texts, pad, size, lambda i, n: self.tick(i, n, words))

    def evidence(
        self, fit: HeadFit, raw: Array, level: float, sd: Array, unit: tuple[float, float]
    ) -> Evidence:
        """What the receipt of a model is made of.

        raw, sd: its head's output for all completions, and how far it may be off (C,); level: what
        makes it the reward that the annotators in `fit` are about; unit: the mean and standard
        deviation that bring it to reward units.
        """
        held = ~self.training
        examples = self.examples.where(held)
        rewards, spread = (x[self.judged] for x in (raw + level, sd))
        there = predict(self.model, examples, rewards, spread, fit.values)
        crossed = None
        if self.examples.prompts > 1:
            crossed = cross_validate(
                self.model,
                self.features[self.judged],
                self.examples,
                self.precision,
                lambda: self.tick(0, 1, "cross-validating"),
            )
        return Evidence(
            model=self.model,
            judgements=self.judgements,
            examples=self.examples,
            held=self._placed(there, held) if len(examples) else None,
            crossed=crossed,
            fit=fit_head(
                self.features[self.judged], self.model.joint(self.examples), self.precision
            ),
            features=self.features[self.judged],
            precision=self.precision,
            tuning=self.settings.tuning,
            policy_rewards=(raw[self.sampled] - unit[0]) / unit[1],
            policy_sd=sd[self.sampled] / unit[1],
            policy_prompts=self._sampled_prompts(),
            dropped=self._dropped(),
            facts=self.facts() | _shortfall(fit),
        )

    def _placed(self, there: Predictions, held: Bools) -> Predictions:
        """Predictions of held-out judgements in the rows of all; nothing is known of the rest."""
        every = merge_folds(self.examples, [(held, there)])
        known = np.where(held, there.reward, np.nan)
        return replace(every, reward=known, sd=np.where(held, there.sd, np.nan))

    def _sampled_prompts(self) -> Ints:
        """Number of each sample's prompt (S,)."""
        ids = [c.prompt.id for c in self.completions[self.sampled]]
        return np.unique(np.array(ids, str), return_inverse=True)[1].astype(np.int64)

    def facts(self) -> dict[str, Any]:
        """What a reader of the receipt wants to know of how the model was made."""
        asked, n = self.settings, len(self.completions) - len(self.examples.completions)
        return {
            "policy": self.policy,
            "policy's hash": self.backbone.origin.hash[:16],
            "template's hash": fingerprint(self.backbone.tokenizer)[:16],
            "reward unit": f"mean 0 and standard deviation 1 on {n} {self.source}",
            "1 to 10 read as": "points" if asked.objective == "regression" else asked.scalar,
            "annotators' effects": "yes" if asked.effects else "no",
            "models in the ensemble": asked.members,
            "prior's precision": f"{self.precision:.4g}",
            "precision": self.backbone.why,
            "seed": asked.seed,
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }

    def _dropped(self) -> dict[str, int]:
        """What could not be used, and what was cut."""
        kinds = KINDS_OF[self.settings.objective]
        unused = sum(n for kind, n in self.examples.kinds.items() if kind not in kinds)
        again = len(self.judgements) - len(self.examples)
        return {
            "judgements of kinds that this objective does not use": unused,
            "answers that their annotator gave anew later": again,
            "marks that both completions are bad": sum(
                bool(j.answer.both_bad) for j in self.judgements
            ),
            "texts cut to fit": sum(t.truncated for t in self.texts),
            "completions without any text": sum(not c.text for c in self.completions),
        }


def _adapter_config(origin: Origin) -> str:
    """How a side-car is put on: its scale is no part of its weights."""
    path = Path(origin.adapter) / "adapter_config.json"
    return path.read_text() if origin.adapter and path.is_file() else ""


def _shortfall(fit: HeadFit) -> dict[str, str]:
    """What a reader must know where the head's fit did not reach its best point."""
    if fit.converged:
        return {}
    return {"the head's fit": f"stopped {fit.left:.2g} standard deviations from its best point"}


def training_side(examples: Examples) -> Bools:
    """Which completions are of training prompts (N,)."""
    return np.array([split_of(c.prompt) == "train" for c in examples.completions], bool)
