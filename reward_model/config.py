"""Settings of the reward model's commands. No torch here: the web process reads these."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from data.settings import Place, RunPlace

BUILT_IN_MODEL = "smollm2-135m"
MIN_JUDGEMENTS = 20

Objective = Literal["joint", "bradley_terry", "regression", "binary"]
OBJECTIVES: tuple[Objective, ...] = ("joint", "bradley_terry", "regression", "binary")
KINDS_OF: dict[Objective, tuple[str, ...]] = {
    "joint": ("pairwise", "scalar", "binary"),
    "bradley_terry": ("pairwise",),
    "regression": ("scalar",),
    "binary": ("binary",),
}
"""Kinds of judgement that an objective learns from."""
ScalarLink = Literal["ordinal", "gaussian"]
Tuning = Literal["head", "lora", "full"]
Targets = Literal["attention", "mlp", "all"]


@dataclass(frozen=True)
class LoraSettings:
    """LoRA freezes the model's weights and trains a small adapter of low-rank matrices.

    E. Hu et al. (2021), "LoRA: Low-rank adaptation of large language models", arXiv:2106.09685.
    """

    rank: int = 16
    """Rank r of the adapter's matrices: how much it can learn. 4 to 16 suits a style or a format,
    32 to 128 new knowledge from many texts; more takes more memory and memorises few examples."""
    alpha: int = 32
    """Scaling of the adapter: what it adds is multiplied by alpha / rank. Twice the rank is usual.
    Change both together; to learn faster or slower change the learning rate."""
    targets: Targets = "attention"
    """Layers that get an adapter. attention (q, k, v, o), how words relate: for style, tone, format
    and following the question. mlp (gate, up, down), what the model knows: for a new field's facts
    and words. all: both, and every other linear layer: learns most, at two to three times the
    size."""
    dropout: float = 0.0
    """Share of the adapter's inputs that training sets to zero at random, against memorising.
    0.05 to 0.1 for some hundred texts, else 0. GRPO takes 0."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"lora rank {self.rank} not allowed: use 1 or more")
        if self.alpha < 1:
            raise ValueError(f"lora alpha {self.alpha} not allowed: use 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora dropout {self.dropout} not allowed: use 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class RewardSettings(RunPlace):
    """Train a reward model on the judgements in the store, and write its receipt."""

    objective: Objective = "joint"
    """Likelihood that is maximised. joint: of every kind of judgement at once, on one scale.
    bradley_terry: of comparisons alone; regression: of 1-10 ratings; binary: of good or bad."""
    scalar: ScalarLink = "ordinal"
    """Likelihood of a 1-10 rating under joint. ordinal: ten steps in order, with learned thresholds
    between them (cumulative logit). gaussian: a number of points, which regression always takes."""
    effects: bool = True
    """Give each annotator a threshold, scale, consistency and position bias, ties a likelihood of
    their own, and absolute judgements the prompt's difficulty. Without: the textbook losses."""
    tuning: Tuning = "lora"
    """What is trained. head: a linear head on the frozen policy's features; takes seconds. lora:
    then an adapter too. full: then all weights; needs a large GPU and many judgements."""
    members: int = 1
    """Models in the ensemble, each trained on its own bootstrap sample of the prompts; their
    disagreement adds to the standard deviation of every score."""
    policy: str = ""
    """Model to start from: an SFT run's id, a folder or a Hugging Face id. Empty: the newest SFT
    run, else the built-in model. Starting from the SFT policy works best."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    epochs: int = 1
    """Passes over the judged completions. One or two; more memorise them."""
    learning_rate: float = 2e-4
    """Peak learning rate of the adapter or the weights; the head starts from a fit on the frozen
    model."""
    batch_size: int = 16
    """Completions in an optimiser step; those of one prompt stay together."""
    max_tokens: int = 512
    """Longest prompt and completion read, in tokens. A longer one loses the prompt's beginning."""
    seed: int = 0
    """Seed of all randomness."""

    def __post_init__(self) -> None:
        check_positive(self, "members", "epochs", "learning_rate", "batch_size", "max_tokens")


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Place):
    """Compute a reward model's receipt again, on the judgements that stand now."""

    run: str
    """Id of the reward-model run."""
    out: str = ""
    """Folder for the receipt as HTML, JSON and model card. Empty: it is printed only."""


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(Place):
    """Score completions from a file: one JSON line in, the same with "reward" and "std" out.
    Or serve them over HTTP to whoever asks."""

    run: str
    """Id of the reward-model run, or a folder: a run's or an export's."""
    file: str = ""
    """JSON lines with "prompt" and "completion" ("finished" is true where it is not given)."""
    serve: bool = False
    """Answer POST /score, vLLM's /classify and OpenRLHF's /get_reward until Ctrl-C."""
    host: str = "127.0.0.1"
    """Address to serve on. 127.0.0.1: this machine only. There is no login."""
    port: int = 8300
    """Port to serve on."""

    def __post_init__(self) -> None:
        if bool(self.file) == self.serve:
            raise ValueError("nothing to score: name one of --file and --serve")


@dataclass(frozen=True, kw_only=True)
class ExportRewardSettings(Place):
    """Write a reward model as an ordinary model folder, with a certificate that its rewards equal
    those of the trained model."""

    run: str
    """Id of the reward-model run, or its folder."""
    out: str
    """Folder to write; an earlier export there is replaced."""


def check_positive(settings: object, *names: str) -> None:
    """Raise ValueError for the first named setting that is not a finite number above 0."""
    for name in names:
        value = getattr(settings, name)
        if not 0 < value < math.inf:
            raise ValueError(f"{name.replace('_', ' ')} {value} not allowed: use more than 0")


def check_not_negative(settings: object, *names: str) -> None:
    """Raise ValueError for the first named setting that is not a finite number from 0 up."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise ValueError(f"{name.replace('_', ' ')} {value} not allowed: use 0 or more")
