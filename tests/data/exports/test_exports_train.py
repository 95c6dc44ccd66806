"""Trainers take exported folders as they are."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from data.exports import export
from data.store import Store
from tests.data.exports.test_exports import fill

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def folder(store: Store, tmp_path: Path, format: Any) -> str:
    fill(store, tmp_path)
    export(store, tmp_path / "out", format)
    return str(tmp_path / "out")


def test_trl_trains_a_reward_model_as_the_documentation_says(
    sqlite_store: Store, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(from datasets.+?)```", PAGE.read_text(), re.DOTALL)
    where = {
        '"preferences"': repr(folder(sqlite_store, tmp_path, "trl-preference")),
        '"your/hf-id"': repr(str(tiny_model)),
        '"reward"': '"reward", max_steps=1, report_to="none", use_cpu=True, bf16=False',
    }
    for said, here in where.items():
        assert said in code
        code = code.replace(said, here)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    exec(code, names)
    trainer = names["trainer"]
    assert trainer.state.global_step == 1
    assert {"margin", "weight"} <= set(trainer.train_dataset.column_names)
    (step,) = [line for line in trainer.state.log_history if "train_loss" in line]
    assert step["train_loss"] == pytest.approx(math.log(1 + math.e), abs=0.1)  # the margin is 1
    assert math.isfinite(trainer.evaluate()["eval_loss"])


def test_transformers_train_a_regression(
    sqlite_store: Store, tmp_path: Path, tiny_model: Path
) -> None:
    from datasets import load_dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        Trainer,
        TrainingArguments,
    )

    rated = load_dataset(folder(sqlite_store, tmp_path, "scalar"), cache_dir=str(tmp_path / "c"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1)
    tokens = rated.map(
        lambda row: tokenizer.apply_chat_template(
            row["prompt"] + row["completion"], return_dict=True, tokenize=True
        )
    )
    arguments = TrainingArguments(
        str(tmp_path / "run"), max_steps=1, report_to="none", use_cpu=True
    )
    trainer = Trainer(model, arguments, train_dataset=tokens["train"], processing_class=tokenizer)
    loss = trainer.train().training_loss
    targets = rated["train"]["labels"]
    assert loss == pytest.approx(sum(y * y for y in targets) / len(targets), abs=0.5)
    assert model.config.problem_type == "regression"
