"""What cells of a table mean: numbers, flags and lists that were written as text.

A text stays a text. A column that can hold nothing but a list (tags, messages, ...) is read as one;
a column of prompts or completions only where the user says so with `turns`, since an answer may be
a list in JSON. Python's own spelling of a list, as pandas writes it to CSV, is read too.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import tokenize
from collections import Counter
from collections.abc import Collection

from data.exchange.validation import MOST_DIGITS, decode_json, show, spell_pair
from data.imports.shapes.lines import Unsaid
from data.schema import JsonObject

_WHOLE = ("strength", "guidelines_version")
_NUMBERS = (*_WHOLE, "seconds", "margin")
_FLAGS = ("both_bad", "finished", "finished_a", "finished_b", "label")
_NAMES = ("annotator", "external_id", "model", "model_a", "model_b")
_LISTS = ("tags", "flags", "sampling", "messages", "conversations", "history", "fields")
_LISTS_BY_END = (".responses", ".responses.users", ".responses.status")
_TEXTS = (
    *("prompt", "chosen", "rejected", "completion", "completion_a", "completion_b", "instruction"),
    *("input", "output"),
)
_ASKED = ("prompt",)
"""Of these, what the exchange format has as a text or as turns; the others are texts there."""
_TURNS = re.compile(r"\s*(?:array\()?[\[{(]+\s*(?:OrderedDict\([\[{(]+)?\s*['\"]\w+['\"]\s*[:,]")
_WORDS = (re.compile(r"['\"](?:role|from)['\"]"), re.compile(r"['\"](?:content|value)['\"]"))
"""How a text begins, and which words are in it, that spells turns, in JSON or in Python."""
_NESTED = ("data", "fields")
"""Where annotation tools keep the texts of a row."""
_LIST = re.compile(r"\s*(?:array\()?[\[{]")
_NUMBERED = (("Unnamed: ", ""), ("__index_level_", "__"))
_INDEX = frozenset(
    (
        *("", "index", "level_0"),
        *(f"{name}{n}{end}" for n in range(10) for name, end in _NUMBERED),
        *(f"Unnamed: 0.{n}" for n in range(1, 10)),  # written and read again and again
    )
)
"""What pandas calls a column for its index."""
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_FALSE = {"false": False, "0": False, "0.0": False}
_TRUE = {"true": True, "1": True, "1.0": True}


class Cells:
    """How the cells of one file are read.

    `has_texts`: whether a text in it was written as one (JSON, Parquet), or may be anything (CSV).
    `turns`, `texts`: the columns in which a text may spell a conversation, or is always a text.
    """

    def __init__(
        self, has_texts: bool, turns: Collection[str] = (), texts: Collection[str] = ()
    ) -> None:
        both = sorted(set(turns) & set(texts))
        if both:
            raise ValueError(
                f"column {show(both[0])} is named by --turns and by --texts: leave one"
            )
        self._has_texts = has_texts
        self._turns, self._texts = frozenset(turns), frozenset(texts)
        self._unseen = {*turns, *texts}

    def read(self, row: JsonObject, exact: bool, left_out: Counter[str]) -> JsonObject:
        """A row with its conversations read. `exact`: it is a line of the exchange format."""
        row = without_index(row, left_out)
        if self._unseen:
            parts = (row.get(part) for part in _NESTED)
            self._unseen -= {*row, *(k for part in parts if isinstance(part, dict) for k in part)}
        if exact and self._has_texts and not self._turns:
            return row
        self._ask_about_turns(row, _ASKED if exact else _TEXTS)
        found = {column: self._read_text(column, cell, left_out) for column, cell in row.items()}
        for part in _NESTED:
            if isinstance(row.get(part), dict):
                fields = row[part].items()
                found[part] = {k: self._read_text(k, cell, left_out) for k, cell in fields}
        return found

    def check_used(self) -> None:
        """ValueError for a column that no row has."""
        if self._unseen:
            raise Unsaid(f"column {show(min(self._unseen))} of --turns or --texts is in no row")

    def _ask_about_turns(self, row: JsonObject, columns: Collection[str]) -> None:
        """Refuse cells of CSV that may be conversations or texts, while nobody has said which."""
        if self._has_texts:
            return
        said = self._turns | self._texts
        asked = [c for c in columns if c not in said and _spells_turns(row.get(c))]
        if asked:
            named = " ".join(asked)
            raise Unsaid(
                f"{asked[0]} {show(row[asked[0]])} may be a conversation or a text: say --turns "
                f"{named} to read turns, or --texts {named} to keep texts"
            )

    def _read_text(self, column: str, cell: object, left_out: Counter[str]) -> object:
        """A text that spells a conversation as turns, if it is said to be one."""
        if not isinstance(cell, str):
            return cell
        if column in self._turns:
            return _read_list(column, cell) if _LIST.match(cell) else cell
        if column in self._texts or column not in _TEXTS or not _spells_turns(cell):
            return cell
        left_out[
            f"{column} that spells turns, kept as a text (--turns {column} reads the turns)"
        ] += 1
        return cell


def without_index(row: JsonObject, left_out: Counter[str]) -> JsonObject:
    """Leave out the index that pandas adds to a table. Raises ValueError where it is none."""
    if _INDEX.isdisjoint(row):
        return row
    for column in _INDEX.intersection(row):
        cell = row[column]
        whole = isinstance(cell, int) or (isinstance(cell, str) and cell.strip().isdecimal())
        if cell is not None and not whole:
            raise ValueError(
                f"column {show(column)} holds {show(cell)}: give it a name, or leave it out with "
                f"--columns {spell_pair(column)}"
            )
        left_out[f"index column {show(column)} of pandas: left out"] += cell is not None
    return {column: cell for column, cell in row.items() if column not in _INDEX}


def is_blank(cell: object) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _spells_turns(cell: object) -> bool:
    """Whether a text spells turns, or begins so and cannot be read."""
    if not isinstance(cell, str) or not _TURNS.match(cell):
        return False
    if not all(word.search(cell, 0, 4_000) for word in _WORDS):
        return False
    try:
        found = decode_json(cell)
    except json.JSONDecodeError:
        found = read_python(cell)
    except ValueError:
        return True
    if found is None:
        return True
    turns = found if isinstance(found, list) else [found]
    pairs = ({"role", "content"}, {"from", "value"})
    return all(isinstance(t, dict) and any(pair <= t.keys() for pair in pairs) for t in turns)


def with_answers(row: JsonObject) -> JsonObject:
    """A row in which the answers of Argilla's flat table are lists again."""
    return {c: _retype_cell(c, v, None) if c.endswith(".responses") else v for c, v in row.items()}


