"""Continued pretraining and SFT: packing, tunings, one on top of the other, early stopping."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerControl

from data import runs
from data.schema import Demonstration, Document, make_prompt
from data.splits import side_of, split_of
from data.store import Store
from grpo import evaluate, pretrain, sft
from grpo import train as grpo_train
from grpo.config import ComparisonSettings, ExportSettings, PretrainSettings, SftSettings
from grpo.export import export
from grpo.policies import tuning as tuning_module
from grpo.policies.checkpoint import find_policy, save_merged, save_policy
from grpo.policies.reference import reference_of
from grpo.policies.tuning import check_qlora, four_bits, trainable
from grpo.pretrain import end_of_text, packed, tokenized
from grpo.supervised import EarlyStoppingCallback, sft_config
from reward_model.chat.chat_format import control_tokens
from reward_model.config import RANGES, RewardSettings
from reward_model.language_model.generation import draw
from reward_model.language_model.loading import load_model, load_tokenizer, merged
from reward_model.language_model.origin import find_origin
from reward_model.scoring.scorer import Scorer
from tests.reward_model.chat.families import FAMILIES, make_tokenizer
from tests.support.content import add_content
from tests.support.tiny import TEMPLATE, make_tiny
from tests.support.training import POLICY, SHORT, SMALL, Trained

TEXT = "You would thank a neighbour who explained in plain sentences how bread number {} rises. "


def documents(n=40):
    return [Document(TEXT.format(i) * 3) for i in range(n)]


@pytest.fixture(scope="module")
def place(trained, tmp_path_factory):
    """The trained workspace's store and runs, copied, with documents and a pretraining run."""
    folder = tmp_path_factory.mktemp("pretrained")
    shutil.copytree(trained.workspace / "runs", folder / "runs")
    with trained.store.database.write():
        for path in trained.workspace.glob("store.db*"):
            shutil.copy(path, folder)
    with Store.open(folder) as store:
        add_content(store, documents())
        yield Trained(folder, store, dict(trained.ids), dict(trained.reports))


@pytest.fixture(scope="module")
def pretrained(place, tiny_model):
    settings = PretrainSettings(
        model=str(tiny_model), lora=replace(SMALL, targets="mlp"), max_tokens=64, eval_every=4,
        learning_rate=1e-2,
    )  # fmt: skip
    place.run("pretrain", pretrain.train, settings)
    return place


def whole(folder):
    return load_file(folder / "model" / "model.safetensors")


# --- documents become blocks


def test_blocks_hold_every_token_once_and_are_as_long_as_each_other():
    rows = packed([list(range(10)), list(range(10, 27)), [99]], 8)
    assert [len(r["input_ids"]) for r in rows] == [7, 7, 7, 7]
    assert [t for r in rows for t in r["input_ids"]] == [*range(27), 99]
    assert all(r["labels"] == r["input_ids"] for r in rows)
    assert packed([[1, 2]], 8) == [{"input_ids": [1, 2], "labels": [1, 2]}]
    assert packed([], 8) == []


def test_documents_end_with_end_of_text_and_hold_no_special_token(tiny_model, place):
    tokenizer = load_tokenizer(find_origin(str(tiny_model)))
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert end_of_text(tokenizer) == end != tokenizer.eos_token_id
    with runs.recording(place.store, place.workspace, "pretrain", {}) as run:
        found = tokenized(tokenizer, [Document("A <|im_end|> tag."), Document("So.")], run)
    assert [ids[-1] for ids in found] == [end, end]
    assert not {tokenizer.eos_token_id, end} & set(found[0][:-1])
    assert tokenizer.decode(found[0]) == "A <|im_end|> tag.<|endoftext|>"


@pytest.mark.parametrize("name", FAMILIES)
def test_documents_hold_no_control_token_of_any_family(name, place):
    """Gemma's marks of turns are not flagged special, nor is Qwen's <tool_call>."""
    tokenizer = make_tokenizer(FAMILIES[name])
    marks = control_tokens(tokenizer)
    text = f"A text of {' and '.join(marks)} and more."
    with runs.recording(place.store, place.workspace, "pretrain", {}) as run:
        (ids,) = tokenized(tokenizer, [Document(text)], run)
    begin = tokenizer("")["input_ids"]
    assert ids[: len(begin)] == begin and ids[-1] == end_of_text(tokenizer)
    inside = ids[len(begin) : -1]
    assert not set(tokenizer.convert_tokens_to_ids(marks)) & set(inside)
    assert tokenizer.decode(inside).strip() == text


