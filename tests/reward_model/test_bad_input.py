"""Bad input of the reward model: one line that says what to do, or a model that says it."""

from __future__ import annotations

import json
import random
import shutil

import numpy as np
import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from data import runs
from data.imports import import_file
from data.runs import recorder
from data.schema import Answer, Completion, Task, make_prompt
from data.settings import as_config
from data.splits import split_of
from data.store import Store
from reward_model.config import LoraSettings, RewardSettings
from reward_model.language_model.adapter import lora_config, with_adapter
from reward_model.language_model.loading import load_tokenizer
from reward_model.language_model.origin import ADAPTER, find_origin, save_origin
from reward_model.likelihood.fit import Basis
from reward_model.receipt.text import receipt_lines
from reward_model.receipt.wording import ONE_PERSON
from reward_model.scoring.scorer import Scorer, read_facts
from reward_model.train import train
from reward_model.training import reading
from tests.reward_model.model_checks.odd_models import edit_tokenizer
from tests.support.commands import command

pytestmark = pytest.mark.usefixtures("one_view")
PROMPTS = [
    p.text
    for p in (make_prompt(f"Question number {i}?") for i in range(100))
    if split_of(p) == "train"
][:40]


def compared(n=40, who=("ann", "bob"), value=lambda i: "a", one="Good.", other="No."):
    return [
        {"kind": "pairwise", "prompt": PROMPTS[i % len(PROMPTS)], "completion_a": one,
         "completion_b": other, "value": value(i), "annotator": who[i % len(who)],
         "shown_first": "ab"[i % 2]}
        for i in range(n)
    ]  # fmt: skip


def rated(n=30, value=lambda i: 1 + i % 10):
    return [
        {"kind": "scalar", "prompt": p, "completion": "Good.", "value": value(i),
         "annotator": "ann"}
        for i, p in enumerate(PROMPTS[:n])
    ]  # fmt: skip


class Place:
    """A workspace with judgements in its store."""

    def __init__(self, folder, rows):
        self.folder = folder / "workspace"
        self.folder.mkdir()
        file = folder / "rows.jsonl"
        file.write_text("".join(json.dumps({"type": "judgement", **r}) + "\n" for r in rows))
        with Store.open(self.folder) as store:
            import_file(store, file)
            self.before = store.content.counts()

    def ask(self, task):
        """One more judgement, of what cannot be imported: a completion that a policy left empty."""
        with Store.open(self.folder) as store:
            person = store.people.add("cy", "annotator")
            store.ledger.add_tasks([task])
            held = store.ledger.claim(person, random.Random(0))
            while held.task.a.text and held.task.b.text:
                store.ledger.submit(person, held.id, Answer("a"), str(held.id))
                held = store.ledger.claim(person, random.Random(0))
            store.ledger.submit(person, held.id, Answer("b"), str(held.id))
            self.before = store.content.counts()

    def train(self, model, **settings):
        """(report, folder) of a training in this process; what was judged is as it was."""
        asked = RewardSettings(
            policy=str(model), workspace=self.folder, **{"tuning": "head", **settings}
        )
        with Store.open(self.folder) as store:
            try:
                with runs.recording(store, self.folder, "reward", as_config(asked)) as run:
                    report = train(asked, store, run)
                    run.report(report)
            finally:
                assert store.content.counts() == self.before
        return report, run.directory

    def refused(self, model, **settings):
        """The one line of a refusal; nothing of a model is left."""
        with pytest.raises(ValueError) as error:
            self.train(model, **settings)
        self.nothing_left()
        (line,) = str(error.value).splitlines()
        return line

    def nothing_left(self):
        for folder in runs.runs_folder(self.folder).iterdir():
            left = {p.name for p in folder.iterdir()} - {"metrics.jsonl", "traceback.txt"}
            assert left <= {"config.json"}, left
            with pytest.raises(ValueError, match="no finished reward model"):
                read_facts(folder)


# --- judgements


@pytest.mark.parametrize(
    ("rows", "objective", "words"),
    [
        (compared(), "binary", "no good-or-bad judgements"),
        (rated(), "bradley_terry", "use --objective joint"),
        (compared(value=lambda i: "tie"), "joint", "say the same (ties)"),
        (rated(value=lambda i: 7), "regression", "say the same (7 of 10)"),
    ],
)
def test_a_kind_that_is_missing_or_says_nothing_is_named(
    tmp_path, tiny_model, rows, objective, words
):
    assert words in Place(tmp_path, rows).refused(tiny_model, objective=objective)


