"""Scorer: rewards for completions, in units of the SFT policy's own spread, with error bars."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal, NotRequired, TypedDict, overload

import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Completion, Prompt, make_prompt
from data.stats.intervals import Floats
from data.texts.thinking import Thinking, part
from reward_model.chat.chat_format import chat_format
from reward_model.language_model.adapter import with_adapter
from reward_model.language_model.classifier import apply_head, give_head, head_weights, with_head
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.features import Floats32, read_features
from reward_model.language_model.loading import (
    cast,
    load_classifier,
    load_network,
    load_scorers_tokenizer,
)
from reward_model.language_model.origin import ADAPTER, ORIGIN, Origin, noted_origin
from reward_model.language_model.render import Rendered, fingerprint, render
from reward_model.language_model.views import View, layer_count
from reward_model.likelihood.fit import Basis, pooled_variance, posterior_sd
from reward_model.model_checks.context import require_known
from reward_model.scoring.encoder import ENCODER_ADAPTER, Encoder

EXPORT = "reward.json"
"""File, inside an exported folder, that says what `origin.json` says of a run."""
POLICY_ADAPTER = "policy_adapter"
"""Folder, inside a reward model's, with a copy of the SFT adapter that it was trained on."""
EXPORTED_HEAD = "export_head.npz"
"""File, inside a reward model's folder: the head of its export, where that is another one."""
WEIGHTS = "weights"
"""Folder, inside a reward model's, with all weights, where all of them were tuned."""
READS = "conversation"
"""The whole conversation as the chat template writes it."""
BATCH = 16
UNIT = "mean 0 and standard deviation 1 on the SFT policy's samples"

PromptLike = Prompt | str | Sequence[Mapping[str, str]]
Prompts = Sequence[PromptLike]
Marks = Sequence[bool] | None


class NotedView(TypedDict):
    """A `View`."""

    layers: list[int]
    mean: bool
    beside: NotRequired[int]


class NotedEncoder(TypedDict):
    """The second model of one whose head reads that too."""

    model: str
    tokenizer: str
    """`Encoder.fingerprint`."""


class Unit(TypedDict):
    """Of raw rewards on the policy's samples."""

    mean: float
    sd: float


class ModelFacts(TypedDict):
    """What a run or an export notes about its reward model."""

    objective: str
    tuning: str
    members: int
    tokenizer: str
    """Fingerprint of tokenizer and chat template."""
    policy_hash: str
    mean: float
    """Of the raw reward on the policy's samples."""
    sd: float
    max_tokens: int | None
    """Longest text read."""
    model: NotRequired[str]
    """What the adapters sit on. None in an export, which holds everything."""
    thinking: NotRequired[Thinking]
    """What is read of a completion; the whole, where this is not noted."""
    policy: NotRequired[str]
    level: NotRequired[float]
    """Makes the raw reward the one that absolute judgements are about."""
    pad_token: NotRequired[str]
    """What texts are padded with. Models made before it was noted choose as they then did."""
    name: NotRequired[str]
    """An export's."""
    reads: NotRequired[str]
    """READS; models that were trained earlier note nothing, see `render_apart`."""
    view: NotRequired[NotedView]
    """What the head reads; the last layer's last token, where this is not noted."""
    exported: NotRequired[Unit]
    """Of the head in EXPORTED_HEAD."""
    encoder: NotRequired[NotedEncoder]


@dataclass(frozen=True)
class Head:
    """A linear head and how sure it is."""

    weights: Floats
    """(d,), on the network's states."""
    basis: Basis
    factor: Floats
    """Lower Cholesky factor of the posterior covariance, in the basis' coordinates."""
    precision: float
    centre: Floats
    """(d,), mean state of the SFT policy's samples: there the reward is 0 by definition."""

    def sd(self, states: Floats, beside: Floats | None = None) -> Floats:
        """Standard deviation (N,) of raw rewards less that of one state.

        states: (N, d); beside: (d,), the centre where it is not given.
        """
        centre = self.centre if beside is None else beside
        return posterior_sd(self.basis, self.factor, self.precision, states, centre)

    def save(self, path: Path) -> None:
        b = self.basis
        np.savez(path, weights=self.weights, mean=b.mean, spread=b.spread, axes=b.axes,
                 factor=self.factor, precision=self.precision, centre=self.centre)  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Head:
        with np.load(path) as kept:
            basis = Basis(kept["mean"], kept["spread"], kept["axes"])
            return cls(
                kept["weights"], basis, kept["factor"], float(kept["precision"]), kept["centre"]
            )


