"""Names of annotators: one person is one person, however a file spells the name.

Names that differ in case, in blanks, or in how Unicode composes their letters are one. Names that
merely look alike (`data.store.accounts.look_alikes`, and signs between words) may be two people:
those are asked about.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from data.exchange.validation import show, spell_pair, unescape
from data.imports.shapes.lines import Unsaid
from data.store.accounts.look_alikes import skeletons

_NOBODY = frozenset(("na", "n/a", "#n/a", "nan", "<na>", "none", "null", "-", "--", "?"))
"""What programs write into a table for a cell that holds nothing."""
_WHOLE = re.compile(r"\d+\.0")


class NameMap:
    """Names as they are stored, by names as files spell them.

    `known`: the names of the store. `said`: what the user says a name is; a name that is said to
    be itself is nobody else's, and an empty one is nobody. `ask`: whether a likely double is
    refused, or told alone.
    """

    def __init__(self, known: Iterable[str], said: Mapping[str, str], ask: bool) -> None:
        self._known = dict.fromkeys(known)
        self._said = {_clean(unescape(name)): _clean(unescape(new)) for name, new in said.items()}
        self._said_folded = {fold(name): name for name in self._said}
        self._apart = {name for name, new in self._said.items() if name == new}
        self._ask = ask
        self._unseen = set(self._said)
        self._names: dict[str, str] = {}
        """By every spelling seen in the file."""
        self._folded: dict[str, str] = {}
        self._looks: dict[str, str] = {}
        for name in self._known:
            self._add(name)

    def find(self, spelled: str, left_out: Counter[str]) -> str | None:
        """The name under which a person is stored; None for nobody, as the user says.

        Raises ValueError for a likely double.
        """
        found = self._names.get(spelled)
        if found is None:
            found = self._settle(spelled)
            if found and found not in self._known:
                self._check_double(found, left_out)
            if found:
                self._add(found)
            self._names[spelled] = found
        if found != spelled and found != spelled.strip():
            left_out[f"annotator {show(spelled)} read as {show(found) if found else 'nobody'}"] += 1
        return found or None

    def check_explained(self, spelled: str) -> None:
        """ValueError for a name that may stand for none, while nobody has said what it is."""
        name = _clean(spelled)
        if fold(name) not in _NOBODY or fold(name) in self._said_folded or name in self._known:
            return
        raise Unsaid(
            f"annotator {show(spelled)} may be a name, or stand for none: say --people"
            f" {spell_pair(name, name)} if it is a name, or --people {spell_pair(name)} for nobody"
        )

    def check_used(self) -> None:
        """ValueError for a name that the user explained and nobody has."""
        if self._unseen:
            raise Unsaid(
                f"--people names {show(min(self._unseen))}, who is nobody in the file: correct the"
                " name, or leave it out"
            )

    def _settle(self, spelled: str) -> str:
        """Whom the user means by a spelling, looked up once; else who has this name already."""
        name = _clean(spelled)
        said = name if name in self._said else self._said_folded.get(fold(name))
        if said is not None:
            new = self._said[said]
            self._unseen -= {said, new} & (self._apart | {said})
            return (
                new if new in self._known.keys() | self._apart else self._folded.get(fold(new), new)
            )
        if spelled in self._known or name in self._known:
            return spelled if spelled in self._known else name
        return self._folded.get(fold(name), name)

    def _check_double(self, name: str, left_out: Counter[str]) -> None:
        other = next(filter(None, map(self._looks.get, sorted(_looks_of(name)))), None)
        if other is None or fold(other) == fold(name) or {name, other} & self._apart:
            return
        alike = f"annotators {show(name)} and {show(other)} look alike"
        if self._ask:
            raise Unsaid(
                f"{alike}: say --people {spell_pair(name, other)} if they are one person, or"
                f" --people {spell_pair(name, name)} if they are two"
            )
        left_out[f"{alike}: kept as two"] += 1

    def _add(self, name: str) -> None:
        """A name that somebody has: who spells it otherwise, or what looks like it, finds it."""
        self._folded.setdefault(fold(name), name)
        for look in _looks_of(name):
            self._looks.setdefault(look, name)


def fold(name: str) -> str:
    """A name without case, Unicode's ways of composing letters, and surplus blanks."""
    return unicodedata.normalize("NFC", _clean(name).casefold())


def _clean(name: str) -> str:
    """A name without surplus blanks, and a number as whole as before a table made it one of
    floating point."""
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    return name.removesuffix(".0") if _WHOLE.fullmatch(name) else name


def _looks_of(name: str) -> frozenset[str]:
    """What a name looks like, one blank for any signs between words."""
    words = "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in name)
    return skeletons(words if words.strip() else name)
