"""Files out: lossless, whole or not at all, and each with what says what it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data.atomic_files import write_folder
from data.exports import FORMATS, Format, export, export_file, export_folder
from data.exports.training_rows import preference_table
from data.imports import import_file
from data.schema import Completion, Generation, make_prompt
from data.splits import SPLITS, split_of
from data.store import Store
from data.store import tables as t
from tests.data.imports.test_import_lines import BINARY, PAIR, SINGLE, standing, write
from tests.data.imports.test_import_lines import export as export_lines

TRAINERS: tuple[Format, ...] = ("trl-preference", "trl-unpaired", "scalar", "trl-prompts")
ASKED = {
    side: [q for q in map(str, range(200)) if split_of(make_prompt(q)) == side] for side in SPLITS
}
"""Prompts of each split."""


def fill(store: Store, folder: Path, sides: tuple[str, ...] = SPLITS) -> None:
    """Four prompts of each split, judged in every way by Quentin and Philippa."""
    rows: list[dict[str, Any]] = []
    for side in sides:
        for prompt in ASKED[side][:4]:  # type: ignore[index]
            for who, value, number in (("Quentin", "a", 8), ("Philippa", "a", 7)):
                said = {"prompt": prompt, "annotator": who, "comment": f"{who} says so"}
                rows += [
                    {**PAIR, **said, "value": value},
                    {**SINGLE, **said, "value": number},
                    {**SINGLE, **said, "value": number - 5, "completion": "y"},
                    {**BINARY, **said},
                ]
    import_file(store, write(folder / "filling.jsonl", *rows))


# -- the exchange format: nothing is lost ---------------------------------------------

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=8
).filter(lambda text: bool(text.strip()))
WORD = st.sampled_from(["x", "y", "z é", "a\u2028b"])
TURN = st.fixed_dictionaries({"role": st.sampled_from(["system", "assistant"]), "content": TEXT})
PROMPT = st.one_of(
    st.sampled_from(["q1", "q2"]),
    TEXT,
    st.tuples(st.lists(TURN, max_size=2), TEXT).map(
        lambda parts: [*parts[0], {"role": "user", "content": parts[1]}]
    ),
)
MOMENT = st.datetimes().map(lambda moment: moment.isoformat())
EVERY = {"created_at": MOMENT, "external_id": TEXT}
JUDGED = {
    **EVERY,
    **{"comment": TEXT, "seconds": st.floats(0, 1e6), "retracted_at": MOMENT},
    "guidelines_version": st.integers(1, 9),
    "flags": st.lists(st.sampled_from(["harmful", "private"]), max_size=2, unique=True),
}
WHO = st.sampled_from(["ann", "bo", "cy é"])
FLAG = st.booleans()


def line(type: str, *, optional: Any = None, **columns: Any) -> Any:
    """Lines of one type: these columns always, the others or not."""
    always = {"type": st.just(type), **columns}
    return st.fixed_dictionaries(always, optional=EVERY if optional is None else optional)


def judgement(kind: str, values: Any, **more: Any) -> Any:
    optional = {**JUDGED, "finished": FLAG, "model": TEXT}
    columns = {"prompt": PROMPT, "annotator": WHO, "value": values}
    if kind == "pairwise":
        columns |= {"completion_a": WORD, "completion_b": WORD}
        optional = {**JUDGED, "finished_a": FLAG, "finished_b": FLAG, "model_a": TEXT, **more}
        optional |= {"both_bad": FLAG, "shown_first": st.sampled_from(["a", "b"])}
    else:
        columns["completion"] = WORD
    rows = line("judgement", kind=st.just(kind), **columns, optional=optional)
    return rows.filter(lambda row: kind != "pairwise" or row["completion_a"] != row["completion_b"])


SAMPLING = st.dictionaries(TEXT, st.floats(0, 2), max_size=2)
ROW = st.one_of(
    line("prompt", prompt=PROMPT, optional={**EVERY, "tags": st.lists(TEXT, max_size=2)}),
    line("demonstration", prompt=PROMPT, completion=TEXT),
    line("document", text=TEXT),
    line("completion", prompt=PROMPT, completion=WORD, optional={**EVERY, "finished": FLAG}),
    line(
        "completion",
        **{"prompt": PROMPT, "completion": WORD, "model": TEXT},
        optional={**EVERY, "finished": FLAG, "sampling": SAMPLING},
    ),
    judgement("scalar", st.integers(1, 10)),
    judgement("binary", FLAG),
    judgement("pairwise", st.sampled_from(["a", "b"]), strength=st.integers(1, 3)),
    judgement("pairwise", st.just("tie")),
)
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)  # minutes to shrink
MANY = settings(
    max_examples=15,
    deadline=None,
    phases=UNSHRUNK,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def empty(store: Store) -> None:
    with store.database.write() as connection:
        for table in reversed(t.metadata.sorted_tables):
            connection.execute(table.delete())


@MANY
@given(rows=st.lists(ROW, min_size=1, max_size=15))
def test_export_import_export_is_byte_equal(
    store: Store, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    empty(store)
    import_file(store, write(tmp_path / "in", *rows), tmp_path / "bad")  # an id of two things
    stood, first = standing(store), export_lines(store, tmp_path / "first")
    assert sum(import_file(store, first).new.values()) == 0
    empty(store)
    import_file(store, first)
    assert export_lines(store, tmp_path / "second").read_bytes() == first.read_bytes()
    assert standing(store) == stood


def test_a_round_trip_between_engines(store: Store, tmp_path: Path) -> None:
    rows = [{**PAIR, "value": v, "seconds": 1.1, "comment": "é"} for v in ("a", "b", "tie")]
    import_file(store, write(tmp_path / "in", {"type": "prompt", "prompt": "Z"}, SINGLE, *rows))
    first = export_lines(store, tmp_path / "first")
    with Store.open(tmp_path / "other") as other:
        import_file(other, first)
        assert export_lines(other, tmp_path / "second").read_bytes() == first.read_bytes()


def test_the_folder_of_everything_holds_the_same_file(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path)
    report = export(store, tmp_path / "out")
    assert report == export(store, tmp_path / "one.jsonl")
    assert report.written["judgement"] == 96
    lines = (tmp_path / "out" / "exchange.jsonl").read_bytes()
    assert lines == (tmp_path / "one.jsonl").read_bytes()
    assert "2 of them" in (tmp_path / "out" / "README.md").read_text()


def test_an_empty_completion_comes_back(sqlite_store: Store, tmp_path: Path) -> None:
    """A model that ended at once has answered: the answer is kept, judged, written and read."""
    sqlite_store.content.add_generations([Generation(Completion(make_prompt("q"), ""), "m")])
    import_file(sqlite_store, write(tmp_path / "in", {**PAIR, "completion_b": ""}))
    report = export_file(sqlite_store, tmp_path / "out")
    assert report.written == {"prompt": 1, "completion": 2, "judgement": 1}
    assert report.left_out == {}
    with Store.open(tmp_path / "other.db") as other:
        assert import_file(other, tmp_path / "out").new == report.written
        (pair,) = other.ledger.judgements()
        assert (pair.task.a.text, pair.task.b and pair.task.b.text) == ("x", "")
        export_file(other, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "out").read_bytes()
    export_file(sqlite_store, tmp_path / "rows.jsonl", "trl-preference")
    row = json.loads((tmp_path / "rows.jsonl").read_text())
    assert row["rejected"] == [{"role": "assistant", "content": ""}]


# -- folders for trainers ----------------------------------------------------------------


@pytest.mark.parametrize("format", TRAINERS)
def test_load_dataset_finds_the_three_splits(store: Store, tmp_path: Path, format: Format) -> None:
    from datasets import load_dataset

    fill(store, tmp_path)
    report = export(store, tmp_path / "out", format)
    found = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {side: len(found[side]) for side in found} == report.written
    assert list(report.written) == list(SPLITS)
    for side in SPLITS:
        asked = {row["prompt"][0]["content"] for row in found[side]}
        assert asked == set(ASKED[side][:4])


@pytest.mark.parametrize("format", TRAINERS)
def test_a_split_without_rows_has_no_file(
    sqlite_store: Store, tmp_path: Path, format: Format
) -> None:
    from datasets import load_dataset

    fill(sqlite_store, tmp_path, ("train", "test"))
    assert export(sqlite_store, tmp_path / "out", format).written["validation"] == 0
    assert not (tmp_path / "out" / "validation.parquet").exists()
    found = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(found) == {"train", "test"}
    assert "| validation | 0 | 0 |" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("format", FORMATS)
def test_the_manifest_says_what_is_there(store: Store, tmp_path: Path, format: Format) -> None:
    fill(store, tmp_path)
    manifests = []
    for name in ("one", "two"):
        export(store, tmp_path / name, format)
        manifest = json.loads((tmp_path / name / "manifest.json").read_text())
        assert manifest["created_at"].endswith("Z")
        manifests.append({**manifest, "created_at": None})
    assert manifests[0] == manifests[1]
    assert (manifests[0]["format"], manifests[0]["made_by"]) == (format, "coach")
    listed = {file["name"]: file for file in manifests[0]["files"]}
    assert {*listed, "manifest.json"} == {p.name for p in (tmp_path / "one").iterdir()}
    for name, file in listed.items():
        content = (tmp_path / "one" / name).read_bytes()
        assert file["bytes"] == len(content)
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    assert listed["README.md"]["rows"] is None


def test_the_content_s_hash_follows_the_content_alone(store: Store, tmp_path: Path) -> None:
    fill(store, tmp_path)

    def content(where: Store, format: Format) -> str:
        export(where, tmp_path / "out", format)
        return str(json.loads((tmp_path / "out" / "manifest.json").read_text())["content_sha256"])

    with Store.open(tmp_path / "other") as other:
        import_file(other, export_lines(store, tmp_path / "all"))
        for format in FORMATS:
            assert content(store, format) == content(other, format)
        before = content(store, "scalar")
        import_file(store, write(tmp_path / "more", {**SINGLE, "prompt": ASKED["test"][0]}))
        assert content(store, "scalar") != before


@pytest.mark.parametrize("format", FORMATS)
def test_the_card_is_one_that_the_hub_reads(
    sqlite_store: Store, tmp_path: Path, format: Format
) -> None:
    from huggingface_hub import DatasetCard

    fill(sqlite_store, tmp_path)
    export(sqlite_store, tmp_path / "out", format)
    card = DatasetCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "unknown"
    if format == "exchange":
        assert card.data.get("viewer") is False
        return
    (config,) = card.data.configs
    assert [file["split"] for file in config["data_files"]] == list(SPLITS)
    for file in config["data_files"]:
        assert (tmp_path / "out" / file["path"]).is_file()


@pytest.mark.parametrize("format", TRAINERS)
def test_nobody_is_named_to_a_trainer(sqlite_store: Store, tmp_path: Path, format: Format) -> None:
    fill(sqlite_store, tmp_path)
    export(sqlite_store, tmp_path / "out", format)
    export(sqlite_store, tmp_path / "out.jsonl", format)
    for file in [*(tmp_path / "out").iterdir(), tmp_path / "out.jsonl"]:
        assert not any(name in file.read_bytes() for name in (b"Quentin", b"Philippa"))


def test_what_is_left_out_is_said_in_report_card_and_manifest(
    sqlite_store: Store, tmp_path: Path
) -> None:
    ties = [{**PAIR, "prompt": q, "value": "tie"} for q in ("1", "2")]
    import_file(sqlite_store, write(tmp_path / "in", PAIR, *ties))
    report = export(sqlite_store, tmp_path / "out", "trl-preference")
    assert report.left_out == {"pair judged a tie": 2}
    assert "- pair judged a tie: 2" in (tmp_path / "out" / "README.md").read_text()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["left_out"] == report.left_out


# -- one file ------------------------------------------------------------------------------


@pytest.mark.parametrize("format", TRAINERS)
def test_one_file_carries_the_split_as_a_column(
    store: Store, tmp_path: Path, format: Format
) -> None:
    import pyarrow.parquet as pq

    fill(store, tmp_path)
    report = export(store, tmp_path / "deep" / "out.jsonl", format)
    assert export(store, tmp_path / "deep" / "out.parquet", format) == report
    lines = (tmp_path / "deep" / "out.jsonl").read_text().splitlines()
    rows = [json.loads(text) for text in lines]
    assert pq.read_table(tmp_path / "deep" / "out.parquet").to_pylist() == rows
    assert sum(report.written.values()) == len(rows)
    for row in rows:
        assert row["split"] == split_of(make_prompt(row["prompt"]))
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["out.jsonl", "out.parquet"]


# -- whole or not at all, and what is refused -------------------------------------------------


def full(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_failed_export_leaves_the_old_file(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    import_file(sqlite_store, write(tmp_path / "in", PAIR))
    before = beside_the_store(tmp_path)
    monkeypatch.setattr("data.atomic_files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        export_file(sqlite_store, target)
    assert target.read_text() == "old"
    assert beside_the_store(tmp_path) == before


def beside_the_store(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("store.db"))


def test_a_failed_export_leaves_the_old_folder(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite_store, tmp_path)
    export(sqlite_store, tmp_path / "out", "scalar")
    before = {p: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    beside = sorted(tmp_path.iterdir())
    monkeypatch.setattr("data.atomic_files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        export(sqlite_store, tmp_path / "out", "trl-preference")
    monkeypatch.undo()
    monkeypatch.setattr(Path, "rename", _fails_for_new_folders(Path.rename))
    with pytest.raises(OSError, match="No space left"):
        export(sqlite_store, tmp_path / "out", "trl-preference")
    assert {p: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    assert sorted(tmp_path.iterdir()) == beside


def _fails_for_new_folders(rename: Any) -> Any:
    def instead(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            full(0)
        return rename(self, target)  # type: ignore[no-any-return]

    return instead


def test_an_earlier_export_makes_way_and_nothing_else_does(
    sqlite_store: Store, tmp_path: Path
) -> None:
    fill(sqlite_store, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    export(sqlite_store, out, "trl-preference")
    export(sqlite_store, out, "exchange")
    names = ["README.md", "exchange.jsonl", "manifest.json"]
    assert sorted(p.name for p in out.iterdir()) == names
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"out holds notes\.txt which no export wrote: name"):
        export(sqlite_store, out, "scalar")
    (out / "manifest.json").write_text('{"made_by": "somebody"}')
    with pytest.raises(ValueError, match=r"holds README\.md and is no earlier export"):
        export(sqlite_store, out, "scalar")
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "exchange.jsonl").is_file()


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_folder(tmp_path / "link", {"a": b"1"})
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a").read_bytes() == b"1"


def test_where_and_what_cannot_be_written(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite_store, tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.jsonl").mkdir()
    monkeypatch.chdir(tmp_path)
    refused: dict[tuple[str, str], str] = {
        ("out", "csv"): f"format 'csv' unknown: use {FORMATS[0]}",
        ("file", "scalar"): "file is a file: name a folder",
        ("folder.jsonl", "scalar"): "folder.jsonl is a folder: name a file in it",
        ("all.csv", "scalar"): r"all.csv ends in \.csv: name a folder, or a file ending in",
        (".", "scalar"): "is the folder you are in",
        ("all.parquet", "exchange"): "exchange is JSON lines: name all.jsonl",
    }
    for (out, format), reason in refused.items():
        with pytest.raises(ValueError, match=reason) as caught:
            export(sqlite_store, Path(out), format)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_to_write_is_one_clear_line(store: Store, tmp_path: Path, format: Format) -> None:
    for out in ("out", "out.jsonl"):
        with pytest.raises(ValueError, match=r"import some|collect some") as caught:
            export(store, tmp_path / out, format)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / out).exists()


def test_ties_alone_are_nothing_to_write(sqlite_store: Store, tmp_path: Path) -> None:
    import_file(sqlite_store, write(tmp_path / "in", {**PAIR, "value": "tie"}))
    with pytest.raises(ValueError, match=r"no row is left for .* \(pair judged a tie: 1\)"):
        export_folder(sqlite_store, tmp_path / "out", "trl-preference")


@MANY
@given(rows=st.lists(ROW, min_size=1, max_size=15))
def test_every_pair_is_a_row_or_counted(
    sqlite_store: Store, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    empty(sqlite_store)
    import_file(sqlite_store, write(tmp_path / "in", *rows), tmp_path / "bad")
    judged = sqlite_store.ledger.judgements(["pairwise"])
    table = preference_table(judged)
    pairs = {frozenset((j.task.a.id, j.task.b.id)) for j in judged if j.task.b}
    made = [row for side in SPLITS for row in table.rows[side]]
    out = sum(n for reason, n in table.left_out.items() if reason.startswith("pair "))
    assert len(made) + out == len(pairs)
    for row in made:
        assert row["weight"] == row["votes_chosen"] - row["votes_rejected"] > 0
        assert 0 <= row["margin"] <= 3
