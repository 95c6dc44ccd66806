"""What the receipt of a trained model rests on."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from data.stats.intervals import Floats
from reward_model.config import KINDS_OF
from reward_model.dataset.form import FORM
from reward_model.evaluation.cross_validation import (
    Predictions,
    merge_folds,
    predict,
    with_covariates,
)
from reward_model.evaluation.feature_choice import Candidates
from reward_model.language_model.render import fingerprint
from reward_model.likelihood.fit import HeadFit
from reward_model.receipt.build import FeatureChoice, ReceiptInputs
from reward_model.training.inputs import TrainingInputs
from reward_model.training.reference_samples import Tick

FIRM = 1e6
"""Times the precision that leaves nothing but the prior's mean."""


def evidence_of(
    inputs: TrainingInputs,
    fit: HeadFit,
    raw: Floats,
    level: float,
    sd: Floats,
    unit: tuple[float, float],
    tick: Tick,
) -> ReceiptInputs:
    """Held-out and cross-validated predictions of a model, and what it was made of.

    raw, sd: its head's output for all completions, and how far it may be off (C,); level: what
    makes it the reward that the annotators in `fit` are about; unit: the mean and standard
    deviation that bring it to reward units.
    """
    examples, judged, sampled = inputs.examples, inputs.judged, inputs.sampled
    layers, form = inputs.layers, inputs.form[judged]
    views = inputs.views if inputs.start is None else [inputs.view]
    prompt_ids = np.array([c.prompt.id for c in inputs.completions[sampled]], str)
    prompts = np.unique(prompt_ids, return_inverse=True)[1]
    crossed: Predictions | None = None
    chosen: list[int] = []
    others: dict[str, tuple[str, Predictions]] = {}
    if examples.prompts > 1:
        among = Candidates(
            inputs.model, [inputs.of_view(v)[judged] for v in views], form, inputs.start
        )
        crossed, chosen = among.cross_validate(
            examples, inputs.usual_prior, lambda: tick(0, 1, "cross-validating")
        )
        others = _other_views(inputs, tick)
        if form.shape[1]:
            reads = f"{inputs.view.words(layers)}; words, lists, headings and bold"
            others["form"] = reads, with_covariates(inputs.model, examples, crossed)
    held, aside = None, ~inputs.training
    if len(held_out := examples.where(aside)):
        rewards = raw[judged] + level
        part = predict(inputs.model, held_out, rewards, sd[judged], fit.values)
        held = merge_folds(examples, [(aside, part)])
    return ReceiptInputs(
        model=inputs.model,
        judgements=inputs.judgements,
        examples=examples,
        held=held,
        crossed=crossed,
        fit=(whole := inputs.fit(examples)),
        features=inputs.candidate,
        prior=inputs.prior,
        tuning=inputs.settings.tuning,
        started=inputs.prior.mean is not None,
        policy_rewards=(raw[sampled] - unit[0]) / unit[1],
        policy_sd=sd[sampled] / unit[1],
        policy_prompts=prompts.astype(np.int64),
        choice=FeatureChoice(
            inputs.view.words(layers),
            [views[place].words(layers) for place in chosen],
            [view.words(layers) for view in views],
            others,
        ),
        dropped=_count_dropped(inputs),
        facts={**_facts_shown(inputs, fit), **_form_shown(whole)},
    )


def _other_views(inputs: TrainingInputs, tick: Tick) -> dict[str, tuple[str, Predictions]]:
    """Cross-validated predictions of other heads, by what they are, with what they read."""
    view, judged, layers = inputs.view, inputs.judged, inputs.layers
    wanted = {"last layer": inputs.views[-1], "export": view.exported}
    if inputs.encoder is not None:
        name = "without encoder" if view.beside else "encoder"
        wanted[name] = replace(view, beside=0 if view.beside else inputs.whole.beside)
    reads = {name: one for name, one in wanted.items() if one != view}
    features = {name: inputs.of_view(one)[judged] for name, one in reads.items()}
    if inputs.start is not None:
        reads |= {"start": view, "alone": view}
        own = inputs.features[judged]
        features |= {"start": (own @ inputs.start)[:, None], "alone": own}
    found: dict[str, tuple[str, Predictions]] = {}
    for name, read in features.items():
        as_it_is = name == "start"
        only = Candidates(
            inputs.model, [read], inputs.form[judged], np.ones(1) if as_it_is else None
        )
        prior = inputs.usual_prior
        if inputs.start is not None:  # the prior beside another head says nothing of one without
            prior = only.prior(inputs.train_examples).times(FIRM if as_it_is else 1)
        predictions, _ = only.cross_validate(
            inputs.examples, prior, lambda: tick(0, 1, "cross-validating")
        )
        found[name] = reads[name].words(layers), predictions
    return found


