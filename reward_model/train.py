"""Train a reward model: a head fitted on the frozen policy's features, then LoRA or all weights.

Whatever is tuned, the head's posterior gives every score an error bar, and the receipt says what
the scores are worth on prompts that were held out.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from transformers import set_seed

from data.runs.files import runs_folder
from data.runs.recorder import Recorder, Stopped
from data.store import Store
from reward_model.config import BUILT_IN_MODEL, RewardSettings
from reward_model.dataset.examples import Examples
from reward_model.dataset.preference_pairs import preference_pairs
from reward_model.evaluation.cross_validation import predict
from reward_model.language_model.classifier import give_head, head_weights
from reward_model.language_model.features import read_features
from reward_model.language_model.loading import is_classifier, load_config
from reward_model.language_model.origin import (
    ADAPTER,
    ORIGIN,
    START,
    find_origin,
    name_from,
    save_origin,
)
from reward_model.language_model.render import fingerprint, require_thinking
from reward_model.model_checks.adapter_files import copy_adapter
from reward_model.model_checks.context import require_length
from reward_model.model_checks.saving import check_saving
from reward_model.receipt.build import receipt
from reward_model.receipt.text import write_receipt
from reward_model.scoring.encoder import ENCODER_ADAPTER, Encoder
from reward_model.scoring.kept_answers import HELD, PROBES, keep_held, keep_probes
from reward_model.scoring.scorer import (
    EXPORTED_HEAD,
    POLICY_ADAPTER,
    READS,
    WEIGHTS,
    Head,
    member_name,
)
from reward_model.training.ensemble import (
    ExportedHead,
    Trained,
    TrainedMember,
    exported_head,
    posterior_at,
    resampled,
    unit_of,
)
from reward_model.training.evidence import evidence_of
from reward_model.training.finetune import tune
from reward_model.training.inputs import TrainingInputs, training_inputs
from reward_model.training.reading import Backbone
from reward_model.training.reference_samples import Tick
from reward_model.training.start import find_start
from reward_model.training.token_loss import output_layer


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
    sampler = Backbone.of(find_origin(policy, runs_folder(settings.workspace)))
    told: dict[str, str] = {}
    with _removed_on_failure(run.directory / START):
        backbone = _to_start_from(settings, run.directory) or sampler
        require_length(settings.max_tokens, backbone.longest, settings.from_ or policy)
        _try_saving(run.directory, backbone, settings)
        encoder = None
        if settings.encoder:
            second = find_origin(settings.encoder, runs_folder(settings.workspace))
            encoder = Encoder.of(second, settings.max_tokens)
            if settings.thinking == "whole" and encoder.tokenizer.chat_template:
                require_thinking(encoder.tokenizer)
            print(f"second model {settings.encoder}: {encoder.longest} tokens a text", flush=True)
        inputs = training_inputs(
            settings, store, policy, backbone, tick, sampler=sampler, encoder=encoder
        )
        trained = fitted(inputs, tick)
        if settings.tuning != "head":
            members = [tuned_member(inputs, m, i, run) for i, m in enumerate(trained.members)]
            inputs, trained, told = better_on_held_out(inputs, trained, Trained(members))
    unit = unit_of(trained.raw[inputs.sampled])
    save(run.directory, inputs, trained, unit)
    fit, sd = trained.members[0].posterior, trained.sd(inputs.sampled)
    try:
        evidence = evidence_of(inputs, fit, trained.raw, trained.level, sd, unit, tick)
        evidence = replace(evidence, facts={**evidence.facts, **told})
        report = receipt(evidence, tick, settings.seed) | facts(inputs, unit, started)
    except Stopped:
        forget(run.directory)
        raise
    write_receipt(report, run.directory)
    return report


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    """Whatever ends the block early, the folder goes: it may hold gigabytes."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _to_start_from(settings: RewardSettings, folder: Path) -> Backbone | None:
    """The network of another reward model, with its head; None where none was named."""
    if not settings.from_:
        return None
    start = find_start(settings.from_, settings.workspace, folder)
    if (
        settings.lm_weight
        and settings.tuning != "head"
        and is_classifier(load_config(start.origin))
    ):
        raise ValueError(
            f"{settings.from_!r} has no output layer for a language-model loss: use --lm-weight 0"
        )
    return Backbone.of(start.origin, start=start)


def facts(inputs: TrainingInputs, unit: tuple[float, float], started: float) -> dict[str, Any]:
    """What a report says beside the receipt, for other runs to read."""
    return {
        "policy": inputs.policy,
        "members": inputs.settings.members,
        "reward_mean": unit[0],
        "reward_sd": unit[1],
        "seconds": round(time.monotonic() - started, 1),
    }


def fitted(inputs: TrainingInputs, tick: Tick) -> Trained:
    """Heads on the frozen policy: the first on all training prompts, further ones on a resampling
    of them."""
    members = []
    for place in range(inputs.settings.members):
        tick(0, 1, "fitting the head")
        whole = inputs.fit(_member_examples(inputs, place))
        left_out = (inputs.candidate.z - inputs.candidate.released) @ whole.w
        fit, features = whole.released, inputs.features
        members.append(TrainedMember(None, fit.weights, fit.intercept, fit, features, left_out))
    return Trained(members)


