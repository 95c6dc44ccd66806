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
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from numpy.typing import NDArray

from data.schema import Completion
from reward_model.language_model.classifier import (
    apply_head,
    last_states,
    set_head,
    with_head,
)
from reward_model.language_model.loading import cast, load_classifier, load_model, with_adapter
from reward_model.language_model.origin import ADAPTER
from reward_model.scoring.grpo_reward import GrpoReward
from reward_model.scoring.scorer import WEIGHTS, Head, Scorer, read_facts, under
from reward_model.serving.chat_text import in_template
from reward_model.serving.http import serving

Array = NDArray[np.float64]
Route = Callable[[Sequence[Completion]], Array]
"""Head outputs (N,)."""
Plan = Sequence[Sequence[int]]
"""Batches of places."""
Row = Mapping[str, object]
"""A line of what the export's script scores."""
STANDALONE = Path(__file__).with_name("standalone.py")
SCRIPT = "score.py"
"""What it is called in an export."""
FRESH_PROCESS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import score
rows, plans = json.load(sys.stdin)
out = [[score.head_output([rows[i] for i in batch]) for batch in plan] for plan in plans]
json.dump({"out": out, "loaded": sorted(sys.modules)}, sys.stdout)
"""


def trainer(run: Path, scorer: Scorer, dtype: torch.dtype) -> Route:
    """The network as it was trained, its adapter not merged in, by the trainer's forward pass."""
    facts, pad = read_facts(run), scorer.tokenizer.pad_token_id
    if (run / WEIGHTS).is_dir():
        model = load_classifier(run / WEIGHTS)
    else:
        model = with_head(load_model(under(run, facts), torch.float32), pad)
        set_head(model, Head.load(run / "head.npz").weights)
        if (run / ADAPTER).is_dir():
            # put into the model itself, with the head that was saved with the adapter
            with_adapter(model, str(run / ADAPTER))
    model = cast(model.eval(), dtype)

    @torch.inference_mode()
    def read(completions: Sequence[Completion]) -> Array:
        texts = [scorer.render(c.prompt, c.text, c.finished) for c in completions]
        states = last_states(model, texts, pad)
        raw: Array = apply_head(model, states).double().cpu().numpy()
        return raw

    return read


def grpo(scorer: Scorer) -> Route:
    """The reward function that GRPO calls, brought back from reward units; nothing is clipped."""
    end = scorer.tokenizer.eos_token_id
    reward = GrpoReward(scorer, [end], clip=math.inf)

    def read(completions: Sequence[Completion]) -> Array:
        rewards = reward(
            prompts=[_prompt_messages(c) for c in completions],
            completions=[[{"role": "assistant", "content": c.text}] for c in completions],
            completion_ids=[[end] if c.finished else [] for c in completions],
        )
        return np.array(rewards) * scorer.sd + scorer.mean

    return read


def reloaded(export: Path, completions: Sequence[Completion], plans: Sequence[Plan]) -> list[Array]:
    """Head outputs (N,) for each plan, by transformers alone."""
    rows: list[Row] = [
        {"prompt": _prompt_messages(c), "completion": c.text, "finished": c.finished}
        for c in completions
    ]
    outs = ask_fresh_process(export, rows, plans)
    return [_in_order(plan, out) for plan, out in zip(plans, outs, strict=True)]


def ask_fresh_process(
    export: Path, rows: Sequence[Row], plans: Sequence[Plan]
) -> list[list[list[float]]]:
    """What the export's script gives each batch of each plan, where nothing else is loaded.

    Raises ValueError with the last line that it said where it ends badly.
    """
    done = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(export)],
        input=json.dumps([rows, plans]),
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
    outs: list[list[list[float]]] = answer["out"]
    return outs


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

        def labels(**body: object) -> Array:
            return np.array([row["probs"][0] for row in post("/classify", **body)["data"]])

        def rewards(route: str, **body: object) -> Array:
            return np.array(post(route, **body)["rewards"]) * scorer.sd + scorer.mean

        def score(some: Sequence[Completion]) -> Array:
            texts, finished = [c.text for c in some], [c.finished for c in some]
            prompts = [_prompt_messages(c) for c in some]
            return rewards("/score", prompts=prompts, completions=texts, finished=finished)

        def classify_ids(some: Sequence[Completion]) -> Array:
            return labels(input=[scorer.render(c.prompt, c.text, c.finished).ids for c in some])

        def classify_chat(c: Completion) -> Array:
            turns = [*_prompt_messages(c), {"role": "assistant", "content": c.text}]
            return labels(messages=turns, continue_final_message=not c.finished)

        def get_reward(some: Sequence[Completion]) -> Array:
            end = str(scorer.tokenizer.eos_token)
            prompts = [in_template(scorer.tokenizer, _prompt_messages(c)) for c in some]
            query = [p + c.text + end * c.finished for p, c in zip(prompts, some, strict=True)]
            return rewards("/get_reward", query=query, prompts=prompts)

        yield {
            "/score": score,
            "/classify, token ids": classify_ids,
            "/classify, messages": lambda some: np.concatenate(list(map(classify_chat, some))),
            "/get_reward": get_reward,
        }


def through(route: Route, completions: Sequence[Completion], plan: Plan) -> Array:
    """Head outputs (N,) of all completions, asked for batch by batch."""
    return _in_order(plan, [route([completions[i] for i in batch]) for batch in plan])


def _in_order(plan: Plan, outs: Sequence[Sequence[float] | Array]) -> Array:
    found = np.full(sum(map(len, plan)), np.nan)
    for batch, out in zip(plan, outs, strict=True):
        found[list(batch)] = out
    return found


def _prompt_messages(completion: Completion) -> list[dict[str, str]]:
    return [m.as_dict() for m in completion.prompt.messages]
