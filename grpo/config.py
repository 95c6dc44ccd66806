"""Settings of the policy's commands. No torch here: the web process reads these."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal
from urllib.parse import urlsplit

from data.exchange.validation import decode_json
from data.schema import JsonObject, canonical_json, cut_short
from data.settings import Place, RunPlace
from data.texts.intake import LONGEST_NAME, unstorable
from data.texts.thinking import Thinking
from reward_model.config import (
    BUILT_IN_MODEL,
    LoraSettings,
    Objective,
    RewardSettings,
    check_not_negative,
    check_positive,
    check_ranges,
    check_share,
)

LARGEST_PARAMETERS = 1000
"""Bytes of an endpoint's further parameters, which are kept with every completion."""
OWN_PARAMETERS = {
    "model": "",
    "messages": "",
    "stream": "",
    "n": "",
    "temperature": "use --sampling.temperature, or null to leave it out",
    "top_p": "use --sampling.top-p, or null to leave it out",
    "max_tokens": "use --sampling.max-new-tokens, or null to leave it out",
    "seed": "each completion has its own seed; use null to leave it out",
}
"""Parameters that cannot be given: what to do in their place, nothing where they are Coach's."""
PolicyTuning = Literal["lora", "qlora", "full"]
WINDOW = "generation_window.pt"
"""File that marks a GRPO run's checkpoint as whole."""
PromptSet = Literal["train", "validation", "test", "judged"]
AdvantageScale = Literal["group", "batch", "none"]
LossType = Literal["dr_grpo", "grpo", "bnpo", "dapo", "cispo", "sapo"]
Tracker = Literal["none", "trackio", "tensorboard", "wandb"]


@dataclass(frozen=True)
class SamplingSettings:
    """How completions are drawn from a policy."""

    temperature: float = 1.0
    """Divides the logits. 1 samples from the model's own distribution; lower is less varied."""
    top_p: float = 1.0
    """Nucleus sampling: draw from the smallest set of tokens with this much probability. 1: all."""
    max_new_tokens: int = 96
    """Longest completion in tokens. One that reaches it counts as unfinished (truncated), also for
    the reward model."""

    def __post_init__(self) -> None:
        check_positive(self, "temperature", "top_p", "max_new_tokens")
        if self.top_p > 1:
            raise ValueError(f"top p {self.top_p} not allowed: use more than 0, at most 1")
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class TuneSettings(RunPlace):
    """What fine-tuning and continued pretraining share."""

    model: str = BUILT_IN_MODEL
    """What to start from: smollm2-135m (built in), a Hugging Face id, a local folder, or the id of
    a pretraining, SFT or GRPO run. The adapter of such a run is trained further, with its own rank,
    alpha and target modules."""
    tuning: PolicyTuning = "lora"
    """lora: freeze the model and train a small adapter: little memory, little forgetting. qlora:
    the same on a model quantized to 4 bits: less memory, slower, slightly less exact; needs an
    NVIDIA GPU. full: train every weight: learns most and forgets most; 16 bytes of memory a
    weight."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    epochs: float = 1.0
    """Passes over the training texts."""
    learning_rate: float = 0.0
    """Peak learning rate. 0: 2e-4 for an adapter (lora, qlora), 2e-5 for all weights (full), which
    a larger one damages."""
    batch_size: int = 8
    """Texts (SFT: demonstrations; pretraining: blocks) in one optimiser step."""
    max_tokens: int = 512
    """Longest text in tokens."""
    eval_every: int = 0
    """Steps between measurements of the held-out loss. 0: four of them in each epoch."""
    patience: int = 2
    """Early stopping: stop after this many measurements in a row without a lower held-out loss. 0:
    never. The weights with the lowest held-out loss are kept either way."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "batch_size", "max_tokens")
        check_not_negative(self, "learning_rate", "eval_every", "patience")
        check_ranges(self)

    @property
    def rate(self) -> float:
        """The learning rate, chosen for the tuning where none is given.

        An adapter takes about ten times the rate of full fine-tuning: "LoRA without regret",
        Thinking Machines, 2025; Biderman et al. 2024, arXiv:2405.09673.
        """
        return self.learning_rate or (2e-5 if self.tuning == "full" else 2e-4)


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(TuneSettings):
    """Continued pretraining on the documents: raw text of your field, packed into blocks, loss on
    every token. It teaches vocabulary and facts; fine-tune (sft) afterwards for how to answer."""

    lora: LoraSettings = field(
        default_factory=lambda: LoraSettings(rank=64, alpha=128, targets="all")
    )
    max_tokens: int = 512
    """Block size: tokens in a block at most. Longer shows the model more of a document at once, and
    takes more memory."""


