"""A reward model on the tiny one, put together by hand in a second, as training would leave it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from peft import get_peft_model

from data.schema import Completion, make_prompt
from reward_model.config import LoraSettings
from reward_model.language_model.adapter import lora_config
from reward_model.language_model.classifier import give_head, with_head
from reward_model.language_model.features import read_features
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import ADAPTER, find_origin, save_origin
from reward_model.language_model.render import fingerprint, render
from reward_model.language_model.views import View
from reward_model.likelihood.fit import Basis
from reward_model.scoring.kept_answers import keep_probes
from reward_model.scoring.scorer import EXPORTED_HEAD, POLICY_ADAPTER, READS, WEIGHTS, Head

JUDGED = [
    Completion(make_prompt(f"What is a good answer to {i}?"), text, finished)
    for i, (text, finished) in enumerate(
        [("A short one.", True), ("One which says", False), ("Two plain sentences. Bread.", True)]
        * 2
    )
]
MAX_TOKENS = 96


def shaken(model, scale: float, seed: int):
    """The model with something learned in its adapter, which starts at zero."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += scale * noise.to(parameter)
    return model


def make_reward(
    folder: Path, base: str | Path, tuning: str = "lora", view: View | None = None
) -> Path:
    """Network, head and facts of a reward model on `base`, with an SFT adapter under it.

    Without a view it is as one that was trained when only the last layer was read.
    """
    settings = LoraSettings(rank=4, alpha=8)
    folder.mkdir(parents=True)
    origin = find_origin(str(base))
    tokenizer = load_tokenizer(origin)
    causal = load_model(origin, torch.float32)
    policy = shaken(get_peft_model(causal, lora_config(causal, settings, "CAUSAL_LM")), 0.05, 1)
    policy.save_pretrained(folder / POLICY_ADAPTER)
    network = with_head(policy.merge_and_unload(), tokenizer.pad_token_id, view)
    texts = [render(tokenizer, c.prompt, c.text, c.finished, MAX_TOKENS) for c in JUDGED]
    hidden = network.score.in_features
    weights = np.random.default_rng(2).normal(size=hidden) / np.sqrt(hidden)
    network.score.weight.data.copy_(torch.from_numpy(weights)[None])
    live = network.eval()
    if tuning == "lora":
        tuned = get_peft_model(network, lora_config(network, settings, "SEQ_CLS"))
        shaken(tuned, 0.05, 3).save_pretrained(folder / ADAPTER)
        live = tuned.eval().base_model.model
    elif tuning == "full":
        whole = deepcopy(network)
        give_head(whole, weights[: whole.config.hidden_size])
        whole.save_pretrained(folder / WEIGHTS)
    pad = tokenizer.pad_token_id
    states = read_features(live, texts, pad, view=view).astype(np.float64)
    raw = states @ live.score.weight[0].detach().double().numpy()
    basis = Basis.of(states)
    axes = basis.axes.shape[1]
    Head(weights, basis, 0.1 * np.eye(axes), 1.0, states.mean(0)).save(folder / "head.npz")
    noted, exported = {}, None
    if view:
        part = states[:, view.exported.columns(view, hidden)]
        own = weights[: part.shape[1]]
        exported = part @ own
        basis = Basis.of(part)
        spread = 0.1 * np.eye(basis.axes.shape[1])
        Head(own, basis, spread, 1.0, part.mean(0)).save(folder / EXPORTED_HEAD)
        noted = {
            "view": {"layers": view.layers, "mean": view.mean},
            "exported": {"mean": float(exported.mean()), "sd": float(exported.std())},
        }
    keep_probes(folder, JUDGED, raw, torch.float32, exported=exported)
    save_origin(
        folder,
        origin,
        objective="joint",
        tuning=tuning,
        members=1,
        policy_hash=origin.hash,
        tokenizer=fingerprint(tokenizer),
        mean=float(raw.mean()),
        sd=float(raw.std()),
        max_tokens=MAX_TOKENS,
        thinking="answer",
        reads=READS,
        **noted,
    )
    return folder
