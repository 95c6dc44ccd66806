"""The roads by which one reward model gives its rewards: what a parity certificate compares.

A road reads a list of completions and gives the head's output of each, all of them in one batch.
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
from reward_model.language_model.classifier import body_of, last_states, with_head
from reward_model.language_model.loading import cast, load_classifier, load_model, with_side_car
from reward_model.language_model.origin import ADAPTER
from reward_model.scoring.grpo_reward import GrpoReward
from reward_model.scoring.scorer import WEIGHTS, Head, Scorer, read_facts, under
from reward_model.serving.chat_text import in_template
from reward_model.serving.http import serving

Array = NDArray[np.float64]
Road = Callable[[Sequence[Completion]], Array]
"""Head outputs (N,)."""
STANDALONE = Path(__file__).with_name("standalone.py")
SCRIPT = "score.py"
"""What it is called in an export."""
_FRESH = """
import json, sys
sys.path.insert(0, sys.argv[1])
import score
rows, plans = json.load(sys.stdin)
out = [[score.head_output([rows[i] for i in batch]) for batch in plan] for plan in plans]
json.dump({"out": out, "loaded": sorted(sys.modules)}, sys.stdout)
"""


def trainer(run: Path, scorer: Scorer, dtype: torch.dtype) -> Road:
    """The network as it was trained, its side-car not merged in, by the trainer's forward pass."""
    facts, pad = read_facts(run), scorer.tokenizer.pad_token_id
    model: Any
    if (run / WEIGHTS).is_dir():
        model = load_classifier(run / WEIGHTS)
    else:
        model = with_head(load_model(under(run, facts), torch.float32), pad)
        head = torch.from_numpy(Head.load(run / "head.npz").weights)
        model.score.weight.data.copy_(head[None])
        if (run / ADAPTER).is_dir():  # brings the head that was saved with it
            model = with_side_car(model, str(run / ADAPTER)).base_model.model
    model = cast(model.eval(), dtype)

    @torch.inference_mode()
    def read(completions: Sequence[Completion]) -> Array:
        texts = [scorer.render(c.prompt, c.text, c.finished) for c in completions]
        states = last_states(body_of(model), texts, pad)
        raw: Array = model.score(states.to(dtype))[:, 0].double().cpu().numpy()
        return raw

    return read


def scored(scorer: Scorer) -> Road:
    """The Scorer, as a program calls it."""

    def read(completions: Sequence[Completion]) -> Array:
        return scorer.raw(*_columns(completions))

    return read


def climbed(scorer: Scorer) -> Road:
    """The reward function that GRPO calls, brought back from reward units; nothing is clipped."""
    end = scorer.tokenizer.eos_token_id
    reward = GrpoReward(scorer, [end], clip=math.inf)

    def read(completions: Sequence[Completion]) -> Array:
        rewards = reward(
            prompts=[_messages(c) for c in completions],
            completions=[[{"role": "assistant", "content": c.text}] for c in completions],
            completion_ids=[[end] if c.finished else [] for c in completions],
        )
        return np.array(rewards) * scorer.sd + scorer.mean

    return read


def reloaded(
    export: Path, completions: Sequence[Completion], plans: Sequence[Sequence[Sequence[int]]]
) -> list[Array]:
    """Head outputs (N,) for each plan (batches of places), by transformers in a fresh process.

    Raises ValueError with the last line that it said where it ends badly.
    """
    rows = [{"prompt": _messages(c), "completion": c.text, "finished": c.finished}
            for c in completions]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", _FRESH, str(export)],
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
    return [_in_place(plan, outs) for plan, outs in zip(plans, answer["out"], strict=True)]


@contextmanager
def over_http(scorer: Scorer) -> Iterator[Mapping[str, Road]]:
    """The routes of a server of this scorer."""
    with serving(scorer, "certified") as url, httpx.Client(base_url=url, timeout=600) as client:

        def post(route: str, body: Mapping[str, Any]) -> Any:
            answer = client.post(route, json=body)
            if answer.status_code != 200:
                raise ValueError(f"{route} refused a probe: {answer.text[:160]}")
            return answer.json()

        def units(rewards: list[float]) -> Array:
            return np.array(rewards) * scorer.sd + scorer.mean

        def score(completions: Sequence[Completion]) -> Array:
            _, texts, finished = _columns(completions)
            prompts = [_messages(c) for c in completions]
            body = {"prompts": prompts, "completions": texts, "finished": finished}
            return units(post("/score", body)["rewards"])

        def classify_ids(completions: Sequence[Completion]) -> Array:
            ids = [scorer.render(c.prompt, c.text, c.finished).ids for c in completions]
            return _probs(post("/classify", {"input": ids}))

        def classify_chats(completions: Sequence[Completion]) -> Array:
            turns = [[*_messages(c), {"role": "assistant", "content": c.text}] for c in completions]
            cut = [not c.finished for c in completions]
            bodies = [
                {"messages": m, "continue_final_message": u}
                for m, u in zip(turns, cut, strict=True)
            ]
            return np.concatenate([_probs(post("/classify", body)) for body in bodies])

        def get_reward(completions: Sequence[Completion]) -> Array:
            end = str(scorer.tokenizer.eos_token)
            prompts = [in_template(scorer.tokenizer, _messages(c)) for c in completions]
            asked = [
                p + c.text + end * c.finished for p, c in zip(prompts, completions, strict=True)
            ]
            return units(post("/get_reward", {"query": asked, "prompts": prompts})["rewards"])

        yield {
            "/score": score,
            "/classify, token ids": classify_ids,
            "/classify, messages": classify_chats,
            "/get_reward": get_reward,
        }


def through(road: Road, completions: Sequence[Completion], plan: Sequence[Sequence[int]]) -> Array:
    """Head outputs (N,) of all completions, taken along the road batch by batch."""
    return _in_place(plan, [road([completions[i] for i in batch]) for batch in plan])


def _in_place(plan: Sequence[Sequence[int]], outs: Sequence[Sequence[float] | Array]) -> Array:
    found = np.full(sum(map(len, plan)), np.nan)
    for batch, out in zip(plan, outs, strict=True):
        found[list(batch)] = out
    return found


def _columns(
    completions: Sequence[Completion],
) -> tuple[list[Any], list[str], list[bool]]:
    return (
        [c.prompt for c in completions],
        [c.text for c in completions],
        [c.finished for c in completions],
    )


def _messages(completion: Completion) -> list[dict[str, str]]:
    return [m.as_dict() for m in completion.prompt.messages]


def _probs(answer: Mapping[str, Any]) -> Array:
    return np.array([row["probs"][0] for row in answer["data"]])