@dataclass(frozen=True, kw_only=True)
class SftSettings(TuneSettings):
    """Supervised fine-tuning on the demonstrations of the training prompts.

    GRPO only amplifies answers that the policy can already give: SFT teaches it to give them.
    """

    lora: LoraSettings = field(default_factory=lambda: LoraSettings(targets="all"))
    epochs: float = 2.0
    """Passes over the demonstrations."""
    max_tokens: int = 512
    """Longest prompt and completion together; longer demonstrations are left out, and counted."""
    thinking: Thinking = "answer"
    """What is learned of demonstrations that hold a reasoning model's thinking. answer: what comes
    after it. whole: the thinking too."""


@dataclass(frozen=True, kw_only=True)
class SampleSettings(RunPlace):
    """Sample completions for the stored prompts, and queue tasks over them."""

    policy: str = BUILT_IN_MODEL
    """Who answers: a run's id (SFT or GRPO), smollm2-135m, a Hugging Face id, a local folder; with
    an endpoint, the model's name there."""
    endpoint: str = ""
    """Address of a server that speaks OpenAI's chat completions, like http://host:8000/v1. Empty:
    the policy runs here. A key, if it wants one, is read from COACH_ENDPOINT_KEY."""
    parallel: int = 4
    """Concurrent requests to the endpoint."""
    timeout: float = 120.0
    """Seconds until a request to the endpoint is given up and made again."""
    parameters: str = ""
    """What the endpoint is told besides, as JSON: {"top_k": 20, "stop": ["###"]}. A null leaves one
    out that it does not take: {"seed": null}."""
    prompts: PromptSet = "judged"
    """Which prompts: those of a split, or judged: train and validation. Test stays for the end."""
    limit: int = 0
    """At most this many prompts. 0: all."""
    per_prompt: int = 4
    """Completions of each prompt."""
    missing: bool = False
    """Leave out prompts that this policy has answered that often already: continues a run that
    died."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    tasks: int = 400
    """Tasks to queue over the new completions, of all three kinds. 0: none."""
    annotators: int = 1
    """How many distinct people are to judge each task."""
    overlap: float | None = None
    """Share of the tasks that three people judge, so that their agreement can be seen. None: the
    share set on the Quality page, 0.15 at first."""
    mix: tuple[str, ...] = ()
    """Models whose stored answers the new ones are compared with, or all. Annotators are not told
    who wrote what. Empty: answers are compared with others of this batch."""
    across: float = 0.5
    """With a mix: at least this share of the comparisons is between two models."""
    batch_size: int = 32
    """Completions sampled at a time."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_positive(self, "per_prompt", "batch_size", "annotators", "parallel", "timeout")
        check_not_negative(self, "limit", "tasks")
        check_share(self, "overlap", "across")
        check_ranges(self)
        for model in (self.policy, *self.mix):
            if model.startswith("-"):
                raise ValueError(f"model {model!r} not allowed: a name does not begin with a dash")
            if fault := unstorable(model):
                raise ValueError(f"a model's name holds {fault}: correct it")
            if len(model.encode()) > LONGEST_NAME:
                raise ValueError(
                    f"model {cut_short(model)!r} not allowed: use at most {LONGEST_NAME} bytes"
                )
        assert self.extra is not None  # raises where they cannot be read
        if set(self.endpoint) & set("@?#"):  # a password is not repeated
            raise ValueError(
                "the endpoint's address holds a user name, a key or a query: leave them out, and"
                " set a key as COACH_ENDPOINT_KEY in the environment"
            )
        try:
            parts = urlsplit(self.endpoint)
            right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # no such port, or half a bracket
            right = False
        plain = self.endpoint.isprintable() and " " not in self.endpoint
        if self.endpoint and not (right and plain):
            raise ValueError(
                f"endpoint {self.endpoint!r} is no address: use one like http://host:8000/v1"
            )

    @cached_property
    def extra(self) -> JsonObject:
        """The further parameters, read. Raises ValueError naming what is wrong with them."""
        return read_parameters(self.parameters) if self.parameters.strip() else {}