def tuned_member(
    inputs: TrainingInputs, head: TrainedMember, place: int, run: Recorder
) -> TrainedMember:
    """The adapter or the weights trained from the head on, and what they then read."""
    settings, view, fit, left_out = inputs.settings, inputs.view, head.posterior, head.left_out
    examples = _member_examples(inputs, place)
    output = output_layer(inputs.backbone.causal) if settings.lm_weight else None
    network = inputs.backbone.network(view, whole=output is not None)
    pad = inputs.backbone.tokenizer.pad_token_id
    tuned = tune(
        network, examples, inputs.texts, fit, settings, pad, run, place, view, output, left_out
    )
    words = f"measuring {len(inputs.texts):,} completions"

    def tick(done: int, total: int) -> None:
        run.check_stop()
        run.progress(done, total, words)

    states = read_features(network, inputs.texts, pad, settings.batch_size, tick, view)
    features = states.astype(np.float64)
    weights = head_weights(network)[0].detach().double().cpu().numpy()
    joint = inputs.model.joint(examples)
    posterior = posterior_at(features[inputs.judged], weights, joint, fit, left_out)
    return TrainedMember(tuned, weights, fit.intercept, posterior, features, left_out)


def _member_examples(inputs: TrainingInputs, place: int) -> Examples:
    if not place:
        return inputs.train_examples
    return resampled(inputs.train_examples, np.random.default_rng(inputs.settings.seed + place))


def better_on_held_out(
    inputs: TrainingInputs, heads: Trained, tuned: Trained
) -> tuple[TrainingInputs, Trained, dict[str, str]]:
    """What is released, as what it was trained, and what to say of it.

    The tuned model, unless the heads that it started from predict held-out prompts better.
    """
    held = inputs.examples.where(~inputs.training)
    if not (n := len(inputs.model.joint(held))):
        return inputs, tuned, {}
    values = heads.members[0].posterior.values
    before, after = (
        predict(inputs.model, held, t.judged, np.zeros(0), values).nll / n for t in (heads, tuned)
    )
    what = "adapter" if inputs.settings.tuning == "lora" else "tuned weights"
    figures = f"log-loss {after:.3f} on {n} held-out judgements, the head before it {before:.3f}"
    if after <= before:
        return inputs, tuned, {what: figures}
    as_head = replace(inputs, settings=replace(inputs.settings, tuning="head"))
    return as_head, heads, {what: f"left out, it predicts worse: {figures}"}


def save(folder: Path, inputs: TrainingInputs, trained: Trained, unit: tuple[float, float]) -> None:
    """Write heads, networks, and what they sit on, so that the folder needs no other run."""
    settings, origin = inputs.settings, inputs.backbone.origin
    for place, one in enumerate(trained.members):
        p, centre = one.posterior, one.features[inputs.sampled].mean(0)
        head = Head(one.weights, p.basis, *p.errors, centre)
        head.save(folder / f"{member_name('head', place)}.npz")
        if one.network is not None and settings.tuning == "lora":
            one.network.save_pretrained(folder / member_name(ADAPTER, place))
        elif one.network is not None:
            # an ordinary classifier has room for one state: the head lies beside it
            give_head(one.network, one.weights[: one.network.config.get_text_config().hidden_size])
            one.network.save_pretrained(folder / member_name(WEIGHTS, place))
    if origin.adapter:
        copy_adapter(Path(origin.adapter), folder / POLICY_ADAPTER)
    judged = inputs.completions[inputs.judged]
    exported = _keep_exported(folder, inputs, trained)
    keep_probes(
        folder,
        judged,
        trained.raw[inputs.judged],
        inputs.backbone.dtype,
        settings.thinking,
        None if exported is None else exported.raw[inputs.judged],
    )
    held = preference_pairs(inputs.examples.where(~inputs.training))
    keep_held(folder, judged, held, trained.raw[inputs.judged])
    if start := inputs.backbone.start:
        start.save(folder)
    noted: dict[str, object] = {}
    if inputs.encoder is not None and inputs.view.beside:
        second = inputs.encoder.origin
        if second.adapter:
            copy_adapter(Path(second.adapter), folder / ENCODER_ADAPTER)
        noted["encoder"] = {
            "model": name_from(folder, second),
            "tokenizer": inputs.encoder.fingerprint,
        }
    if exported is not None:
        mean, sd = unit_of(exported.raw[inputs.sampled])
        noted["exported"] = {"mean": mean, "sd": sd}
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
        pad_token=inputs.backbone.tokenizer.pad_token,
        thinking=settings.thinking,
        reads=READS,
        view=asdict(inputs.view),
        **noted,
    )


def _keep_exported(folder: Path, inputs: TrainingInputs, trained: Trained) -> ExportedHead | None:
    """Write the head that an export holds, where that is another one. No ensemble is exported."""
    first = trained.members[0]
    joint = inputs.model.joint(inputs.train_examples)
    exported = exported_head(first, inputs.view, inputs.form[inputs.judged], joint)
    if exported is None or len(trained.members) > 1:
        return None
    fit, centre = exported.fit, exported.features[inputs.sampled].mean(0)
    Head(fit.weights, fit.basis, *fit.errors, centre).save(folder / EXPORTED_HEAD)
    return exported


def _try_saving(folder: Path, backbone: Backbone, settings: RewardSettings) -> None:
    """ValueError where what is trained could not be saved: all weights, or a head and adapter."""
    if settings.tuning != "full":
        return check_saving(folder, 0)
    model = backbone.causal
    size = 4 * sum(p.numel() for p in model.parameters())  # bytes
    check_saving(folder, size * settings.members, model=model)


def forget(folder: Path) -> None:
    """Remove what `save` wrote: a run that is stopped keeps nothing of its model."""
    heads = "*head*.npz"
    adapters = (f"{ADAPTER}*", POLICY_ADAPTER, ENCODER_ADAPTER)
    for name in (ORIGIN, PROBES, HELD, START, heads, *adapters, f"{WEIGHTS}*"):
        for path in folder.glob(name):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
