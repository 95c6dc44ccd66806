"""Whatever a file holds: never a traceback, and never a silent drop."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data.imports import ImportReport, import_file
from data.imports.detection import SHAPES, Shape
from data.store import Store
from tests.data.imports.shapes.test_annotation_tools import FLAT, VERSION_1, record, studio

KEYS = (
    "type kind prompt chosen rejected completion label messages conversations role content from"
    " value text instruction output input fields responses data annotations result id answer"
    " response user_id status choices selected rating to_name from_name rank history system"
    " annotator margin tags external_id created_at quality.responses drafts predictions scale"
    " completed_by project index train rows"
).split()
WORDS = (
    "user assistant human gpt prompt judgement binary pairwise pairwise choices rating textarea"
    " good yes left a tie q x submitted answer answer_1,answer_2 1"
).split()
texts = st.one_of(
    st.sampled_from(WORDS),
    st.text(max_size=8),
    st.sampled_from(["[{'role': 'user', 'content': 'q'}]", '[{"from": "gpt"}]', "\n\nHuman: q"]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    texts,
)
keys = st.one_of(st.sampled_from(KEYS), st.text(max_size=4))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
rows = st.dictionaries(keys, values, max_size=6)
few = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where stores are made: one for each test, used by all of its examples."""
    yield tmp_path_factory.mktemp("anything")


@contextmanager
def opened(folder: Path, name: str) -> Iterator[Store]:
    with Store.open(folder / f"{name}.db") as store:
        yield store


def read(store: Store, content: str, name: str = "in.json", **more: Any) -> ImportReport | str:
    """What became of a file, or the one line by which it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_text(content, "utf-8", "surrogatepass")
        try:
            return import_file(store, file, **{"annotator": "ann", "scale": ["0..10"], **more})
        except ValueError as error:
            assert "\n" not in str(error)
            return str(error)


@st.composite
def varied(draw: st.DrawFn, row: dict[str, Any]) -> dict[str, Any]:
    """The row with some of its values, at any depth, replaced, left out or joined by others."""

    def vary(part: Any) -> Any:
        chance = draw(st.integers(0, 11))
        if chance == 0:
            return draw(values)
        if isinstance(part, dict):
            kept = {key: vary(said) for key, said in part.items() if draw(st.integers(0, 11))}
            return kept | ({draw(keys): draw(values)} if chance == 1 else {})
        if isinstance(part, list):
            return [vary(said) for said in part] * (2 if chance == 1 else 1)
        return part

    return {key: vary(said) for key, said in row.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_any_row_is_read_counted_or_refused(folder: Path, shape: Shape) -> None:
    """Each row of a file becomes lines, or a count, or a bad row with its reason."""
    with opened(folder, shape) as store:

        @few
        @given(row=rows)
        def check(row: dict[str, Any]) -> None:
            line = json.dumps(row)
            report = read(store, f"{line}\n{line}\n", "in.jsonl", shape=shape)
            if isinstance(report, str):
                assert report.count("in.jsonl") == 1
                return
            assert sum(report.read.values()) + sum(report.left_out.values()) >= 2

        check()


@few
@given(value=values)
def test_any_value_is_a_table_or_is_refused(folder: Path, value: Any) -> None:
    with opened(folder, "values") as store:
        report = read(store, json.dumps(value))
        if not isinstance(report, str):
            assert sum(report.read.values()) + sum(report.left_out.values()) >= 1


@few
@given(cells=st.lists(st.text(max_size=6), min_size=2, max_size=5), columns=st.data())
def test_any_sheet(folder: Path, cells: list[str], columns: st.DataObject) -> None:
    names = columns.draw(st.lists(keys, min_size=len(cells), max_size=len(cells)))
    head, row = (
        ",".join('"' + c.replace('"', '""') + '"' for c in line) for line in (names, cells)
    )
    with opened(folder, "sheets") as store:
        report = read(store, f"{head}\n{row}\n", "in.csv")
        if not isinstance(report, str):
            assert sum(report.read.values()) + sum(report.left_out.values()) >= 1


TOOLS: dict[str, Any] = {
    "Label Studio": studio(
        {"type": "choices", "from_name": "ok", "to_name": "answer", "value": {"choices": ["good"]}},
        {"type": "rating", "from_name": "stars", "to_name": "answer", "value": {"rating": 3}},
        drafts=[{"result": []}],
        predictions=[{"result": []}],
    ),
    "Argilla 2": record({"ok": "yes", "stars": 3, "rank": ["response"]}),
    "Argilla 1": VERSION_1,
    "Argilla, flat": FLAT,
}


@pytest.mark.parametrize("tool", TOOLS)
def test_whatever_stands_in_an_export_of_a_tool(folder: Path, tool: str) -> None:
    with opened(folder, tool) as store:

        @few
        @given(row=varied(TOOLS[tool]))
        def check(row: Any) -> None:
            report = read(store, json.dumps([row]))
            if isinstance(report, str):
                return
            judged = report.read.get("judgement", 0) + sum(report.left_out.values())
            assert judged >= answers_in(row)

        check()


def answers_in(row: Any) -> int:
    """How many things people did stand in a row that could be read, at the least."""
    count = 0
    for annotation in row.get("annotations") or ():
        results = annotation.get("result") or ()
        skipped = annotation.get("was_cancelled") or annotation.get("skipped")
        count += 1 if skipped else max(1, len(results))
    count += len(row.get("drafts") or ()) + len(row.get("predictions") or ())
    responses = row.get("responses") or ()
    if isinstance(responses, dict):
        count += sum(len(answers or ()) for answers in responses.values())
    else:
        count += sum(max(1, len(response.get("values") or ())) for response in responses)
    return count + len(row.get("quality.responses") or ())
