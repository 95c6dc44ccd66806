"""The exported folder: what others load, whole or not there, with nothing of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reward_model.export.folder import export
from reward_model.language_model.render import fingerprint
from reward_model.scoring.scorer import Scorer
from tests.support.handmade import JUDGED, make_reward

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
TRANSFORMERS_ALONE = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
folder, text = sys.argv[1], sys.argv[2]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
with torch.no_grad():
    (logit,) = model(**ids).logits[0].tolist()
(piped,) = pipeline("text-classification", model=model, tokenizer=tokenizer)(text)
c = model.config
print(json.dumps({
    "logit": logit, "piped": piped, "dtype": str(model.dtype), "class": type(model).__name__,
    "num_labels": c.num_labels, "problem_type": c.problem_type, "pad": c.pad_token_id,
    "mean": c.reward_mean, "sd": c.reward_sd, "most": c.reward_max_tokens,
    "tokens": [tokenizer.pad_token_id, tokenizer.eos_token_id],
    "template": tokenizer.chat_template,
    "ours": [m for m in sys.modules if m.split(".")[0] == "reward_model"],
}))
"""
RECEIPT = {"summary": "Right in 70%.", "policy": "?"}


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    """A run with the papers of a real one, which name folders of this machine."""
    folder = make_reward(tmp_path_factory.mktemp("made") / "runs" / "reward-1", tiny_model)
    papers = RECEIPT | {"policy": str(tiny_model), "folder": str(folder / "adapter")}
    (folder / "receipt.json").write_text(json.dumps(papers))
    (folder / "receipt.html").write_text(f"<p>made in {folder}</p>")
    (folder / "README.md").write_text(f"---\ntags: [x]\n---\n\n# Card\n\nOn {tiny_model}.\n")
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "out"
    export(run, out, lambda road: None)
    return out


def child(*words, cwd=None):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True, text=True, env=ENVIRONMENT, cwd=cwd, timeout=180, check=False,
    )  # fmt: skip
    return done


# --- what it holds


def test_transformers_alone_loads_it_in_a_fresh_process(exported, run):
    scorer = Scorer.load(run, torch.float32)
    text = scorer.tokenizer.decode(scorer.render("Why?", "So.", True).ids)
    done = child("-c", TRANSFORMERS_ALONE, exported, text, cwd="/")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (raw,) = scorer.raw(["Why?"], ["So."])
    assert found["logit"] == pytest.approx(raw, abs=1e-5)
    assert found["piped"] == {"label": "reward", "score": pytest.approx(raw, abs=1e-5)}
    assert found["class"] == "LlamaForSequenceClassification"
    assert (found["num_labels"], found["problem_type"]) == (1, "regression")
    assert found["dtype"] == "torch.float32"
    pad, end = found["tokens"]
    assert found["pad"] == pad != end
    assert (found["mean"], found["sd"], found["most"]) == (scorer.mean, scorer.sd, 96)
    assert found["template"] == scorer.tokenizer.chat_template
    assert found["ours"] == []


def test_its_script_scores_a_file(exported, run, tmp_path):
    rows = [{"prompt": c.prompt.plain(), "completion": c.text, "finished": c.finished, "id": i}
            for i, c in enumerate(JUDGED)]  # fmt: skip
    rows.append({"prompt": [{"role": "user", "content": "Why?"}], "completion": "So. " * 99})
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    done = child(exported / "score.py", file)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    columns = zip(
        *((r["prompt"], r["completion"], r.get("finished", True)) for r in rows), strict=True
    )
    rewards = Scorer.load(run, torch.float32).score(*map(list, columns))
    assert [line.pop("reward") for line in lines] == pytest.approx(rewards, abs=1e-5)
    assert lines == rows
    assert child(exported / "score.py").stderr.startswith("error: name one file")


def test_the_scorer_loads_it_with_its_error_bars(exported, run):
    ours, theirs = Scorer.load(run, torch.float32), Scorer.load(exported, torch.float32)
    asked = (["Why?", "What is good?"], ["So.", "A short one."], [True, False])
    for mine, others in zip(ours.score(*asked, return_std=True),
                            theirs.score(*asked, return_std=True), strict=True):  # fmt: skip
        np.testing.assert_allclose(mine, others, rtol=0, atol=1e-5)
    assert theirs.max_tokens == 96
    assert next(theirs.model.parameters()).dtype == torch.float32
    assert next(Scorer.load(exported, torch.bfloat16).model.parameters()).dtype == torch.bfloat16


def test_the_sidecar_says_what_a_config_cannot(exported, run):
    facts = json.loads((exported / "reward.json").read_text())
    origin = json.loads((run / "origin.json").read_text())
    for key in ("mean", "sd", "max_tokens", "tokenizer", "policy_hash", "objective", "tuning"):
        assert facts[key] == origin[key]
    assert facts["name"] == "reward-1" and "model" not in facts
    assert facts["tokenizer"] == fingerprint(Scorer.load(exported).tokenizer)
    assert sorted(facts["files"]) == sorted(path.name for path in exported.iterdir())


