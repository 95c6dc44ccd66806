"""Score completions with the reward model in this folder, by transformers and torch alone.

    python score.py FILE      JSON lines with "prompt" and "completion"; "finished" is true where
                              it is not given. The same lines come out, with "reward".
                              What a reasoning model thinks before it answers is not read, unless
                              this one was trained on it too.

The reward is (head output - reward_mean) / reward_sd, both in config.json.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer

FOLDER = Path(__file__).parent
THINKING = FOLDER / "thinking.py"
"""There where the model was trained on answers without the thinking before them."""


@cache
def load() -> tuple[Any, Any]:
    """(tokenizer, model in float32)."""
    model = AutoModelForSequenceClassification.from_pretrained(FOLDER, dtype=torch.float32)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return AutoTokenizer.from_pretrained(FOLDER), model.eval().to(device)


def token_ids(row: dict[str, Any]) -> list[int]:
    """What the model was trained to read, at most `reward_max_tokens` of them."""
    tokenizer, model = load()
    prompt = row["prompt"]
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    completion, finished = row["completion"], row.get("finished", True)
    if THINKING.exists():
        parts = taken_apart()(completion)
        completion, finished = parts.answer, finished and not parts.open
    if getattr(model.config, "reward_reads", None) == "conversation":
        before, after = conversation(turns, completion, finished)
    else:
        before = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        after = tokenizer(completion, add_special_tokens=False)["input_ids"]
        if finished:
            after = [*after, tokenizer.eos_token_id]
    most = model.config.reward_max_tokens
    if most and len(before) + len(after) > most:
        after = after[: most - 1]
        before = before[-(most - len(after)) :]
    while after and after[-1] == tokenizer.pad_token_id:
        after = after[:-1]
    return [*before, *after]


@cache
def taken_apart() -> Callable[[str], Any]:
    """What tells a completion's thinking and its answer apart."""
    part: Callable[[str], Any] = runpy.run_path(str(THINKING))["part"]
    return part


def conversation(
    turns: list[dict[str, Any]], completion: str, finished: bool
) -> tuple[list[int], list[int]]:
    """Ids of the prompt and of what follows, as the chat template writes the whole conversation.

    A completion that did not end by itself stops where its text does.
    """
    start = template_ids(turns, add_generation_prompt=True)
    if not (finished or completion.strip()):
        return start, []
    whole = [*turns, {"role": "assistant", "content": completion}]
    try:
        ids = template_ids(whole, continue_final_message=not finished)
    except ValueError:  # the template writes another text than the one to stop behind
        ids, end = template_ids(whole), load()[1].config.reward_end
        ids = ids[: -1 - ids[::-1].index(end)] if end in ids else ids
    pairs = enumerate(zip(start, ids, strict=False))
    seam = next((i for i, (a, b) in pairs if a != b), min(len(start), len(ids)))
    return ids[:seam], ids[seam:]


def template_ids(turns: list[dict[str, Any]], **how: bool) -> list[int]:
    """What the chat template writes; control tokens that a turn's text spells out stay text."""
    tokenizer, model = load()
    controls = sorted(tokenizer.chat_control_tokens, key=len, reverse=True)
    spelt = re.compile("|".join(map(re.escape, controls)) or "(?!)")
    spells = any(spelt.search(turn["content"]) for turn in turns)

    def ids(change: Callable[[str], str] = str, **more: bool) -> list[int]:
        texts = [change(turn["content"]) for turn in turns]
        parts = [[{"type": "text", "text": t}] for t in texts]
        contents = parts if model.config.reward_in_parts else texts
        shaped = [t | {"content": c} for t, c in zip(turns, contents, strict=True)]
        found: list[int] = tokenizer.apply_chat_template(shaped, return_dict=False, **how, **more)
        return found

    if not spells:
        return ids()
    try:
        return ids(sanitize_control_tokens=True)
    except ValueError:  # the tokenizer makes the token of plain text too: a blank keeps it apart
        return ids(lambda text: spelt.sub(lambda m: m[0][0] + " " + m[0][1:], text))


@torch.inference_mode()
def head_output(rows: list[dict[str, Any]]) -> list[float]:
    """The model's one logit for each row, all in one batch, padded on the right."""
    tokenizer, model = load()
    texts = [torch.tensor(token_ids(row)) for row in rows]
    ids = pad_sequence(texts, batch_first=True, padding_value=tokenizer.pad_token_id)
    mask = pad_sequence([torch.ones_like(t) for t in texts], batch_first=True)
    out = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
    logits: list[float] = out.logits[:, 0].tolist()
    return logits


def main(file: str, batch: int = 16) -> None:
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    config = load()[1].config
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        for row, raw in zip(some, head_output(some), strict=True):
            print(json.dumps({**row, "reward": (raw - config.reward_mean) / config.reward_sd}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("error: name one file of JSON lines: python score.py FILE")
    main(sys.argv[1])
