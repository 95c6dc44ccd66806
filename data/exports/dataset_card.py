"""What lies beside exported data: a card for people, and a manifest by which it can be checked.

Both are the same for the same content, but for the manifest's `created_at`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from data.exports.training_rows import UNSTATED_STRENGTH, ExportTable
from data.schema import JsonObject, canonical_json, now
from data.splits import SPLITS, TEST_SHARE, VALIDATION_SHARE

CARD, MANIFEST = "README.md", "manifest.json"
MAKER = "coach"
TEMPLATE = Path(__file__).parent / "templates" / "dataset_card.md.j2"
TITLES = {
    "exchange": "Everything that is stored",
    "trl-preference": "Preferences between completions",
    "trl-unpaired": "Completions called good or bad",
    "scalar": "Rated completions",
    "trl-prompts": "Prompts",
}


def table_card(format: str, table: ExportTable) -> str:
    """The card of a folder of rows for a trainer, as the Hugging Face Hub reads it.

    It names no annotator and quotes no text.
    """
    files = [{"split": s, "path": f"{s}.parquet"} for s in SPLITS if table.rows[s]]
    prompts = {s: {canonical_json(row["prompt"]) for row in table.rows[s]} for s in SPLITS}
    return _render_card(
        format,
        {"configs": [{"config_name": "default", "data_files": files}]},
        head=("split", "rows", "prompts"),
        rows=[(side, len(table.rows[side]), len(prompts[side])) for side in SPLITS],
        judgements=table.judgements,
        annotators=table.annotators,
        facts=table.facts,
        left_out=table.left_out,
        columns=[(f"`{c.name}`", c.type, c.meaning) for c in table.columns],
        unstated_strength=UNSTATED_STRENGTH,
        shares={
            "train": 1 - TEST_SHARE - VALIDATION_SHARE,
            **{"validation": VALIDATION_SHARE, "test": TEST_SHARE},
        },
    )


def exchange_card(
    written: Mapping[str, int], left_out: Mapping[str, int], annotators: int, file: str
) -> str:
    """The card of a folder that holds everything in the exchange format."""
    return _render_card(
        "exchange",
        {"viewer": False},
        head=("lines", "written"),
        rows=list(written.items()),
        annotators=annotators,
        facts={},
        left_out=left_out,
        file=file,
    )


def _render_card(format: str, for_hub: JsonObject, **facts: Any) -> str:
    """The template filled in, with the YAML on top that the Hub and load_dataset read."""
    from huggingface_hub import DatasetCard, DatasetCardData  # half a second, for exports alone

    title = TITLES[format]
    tags = ["human-feedback", MAKER]
    on_top = DatasetCardData(pretty_name=title, license="unknown", tags=tags, **for_hub)
    facts |= {"format": format, "title": title}
    card = DatasetCard.from_template(on_top, template_path=str(TEMPLATE), **facts)
    return str(card).rstrip() + "\n"


def manifest(
    format: str,
    files: Mapping[str, bytes],
    rows: Mapping[str, Sequence[JsonObject]],
    left_out: Mapping[str, int],
) -> bytes:
    """What was written, as JSON: each file with its bytes, rows and SHA-256.

    `content_sha256` is over the rows themselves, file by file, each as JSON with sorted keys and no
    spaces and a newline after it: it is the same whatever wrote the files.
    """
    try:
        version = metadata.version("coach")
    except metadata.PackageNotFoundError:
        version = "not installed"
    content = hashlib.sha256()
    for file_rows in rows.values():
        for row in file_rows:
            content.update(canonical_json(row).encode() + b"\n")
    said = {
        "made_by": MAKER,
        "version": version,
        "created_at": now(),
        "format": format,
        "content_sha256": content.hexdigest(),
        "files": [
            {
                "name": name,
                "bytes": len(held),
                "rows": len(rows[name]) if name in rows else None,
                "sha256": hashlib.sha256(held).hexdigest(),
            }
            for name, held in files.items()
        ],
        "left_out": dict(left_out),
    }
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def read_manifest(folder: Path) -> set[str]:
    """Names of the files that an export wrote into this folder; none where no export did."""
    try:
        said = json.loads((folder / MANIFEST).read_bytes())
        if said["made_by"] != MAKER:
            return set()
        return {MANIFEST, *(str(file["name"]) for file in said["files"])}
    except (OSError, ValueError, TypeError, KeyError):
        return set()
