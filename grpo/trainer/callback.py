"""What a GRPO run reports of each step: metrics, samples and verdicts; and what it steers."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data import runs
from data.atomic_files import write_json
from data.runs.recorder import Recorder
from data.settings import as_config
from grpo.config import PolicySettings
from grpo.diagnosis.diagnose import diagnose
from grpo.policies.reference import moved, side_car
from grpo.run_callback import RunCallback
from grpo.trainer.batch_metrics import Sample, kept_line
from grpo.trainer.policy_trainer import PolicyTrainer
from grpo.trainer.preflight import PREFLIGHT

SAME = (
    "reward_mean", "reward_std", "group_std", "model_reward", "disagreement", "noise", "dropped",
    "kl", "kl_nats", "kl_weight", "entropy", "entropy_weight", "grad_norm", "loss",
    "learning_rate", "length", "truncated", "unique", "repetition", "length_corr",
    "tokens_per_second",
)  # fmt: skip
NAMES = {name: name for name in SAME} | {
    "clip_ratio/region_mean": "clip_ratio",
    "cispo_clip_ratio": "clip_ratio",
}
"""The trainer's names of what metrics.jsonl holds, and ours."""
SHOWN = ("reward_mean", "group_std", "kl_nats", "entropy", "grad_norm", "length", "truncated")
"""Printed after each step."""
KL_WEIGHT_CEILING = 100.0
"""Steering raises the KL weight to at most this many times its setting."""
EVIDENCE = 4
"""Steps whose samples verdicts may quote."""
VERDICTS = "verdicts.json"
SAMPLES = "samples.jsonl"


class GrpoCallback(RunCallback):
    """Metrics in our names and both units of KL, samples, verdicts, KL steering."""

    def __init__(self, run: Recorder, settings: PolicySettings) -> None:
        super().__init__(run, NAMES, "training", SHOWN)
        self.settings = settings
        self.trainer: PolicyTrainer
        self._rows = [m for m in runs.metrics(run.directory) if "reward_mean" in m]
        kept = runs.samples(run.directory)  # where it goes on from a checkpoint
        self._kept_of = kept[-1]["step"] if kept else 0
        size = settings.prompts_per_step * settings.group_size
        self._evidence = deque(kept, maxlen=EVIDENCE * size)
        self._start: dict[str, Any] = {}

    def attach(self, trainer: PolicyTrainer) -> None:
        """Watch a trainer, from its weights as they are now: those that the run starts from."""
        self.trainer = trainer
        self._start = side_car(trainer.accelerator.unwrap_model(trainer.model))

    def extend(self, metrics: dict[str, Any]) -> dict[str, Any]:
        if "reward_mean" not in metrics:
            return metrics
        now = side_car(self.trainer.accelerator.unwrap_model(self.trainer.model))
        metrics["moved"] = moved(self._start, now)
        return metrics

    def logged(self) -> None:
        if "kl" not in self.last:
            return
        self._keep_samples()
        self._rows.append(dict(self.last))
        write_json(self.run.directory / VERDICTS, self.verdicts())
        if self.last["kl_nats"] is not None:
            self._steer(self.last["kl_nats"])

    def verdicts(self) -> list[dict[str, Any]]:
        """What the steps so far say."""
        return verdicts(self.run.directory, self._rows, self.settings, list(self._evidence))

    def _keep_samples(self) -> None:
        """Once a batch, however many steps are made on it."""
        step = self.trainer.sampled_at
        if step == self._kept_of:
            return
        self._kept_of = step
        lines = [kept_line(step, s) for s in self.trainer.samples]
        self._evidence.extend(lines)
        with (self.run.directory / SAMPLES).open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in lines)

    def _steer(self, kl_nats: float) -> None:
        if self.settings.kl_target and self.settings.kl_weight:
            self.trainer.beta = steered(
                self.trainer.beta, kl_nats, self.settings.kl_target, self.settings.kl_weight
            )


def steered(weight: float, kl_nats: float, target: float, least: float) -> float:
    """The next KL weight: raised while KL is above its target, lowered back while it is below.

    A proportional controller on the error, after Ziegler et al. 2019, arXiv:1909.08593, 2.2; from
    `least` to a hundred times that. KL and target in nats per answer.
    """
    error = max(-0.3, min(0.6, kl_nats / target - 1))
    return min(max(weight * (1 + error), least), KL_WEIGHT_CEILING * least)


def verdicts(
    folder: Path, rows: list[dict[str, Any]], settings: PolicySettings, samples: list[Sample]
) -> list[dict[str, Any]]:
    """The diagnosis of a run's rows, beside what its preflight found."""
    path = folder / PREFLIGHT
    baseline = json.loads(path.read_text(encoding="utf-8"))["baseline"] if path.is_file() else None
    return [asdict(v) for v in diagnose(rows, as_config(settings), baseline, samples)]