def test_a_document_is_on_one_side_for_ever():
    sides = [side_of(d) for d in documents(2000)]
    assert sides == [side_of(d) for d in documents(2000)]
    assert 0.07 < sides.count("validation") / 2000 < 0.13


# --- demonstrations


@pytest.mark.parametrize("name", FAMILIES)
def test_demonstrations_end_as_the_template_ends_a_turn(name):
    """Learned is the answer with the end of its turn, and nothing that follows that."""
    tokenizer, family = make_tokenizer(FAMILIES[name]), FAMILIES[name]
    row = sft.to_row(tokenizer, Demonstration(make_prompt("Sky?"), "Blue."))
    turns = [{"role": "user", "content": "Sky?"}, {"role": "assistant", "content": "Blue."}]
    assert row["input_ids"] == tokenizer.apply_chat_template(turns, return_dict=False)
    learned = [i for i in row["labels"] if i != -100]
    assert tokenizer.decode(learned).strip() == f"Blue.{family.end}"
    assert learned[-1] == tokenizer.convert_tokens_to_ids(family.end)


def test_a_template_without_an_end_still_teaches_one():
    tokenizer = make_tokenizer(FAMILIES["chatml"])
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    row = sft.to_row(tokenizer, Demonstration(make_prompt("Sky?"), "Blue."))
    assert tokenizer.decode(row["input_ids"]).endswith("Blue.<|im_start|>")
    assert row["labels"][-1] == tokenizer.convert_tokens_to_ids("<|im_start|>")


def test_sft_refuses_a_template_that_loses_text_before_it_trains(tiny_model, tmp_path, place):
    model = shutil.copytree(tiny_model, tmp_path / "model")
    template = TEMPLATE.replace("for m in messages", "for m in messages if m['role'] == 'user'")
    (model / "chat_template.jinja").write_text(template)
    with pytest.raises(ValueError, match="leaves out the text of turn 2, the assistant's"):
        place.run("sft", sft.train, SftSettings(model=str(model), lora=SMALL), name="lost")


def test_sft_learns_the_demonstrations(trained):
    report = trained.reports["sft"]
    assert report["validation_loss"] < report["validation_loss_before"]
    assert report["demonstrations"] == sum(
        split_of(d.prompt) == "train" for d in trained.store.content.demonstrations()
    )


# --- pretraining


def test_pretraining_learns_the_documents_and_logs_what_is_watched(pretrained):
    report = pretrained.reports["pretrain"]
    assert report["validation_loss"] < report["validation_loss_before"] - 0.05
    assert report["documents"] + report["documents_held_out"] == 40
    assert report["targets"] == ["down_proj", "gate_proj", "up_proj"]
    rows = pretrained.metrics("pretrain")
    step = next(row for row in rows if row["step"] == 1)
    assert step.keys() == {
        "step", "loss", "grad_norm", "learning_rate", "entropy", "token_accuracy",
        "tokens_per_second", "seconds",
    }  # fmt: skip
    assert step["tokens_per_second"] > 0
    assert [r["step"] for r in rows if "validation_loss" in r][:3] == [0, 4, 8]


