"""The kinds of runs: how each is started, and what is said of it while it is there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunKind:
    """One kind of run. Plain data: nothing here imports what a run needs."""

    name: str
    """As the store keeps it; ids of runs begin with it."""
    title: str
    command: tuple[str, str]
    """Package and verb: `python -m PACKAGE VERB`."""
    button: str
    """On the button that starts one."""
    going_on: str
    """While one runs."""
    on_stop: str
    """What a stop keeps."""
    none_yet: str
    """Where there has been none."""


RUN_KINDS = {
    kind.name: kind
    for kind in (
        RunKind(
            "import",
            "Import",
            ("data", "import"),
            "Import",
            "A file is being imported.",
            "It stops, and nothing of the file is kept.",
            "Nothing has been imported here yet.",
        ),
        RunKind(
            "pretrain",
            "Continued pretraining",
            ("grpo", "pretrain"),
            "Pretrain on documents",
            "The model is being pretrained.",
            "It stops at its next step and keeps the model as it then is.",
            "No model has been pretrained yet; this stage is optional.",
        ),
        RunKind(
            "sft",
            "Fine-tuning (SFT)",
            ("grpo", "sft"),
            "Fine-tune (SFT)",
            "The model is being fine-tuned.",
            "It stops at its next step and keeps the policy as it then is.",
            "The model has not been fine-tuned yet.",
        ),
        RunKind(
            "sample",
            "Sampling",
            ("grpo", "sample"),
            "Sample completions",
            "Completions are being sampled.",
            "It stops after this batch; what was sampled is kept.",
            "Nothing has been sampled yet.",
        ),
        RunKind(
            "reward",
            "Reward model",
            ("reward_model", "train"),
            "Train reward model",
            "The reward model is being trained.",
            "It stops at its next step; nothing of this model is kept.",
            "No reward model has been trained yet.",
        ),
        RunKind(
            "grpo",
            "GRPO",
            ("grpo", "train"),
            "Launch GRPO",
            "GRPO is running.",
            "It stops at its next step and keeps a checkpoint: Resume continues from it.",
            "GRPO has not been launched yet.",
        ),
        RunKind(
            "compare",
            "Comparison",
            ("grpo", "evaluate"),
            "Compare",
            "The policies are being compared.",
            "It stops after this batch; nothing of this comparison is kept.",
            "Nothing has been compared yet.",
        ),
    )
}
"""By name, in the order of the loop."""


def title_of(kind: str) -> str:
    """A kind's title; of a kind that is not known, its name."""
    return RUN_KINDS[kind].title if kind in RUN_KINDS else kind
