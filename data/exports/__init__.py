"""Files out: the exchange format, and what trainers read.

    export(store, Path("out"), "trl-preference")     # a folder: files by split, card, manifest
    export(store, Path("all.jsonl"), "exchange")     # one file

An export of the exchange format, imported into an empty store and exported again, is the same file.

training_rows  judgements to rows for trainers
dataset_card   the card and the manifest beside them
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from data.atomic_files import write_bytes, write_folder
from data.exchange.lines import ExchangeItem, to_line
from data.exports import dataset_card, training_rows
from data.exports.training_rows import Column, ExportTable, to_parquet
from data.schema import JsonObject, Judgement, Kind
from data.splits import SPLITS
from data.store import Store
from data.store.content import load_demonstrations, load_documents, load_generations, load_prompts
from data.store.control_tasks import load_gold
from data.store.history import load_records, load_unattributed

Format = Literal["exchange", "trl-preference", "trl-unpaired", "scalar", "trl-prompts"]
FORMATS: tuple[Format, ...] = get_args(Format)
EXCHANGE_FILE = "exchange.jsonl"
_JUDGED: Mapping[str, tuple[Kind, Callable[[Sequence[Judgement]], ExportTable]]] = {
    "trl-preference": ("pairwise", training_rows.preference_table),
    "trl-unpaired": ("binary", training_rows.unpaired_table),
    "scalar": ("scalar", training_rows.rating_table),
}


@dataclass(frozen=True)
class ExportReport:
    """What was written, by type of line or by split, and what was left out, by reason."""

    written: dict[str, int]
    left_out: dict[str, int]


def export(store: Store, out: Path, format: Format = "exchange") -> ExportReport:
    """Write the store to a folder, or to one file where `out` ends in .jsonl or .parquet.

    exchange: everything but people, tasks and runs, losslessly. trl-preference: a row for each pair
    that was judged. trl-unpaired and scalar: a row for each completion that was called good or bad,
    or rated. trl-prompts: the prompts. `data.exports.training_rows` says how.

    It appears whole or not at all. Raises ValueError for an unknown format, an `out` that is
    something else, and where there is nothing to write.
    """
    out = Path(out)
    check_format(format)
    if out.suffix in (".jsonl", ".parquet"):
        return export_file(store, out, format)
    if out.suffix[1:].isalpha():
        raise ValueError(
            f"{out} ends in {out.suffix}: name a folder, or a file ending in .jsonl or .parquet"
        )
    return export_folder(store, out, format)


def export_file(store: Store, path: Path, format: Format = "exchange") -> ExportReport:
    """Write one file: Parquet where it ends so, else JSON lines.

    Trainers' rows carry their split in a column of its own; there is no card and no manifest.
    """
    path = Path(path)
    check_format(format)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file in it")
    parquet = path.suffix == ".parquet"
    if format == "exchange":
        if parquet:
            raise ValueError(f"exchange is JSON lines: name {path.stem}.jsonl, not {path.name}")
        lines, report = _exchange_lines(store)
        content = _as_json_lines(lines)
    else:
        table, report = _training_table(store, format)
        rows = [{**row, "split": side} for side in SPLITS for row in table.rows[side]]
        columns = (*table.columns, Column("split", "text", "train, validation or test"))
        content = to_parquet(columns, rows) if parquet else _as_json_lines(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    return report


def export_folder(store: Store, folder: Path, format: Format = "exchange") -> ExportReport:
    """Write a folder: a file for each split (exchange: one), the dataset card, the manifest.

    A split without rows has no file: load_dataset cannot read one, and then reads none of them.
    An earlier export makes way; any other folder that holds something is refused.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(
            f"{folder} is a file: name a folder, or a file ending in .jsonl or .parquet"
        )
    if folder.resolve() == Path.cwd():
        raise ValueError(f"{folder} is the folder you are in: name another, or one in it")
    ours = dataset_card.read_manifest(folder)
    foreign = sorted({p.name for p in folder.iterdir()} - ours) if folder.exists() else []
    if foreign:
        what = "and is no earlier export" if not ours else "which no export wrote"
        raise ValueError(f"{folder} holds {foreign[0]} {what}: name another folder, or empty it")
    files, report = _make_files(store, format)
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    write_folder(folder, files)
    return report


def export_zip(store: Store, path: Path, format: Format = "exchange") -> ExportReport:
    """Write what `export_folder` writes as a zip file of one folder."""
    path = Path(path)
    files, report = _make_files(store, format)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(f"{path.stem}/{name}")  # its date stays 1980: bytes are equal
            entry.external_attr = 0o644 << 16  # else unzip makes files that nobody may read
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, packed.getvalue())
    return report


def check_format(format: object) -> None:
    """ValueError for anything that is none of FORMATS."""
    if format not in FORMATS:
        raise ValueError(f"format {format!r} unknown: use {', '.join(FORMATS)}")


def _make_files(store: Store, format: Format) -> tuple[dict[str, bytes], ExportReport]:
    """The files of a folder, and what they hold."""
    check_format(format)
    if format == "exchange":
        lines, report = _exchange_lines(store)
        files = {EXCHANGE_FILE: _as_json_lines(lines)}
        rows = {EXCHANGE_FILE: lines}
        people = len({line["annotator"] for line in lines if "annotator" in line})
        card = dataset_card.exchange_card(report.written, report.left_out, people, EXCHANGE_FILE)
    else:
        table, report = _training_table(store, format)
        rows = {f"{side}.parquet": table.rows[side] for side in SPLITS if table.rows[side]}
        files = {name: to_parquet(table.columns, rows[name]) for name in rows}
        card = dataset_card.table_card(format, table)
    files[dataset_card.CARD] = card.encode()
    files[dataset_card.MANIFEST] = dataset_card.manifest(format, files, rows, report.left_out)
    return files, report


def _as_json_lines(rows: Sequence[JsonObject]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _exchange_lines(store: Store) -> tuple[list[JsonObject], ExportReport]:
    with store.database.read() as connection:
        prompts = load_prompts(connection)
        nouns: list[ExchangeItem] = list(prompts.values())
        nouns += load_demonstrations(connection, prompts)
        nouns += load_documents(connection)
        nouns += load_generations(connection, prompts)
        nouns += load_unattributed(connection, prompts)
        nouns += load_records(connection, prompts)
        nouns += load_gold(connection, prompts)
    lines = [to_line(noun) for noun in nouns]
    if not lines:
        raise ValueError("the store holds nothing to export yet: import something first")
    return lines, ExportReport(dict(Counter(line["type"] for line in lines)), {})


def _training_table(store: Store, format: Format) -> tuple[ExportTable, ExportReport]:
    """A trainer's rows; ValueError where there are none."""
    if format == "trl-prompts":
        table = ExportTable((training_rows.PROMPT,))
        for prompt in store.content.prompts():
            table.add(prompt, {})
        missing = "no prompts are stored yet: import some"
    else:
        kind, make = _JUDGED[format]
        table = make(store.ledger.judgements([kind]))
        missing = f"no {kind} judgements for {format}: collect some, or choose another format"
    left_out = {reason: n for reason, n in table.left_out.items() if n}
    written: dict[str, int] = {side: len(table.rows[side]) for side in SPLITS}
    if not any(written.values()):
        reasons = ", ".join(f"{reason}: {n}" for reason, n in left_out.items())
        raise ValueError(f"no row is left for {format} ({reasons})" if reasons else missing)
    return table, ExportReport(written, left_out)
