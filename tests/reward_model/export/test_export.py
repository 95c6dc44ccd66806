"""The exported folder: what others load, whole or not there, with nothing of this machine."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reward_model.__main__ import main
from reward_model.export import folder
from reward_model.export.folder import export
from reward_model.language_model.render import fingerprint
from reward_model.scoring.scorer import Scorer
from tests.reward_model.export.conftest import RECEIPT
from tests.support.handmade import JUDGED

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
TRANSFORMERS_ALONE = """
import json, runpy, sys, torch
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
sys.argv = ["score.py", sys.argv[3]]
runpy.run_path(folder + "/score.py", run_name="__main__")
"""
ROWS = [
    {"prompt": c.prompt.plain(), "completion": c.text, "finished": c.finished, "id": i}
    for i, c in enumerate(JUDGED)
] + [
    {"prompt": [{"role": "user", "content": "Why?"}], "completion": "So. " * 99},
    {"prompt": "Why?", "completion": "<think>\nHm.\n</think>\n\nSo."},
    {"prompt": "Why?", "completion": "<think>\nIt never ends."},
]


@pytest.fixture(scope="module")
def said(exported, run, tmp_path_factory):
    """What a fresh process says that has transformers alone: of the model, then of some rows."""
    scorer = Scorer.load(run, torch.float32)
    text = scorer.tokenizer.decode(scorer.render("Why?", "So.", True).ids)
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)) + "\n")
    words = [sys.executable, "-c", TRANSFORMERS_ALONE, str(exported), text, str(file)]
    done = subprocess.run(
        words, capture_output=True, text=True, env=ENVIRONMENT, cwd="/", timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def certified(exported, monkeypatch):
    """Every export gets the certificate of the one that was made."""
    certificate = json.loads((exported / "certificate.json").read_text())
    monkeypatch.setattr(folder, "certify", lambda *given: certificate)


# --- what it holds


def test_transformers_alone_loads_it_in_a_fresh_process(said, run):
    scorer = Scorer.load(run, torch.float32)
    found = said[0]
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


def test_its_script_scores_a_file(said, exported, run, monkeypatch):
    columns = zip(
        *((r["prompt"], r["completion"], r.get("finished", True)) for r in ROWS), strict=True
    )
    scorer = Scorer.load(run, torch.float32)
    rewards = scorer.score(*map(list, columns))
    found = [line["reward"] for line in said[1:]]
    assert np.abs(found - rewards).max() * scorer.sd < 1e-5
    assert [{k: v for k, v in line.items() if k != "reward"} for line in said[1:]] == ROWS
    for told, asked in ((found[-2], (["Why?"], ["So."])), (found[-1], (["Why?"], [""], [False]))):
        assert abs(told - scorer.score(*asked)[0]) * scorer.sd < 1e-5
    monkeypatch.setattr(sys, "argv", ["score.py"])
    with pytest.raises(SystemExit, match="name one file"):
        runpy.run_path(str(exported / "score.py"), run_name="__main__")


def test_the_scorer_loads_it_with_its_error_bars(exported, run):
    ours, theirs = Scorer.load(run, torch.float32), Scorer.load(exported, torch.float32)
    asked = (["Why?", "What is good?"], ["So.", "A short one."], [True, False])
    for mine, others in zip(ours.score(*asked, return_std=True),
                            theirs.score(*asked, return_std=True), strict=True):  # fmt: skip
        np.testing.assert_allclose(mine, others, rtol=0, atol=1e-5)
    assert theirs.max_tokens == 96
    assert next(theirs.model.parameters()).dtype == torch.float32
    assert next(Scorer.load(exported, torch.bfloat16).model.parameters()).dtype == torch.bfloat16


def test_reward_json_says_what_a_config_cannot(exported, run):
    facts = json.loads((exported / "reward.json").read_text())
    origin = json.loads((run / "origin.json").read_text())
    for key in ("mean", "sd", "max_tokens", "tokenizer", "policy_hash", "objective", "tuning"):
        assert facts[key] == origin[key]
    assert facts["name"] == "reward-1" and "model" not in facts
    assert facts["tokenizer"] == fingerprint(Scorer.load(exported).tokenizer)
    assert sorted(facts["files"]) == sorted(path.name for path in exported.iterdir())


def test_card_and_receipt_go_along(exported):
    card = (exported / "README.md").read_text()
    assert card.startswith("---\ntags:\n- x\n---\n\n# Card\n")
    facts = json.loads((exported / "reward.json").read_text())
    for word in (
        "score.py",
        repr(facts["mean"]),
        repr(facts["sd"]),
        "At most 96 tokens",
        "\n\n## Use it\n",
    ):
        assert word in card
    receipt = json.loads((exported / "receipt.json").read_text())
    assert receipt == RECEIPT | {"policy": "model", "folder": "adapter"}
    assert (exported / "receipt.html").read_text() == "<p>made in reward-1</p>"
    assert json.loads((exported / "certificate.json").read_text())["green"]


def test_a_run_without_papers_gets_a_card(run, certified, tmp_path):
    bare = shutil.copytree(run, tmp_path / "reward-2")
    for name in ("README.md", "receipt.json", "receipt.html"):
        (bare / name).unlink()
    export(bare, tmp_path / "out", lambda outcome: None)
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


def red(run, out):
    """A copy of the run whose trainer gave something else than its folder does."""
    broken = shutil.copytree(run, out)
    kept = json.loads((broken / "probes.json").read_text())
    kept["probes"][0]["raw"] += 1.0
    (broken / "probes.json").write_text(json.dumps(kept))
    return broken


def test_a_red_certificate_writes_nothing_and_keeps_what_was_there(
    run, exported, in_process, tmp_path
):
    broken, out = red(run, tmp_path / "broken"), tmp_path / "out"
    with pytest.raises(ValueError, match=r"trained is off by 1\.0e\+00.*nothing was written"):
        export(broken, out, lambda outcome: None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken"]
    shutil.copytree(exported, out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(ValueError, match="nothing was written"):
        export(broken, out, lambda outcome: None)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken", "out"]


def test_an_earlier_export_makes_way(run, exported, certified, tmp_path):
    out = shutil.copytree(exported, tmp_path / "out")
    (out / "README.md").write_text("old")
    export(run, out, lambda outcome: None)
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


def test_the_command(run, certified, tmp_path, monkeypatch, capsys):
    def command(*words):
        monkeypatch.setattr(sys, "argv", ["reward_model", "export", *map(str, words)])
        return main(), capsys.readouterr()

    code, made = command("--run", run, "--out", tmp_path / "made")
    assert code == 0 and "12 routes give the trained rewards to" in made.out
    assert json.loads((tmp_path / "made" / "certificate.json").read_text())["within_1e-5"]
    code, refused = command("--run", run, "--out", tmp_path)
    (line,) = refused.err.splitlines()
    assert code == 2 and line.startswith("error: ") and "is no earlier export" in line
