"""Completions that a parity certificate asks about: judged ones, and ones easily got wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from data.schema import Completion, make_prompt
from reward_model.language_model.render import render_prompt

Array = NDArray[np.float64]
PROBES = "probes.json"
"""File, inside a run's folder: completions with what the trainer's live network gave them."""
KEPT = 12
"""Judged completions that a run keeps as probes, at most."""


def keep_probes(
    run: Path, completions: Sequence[Completion], raw: Array, dtype: torch.dtype
) -> None:
    """Note what the live network gave completions (N,), before anything was saved and loaded."""
    chosen = np.linspace(0, len(completions) - 1, min(KEPT, len(completions))).round().astype(int)
    rows = [
        {
            "prompt": completions[i].prompt.plain(),
            "completion": completions[i].text,
            "finished": completions[i].finished,
            "raw": float(raw[i]),
        }
        for i in dict.fromkeys(chosen.tolist())
    ]
    kept = {"dtype": _name(dtype), "probes": rows}
    (run / PROBES).write_text(json.dumps(kept, indent=1), encoding="utf-8")


def kept_probes(run: Path) -> tuple[list[Completion], Array, str]:
    """(completions, head outputs (N,), precision) as `keep_probes` noted them; none without."""
    if not (run / PROBES).is_file():
        return [], np.zeros(0), ""
    kept = json.loads((run / PROBES).read_text(encoding="utf-8"))
    rows = kept["probes"]
    completions = [
        Completion(make_prompt(r["prompt"]), r["completion"], r["finished"]) for r in rows
    ]
    return completions, np.array([r["raw"] for r in rows]), kept["dtype"]


def hard_probes(tokenizer: PreTrainedTokenizerBase, max_tokens: int | None) -> list[Completion]:
    """Completions that a careless path gets wrong."""
    plain = make_prompt("What is a good answer?")
    chat = make_prompt(
        [
            {"role": "user", "content": "Is it raining?"},
            {"role": "assistant", "content": "\nYes, it is."},
            {"role": "user", "content": "And tomorrow?  "},
        ]
    )
    told = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who are you?"}]
    marks = " ".join(tokenizer.all_special_tokens)
    long = "and so it went on, " * (max_tokens or 512)
    probes = [
        Completion(plain, "A short one.", True),
        Completion(plain, "A short one.", False),
        Completion(plain, "", True),
        Completion(plain, "", False),
        Completion(plain, "\n\n  A line break first, blanks last.  \n", True),
        Completion(plain, "Zażółć 你好 🙂‍↔️ \u202eright to left\u202c, e\u0301", True),
        Completion(plain, f"The marks {marks} stand in this text.", True),
        Completion(plain, f"It ends with padding {tokenizer.pad_token}", False),
        Completion(plain, long, True),
        Completion(make_prompt(long), "No.", True),
        Completion(make_prompt(f"What are {marks} for?"), "For turns.", True),
        Completion(chat, " Dry.", True),
    ]
    return probes + ([Completion(make_prompt(told), "A model.", True)] if _takes(tokenizer) else [])


def _takes(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template takes a system's turn."""
    turns = [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]
    try:
        render_prompt(tokenizer, make_prompt(turns))
    except ValueError:
        return False
    return True


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
