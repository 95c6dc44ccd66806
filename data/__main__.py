"""The store from the shell.

python -m data init                              make a workspace
python -m data import FILE [--skip-bad OUT]      read judgements, prompts, ... from a file
python -m data export --format F OUT             write the store to a folder or a file
python -m data stats                             what is stored
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import tyro

from data import runs
from data.exports import Format, export
from data.imports import ImportReport, import_file
from data.imports.details import Details
from data.imports.detection import Shape
from data.imports.files.readers import open_table
from data.imports.limits import ImportProgress, Limits, confined
from data.imports.published import find_recipe
from data.places.store_address import FILE_NAME
from data.runs.recorder import recording
from data.self_identification import names_maker
from data.settings import Place, RunPlace, parse_arguments, run_command
from data.splits import SPLITS, split_of
from data.stats.estimate import text_table
from data.store import STORE_VARIABLE, Store


@dataclass(frozen=True, kw_only=True)
class Init(Place):
    """Make a workspace: its folder and an empty store. One that is there stays as it is."""

    def run(self) -> None:
        with self.open() as store:
            print(f"store ready: {store.shown}")


@dataclass(frozen=True, kw_only=True)
class Import(Details, RunPlace):
    """Read a file into the store, all of it or nothing; its format is told from its columns."""

    file: Annotated[Path, tyro.conf.Positional]
    """JSON lines, JSON, CSV, TSV, Parquet, a folder of save_to_disk, or a Hugging Face dataset's
    id OWNER/NAME."""
    shape: Annotated[Shape | None, tyro.conf.arg(name="as")] = None
    """Read the rows in this format instead of telling it from their columns."""
    recipe: str | None = None
    """Read a published data set: pandalm or tulu_human_eval."""
    annotator: str | None = None
    """Name of the annotator, where the data does not say who judged."""
    skip_bad: Path | None = None
    """Leave bad rows out and write them to this file, each with its number and the reason."""
    limits: Limits = field(default_factory=Limits)
    """How much it may take; a file that needs more is refused."""

    def run(self) -> None:
        if self.run_id:
            self._run_for_browser()
            return
        self.check()
        if self.recipe is not None:
            find_recipe(self.recipe)
        open_table(self.file)  # what cannot be read makes no store
        with self.open() as store:
            report = self._read(store, ImportProgress(self.limits))
        print(f"read {self.file} as {report.read_as}")
        _print_table(
            ("lines", "read", "new", "already there"),
            [(k, n, report.new[k], report.already_there[k]) for k, n in report.read.items()],
        )
        for reason, n in report.left_out.items():
            print(f"{n} x {reason}")
        if self.skip_bad is not None:
            print(f"skipped {report.skipped}, listed in {self.skip_bad}")
        if report.named:
            print(report.named.sentence())

    def _run_for_browser(self) -> None:
        """As a run, whose page shows how far it is, and can stop it until it is published."""
        with self.open() as store:
            told = {f.name: getattr(self, f.name) for f in fields(Details)}
            config = {"file": self.file.name, "annotator": self.annotator, **told}
            try:
                with recording(store, self.workspace, "import", config, self.run_id) as recorder:
                    self.check()

                    def tell(words: str) -> None:
                        recorder.progress(0, 0, words)
                        recorder.check_stop()

                    report = self._read(store, ImportProgress(self.limits, tell))
                    said = {"named": report.named.sentence(), "read_as": report.read_as}
                    counts = {"read": report.read, "new": report.new, "left_out": report.left_out}
                    recorder.report(said | counts)
            finally:
                runs.remove_incoming(self.workspace, self.file)

    def _read(self, store: Store, watch: ImportProgress) -> ImportReport:
        with confined(self.limits, self.file):
            return import_file(
                store,
                self.file,
                self.skip_bad,
                shape=self.shape,
                recipe=self.recipe,
                columns=self.renamed(),
                annotator=self.annotator,
                people=self.meant(),
                scale=self.scale,
                source=self.source,
                turns=self.turns,
                texts=self.texts,
                watch=watch,
            )


@dataclass(frozen=True, kw_only=True)
class Export(Place):
    """Write the store to a folder or a file; it appears whole or not at all."""

    out: Annotated[Path, tyro.conf.Positional]
    """A folder, for the data with card and manifest (an earlier export in it is replaced), or one
    file ending in .jsonl or .parquet."""
    format: Format = "exchange"
    """exchange: everything, losslessly. trl-preference: prompt, chosen, rejected, margin from
    pairwise judgements. trl-unpaired: prompt, completion, label from good/bad ones. scalar: prompt,
    completion, labels from ratings. trl-prompts: prompts."""

    def run(self) -> None:
        with _open_existing(self) as store:
            report = export(store, self.out, self.format)
        print(f"wrote {self.out}")
        unit = "lines" if self.format == "exchange" else "rows"
        _print_table((unit, "written"), [*report.written.items()])
        for reason, n in report.left_out.items():
            print(f"left out: {n} ({reason})")


@dataclass(frozen=True, kw_only=True)
class Stats(Place):
    """What is stored, and how far its judgements can be trusted."""

    json: bool = False
    """Print the statistics of the judgements alone, as one JSON object."""

    def run(self) -> None:
        from data.quality.store_report import quality_report
        from data.quality.text import quality_lines  # scipy: the other commands start without it

        with _open_existing(self) as store:
            report = quality_report(store)
            if self.json:
                print(json.dumps(report.as_dict()))
                return
            counts = store.content.counts()
            splits = Counter(split_of(p) for p in store.content.prompts())
            annotators, models = store.ledger.by_annotator(), store.content.models()
            named = sum(1 for text in store.content.texts() if names_maker(text))
            print(store.shown)
        names = ("prompts", "demonstrations", "documents", "completions")
        _print_table(("stored", "count"), [(name, getattr(counts, name)) for name in names])
        _print_table(("prompts", "count"), [(split, splits[split]) for split in SPLITS])
        _print_table(("judgements", "count"), list(counts.judgements.items()))
        print(f"judgements still wanted: {counts.tasks_open}")
        print(f"completions that name their maker: {named}")
        _print_table(("annotator", "judgements"), sorted(annotators.items()))
        _print_table(("model", "completions"), sorted(models.items()))
        print("\n".join(["", *quality_lines(report.quality)]))


def _open_existing(place: Place) -> Store:
    """The store of this place; ValueError if it was never made."""
    file = place.workspace if place.workspace.suffix == ".db" else place.workspace / FILE_NAME
    if not (place.store or os.environ.get(STORE_VARIABLE) or file.exists()):
        raise ValueError(f"no store at {file}: name its --workspace, or make one with coach init")
    return place.open()


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str | int, ...]]) -> None:
    """Nothing at all without rows."""
    if rows:
        print("\n".join(text_table(head, rows, numbers=True)))


Command = (
    Annotated[Init, tyro.conf.subcommand("init")]
    | Annotated[Import, tyro.conf.subcommand("import")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Stats, tyro.conf.subcommand("stats")]
)


def main() -> int:
    description = (__doc__ or "").partition("\n")[0]
    return run_command(lambda: parse_arguments(Command, "python -m data", description).run())


if __name__ == "__main__":
    sys.exit(main())
