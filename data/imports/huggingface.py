"""Datasets of the Hugging Face hub, by id. The one place that loads the library `datasets`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECONDS = 10.0
"""How long the hub may take to answer before it counts as out of reach."""


def is_id(path: Path) -> bool:
    """Whether this may be meant as OWNER/NAME: of two parts, and of no folder that is here."""
    meant = re.fullmatch(r"[\w.-]+/[\w.-]+", str(path))
    return bool(meant) and not path.parent.exists() and path.suffix.lower() not in _FILES


_FILES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".arrow")


def parts(name: str) -> Iterator[tuple[str, Iterator[Any]]]:
    """Each split's name with its Arrow batches. Raises ValueError in one line where it fails."""
    import datasets
    import huggingface_hub
    from huggingface_hub import constants

    huggingface_hub.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        if not constants.HF_HUB_OFFLINE:  # asked once: loading would try six times
            huggingface_hub.HfApi().dataset_info(name, timeout=SECONDS)
        loaded = datasets.load_dataset(name)
    except Exception as error:  # whatever the two libraries and their network stack raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{name} is no file here, and the Hugging Face hub did not give a dataset of that id "
            f"({reason}): check the path, the id and the network"
        ) from None
    splits = loaded if isinstance(loaded, dict) else {"": loaded}
    for split, rows in splits.items():
        yield f"{name} ({split})" if split else name, iter(rows.with_format("arrow").iter(1024))
