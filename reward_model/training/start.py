"""Another reward model to start from: its network reads the texts, its head is the prior's mean.

Own judgements then say how the rewards differ from its own; see `Candidate.mean`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from data.runs.files import runs_folder
from data.stats.intervals import Floats
from reward_model.language_model.classifier import give_head, head_weights
from reward_model.language_model.device import choose_dtype
from reward_model.language_model.loading import (
    is_classifier,
    load_classifier,
    load_config,
    load_scorers_tokenizer,
    load_tokenizer,
)
from reward_model.language_model.origin import ORIGIN, START, Origin
from reward_model.language_model.views import View, layer_count
from reward_model.model_checks.folder import check_model
from reward_model.model_checks.refusals import refuse_quantised
from reward_model.model_checks.saving import check_saving
from reward_model.scoring.scorer import (
    EXPORT,
    READS,
    Head,
    ModelFacts,
    load_member,
    member_name,
    noted_view,
    read_facts,
    under,
)

SINGLE = "name a reward model with a single label, given by one linear layer on the last token"
START_HEAD = "start_head.npz"
"""File, inside a reward model's folder: the head that it started from."""


@dataclass(frozen=True)
class Start:
    """A reward model to start from."""

    name: str
    """As it was named."""
    origin: Origin
    """Its network."""
    view: View
    """What its head reads."""
    weights: Floats
    """The head's (d,)."""

    def save(self, folder: Path) -> None:
        """Keep the head in a run's folder, for `kept_start`."""
        np.savez(folder / START_HEAD, name=self.name, weights=self.weights)


def kept_start(folder: Path, facts: ModelFacts) -> Start | None:
    """What a trained reward model started from; None where it was no other one."""
    path, view = folder / START_HEAD, noted_view(facts)
    if view is None or not path.is_file():
        return None
    with np.load(path) as kept:
        return Start(str(kept["name"]), under(folder, facts), view, kept["weights"])


def find_start(name: str, workspace: Path, into: Path) -> Start:
    """The reward model of this name: a run's id, a folder, or a Hugging Face id.

    A run that tuned its network has that written to `into`, merged: the new model then needs no
    other run's files. Raises ValueError for what is no reward model that can be started from.
    """
    run = runs_folder(workspace) / name
    folder = (run if run.is_dir() else Path(name).expanduser()).absolute()
    if (folder.parent / START_HEAD).is_file():
        raise ValueError(f"{name!r} is a part of run {folder.parent.name}: name that run")
    if any((folder / noted).is_file() for noted in (ORIGIN, EXPORT)):
        return _of_own(name, folder, into)
    if folder.is_dir():
        check_model(folder)
        return _of_classifier(name, Origin(str(folder), ""))
    if name.startswith(("/", "./", "../", "~")):
        raise ValueError(f"there is no folder {name!r}: name a reward run's id or its folder")
    return _of_classifier(name, Origin(name, ""))


def _of_own(name: str, folder: Path, into: Path) -> Start:
    """One that was trained by this project, or its export."""
    facts = read_facts(folder)
    if facts.get("reads") != READS:
        raise ValueError(f"{name!r} reads texts in an earlier way: train it again")
    origin, view = under(folder, facts), noted_view(facts)
    if view is None:
        view = View((int(load_config(origin).get_text_config().num_hidden_layers),))
    if "encoder" in facts:
        raise ValueError(
            f"{name!r} reads texts with a second model too, and a start's head reads one network:"
            " name one that was trained without --encoder"
        )
    members = range(facts["members"])
    weights = [Head.load(folder / f"{member_name('head', i)}.npz").weights for i in members]
    if facts["tuning"] == "head" or "model" not in facts:
        return Start(name, origin, view, np.mean(weights, axis=0))
    if len(weights) > 1:
        raise ValueError(
            f"{name!r} is an ensemble of {len(weights)} tuned networks, of which no single one can"
            " be started from: name one with --tuning head, or with --members 1"
        )
    return Start(name, _write_network(folder, facts, origin, into / START), view, weights[0])


def _write_network(folder: Path, facts: ModelFacts, origin: Origin, out: Path) -> Origin:
    """A tuned network, its adapters merged, as an ordinary folder."""
    tokenizer = load_scorers_tokenizer(origin, facts.get("pad_token"))
    network = load_member(folder, facts, 0, tokenizer.pad_token_id, torch.float32).model
    # an ordinary classifier has room for one state; the head is kept beside it
    width = network.config.get_text_config().hidden_size
    give_head(network, head_weights(network)[0, :width].detach().double().cpu().numpy())
    size = 4 * sum(p.numel() for p in network.parameters())  # bytes
    check_saving(out.parent, size, tokenizer, network)
    network.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return Origin(str(out.absolute()), "")


def _of_classifier(name: str, origin: Origin) -> Start:
    """Any network with one label, whose head is one linear layer on the last token's state."""
    config = load_config(origin)
    if not is_classifier(config):
        kind = (config.architectures or [config.model_type])[0]
        raise ValueError(
            f"{name!r} is a {kind}: name a reward run, or a reward model that transformers loads"
            " with a single label (AutoModelForSequenceClassification)"
        )
    if config.num_labels != 1:
        raise ValueError(f"{name!r} has {config.num_labels} labels: {SINGLE}")
    refuse_quantised(origin.model, config)
    load_tokenizer(origin, policy=False)  # refuses what has no template, before the weights load
    network = load_classifier(origin.model, choose_dtype()[0])
    head = getattr(network, "score", None)
    if not isinstance(head, nn.Linear) or head.out_features != 1:
        raise ValueError(f"{name!r} has another head than that: {SINGLE}")
    weights = head.weight[0].detach().double().cpu().numpy()
    return Start(name, origin, View((layer_count(network),)), weights)
