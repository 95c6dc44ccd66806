"""Models as they are, through the commands: refused before any training, or trained and saved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from data.schema import Demonstration, Document, make_prompt
from data.splits import split_of
from data.store import Store
from grpo import evaluate
from grpo import train as grpo_train
from grpo.config import ComparisonSettings
from grpo.policies.reference import require_matrices_alone
from grpo.policies.tuning import trainable
from reward_model.config import LoraSettings
from reward_model.language_model.loading import load_model, load_tokenizer
from reward_model.language_model.origin import find_origin
from reward_model.model_checks import saving
from tests.reward_model.model_checks.odd_models import (
    POINTER,
    add_tokens,
    edit_json,
    edit_tokenizer,
    variant,
)
from tests.reward_model.model_checks.test_adapter_files import logits, make_adapter, same
from tests.support.commands import Outcome, assert_refused, command
from tests.support.content import add_content
from tests.support.training import POLICY, SHORT, Trained, fill

LONG = "why does bread rise so well at dusk? " * 60


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with demonstrations."""
    folder = tmp_path / "workspace"
    with Store.open(folder) as store:
        fill(store, 30)
    return folder


def sft(workspace: Path, model: Path, *more: object) -> Outcome:
    return command(
        "grpo", "sft", "--workspace", workspace, "--model", model, "--max-tokens", 256,
        "--epochs", 1, "--lora.rank", 2, "--lora.alpha", 4, *more,
    )  # fmt: skip


