"""Train a reward model: a head fitted on the frozen policy's features, then LoRA or all weights.

Whatever is tuned, the head's posterior gives every score an error bar, and the receipt says what
the scores are worth on prompts that were held out.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from transformers import set_seed

from data.runs.files import runs_folder
from data.runs.recorder import Recorder, Stopped
from data.store import Store
from reward_model.config import BUILT_IN_MODEL, RewardSettings
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.language_model.classifier import head_weights
from reward_model.language_model.features import read_features
from reward_model.language_model.origin import ADAPTER, ORIGIN, find_origin, save_origin
from reward_model.language_model.render import fingerprint
from reward_model.likelihood.fit import fit_head
from reward_model.receipt.build import receipt
from reward_model.receipt.text import write_receipt
from reward_model.scoring.kept_answers import HELD, PROBES, keep_held, keep_probes
from reward_model.scoring.scorer import POLICY_ADAPTER, WEIGHTS, Head, member_name
from reward_model.training.ensemble import Trained, TrainedMember, posterior_at, resampled
from reward_model.training.evidence import evidence_of
from reward_model.training.finetune import tune
from reward_model.training.inputs import Backbone, Tick, TrainingInputs, training_inputs


def train(settings: RewardSettings, store: Store, run: Recorder) -> dict[str, Any]:
    """Train on the standing judgements; saves the model in the run's folder, returns its receipt.

    Raises ValueError where the judgements cannot carry the objective.
    """
    started = time.monotonic()
    set_seed(settings.seed)

    def tick(done: int, total: int, words: str) -> None:
        run.check_stop()
        run.progress(done, total, words)

    finished = [r.id for r in store.runs.list("sft") if r.status == "finished"]
    policy = settings.policy or next(iter(finished), BUILT_IN_MODEL)  # the newest SFT run's
    backbone = Backbone.of(find_origin(policy, runs_folder(settings.workspace)))
    inputs = training_inputs(settings, store, policy, backbone, tick)
    trained = Trained([member(inputs, place, run, tick) for place in range(settings.members)])
    unit = trained.unit(inputs.sampled)
    save(run.directory, inputs, trained, unit)
    fit, sd = trained.members[0].posterior, trained.sd(inputs.sampled)
    try:
        evidence = evidence_of(inputs, fit, trained.raw, trained.level, sd, unit, tick)
        report = receipt(evidence, tick, settings.seed) | facts(inputs, unit, started)
    except Stopped:
        forget(run.directory)
        raise
    write_receipt(report, run.directory)
    return report


def facts(inputs: TrainingInputs, unit: tuple[float, float], started: float) -> dict[str, Any]:
    """What a report says beside the receipt, for other runs to read."""
    return {
        "policy": inputs.policy,
        "members": inputs.settings.members,
        "reward_mean": unit[0],
        "reward_sd": unit[1],
        "seconds": round(time.monotonic() - started, 1),
    }


def member(inputs: TrainingInputs, place: int, run: Recorder, tick: Tick) -> TrainedMember:
    """One model: the first on all training prompts, further ones on a resampling of them."""
    tick(0, 1, "fitting the head")
    settings, examples = inputs.settings, inputs.train_examples
    seed = settings.seed + place
    if place:
        examples = resampled(examples, np.random.default_rng(seed))
    joint = inputs.model.joint(examples)
    fit = fit_head(inputs.features[inputs.judged], joint, inputs.precision)
    if settings.tuning == "head":
        return TrainedMember(None, fit.weights, fit.intercept, fit, inputs.features)
    network = inputs.backbone.hand_over()
    pad = inputs.backbone.tokenizer.pad_token_id
    tuned = tune(network, examples, inputs.texts, fit, settings, pad, run, seed)
    words = f"measuring {len(inputs.texts):,} completions"
    states = read_features(
        network, inputs.texts, pad, settings.batch_size, lambda i, n: tick(i, n, words)
    )
    features = states.astype(np.float64)
    weights = head_weights(network)[0].detach().double().cpu().numpy()
    posterior = posterior_at(features[inputs.judged], weights, joint, fit)
    return TrainedMember(tuned, weights, fit.intercept, posterior, features)


def save(folder: Path, inputs: TrainingInputs, trained: Trained, unit: tuple[float, float]) -> None:
    """Write heads, networks, and what they sit on, so that the folder needs no other run."""
    settings, origin = inputs.settings, inputs.backbone.origin
    for place, one in enumerate(trained.members):
        p, centre = one.posterior, one.features[inputs.sampled].mean(0)
        head = Head(one.weights, p.basis, p.factor, p.precision, centre)
        head.save(folder / f"{member_name('head', place)}.npz")
        if one.network is not None:
            name = ADAPTER if settings.tuning == "lora" else WEIGHTS
            one.network.save_pretrained(folder / member_name(name, place))
    if origin.adapter:
        shutil.copytree(origin.adapter, folder / POLICY_ADAPTER)
    judged = inputs.completions[inputs.judged]
    keep_probes(folder, judged, trained.raw[inputs.judged], inputs.backbone.dtype)
    held = preference_pairs(inputs.examples.where(~inputs.training))
    keep_held(folder, judged, held, trained.raw[inputs.judged])
    save_origin(
        folder,
        origin,
        objective=settings.objective,
        tuning=settings.tuning,
        members=settings.members,
        policy_hash=origin.hash,
        tokenizer=fingerprint(inputs.backbone.tokenizer),
        mean=unit[0],
        sd=unit[1],
        level=trained.level,
        policy=inputs.policy,
        max_tokens=settings.max_tokens,
    )


def forget(folder: Path) -> None:
    """Remove what `save` wrote: a run that is stopped keeps nothing of its model."""
    for name in (ORIGIN, PROBES, HELD, POLICY_ADAPTER, "head*.npz", f"{ADAPTER}*", f"{WEIGHTS}*"):
        for path in folder.glob(name):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