def read_parameters(text: str) -> JsonObject:
    """Parameters of a request, spelled in JSON, that may be sent and kept with a completion.

    Raises ValueError with the remedy for what is no JSON object, for what other settings say or
    Coach needs for itself, and for more than is kept.
    """
    if len(text.encode("utf-8", "replace")) > LARGEST_PARAMETERS:
        raise ValueError(f"parameters are too long: use at most {LARGEST_PARAMETERS} bytes")
    try:
        found = decode_json(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"parameters {cut_short(text)!r} are not JSON ({error.msg} at character"
            f' {error.pos + 1}): write them like {{"top_k": 20}}'
        ) from None
    if not isinstance(found, dict):
        raise ValueError(
            f'parameters {cut_short(text)!r} are no JSON object: write them like {{"top_k": 20}}'
        )
    for name, value in found.items():
        use = OWN_PARAMETERS.get(name)
        if use is not None and (value is not None or not use):
            raise ValueError(
                f"parameter {name!r} not allowed: {use or 'it is what this command sets itself'}"
            )
    if fault := unstorable(canonical_json(found)):
        raise ValueError(f"parameters hold {fault}: remove it")
    return found


@dataclass(frozen=True, kw_only=True)
class PolicySettings(RunPlace):
    """Group relative policy optimization (GRPO, arXiv:2402.03300): sample a group of completions
    for each prompt, score them with the reward model, and raise the probability of those above
    their group's mean, with a KL penalty to the SFT policy."""

    policy: str = ""
    """The policy to start from: a run's id or a model folder. Empty: the newest SFT run. It is the
    reference policy of the KL penalty, pinned by its hash; a GRPO run's policy keeps that run's
    reference."""
    reward: str = ""
    """The reward model's run id or folder. Empty: the newest one."""
    resume: str = ""
    """Id of a GRPO run that was stopped or died: continue from its last checkpoint."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """For a policy without adapter; an SFT run's adapter is trained further as it is."""
    steps: int = 40
    """Optimiser steps."""
    prompts_per_step: int = 4
    """Distinct prompts in one step."""
    group_size: int = 8
    """Group size G (num_generations): completions of each prompt, whose rewards are compared with
    each other."""
    learning_rate: float = 2e-4
    """Learning rate of the adapter; it falls linearly to 0."""
    kl_weight: float = 0.04
    """KL coefficient (beta): weight of the KL penalty to the SFT policy. Larger keeps the policy
    nearer to it. 0: no penalty; KL is still measured."""
    kl_target: float = 6.0
    """KL target, in nats per answer: the KL coefficient is adapted to bring KL to it
    (arXiv:1909.08593). 0: the coefficient stays as it is."""
    entropy_weight: float = 0.001
    """Entropy coefficient: weight of the entropy bonus, which keeps answers varied."""
    entropy_target: float = 0.0
    """Entropy target, as a share of the entropy at the start: the bonus acts below it only, and its
    coefficient grows while entropy stays there; try 0.7. 0: the bonus acts always, unchanged."""
    pessimism: float = 1.0
    """Reward subtracted for what the reward model does not know: this many times variance /
    (2 beta). Variance: of the completion's reward beside its group's mean. Beta: the reward that a
    nat of KL of an answer has to earn, by KL coefficient and target. 1: the certainty equivalent
    (arXiv:2606.09073). 0: none. Needs a KL coefficient."""
    length_penalty: float = 0.0
    """Reward subtracted for every 100 tokens of a completion. 0: none."""
    reward_clip: float = 5.0
    """Reward clipping: the reward model's part is clipped to plus and minus this many standard
    deviations."""
    drop_below: float = 0.25
    """Drop a group (its advantages are 0, and it is counted) where its rewards spread less than
    this many times the reward model's uncertainty about their differences. 0: only where they
    spread no more than scoring them twice would."""
    advantage_scale: AdvantageScale = "group"
    """Advantage normalization: what a reward's distance from its group's mean is divided by. group:
    the group's standard deviation (GRPO). batch: the whole step's, so clear differences count more.
    none: nothing (Dr. GRPO)."""
    loss_type: LossType = "dr_grpo"
    """Loss aggregation. dr_grpo: token losses over a constant length, so long answers are not
    favoured. grpo: mean of each answer. bnpo, dapo: mean over tokens. cispo, sapo: like dapo and
    grpo with a softer clip. The clip range epsilon is 0.2, for cispo at most 5."""
    iterations: int = 1
    """Optimiser steps on each sampled batch (num_iterations, mu). More saves sampling; the clip
    range epsilon then limits how far they go."""
    micro_batches: int = 1
    """Gradient accumulation: parts in which a step's completions pass through the model. More takes
    less memory."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    save_every: int = 5
    """Steps between checkpoints."""
    report_to: Tracker = "none"
    """Send the metrics to a tracker too, which must be installed."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_positive(
            self, "steps", "prompts_per_step", "learning_rate", "reward_clip", "iterations",
            "micro_batches", "save_every",
        )  # fmt: skip
        check_not_negative(
            self, "kl_weight", "kl_target", "entropy_weight", "pessimism", "length_penalty",
            "drop_below",
        )  # fmt: skip
        check_share(self, "entropy_target")
        check_ranges(self)
        if self.group_size < 2:
            raise ValueError(f"group size {self.group_size} not allowed: use 2 or more")
        if self.lora.dropout:
            raise ValueError(
                f"lora dropout {self.lora.dropout} not allowed in GRPO: it would show as KL; use 0"
            )
        if self.entropy_target and not self.entropy_weight:
            raise ValueError(
                "entropy target without entropy weight not allowed: give an --entropy-weight above"
                " 0, from which the bonus grows"
            )
        if self.pessimism and not self.kl_weight:
            raise ValueError(
                "pessimism without kl weight not allowed: where KL costs nothing, what it subtracts"
                " has no bound; give a --kl-weight above 0, or --pessimism 0"
            )
        if self.prompts_per_step * self.group_size % self.micro_batches:
            raise ValueError(
                f"micro batches {self.micro_batches} not allowed: use a number that divides"
                f" {self.prompts_per_step} prompts x {self.group_size} completions"
            )


