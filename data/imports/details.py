"""What a file does not say of itself, as settings of the shell and of the browser's form."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from data.exchange.validation import unescape
from data.imports.ratings import Scales
from data.settings import parse_arguments


@dataclass(frozen=True, kw_only=True)
class Details:
    """What a file does not say of itself."""

    columns: tuple[str, ...] = ()
    """Rename columns first, e.g. question=prompt best=chosen; NAME= leaves a column out. The same
    for fields, questions and sides of Argilla and Label Studio."""
    people: tuple[str, ...] = ()
    """Say who is meant by a name, e.g. Jose=José; NAME=NAME for somebody who is nobody else, NAME=
    for nobody."""
    scale: tuple[str, ...] = ()
    """Of how many ratings are, worst to best: 1..5 for five stars, or QUESTION=1..5 for one
    question. They become 1 to 10 in proportion; what was given is kept."""
    source: str | None = None
    """Name of where the data comes from: external ids are unique within it."""
    turns: tuple[str, ...] = ()
    """Columns of text in which a list of {role, content}, in JSON or as pandas writes it, is a
    conversation."""
    texts: tuple[str, ...] = ()
    """Columns of text in which such a list is a text."""

    def check(self) -> None:
        """Raises ValueError for a word that says nothing."""
        for setting, said in (("--columns", self.columns), ("--people", self.people)):
            odd = next((words for words in said if "=" not in words), None)
            if odd is not None:
                raise ValueError(f"{setting} {odd!r} not allowed: write NAME=NEW")
        Scales(self.scale)

    def renamed(self) -> dict[str, str]:
        """New names by old ones; an empty one leaves the column out.

        An old name counts as it stands there, and as a refusal escapes it.
        """
        found = _pairs(self.columns)
        return {unescape(old): new for old, new in found.items()} | found

    def meant(self) -> dict[str, str]:
        """Who is meant, by the names that stand there."""
        return _pairs(self.people)


def split_details(words: str) -> list[str]:
    """Details as they are written on the shell, in words. Raises ValueError for anything else.

    `--` would make settings that follow a file's name, and tyro has settings of its own, one of
    which writes a file.
    """
    unread = f"{words!r} not understood: write settings of coach import, e.g. --scale 1..5"
    try:
        found = shlex.split(words)
    except ValueError:  # a quotation that does not end
        raise ValueError(unread) from None
    if any(word == "--" or word.replace("_", "-").startswith("--tyro") for word in found):
        raise ValueError(unread)
    try:
        told: Details = parse_arguments(Details, "import", None, found)
    except SystemExit:
        raise ValueError(unread) from None
    told.check()
    return found


def _pairs(said: Sequence[str]) -> dict[str, str]:
    return {old: new for old, _, new in (words.rpartition("=") for words in said)}
