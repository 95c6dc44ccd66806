"""A trained reward model's receipt, made anew on the judgements that stand now."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from transformers import set_seed

from data.runs.files import runs_folder
from data.settings import from_config
from data.store import Store
from reward_model.config import EvaluateSettings, RewardSettings
from reward_model.language_model.origin import find_origin
from reward_model.language_model.views import LAST
from reward_model.receipt.build import receipt
from reward_model.scoring.scorer import Scorer, noted_view, read_facts, under
from reward_model.train import facts as training_facts
from reward_model.training.evidence import evidence_of
from reward_model.training.inputs import training_inputs
from reward_model.training.reading import Backbone
from reward_model.training.reference_samples import Tick
from reward_model.training.start import kept_start


def evaluate(settings: EvaluateSettings, folder: Path, store: Store, tick: Tick) -> dict[str, Any]:
    """The receipt of the model in `folder`.

    Raises ValueError where there is no model, or the judgements cannot carry its objective.
    """
    started = time.monotonic()
    facts = read_facts(folder)
    if "model" not in facts:
        raise ValueError(
            f"{folder} is an export: name the run it came from, which knows its settings"
        )
    asked = from_config(
        RewardSettings,
        json.loads((folder / "config.json").read_text()),
        workspace=settings.workspace,
        store=settings.store,
        thinking=facts.get("thinking", "whole"),
        tuning=facts["tuning"],
    )
    scorer = Scorer.load(folder)
    start = kept_start(folder, facts)
    backbone = Backbone.of(under(folder, facts), scorer.tokenizer, scorer.apart, start)
    sampler = None
    if start:
        sampler = Backbone.of(find_origin(facts["policy"], runs_folder(settings.workspace)))
    set_seed(asked.seed)  # fresh answers of the policy are then those of the training
    inputs = training_inputs(
        asked,
        store,
        facts["policy"],
        backbone,
        tick,
        noted_view(facts) or LAST,
        sampler,
        scorer.encoder,
    )
    tick(0, 1, "scoring")
    raw, sd = scorer.read(inputs.texts)
    fit = inputs.fit(inputs.train_examples)
    unit = (scorer.mean, scorer.sd)
    evidence = evidence_of(inputs, fit, raw, facts["level"], sd, unit, tick)
    return receipt(evidence, tick, asked.seed) | training_facts(inputs, unit, started)
