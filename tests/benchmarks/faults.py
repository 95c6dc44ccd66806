"""Real GRPO runs in the garden, healthy ones and ones with a fault put into a real component."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data import runs
from data.settings import as_config
from grpo.config import PolicySettings
from grpo.trainer.callback import SAMPLES, VERDICTS, GrpoCallback
from grpo.trainer.policy_trainer import PolicyTrainer, TrainingParts
from grpo.trainer.preflight import run_preflight
from reward_model.scoring.scorer import Scorer
from tests.benchmarks.garden import SAMPLING, Garden

Array = NDArray[np.float64]
HEALTHY = "healthy"
SETTINGS = PolicySettings(
    steps=24,
    prompts_per_step=6,
    group_size=8,
    learning_rate=1.2e-3,
    kl_weight=0.1,
    pessimism=0.0,
    kl_target=2.0,
    sampling=SAMPLING,
    save_every=1000,
)
FARTHER = 1000.0
"""What the learning rate is multiplied by."""
DROPPED = 0.1


@dataclass(frozen=True)
class Fault:
    """How one fault is put into a run, and which verdicts name its mechanism."""

    names: tuple[str, ...]
    settings: Callable[[PolicySettings], PolicySettings] = lambda s: s
    inject: Callable[[PolicyTrainer], None] = lambda trainer: None
    whole: bool = False
    """Trained to its end, also once the fault has been named."""


def no_learning_rate(trainer: PolicyTrainer) -> None:
    """The optimiser is made with a learning rate of 0."""
    trainer.args.learning_rate = 0.0


class Constant(Scorer):
    """A reward model that likes everything alike."""

    def raw(self, _: Any, texts: Sequence[str], finished: Any = None) -> Array:
        return self.liking(texts)

    def score(self, _: Any, texts: Sequence[str], finished: Any = None) -> Array:  # type: ignore[override]
        return self.liking(texts)

    def score_groups(
        self, _: Any, texts: Sequence[str], finished: Any, size: int
    ) -> tuple[Array, Array, Array]:
        return self.liking(texts), np.zeros(len(texts)), np.zeros(len(texts))

    def liking(self, texts: Sequence[str]) -> Array:
        return np.zeros(len(texts))


class Length(Constant):
    """One that likes what is long: one unit for every five words."""

    def liking(self, texts: Sequence[str]) -> Array:
        return np.array([len(t.split()) / 5 - 3.0 for t in texts])


def liked_by(kind: type[Constant]) -> Callable[[PolicyTrainer], None]:
    def inject(trainer: PolicyTrainer) -> None:
        old = trainer.parts.scorer
        new = kind(old.members, old.tokenizer, max_tokens=old.max_tokens)
        trainer.parts, trainer.reward.scorer = replace(trainer.parts, scorer=new), new

    return inject


def dropout(trainer: PolicyTrainer) -> None:
    """Real dropout in the adapter, in training mode."""
    for module in trainer.model.modules():
        if hasattr(module, "lora_dropout"):
            for name in module.lora_dropout:
                module.lora_dropout[name] = nn.Dropout(DROPPED)


def frozen(trainer: PolicyTrainer) -> None:
    """The adapter does not train; inputs ask for gradients, as with activation checkpointing."""
    for parameter in trainer.model.parameters():
        parameter.requires_grad_(False)
    trainer.model.enable_input_require_grads()


def wrong_reference(trainer: PolicyTrainer) -> None:
    """KL is measured against the plain model that SFT began with, as where its adapter is off."""
    for name, parameter in trainer.model.named_parameters():
        if ".ref." in name and "lora_B" in name:
            parameter.data.zero_()


def with_temperature(settings: PolicySettings) -> PolicySettings:
    return replace(settings, sampling=replace(settings.sampling, temperature=0.1))


FAULTS: Mapping[str, Fault] = {
    "learning rate 0": Fault(("nothing-trains",), inject=no_learning_rate),
    "learning rate x1000": Fault(
        ("kl-runaway", "not-finite", "aggressive-gradients"),
        lambda s: replace(s, learning_rate=FARTHER * s.learning_rate),
    ),
    "constant reward": Fault(("useless-reward",), inject=liked_by(Constant)),
    "reward = length": Fault(("reward-hacking",), inject=liked_by(Length)),
    "beta 0": Fault(("kl-runaway", "no-kl-term"), lambda s: replace(s, kl_weight=0.0), whole=True),
    "dropout on": Fault(("wrong-reference",), inject=dropout),
    "frozen adapter": Fault(("nothing-trains",), inject=frozen),
    "temperature 0.1": Fault(("mode-collapse", "entropy-collapse"), with_temperature),
    "wrong reference": Fault(("wrong-reference",), inject=wrong_reference),
    "entropy coefficient x1000": Fault(
        ("entropy-explosion",), lambda s: replace(s, entropy_weight=1000 * s.entropy_weight)
    ),
}


def run_one(garden: Garden, folder: Path, fault: str, seed: int, steps: int = 0) -> Path:
    """One real run; its folder, which is kept and not made again."""
    out = folder / f"{fault.replace(' ', '-').replace('=', 'is')}-{seed}"
    if (out / "done").exists():
        return out
    settings = replace(SETTINGS, seed=seed, workspace=garden.workspace)
    settings = replace(settings, steps=steps or settings.steps)
    made = FAULTS.get(fault, Fault(()))
    train_in(garden, out, made.settings(settings), made.inject, () if made.whole else made.names)
    return out


def train_in(
    garden: Garden,
    out: Path,
    settings: PolicySettings,
    inject: Callable[[PolicyTrainer], None] = lambda trainer: None,
    watched: Sequence[str] = (),
) -> None:
    """A real run of these settings in a folder, also where preflight fails."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("metrics.jsonl", SAMPLES, VERDICTS):
        (out / name).unlink(missing_ok=True)
    (out / "config.json").write_text(json.dumps(as_config(settings)))
    recorder = Recorder(out, watched)
    reward = runs.runs_folder(garden.workspace) / garden.reward
    parts = TrainingParts(
        garden.policy,
        garden.policy,
        garden.tokenizer,
        garden.scorer,
        reward,
        list(garden.prompts),
        torch.float32,
    )
    trainer = PolicyTrainer(settings, parts, out)
    trainer.add_callback(GrpoCallback(recorder, trainer))
    inject(trainer)
    checked = _reason(lambda: run_preflight(trainer, out))
    ended = _reason(trainer.train)
    (out / "done").write_text(json.dumps({"preflight": checked, "run": ended}))


def _reason(work: Callable[[], object]) -> str:
    """Why the work ended early, or nothing."""
    try:
        work()
    except ValueError as error:
        return str(error)
    return ""


class Recorder(SimpleNamespace):
    """The part of a run's recorder that a trainer speaks to, with no store behind it. It asks the
    run to stop as its owner would: once a verdict says one of the names."""

    def __init__(self, directory: Path, names: Sequence[str]) -> None:
        super().__init__(id=directory.name, directory=directory, names=names)

    @property
    def stop_requested(self) -> bool:
        path = self.directory / VERDICTS
        said = json.loads(path.read_text()) if path.is_file() else []
        return any(verdict["name"] in self.names for verdict in said)

    def progress(self, *_: Any) -> None:
        pass

    def log(self, **metrics: Any) -> None:
        with (self.directory / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(metrics) + "\n")


def rows(folder: Path) -> list[dict[str, Any]]:
    return [r for r in runs.metrics(folder) if "reward_mean" in r]