Reading = tuple[Floats, Floats]
"""A member's head output (N,) and the states (N, d) that it read."""


@dataclass
class Member:
    """One network of a reward model, and its head."""

    model: PreTrainedModel
    head: Head
    view: View

    @torch.inference_mode()
    def read(
        self, texts: Sequence[Rendered], pad_token_id: int, beside: Floats32 | None = None
    ) -> Reading:
        """The head's output (N,) and the states (N, d) that it read.

        beside: the second model's (N, E), where there is one.
        """
        states = read_features(self.model, texts, pad_token_id, BATCH, view=self.view)
        if beside is not None:
            states = np.hstack([states, beside])
        raw = apply_head(self.model, torch.from_numpy(states))
        return raw.double().cpu().numpy(), states.astype(np.float64)


@dataclass(eq=False, repr=False)
class Scorer:
    """A reward model ready to score. `score` is the only thing that GRPO calls."""

    members: Sequence[Member]
    tokenizer: PreTrainedTokenizerBase
    _: KW_ONLY
    mean: float = 0.0
    sd: float = 1.0
    max_tokens: int | None = None
    thinking: Thinking = "answer"
    """What it reads of a completion."""
    apart: bool = False
    """Whether texts are read as by models that were trained before the chat template wrote all."""
    encoder: Encoder | None = None
    """The second model that its head reads."""
    truncated: int = field(default=0, init=False)
    """How many texts were cut to fit, since loading."""

    def __post_init__(self) -> None:
        for member in self.members:
            member.model.eval().requires_grad_(False)

    @property
    def model(self) -> PreTrainedModel:
        """The network of the first member: all there is where it is no ensemble."""
        return self.members[0].model

    @classmethod
    def load(
        cls, folder: str | Path, dtype: torch.dtype | None = None, exported: bool = False
    ) -> Scorer:
        """From a reward-model run's folder. Raises ValueError if it holds none.

        exported: with the head that the run's export has.
        """
        folder = Path(folder)
        facts = read_facts(folder)
        if exported and "exported" in facts:
            facts["mean"], facts["sd"] = facts["exported"]["mean"], facts["exported"]["sd"]
        origin = under(folder, facts)
        tokenizer = load_scorers_tokenizer(origin, facts.get("pad_token"))
        if fingerprint(tokenizer) != facts["tokenizer"]:
            raise ValueError(
                f"reward model {folder.name} was trained with another tokenizer or chat template"
                f" than {origin.model} has now: train it again"
            )
        apart = facts.get("reads") != READS  # see `render_apart`
        if not apart:
            chat_format(tokenizer)  # refuses a template that loses text
        dtype = dtype or choose_dtype()[0]
        pad = tokenizer.pad_token_id
        encoder = None if exported else noted_encoder(folder, facts)
        if encoder is not None:
            encoder.dtype = dtype
        members = [
            load_member(folder, facts, i, pad, dtype, exported) for i in range(facts["members"])
        ]
        return cls(
            members,
            tokenizer,
            mean=facts["mean"],
            sd=facts["sd"],
            max_tokens=facts["max_tokens"],
            thinking=facts.get("thinking", "whole"),
            apart=apart,
            encoder=encoder,
        )

    @overload
    def score(
        self, prompts: Prompts, completions: Sequence[str], finished: Marks = ...,
        return_std: Literal[False] = ...,
    ) -> Floats: ...  # fmt: skip

    @overload
    def score(
        self, prompts: Prompts, completions: Sequence[str], finished: Marks = ..., *,
        return_std: Literal[True],
    ) -> tuple[Floats, Floats]: ...  # fmt: skip

    def score(
        self,
        prompts: Prompts,
        completions: Sequence[str],
        finished: Marks = None,
        return_std: bool = False,
    ) -> Floats | tuple[Floats, Floats]:
        """Rewards (B,): mean 0 and standard deviation 1 on the SFT policy's samples.

        `finished` says which completions ended by themselves; all, where it is not given. With
        `return_std` also the standard deviation of each (B,), in the same units: how far it could
        be off, given the judgements. Raises ValueError if the lengths differ.
        """
        raw, sd = self.read(self._render_all(prompts, completions, finished))
        rewards = (raw - self.mean) / self.sd
        return (rewards, sd / self.sd) if return_std else rewards

    def raw(self, prompts: Prompts, completions: Sequence[str], finished: Marks = None) -> Floats:
        """The head's output (B,), before it is brought to reward units."""
        return self.read(self._render_all(prompts, completions, finished))[0]

    def raw_of(self, completions: Sequence[Completion]) -> Floats:
        """The same, of completions (N,) that know their prompts."""
        texts = [c.reading(self.thinking) for c in completions]
        finished = [c.finished for c in completions]
        return self.raw([c.prompt for c in completions], texts, finished)

    def rewards_of(self, completions: Sequence[Completion]) -> Floats:
        """Rewards of completions (N,), as `score` gives them."""
        return (self.raw_of(completions) - self.mean) / self.sd

    def render(self, prompt: PromptLike, completion: str, finished: bool) -> Rendered:
        """The token ids that this scorer reads: of a reasoning model's text the answer, unless it
        was trained on the whole."""
        full = prompt if isinstance(prompt, Prompt) else make_prompt(prompt)
        text, ended = completion, finished
        if self.thinking == "answer":
            found = part(completion)
            text, ended = found.answer, finished and not found.open
        read = render(self.tokenizer, full, text, ended, self.max_tokens, self.apart)
        if self.encoder is None:
            return read
        return read.with_second(self.encoder.render(full, text, ended))

    def score_groups(
        self, prompts: Prompts, completions: Sequence[str], finished: Sequence[bool], size: int
    ) -> tuple[Floats, Floats, Floats]:
        """(rewards (B,), their standard deviations (B,), those of their distances (B,)).

        A group is `size` completions in a row, and a completion's distance is its reward less its
        group's mean: how far that could be off, the members' disagreement about it included. What
        all of a group share, as how hard the prompt is, is no part of it. All in reward units.
        Raises ValueError if the completions are no whole groups.
        """
        if len(completions) % size:
            raise ValueError(f"{len(completions)} completions are no groups of {size}")
        texts = self._render_all(prompts, completions, finished)
        readings = self._read_each(texts)
        raw, sd = self._combine(readings)
        apart, own = [], []
        for member, (out, states) in zip(self.members, readings, strict=True):
            means, groups = out.reshape(-1, size), states.reshape(-1, size, states.shape[1])
            apart.append(means - means.mean(1, keepdims=True))
            own.append(np.array([member.head.sd(group, group.mean(0)) for group in groups]))
        distance_sd = np.sqrt(pooled_variance(own, apart)).ravel()
        return (raw - self.mean) / self.sd, sd / self.sd, distance_sd / self.sd

    def _render_all(
        self, prompts: Prompts, completions: Sequence[str], finished: Marks
    ) -> list[Rendered]:
        finished = [True] * len(completions) if finished is None else finished
        if not len(prompts) == len(completions) == len(finished):
            raise ValueError(
                f"{len(prompts)} prompts, {len(completions)} completions and {len(finished)} marks:"
                " give as many of each"
            )
        texts = [
            self.render(p, c, f) for p, c, f in zip(prompts, completions, finished, strict=True)
        ]
        self.truncated += sum(t.truncated for t in texts)
        self.require_known(texts)
        return texts

    def require_known(self, texts: Sequence[Rendered]) -> None:
        """ValueError where a text holds a token that the network has no row for, or was not given
        to the second model."""
        if self.encoder is not None and any(text.beside is None for text in texts):
            raise ValueError(
                "this reward model reads texts with a second model too, which has a tokenizer of"
                " its own: send prompts and completions (POST /score), not token ids or text in a"
                " chat template"
            )
        rows = self.model.get_input_embeddings().weight.size(0)
        require_known([text.ids for text in texts], rows, self.tokenizer)

    def read(self, texts: Sequence[Rendered]) -> tuple[Floats, Floats]:
        """Raw rewards (N,), the members' mean, and their standard deviations (N,).

        The variance is the members' own, on average, and that between them.
        """
        return self._combine(self._read_each(texts))

    def _read_each(self, texts: Sequence[Rendered]) -> list[Reading]:
        """By each member. Raises ValueError for texts that the second model was not given."""
        beside = None
        if self.encoder is not None:
            self.require_known(texts)
            beside = self.encoder.read([text.beside for text in texts if text.beside], BATCH)
        pad = self.tokenizer.pad_token_id
        return [member.read(texts, pad, beside) for member in self.members]

    def _combine(self, readings: Sequence[Reading]) -> tuple[Floats, Floats]:
        means = [out for out, _ in readings]
        pairs = zip(self.members, readings, strict=True)
        own = [m.head.sd(states) for m, (_, states) in pairs]
        return np.mean(means, axis=0), np.sqrt(pooled_variance(own, means))