def test_card_and_receipt_go_along(exported):
    card = (exported / "README.md").read_text()
    assert card.startswith("---\ntags: [x]\n---\n\n# Card\n")
    facts = json.loads((exported / "reward.json").read_text())
    for word in ("score.py", repr(facts["mean"]), repr(facts["sd"]), "At most 96 tokens"):
        assert word in card
    receipt = json.loads((exported / "receipt.json").read_text())
    assert receipt == RECEIPT | {"policy": "model", "folder": "adapter"}
    assert (exported / "receipt.html").read_text() == "<p>made in reward-1</p>"
    assert json.loads((exported / "certificate.json").read_text())["green"]


def test_a_run_without_papers_gets_a_card(run, tmp_path):
    bare = shutil.copytree(run, tmp_path / "reward-2")
    for name in ("README.md", "receipt.json", "receipt.html"):
        (bare / name).unlink()
    export(bare, tmp_path / "out", lambda road: None)
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        card.startswith("---\nlibrary_name: transformers\n") and "# Reward model reward-2" in card
    )
    assert not (tmp_path / "out" / "receipt.json").exists()


def test_it_names_no_folder_of_this_machine(exported, run, tiny_model):
    places = [run.parent, tiny_model.parent, exported.parent, Path(sys.prefix), Path.home()]
    for path in exported.iterdir():
        content = path.read_bytes()
        for place in [p for p in places if len(p.parts) > 2]:
            assert str(place).encode() not in content, f"{path.name} names {place}"


# --- whole or not there


def red(run, folder):
    """A copy of the run whose trainer gave something else than its folder does."""
    broken = shutil.copytree(run, folder)
    kept = json.loads((broken / "probes.json").read_text())
    kept["probes"][0]["raw"] += 1.0
    (broken / "probes.json").write_text(json.dumps(kept))
    return broken


def test_a_red_certificate_writes_nothing_and_keeps_what_was_there(run, exported, tmp_path):
    broken, out = red(run, tmp_path / "broken"), tmp_path / "out"
    with pytest.raises(ValueError, match=r"trained is off by 1\.0e\+00.*nothing was written"):
        export(broken, out, lambda road: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken"]
    shutil.copytree(exported, out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(ValueError, match="nothing was written"):
        export(broken, out, lambda road: None)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken", "out"]


def test_an_earlier_export_makes_way(run, exported, tmp_path):
    out = shutil.copytree(exported, tmp_path / "out")
    (out / "README.md").write_text("old")
    export(run, out, lambda road: None)
    assert (out / "README.md").read_text() == (exported / "README.md").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_other_folders_are_refused_untouched(run, exported, tmp_path, monkeypatch):
    foreign, mixed, file = tmp_path / "foreign", tmp_path / "mixed", tmp_path / "file"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    shutil.copytree(exported, mixed)
    (mixed / "notes.txt").write_text("mine")
    file.write_text("mine")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for out, words in (
        (foreign, r"holds notes\.txt and is no earlier export"),
        (mixed, r"holds notes\.txt which no export wrote"),
        (file, "is a file"),
        (Path("."), "is the folder you are in"),
    ):
        with pytest.raises(ValueError, match=words):
            export(run, out)
    assert (foreign / "notes.txt").read_text() == (mixed / "notes.txt").read_text() == "mine"
    assert file.read_text() == "mine"


def test_what_no_single_folder_holds_is_refused(run, exported, tmp_path):
    ensemble = shutil.copytree(run, tmp_path / "ensemble")
    facts = json.loads((run / "origin.json").read_text())
    (ensemble / "origin.json").write_text(json.dumps(facts | {"members": 3}))
    with pytest.raises(ValueError, match=r"is an ensemble of 3.*score --serve"):
        export(ensemble, tmp_path / "out")
    with pytest.raises(ValueError, match="is an export already"):
        export(exported, tmp_path / "out")
    with pytest.raises(ValueError, match="holds no finished reward model"):
        export(tmp_path, tmp_path / "out")


def test_the_command(run, exported, tmp_path):
    broken = red(run, tmp_path / "broken")
    made = child("-m", "reward_model", "export", "--run", run, "--out", tmp_path / "made")
    assert made.returncode == 0, made.stderr
    assert "roads give the trained rewards to" in made.stdout
    assert json.loads((tmp_path / "made" / "certificate.json").read_text())["within_1e-5"]
    for words, said in (
        (("--run", broken, "--out", tmp_path / "out"), "not the rewards that were trained"),
        (("--run", run, "--out", tmp_path), "holds broken and is no earlier export"),
    ):
        done = child("-m", "reward_model", "export", *words)
        assert done.returncode == 2, done.stderr
        (line,) = [s for s in done.stderr.splitlines() if s.startswith("error: ")]
        assert said in line and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
