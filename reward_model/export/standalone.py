"""Score completions with the reward model in this folder, by transformers and torch alone.

    python score.py FILE      JSON lines with "prompt" and "completion"; "finished" is true where
                              it is not given. The same lines come out, with "reward".

The reward is (head output - reward_mean) / reward_sd, both in config.json.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, AutoTokenizer

FOLDER = Path(__file__).parent


@cache
def load() -> tuple[Any, Any]:
    """(tokenizer, model in float32)."""
    model = AutoModelForSequenceClassification.from_pretrained(FOLDER, dtype=torch.float32)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return AutoTokenizer.from_pretrained(FOLDER), model.eval().to(device)


def token_ids(row: dict[str, Any]) -> list[int]:
    """What the model was trained to read: the prompt in the chat template, the completion, and
    end-of-turn only where the completion ended by itself."""
    tokenizer, model = load()
    prompt = row["prompt"]
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    before = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    after = tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
    if row.get("finished", True):
        after = [*after, tokenizer.eos_token_id]
    most = model.config.reward_max_tokens
    if most and len(before) + len(after) > most:
        after = after[: most - 1]
        before = before[-(most - len(after)) :]
    while after and after[-1] == tokenizer.pad_token_id:
        after = after[:-1]
    return [*before, *after]


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
