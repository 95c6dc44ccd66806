"""Hugging Face datasets, by id or saved to disk: the one place that loads `datasets`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datasets
    import pyarrow

    Batches = Iterator[pyarrow.Table | pyarrow.RecordBatch]

SECONDS = 10.0
"""How long the hub may take to answer before it counts as out of reach."""
_FILES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".arrow")


def is_id(path: Path) -> bool:
    """Whether this may be meant as OWNER/NAME: of two parts, and of no folder that is here."""
    meant = re.fullmatch(r"[\w.-]+/[\w.-]+", str(path))
    return bool(meant) and not path.parent.exists() and path.suffix.lower() not in _FILES


def download(name: str) -> Iterator[tuple[str, Batches]]:
    """Each split's name with its Arrow tables, fetched when the first is asked for.

    Raises ValueError in one line where it fails.
    """
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
    for split, rows in (loaded if isinstance(loaded, dict) else {"": loaded}).items():
        yield f"{name} ({split})" if split else name, _arrow_tables(rows)


def read_saved(folder: Path) -> Iterator[tuple[str, Batches]]:
    """The same of a folder that `save_to_disk` wrote."""
    if not any((folder / name).exists() for name in ("dataset_dict.json", "state.json")):
        raise ValueError(
            f"{folder} is a folder, and no dataset that save_to_disk wrote: name one file in it"
        )
    import datasets

    try:
        loaded = datasets.load_from_disk(folder)
    except Exception as error:  # of pyarrow, json or the system, whatever is damaged
        raise ValueError(
            f"{folder} is damaged or cut short ({type(error).__name__}): save the dataset again"
        ) from None
    splits = loaded if isinstance(loaded, dict) else {"": loaded}
    return ((str(folder / split), _arrow_tables(rows)) for split, rows in splits.items())


def _arrow_tables(rows: datasets.Dataset) -> Batches:
    return iter(rows.with_format("arrow").iter(1024))
