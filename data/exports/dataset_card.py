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

from data.exports.columns import Row
from data.exports.training_rows import FINISHED, UNSTATED_STRENGTH, Table
from data.schema import canonical_json, now
from data.splits import SPLITS, TEST_SHARE, VALIDATION_SHARE

CARD, MANIFEST = "README.md", "manifest.json"
MAKER = "coach"

TITLES = {
    "trl-preference": "Preferences between completions",
    "trl-unpaired": "Completions called good or bad",
    "scalar": "Rated completions",
    "trl-prompts": "Prompts",
}
_WHAT = {
    "trl-preference": """One row is a pair of completions of one prompt, and which of them more
annotators preferred. TRL's RewardTrainer and DPOTrainer read it as it is.""",
    "trl-unpaired": """One row is a completion, and whether more annotators called it good or bad.
TRL's KTOTrainer reads it as it is.""",
    "scalar": """One row is a completion, and how it was rated from 1 to 10. `labels` is the target
of a regression with one output, under the name that models of transformers take it by
(`AutoModelForSequenceClassification`, `num_labels=1`); render `prompt + completion` with the
tokenizer's chat template and tokenize it.""",
    "trl-prompts": """One row is a prompt. TRL's GRPOTrainer reads it as it is; train on the train
split, the others are there to compare policies on.""",
}
_ONE_VOTE = """Every annotator counts once in a row: of two answers to the same question, whichever
completion stood on which side, the later one."""
_HOW = {
    "trl-preference": f"""{_ONE_VOTE}

- A vote's strength is 1 (slightly better), 2 (clearly) or 3 (much); a vote that states none counts
  as {UNSTATED_STRENGTH}, the least that it can mean.
- `margin` is the mean over all votes: the strength of a vote for chosen, 0 for a tie, minus the
  strength of a vote for rejected. It is never below 0. RewardTrainer subtracts it from the
  difference of the two rewards inside its loss; divide it for milder margins, and
  `dataset.remove_columns("margin")` gives the plain loss.
- `weight` is the votes for chosen less those for rejected, for a trainer that weighs rows; TRL's
  do not read it. `votes_chosen / (votes_chosen + votes_rejected)` is a soft target.""",
    "trl-unpaired": f"""{_ONE_VOTE} `label` is what most of them said; `weight` is by how
many votes, for a trainer that weighs rows (TRL's do not read it).""",
    "scalar": f"""{_ONE_VOTE}

- `labels`: each rating is brought to its annotator's own scale (less the annotator's mean, over the
  annotator's spread), then the mean is taken over annotators. Means and spreads come from ratings
  of the train split alone, and are drawn towards everybody's where an annotator gave few.
- `score` is the plain mean of the ratings, brought from 1..10 to 0..1, whoever gave them.""",
}
_CUT_OFF = """A chat template closes every completion as if it had ended by itself, cut off or not:
to keep cut-off ones out, `dataset.filter(lambda row: row["finished"])`."""
_SPLITS = f"""A hash of the prompt decides, so all rows of a prompt are on one side, and stay there
in every later export: {1 - TEST_SHARE - VALIDATION_SHARE:.0%} of prompts are train,
{VALIDATION_SHARE:.0%} validation, {TEST_SHARE:.0%} test. A split without rows has no file. Do not
train on test."""
_LICENCE = """Unknown. It depends on where the prompts come from, on which models wrote the
completions, and on what the annotators agreed to: settle it before passing the data on."""


def table_card(format: str, table: Table) -> str:
    """The card of a folder of rows for a trainer, as the Hugging Face Hub reads it.

    It names no annotator and quotes no text.
    """
    files = [f"  - split: {side}\n    path: {side}.parquet" for side in SPLITS if table.rows[side]]
    head = ["configs:", "- config_name: default", "  data_files:", *files]
    rows = [[side, len(table.rows[side]), _prompts(table.rows[side])] for side in SPLITS]
    behind = (
        f"From {table.judgements:,} judgements by {table.annotators:,} annotators, who are counted"
        " here and not named."
        if table.judgements
        else ""
    )
    parts = [
        _front(TITLES[format], head),
        f"# {TITLES[format]}",
        _WHAT[format],
        "## What is in it",
        _markdown_table(("split", "rows", "prompts"), rows),
        behind,
        *_counted("Also counted", table.facts),
        *_counted("Left out", table.left_out),
        "## Columns",
        _markdown_table(
            ("column", "type", "meaning"),
            [[f"`{c.name}`", c.type, c.meaning] for c in table.columns],
        ),
        "A conversation is a list of turns, each with `role` and `content`.",
        _CUT_OFF if FINISHED in table.columns else "",
        *(["## How rows are made", _HOW[format]] if format in _HOW else []),
        *("## Splits", _SPLITS, "## Licence", _LICENCE),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def exchange_card(
    written: Mapping[str, int], left_out: Mapping[str, int], annotators: int, file: str
) -> str:
    """The card of a folder that holds everything in the exchange format."""
    parts = [
        _front("Everything that is stored", ["viewer: false"]),
        "# Everything that is stored",
        f"""`{file}` holds prompts, demonstrations, documents, completions and judgements as JSON
lines, losslessly: `python -m data import {file}` into an empty store, and an export again gives the
same file. It is one file and not split, because the order of its lines matters; a prompt's side
follows from a hash of it wherever it is read.""",
        "## What is in it",
        _markdown_table(("lines", "written"), [[kind, n] for kind, n in written.items()]),
        f"Judgements carry their annotator's name ({annotators:,} of them) and comments, and those"
        " that were taken back are in it too: mind whom you pass it on to.",
        *_counted("Left out", left_out),
        *("## Licence", _LICENCE),
    ]
    return "\n\n".join(parts) + "\n"


def manifest(
    format: str,
    files: Mapping[str, bytes],
    rows: Mapping[str, Sequence[Row]],
    left_out: Mapping[str, int],
) -> bytes:
    """What was written, as JSON: each file with its bytes, rows and SHA-256.

    `content_sha256` is over the rows themselves, file by file, each as JSON with sorted keys and no
    spaces and a newline after it: it is the same whatever wrote the files.
    """
    content = hashlib.sha256()
    for file_rows in rows.values():
        for row in file_rows:
            content.update(canonical_json(row).encode() + b"\n")
    said: dict[str, Any] = {
        "made_by": MAKER,
        "version": _version(),
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


def _version() -> str:
    try:
        return metadata.version("coach")
    except metadata.PackageNotFoundError:
        return "not installed"


def _front(title: str, lines: Sequence[str]) -> str:
    """The YAML at the top, which the Hub and load_dataset read."""
    tags = ["tags:", "- human-feedback", "- coach"]
    return "\n".join(["---", f"pretty_name: {title}", "license: unknown", *tags, *lines, "---"])


def _prompts(rows: Sequence[Row]) -> int:
    return len({canonical_json(row["prompt"]) for row in rows})


def _counted(title: str, counts: Mapping[str, int]) -> list[str]:
    """A section of counts; nothing where all are 0."""
    lines = [f"- {reason}: {n:,}" for reason, n in sorted(counts.items()) if n]
    return [f"## {title}", "\n".join(lines)] if lines else []


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
