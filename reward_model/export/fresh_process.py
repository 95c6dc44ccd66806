"""What transformers alone gets from an exported folder; as a script, in a process of its own.

Nothing of this project is imported here. Questions come in as JSON and answers go out as JSON.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any, TypedDict

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

SCRIPT = "score.py"
"""The script's name in an export."""


class Chat(TypedDict):
    """A conversation that ends with the assistant's turn."""

    turns: list[dict[str, Any]]
    unfinished: bool


class ParityRequest(TypedDict):
    rows: list[dict[str, Any]]
    """Lines that the export's script scores."""
    plans: list[list[list[int]]]
    """Batches of places of rows, in as many ways."""
    chats: list[Chat]


class Answers(TypedDict):
    scored: list[list[list[float]]]
    """By the export's script: of each batch of each plan."""
    applied: list[list[float]]
    """By `apply_chat_template` over the whole conversation: one by one, then all in one batch."""
    piped: list[float]
    """By a text-classification pipeline on the template's text."""


def answer(folder: Path, asked: ParityRequest) -> Answers:
    """The head's outputs along each way."""
    head_output = runpy.run_path(str(folder / SCRIPT))["head_output"]
    rows = asked["rows"]
    return {
        "scored": [[head_output([rows[i] for i in b]) for b in plan] for plan in asked["plans"]],
        **by_everybodys_call(folder, asked["chats"]),  # type: ignore[typeddict-item]
    }


@torch.inference_mode()
def by_everybodys_call(folder: Path, chats: list[Chat]) -> dict[str, Any]:
    """The same calls that any reward model's card shows."""
    if not chats:
        return {"applied": [[], []], "piped": []}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    alone, texts = [], []
    for chat in chats:
        how = {"continue_final_message": chat["unfinished"]}
        ids = tokenizer.apply_chat_template(chat["turns"], return_tensors="pt", **how)
        alone.append(float(model(**ids).logits[0, 0]))
        texts.append(tokenizer.apply_chat_template(chat["turns"], tokenize=False, **how))
    whole = [chat["turns"] for chat in chats if not chat["unfinished"]]
    batch = tokenizer.apply_chat_template(whole, padding=True, return_tensors="pt")
    together = iter(model(**batch).logits[:, 0].tolist())
    batched = [a if c["unfinished"] else next(together) for a, c in zip(alone, chats, strict=True)]
    pipe = pipeline("text-classification", model=model, tokenizer=tokenizer)
    return {"applied": [alone, batched], "piped": [found["score"] for found in pipe(texts)]}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    found = {**answer(Path(sys.argv[1]), given), "loaded": sorted(sys.modules)}
    json.dump(found, sys.stdout)
