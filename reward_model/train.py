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
from reward_model.language_model.origin import ADAPTER, ORIGIN, find_origin, save_origin
from reward_model.language_model.render import fingerprint
from reward_model.likelihood.fit import fit_head
from reward_model.receipt.build import receipt
from reward_model.receipt.text import write_receipt
from reward_model.scoring.held_out import HELD, keep_held
from reward_model.scoring.probes import PROBES, keep_probes
from reward_model.scoring.scorer import POLICY_ADAPTER, WEIGHTS, Head, member_name
from reward_model.training.ensemble import Trained, TrainedMember, posterior_at, resampled
from reward_model.training.finetune import tune
from reward_model.training.inputs import Backbone, Study


def train(settings: RewardSettings, store: Store, run: Recorder) -> dict[str, Any]:
    """Train on the standing judgements; saves the model in the run's folder, returns its receipt.

    Raises ValueError where the judgements cannot carry the objective.
    """
    started = time.monotonic()
    set_seed(settings.seed)

    def tick(done: int, total: int, words: str) -> None:
        run.check_stop()
        run.progress(done, total, words)

    policy = settings.policy or newest_policy(store)
    backbone = Backbone.of(find_origin(policy, runs_folder(settings.workspace)))
    study = Study(settings, store, policy, backbone, tick)
    trained = Trained([member(study, place, run) for place in range(settings.members)])
    unit = trained.unit(study.sampled)
    save(run.directory, study, trained, unit)
    fit, sd = trained.members[0].posterior, trained.sd(study.sampled)
    try:
        evidence = study.evidence(fit, trained.raw, trained.level, sd, unit)
        report = receipt(evidence, tick, settings.seed) | facts(study, unit, started)
    except Stopped:
        forget(run.directory)
        raise
    write_receipt(report, run.directory)
    return report


def facts(study: Study, unit: tuple[float, float], started: float) -> dict[str, Any]:
    """What a report says beside the receipt, for other runs to read."""
    return {
        "policy": study.policy,
        "members": study.settings.members,
        "reward_mean": unit[0],
        "reward_sd": unit[1],
        "seconds": round(time.monotonic() - started, 1),
    }


def member(study: Study, place: int, run: Recorder) -> TrainedMember:
    """One model: the first on all training prompts, further ones on a resampling of them."""
    study.tick(0, 1, "fitting the head")
    settings, examples = study.settings, study.train_examples
    seed = settings.seed + place
    if place:
        examples = resampled(examples, np.random.default_rng(seed))
    joint = study.model.joint(examples)
    fit = fit_head(study.features[study.judged], joint, study.precision)
    if settings.tuning == "head":
        return TrainedMember(None, fit.weights, fit.intercept, fit, study.features)
    network = study.backbone.hand_over()
    pad = study.backbone.tokenizer.pad_token_id
    network = tune(network, examples, study.texts, fit, settings, pad, run, seed)
    base = network.base_model.model if settings.tuning == "lora" else network
    features = study.states(base, study.texts, "measuring").astype(np.float64)
    weights = base.score.weight[0].detach().double().cpu().numpy()
    posterior = posterior_at(features[study.judged], weights, joint, fit)
    return TrainedMember(network, weights, fit.intercept, posterior, features)


def newest_policy(store: Store) -> str:
    """The newest finished SFT run, else the built-in model."""
    finished = [r.id for r in store.runs.list("sft") if r.status == "finished"]
    return finished[0] if finished else BUILT_IN_MODEL


def save(folder: Path, study: Study, trained: Trained, unit: tuple[float, float]) -> None:
    """Write heads, networks, and what they sit on, so that the folder needs no other run."""
    settings, origin = study.settings, study.backbone.origin
    for place, one in enumerate(trained.members):
        p, centre = one.posterior, one.features[study.sampled].mean(0)
        head = Head(one.weights, p.basis, p.factor, p.precision, centre)
        head.save(folder / f"{member_name('head', place)}.npz")
        if settings.tuning != "head":
            name = ADAPTER if settings.tuning == "lora" else WEIGHTS
            one.network.save_pretrained(folder / member_name(name, place))
    if origin.adapter:
        shutil.copytree(origin.adapter, folder / POLICY_ADAPTER)
    judged = study.completions[study.judged]
    keep_probes(folder, judged, trained.raw[study.judged], study.backbone.dtype)
    held = preference_pairs(study.examples.where(~study.training))
    keep_held(folder, judged, held, trained.raw[study.judged])
    save_origin(
        folder,
        origin,
        objective=settings.objective,
        tuning=settings.tuning,
        members=settings.members,
        policy_hash=origin.hash,
        tokenizer=fingerprint(study.backbone.tokenizer),
        mean=unit[0],
        sd=unit[1],
        level=trained.level,
        policy=study.policy,
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
