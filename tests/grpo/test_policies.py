"""Policies: the wiring of SFT, GRPO and its reference, stop and resume, evaluation."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from trl import GRPOTrainer

from data import runs
from data.atomic_files import write_json
from data.schema import Completion, make_prompt
from data.settings import as_config
from data.splits import split_of
from grpo import evaluate
from grpo import train as grpo_train
from grpo.config import ComparisonSettings, ExportSettings
from grpo.export import export
from grpo.policies.checkpoint import find_policy
from grpo.policies.reference import pin_reference, reference_of
from grpo.policies.tuning import trainable
from grpo.run import resolve
from grpo.trainer import policy_trainer
from grpo.trainer.policy_trainer import WINDOW
from reward_model.language_model.device import choose_device
from reward_model.language_model.generation import draw, generate_shared
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.scoring.grpo_reward import GrpoReward
from reward_model.scoring.scorer import Scorer
from tests.support.tiny import make_tiny
from tests.support.training import POLICY, SHORT, SMALL


def adapter(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


# --- SFT


def test_sft_learns_the_demonstrations(trained):
    report = trained.reports["sft"]
    assert report["validation_loss"] < report["validation_loss_before"]
    assert report["demonstrations"] == sum(
        split_of(d.prompt) == "train" for d in trained.store.content.demonstrations()
    )


def test_sampling_leaves_the_test_prompts_alone(trained):
    sides = {split_of(g.completion.prompt) for g in trained.store.content.generations()}
    assert sides == {"train", "validation"}


# --- the shared prompt


def test_shared_prompt_gives_trls_log_probabilities(trainer):
    tokenizer = trainer.processing_class
    prompts = [tokenizer(t)["input_ids"] for t in ("A good question?", "Why?")]
    width = max(map(len, prompts))
    torch.manual_seed(0)
    rows, masks = [], []
    for prompt in [prompts[0], prompts[0], prompts[1], prompts[1]]:
        n = int(torch.randint(2, 6, ()))
        completion = torch.randint(5, 250, (n,)).tolist()
        pad = tokenizer.pad_token_id
        rows.append([pad] * (width - len(prompt)) + prompt + completion + [pad] * (6 - n))
        masks.append([0] * (width - len(prompt)) + [1] * (len(prompt) + n) + [0] * (6 - n))
    device = trainer.model.device
    ids, mask = torch.tensor(rows, device=device), torch.tensor(masks, device=device)
    args = (trainer.model, ids, mask, 6)
    ours = trainer._get_per_token_logps_and_entropies(*args, compute_entropy=True)
    theirs = GRPOTrainer._get_per_token_logps_and_entropies(trainer, *args, compute_entropy=True)
    keep = mask[:, -6:].bool()
    assert torch.allclose(ours[0][keep], theirs[0][keep], atol=1e-5)
    assert torch.allclose(ours[1][keep], theirs[1][keep], atol=1e-5)


# --- the reference


def test_only_the_adapter_trains_and_the_reference_is_frozen(trainer):
    names = {n for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert names and all(".default." in n for n in names)
    weights = trainer.model.state_dict()
    for name in names:
        assert torch.equal(weights[name], weights[name.replace(".default.", ".ref.")])


def test_kl_is_zero_at_the_first_step_and_the_policy_moves(trained):
    steps = trained.metrics("grpo")
    assert steps[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert steps[-1]["kl"] > 0
    assert not same(adapter(trained.folder("sft")), adapter(trained.folder("grpo")))


def test_metrics_carry_what_is_watched(trained):
    last = trained.metrics("grpo")[-1]
    for name in (
        "reward_mean",
        "reward_std",
        "group_std",
        "kl",
        "kl_nats",
        "entropy",
        "grad_norm",
        "length",
        "truncated",
        "kl_weight",
        "seconds",
    ):
        assert math.isfinite(last[name]), name
    samples = (trained.folder("grpo") / "samples.jsonl").read_text().splitlines()
    assert len(samples) == 4 * POLICY.prompts_per_step * POLICY.group_size
    groups = [json.loads(s)["advantage"] for s in samples[: POLICY.group_size]]
    assert abs(sum(groups)) < 1e-2


def test_a_wrong_reference_stops_the_run(trained, tmp_path):
    """The reference is not the policy that training starts from: KL is not 0, and that is said."""
    wrong = trained.workspace / "runs" / "wrong"
    shutil.copytree(trained.folder("sft"), wrong, dirs_exist_ok=True)
    weights = adapter(wrong)
    from safetensors.torch import save_file

    noisy = {k: v + 0.5 * torch.randn_like(v) for k, v in weights.items()}
    save_file(noisy, wrong / "adapter" / "adapter_model.safetensors")

    def pin(model, _origin):
        pin_reference(model, find_policy("wrong", trained.workspace))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy_trainer, "pin_reference", pin)
        with pytest.raises(ValueError, match=r"preflight: reference is [0-9a-f]{12}, needed"):
            trained.run("grpo", grpo_train.train, POLICY, name="wrong reference")


def test_a_second_round_keeps_the_first_reference(trained):
    first = trained.ids["grpo"]
    assert reference_of(first, trained.workspace)[0] == trained.ids["sft"]
    second = replace(POLICY, policy=first, reward=trained.ids["reward"], steps=1)
    trained.run("grpo", grpo_train.train, second, name="second round")
    assert trained.metrics("second round")[0]["kl"] > 0
    reference = trained.folder("second round") / "checkpoint-1" / "ref"
    kept = load_file(reference / "adapter_model.safetensors")
    assert same(kept, adapter(trained.folder("sft")))
    assert trained.reports["second round"]["reference"] == trained.ids["sft"]


def test_a_changed_sft_policy_is_refused(trained):
    path = trained.folder("grpo") / "origin.json"
    text = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(text), "sft_hash": "0" * 64}))
        with pytest.raises(ValueError, match="has changed since"):
            reference_of(trained.ids["grpo"], trained.workspace)
    finally:
        path.write_text(text)


def test_a_plain_model_gets_an_adapter_and_is_its_own_reference(trained, tiny_model):
    settings = replace(POLICY, policy=str(tiny_model), lora=SMALL, steps=2)
    trained.run("grpo", grpo_train.train, settings, name="plain")
    assert trained.metrics("plain")[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert trained.metrics("plain")[-1]["kl"] > 0
    again = replace(settings, policy=trained.ids["plain"])
    trained.run("grpo", grpo_train.train, again, name="plain, second round")
    first = trained.metrics("plain, second round")[0]["kl"]
    assert first == pytest.approx(trained.metrics("plain")[-1]["kl"], abs=5 * first + 1e-4)
    assert first > 0
    assert trained.reports["plain, second round"]["reference"] == str(tiny_model)


def test_dropout_comes_from_the_settings_and_not_from_the_adapter(trained, tmp_path):
    """SFT may have used it; GRPO's KL to the reference is 0 only without it."""
    folder = tmp_path / "dropped"
    shutil.copytree(trained.folder("sft"), folder)
    path = folder / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_dropout": 0.1}))
    model = trainable(find_origin(str(folder)), SMALL, torch.float32).train()
    assert model.peft_config["default"].lora_dropout == 0
    ids = torch.arange(5, 25, device=choose_device())[None]
    assert torch.equal(model(ids).logits, model(ids).logits)
    dropping = trainable(find_origin(str(folder)), replace(SMALL, dropout=0.5), torch.float32)
    assert not torch.equal(dropping.train()(ids).logits, dropping(ids).logits)


