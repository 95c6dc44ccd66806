"""What each command reports: a typed record, and its form in report.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from data.schema import Completion, JsonObject
from data.stats.estimate import Estimate
from grpo.diagnosis.diagnose import Verdict


@dataclass(frozen=True, kw_only=True)
class Report:
    """What every run's report has."""

    summary: str
    """The result in one sentence."""
    seconds: float = 0.0

    def as_json(self) -> JsonObject:
        """For report.json: figures of a nested record stand among the others."""
        return asdict(self)


# --- SFT and pretraining


@dataclass(frozen=True)
class TrainingCourse:
    """How a training went. Losses are nats a token, on held-out texts; None where none are."""

    steps: int
    """Optimiser steps taken."""
    planned: int
    ended: str
    """as planned, early or as asked."""
    validation_loss_before: float | None
    validation_loss: float | None
    """Of the weights that were kept."""
    validation_loss_last: float | None
    best_step: int | None
    """The step after which the kept weights were measured; None where the last ones were kept."""
    tuning: str = ""
    learning_rate: float = 0.0
    trainable: int = 0
    trainable_share: float = 0.0
    targets: Sequence[str] = ()
    """Names of the layers under the adapter."""
    precision: str = ""

    def sentence(self, what: str) -> str:
        """How it went, in one sentence: `what` says on which texts, and how many."""
        begun = {"as asked": "Stopped as asked: ", "early": "Stopped early: "}.get(self.ended, "")
        head = f"{begun}{what if begun else what[0].upper() + what[1:]}, {self.steps} steps"
        if self.steps < self.planned:
            head += f" of {self.planned}"
        before, after = self.validation_loss_before, self.validation_loss
        if before is None:
            return f"{head}; none are held out to measure it by."
        if after is None or (self.ended == "as asked" and after == before):
            return f"{head}; loss on held-out ones was {before:.2f} nats a token before."
        trend = "fell" if after < before else "did not fall"
        text = f"{head}: loss on held-out ones {trend}, {before:.2f} to {after:.2f} nats a token"
        if self.best_step and self.best_step < self.steps:
            last = self.validation_loss_last
            text += f" at step {self.best_step}, whose weights were kept ({last:.2f} at the end)"
        return f"{text}."


@dataclass(frozen=True, kw_only=True)
class TrainingReport(Report):
    """Of SFT and of pretraining."""

    model: str
    course: TrainingCourse
    texts: Mapping[str, int]
    """How many demonstrations, documents, tokens, ... were trained on, held out or left out."""

    def as_json(self) -> JsonObject:
        found = asdict(self)
        course, texts = found.pop("course"), found.pop("texts")
        return {**found, **course, **texts}


# --- sampling


@dataclass(frozen=True)
class LocalSource:
    """Completions from a policy on this machine."""

    precision: str


@dataclass(frozen=True)
class EndpointSource:
    """Completions from a server."""

    endpoint: str
    refusal: str
    """What the server said of the first request that it refused."""
    calls_made_again: int
    endings: Mapping[str, int]
    """Why completions ended: stop, length, content_filter, tool_calls, null, ..."""


@dataclass(frozen=True, kw_only=True)
class SampleReport(Report):
    completions: int
    distinct: int
    finished: int
    without_answer: int
    """Completions without any text, or with nothing but thinking."""
    thinking: int
    """Completions with thinking in front of their answer, or in its place."""
    left_out: Mapping[str, int]
    """How many prompts and completions were left out, by reason."""
    names_maker: int
    """Completions that name the model's maker."""
    tasks: int
    mixed: int
    """Comparisons between two models."""
    source: LocalSource | EndpointSource | None

    def as_json(self) -> JsonObject:
        found = asdict(self)
        return found | (found.pop("source") or {})


# --- GRPO and its evaluation


@dataclass(frozen=True)
class AnswerPair:
    """Answers of the SFT policy (before) and of the trained one to the same prompt."""

    prompt: str
    before: str
    after: str
    reward_before: float
    reward_after: float

    @classmethod
    def of(cls, before: Completion, after: Completion, *rewards: float) -> AnswerPair:
        """Of two completions of one prompt, with the reward of each."""
        rounded = (round(float(reward), 3) for reward in rewards)
        return cls(after.prompt.text, before.text, after.text, *rounded)


@dataclass(frozen=True, kw_only=True)
class GrpoReport(Report):
    steps: int
    kl_nats: float | None = None
    """To the reference, per answer, at the last step; None before the first."""
    reward_gain: float | None = None
    """Mean reward of the last step less that of the first, in standard deviations."""
    risk_premium: float | None = None
    """Reward that pessimism took off a completion, averaged over the steps; without pessimism, what
    a pessimism of 1 would have. None with a KL coefficient of 0."""
    verdicts: Sequence[Verdict] = ()
    seconds_per_step: float | None = None
    finite: bool | None = None
    samples: Sequence[AnswerPair] = ()
    policy: str = ""
    reference: str = ""
    sft_hash: str = ""
    reward: str = ""
    precision: str = ""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many training prompts were left out, by reason."""


@dataclass(frozen=True)
class ComparisonRow:
    """A measure's mean under both policies, and the difference with its 95% interval."""

    measure: str
    reference: float
    policy: float
    difference: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, kw_only=True)
class ComparisonReport(Report):
    rows: Sequence[ComparisonRow]
    win_rates: Mapping[str, Estimate]
    """By measure: share of answer pairs in which the policy's is better, a tie counts half."""
    kl_nats: Estimate
    samples: Sequence[AnswerPair]
    policy: str
    reference: str
    reward: str
    prompts: int
    per_prompt: int
    precision: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How many test prompts were left out, by reason."""

    def as_json(self) -> JsonObject:
        wins = {name: share.as_json() for name, share in self.win_rates.items()}
        return asdict(self) | {"win_rates": wins, "kl_nats": self.kl_nats.as_json()}


# --- the loop


@dataclass(frozen=True, kw_only=True)
class RewardReport(Report):
    """Of the reward model's training: its receipt, which is what report.json holds."""

    receipt: JsonObject

    def as_json(self) -> JsonObject:
        return self.receipt


@dataclass(frozen=True, kw_only=True)
class SeedReport:
    """One whole loop in a store of its own."""

    seed: int
    workspace: str
    minutes: float
    judgements: Mapping[str, int]
    """How many of each kind."""
    stages: Mapping[str, float]
    """Seconds of each stage."""
    sft: TrainingReport
    reward: JsonObject
    """The reward model's receipt."""
    grpo: GrpoReport
    metrics: Sequence[Mapping[str, float]]
    """Of the GRPO run's steps."""
    compare: ComparisonReport

    def as_json(self) -> JsonObject:
        reports = {name: getattr(self, name).as_json() for name in ("sft", "grpo", "compare")}
        return asdict(self) | reports


@dataclass(frozen=True, kw_only=True)
class LoopReport:
    date: str
    processor: str
    precision: str
    model: str
    bars: Mapping[str, float]
    """What the loop is held to."""
    seeds: list[SeedReport] = field(default_factory=list)

    def as_json(self) -> JsonObject:
        return asdict(self) | {"seeds": [seed.as_json() for seed in self.seeds]}
