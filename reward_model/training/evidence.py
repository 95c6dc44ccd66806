"""What the receipt of a trained model rests on."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reward_model.config import KINDS_OF
from reward_model.evaluation.cross_validation import (
    Predictions,
    cross_validate,
    merge_folds,
    predict,
)
from reward_model.language_model.render import fingerprint
from reward_model.likelihood.fit import HeadFit, fit_head
from reward_model.receipt.build import Evidence
from reward_model.training.inputs import Tick, TrainingInputs

Array = NDArray[np.float64]


def evidence_of(
    inputs: TrainingInputs,
    fit: HeadFit,
    raw: Array,
    level: float,
    sd: Array,
    unit: tuple[float, float],
    tick: Tick,
) -> Evidence:
    """Held-out and cross-validated predictions of a model, and what it was made of.

    raw, sd: its head's output for all completions, and how far it may be off (C,); level: what
    makes it the reward that the annotators in `fit` are about; unit: the mean and standard
    deviation that bring it to reward units.
    """
    examples, judged, sampled = inputs.examples, inputs.judged, inputs.sampled
    features = inputs.features[judged]
    prompt_ids = np.array([c.prompt.id for c in inputs.completions[sampled]], str)
    _, prompts = np.unique(prompt_ids, return_inverse=True)
    crossed = None
    if examples.prompts > 1:
        crossed = cross_validate(
            inputs.model, features, examples, inputs.precision,
            lambda: tick(0, 1, "cross-validating"),
        )  # fmt: skip
    return Evidence(
        model=inputs.model,
        judgements=inputs.judgements,
        examples=examples,
        held=_predict_held_out(inputs, fit, raw[judged] + level, sd[judged]),
        crossed=crossed,
        fit=fit_head(features, inputs.model.joint(examples), inputs.precision),
        features=features,
        precision=inputs.precision,
        tuning=inputs.settings.tuning,
        policy_rewards=(raw[sampled] - unit[0]) / unit[1],
        policy_sd=sd[sampled] / unit[1],
        policy_prompts=prompts.astype(np.int64),
        dropped=_count_dropped(inputs),
        facts=_facts_shown(inputs, fit),
    )


def _predict_held_out(
    inputs: TrainingInputs, fit: HeadFit, rewards: Array, sd: Array
) -> Predictions | None:
    """Of held-out judgements, in the rows of all; NaN elsewhere. None where nothing is held out.

    rewards, sd: of judged completions (N,).
    """
    held = ~inputs.training
    examples = inputs.examples.where(held)
    if not len(examples):
        return None
    part = predict(inputs.model, examples, rewards, sd, fit.values)
    every = merge_folds(inputs.examples, [(held, part)])
    return replace(every, reward=np.where(held, rewards, np.nan), sd=np.where(held, sd, np.nan))


def _facts_shown(inputs: TrainingInputs, fit: HeadFit) -> dict[str, str | int]:
    """What a reader of the receipt wants to know of how the model was made."""
    asked, backbone = inputs.settings, inputs.backbone
    n = len(inputs.completions[inputs.sampled])
    facts: dict[str, str | int] = {
        "policy": inputs.policy,
        "policy's hash": backbone.origin.hash[:16],
        "template's hash": fingerprint(backbone.tokenizer)[:16],
        "reward unit": f"mean 0 and standard deviation 1 on {n} {inputs.source}",
        "1 to 10 read as": "points" if asked.objective == "regression" else asked.scalar,
        "annotators' effects": "yes" if asked.effects else "no",
        "models in the ensemble": asked.members,
        "prior's precision": f"{inputs.precision:.4g}",
        "precision": backbone.why,
        "seed": asked.seed,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if not fit.converged:
        stopped = f"stopped {fit.left:.2g} standard deviations from its best point"
        facts["the head's fit"] = stopped
    return facts


def _count_dropped(inputs: TrainingInputs) -> dict[str, int]:
    """What could not be used, and what was cut."""
    examples, judgements = inputs.examples, inputs.judgements
    kinds = KINDS_OF[inputs.settings.objective]
    return {
        "judgements of kinds that this objective does not use": sum(
            n for kind, n in examples.kinds.items() if kind not in kinds
        ),
        "answers that their annotator gave anew later": len(judgements) - len(examples),
        "marks that both completions are bad": sum(bool(j.answer.both_bad) for j in judgements),
        "texts cut to fit": sum(t.truncated for t in inputs.texts),
        "completions without any text": sum(not c.text for c in inputs.completions),
    }