def test_buffers_keep_their_precision_when_weights_are_cast(tiny_model):
    model = load_model(find_origin(str(tiny_model)), torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32


# --- stop and resume


def stop_after(step):
    def work(settings, store, run):
        progress = run.progress

        def spy(done, total, message=""):
            progress(done, total, message)
            if done == step and message == "training":
                run.request_stop()

        run.progress = spy
        return grpo_train.train(settings, store, run)

    return work


def test_a_run_names_what_it_was_trained_with(trained):
    """ "The newest" is resolved once: a resume goes on with the same policy and reward model."""
    settings = resolve(POLICY, trained.store)
    assert settings.policy in [r.id for r in trained.store.runs.list("sft")]
    assert settings.reward in [r.id for r in trained.store.runs.list("reward")]


def test_resume_without_a_checkpoint_is_refused(trained):
    with pytest.raises(ValueError, match="no checkpoint"):
        trained.run("grpo", grpo_train.train, replace(POLICY, resume="nothing"), name="none")


def test_checkpoints_hold_the_generation_window(trained):
    folders = sorted(p.name for p in trained.folder("grpo").glob("checkpoint-*"))
    assert folders == ["checkpoint-2", "checkpoint-4"]
    assert (trained.folder("grpo") / "checkpoint-4" / WINDOW).is_file()


# --- reward, tokenizer


def test_another_tokenizer_is_refused(trained, tmp_path):
    other = load_tokenizer(find_origin(str(make_tiny(tmp_path / "other", vocabulary=320))))
    scorer = Scorer.load(trained.folder("reward"))
    with pytest.raises(ValueError, match="another tokenizer"):
        grpo_train.check_same_tokenizer(scorer, other, "r")


def test_rewards_are_clipped(trained):
    scorer = Scorer.load(trained.folder("reward"))
    scorer.sd = 1e-9
    reward = GrpoReward(scorer, [2], clip=5.0)
    prompts = [[{"role": "user", "content": "Why?"}]] * 2
    scored = reward.score(prompts, ["a", "b c d"], [[5], [6, 2]])
    assert max(map(abs, scored.reward)) == 5.0
    assert scored.finished == [False, True]


# --- evaluation


def test_comparison_uses_test_prompts_only_and_finds_both_sides(trained):
    report = trained.reports["compare"]
    n = sum(split_of(p) == "test" for p in trained.store.content.prompts())
    assert report["prompts"] == n
    assert {r["measure"] for r in report["rows"]} >= {"reward", "true utility", "length in words"}
    assert report["kl_nats"]["value"] > 0


def test_a_policy_against_itself_has_no_kl_and_wins_half(trained):
    settings = ComparisonSettings(
        policy=trained.ids["sft"],
        reference=trained.ids["sft"],
        reward=trained.ids["reward"],
        sampling=SHORT,
    )
    trained.run("compare", evaluate.compare, settings, name="itself")
    report = trained.reports["itself"]
    assert report["kl_nats"]["value"] == pytest.approx(0, abs=1e-5)
    win = report["win_rates"]["reward"]
    assert win["low"] <= 0.5 <= win["high"]


def test_kl_against_a_sum_over_the_vocabulary(trained, tiny_model):
    tokenizer = load_tokenizer(find_origin(str(tiny_model)))
    policy = load_model(find_policy(trained.ids["grpo"], trained.workspace), torch.float32)
    reference = load_model(find_policy(trained.ids["sft"], trained.workspace), torch.float32)
    completion = Completion(make_prompt("Why?"), "A short one.", True)
    given = evaluate.policy_kl(policy, reference, tokenizer, [completion])[0]
    from reward_model.language_model.render import render

    text = render(tokenizer, completion.prompt, completion.text, True)
    total = 0.0
    for end in range(len(text.prompt), len(text.ids) - text.behind):
        with torch.no_grad():
            ids = torch.tensor([text.ids[:end]], device=policy.device)
            p = policy(ids).logits[0, -1].double().softmax(-1)
            q = reference(ids).logits[0, -1].double().softmax(-1)
        total += float((p * (p / q).log()).sum())
    assert given == pytest.approx(total, abs=1e-5)


def test_win_rate_counts_ties_half():
    figure = evaluate.win_rate(np.array([1.0, 1, 1]), np.array([2.0, 1, 0]), "abc")
    assert figure.value == 0.5 and figure.n == 3


# --- export, diagnosis


def test_the_exported_model_answers_like_the_policy(trained, tmp_path):
    export(
        ExportSettings(
            workspace=trained.workspace, policy=trained.ids["grpo"], out=str(tmp_path / "out")
        )
    )
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    policy = load_model(find_policy(trained.ids["grpo"], trained.workspace), torch.float32)
    exported = exported.to(policy.device)
    ids = torch.tensor([[5, 6, 7, 8]], device=policy.device)
    with torch.no_grad():
        assert torch.allclose(exported(ids).logits, policy(ids).logits, atol=2e-2)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    with pytest.raises(ValueError, match="not empty"):
        export(
            ExportSettings(
                workspace=trained.workspace, policy=trained.ids["grpo"], out=str(tmp_path / "out")
            )
        )


def test_settings_of_a_run_come_back_from_its_config():
    from data.settings import from_config
    from grpo.config import PolicySettings

    changed = replace(POLICY, sampling=replace(SHORT, temperature=0.7), lora=SMALL)
    assert from_config(PolicySettings, json.loads(json.dumps(as_config(changed)))) == changed


def test_a_peft_policy_must_be_loaded_trainable(trained):
    origin = find_policy(trained.ids["sft"], trained.workspace)
    model = trainable(origin, SMALL, torch.float32)
    assert isinstance(model, PeftModel)
    assert any(p.requires_grad for p in model.parameters())


# --- generation


def test_shared_prompt_generates_what_transformers_generates(tiny_model):
    """Without chance in it: the same tokens as generate() on the padded prompts, one by one."""
    origin = find_origin(str(tiny_model))
    model, tokenizer = load_model(origin, torch.float32), load_tokenizer(origin)
    config = GenerationConfig(
        do_sample=False,
        max_new_tokens=6,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    prompts = [tokenizer(t)["input_ids"] for t in ("A good question?", "Why?", "Why?", "B")]
    together = generate_shared(model, prompts, config)
    for prompt, tokens in zip(prompts, together, strict=True):
        alone = model.generate(
            torch.tensor([prompt], device=model.device),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=model.device),
            generation_config=config,
        )[0, len(prompt) :].tolist()
        assert tokens == alone
    assert together[1] == together[2]


def test_sampled_completions_of_one_prompt_differ(trained):
    origin = find_policy(trained.ids["sft"], trained.workspace)
    model, tokenizer = load_model(origin, torch.float32), load_tokenizer(origin)
    drawn = draw(model, tokenizer, [make_prompt("Why?")] * 6, **asdict(SHORT))
    assert len({c.text for c in drawn}) > 3


def test_a_resumed_run_that_died_at_its_start_is_resumed_with_the_settings_of_the_first(
    sqlite_store, tmp_path
):
    asked = replace(POLICY, workspace=tmp_path)
    first = runs.new_run(sqlite_store, tmp_path, "grpo", {})
    second = runs.new_run(sqlite_store, tmp_path, "grpo", {"resume": first})
    folder = runs.runs_folder(tmp_path)
    (folder / first / "checkpoint-2").mkdir()
    (folder / first / "checkpoint-2" / WINDOW).touch()
    ran = replace(asked, steps=77, policy="sft-1", reward="reward-1")
    write_json(folder / first / "config.json", as_config(ran))
    sqlite_store.runs.end(second, "died", "")
    found = resolve(replace(asked, resume=second), sqlite_store)
    assert (found.steps, found.policy, found.resume) == (77, "sft-1", second)
