"""Settings of the reward model's commands. No torch here: the web process reads these."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from data.settings import Place, RunPlace
from data.texts.thinking import Thinking

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

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
BASELINES = {
    "longer": "always the longer",
    "shorter": "always the shorter",
    "first": "always the one shown first",
    "prompt": "the prompt alone",
    "words": "the words alone (TF-IDF)",
    "words_and_length": "words and length together",
    "constant": "constant rates",
}
"""What a reward model is held against, by its name in a receipt, as people read it."""
ScalarLink = Literal["ordinal", "gaussian"]
Tuning = Literal["head", "lora", "full"]
Targets = Literal["attention", "mlp", "all"]
Form = Literal["in", "out"]
LARGEST = 1e9
"""The largest number that any setting may be, where RANGES says nothing else."""
RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 65_536),
    "alpha": (1, 1e6),
    "learning_rate": (0, 1),
    "epochs": (0.001, 10_000),
    "lm_weight": (0, 1_000),
    "members": (1, 1_000),
    "batch_size": (1, 1e6),
    "max_tokens": (1, 1e8),
    "max_new_tokens": (1, 1e7),
    "temperature": (0.001, 1_000),
    "parallel": (1, 1_000),
    "timeout": (0.001, 86_400),
    "group_size": (2, 1e5),
    "kl_weight": (0, 1_000),
    "kl_target": (0, 1e6),
    "entropy_weight": (0, 1_000),
    "pessimism": (0, 1e6),
    "length_penalty": (0, 1e6),
    "reward_clip": (0, 1e6),
    "drop_below": (0, 1e6),
    "seed": (0, 2**32 - 1),
    "judgements": (1, LARGEST),
    "answers": (1, LARGEST),
    "worlds": (2, 10_000),
    "draws": (1, 1_000),
    "seeds": (0, 2**32 - 1),
}
"""Between what a setting of this name has to be: beyond it a run dies, or never ends."""


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
        check_ranges(self, "lora ")


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
    form: Form = "in"
    """Length, lists, headings and bold. in: the reward may value them, as people do. out: they get
    coefficients of their own in the fit, which the reward leaves out. On PandaLM out takes accuracy
    from .740 to .690, and its mean over where people chose the longer and the shorter from .700 to
    .682: take it where brevity, or length, is no taste of yours."""
    tuning: Tuning = "lora"
    """What is trained. head: a linear head on the frozen policy's features; takes seconds. lora:
    then an adapter too. full: then all weights; needs a large GPU and many judgements."""
    members: int = 1
    """Models in the ensemble, each trained on its own bootstrap sample of the prompts; their
    disagreement adds to the standard deviation of every score."""
    policy: str = ""
    """Model to start from: an SFT run's id, a folder or a Hugging Face id. Empty: the newest SFT
    run, else the built-in model. Starting from the SFT policy works best."""
    from_: Annotated[str, tyro.conf.arg(name="from")] = ""
    """Another reward model to start from: a reward run's id, a folder or a Hugging Face id. Its
    network reads the texts, and its head is the prior's mean: few judgements leave the rewards near
    its own, many take over. Empty: none."""
    encoder: str = ""
    """A second model that reads the texts too: a policy's run id, a folder or a Hugging Face id,
    causal or an encoder. Its features stand beside the policy's if cross-validation finds them
    surely better. Needs tuning head; every score then takes a pass of both. Empty: none."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    epochs: int = 1
    """Passes over the judged completions. One or two; more memorise them."""
    learning_rate: float = 2e-4
    """Peak learning rate of the adapter or the weights; the head starts from a fit on the frozen
    model."""
    lm_weight: float = 0.0
    """What an average token's log-loss of the better completion weighs beside a judgement, in nats.
    0.001 to 0.01 keep a tuned network nearer to a language model; training then runs all layers.
    0: without."""
    batch_size: int = 16
    """Completions in an optimiser step; those of one prompt stay together."""
    max_tokens: int = 512
    """Longest prompt and completion read, in tokens. A longer one loses the prompt's beginning."""
    thinking: Thinking = "answer"
    """What it reads of a reasoning model's completion. answer: without the thinking before it.
    whole: with it."""
    seed: int = 0
    """Seed of all randomness."""

    def __post_init__(self) -> None:
        check_positive(self, "members", "epochs", "learning_rate", "batch_size", "max_tokens")
        check_ranges(self)
        if self.encoder and self.tuning != "head":
            raise ValueError(
                f"tuning {self.tuning!r} not allowed with an encoder, whose features are read once"
                " and kept: use --tuning head"
            )
        if self.encoder and self.from_:
            raise ValueError(
                "encoder and from not allowed together: a start's head reads one network; name one"
            )


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


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """Measure how good reward models are: on files of human judgements, beside baselines and the
    human ceiling, and in simulated worlds whose true reward is known."""

    what: Annotated[Literal["reward"], tyro.conf.Positional]
    """What is measured."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Files of judgements, read as `coach import` does. None: the simulated worlds alone."""
    recipe: tuple[str, ...] = ()
    """Published data set that the files are of: pandalm or tulu_human_eval. One for all files, or
    one for each."""
    policy: str = BUILT_IN_MODEL
    """Model that reads the texts: a folder or a Hugging Face id."""
    max_tokens: int = 512
    """Longest prompt and completion read, in tokens. A longer one loses the prompt's beginning."""
    worlds: int = 12
    """Simulated worlds of each kind."""
    draws: int = 3
    """Random parts of a file of 500 judgements to learn from."""
    out: str = ""
    """JSON file for all figures. Empty: the tables are printed only."""
    workspace: Path = Path("workspace")
    """Folder in which what the model read of the texts is kept for the next time."""
    seed: int = 0
    """Seed of all randomness."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_positive(self, "max_tokens")
        if len(self.recipe) > 1 and len(self.recipe) != len(self.files):
            raise ValueError(
                f"{len(self.recipe)} recipes for {len(self.files)} files: name one for all, or one"
                " for each"
            )

    def recipe_of(self, place: int) -> str | None:
        """Of the file at this place; None where none was named."""
        return (self.recipe[place % len(self.recipe)] or None) if self.recipe else None


def check_ranges(settings: DataclassInstance, of: str = "") -> None:
    """Raise ValueError for the first number among the settings that is out of its range."""
    for field_ in fields(settings):
        value = getattr(settings, field_.name)
        for number in value if isinstance(value, tuple) else (value,):
            low, high = RANGES.get(field_.name, (-LARGEST, LARGEST))
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if is_number and not low <= number <= high:
                use = f"{low:,.12g} to {high:,.12g}"
                name = of + field_.name.replace("_", " ")
                raise ValueError(f"{name} {number} not allowed: use {use}")


def check_positive(settings: object, *names: str) -> None:
    """Raise ValueError for the first named setting that is not a finite number above 0."""
    check_each(settings, names, lambda v: 0 < v < math.inf, "more than 0")


def check_not_negative(settings: object, *names: str) -> None:
    """Raise ValueError for the first named setting that is not a finite number from 0 up."""
    check_each(settings, names, lambda v: 0 <= v < math.inf, "0 or more")


def check_share(settings: object, *names: str) -> None:
    """Raise ValueError for the first named setting that is given and not from 0 to 1."""
    check_each(settings, names, lambda v: v is None or 0 <= v <= 1, "a share from 0 to 1")


def check_each(
    settings: object, names: Sequence[str], allowed: Callable[[float], bool], use: str
) -> None:
    """Raise ValueError, with what to use, for the first named setting that is not allowed."""
    for name in names:
        value = getattr(settings, name)
        if not allowed(value):
            raise ValueError(f"{name.replace('_', ' ')} {value} not allowed: use {use}")
