"""A reward model as an ordinary folder, which transformers and vLLM load without this project.

config.json, model.safetensors    AutoModelForSequenceClassification: one label, float32, merged
tokenizer.json, ...               with the chat template and a pad token that is not end-of-turn
reward.json                       mean and standard deviation, longest text, hashes, files
score.py, thinking.py             score a file, by transformers alone
head.npz                          the head's posterior: every score's standard deviation
certificate.json                  that all of them give the rewards that were trained
README.md, receipt.json, .html    the card and the receipt
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from huggingface_hub import ModelCard, ModelCardData

from data.atomic_files import whole_folder, write_json
from data.texts import thinking
from reward_model.chat.chat_format import chat_format
from reward_model.export.fresh_process import SCRIPT
from reward_model.export.parity import CERTIFICATE, Certificate, certify, require_green
from reward_model.export.parity_routes import STANDALONE, add_nothing
from reward_model.model_checks.saving import check_saving
from reward_model.receipt.contents import Receipt
from reward_model.receipt.text import RECEIPT_JSON
from reward_model.receipt.wording import features_told
from reward_model.scoring.scorer import (
    EXPORT,
    EXPORTED_HEAD,
    READS,
    UNIT,
    ModelFacts,
    Scorer,
    read_facts,
)

CARD = "README.md"
HEAD = "head.npz"
CARD_TEMPLATE = Path(__file__).with_name("templates") / "model_card.md"
COPIED = ("receipt.json", "receipt.html", CARD)
"""Files of a run's folder that go along, where they are."""
KEPT_FACTS = (
    "objective", "tuning", "members", "tokenizer", "policy_hash", "mean", "sd", "max_tokens",
    "pad_token",
    "thinking",
    "reads",
)  # fmt: skip
"""What a Scorer needs to know; beside it stands which files are the export's."""


def export(run: Path, out: Path, say: Callable[[str], None] = print) -> Certificate:
    """Write the folder, whole or not at all; returns its certificate.

    An earlier export makes way. Raises ValueError for a folder that holds anything else, for a run
    that no single folder can hold, and where the certificate is not green.
    """
    out = out.expanduser().absolute()
    check_folder(out)
    facts = read_facts(run)
    if "model" not in facts:
        raise ValueError(f"{run.name} is an export already: copy the folder")
    if facts["members"] > 1:
        raise ValueError(
            f"{run.name} is an ensemble of {facts['members']}, which no single model folder holds:"
            " serve the run itself with coach score --serve, or train one with --members 1"
        )
    scorer = Scorer.load(run, torch.float32, exported=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    size = 4 * sum(p.numel() for p in scorer.model.parameters())  # bytes
    check_saving(out.parent, size, scorer.tokenizer, scorer.model)
    with whole_folder(out) as fresh:
        write_model(fresh, scorer)
        shutil.copy(run / (EXPORTED_HEAD if "exported" in facts else HEAD), fresh / HEAD)
        shutil.copy(STANDALONE, fresh / SCRIPT)
        if scorer.thinking == "answer":
            shutil.copy(thinking.__file__, fresh)
        copy_papers(fresh, run, facts)
        write_card(fresh, run.name, scorer)
        files = sorted({path.name for path in fresh.iterdir()} | {EXPORT, CERTIFICATE})
        kept = {key: value for key, value in facts.items() if key in KEPT_FACTS}
        kept |= facts.get("exported", {})
        write_json(fresh / EXPORT, {"name": run.name, **kept, "unit": UNIT, "files": files})
        del scorer
        for line in _what_is_lost(run):
            say(line)
        certificate = certify(run, fresh, say)
        require_green(certificate)
        write_json(fresh / CERTIFICATE, certificate)
    return certificate


def _what_is_lost(run: Path) -> list[str]:
    """How much worse the exported head is than the run's, where it is another one."""
    path = run / RECEIPT_JSON
    found = json.loads(path.read_text()) if path.is_file() else {}
    features = Receipt.read(found).features if found.get("features") else None
    if features is None:
        return []
    others = [one for one in features.others if one.name == "export"]
    return features_told(replace(features, others=others))


def check_folder(out: Path) -> None:
    """ValueError for a folder that an export must not replace."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a new folder with --out")
    if out.resolve() == Path.cwd():
        raise ValueError(f"{out} is the folder you are in: name another, or one in it")
    if not out.is_dir():
        return
    facts = out / EXPORT
    ours = json.loads(facts.read_text(encoding="utf-8"))["files"] if facts.is_file() else []
    foreign = sorted(path.name for path in out.iterdir() if path.name not in ours)
    if foreign:
        what = "and is no earlier export" if not ours else "which no export wrote"
        raise ValueError(f"{out} holds {foreign[0]} {what}: name a new folder with --out")


def write_model(folder: Path, scorer: Scorer) -> None:
    """Weights, configuration and tokenizer."""
    config = scorer.model.config
    config.id2label, config.label2id = {0: "reward"}, {"reward": 0}
    config.reward_mean, config.reward_sd = scorer.mean, scorer.sd
    config.reward_max_tokens = scorer.max_tokens
    if not scorer.apart:
        form = chat_format(scorer.tokenizer)
        config.reward_reads, config.reward_in_parts = READS, form.in_parts
        config.reward_end = form.end if form.ends_turn else None
        add_nothing(scorer.tokenizer)
    scorer.model.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)  # as the other files: whoever serves it may be somebody else
    scorer.tokenizer.save_pretrained(folder)


def copy_papers(folder: Path, run: Path, facts: ModelFacts) -> None:
    """Card and receipt, in which folders of this machine keep their last name alone."""
    model = Path(facts["model"])
    places = [run.absolute(), *list(run.absolute().parents)[:-1], Path.home()]
    second = Path(facts["encoder"]["model"]) if "encoder" in facts else model
    places += [one for one in (model, second) if one.is_absolute()]
    for path in [run / name for name in COPIED if (run / name).is_file()]:
        text = path.read_text(encoding="utf-8")
        for place in sorted(map(str, places), key=len, reverse=True):
            for spelt in {place, json.dumps(place)[1:-1]}:
                if spelt.count("/") + spelt.count("\\") > 1:
                    text = text.replace(spelt + "/", "").replace(spelt, Path(place).name)
        (folder / path.name).write_text(text, encoding="utf-8")


def write_card(folder: Path, name: str, scorer: Scorer) -> None:
    """The run's model card, or a heading where it has none, and how to use the folder."""
    path = folder / CARD
    data = ModelCardData(
        library_name="transformers", pipeline_tag="text-classification", tags=["reward-model"]
    )
    body = f"# Reward model {name}"
    if path.is_file():
        of_run = ModelCard.load(path)
        data, body = of_run.data, of_run.text
    card = ModelCard.from_template(
        data,
        template_path=str(CARD_TEMPLATE),
        body=body,
        max_tokens=scorer.max_tokens,
        mean=repr(scorer.mean),
        sd=repr(scorer.sd),
        apart=scorer.apart,
    )
    path.write_text(f"{str(card).rstrip()}\n", encoding="utf-8")