def test_the_command_says_it_in_one_line(tmp_path, tiny_model):
    place = Place(tmp_path, compared())
    done = command(
        "reward_model", "train", "--workspace", place.folder, "--policy", tiny_model,
        "--objective", "regression",
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (line,) = [s for s in done.stderr.splitlines() if s.startswith("error: ")]
    assert "no 1-10 ratings" in line and "--objective joint" in line
    with Store.open(place.folder) as store:
        assert store.content.counts() == place.before
        assert store.runs.list()[0].status == "failed"


def test_one_annotator_trains_and_is_said(tmp_path, tiny_model):
    report, folder = Place(tmp_path, compared(who=("ann",))).train(tiny_model)
    assert report["annotators_count"] == 1
    assert ONE_PERSON in receipt_lines(report)
    assert ONE_PERSON in (folder / "receipt.html").read_text()
    assert Scorer.load(folder).score(["Why?"], ["Good."]).shape == (1,)


def test_contradictory_judgements_train_and_beat_no_baseline(tmp_path, tiny_model):
    """Two people who never agree."""
    rows = [
        {**row, "annotator": who, "value": value, "shown_first": side}
        for row in compared(40)
        for who, value, side in (("ann", "a", "a"), ("bob", "b", "a"))
    ]
    report, folder = Place(tmp_path, rows).train(tiny_model)
    assert report["verdict"] == "loses"
    assert report["summary"].startswith("It does not beat its baselines")
    assert receipt_lines(report)[0] == report["summary"]
    assert report["summary"] in (folder / "README.md").read_text()


@pytest.mark.parametrize("tuning", ["head", "lora"])
def test_completions_of_no_and_of_very_many_tokens_train_and_are_counted(
    tmp_path, tiny_model, tuning
):
    rows = compared(30)
    rows[0]["completion_a"] = "word " * 100_000
    place = Place(tmp_path, rows)
    place.ask(Task("pairwise", *(Completion(make_prompt(PROMPTS[39]), x) for x in ("", "Good."))))
    report, folder = place.train(
        tiny_model, tuning=tuning, max_tokens=200, lora=LoraSettings(rank=2, alpha=4)
    )
    assert report["dropped"]["texts cut to fit"] == 1
    assert report["dropped"]["completions without any text"] >= 1
    assert report["judgements"]["pairwise"] == 31
    scorer = Scorer.load(folder)
    found = scorer.score(["Why?"] * 3, ["", "", "word " * 100_000], [True, False, True])
    assert np.isfinite(found).all() and scorer.truncated == 1


def test_thinking_that_never_ends_is_read_as_it_is_scored(tmp_path, tiny_model, monkeypatch):
    """As an answer that was cut, whatever a file says of it."""
    rows = compared(30, one="<think>\nHm, good", other="No.")
    seen = []
    kept = reading.render

    def watched(tokenizer, prompt, completion, finished, *more):
        seen.append((completion, finished))
        return kept(tokenizer, prompt, completion, finished, *more)

    monkeypatch.setattr(reading, "render", watched)
    _, folder = Place(tmp_path, rows).train(tiny_model)
    assert {said for said in seen[:60] if said[0] in ("", "No.")} == {("", False), ("No.", True)}
    scorer = Scorer.load(folder)
    prompt = make_prompt(PROMPTS[0])
    assert scorer.render(prompt, "<think>\nHm, good", True) == kept(
        scorer.tokenizer, prompt, "", False, scorer.max_tokens
    )


def test_prompts_that_the_template_refuses_are_left_out_and_counted(tmp_path, tiny_model, capfd):
    folder = refusing(tiny_model, tmp_path / "m")
    told = [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "Why?"}]
    place = Place(tmp_path, [*compared(30), *({**r, "prompt": told} for r in compared(2))])
    report, run = place.train(folder)
    said = f"prompts that {folder}'s chat template refuses (system, user: No system's turn.)"
    assert report["dropped"][said] == 1
    assert report["dropped"]["judgements on such prompts"] == 2
    assert report["judgements"]["pairwise"] == 30
    assert f"Left out: 1 {said}. With them 2 judgements." in capfd.readouterr().out
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"prompt": p, "completion": "So."}) + "\n" for p in (told, "Why?"))
    )
    done = command("reward_model", "score", "--run", run, "--file", tmp_path / "rows.jsonl")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert row["prompt"] == "Why?" and "Left out: 1 prompts that" in done.stderr


