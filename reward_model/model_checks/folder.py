"""The files of a model's folder, read as far as it takes to know that they are whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

POINTER = b"version https://git-lfs"
"""What a Git LFS pointer begins with."""
AGAIN = "copy or download it again"
PULL = "it is a Git LFS pointer, not the file itself: run git lfs pull in that folder"
TOKENIZER_SETTINGS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model",
    "sentencepiece.bpe.model", "tekken.json",
)  # fmt: skip
"""Files of which a tokenizer has at least one."""
MAY_READ = "check who may read it"
NO_WEIGHTS = (
    "copy them into it, or convert the model with save_pretrained of transformers, which writes"
    " model.safetensors"
)


def check_model(folder: Path, tokenizer: bool = True) -> None:
    """ValueError where configuration, tokenizer or weights are missing, pointers or damaged.

    tokenizer: whether there must be one; an adapter may bring its own.
    """
    there = (folder / "config.json").is_file()
    facts = read_json_file(folder / "config.json") if there else {}
    if not there or ("model_type" not in facts and not has_tokenizer(folder)):  # or a run's
        raise ValueError(
            f"{str(folder)!r} holds no model (config.json, model.safetensors): name a finished run,"
            " a model's folder, or an adapter's (with adapter_config.json)"
        )
    if (folder / "generation_config.json").is_file():  # else its end tokens would be lost unseen
        read_json_file(folder / "generation_config.json")
    if tokenizer and not has_tokenizer(folder):
        raise ValueError(
            f"{str(folder)!r} holds no tokenizer: copy tokenizer.json and tokenizer_config.json of"
            " the model it was made from into it"
        )
    check_tokenizer(folder)
    check_weights(folder, "model", "pytorch_model")


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer with a vocabulary lies in the folder."""
    found = any((folder / name).is_file() for name in VOCABULARIES)
    return found or any(folder.glob("*.tiktoken"))


def check_tokenizer(folder: Path) -> None:
    """ValueError for a tokenizer's file that is a pointer or no JSON."""
    for name in (*TOKENIZER_SETTINGS, *VOCABULARIES):
        path = folder / name
        if path.suffix == ".json" and path.is_file():
            read_json_file(path)
        elif path.is_file():
            check_pointer(path)


def check_weights(folder: Path, safe: str, pickled: str) -> None:
    """ValueError where the weights of these names are missing, pointers, or cut short.

    safe, pickled: their files' names without ending, as safetensors and as torch saves them.
    """
    for stem, ending in ((safe, ".safetensors"), (pickled, ".bin")):
        whole, index = folder / f"{stem}{ending}", folder / f"{stem}{ending}.index.json"
        if whole.is_file():
            return _check_files([whole])
        if index.is_file():
            return _check_files(_shards(index))
    others = sorted(
        path.name
        for ending in ("safetensors", "bin", "pt", "pth", "gguf", "msgpack", "h5", "ckpt")
        for path in folder.glob(f"*.{ending}")
        if path.is_file()
    )
    named = f" under a name that is read, only {others[0]}" if others else ""
    raise ValueError(
        f"{str(folder)!r} holds no weights{named} ({safe}.safetensors is missing): {NO_WEIGHTS}"
    )


def _shards(index: Path) -> list[Path]:
    """The files that an index names. Raises ValueError where one is missing."""
    named = read_json_file(index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ValueError(f"{str(index)!r} names no files (weight_map): {AGAIN}")
    paths = [index.parent / str(name) for name in sorted(set(map(str, named.values())))]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(paths)} weight files that {index.name} names are missing in"
            f" {str(index.parent)!r}, first {missing[0]}: {AGAIN}"
        )
    return paths


def _check_files(paths: Sequence[Path]) -> None:
    for path in paths:
        check_pointer(path)
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, framework="pt"):
                    pass
            except SafetensorError as error:
                raise ValueError(
                    f"{str(path)!r} is damaged or cut short ({first_line(error)}): {AGAIN}"
                ) from None


def check_pointer(path: Path) -> None:
    """ValueError for a Git LFS pointer, an empty file, or one that may not be read."""
    try:
        with path.open("rb") as stream:
            head = stream.read(len(POINTER))
    except OSError as error:
        raise ValueError(f"{str(path)!r} cannot be read ({error.strerror}): {MAY_READ}") from None
    if head == POINTER:
        raise ValueError(f"{str(path)!r} cannot be read: {PULL}")
    if not head:
        raise ValueError(f"{str(path)!r} is empty: {AGAIN}")


def read_json_file(path: Path) -> dict[str, Any]:
    """A file's JSON object. Raises ValueError for a pointer and for anything else."""
    check_pointer(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is not JSON ({first_line(error)}): {AGAIN}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{str(path)!r} is no JSON object: {AGAIN}")
    return value


def first_line(error: BaseException) -> str:
    """What an error says, in a line of at most 120 characters."""
    said = str(error).strip().splitlines() or [type(error).__name__]
    return said[0].strip()[:120]
