"""Model folders with one thing wrong or unusual, made from a tiny one that is right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerBase

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 988097824\n"
)


def variant(base: Path, folder: Path) -> Path:
    """A copy to change."""
    shutil.copytree(base, folder)
    return folder


def edit_json(path: Path, changes: Mapping[str, Any]) -> None:
    """Change keys of a JSON file; None removes one."""
    value = json.loads(path.read_text(encoding="utf-8")) | dict(changes)
    kept = {key: v for key, v in value.items() if v is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def edit_tokenizer(folder: Path, change: Callable[[PreTrainedTokenizerBase], object]) -> None:
    """Load the tokenizer, change it, save it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    change(tokenizer)
    tokenizer.save_pretrained(folder)


def edit_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Load the weights, change them, save them."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def add_tokens(folder: Path, *texts: str, special: bool = True) -> None:
    """Give the tokenizer more tokens, for which the model has no rows."""
    new = [AddedToken(text, special=special, normalized=False) for text in texts]
    edit_tokenizer(folder, lambda tokenizer: tokenizer.add_tokens(new, special_tokens=special))