def read_facts(folder: Path) -> ModelFacts:
    """What a run or an export noted about itself. Raises ValueError if it is no reward model."""
    path = folder / (EXPORT if (folder / EXPORT).is_file() else ORIGIN)
    facts: ModelFacts | None = json.loads(path.read_text()) if path.is_file() else None
    if facts is None or "objective" not in facts:
        raise ValueError(
            f"{folder} holds no finished reward model: name a reward run's id or folder"
        )
    return facts


def under(folder: Path, facts: ModelFacts) -> Origin:
    """The policy that a reward model was trained from: the model, and its copy of the SFT adapter.

    Of an export: the folder itself, all is merged into it.
    """
    if "model" not in facts:
        return Origin(str(folder), "")
    return noted_origin(folder, facts["model"], POLICY_ADAPTER)


def load_member(
    folder: Path,
    facts: ModelFacts,
    place: int,
    pad_token_id: int,
    dtype: torch.dtype,
    exported: bool = False,
) -> Member:
    """One network with its adapters merged, in float32 and then cast, and its head."""
    network = adapted(folder, facts, place, pad_token_id)
    if isinstance(network, PeftModel):
        network = network.merge_and_unload()
    network = cast(network, dtype)
    # the head is in float32: one number a text costs nothing, and rewards keep their digits
    if "model" not in facts:  # an export's own weights hold its head
        head_weights(network).data = head_weights(network).data.float()
    return with_own_head(network, folder, facts, place, exported)


