"""A recipe says how a row of any table becomes lines of the exchange format.

A recipe is a file of JSON:

    {"about": "what it reads, and what was decided",
     "each": "annotations",                                  the row once for each part of this list
     "leave_out": [{"when": CONDITION, "why": "no answer"}],  rows that are not read, counted
     "lines": [{"type": "judgement", "kind": "pairwise", ...,
                "leave_out": [...]}]}                         this line only

Each line names columns of the exchange format and gives each a constant (text, number, true,
false), a list of what may follow, or an object:

    {"column": "response1"}                       what stands there; "data.text" looks into objects
    {"join": ["instruction", "input"], "with": "\\n\\n"}     columns in one text; no empty ones
    {"text": "tulu:{id}:{one,two}"}               a text with columns set in; several, in order of
                                                  the alphabet

and, applied in this order:

    "split": "_", "part": 0           one part of a text
    "strip": true                     no blanks at its ends
    "not_text": {"true": "True"}      what stands for a value that is no text, by its JSON spelling
    "empty": "(empty)"                what stands for a missing or empty text
    "map": {"0": "tie", "1": "a"}     other values are refused; null leaves the column out

What "not_text" and "empty" put in is counted. A CONDITION is {"column": C, "is": [values]},
{"column": C, "empty": true} or {"column": C, "same_as": D}. Columns that no line names are left.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.exchange.lines import COLUMNS
from data.exchange.validation import either, show

SHIPPED = Path(__file__).with_name("recipes")
_SOURCES = ("column", "join", "text")
_TYPES: dict[str, type] = {
    **{"column": str, "join": list, "text": str, "with": str, "split": str, "part": int},
    **{"strip": bool, "not_text": dict, "empty": str, "map": dict},
}
_TESTS = ("is", "empty", "same_as")
_OWN = ("about", "each", "leave_out", "lines")
Source = dict[str, Any]


class Recipe:
    """A recipe that was checked: `lines` makes the lines of one row."""

    def __init__(self, name: str, written: Any) -> None:
        """Raises ValueError for a recipe that says something it cannot."""
        self.name = name
        if not (isinstance(written, dict) and isinstance(written.get("lines"), list)):
            raise ValueError(f"recipe {name}: write an object with a list of lines")
        _known(name, written, _OWN)
        self._each: str | None = written.get("each")
        self._rules = _rules(name, written.get("leave_out", []))
        self._lines = [_Template(name, line) for line in written["lines"]]

    def lines(self, row: Source, counts: Counter[str]) -> list[Source]:
        """What one row says; what is left out or replaced is counted. Raises ValueError."""
        made = []
        for part in self._parts(row):
            reason = _left_out(self._rules, part)
            if reason:
                counts[f"row left out: {reason}"] += 1
                continue
            replaced: set[str] = set()
            for template in self._lines:
                reason = _left_out(template.rules, part)
                if reason:
                    counts[f"{template.kind} left out: {reason}"] += 1
                else:
                    made.append(template.fill(part, replaced))
            counts.update(replaced)
        return made

    def _parts(self, row: Source) -> list[Source]:
        if self._each is None:
            return [row]
        found = _look(row, self._each) or []
        if not isinstance(found, list):
            raise ValueError(f"column {show(self._each)} is no list: the recipe wants each of it")
        return [row | {self._each: part} for part in found]


def load_recipe(name: str) -> Recipe:
    """A recipe from a file, or one that is shipped, by name. Raises ValueError."""
    path = Path(name)
    if not path.is_file():
        path = SHIPPED / f"{name}.json"
    shipped = sorted(file.stem for file in SHIPPED.glob("*.json"))
    if not (path.is_file() and (path.parent != SHIPPED or path.stem in shipped)):
        raise ValueError(f"recipe {show(name)} unknown: name a file, or use {either(shipped)}")
    try:
        return Recipe(path.stem, json.loads(path.read_bytes()))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8: save the recipe as UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON ({error.msg})") from None


class _Template:
    """One line of a recipe."""

    def __init__(self, name: str, written: Any) -> None:
        if not isinstance(written, dict):
            raise ValueError(f"recipe {name}: line {show(written)} is not an object")
        self.kind = str(written.get("kind") or written.get("type"))
        if self.kind not in COLUMNS:
            raise ValueError(f"recipe {name}: line of type {show(self.kind)} unknown")
        _known(name, written, (*COLUMNS[self.kind], "leave_out"))
        self.rules = _rules(name, written.get("leave_out", []))
        self._values = {c: _value(name, v) for c, v in written.items() if c != "leave_out"}

    def fill(self, row: Source, replaced: set[str]) -> Source:
        """The line with this row's values; what was put in for something else is noted."""
        filled = {column: value(row, replaced) for column, value in self._values.items()}
        return {column: value for column, value in filled.items() if value is not None}


