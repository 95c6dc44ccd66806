"""The routes by which one reward model gives its rewards: what a parity certificate compares.

A route reads a list of completions and gives the head's output of each, all of them in one batch.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from data.schema import Completion
from data.stats.intervals import Floats
from reward_model.chat.chat_format import chat_format
from reward_model.export.fresh_process import Answers, Chat, ParityRequest
from reward_model.language_model.classifier import apply_head, completion_states
from reward_model.language_model.loading import cast
from reward_model.scoring.grpo_reward import GrpoReward
from reward_model.scoring.scorer import Scorer, adapted, read_facts, with_own_head
from reward_model.serving.http import serving

Route = Callable[[Sequence[Completion]], Floats]
"""Head outputs (N,)."""
Plan = Sequence[Sequence[int]]
"""Batches of places."""
STANDALONE = Path(__file__).with_name("standalone.py")
FRESH_PROCESS = Path(__file__).with_name("fresh_process.py")


def trainer(run: Path, scorer: Scorer, dtype: torch.dtype) -> Route:
    """The network as it was trained, its adapter not merged in, by the trainer's forward pass."""
    facts, pad = read_facts(run), scorer.tokenizer.pad_token_id
    network = adapted(run, facts, 0, pad)
    model = network.get_base_model() if isinstance(network, PeftModel) else network
    view = with_own_head(model, run, facts, 0, exported=True).view
    model = cast(model.eval(), dtype)

    @torch.inference_mode()
    def read(completions: Sequence[Completion]) -> Floats:
        texts = [scorer.render(c.prompt, c.text, c.finished) for c in completions]
        states = completion_states(model, texts, pad, view)
        raw: Floats = apply_head(model, states).double().cpu().numpy()
        return raw

    return read


def grpo(scorer: Scorer) -> Route:
    """The reward function that GRPO calls, brought back from reward units; nothing is clipped."""
    end = scorer.tokenizer.eos_token_id  # any token serves as the end: texts are read, not ids
    reward = GrpoReward(scorer, [end], clip=math.inf)

    def read(completions: Sequence[Completion]) -> Floats:
        rewards = reward(
            prompts=[_prompt_messages(c) for c in completions],
            completions=[[{"role": "assistant", "content": c.text}] for c in completions],
            completion_ids=[[end] if c.finished else [] for c in completions],
        )
        return np.array(rewards) * scorer.sd + scorer.mean

    return read


AS_TEXT = ("/classify, text", "/get_reward")
"""Routes over HTTP on which a control token that a text spells out is one."""


@dataclass(frozen=True)
class Reloaded:
    """What a fresh process that loads the folder by transformers alone gets from it."""

    scored: list[Floats]
    """Head outputs (N,) by its script, for each plan."""
    applied: list[Floats]
    """(M,), by `apply_chat_template` over the conversations: one by one, and in one batch."""
    piped: Floats
    """(M,), by a text-classification pipeline on the template's texts."""


def reloaded(
    export: Path,
    scorer: Scorer,
    completions: Sequence[Completion],
    plans: Sequence[Plan],
    called: Sequence[Completion],
) -> Reloaded:
    """Head outputs of N completions, and of M that everybody's call can express."""
    rows = [
        {"prompt": _prompt_messages(c), "completion": c.text, "finished": c.finished}
        for c in completions
    ]
    chats: list[Chat] = [
        {"turns": _in_shape(scorer, _whole(c)), "unfinished": not c.finished} for c in called
    ]
    ways = [[list(batch) for batch in plan] for plan in plans]
    found = ask_fresh_process(export, {"rows": rows, "plans": ways, "chats": chats})
    scored = [_in_order(plan, out) for plan, out in zip(plans, found["scored"], strict=True)]
    return Reloaded(scored, list(map(np.array, found["applied"])), np.array(found["piped"]))


