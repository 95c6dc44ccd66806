"""Train a reward model: a closed fit of the head on the frozen policy, then LoRA on that loss."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import get_peft_model
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    get_cosine_schedule_with_warmup,
    set_seed,
)

from data.runs import Recorder, runs_folder
from data.schema import Completion, Judgement
from data.splits import split_of
from data.store import Store
from reward_model import likelihood
from reward_model.backbone import (
    ADAPTER,
    Origin,
    choose_precision,
    find_origin,
    load_model,
    load_tokenizer,
    save_origin,
)
from reward_model.config import BUILT_IN_MODEL, Objective, RewardSettings
from reward_model.evaluate import held_out_report, summary
from reward_model.examples import Examples, collect, require_enough, split_judgements
from reward_model.generate import completion_from, end_tokens, generate_shared
from reward_model.head import fit_head
from reward_model.lora import lora_config, trainable_share
from reward_model.network import body_of, last_states, with_head
from reward_model.render import Rendered, fingerprint, render, render_prompt
from reward_model.score import POLICY_ADAPTER, score_rendered

REFERENCE_SAMPLES = 160
"""Policy samples, at most, from which the reward's mean and standard deviation are taken."""
FEWEST_SAMPLES = 48
SAMPLE_TOKENS = 64
SAMPLE_BATCH = 48


def train(settings: RewardSettings, store: Store, run: Recorder) -> dict[str, Any]:
    """Train on the standing judgements; saves the model in the run's folder, returns the report.

    Raises ValueError where the judgements cannot carry the objective.
    """
    started = time.monotonic()
    set_seed(settings.seed)
    judgements = store.ledger.judgements()
    require_enough(settings.objective, judgements)
    train_side, held_side = split_judgements(judgements)
    require_enough(settings.objective, train_side)
    policy = settings.policy or newest_policy(store)
    origin = find_origin(policy, runs_folder(settings.workspace))
    tokenizer = load_tokenizer(origin)
    dtype, why = choose_precision()
    print(f"reward model on {policy}, {why}", flush=True)
    causal = load_model(origin, dtype)
    examples, held_out = collect(train_side), collect(held_side)
    samples, source = reference_samples(store, policy, causal, tokenizer, run)
    model = with_head(causal, tokenizer.pad_token_id)
    learner = Learner(model, tokenizer, settings, run)
    before, texts, held_texts = learner.warm_start(examples, held_out)
    learner.fine_tune(examples, texts)
    held = learner.assess(held_out, held_texts)
    mean, sd = learner.reference_scale(samples)
    save(run.directory, learner.model, origin, settings, fingerprint(tokenizer), mean, sd)
    return {
        "summary": summary(held),
        "objective": settings.objective,
        "policy": policy,
        "judgements": _by_kind(judgements),
        "held_out": held,
        "frozen_head": before,
        "reward_mean": mean,
        "reward_sd": sd,
        "reward_unit": f"mean 0 and standard deviation 1 on {len(samples)} {source}",
        "dropped": learner.dropped(judgements, texts + held_texts),
        "precision": why,
        "seconds": round(time.monotonic() - started, 1),
    }