def adapted(
    folder: Path, facts: ModelFacts, place: int, pad_token_id: int
) -> PreTrainedModel | PeftModel:
    """One network in float32, its own adapter put on it where it has one."""
    weights, adapter = folder / member_name(WEIGHTS, place), folder / member_name(ADAPTER, place)
    if "model" not in facts:
        return load_classifier(str(folder))
    if weights.is_dir():
        return load_classifier(str(weights))
    body = load_network(under(folder, facts), torch.float32)
    network = with_head(body, pad_token_id, noted_view(facts))
    return with_adapter(network, str(adapter)) if adapter.is_dir() else network


def with_own_head(
    network: PreTrainedModel, folder: Path, facts: ModelFacts, place: int, exported: bool
) -> Member:
    """The network under the head that belongs on it: a run's, its export's, or that of an export,
    which its weights hold."""
    view = noted_view(facts) or View((layer_count(network),))
    apart = exported and "exported" in facts
    name = EXPORTED_HEAD if apart else f"{member_name('head', place)}.npz"
    head = Head.load(folder / name)
    if "model" in facts:
        give_head(network, head.weights)
    return Member(network, head, view.exported if apart else view)


def noted_view(facts: ModelFacts) -> View | None:
    """What the head reads; None for the last layer's last token."""
    noted = facts.get("view")
    return View(tuple(noted["layers"]), noted["mean"], noted.get("beside", 0)) if noted else None


def noted_encoder(folder: Path, facts: ModelFacts) -> Encoder | None:
    """The second model that a reward model's head reads; None where it reads the policy alone.

    Raises ValueError where its tokenizer is another one now.
    """
    noted = facts.get("encoder")
    if noted is None:
        return None
    origin = noted_origin(folder, noted["model"], ENCODER_ADAPTER)
    encoder = Encoder.of(origin, facts["max_tokens"])
    if encoder.fingerprint != noted["tokenizer"]:
        raise ValueError(
            f"reward model {folder.name} was trained beside another tokenizer or chat template than"
            f" {noted['model']} has now: train it again"
        )
    return encoder


def member_name(name: str, place: int) -> str:
    """A file's or folder's name for one member: the first one's has no number."""
    return name if place == 0 else f"{name}-{place}"
