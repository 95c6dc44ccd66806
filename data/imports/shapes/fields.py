"""A prompt and its completions, by the names of their fields.

Annotation tools do not say which field is the prompt and which are completions: their names do
(PROMPTS, ANSWERS). Which completion an answer means is read from names, not from the order of the
fields, which JSON does not keep.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from data.exchange.validation import show, spell_pair
from data.imports.shapes.lines import Unsaid
from data.imports.shapes.questions import is_of_the_prompt
from data.imports.shapes.transcripts import check_no_template
from data.imports.shapes.turns import completion_text, read_turns
from data.schema import JsonObject

PROMPTS = ("prompt", "instruction", "question", "query", "input", "context")
ANSWERS = (
    *("response", "completion", "answer", "output", "generation", "reply", "text", "summary"),
    *("chosen", "rejected", "result", "model", "option"),
)
GOOD = ("good", "acceptable", "accept", "accepted", "correct", "positive")
BAD = ("bad", "unacceptable", "reject", "rejected", "incorrect", "negative")
YES, NO = ("yes", "true"), ("no", "false")
TIES = ("tie", "equal", "same", "draw", "bothequal", "bothgood", "equallygood")
BOTH_BAD = ("bothbad", "tiebothbad", "equallybad")
_ABOUT = re.compile(
    r"(?:model|modelname|id|ids|length|len|tokens|time|seconds|score|source|lang|language|name|type"
    r"|url|date|count|label|rating|metadata|meta)[a-z]?\d*$"
)
"""How the name of a field ends that says something about a completion."""
_PLACES = {
    **dict.fromkeys(("a", "1", "one", "first"), "1"),
    **dict.fromkeys(("b", "2", "two", "second"), "2"),
    **dict.fromkeys(("c", "3", "three", "third"), "3"),
    **dict.fromkeys(("d", "4", "four", "fourth"), "4"),
    **{"left": "left", "right": "right"},
}
COMPLETIONS = ("completion", "completion_a", "completion_b")
_STEM = re.compile(rf"^(?:{'|'.join(ANSWERS)}|assistant|candidate|side)s?")
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)")
_NAME = re.compile(r"\w(?:[\w\s.,:()/'&-]*[\w.)!])?")
_SIGN_WITHIN = re.compile(r"\d\s*[.,:/]\s*\d")


class Fields:
    """One prompt and its completions, by the names of their fields."""

    def __init__(self, fields: object, left_out: Counter[str]) -> None:
        if not isinstance(fields, dict) or not fields:
            raise ValueError(f"{show(fields)} holds no fields: it needs a prompt and completions")
        names: dict[str, str] = {}
        for name in (name for name in fields if fields[name] is not None):
            other = names.setdefault(letters_of(name), name)
            if other != name:
                raise ValueError(f"fields {list_names([other, name])} have one name: rename one")
        asked = next((names.pop(p) for p in PROMPTS if p in names), None)
        if asked is None:
            raise ValueError(
                f"no prompt among the fields {list_names(fields)}: call it prompt, or rename it "
                "with --columns NAME=prompt"
            )
        self._asked = letters_of(asked)
        prompt = fields[asked]
        self.prompt: object = read_turns("prompt", prompt) if isinstance(prompt, list) else prompt
        if isinstance(prompt, str):
            check_no_template(asked, prompt)
        self.texts: dict[str, str] = {}
        """Completions by the names of their fields."""
        for name in _choose_answers(names, left_out):
            self.texts[name] = completion_text(name, fields[name], self.prompt)
        self._places = {place: name for name in self.texts if (place := _place_of(name))}

    def one(self, *hints: str) -> str:
        """The completion that an answer is about: the only one, or the one that a hint names."""
        found = list(self.texts)
        if len(found) > 1:
            words = [letters_of(hint) for hint in hints]
            found = [n for n in found if any(word.endswith(letters_of(n)) for word in words)]
        if len(found) != 1:
            raise ValueError(
                f"which of the fields {list_names(self.texts)} {show(hints[0])} is about is not "
                "clear: end its name with the field's, or leave it out with --columns"
                f" {spell_pair(hints[0])}"
            )
        return found[0]

    def about_prompt(self, question: str, shown: str = "") -> bool:
        """Whether an answer is about the prompt: `shown` names it, where a tool says what an
        answer is about, or the question begins with its name."""
        letters = letters_of(shown)
        if letters and any(letters.endswith(letters_of(name)) for name in self.texts):
            return False
        return letters == self._asked or is_of_the_prompt(question)

    def is_place(self, value: object) -> bool:
        """Whether a word names a completion by nothing but a place: "2", "a", "first"."""
        word = word_of(value)
        exact = value in self.texts or any(letters_of(name) == word for name in self.texts)
        return isinstance(value, str) and not exact and _place_of(word) is not None

    def is_name(self, value: object) -> bool:
        """Whether a word names a completion, by its field or by a place."""
        if not isinstance(value, str) or len(self.texts) < 2:  # a number is a rating
            return False
        exact = value in self.texts or word_of(value) in map(letters_of, self.texts)
        return exact or self.is_place(value)

    def named(self, value: object) -> str | None:
        """The completion that a word names: by its field, or by the place in the field's name.

        Where fields are counted from 0, only a field's very name says which. Raises Unsaid for a
        side that no field's name says.
        """
        if not self.is_name(value) or value in self.texts:
            return str(value) if self.is_name(value) else None
        word, from_0 = word_of(value), any(place.strip("0") == "" for place in self._places)
        found = next((name for name in self.texts if letters_of(name) == word), None)
        place = _place_of(word)
        known = len(self._places) == len(self.texts) and place in self._places
        if from_0 or not (found or known):
            raise Unsaid(
                f"the export does not say which of the fields {list_names(self.texts)} is "
                f"{show(value)}: say --columns {spell_pair(value, 'FIELD')}, and the same of the"
                " others"
            )
        return found or self._places[str(place)]

    def is_judgement(self, value: object) -> bool:
        """Whether an answer says something by itself: a number, yes, good, a tie, a completion."""
        word = word_of(value)
        number = isinstance(value, str) and bool(NUMBER.fullmatch(value.strip()))
        said = word in YES + NO + GOOD + BAD + TIES + BOTH_BAD
        return said or number or self.is_name(value)

    def unjudged(self, lines: Iterable[JsonObject]) -> list[JsonObject]:
        """The completions that no line speaks of, or the prompt alone where there is none."""
        used = {line[column] for line in lines for column in COMPLETIONS if column in line}
        asked = {"prompt": self.prompt}
        texts = [text for text in self.texts.values() if text not in used]
        left: list[JsonObject] = [{"type": "completion", **asked, "completion": t} for t in texts]
        return left if self.texts else [{"type": "prompt", **asked}]


def _choose_answers(names: Mapping[str, str], left_out: Counter[str]) -> list[str]:
    """The fields that are completions. What is about them is counted, anything else refused."""
    stems = {letters: _STEM.match(letters) for letters in names}
    chosen = [n for n, stem in stems.items() if stem and not _ABOUT.search(n[stem.end() :])]
    if any(not name.startswith("model") for name in chosen):  # beside answers they are names
        chosen = [name for name in chosen if not name.startswith("model")]
    for letters, name in names.items():
        if letters in chosen:
            continue
        if not stems[letters] or not letters.startswith(ANSWERS):
            raise ValueError(
                f"field {show(name)} is neither a prompt nor a completion by its name: rename it "
                f"with --columns {spell_pair(name, 'response')}, or leave it out with --columns"
                f" {spell_pair(name)}"
            )
        left_out[f"field {show(name)}: not taken over"] += 1
    return [names[letters] for letters in chosen]


def count_unknown(
    what: str, found: JsonObject, known: Iterable[str], left_out: Counter[str]
) -> None:
    """Count what an object says under other keys than the known ones; 0 and false say something."""
    for key in found.keys() - set(known):
        if found[key] is not None and found[key] not in ("", [], {}):
            left_out[f"{show(key)} of {what}: not taken over"] += 1


def letters_of(word: object) -> str:
    """A name without case, spaces and signs: "Response-1" is "response1"."""
    return re.sub(r"[\W_]+", "", str(word)).lower()


def word_of(value: object) -> str:
    """The letters of an answer; none where a sign in it says something of its own."""
    text = str(value).strip()
    plain = _NAME.fullmatch(text) and not _SIGN_WITHIN.search(text)
    return letters_of(text) if plain else ""


def list_of_objects(what: str, value: object) -> list[JsonObject]:
    """A list of objects, or none at all."""
    found = [] if value is None else value
    if not (isinstance(found, list) and all(isinstance(part, dict) for part in found)):
        raise ValueError(f"{what} {show(value)} is no list of objects: export it as JSON")
    return found


def list_names(fields: Iterable[str]) -> str:
    return ", ".join(map(show, fields))


def _place_of(name: str) -> str | None:
    """The place that a name ends with: "2" of "Response-B"."""
    letters = letters_of(name)
    rest = _STEM.sub("", letters)
    return _PLACES.get(rest) or (rest if rest.isdecimal() else None)
