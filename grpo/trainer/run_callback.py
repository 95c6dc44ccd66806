"""The callback of every trainer: its metrics under our names to the run, a stop to the trainer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data.runs.recorder import Recorder

StepMetrics = dict[str, float]
"""One line of metrics.jsonl."""


class RunCallback(TrainerCallback):  # type: ignore[misc]
    """Metrics to the run's file, progress to its row, a stop to the trainer."""

    def __init__(
        self, run: Recorder, names: Mapping[str, str], message: str, shown: Sequence[str] = ()
    ) -> None:
        """`names`: the trainer's names of metrics and ours. `shown`: which of ours are printed, in
        this order; all where it is empty."""
        self.run = run
        self.names = names
        self.message = message
        self.shown = shown
        self.last: StepMetrics = {}
        """The newest line of metrics."""
        self._step_began = time.monotonic()

    def on_step_begin(self, *_: object, **__: object) -> None:
        self._step_began = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        *_: object,
        logs: StepMetrics,
        **__: object,
    ) -> None:
        """Keep and print what the trainer logged under the run's own names.

        Raises ValueError where a metric is infinite or no number: the weights are lost then.
        """
        found = {ours: logs[theirs] for theirs, ours in self.names.items() if theirs in logs}
        if not found:
            return
        metrics = self.extend(found)
        rounded = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in metrics.items()}
        seconds = round(time.monotonic() - self._step_began, 3)
        self.last = {"step": state.global_step, **rounded, "seconds": seconds}
        bad = [name for name, value in self.last.items() if not math.isfinite(value)]
        self.run.log(**self.last | dict.fromkeys(bad))
        self.logged()
        if bad:
            raise ValueError(
                f"{bad[0].replace('_', ' ')} became infinite or NaN at step {state.global_step}:"
                f" use a smaller --learning-rate than {args.learning_rate:g}"
            )
        named = [k for k in self.shown or rounded if isinstance(rounded.get(k), float)]
        shown = "  ".join(f"{k} {rounded[k]:.4g}" for k in named)
        print(f"step {state.global_step}/{state.max_steps}  {shown}  ({seconds:.0f} s)", flush=True)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self.run.progress(state.global_step, state.max_steps, self.message)
        if self.run.stop_requested:
            control.should_save = args.save_strategy != "no"
            control.should_training_stop = True

    def extend(self, metrics: StepMetrics) -> StepMetrics:
        """Add what follows from the metrics; a subclass may."""
        return metrics

    def logged(self) -> None:
        """Called after each line of metrics; a subclass may do more with it."""
