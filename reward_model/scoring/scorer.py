"""Scorer: rewards for completions, in units of the SFT policy's own spread, with error bars."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal, NotRequired, TypedDict, overload

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from data.schema import Completion, Prompt, make_prompt
from reward_model.language_model.classifier import apply_head, head_weights, set_head, with_head
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.features import read_features
from reward_model.language_model.loading import (
    cast,
    load_classifier,
    load_model,
    load_tokenizer,
    with_adapter,
)
from reward_model.language_model.origin import ADAPTER, ORIGIN, Origin, noted_origin
from reward_model.language_model.render import Rendered, fingerprint, render
from reward_model.likelihood.fit import Basis, posterior_sd

EXPORT = "reward.json"
"""File, inside an exported folder, that says what `origin.json` says of a run."""
POLICY_ADAPTER = "policy_adapter"
"""Folder, inside a reward model's, with a copy of the SFT adapter that it was trained on."""
WEIGHTS = "weights"
"""Folder, inside a reward model's, with all weights, where all of them were tuned."""
BATCH = 16

Array = NDArray[np.float64]
PromptLike = Prompt | str | Sequence[Mapping[str, str]]
Prompts = Sequence[PromptLike]
Marks = Sequence[bool] | None


class Facts(TypedDict):
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
    policy: NotRequired[str]
    level: NotRequired[float]
    """Makes the raw reward the one that absolute judgements are about."""
    name: NotRequired[str]
    """An export's."""


@dataclass(frozen=True)
class Head:
    """A linear head and how sure it is."""

    weights: Array
    """(d,), on the network's states."""
    basis: Basis
    factor: Array
    """Lower Cholesky factor of the posterior covariance, in the basis' coordinates."""
    precision: float
    centre: Array
    """(d,), mean state of the SFT policy's samples: there the reward is 0 by definition."""

    def sd(self, states: Array, beside: Array | None = None) -> Array:
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


Reading = tuple[Array, Array]
"""A member's head output (N,) and the states (N, d) that it read."""


@dataclass
class Member:
    """One network of a reward model, and its head."""

    model: PreTrainedModel
    head: Head

    @torch.inference_mode()
    def read(self, texts: Sequence[Rendered], pad_token_id: int) -> Reading:
        """The head's output (N,) and the states (N, d) at the texts' ends."""
        states = read_features(self.model, texts, pad_token_id, BATCH)
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
    def load(cls, folder: str | Path, dtype: torch.dtype | None = None) -> Scorer:
        """From a reward-model run's folder. Raises ValueError if it holds none."""
        folder = Path(folder)
        facts = read_facts(folder)
        origin = under(folder, facts)
        tokenizer = load_tokenizer(origin)
        if fingerprint(tokenizer) != facts["tokenizer"]:
            raise ValueError(
                f"reward model {folder.name} was trained with another tokenizer or chat template"
                f" than {origin.model} has now: train it again"
            )
        dtype = dtype or choose_dtype()[0]
        pad = tokenizer.pad_token_id
        members = [load_member(folder, facts, i, pad, dtype) for i in range(facts["members"])]
        return cls(
            members, tokenizer, mean=facts["mean"], sd=facts["sd"], max_tokens=facts["max_tokens"]
        )

    @overload
    def score(
        self,
        prompts: Sequence[PromptLike],
        completions: Sequence[str],
        finished: Sequence[bool] | None = ...,
        return_std: Literal[False] = ...,
    ) -> Array: ...

    @overload
    def score(
        self,
        prompts: Sequence[PromptLike],
        completions: Sequence[str],
        finished: Sequence[bool] | None = ...,
        *,
        return_std: Literal[True],
    ) -> tuple[Array, Array]: ...

    def score(
        self,
        prompts: Sequence[PromptLike],
        completions: Sequence[str],
        finished: Sequence[bool] | None = None,
        return_std: bool = False,
    ) -> Array | tuple[Array, Array]:
        """Rewards (B,): mean 0 and standard deviation 1 on the SFT policy's samples.

        `finished` says which completions ended by themselves; all, where it is not given. With
        `return_std` also the standard deviation of each (B,), in the same units: how far it could
        be off, given the judgements. Raises ValueError if the lengths differ.
        """
        raw, sd = self.read(self._render_all(prompts, completions, finished))
        rewards = (raw - self.mean) / self.sd
        return (rewards, sd / self.sd) if return_std else rewards

    def raw(self, prompts: Prompts, completions: Sequence[str], finished: Marks = None) -> Array:
        """The head's output (B,), before it is brought to reward units."""
        return self.read(self._render_all(prompts, completions, finished))[0]

    def raw_of(self, completions: Sequence[Completion]) -> Array:
        """The same, of completions (N,) that know their prompts."""
        return self.raw(
            [c.prompt for c in completions],
            [c.text for c in completions],
            [c.finished for c in completions],
        )

    def render(self, prompt: PromptLike, completion: str, finished: bool) -> Rendered:
        """The token ids that this scorer reads."""
        full = prompt if isinstance(prompt, Prompt) else make_prompt(prompt)
        return render(self.tokenizer, full, completion, finished, self.max_tokens)

    def score_groups(
        self, prompts: Prompts, completions: Sequence[str], finished: Sequence[bool], size: int
    ) -> tuple[Array, Array, Array]:
        """(rewards (B,), their standard deviations (B,), noise of each group (B / size,)).

        A group is `size` completions in a row. Its noise is how far its rewards could be off beside
        one another: the standard deviation of a reward's distance from its group's mean, root mean
        square over the group. What all of a group share, as how hard the prompt is, is no part of
        it. Raises ValueError if the completions are no whole groups.
        """
        if len(completions) % size:
            raise ValueError(f"{len(completions)} completions are no groups of {size}")
        texts = self._render_all(prompts, completions, finished)
        readings = [m.read(texts, self.tokenizer.pad_token_id) for m in self.members]
        raw, sd = combined(self.members, readings)
        noise = group_noise(self.members, readings, size)
        return (raw - self.mean) / self.sd, sd / self.sd, noise / self.sd

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
        return texts

    def read(self, texts: Sequence[Rendered]) -> tuple[Array, Array]:
        """Raw rewards (N,), the members' mean, and their standard deviations (N,).

        The variance is the members' own, on average, and that between them.
        """
        readings = [m.read(texts, self.tokenizer.pad_token_id) for m in self.members]
        return combined(self.members, readings)


