"""A reward model as an ordinary folder, which transformers and vLLM load without this project.

config.json, model.safetensors    AutoModelForSequenceClassification: one label, float32, merged
tokenizer.json, ...               with the chat template and a pad token that is not end-of-turn
reward.json                       mean and standard deviation, longest text, hashes, files
score.py                          scores a file, by transformers alone
head.npz                          the head's posterior: every score's standard deviation
certificate.json                  that all of them give the rewards that were trained
README.md, receipt.json, .html    the card and the receipt
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from data.atomic_files import whole_folder
from reward_model.export.parity import CERTIFICATE, certify, check
from reward_model.export.parity_routes import SCRIPT, STANDALONE
from reward_model.scoring.scorer import EXPORT, Scorer, read_facts

CARD = "README.md"
COPIED = ("receipt.json", "receipt.html", CARD)
"""Files of a run's folder that go along, where they are."""
KEPT_FACTS = (
    "objective",
    "tuning",
    "members",
    "tokenizer",
    "policy_hash",
    "mean",
    "sd",
    "max_tokens",
)


def export(run: Path, out: Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Write the folder, whole or not at all; returns its certificate.

    An earlier export makes way. Raises ValueError for a folder that holds anything else, for a run
    that no single folder can hold, and where the certificate is not green.
    """
    out = out.expanduser().absolute()
    check_folder(out)
    facts = read_facts(run)
    check_run(run, facts)
    scorer = Scorer.load(run, torch.float32)
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(out) as fresh:
        write_model(fresh, scorer)
        shutil.copy(run / "head.npz", fresh)
        shutil.copy(STANDALONE, fresh / SCRIPT)
        write_papers(fresh, run, facts, scorer)
        write_facts(fresh, run.name, facts)
        del scorer
        certificate = certify(run, fresh, say)
        check(certificate)
        (fresh / CERTIFICATE).write_text(json.dumps(certificate, indent=1), encoding="utf-8")
    return certificate


def check_folder(out: Path) -> None:
    """ValueError for a folder that an export must not replace."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a new folder with --out")
    if out.resolve() == Path.cwd():
        raise ValueError(f"{out} is the folder you are in: name another, or one in it")
    if not out.is_dir():
        return
    sidecar = out / EXPORT
    ours = json.loads(sidecar.read_text(encoding="utf-8"))["files"] if sidecar.is_file() else []
    foreign = sorted(path.name for path in out.iterdir() if path.name not in ours)
    if foreign:
        what = "and is no earlier export" if not ours else "which no export wrote"
        raise ValueError(f"{out} holds {foreign[0]} {what}: name a new folder with --out")


def check_run(run: Path, facts: Mapping[str, Any]) -> None:
    """ValueError for a reward model that no single folder of weights can hold."""
    if "model" not in facts:
        raise ValueError(f"{run.name} is an export already: copy the folder")
    if facts["members"] > 1:
        raise ValueError(
            f"{run.name} is an ensemble of {facts['members']}, which no single model folder holds:"
            " serve the run itself with score --serve, or train one with --members 1"
        )


def write_model(folder: Path, scorer: Scorer) -> None:
    """Weights, configuration and tokenizer."""
    config = scorer.model.config
    config.id2label, config.label2id = {0: "reward"}, {"reward": 0}
    config.reward_mean, config.reward_sd = scorer.mean, scorer.sd
    config.reward_max_tokens = scorer.max_tokens
    scorer.model.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)  # as the other files: whoever serves it may be somebody else
    scorer.tokenizer.save_pretrained(folder)


def write_papers(folder: Path, run: Path, facts: Mapping[str, Any], scorer: Scorer) -> None:
    """Card and receipt, without the places on this machine that they name."""
    for name in COPIED:
        if (run / name).is_file():
            text = (run / name).read_text(encoding="utf-8")
            (folder / name).write_text(_without_places(text, run, facts), encoding="utf-8")
    card = folder / CARD
    before = card.read_text(encoding="utf-8") if card.is_file() else _HEADING.format(name=run.name)
    limit = "" if scorer.max_tokens is None else _LIMIT.format(n=scorer.max_tokens)
    usage = _USAGE.format(mean=scorer.mean, sd=scorer.sd, limit=limit)
    card.write_text(before.rstrip() + "\n\n" + usage, encoding="utf-8")


def _without_places(text: str, run: Path, facts: Mapping[str, Any]) -> str:
    """Text in which folders of this machine keep their last name alone."""
    named = [Path(facts["model"])] if Path(facts["model"]).is_absolute() else []
    places = [*named, run.absolute(), *list(run.absolute().parents)[:-1], Path.home()]
    for place in sorted(map(str, places), key=len, reverse=True):
        for spelt in {place, json.dumps(place)[1:-1]}:
            if spelt.count("/") + spelt.count("\\") > 1:
                text = text.replace(spelt + "/", "").replace(spelt, Path(place).name)
    return text


def write_facts(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """The sidecar: what a Scorer needs to know, and which files are the export's."""
    files = sorted({path.name for path in folder.iterdir()} | {EXPORT, CERTIFICATE})
    kept = {key: facts[key] for key in KEPT_FACTS}
    unit = {"unit": "mean 0 and standard deviation 1 on the SFT policy's samples"}
    said = {"name": name, **kept, **unit, "files": files}
    (folder / EXPORT).write_text(json.dumps(said, indent=1), encoding="utf-8")


_HEADING = """---
library_name: transformers
pipeline_tag: text-classification
tags:
- reward-model
---

# Reward model {name}
"""
_LIMIT = (
    "\nAt most {n} tokens are read: of a longer text the completion stays whole and the prompt"
    " loses its\nbeginning.\n"
)
_USAGE = """## Use it

    python score.py FILE

scores JSON lines with `prompt` and `completion` (and `finished`, true where it is not given) by
transformers and torch alone; `score.py` is short, and shows which tokens the model reads. The text
is the prompt in the chat template with its generation prompt, the completion, and end-of-turn only
where the completion ended by itself.
{limit}
`AutoModelForSequenceClassification.from_pretrained(folder)` gives one label, which is the reward
before it is brought to its unit:

    reward = (label - ({mean!r})) / {sd!r}

The two numbers are `reward_mean` and `reward_sd` in `config.json`; with them the SFT policy's
samples have mean 0 and standard deviation 1. Load it in float32: bfloat16 has steps of
about 1/100 at rewards near 1. vLLM takes the folder with `--dtype float32`, and `/classify` then
gives the label in `probs`.

With the project it came from: `Scorer.load(folder)`, or
`python -m reward_model score --run FOLDER --serve`.

`certificate.json` says how far the label was from the trained network's, along each way of asking.
"""
