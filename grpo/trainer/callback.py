"""What a GRPO run writes of each step: metrics, samples and verdicts; and the KL coefficient."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from data import runs
from data.atomic_files import write_json
from data.runs.recorder import Recorder
from data.settings import as_config
from grpo.config import PolicySettings
from grpo.diagnosis.diagnose import Verdict, diagnose
from grpo.policies.reference import adapter_distance, adapter_state
from grpo.trainer.kl_target import next_kl_coefficient
from grpo.trainer.policy_trainer import PolicyTrainer
from grpo.trainer.run_callback import RunCallback, StepMetrics

SAME_NAMES = (
    "reward_mean", "reward_std", "group_std", "model_reward", "disagreement", "noise",
    "risk_premium", "dropped", "kl", "kl_nats", "kl_weight", "entropy", "entropy_weight",
    "grad_norm", "loss", "learning_rate", "length", "truncated", "unique", "repetition",
    "length_corr", "tokens_per_second",
)  # fmt: skip
NAMES = {name: name for name in SAME_NAMES} | {
    "clip_ratio/region_mean": "clip_ratio",
    "cispo_clip_ratio": "clip_ratio",
}
"""The trainer's names of what metrics.jsonl holds, and ours."""
SHOWN = ("reward_mean", "group_std", "kl_nats", "entropy", "grad_norm", "length", "truncated")
"""Printed after each step."""
VERDICTS = "verdicts.json"
SAMPLES = "samples.jsonl"


class GrpoCallback(RunCallback):
    """Metrics under our names and both units of KL, samples, verdicts, the next KL coefficient."""

    def __init__(self, run: Recorder, trainer: PolicyTrainer) -> None:
        """For a trainer whose weights are those that the run starts from."""
        super().__init__(run, NAMES, "training", SHOWN)
        self.trainer = trainer
        settings = trainer.settings
        self._rows = [m for m in runs.metrics(run.directory) if "reward_mean" in m]
        kept = runs.samples(run.directory)  # of the steps before the checkpoint it resumes from
        self._last_kept_step = kept[-1]["step"] if kept else 0
        batch = settings.prompts_per_step * settings.group_size
        self._recent_samples = deque(kept, maxlen=4 * batch)  # verdicts may quote them
        self._start = adapter_state(trainer.policy)

    def extend(self, metrics: StepMetrics) -> StepMetrics:
        if "reward_mean" in metrics:
            metrics["moved"] = adapter_distance(self._start, adapter_state(self.trainer.policy))
        return metrics

    def logged(self) -> None:
        """Keep the step's samples and what the diagnosis says, and set the next KL coefficient."""
        if "kl" not in self.last:
            return
        folder, trainer, step = self.run.directory, self.trainer, self.trainer.sampled_at
        if step != self._last_kept_step:  # a batch is written once, however many steps are on it
            self._last_kept_step = step
            lines = [
                {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
                for row in ({"step": step} | asdict(sample) for sample in trainer.samples)
            ]
            self._recent_samples.extend(lines)
            with (folder / SAMPLES).open("a", encoding="utf-8") as stream:
                stream.writelines(json.dumps(line) + "\n" for line in lines)
        self._rows.append(dict(self.last))
        found = diagnose_rows(folder, self._rows, trainer.settings, list(self._recent_samples))
        write_json(folder / VERDICTS, [asdict(v) for v in found])
        target, least = trainer.settings.kl_target, trainer.settings.kl_weight
        if target and least:
            kl = self.last["kl_nats"]
            trainer.beta = next_kl_coefficient(trainer.beta, kl, target, least)


def diagnose_rows(
    folder: Path,
    rows: Sequence[Mapping[str, object]],
    settings: PolicySettings,
    samples: Sequence[Mapping[str, object]],
) -> list[Verdict]:
    """The diagnosis of a run's rows, against what its preflight measured."""
    checked = runs.preflight(folder)
    return diagnose(rows, as_config(settings), checked and checked["baseline"], samples)