@dataclass(frozen=True, kw_only=True)
class StopSettings(Place):
    """Ask a run to stop at its next step and keep what it has, wherever it was started."""

    run: str
    """Id of the run."""


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings(RunPlace):
    """Compare a policy with the SFT policy on the test prompts, which nothing else has seen."""

    policy: str
    """The policy to judge: a GRPO run's id."""
    reference: str = ""
    """What it is compared with. Empty: the policy that the GRPO run started from."""
    reward: str = ""
    """The reward model that scores both. Empty: the one the GRPO run was trained with."""
    per_prompt: int = 2
    """Completions of each prompt by each policy."""
    limit: int = 0
    """At most this many test prompts. 0: all."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    true_taste: bool = False
    """Also report the simulated annotators' true utility: where they judged, as in the loop."""
    batch_size: int = 32
    """Completions sampled at a time."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_positive(self, "per_prompt", "batch_size")
        check_not_negative(self, "limit")
        check_ranges(self)


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Place):
    """Merge a policy's adapter into its weights and write an ordinary model folder."""

    policy: str
    """Id of the SFT or GRPO run."""
    out: str
    """Folder to write."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings(Place):
    """The whole loop with no person in it: SFT, sampling, simulated judgements of all three kinds,
    reward model, GRPO, and evaluation on prompts held out from everything."""

    model: str = BUILT_IN_MODEL
    """What to start from: smollm2-135m (built in), a Hugging Face id, or a local folder."""
    seeds: tuple[int, ...] = (0,)
    """One whole loop for each seed."""
    judgements: int = 1800
    """Simulated judgements, of all three kinds."""
    objective: Objective = "joint"
    """What the reward model learns from."""
    sft: SftSettings = field(
        default_factory=lambda: SftSettings(
            lora=LoraSettings(targets="attention"), learning_rate=6e-4, epochs=1.0
        )
    )
    sample: SampleSettings = field(
        default_factory=lambda: SampleSettings(
            limit=240,
            batch_size=96,
            annotators=1,
            overlap=0.15,
            sampling=SamplingSettings(max_new_tokens=56),
        )
    )
    reward: RewardSettings = field(default_factory=lambda: RewardSettings(learning_rate=6e-4))
    train: PolicySettings = field(
        default_factory=lambda: PolicySettings(
            steps=8,
            learning_rate=1e-3,
            kl_target=5.5,
            sampling=SamplingSettings(max_new_tokens=48),
            save_every=4,
        )
    )
    answers: int = 1
    """Completions of each test prompt by each policy in the evaluation."""

    def __post_init__(self) -> None:
        check_ranges(self)
