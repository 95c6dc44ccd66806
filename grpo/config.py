"""Settings of the policy's commands. No torch here: the web process reads these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from data.settings import Place, RunPlace
from reward_model.config import (
    BUILT_IN_MODEL,
    LoraSettings,
    Objective,
    RewardSettings,
    check_not_negative,
    check_positive,
)

PolicyTuning = Literal["lora", "qlora", "full"]
LORA_RATE, FULL_RATE = 2e-4, 2e-5
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
    """1 samples what the model believes; lower is safer and less varied."""
    top_p: float = 1.0
    """Draw from the smallest set of tokens with this much probability. 1: from all."""
    max_new_tokens: int = 96
    """Longest completion. One that reaches it is kept as unfinished, and looks so to the reward."""

    def __post_init__(self) -> None:
        check_positive(self, "temperature", "top_p", "max_new_tokens")
        if self.top_p > 1:
            raise ValueError(f"top p {self.top_p} not allowed: use more than 0, at most 1")


@dataclass(frozen=True, kw_only=True)
class TuneSettings(RunPlace):
    """What fine-tuning and continued pretraining share."""

    model: str = BUILT_IN_MODEL
    """What to start from: smollm2-135m (built in), a Hugging Face id, a local folder, or the id of
    a pretraining, SFT or GRPO run. The side-car of such a run is trained on, with its own rank,
    alpha and targets."""
    tuning: PolicyTuning = "lora"
    """lora: freeze the model and train a small side-car: little memory, hard to spoil. qlora: the
    same on a model whose layers are held in 4 bits: less memory, slower, a little less exact; needs
    an NVIDIA GPU. full: train every weight: learns most and forgets most; 16 bytes of memory a
    weight."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    epochs: float = 1.0
    """Passes over the texts."""
    learning_rate: float = 0.0
    """Size of a step. 0: what suits the tuning: 2e-4 for a side-car (lora, qlora), 2e-5 for all
    weights (full), which a larger one spoils."""
    batch_size: int = 8
    """Texts in one optimiser step."""
    max_tokens: int = 512
    """Longest text that is read at once."""
    eval_every: int = 0
    """Steps between measurements of the loss on held-out texts. 0: four of them in each pass."""
    patience: int = 2
    """Stop early after this many measurements in a row that found no better loss. 0: never. The
    weights with the best loss are what is kept, either way."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "batch_size", "max_tokens")
        check_not_negative(self, "learning_rate", "eval_every", "patience")

    @property
    def rate(self) -> float:
        """The learning rate, chosen for the tuning where none is given.

        A side-car takes about ten times what all weights take: "LoRA without regret", Thinking
        Machines, 2025; Biderman et al. 2024, arXiv:2405.09673.
        """
        return self.learning_rate or (FULL_RATE if self.tuning == "full" else LORA_RATE)


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(TuneSettings):
    """Continued pretraining on the documents: raw text of your field, packed into blocks, loss on
    every token. It teaches words and facts; fine-tune (sft) afterwards to teach how to answer."""

    lora: LoraSettings = field(
        default_factory=lambda: LoraSettings(rank=64, alpha=128, targets="all")
    )
    epochs: float = 1.0
    """Passes over the documents."""
    batch_size: int = 8
    """Blocks in one optimiser step."""
    max_tokens: int = 512
    """Tokens in a block at most. Longer lets the model see more of a document at once, and takes
    more memory."""


@dataclass(frozen=True, kw_only=True)
class SftSettings(TuneSettings):
    """Supervised fine-tuning on the demonstrations of the training prompts.

    GRPO only amplifies answers that the policy can already give: SFT teaches it to give them.
    """

    lora: LoraSettings = field(default_factory=lambda: LoraSettings(targets="all"))
    epochs: float = 2.0
    """Passes over the demonstrations."""
    batch_size: int = 8
    """Demonstrations in one optimiser step."""
    max_tokens: int = 512
    """Longest prompt and completion together; longer demonstrations are left out, counted."""


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
    """Calls to the endpoint at a time."""
    timeout: float = 120.0
    """Seconds until a call to the endpoint is given up and made again."""
    prompts: PromptSet = "judged"
    """Which prompts: those of a split, or judged: train and validation. Test stays for the end."""
    limit: int = 0
    """At most this many prompts. 0: all."""
    per_prompt: int = 4
    """Completions of each prompt."""
    missing: bool = False
    """Leave out prompts that this policy has answered that often already: goes on where a run that
    died left off."""
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
        for name in ("overlap", "across"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} {value} not allowed: use a share from 0 to 1")
        for model in (self.policy, *self.mix):
            if model.startswith("-"):
                raise ValueError(f"model {model!r} not allowed: a name does not begin with a dash")
        if self.endpoint:
            _check_address(self.endpoint)


def _check_address(address: str) -> None:
    """ValueError for what is no plain base address; it does not repeat a password."""
    if set(address) & set("@?#"):
        raise ValueError(
            "the endpoint's address holds a user name, a key or a query: leave them out, and set a"
            " key as COACH_ENDPOINT_KEY in the environment"
        )
    try:
        parts = urlsplit(address)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # no such port, or half a bracket
        right = False
    if not right or not address.isprintable() or " " in address:
        raise ValueError(f"endpoint {address!r} is no address: use one like http://host:8000/v1")


@dataclass(frozen=True, kw_only=True)
class PolicySettings(RunPlace):
    """GRPO: sample a group of completions a prompt, score them with the reward model, move the
    probability towards the better half, and stay near the SFT policy."""

    policy: str = ""
    """The policy to start from: a run's id or a model folder. Empty: the newest SFT run. KL is
    measured against it, pinned by its hash; a GRPO run's policy keeps that run's reference."""
    reward: str = ""
    """The reward model's run id or folder. Empty: the newest one."""
    resume: str = ""
    """Id of a GRPO run that was stopped or died: go on from its last checkpoint."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """Used where the policy is a plain model; an SFT'd side-car is trained on as it is."""
    steps: int = 40
    """Optimiser steps."""
    prompts_per_step: int = 4
    """Distinct prompts in one step."""
    group_size: int = 8
    """Completions of each prompt; their rewards are compared with each other."""
    learning_rate: float = 2e-4
    """Step size of the side-car."""
    kl_weight: float = 0.04
    """Weight of the KL loss against the SFT policy (beta): more keeps the policy nearer. 0: nothing
    holds it there; KL is measured all the same."""
    kl_target: float = 6.0
    """KL to the SFT policy, in nats per answer, that the KL weight is steered towards.
    0: the weight stays as it is."""
    entropy_weight: float = 0.001
    """Weight of the entropy bonus: keeps the policy from settling on one answer."""
    entropy_target: float = 0.0
    """Share of the starting entropy below which the bonus acts, and grows while it stays there; 0.7
    is a good start. 0: the bonus acts always, with the weight as it is."""
    uncertainty_penalty: float = 0.0
    """The reward is the reward model's mean less this many of its standard deviations: answers that
    it is unsure about are worth less. 0: the mean alone."""
    length_penalty: float = 0.0
    """Reward lost for every 100 tokens of a completion. 0: none."""
    reward_clip: float = 5.0
    """The reward model's part is limited to plus and minus this many standard deviations."""
    drop_below: float = 0.25
    """A group teaches nothing where its rewards spread less than this many times the reward model's
    uncertainty about their differences: it is dropped, and counted. 1: as much as that. 0: only
    where they spread no more than scoring them twice would."""
    advantage_scale: AdvantageScale = "group"
    """What a reward's distance from its group's mean is divided by. group: the group's spread, so
    every prompt counts alike. batch: the whole step's, so clear differences count more. none."""
    loss_type: LossType = "dr_grpo"
    """How token losses are summed. dr_grpo: over a fixed length, so long answers are not favoured.
    grpo: by answer. bnpo, dapo: by token. cispo, sapo: like dapo, grpo with a softer clip."""
    iterations: int = 1
    """Optimiser steps on each sampled batch. More saves sampling; clipping then holds them back."""
    micro_batches: int = 1
    """Parts in which a step's completions pass through the model: more takes less memory."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    save_every: int = 5
    """Steps between checkpoints."""
    report_to: Tracker = "none"
    """Send the metrics to a tracker too, which must be installed."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_positive(
            self,
            "steps",
            "prompts_per_step",
            "learning_rate",
            "reward_clip",
            "iterations",
            "micro_batches",
            "save_every",
        )
        check_not_negative(
            self,
            "kl_weight",
            "kl_target",
            "entropy_weight",
            "uncertainty_penalty",
            "length_penalty",
            "drop_below",
        )
        if self.group_size < 2:
            raise ValueError(f"group size {self.group_size} not allowed: use 2 or more")
        if self.lora.dropout:
            raise ValueError(
                f"lora dropout {self.lora.dropout} not allowed in GRPO: it would pass for KL; use 0"
            )
        if not 0 <= self.entropy_target <= 1:
            raise ValueError(
                f"entropy target {self.entropy_target} not allowed: use a share from 0 to 1"
            )
        if self.entropy_target and not self.entropy_weight:
            raise ValueError(
                "entropy target without entropy weight not allowed: give an --entropy-weight above"
                " 0, from which the bonus grows"
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
    """Also report the simulated annotators' true utility: for demonstrations of the loop."""
    batch_size: int = 32
    """Completions sampled at a time."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_positive(self, "per_prompt", "batch_size")
        check_not_negative(self, "limit")


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Place):
    """Merge a policy's side-car into its weights and write an ordinary model folder."""

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
            limit=72,
            batch_size=96,
            annotators=3,
            overlap=0.0,
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
