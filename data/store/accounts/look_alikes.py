"""Names that the eye would take for one another: case, accents, letters of other alphabets.

A name's skeleton (Unicode Technical Standard 39, section 4) puts one letter in the place of all
that look like it; two names with one skeleton look alike. Names differ here only if they would
differ to somebody who reads them quickly, so case and accents are left out as well.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

# Accents of Latin, Greek and Cyrillic, points of Hebrew and Arabic. The vowels of Indian scripts
# and the voicing marks of kana are marks to Unicode and letters to who reads them: they stay.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u1ab0-\u1aff"
    "\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
)
# Letters and marks that draw nothing, or a blank.
_BLANK = re.compile(
    "[\u00ad\u115f\u1160\u180b-\u180f\u200b-\u200f\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0]"
)


def skeletons(name: str) -> frozenset[str]:
    """What a name looks like: two names that share one of these look alike.

    Two, since a small l looks like a capital I, and that like a small i in another hand.
    """
    plain = _BLANK.sub("", unicodedata.normalize("NFKD", name))
    one = _strip(_draw(_strip(plain.casefold())))
    other = _strip(_draw(_strip(plain))).casefold()
    return frozenset(" ".join(found.split()) for found in (one, other))


def look_alike(name: str, names: Iterable[str]) -> str | None:
    """The first of these names, other than the name itself, that it would be taken for."""
    mine = skeletons(name)
    return next((other for other in names if other != name and mine & skeletons(other)), None)


def can_be_seen(name: str) -> bool:
    """Whether there is anything to see of a name."""
    return all(skeletons(name)) and name.isprintable()


def _strip(text: str) -> str:
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text))


def _draw(text: str) -> str:
    """Each letter in the place of which another may stand, as that one."""
    return "".join(map(_prototype, text))


@cache
def _prototype(letter: str) -> str:
    """The letter that stands for all that look like this one; itself for one that is alone.

    The library lists for a letter those like it: of a prototype all the others, of another letter
    its prototype alone. Where two are each other's only one, the first of them stands for both.
    """
    from confusable_homoglyphs.confusables import confusables_data

    alike: list[str] = [entry["c"] for entry in confusables_data.get(letter, ())]
    if len(alike) != 1:
        return letter
    [other] = alike
    mutual = [entry["c"] for entry in confusables_data.get(other, ())] == [letter]
    return min(letter, other) if mutual and len(other) == 1 else other