def with_names(row: JsonObject) -> JsonObject:
    """A row in which names and ids are texts: a whole number is its digits."""
    return row | {column: _digits(row[column]) for column in _NAMES if column in row}


def _digits(cell: object) -> object:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell) if isinstance(cell, int) and not isinstance(cell, bool) else cell


def retype(row: JsonObject) -> JsonObject:
    """A row of a table whose cells lost their types: what is null is left out, numbers in text are
    numbers again, and so are true, false and lists."""
    kind = row.get("kind")
    return {k: _retype_cell(k, v, kind) for k, v in row.items() if v is not None}


def _retype_cell(column: str, cell: object, kind: object) -> object:
    number = column in _NUMBERS or (column == "value" and kind == "scalar")
    flag = column in _FLAGS or (column == "value" and kind == "binary")
    if flag and isinstance(cell, float) and column != "label":
        return bool(cell) if cell in (0, 1) else cell
    if isinstance(cell, float) and number:
        return int(cell) if cell.is_integer() else cell
    if not isinstance(cell, str):
        return cell
    if flag:
        return (_TRUE | _FALSE).get(cell.strip().lower(), cell)
    if number:
        return _read_number(cell)
    if column in _LISTS or column.endswith(_LISTS_BY_END):
        try:
            return _read_list(column, cell)
        except ValueError as error:
            if "too" in str(error):  # deep, or large
                raise
            return cell
    return cell


def _read_number(cell: str) -> object:
    """The number that a cell spells, as tables do: ".5", "+3", "07"; any other cell as it is."""
    text = cell.strip()
    if not _NUMBER.fullmatch(text) or len(text) > MOST_DIGITS:
        return cell  # NaN among them: whoever reads the column says what it needs
    number = float(text) if re.search("[.eE]", text) else int(text)
    if isinstance(number, float) and math.isinf(number):
        return cell
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _read_list(column: str, text: str) -> object:
    """A list or object that a text spells, in JSON or in Python. Raises ValueError for others."""
    try:
        found = decode_json(text)
    except json.JSONDecodeError:
        found = read_python(text)
    if not isinstance(found, list | dict):
        raise ValueError(
            f"{column} {show(text)} spells no list: leave it out of --turns, or write a list of "
            "{role, content}"
        )
    return found


def read_python(text: str) -> object:
    """The value that a text spells in Python or NumPy; None where it spells none.

    NumPy writes no commas between the members of a list, and Python would join two texts that
    stand beside each other: the commas are put in.
    """
    if not _LIST.match(text):
        return None
    try:
        return _check_plain(ast.literal_eval(_with_commas(text)))
    except (ValueError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError):
        return None


def _with_commas(text: str) -> str:
    """The text with a comma between any two values that stand beside each other."""
    tokens = tokenize.generate_tokens(io.StringIO(f"({text.strip()})").readline)
    skipped = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT)
    words: list[str] = []
    ended = False
    for token in tokens:
        if token.type in skipped or not token.string:
            continue
        if ended and _begins_value(token):
            words.append(",")
        words.append(token.string)
        ended = _ends_value(token)
    return " ".join(words)


def _ends_value(token: tokenize.TokenInfo) -> bool:
    constant = token.string in ("True", "False", "None")
    return constant or _is_scalar(token) or token.string in "]})"


def _begins_value(token: tokenize.TokenInfo) -> bool:
    return _is_scalar(token) or token.string in "[{"


def _is_scalar(token: tokenize.TokenInfo) -> bool:
    return token.type in (tokenize.STRING, tokenize.NUMBER)


def _check_plain(value: object) -> object:
    """The value as JSON has it. Raises ValueError for what JSON does not have."""
    if isinstance(value, list | tuple):
        return [_check_plain(part) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _check_plain(part) for key, part in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise ValueError(f"{show(value)} is no JSON")