def _facts_shown(inputs: TrainingInputs, fit: HeadFit) -> dict[str, str | int]:
    """What a reader of the receipt wants to know of how the model was made."""
    asked, backbone = inputs.settings, inputs.backbone
    n = len(inputs.completions[inputs.sampled])
    facts: dict[str, str | int] = {
        "policy": inputs.policy,
        **_start_shown(inputs),
        **_encoder_shown(inputs),
        "policy's hash": backbone.origin.hash[:16],
        "template's hash": fingerprint(backbone.tokenizer)[:16],
        "reward unit": f"mean 0 and standard deviation 1 on {n} {inputs.source}",
        "1 to 10 read as": "points" if asked.objective == "regression" else asked.scalar,
        "annotators' effects": "yes" if asked.effects else "no",
        "models in the ensemble": asked.members,
        "prior's variance of rewards": f"{1 / inputs.usual_prior.precision:.2g} in fitting,"
        f" {inputs.usual_prior.design_effect / inputs.usual_prior.precision:.2g} in error bars",
        "design effect": f"{(effect := inputs.prior.design_effect):.2g}: N judgements tell as much"
        f" as N / {effect:.2g} independent ones",
        "precision": backbone.why,
        "seed": asked.seed,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if not fit.converged:
        facts["the head's fit"] = f"stopped {fit.left:.2g} standard deviations from its best point"
    return facts


def _start_shown(inputs: TrainingInputs) -> dict[str, str | int]:
    """Which reward model it starts from, or that its own judgements are against that one."""
    if inputs.backbone.start is None:
        return {}
    used = inputs.prior.mean is not None
    name = "starts from" if used else "left out, for the judgements contradict it"
    return {name: inputs.backbone.start.name}


def _encoder_shown(inputs: TrainingInputs) -> dict[str, str | int]:
    """Which second model it reads with, or that no head on that one was chosen."""
    if inputs.encoder is None:
        return {}
    name = "second model" if inputs.view.beside else "second model, left out by cross-validation"
    return {name: inputs.settings.encoder}


def _form_shown(fit: HeadFit) -> dict[str, str]:
    """What length and form are worth, where the reward leaves them out: of a fit with them."""
    if not fit.basis.covariates:
        return {}
    at, factor = -fit.basis.covariates, fit.errors[0]
    worth = np.log(2) * fit.weights[at:]
    sd = np.log(2) * np.linalg.norm(factor[at:], axis=1) / fit.basis.spread[at:]
    told = ", ".join(
        f"{name} {one:+.2f} \N{PLUS-MINUS SIGN} {1.96 * off:.2f}"
        for name, one, off in zip(FORM, worth, sd, strict=True)
    )
    return {"left out of the reward": f"logits of a comparison for twice as many (95%): {told}"}


def _count_dropped(inputs: TrainingInputs) -> dict[str, int]:
    """What could not be used, and what was cut."""
    examples, judgements = inputs.examples, inputs.judgements
    kinds = KINDS_OF[inputs.settings.objective]
    return {
        **inputs.left_out,
        "judgements of kinds that this objective does not use": sum(
            n for kind, n in examples.kinds.items() if kind not in kinds
        ),
        "answers that their annotator gave anew later": len(judgements) - len(examples),
        "marks that both completions are bad": sum(bool(j.answer.both_bad) for j in judgements),
        "texts cut to fit": sum(t.truncated for t in inputs.texts),
        "completions without any text": sum(not c.text for c in inputs.completions),
    }
