"""Fixtures: a tiny model, and one whole loop trained on it, shared by the tests that look at it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from data import runs
from data.schema import Demonstration, make_prompt
from data.settings import as_config
from data.simulated_annotators import simulate
from data.store import Store
from grpo.config import (
    ComparisonSettings,
    PolicySettings,
    SampleSettings,
    SamplingSettings,
    SftSettings,
)
from grpo.run import resolve
from reward_model.config import LoraSettings, RewardSettings
from reward_model.language_model.views import View
from tests.support.content import add_content

SHORT = SamplingSettings(max_new_tokens=8)
SMALL = LoraSettings(rank=4, alpha=8)


@dataclass
class Trained:
    """A workspace in which every stage has run on the tiny model."""

    workspace: Path
    store: Store
    ids: dict[str, str] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)

    def folder(self, kind: str) -> Path:
        return runs.runs_folder(self.workspace) / self.ids[kind]

    def metrics(self, kind: str) -> list[dict[str, Any]]:
        return runs.metrics(self.folder(kind))

    def run(self, kind: str, work: Any, settings: Any, name: str | None = None) -> str:
        settings = replace(settings, workspace=self.workspace)
        if isinstance(settings, PolicySettings):
            if not settings.resume:  # the newest runs may be another test's
                policy = settings.policy or self.ids["sft"]
                reward = settings.reward or self.ids["reward"]
                settings = replace(settings, policy=policy, reward=reward)
            settings = resolve(settings, self.store)
        with runs.recording(self.store, self.workspace, kind, as_config(settings)) as run:
            report = work(settings, self.store, run)
            report = report if isinstance(report, dict) else report.as_json()
            if not run.stop_requested:
                run.report(report)
        self.ids[name or kind], self.reports[name or kind] = run.id, report
        return run.id


def fill(store: Store, prompts: int = 60) -> None:
    """Prompts with a demonstration each."""
    add_content(
        store,
        [
            Demonstration(
                make_prompt(f"What is a good answer to {i}?"), "A short and friendly one."
            )
            for i in range(prompts)
        ],
    )


POLICY = PolicySettings(
    steps=4,
    prompts_per_step=2,
    group_size=4,
    learning_rate=1e-3,
    pessimism=0.0,
    sampling=SHORT,
    save_every=2,
)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that whichever worker asks first makes, and all read."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with (base / f"{name}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not lock.read():
            shutil.rmtree(base / name, ignore_errors=True)
            make(base / name)
            lock.write("made")
    return base / name


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.tiny import make_tiny

    place = made_once(tmp_path_factory, "tiny", lambda folder: make_tiny(folder / "model"))
    return place / "model"


@pytest.fixture(scope="session")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """A copy for each worker, whose tests add runs to it."""

    def make(workspace: Path) -> None:
        with Store.open(workspace) as store:
            made = train_all(workspace, store, tiny_model)
        (workspace / "made.json").write_text(json.dumps([made.ids, made.reports]))

    workspace = tmp_path_factory.mktemp("copy") / "trained"
    shutil.copytree(made_once(tmp_path_factory, "trained", make), workspace)
    with Store.open(workspace) as store:
        yield Trained(workspace, store, *json.loads((workspace / "made.json").read_text()))


def train_all(workspace: Path, store: Store, model: Path) -> Trained:
    from grpo import evaluate, sample, sft
    from grpo import train as grpo_train
    from reward_model import train as reward_train

    fill(store)
    made = Trained(workspace, store)
    sft_run = made.run("sft", sft.train, SftSettings(model=str(model), lora=SMALL))
    made.run(
        "sample",
        sample.sample,
        SampleSettings(policy=sft_run, sampling=SHORT, tasks=160, per_prompt=4),
    )
    simulate(store, 160, annotators=3, seed=4)
    made.run("reward", reward_train.train, RewardSettings(policy=sft_run, lora=SMALL, epochs=2))
    made.run("grpo", grpo_train.train, POLICY)
    comparison = ComparisonSettings(policy=made.ids["grpo"], sampling=SHORT, true_taste=True)
    made.run("compare", evaluate.compare, comparison)
    return made


@contextmanager
def without_choice_of_views() -> Iterator[None]:
    """No choice among layers and poolings, which is most of what a small training computes."""
    view = View((1,), mean=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reward_model.training.reading.views_of", lambda model: ([view], 2))
        yield


@pytest.fixture
def one_view() -> Iterator[None]:
    with without_choice_of_views():
        yield


@pytest.fixture(scope="session")
def reward_folder(trained: Trained) -> Path:
    return trained.folder("reward")


@pytest.fixture
def trainer(trained: Trained, tmp_path: Path) -> Iterator[Any]:
    """A GRPO trainer on the trained SFT policy, before its first step."""
    import torch

    from data.splits import split_of
    from grpo.policies.checkpoint import find_policy
    from grpo.trainer.policy_trainer import PolicyTrainer, TrainingParts
    from reward_model.language_model.loading import load_tokenizer
    from reward_model.scoring.scorer import Scorer

    origin = find_policy(trained.ids["sft"], trained.workspace)
    scorer = Scorer.load(trained.folder("reward"), torch.float32)
    prompts = [p for p in trained.store.content.prompts() if split_of(p) == "train"]
    reward, tokenizer = trained.folder("reward"), load_tokenizer(origin)
    parts = TrainingParts(origin, origin, tokenizer, scorer, reward, prompts, torch.float32)
    yield PolicyTrainer(POLICY, parts, tmp_path)
