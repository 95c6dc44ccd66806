"""Settings of the reward model's commands. No torch here: the web process reads these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from data.settings import Place, RunPlace

BUILT_IN_MODEL = "smollm2-135m"
MIN_COMPARISONS = 20
ENOUGH = 30
"""Cases from which a share is worth printing as one; fewer say little."""

Objective = Literal["bradley_terry", "regression"]
OBJECTIVES: tuple[Objective, ...] = ("bradley_terry", "regression")
Targets = Literal["attention", "mlp", "all"]
TARGETS: tuple[Targets, ...] = ("attention", "mlp", "all")


@dataclass(frozen=True)
class LoraSettings:
    """LoRA freezes the model's weights and trains a small side-car of low-rank matrices."""

    rank: int = 16
    """Rank of the side-car. More rank can learn more and needs more data; 8 to 32 suits most."""
    alpha: int = 32
    """Scale of the side-car: its output is multiplied by alpha / rank. Twice the rank is usual."""
    targets: Targets = "attention"
    """Where it sits. attention (q, k, v, o): how words relate: style, tone, following the question.
    mlp (gate, up, down): what the model knows: new domain knowledge. all: both."""
    dropout: float = 0.0
    """Share of the side-car's inputs dropped in training. GRPO needs 0: its KL assumes none."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"lora rank {self.rank} not allowed: use 1 or more")
        if self.alpha < 1:
            raise ValueError(f"lora alpha {self.alpha} not allowed: use 1 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"lora dropout {self.dropout} not allowed: use 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class RewardSettings(RunPlace):
    """Train a reward model on the judgements in the store."""

    objective: Objective = "bradley_terry"
    """bradley_terry learns from pairwise judgements (A better than B; a tie is half a win each
    way). regression learns from 1-10 and good/bad judgements, each annotator on their own scale."""
    policy: str = ""
    """What to start from: an SFT run's id, a model folder or a hub id. Empty: the newest SFT run,
    else the built-in model. Starting from the SFT'd policy is what works best."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    epochs: int = 1
    """Passes over the judged completions. One or two; more learns them by heart."""
    learning_rate: float = 2e-4
    """Step size of the side-car; the head starts from a closed fit on the frozen model."""
    batch_size: int = 16
    """Completions in one optimiser step; those of one prompt stay together."""
    max_tokens: int = 512
    """Longest text read. Longer ones keep the completion and lose the prompt's beginning."""
    seed: int = 0
    """Seed of everything random."""

    def __post_init__(self) -> None:
        check_positive(self, "epochs", "learning_rate", "batch_size", "max_tokens")


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Place):
    """Held-out accuracy of a reward model beside its baselines."""

    run: str
    """Id of the reward-model run, or its folder."""


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(Place):
    """Score completions from a file: one JSON line in, the same line with "reward" out."""

    run: str
    """Id of the reward-model run, or its folder."""
    file: str
    """JSON lines with "prompt" and "completion" ("finished" is true where it is not given)."""


def check_positive(settings: object, *names: str) -> None:
    """Raise ValueError for the first named setting that is not above 0."""
    for name in names:
        value = getattr(settings, name)
        if not value > 0:
            raise ValueError(f"{name.replace('_', ' ')} {value} not allowed: use more than 0")


def check_not_negative(settings: object, *names: str) -> None:
    """Raise ValueError for the first named setting that is below 0."""
    for name in names:
        value = getattr(settings, name)
        if not value >= 0:
            raise ValueError(f"{name.replace('_', ' ')} {value} not allowed: use 0 or more")