def newest(workspace: Path) -> tuple[Any, Path]:
    """(the row of the newest run, its folder)."""
    with Store.open(workspace) as store:
        row = store.runs.list(None)[0]
    return row, workspace / "runs" / row.id


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("model.safetensors", None, "git lfs pull"),
        (
            "config.json",
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "unquantised",
        ),
        ("config.json", {"tie_word_embeddings": False}, "lm_head.weight"),
    ],
)
def test_a_model_that_does_not_load_ends_the_command_and_the_run_in_the_same_line(
    workspace: Path, tiny_model: Path, tmp_path: Path, file: str, changes: Any, words: str
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    if changes is None:
        (folder / file).write_text(POINTER)
    else:
        edit_json(folder / file, changes)
    outcome = sft(workspace, folder)
    assert_refused(outcome, words, str(folder))
    row, run = newest(workspace)
    assert (row.status, f"error: {row.message}") == ("failed", outcome.stderr.splitlines()[-1])
    assert not (run / "origin.json").exists()


def test_a_pad_without_a_row_and_a_contradiction_do_not_stop_full_tuning(
    workspace: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    edit_tokenizer(folder, lambda t: t.add_special_tokens({"pad_token": "[PAD]"}))
    edit_json(folder / "generation_config.json", {"do_sample": False, "temperature": 0.6})
    outcome = sft(workspace, folder, "--tuning", "full")
    assert outcome.returncode == 0, outcome.stderr
    assert "do_sample is now true" in outcome.stdout
    _, run = newest(workspace)
    assert GenerationConfig.from_pretrained(run / "model").temperature == 0.6
    assert load_model(find_origin(str(run)), torch.float32).dtype == torch.float32


def test_a_full_disk_stops_before_training(
    workspace: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert_refused(sft(workspace, tiny_model, "--tuning", "full"), "free some space")
    _, run = newest(workspace)
    assert (run / "metrics.jsonl").read_text() == ""


def test_a_document_with_a_token_without_a_row_is_refused_in_words(
    workspace: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    add_tokens(folder, "bread", special=False)
    with Store.open(workspace) as store:
        add_content(store, [Document(f"How does bread number {i} rise?") for i in range(20)])
    outcome = command("grpo", "pretrain", "--workspace", workspace, "--model", folder)
    assert_refused(outcome, "'bread' (token 340)", "0 to 339")


@pytest.mark.parametrize("tokens", [0, 4])
def test_an_adapters_folder_is_trained_sampled_and_exported(
    workspace: Path, tiny_model: Path, tmp_path: Path, tokens: int
) -> None:
    make_adapter(tiny_model, tmp_path / "a", tokens=tokens)
    outcome = sft(workspace, tmp_path / "a")
    assert outcome.returncode == 0, outcome.stderr
    row, run = newest(workspace)
    shutil.rmtree(tmp_path / "a")  # the run stands by itself
    assert len(load_tokenizer(find_origin(str(run)))) == 340 + tokens
    sampled = command(
        "grpo", "sample", "--workspace", workspace, "--policy", row.id, "--limit", 2,
        "--per-prompt", 1, "--sampling.max-new-tokens", 4,
    )  # fmt: skip
    assert sampled.returncode == 0, sampled.stderr
    out = tmp_path / "out"
    exported = command("grpo", "export", "--workspace", workspace, "--policy", row.id, "--out", out)
    assert exported.returncode == 0, exported.stderr
    assert len(AutoTokenizer.from_pretrained(out)) == 340 + tokens
    policy = load_model(find_origin(str(run)), torch.bfloat16)
    assert same(logits(AutoModelForCausalLM.from_pretrained(out)), logits(policy))


def test_an_adapter_on_a_shared_output_layer_is_exported_untied(
    workspace: Path, tiny_model: Path, tmp_path: Path
) -> None:
    wanted = make_adapter(tiny_model, tmp_path / "own" / "adapter", ("q_proj", "lm_head"))
    (tmp_path / "own" / "origin.json").write_text(json.dumps({"model": str(tiny_model)}))
    outcome = command(
        "grpo", "export", "--workspace", workspace, "--policy", tmp_path / "own",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert (outcome.returncode, outcome.stderr) == (0, "")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert not exported.config.tie_word_embeddings
    assert float((logits(exported) - wanted).abs().max()) < 0.05  # rounded to bfloat16


@pytest.mark.parametrize(
    ("options", "where"),
    [({"targets": ("q_proj", "lm_head")}, "the output layer"),
     ({"trainable_token_indices": [5]}, "single tokens")],
)  # fmt: skip
def test_what_cannot_be_trained_further_is_refused_with_a_way(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any], where: str
) -> None:
    make_adapter(tiny_model, tmp_path / "a", **options)
    origin = find_origin(str(tmp_path / "a"))
    with pytest.raises(ValueError, match=f"{where} too.*--tuning full"):
        trainable(origin, LoraSettings(), torch.float32)


@pytest.mark.parametrize(
    "options", [{"modules_to_save": ["lm_head"]}, {"trainable_token_indices": [5]}]
)
def test_grpo_takes_adapters_of_matrices_alone(
    tiny_model: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    make_adapter(tiny_model, tmp_path / "plain", tokens=2)
    require_matrices_alone(find_origin(str(tmp_path / "plain")))
    make_adapter(tiny_model, tmp_path / "a", **options)
    with pytest.raises(ValueError, match=r"beside its LoRA matrices.*start from the exported"):
        require_matrices_alone(find_origin(str(tmp_path / "a")))


# --- longer than the model reads


@pytest.fixture
def long_prompts(workspace: Path) -> Iterator[Path]:
    """The workspace with some prompts that the model cannot read."""
    with Store.open(workspace) as store:
        add_content(store, [make_prompt(f"{i} {LONG}") for i in range(12)])
    yield workspace


def sample(workspace: Path, model: Path, *more: object) -> Outcome:
    return command(
        "grpo", "sample", "--workspace", workspace, "--policy", model, "--per-prompt", 1,
        "--prompts", "train", "--sampling.max-new-tokens", 4, "--tasks", 0, *more,
    )  # fmt: skip


def test_prompts_that_do_not_fit_are_not_sampled_and_counted(
    long_prompts: Path, tiny_model: Path
) -> None:
    outcome = sample(long_prompts, tiny_model)
    assert outcome.returncode == 0, outcome.stderr
    with Store.open(long_prompts) as store:
        train = [p for p in store.content.prompts() if split_of(p) == "train"]
        long = [p for p in train if LONG in p.text]
        generations = store.content.generations()
    assert 0 < len(long) < len(train)
    assert f"Left out: {len(long)} prompts longer than 508 tokens" in outcome.stdout
    assert {g.completion.prompt.id for g in generations} == {
        p.id for p in train if LONG not in p.text
    }
    _, run = newest(long_prompts)
    (reason,) = json.loads((run / "report.json").read_text())["left_out"].items()
    assert reason[1] == len(long)


def test_where_no_prompt_fits_or_no_answer_could_sampling_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    with Store.open(tmp_path / "w") as store:
        add_content(store, [make_prompt(f"{i} {LONG}") for i in range(12)])
    assert_refused(sample(tmp_path / "w", tiny_model), "are prompts longer than 508 tokens")
    again = sample(tmp_path / "w", tiny_model, "--missing")  # all else is there already
    assert (again.returncode, "Left out" in again.stdout) == (0, True)
    assert_refused(
        sample(tmp_path / "w", tiny_model, "--sampling.max-new-tokens", 512),
        "max new tokens 512 not allowed", "reads at most 512",
    )  # fmt: skip


def test_prompts_that_the_template_refuses_are_not_sampled_or_learned_and_counted(
    workspace: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = variant(tiny_model, tmp_path / "m")
    refuse = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No.') }}{% endif %}"
    edit_tokenizer(folder, lambda t: setattr(t, "chat_template", refuse + t.chat_template))
    told = [
        make_prompt([{"role": "system", "content": f"{i}."}, {"role": "user", "content": "Why?"}])
        for i in range(12)
    ]
    with Store.open(workspace) as store:
        add_content(store, [Demonstration(p, "So.") for p in told])
    train = [p for p in told if split_of(p) == "train"]
    said = f"prompts that {folder}'s chat template refuses (system, user: No.)"
    outcome = sample(workspace, folder)
    assert outcome.returncode == 0, outcome.stderr
    assert f"Left out: {len(train)} {said}" in outcome.stdout
    with Store.open(workspace) as store:
        assert not {g.completion.prompt.id for g in store.content.generations()} & {
            p.id for p in told
        }
    outcome = sft(workspace, folder)
    assert outcome.returncode == 0, outcome.stderr
    learned = [p for p in told if split_of(p) != "test"]
    assert f"Left out: {len(learned)} {said}" in outcome.stdout
    report = json.loads((newest(workspace)[1] / "report.json").read_text())
    assert report["left_out_refused_by_template"] == len(learned)


def test_texts_longer_than_the_model_reads_are_no_setting(
    workspace: Path, tiny_model: Path
) -> None:
    assert_refused(sft(workspace, tiny_model, "--max-tokens", 513), "max tokens 513", "at most 512")


@pytest.fixture(scope="module")
def place(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """The trained workspace, copied, with prompts that the model cannot read."""
    folder = tmp_path_factory.mktemp("long")
    shutil.copytree(trained.workspace / "runs", folder / "runs")
    with trained.store.database.write():
        for path in trained.workspace.glob("store.db*"):
            shutil.copy(path, folder)
    with Store.open(folder) as store:
        add_content(store, [make_prompt(f"{i} {LONG}") for i in range(20)])
        yield Trained(folder, store, dict(trained.ids), dict(trained.reports))


def long_ones(place: Trained, side: str) -> int:
    return sum(LONG in p.text and split_of(p) == side for p in place.store.content.prompts())


def test_grpo_and_its_evaluation_leave_long_prompts_out_and_count_them(place: Trained) -> None:
    place.run("grpo", grpo_train.train, replace(POLICY, steps=1), name="long")
    report = place.reports["long"]
    assert list(report["left_out"].values()) == [long_ones(place, "train")]
    assert "prompts longer than 504 tokens" in report["summary"]
    assert all(LONG not in pair["prompt"] for pair in report["samples"])
    settings = ComparisonSettings(policy=place.ids["grpo"], sampling=SHORT, limit=0)
    place.run("compare", evaluate.compare, settings, name="compared")
    report = place.reports["compared"]
    assert list(report["left_out"].values()) == [long_ones(place, "test")]
    assert report["prompts"] == sum(
        split_of(p) == "test" and LONG not in p.text for p in place.store.content.prompts()
    )