# --- models


def refusing(tiny_model, folder):
    """The tiny model, with a template that takes no system's turn."""
    shutil.copytree(tiny_model, folder)
    edit_tokenizer(
        folder,
        lambda t: setattr(
            t,
            "chat_template",
            "{% if messages[0]['role'] == 'system' %}{{ raise_exception(\"No system's turn.\") }}"
            "{% endif %}" + t.chat_template,
        ),
    )
    return folder


def spoiled(tiny_model, folder):
    """The tiny model, whose numbers overflow."""
    shutil.copytree(tiny_model, folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    return folder


def test_features_that_are_not_numbers_are_refused(tmp_path, tiny_model):
    model = spoiled(tiny_model, tmp_path / "spoiled")
    line = Place(tmp_path, compared()).refused(model)
    assert "not finite" in line and "another model" in line


def test_the_first_bad_completion_is_named():
    features = np.ones((5, 3))
    features[3, 1] = np.inf
    with pytest.raises(ValueError, match=r"1 of 5 completions .* number 4"):
        Basis.of(features)


def changed(tiny_model, folder, **facts):
    """A copy of the tiny model with another tokenizer_config.json."""
    shutil.copytree(tiny_model, folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | facts
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return folder


def test_a_backbone_without_a_chat_template_is_refused(tmp_path, tiny_model):
    model = changed(tiny_model, tmp_path / "model", chat_template=None)
    (model / "chat_template.jinja").unlink(missing_ok=True)
    line = Place(tmp_path, compared()).refused(model)
    assert "no chat template" in line and "tokenizer_config.json" in line


def test_a_backbone_without_a_token_to_pad_with_is_refused(tmp_path, tiny_model):
    """Its only special token ends a turn."""
    model = changed(tiny_model, tmp_path / "model", pad_token=None, extra_special_tokens=None)
    path = model / "tokenizer.json"
    path.write_text(path.read_text().replace("<|endoftext|>", "<|filler|>"))
    config = json.loads(path.read_text())
    config["added_tokens"] = [t for t in config["added_tokens"] if t["content"] == "<|im_end|>"]
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"no token to pad with.* add one \(pad_token\)"):
        load_tokenizer(find_origin(str(model)))
    assert "no token to pad with" in Place(tmp_path, compared()).refused(model)


def adapter_folder(model, folder):
    """A run's folder with an adapter of this model."""
    network = get_peft_model(model, lora_config(model, LoraSettings(rank=2, alpha=4), "CAUSAL_LM"))
    network.save_pretrained(folder / ADAPTER)
    return folder / ADAPTER


@pytest.mark.parametrize("other", ["wider", "another kind"])
def test_an_adapter_of_another_model_is_refused(tmp_path, tiny_model, other):
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    if other == "wider":
        config = AutoModelForCausalLM.from_pretrained(tiny_model).config
        config.hidden_size, config.intermediate_size = 64, 128
        foreign = LlamaForCausalLM(config)
    else:
        foreign = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=50))
    run = tmp_path / "run"
    run.mkdir()
    adapter = adapter_folder(foreign, run)
    with pytest.raises(ValueError, match="belongs to another model") as error:
        with_adapter(base, str(adapter))
    assert "\n" not in str(error.value)
    save_origin(run, find_origin(str(tiny_model)))
    assert "belongs to another model" in Place(tmp_path, compared()).refused(run)


# --- stopped on the way


@pytest.mark.parametrize(
    "at", ["reading", "choosing", "fitting", "cross-validating", "the baselines"]
)
def test_a_stop_leaves_nothing_half_written(tmp_path, tiny_model, monkeypatch, at):
    place = Place(tmp_path, compared(24))
    asked = RewardSettings(policy=str(tiny_model), workspace=place.folder, tuning="head")
    told = []

    class Asked(runs.Recorder):
        def progress(self, done, total, message=""):
            told.append(message)
            super().progress(done, total, message)
            if message.startswith(at):
                self.request_stop()

    monkeypatch.setattr(recorder, "Recorder", Asked)
    with Store.open(place.folder) as store:
        with runs.recording(store, place.folder, "reward", as_config(asked)) as run:
            run.report(train(asked, store, run))
        assert store.runs.get(run.id).status == "stopped"
        assert store.content.counts() == place.before
    place.nothing_left()
    assert any(m.startswith(at) for m in told)
    assert not list(place.folder.rglob("*.part"))