def ask_fresh_process(export: Path, asked: ParityRequest) -> Answers:
    """What it answers, where nothing of this project is loaded.

    Raises ValueError with the last line that it said where it ends badly.
    """
    done = subprocess.run(
        [sys.executable, "-P", str(FRESH_PROCESS), str(export)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise ValueError(f"the export does not load in a fresh process, which said: {said[:160]}")
    answer = json.loads(done.stdout)
    ours = [name for name in answer["loaded"] if name.split(".")[0] in ("reward_model", "data")]
    assert not ours, f"the fresh process loaded {ours[0]}"
    found: Answers = answer
    return found


def expressible(scorer: Scorer, completion: Completion) -> bool:
    """Whether the template's text says all: no text in it spells a control token out."""
    if scorer.apart:
        return True
    turns = _whole(completion)
    return not any(chat_format(scorer.tokenizer).controls.search(t["content"]) for t in turns)


def callable_by_all(scorer: Scorer, completion: Completion) -> bool:
    """Whether `apply_chat_template` gives what is read: all said, nothing cut, some text."""
    read = scorer.render(completion.prompt, completion.text, completion.finished)
    said = completion.finished or completion.text.strip()
    return expressible(scorer, completion) and bool(said) and not read.truncated


@contextmanager
def over_http(scorer: Scorer) -> Iterator[Mapping[str, Route]]:
    """The routes of a server of this scorer, as a certificate names them."""
    with serving(scorer, "certified") as url, httpx.Client(base_url=url, timeout=600) as client:

        def post(route: str, **body: object) -> dict[str, Any]:
            answer = client.post(route, json=body)
            if answer.status_code != 200:
                raise ValueError(f"{route} refused a probe: {answer.text[:160]}")
            found: dict[str, Any] = answer.json()
            return found

        def labels(**body: object) -> Floats:
            return np.array([row["probs"][0] for row in post("/classify", **body)["data"]])

        def rewards(route: str, **body: object) -> Floats:
            return np.array(post(route, **body)["rewards"]) * scorer.sd + scorer.mean

        def score(some: Sequence[Completion]) -> Floats:
            texts, finished = [c.text for c in some], [c.finished for c in some]
            prompts = [_prompt_messages(c) for c in some]
            return rewards("/score", prompts=prompts, completions=texts, finished=finished)

        def classify_ids(some: Sequence[Completion]) -> Floats:
            return labels(input=[scorer.render(c.prompt, c.text, c.finished).ids for c in some])

        def classify_chat(c: Completion) -> Floats:
            return labels(messages=_whole(c), continue_final_message=not c.finished)

        def get_reward(some: Sequence[Completion]) -> Floats:
            texts = [sent_text(scorer, c) for c in some]
            return rewards(
                "/get_reward", query=[t for _, t in texts], prompts=[p for p, _ in texts]
            )

        def classify_text(some: Sequence[Completion]) -> Floats:
            return labels(input=[sent_text(scorer, c)[1] for c in some])

        yield {
            "/score": score,
            "/classify, token ids": classify_ids,
            "/classify, text": classify_text,
            "/classify, messages": lambda some: np.concatenate(list(map(classify_chat, some))),
            "/get_reward": get_reward,
        }


def add_nothing(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Let it put no token around a text, which the template has begun with one already.

    Else whoever gives the template's text to a pipeline or to vLLM has it begin twice. Returns
    whether that could be done.
    """
    tokenizer.padding_side = "right"
    if _adds_tokens(tokenizer):
        tokenizer.add_bos_token = tokenizer.add_eos_token = False
    return not _adds_tokens(tokenizer)


def _adds_tokens(tokenizer: PreTrainedTokenizerBase) -> bool:
    plain: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    return plain != list(tokenizer("a")["input_ids"])


def sent_text(scorer: Scorer, completion: Completion) -> tuple[str, str]:
    """(prompt, prompt with completion) as texts in the template, up to the end of the turn."""
    tokenizer, turns = scorer.tokenizer, _prompt_messages(completion)
    if scorer.apart:
        start = str(
            tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        )
        end = str(tokenizer.eos_token) if completion.finished else ""
        return start, start + completion.text + end
    form = chat_format(tokenizer)
    start = form.text(turns, opened=True)
    if not (completion.finished or completion.text.strip()):
        return start, start
    text = form.text(_whole(completion), unfinished=not completion.finished)
    return (start if text.startswith(start) else ""), form.up_to_end(text)


def through(route: Route, completions: Sequence[Completion], plan: Plan) -> Floats:
    """Head outputs (N,) of all completions, asked for batch by batch."""
    return _in_order(plan, [route([completions[i] for i in batch]) for batch in plan])


def _in_order(plan: Plan, outs: Sequence[Sequence[float] | Floats]) -> Floats:
    found = np.full(sum(map(len, plan)), np.nan)
    for batch, out in zip(plan, outs, strict=True):
        found[list(batch)] = out
    return found


def _whole(completion: Completion) -> list[dict[str, str]]:
    answer = {"role": "assistant", "content": completion.text}
    return [*_prompt_messages(completion), answer]


def _in_shape(scorer: Scorer, turns: list[dict[str, str]]) -> list[dict[str, Any]]:
    return turns if scorer.apart else chat_format(scorer.tokenizer).shaped(turns)


def _prompt_messages(completion: Completion) -> list[dict[str, str]]:
    return [m.as_dict() for m in completion.prompt.messages]
