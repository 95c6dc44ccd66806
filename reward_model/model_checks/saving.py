"""What will be saved after a training, tried before it: nothing trained is lost at its end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from reward_model.model_checks.folder import first_line

GIB = 2**30
KEPT = ("bos_token_id", "eos_token_id", "pad_token_id")
"""Of a generation config that cannot be saved otherwise."""


def mend_generation_config(model: Any, say: Callable[[str], None] = print) -> None:
    """Make a model's generation config one that transformers saves; `say` hears what changed.

    Many models ship a temperature beside do_sample=false, which contradict each other and are
    refused when the model is saved: then they sample, as transformers advises. Parameters of
    sampling in config.json, where they are refused too, move to the generation config.
    """
    config = model.generation_config
    misplaced = model.config._get_generation_parameters()
    for name, value in misplaced.items():
        setattr(config, name, value)
        vars(model.config).pop(name, None)
    if misplaced:
        say(f"{', '.join(sorted(misplaced))}: moved from config.json to the generation config")
    reason = _refusal(config)
    if not reason:
        return
    if not config.do_sample:
        config.do_sample = True
        if not _refusal(config):
            say(f"its generation config contradicts itself ({reason}): do_sample is now true")
            return
    kept = {name: getattr(config, name, None) for name in KEPT}
    model.generation_config = GenerationConfig(**kept)
    say(f"its generation config is not valid ({reason}): only its tokens are kept")


def _refusal(config: GenerationConfig) -> str:
    """Why transformers would not save a generation config; empty where it would."""
    try:
        config.validate(strict=True)
    except (ValueError, TypeError) as error:
        lines = [line.strip(" -") for line in str(error).splitlines() if "`" in line]
        return (lines or [first_line(error)])[0][:120]
    return ""


def check_saving(
    folder: Path,
    size: int,
    tokenizer: PreTrainedTokenizerBase | None = None,
    model: Any = None,
) -> None:
    """Write all but the weights to a scratch folder inside `folder`, which goes again.

    size: bytes that the weights will take. model: where it will be saved whole. Raises ValueError
    where the disk has no room, or configuration or tokenizer cannot be saved; OSError where the
    folder cannot be written.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ValueError(
            f"what is trained takes {size / GIB:.1f} GiB, and {folder} has {free / GIB:.1f} GiB"
            " free: free some space, or use another --workspace"
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix=".try") as scratch:
        try:
            if tokenizer is not None:
                tokenizer.save_pretrained(scratch)
            if model is not None:
                model.config.save_pretrained(scratch)
                if model.can_generate():
                    model.generation_config.save_pretrained(scratch)
        except OSError:
            raise
        except Exception as error:
            raise ValueError(
                f"the model could not be saved after training ({first_line(error)}): correct its"
                " config.json, generation_config.json or tokenizer_config.json"
            ) from error