_Value = Callable[[Source, set[str]], Any]
_Rules = list[tuple[Callable[[Source], bool], str]]


def _value(name: str, written: Any) -> _Value:
    """What finds one value in a row."""
    if isinstance(written, list):
        parts = [_value(name, part) for part in written]
        return lambda row, replaced: [part(row, replaced) for part in parts]
    if not isinstance(written, dict):
        return lambda row, replaced: written
    _known(name, written, tuple(_TYPES))
    if sum(source in written for source in _SOURCES) != 1:
        raise ValueError(f"recipe {name}: {show(written)} needs one of {either(_SOURCES)}")
    for key, value in written.items():
        if not isinstance(value, _TYPES[key]):
            raise ValueError(f"recipe {name}: {key} {show(value)} is of the wrong type")
    return lambda row, replaced: _stepped(written, _found(written, row), replaced)


def _found(written: Source, row: Source) -> Any:
    if "column" in written:
        return _look(row, written["column"])
    if "join" in written:
        texts = [_look(row, column) for column in written["join"]]
        return written.get("with", " ").join(str(text) for text in texts if not _blank(text))
    text = written["text"]
    for column in _named_in(text):
        found = sorted(str(_look(row, name)) for name in column.split(","))
        text = text.replace("{" + column + "}", ",".join(found))
    return text


def _named_in(text: str) -> list[str]:
    return [part.partition("}")[0] for part in text.split("{")[1:] if "}" in part]


def _stepped(written: Source, value: Any, replaced: set[str]) -> Any:
    where = written.get("column") or "text"
    if isinstance(value, str):
        if "split" in written:
            value = _part(value, written["split"], written.get("part", 0))
        value = value.strip() if written.get("strip") else value
    elif value is not None and "not_text" in written:
        stands = _mapped(where, value, written["not_text"])
        replaced.add(f"{where} {show(value)} read as {show(stands)}")
        value = stands
    if "empty" in written and _blank(value):
        replaced.add(f"{where} without text read as {show(written['empty'])}")
        value = written["empty"]
    return _mapped(where, value, written["map"]) if "map" in written else value


def _part(text: str, separator: str, number: int) -> str:
    parts = text.split(separator)
    if not -len(parts) <= number < len(parts):
        raise ValueError(f"{show(text)} has no part {number} between {show(separator)}")
    return parts[number]


def _mapped(where: str, value: Any, mapping: Source) -> Any:
    key = _key(value)
    if key not in mapping:
        raise ValueError(f"{where} {show(value)} is not in the recipe: it has {either([*mapping])}")
    return mapping[key]


def _key(value: Any) -> str:
    """A value as the keys of a recipe spell it."""
    return value if isinstance(value, str) else json.dumps(value)


def _look(row: Source, column: str) -> Any:
    """What stands in a column; "a.b.0" goes into objects and lists."""
    if column in row:
        return row[column]
    value: Any = row
    for step in column.split("."):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise ValueError(f"column {show(column)} is missing: it has {either([*row])}")
    return value


def _rules(name: str, written: Any) -> _Rules:
    rules: _Rules = []
    for rule in written if isinstance(written, list) else [written]:
        when, why = (rule.get("when"), rule.get("why")) if isinstance(rule, dict) else (None, None)
        if not (isinstance(when, dict) and isinstance(when.get("column"), str) and why):
            raise ValueError(f"recipe {name}: {show(rule)} needs when, with a column, and why")
        if sum(test in when for test in _TESTS) != 1:
            raise ValueError(f"recipe {name}: {show(when)} needs one of {either(_TESTS)}")
        _known(name, when, ("column", *_TESTS))
        rules.append((_condition(when), why))
    return rules


def _condition(when: Source) -> Callable[[Source], bool]:
    column = when["column"]
    if "is" in when:
        allowed = {_key(value) for value in list(when["is"])}
        return lambda row: _key(_look(row, column)) in allowed
    if "same_as" in when:
        return lambda row: bool(_look(row, column) == _look(row, when["same_as"]))
    return lambda row: _blank(_look(row, column)) == when["empty"]


def _left_out(rules: _Rules, row: Source) -> str | None:
    return next((why for condition, why in rules if condition(row)), None)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _known(name: str, written: Source, allowed: tuple[str, ...]) -> None:
    for key in written:
        if key not in allowed:
            raise ValueError(f"recipe {name}: {show(key)} unknown: use {either(allowed)}")