def combined(members: Sequence[Member], readings: Sequence[Reading]) -> tuple[Array, Array]:
    """Means (N,) and standard deviations (N,) over the members."""
    means = [out for out, _ in readings]
    own = [np.square(m.head.sd(states)) for m, (_, states) in zip(members, readings, strict=True)]
    between = np.var(means, axis=0, ddof=1) if len(means) > 1 else 0.0
    return np.mean(means, axis=0), np.sqrt(np.mean(own, axis=0) + between)


def group_noise(members: Sequence[Member], readings: Sequence[Reading], size: int) -> Array:
    """Raw noise (N / size,) of each `size` texts in a row; see `Scorer.score_groups`."""
    means = [out.reshape(-1, size) for out, _ in readings]
    own = [
        np.square(
            [m.head.sd(group, group.mean(0)) for group in states.reshape(-1, size, states.shape[1])]
        )
        for m, (_, states) in zip(members, readings, strict=True)
    ]
    apart = [group - group.mean(1, keepdims=True) for group in means]
    between = np.var(apart, axis=0, ddof=1) if len(apart) > 1 else 0.0
    noise: Array = np.sqrt((np.mean(own, axis=0) + between).mean(1))
    return noise


def read_facts(folder: Path) -> Facts:
    """What a run or an export noted about itself. Raises ValueError if it is no reward model."""
    path = folder / (EXPORT if (folder / EXPORT).is_file() else ORIGIN)
    facts: Facts | None = json.loads(path.read_text()) if path.is_file() else None
    if facts is None or "objective" not in facts:
        raise ValueError(
            f"{folder} holds no finished reward model: name a reward run's id or folder"
        )
    return facts


def under(folder: Path, facts: Facts) -> Origin:
    """The policy that a reward model was trained from: the model, and its copy of the SFT adapter.

    Of an export: the folder itself, all is merged into it.
    """
    if "model" not in facts:
        return Origin(str(folder), "")
    return noted_origin(folder, facts["model"], POLICY_ADAPTER)


def load_member(
    folder: Path, facts: Facts, place: int, pad_token_id: int, dtype: torch.dtype
) -> Member:
    """One network with its adapters merged, in float32 and then cast, and its head."""
    weights, adapter = folder / member_name(WEIGHTS, place), folder / member_name(ADAPTER, place)
    head = Head.load(folder / f"{member_name('head', place)}.npz")
    if "model" not in facts:
        network = load_classifier(folder)
    elif weights.is_dir():
        network = load_classifier(weights)
    else:
        network = with_head(load_model(under(folder, facts), torch.float32), pad_token_id)
    if adapter.is_dir():
        network = with_adapter(network, str(adapter)).merge_and_unload()
    network = cast(network, dtype)
    # the head stays in float32: one number a text costs nothing, and rewards keep their digits
    head_weights(network).data = head_weights(network).data.float()
    if "model" in facts:  # an export's own weights hold its head
        set_head(network, head.weights)
    return Member(network, head)


def member_name(name: str, place: int) -> str:
    """A file's or folder's name for one member: the first one's has no number."""
    return name if place == 0 else f"{name}-{place}"