class Learner:
    """The steps of one training, on one network."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: Any, settings: RewardSettings, run: Recorder
    ):
        self.model: Any = model
        self.tokenizer = tokenizer
        self.settings = settings
        self.run = run
        self.offset = 0.0
        """Added to the head's output in training where targets have a level: the head has none."""

    def render(self, completions: Sequence[Completion]) -> list[Rendered]:
        limit = self.settings.max_tokens
        return [render(self.tokenizer, c.prompt, c.text, c.finished, limit) for c in completions]

    def warm_start(
        self, examples: Examples, held_out: Examples
    ) -> tuple[dict[str, Any], list[Rendered], list[Rendered]]:
        """Fit the head on frozen features; returns its held-out report and the rendered texts."""
        texts, held_texts = self.render(examples.completions), self.render(held_out.completions)
        features = self._features(texts + held_texts)
        weights, self.offset = fit_head(features[: len(texts)], examples, self.settings.objective)
        with torch.no_grad():
            self.model.score.weight.copy_(torch.tensor(weights[None], dtype=torch.float32))
        rewards = features[len(texts) :] @ weights
        return held_out_report(held_out, rewards), texts, held_texts

    @torch.inference_mode()
    def _features(self, texts: Sequence[Rendered]) -> NDArray[np.float64]:
        order = sorted(range(len(texts)), key=lambda i: texts[i].prompt)
        size = self.settings.batch_size
        features = np.zeros((len(texts), self.model.score.in_features))
        for start in range(0, len(order), size):
            self.run.check_stop()
            self.run.progress(start, len(order), "reading the judged completions")
            chosen = order[start : start + size]
            states = last_states(
                body_of(self.model), [texts[i] for i in chosen], self.tokenizer.pad_token_id
            )
            features[chosen] = states.double().cpu().numpy()
        return features

    def fine_tune(self, examples: Examples, texts: Sequence[Rendered]) -> None:
        """LoRA and head together, on batches that keep the completions of a prompt together."""
        settings = self.settings
        config = lora_config(self.model, settings.lora, "SEQ_CLS")
        self.model = get_peft_model(self.model, config)
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        n, share = trainable_share(self.model)
        print(
            f"training {n:,} parameters ({share:.2%}): {len(config.target_modules)} kinds of layer"
        )
        rng = random.Random(settings.seed)
        batches = [
            batch
            for _ in range(settings.epochs)
            for batch in prompt_batches(examples, settings.batch_size, rng)
        ]
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
        schedule = get_cosine_schedule_with_warmup(optimiser, len(batches) // 10, len(batches))
        loss_of = LOSSES[settings.objective]
        per_batch = max(1.0, loss_of.count(examples) * settings.epochs / len(batches))
        self.model.train()
        for step, batch in enumerate(batches, 1):
            self.run.check_stop()
            begun = time.monotonic()
            base = self.model.base_model.model
            states = last_states(
                body_of(base), [texts[i] for i in batch], self.tokenizer.pad_token_id
            )
            rewards = base.score(states)[:, 0] + self.offset
            loss, right, n = loss_of(examples, batch, rewards)
            if not n:  # nothing in it was judged in a way that this objective reads
                schedule.step()
                continue
            (loss / per_batch).backward()
            norm = float(torch.nn.utils.clip_grad_norm_(parameters, 1.0))
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            self._log(step, len(batches), float(loss.detach()), right, n, norm, begun)
        self.model.eval()

    def _log(
        self, step: int, steps: int, loss: float, right: float, n: int, norm: float, begun: float
    ) -> None:
        if not np.isfinite(norm):
            raise ValueError(
                f"the loss became infinite or NaN at step {step}: use a smaller --learning-rate"
                f" than {self.settings.learning_rate}"
            )
        self.run.log(
            step=step,
            loss=round(loss / max(1, n), 5),
            accuracy=round(right / n, 4) if n else None,
            grad_norm=round(norm, 5),
            seconds=round(time.monotonic() - begun, 2),
        )
        self.run.progress(step, steps, "training")

    def assess(self, held_out: Examples, texts: Sequence[Rendered]) -> dict[str, Any]:
        """Held-out figures of the network as it stands."""
        self.run.progress(0, 1, "measuring on held-out prompts")
        return held_out_report(held_out, self._scores(texts))

    def reference_scale(self, samples: Sequence[Completion]) -> tuple[float, float]:
        """Mean and standard deviation of the raw reward on the policy's own samples."""
        scores = self._scores(self.render(samples))
        return float(scores.mean()), float(max(scores.std(), 1e-6))

    def _scores(self, texts: Sequence[Rendered]) -> NDArray[np.float64]:
        return score_rendered(self.model.base_model.model, texts, self.tokenizer.pad_token_id)

    def dropped(self, judgements: Sequence[Judgement], texts: Sequence[Rendered]) -> dict[str, int]:
        """What the objective could not use, and what was cut."""
        used = {"pairwise"} if self.settings.objective == "bradley_terry" else {"scalar", "binary"}
        unused = sum(j.kind not in used for j in judgements)
        return {
            "judgements of kinds that this objective does not use": unused,
            "texts cut to fit": sum(t.truncated for t in texts),
        }


class _Comparisons:
    """Bradley-Terry over the comparisons whose completions are in the batch."""

    def count(self, examples: Examples) -> int:
        return len(examples.comparisons)

    def __call__(
        self, examples: Examples, batch: Sequence[int], rewards: torch.Tensor
    ) -> tuple[torch.Tensor, float, int]:
        place = {item: i for i, item in enumerate(batch)}
        inside = [c for c in examples.comparisons if c.a in place and c.b in place]
        a, b = rewards[[place[c.a] for c in inside]], rewards[[place[c.b] for c in inside]]
        outcome = torch.tensor([c.outcome for c in inside], device=rewards.device)
        agree = (1 - (torch.sign((a - b).detach()) / 2 + 0.5 - outcome).abs()).sum()
        return likelihood.bradley_terry(a, b, outcome), float(agree), len(inside)


class _Targets:
    """Squared error over the ratings whose completions are in the batch."""

    def count(self, examples: Examples) -> int:
        return len(examples.targets)

    def __call__(
        self, examples: Examples, batch: Sequence[int], rewards: torch.Tensor
    ) -> tuple[torch.Tensor, float, int]:
        place = {item: i for i, item in enumerate(batch)}
        inside = [t for t in examples.targets if t.item in place]
        given = rewards[[place[t.item] for t in inside]]
        target = torch.tensor([t.value for t in inside], device=rewards.device)
        agree = ((given > 0) == (target > 0)).sum()
        return likelihood.regression(given, target), float(agree), len(inside)


LOSSES: dict[Objective, Any] = {"bradley_terry": _Comparisons(), "regression": _Targets()}


def prompt_batches(examples: Examples, size: int, rng: random.Random) -> Iterator[list[int]]:
    """Places of completions, about `size` at a time, all of a prompt in the same batch."""
    groups = list(examples.by_prompt().values())
    rng.shuffle(groups)
    batch: list[int] = []
    for group in groups:
        if batch and len(batch) + len(group) > size:
            yield batch
            batch = []
        batch += group
    if batch:
        yield batch


def reference_samples(
    store: Store, policy: str, causal: Any, tokenizer: Any, run: Recorder
) -> tuple[list[Completion], str]:
    """(answers of the policy to training prompts, where they come from).

    Those that it has written already; where they are few, fresh ones.
    """
    train_prompts = [p for p in store.content.prompts() if split_of(p) == "train"]
    own = [
        g.completion
        for g in store.content.generations(policy)
        if split_of(g.completion.prompt) == "train"
    ]
    if len(own) >= FEWEST_SAMPLES or not train_prompts:
        return own[:REFERENCE_SAMPLES], f"stored answers of {policy}"
    run.progress(0, 1, "sampling the policy, for the reward's unit")
    ends = end_tokens(causal, tokenizer)
    config = GenerationConfig(
        do_sample=True,
        top_k=0,
        max_new_tokens=SAMPLE_TOKENS,
        eos_token_id=ends,
        pad_token_id=tokenizer.pad_token_id,
    )
    prompts = [train_prompts[i % len(train_prompts)] for i in range(FEWEST_SAMPLES)]
    drawn = []
    for start in range(0, len(prompts), SAMPLE_BATCH):
        run.check_stop()
        batch = prompts[start : start + SAMPLE_BATCH]
        answers = generate_shared(causal, [render_prompt(tokenizer, p) for p in batch], config)
        drawn += [
            completion_from(tokenizer, *pair, ends) for pair in zip(batch, answers, strict=True)
        ]
    return drawn, f"fresh answers of {policy}"


def newest_policy(store: Store) -> str:
    """The newest finished SFT run, else the built-in model."""
    finished = [r.id for r in store.runs.list("sft") if r.status == "finished"]
    return finished[0] if finished else BUILT_IN_MODEL


def save(
    folder: Path,
    model: Any,
    origin: Origin,
    settings: RewardSettings,
    tokenizer: str,
    mean: float,
    sd: float,
) -> None:
    """Write side-car, head, and what they sit on, so that the folder needs no other run."""
    model.save_pretrained(folder / ADAPTER)
    if origin.adapter:
        shutil.copytree(origin.adapter, folder / POLICY_ADAPTER)
    save_origin(
        folder,
        origin,
        objective=settings.objective,
        policy_hash=origin.hash,
        tokenizer=tokenizer,
        mean=mean,
        sd=sd,
        max_tokens=settings.max_tokens,
    )


def _by_kind(judgements: Sequence[Judgement]) -> dict[str, int]:
    kinds: dict[str, int] = {"pairwise": 0, "scalar": 0, "binary": 0}
    for judgement in judgements:
        kinds[judgement.kind] += 1
    return kinds
