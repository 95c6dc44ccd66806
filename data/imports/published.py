"""Published human judgements, by the columns of their files: PandaLM's test set and Tulu's.

pandalm          testset-v1.json of PandaLM (Wang et al. 2023, arXiv:2306.05087): three annotators
                 compare two models' answers, 0 tie, 1 or 2.
tulu_human_eval  the human evaluation of Tulu (Wang et al. 2023, arXiv:2306.04751): each row says of
                 two answers whether each is acceptable, and which is better.

Neither says which answer was shown first. A missing answer is read as an empty one, since
not answering is what was judged. What is read as something else, and what is left out, is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from data.exchange.validation import either, show
from data.imports.shapes.lines import Convert
from data.schema import JsonObject

T = TypeVar("T")
_PANDALM_VALUES = {"0": "tie", "1": "a", "2": "b"}
_TULU_ACCEPTABLE = {"yes": True, "no": False}
_TULU_PREFERENCES = {
    "a-is-better": ("a", 2),
    "a-is-slightly-better": ("a", 1),
    "tie": ("tie", None),
    "b-is-slightly-better": ("b", 1),
    "b-is-better": ("b", 2),
}


def pandalm(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """A prompt and three comparisons.

    Rows in which other models gave the same two texts ask the same question again: the later
    judgement stands, all are kept, and external_id tells them apart.
    """
    instruction, more = _read_cell(row, "instruction"), _read_cell(row, "input")
    prompt = "\n\n".join(str(text) for text in (instruction, more) if not _is_blank(text)).strip()
    models = str(_read_cell(row, "cmp_key")).split("_")
    if len(models) < 2:
        raise ValueError(f"cmp_key {show(row['cmp_key'])} names one model: it must be ONE_OTHER")
    common: JsonObject = {
        **{"type": "judgement", "kind": "pairwise", "prompt": prompt},
        "completion_a": _read_answer(row, "response1", left_out),
        "completion_b": _read_answer(row, "response2", left_out),
        "external_id": f"pandalm:{_read_cell(row, 'idx')}",
    }
    values = [_choose_meaning(row, f"annotator{n}", _PANDALM_VALUES) for n in (1, 2, 3)]
    lines = [common | {"value": v, "annotator": f"pandalm {n}"} for n, v in enumerate(values, 1)]
    lines[0] |= {"model_a": models[0], "model_b": models[1]}  # said once: all three are about them
    tags = [_read_cell(row, "motivation_app")]
    return [{"type": "prompt", "prompt": prompt, "tags": tags}, *lines]


def tulu_human_eval(row: JsonObject, left_out: Counter[str]) -> list[JsonObject]:
    """A prompt, two answers called acceptable or not, and a comparison of the two.

    Two answers of one text are not compared. An evaluator who judged twice is kept twice: the later
    answer stands.
    """
    prompt, instance = _read_cell(row, "prompt"), _read_cell(row, "instance_id")
    prompt = prompt.strip() if isinstance(prompt, str) else prompt
    models = {side: _read_cell(row, f"model_{side}") for side in "ab"}
    texts = {side: _read_answer(row, f"completion_{side}", left_out) for side in "ab"}
    pair = f"tulu:{instance}:{','.join(sorted(map(str, models.values())))}"
    common: JsonObject = {
        **{"type": "judgement", "prompt": prompt, "annotator": _read_cell(row, "evaluator")},
        "created_at": _read_cell(row, "timestamp"),
    }
    lines: list[JsonObject] = [
        {"type": "prompt", "prompt": prompt, "external_id": f"tulu:{instance}"}
    ]
    for side in "ab":
        acceptable = _choose_meaning(row, f"completion_{side}_is_acceptable", _TULU_ACCEPTABLE)
        named = {"model": models[side], "external_id": f"{pair}#{models[side]}"}
        judged = {"kind": "binary", "completion": texts[side], "value": acceptable}
        lines.append(common | judged | named)
    if row["completion_a"] == row["completion_b"]:
        left_out["pairwise left out: both answers are the same text"] += 1
        return lines
    better, strength = _choose_meaning(row, "preference", _TULU_PREFERENCES)
    compared = {
        **{"kind": "pairwise", "value": better, "strength": strength},
        **{f"completion_{side}": texts[side] for side in "ab"},
        **{f"model_{side}": models[side] for side in "ab"},
        "external_id": pair,
    }
    return [*lines, common | compared]


RECIPES: Mapping[str, Convert] = {"pandalm": pandalm, "tulu_human_eval": tulu_human_eval}


def find_recipe(name: str) -> Convert:
    """The converter of a published data set. Raises ValueError for any other name."""
    if name not in RECIPES:
        raise ValueError(
            f"recipe {show(name)} unknown: use {either([*RECIPES])}; rename the columns of other "
            "tables with --columns, or pass import_file a function (see data/imports)"
        )
    return RECIPES[name]


def _read_cell(row: JsonObject, column: str) -> object:
    if column not in row:
        raise ValueError(f"column {show(column)} is missing: it has {either([*row])}")
    return row[column]


def _choose_meaning(row: JsonObject, column: str, meanings: Mapping[str, T]) -> T:
    """What a cell means; a number counts as its digits."""
    value = _read_cell(row, column)
    key = value if isinstance(value, str) else json.dumps(value)
    if key not in meanings:
        raise ValueError(f"{column} {show(value)} not allowed: use {either([*meanings])}")
    return meanings[key]


def _read_answer(row: JsonObject, column: str, left_out: Counter[str]) -> object:
    """The text of an answer; what stands for none is counted."""
    value = _read_cell(row, column)
    if _is_blank(value):
        left_out[f"{column} without text: read as an empty answer"] += 1
        return ""
    if isinstance(value, bool):
        left_out[f'{column} {show(value)} read as "{value}"'] += 1
        return str(value)
    return value


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