def test_a_merged_adapter_is_the_model_that_was_trained(pretrained, tiny_model, tmp_path):
    """To the bit: what model and adapter give, and what the merged folder gives."""
    assert not (pretrained.folder("pretrain") / "adapter").exists()
    plain = find_origin(str(tiny_model))
    model = trainable(plain, SMALL, torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    save_policy(model, tmp_path, plain)
    for dtype in (torch.float32, torch.bfloat16):
        stacked = merged(find_origin(str(tmp_path)), dtype).state_dict()
        if dtype == torch.bfloat16:
            save_merged(load_tokenizer(plain), tmp_path, plain)
        one = merged(find_origin(str(tmp_path)), dtype).state_dict()
        assert all(torch.equal(stacked[k], one[k]) for k in stacked)
    assert find_origin(str(tmp_path)).adapter == ""


def test_sft_sits_on_the_pretrained_model_and_grpo_on_both(pretrained, tmp_path, one_view):
    """The chain to its end: SFT, sampling, reward model, GRPO, comparison, export."""
    below = pretrained.ids["pretrain"]
    pretrained.run("sft", sft.train, SftSettings(model=below, lora=SMALL), name="on top")
    top = pretrained.ids["on top"]
    origin = find_policy(top, pretrained.workspace)
    assert origin.model == str(pretrained.folder("pretrain") / "model") and origin.adapter
    stacked = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(origin.model), origin.adapter
    )
    loaded = load_model(origin, torch.float32)
    stacked = stacked.to(loaded.device)
    ids = torch.arange(5, 25, device=loaded.device)[None]
    assert torch.allclose(stacked(ids).logits, loaded(ids).logits, atol=1e-5)
    prompts = [make_prompt("Why?")]
    assert draw(loaded, load_tokenizer(origin), prompts, **asdict(SHORT))

    reward = RewardSettings(policy=top, tuning="head")
    from reward_model import train as reward_train

    pretrained.run("reward", reward_train.train, reward, name="reward on top")
    Scorer.load(pretrained.folder("reward on top")).score(["Why?"], ["Because."])
    policy = replace(POLICY, policy=top, reward=pretrained.ids["reward on top"], steps=2)
    pretrained.run("grpo", grpo_train.train, policy, name="grpo on top")
    assert pretrained.metrics("grpo on top")[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert pretrained.metrics("grpo on top")[-1]["kl"] > 0
    assert reference_of(pretrained.ids["grpo on top"], pretrained.workspace)[0] == top
    comparison = ComparisonSettings(policy=pretrained.ids["grpo on top"], sampling=SHORT, limit=4)
    pretrained.run("compare", evaluate.compare, comparison, name="compare on top")
    moved = tmp_path / "moved"  # a workspace may be
    shutil.copytree(pretrained.workspace / "runs", moved / "runs")
    origin = find_policy(top, moved)
    assert origin.model.startswith(str(moved))
    load_model(origin)
    Scorer.load(moved / "runs" / pretrained.ids["reward on top"])


def test_pretraining_starts_from_what_has_an_adapter(pretrained):
    settings = PretrainSettings(model=pretrained.ids["sft"], max_tokens=64)
    pretrained.run("pretrain", pretrain.train, settings, name="from sft")
    before = load_model(find_policy(pretrained.ids["sft"], pretrained.workspace)).state_dict()
    after = load_model(find_policy(pretrained.ids["from sft"], pretrained.workspace)).state_dict()
    assert any(not torch.equal(before[k], after[k]) for k in before)


def test_a_base_model_without_chat_template_is_pretrained_and_exported(place, tmp_path):
    base = make_tiny(tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    place.run("pretrain", pretrain.train, PretrainSettings(model=str(base)), name="base")
    out = export(
        ExportSettings(
            policy=place.ids["base"], out=str(tmp_path / "out"), workspace=place.workspace
        )
    )
    assert (out / "model.safetensors").is_file()
    with pytest.raises(ValueError, match="no chat template"):
        place.run("sft", sft.train, SftSettings(model=place.ids["base"]))


def test_documents_are_needed(place, tiny_model, tmp_path):
    with Store.open(tmp_path) as store:
        other = Trained(tmp_path, store)
        with pytest.raises(ValueError, match="no documents yet: import some"):
            other.run("pretrain", pretrain.train, PretrainSettings(model=str(tiny_model)))
        held = next(d for d in documents(500) if side_of(d) == "validation")
        add_content(store, [held])
        with pytest.raises(ValueError, match="all 1 documents are held out"):
            other.run("pretrain", pretrain.train, PretrainSettings(model=str(tiny_model)))
    with pytest.raises(ValueError, match=r"max tokens 4096 not allowed.*at most 512"):
        long = PretrainSettings(model=str(tiny_model), max_tokens=4096)
        place.run("pretrain", pretrain.train, long, name="long")


# --- tunings


def test_full_tuning_saves_whole_weights_and_is_its_own_reference(place, tiny_model):
    settings = SftSettings(model=str(tiny_model), tuning="full", learning_rate=1e-3)
    place.run("sft", sft.train, settings, name="full")
    report = place.reports["full"]
    assert report["trainable_share"] == 1 and report["targets"] == []
    assert report["validation_loss"] < report["validation_loss_before"]
    start, tuned = load_file(tiny_model / "model.safetensors"), whole(place.folder("full"))
    assert start.keys() == tuned.keys()
    assert all(not torch.equal(start[k], tuned[k]) for k in start)
    origin = find_policy(place.ids["full"], place.workspace)
    assert origin.adapter == "" and origin.hash != find_origin(str(tiny_model)).hash
    policy = replace(POLICY, policy=place.ids["full"], lora=SMALL, steps=2)
    place.run("grpo", grpo_train.train, policy, name="grpo on full")
    assert place.metrics("grpo on full")[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert place.metrics("grpo on full")[-1]["kl"] > 0
    assert place.reports["grpo on full"]["sft_hash"] == origin.hash


def test_full_tuning_takes_an_adapter_into_the_weights(place):
    settings = SftSettings(model=place.ids["sft"], tuning="full", learning_rate=1e-9, epochs=0.2)
    place.run("sft", sft.train, settings, name="full from lora")
    before = merged(find_policy(place.ids["sft"], place.workspace), torch.float32).state_dict()
    after = whole(place.folder("full from lora"))
    for name, weights in after.items():
        assert torch.allclose(before[name], weights, atol=1e-6)


def test_sft_goes_on_with_an_adapter(place, capsys):
    settings = SftSettings(model=place.ids["sft"], lora=replace(SMALL, rank=2, targets="mlp"))
    place.run("sft", sft.train, replace(settings, epochs=0.2), name="further")
    assert "its adapter is trained on, with its own rank" in capsys.readouterr().out
    assert place.reports["further"]["targets"] == place.reports["sft"]["targets"]
    first = place.reports["further"]["validation_loss_before"]
    assert first == pytest.approx(place.reports["sft"]["validation_loss"], abs=1e-3)


def test_the_learning_rate_is_chosen_for_the_tuning():
    rates = {t: SftSettings(tuning=t).rate for t in ("lora", "qlora", "full")}
    assert rates == {"lora": 2e-4, "qlora": 2e-4, "full": 2e-5}
    assert SftSettings(tuning="full", learning_rate=1e-3).rate == 1e-3
    for wrong in ("patience", "eval_every", "learning_rate"):
        with pytest.raises(ValueError, match=f"{wrong.replace('_', ' ')} -1 not allowed: use 0"):
            PretrainSettings(**{wrong: -1})


def test_qlora_needs_a_gpu_and_bitsandbytes(place, tiny_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="needs an NVIDIA GPU, and none is here: use --tuning"):
        place.run("sft", sft.train, SftSettings(model=str(tiny_model), tuning="qlora"), "q")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(tuning_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install 'bitsandbytes"):
        check_qlora()


def test_qlora_is_asked_for_as_its_paper_does():
    config = four_bits(torch.bfloat16)
    assert config.load_in_4bit and config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_quant_type == "nf4"
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    args = sft_config(SftSettings(tuning="qlora"), "unused", torch.bfloat16, validate=True)
    assert args.activation_checkpointing and args.bf16
    plain = sft_config(SftSettings(), "unused", torch.bfloat16, validate=True)
    assert not plain.activation_checkpointing and not plain.bf16


# --- early stopping


def measured(callback, model, step, loss):
    """What the trainer tells the callback after a measurement; whether it is to stop."""
    control = TrainerControl()
    state = SimpleNamespace(global_step=step, max_steps=100)
    callback.on_evaluate(None, state, control, metrics={"eval_loss": loss}, model=model)
    return control.should_training_stop


def test_patience_counts_measurements_without_a_better_loss():
    model = torch.nn.Linear(1, 1)
    losses = [(0, 3.0), (1, 2.0), (2, 2.5), (3, 1.5), (4, 1.6), (5, 1.7), (6, 1.4)]
    for patience, stops_at in ((0, None), (1, 2), (2, 5), (3, None)):
        callback = EarlyStoppingCallback(SimpleNamespace(), patience, "")
        stops = [step for step, loss in losses if measured(callback, model, step, loss)]
        assert (stops[0] if stops else None) == stops_at


def test_the_best_weights_are_what_is_saved(tiny_model, tmp_path):
    """Where held-out answers say something else, what is learned soon does harm."""
    prompts = [make_prompt(f"What of {i}?") for i in range(40)]
    answers = {"train": "A short and friendly one.", "validation": "Dusk turns midnight red."}
    with Store.open(tmp_path) as store:
        known = [p for p in prompts if split_of(p) in answers]
        add_content(store, [Demonstration(p, answers[split_of(p)]) for p in known])
        own = Trained(tmp_path, store)
        settings = SftSettings(
            model=str(tiny_model), tuning="full", learning_rate=0.03, epochs=20, eval_every=2,
            patience=2,
        )  # fmt: skip
        own.run("sft", sft.train, settings)
        report = own.reports["sft"]
        assert report["ended"] == "early" and report["steps"] == report["best_step"] + 4
        assert report["validation_loss"] < report["validation_loss_last"]
        assert f"at step {report['best_step']}, whose weights were kept" in report["summary"]
        losses = [r["validation_loss"] for r in own.metrics("sft") if "validation_loss" in r]
        assert report["validation_loss"] == pytest.approx(min(losses), abs=1e-4)
        again = replace(settings, model=own.ids["sft"], learning_rate=1e-9, epochs=0.2)
        own.run("sft", sft.train, again, name="again")
        kept = own.reports["again"]["validation_loss_before"]
        assert kept == pytest.approx(report["validation_loss"], abs=1e-3)


def test_a_stop_keeps_the_policy_as_it_then_is(place, tiny_model):
    def work(settings, store, run):
        progress = run.progress

        def spy(done, total, message=""):
            progress(done, total, message)
            if done == 3:
                run.request_stop()

        run.progress = spy
        return sft.train(settings, store, run)

    settings = SftSettings(model=str(tiny_model), lora=SMALL, eval_every=1, learning_rate=1e-3)
    run_id = place.run("sft", work, settings, name="stopped")
    report = place.reports["stopped"]
    assert place.store.runs.get(run_id).status == "stopped"
    assert (report["ended"], report["steps"], report["best_step"]) == ("as asked", 3, None)
    assert report["summary"].startswith("Stopped as asked")
    assert find_policy(run_id, place.workspace).adapter
    weights = load_file(place.folder("stopped") / "adapter" / "adapter_model.safetensors")
    assert any(v.abs().sum() > 0 for k, v in weights.items() if "lora_B" in k)


def test_a_stop_before_the_first_step_keeps_nothing(place, tiny_model):
    settings = PretrainSettings(model=str(tiny_model), workspace=place.workspace)
    with runs.recording(place.store, place.workspace, "pretrain", {}) as run:
        run.request_stop()
        pretrain.train(settings, place.store, run)
    assert place.store.runs.get(run.id).status == "stopped"
    assert {p.name for p in run.directory.iterdir()} == {"config.json", "metrics.jsonl"}


def test_without_held_out_texts_the_last_weights_are_kept(tiny_model, tmp_path):
    prompts = (make_prompt(f"How are you, {i}?") for i in range(200))
    with Store.open(tmp_path) as store:
        train = [p for p in prompts if split_of(p) == "train"]
        add_content(store, [Demonstration(p, "Fine.") for p in train])
        own = Trained(tmp_path, store)
        own.run("sft", sft.train, SftSettings(model=str(tiny_model), lora=SMALL, epochs=0.1))
    report = own.reports["sft"]
    assert report["validation_loss"] is None and "none are held out" in report["summary"]


def test_a_learning_rate_that_breaks_it_ends_with_the_reason(place, tiny_model, monkeypatch):
    monkeypatch.setitem(RANGES, "learning_rate", (0, 1e31))
    settings = SftSettings(model=str(tiny_model), tuning="full", learning_rate=1e30)
    with pytest.raises(ValueError, match="infinite or NaN at step"):
        place.run("sft", sft.train, settings, name="broken")
    assert not (place.workspace / "runs" / "broken" / "model").exists()
