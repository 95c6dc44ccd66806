"""A prompt and its completions by the names of their fields, and what annotators said of them.

Annotation tools do not say which field is the prompt and which are completions: their names do
(PROMPTS, ANSWERS). One completion: yes or no is good/bad, a number is a rating. Two: the name of
one, or a ranking, is a comparison. A rating or a yes/no beside two completions names the one it is
for. Answers of other kinds are counted, never guessed at: which side won is read from names, not
from the order of the fields, which JSON does not keep.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations

from data.exchange.validation import JsonObject, refuse, show, spell_name
from data.imports.shapes.lines import Unsaid
from data.imports.shapes.turns import completion_text, read_turns

PROMPTS = ("prompt", "instruction", "question", "query", "input", "context")
ANSWERS = (
    *("response", "completion", "answer", "output", "generation", "reply", "text", "summary"),
    *("chosen", "rejected", "result", "model", "option"),
)
COMMENTS = (
    *("comment", "reason", "rationale", "explanation", "explain", "feedback", "note", "why"),
    *("remark", "justification", "textarea"),
)
GOOD = ("good", "acceptable", "accept", "accepted", "correct", "positive")
BAD = ("bad", "unacceptable", "reject", "rejected", "incorrect", "negative")
YES, NO = ("yes", "true"), ("no", "false")
TIES = ("tie", "equal", "same", "draw", "bothequal", "bothgood", "equallygood")
BOTH_BAD = ("bothbad", "tiebothbad", "equallybad")
_FAULTS = re.compile(
    "toxic|harm|offens|unsafe|danger|wrong|incorrect|inaccura|bad|error|hallucinat|spam|bias|hate"
    "|violat|refus|reject|issue|problem|fail|nsfw|false|fake|mistake|poor|flag|rude|illegal|sexual"
    "|inappropriate|bug|broken|unhelpful|irrelevant|worse|worst|least|(?<!c)lose|weak|mislead"
    "|correction|leak|nonsense|too(?:long|short|much|many|few)|unsure|unclear|confus|repetit"
)
"""In the name of a question to which yes, or to be chosen, may mean bad."""
_MERITS = re.compile(
    "good|ok|well|right|help|correct|accept|accura|clear|useful|fine|valid|safe|polite|relevan"
    "|quality|true|truth|complete|approv|like|satisf|fact|follow|honest|harmless|friendly|fluent"
    "|binary|verdict|pass|keep|answer|label|complian|coheren|natural|concise|thumb|upvote|choices"
)
"""In the name of a question to which yes means good for sure; elsewhere that is told."""
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
_COMPLETIONS = ("completion", "completion_a", "completion_b")
_STEM = re.compile(rf"^(?:{'|'.join(ANSWERS)}|assistant|candidate|side)s?")
_RANKING = re.compile("rank|order|sort")
_COMPARES = re.compile(
    "rank|order|sort|prefer|compar|better|best|win|cho|pick|select|which|side|vote|favo|judg|verdict"
    "|overall|pair|duel|label"
)
"""In the name of a question that asks which of the completions is better."""
_OF_THE_PROMPT = re.compile(
    "(?:prompt|instruction|question(?=[a-z]))(?!.*(?:adher|follow|respon|answer|complian|relevan|align|match"
    "|fit|address|complet|satisf))"
)
"""How the name of a question begins that is about what was asked."""
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


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
                "clear: end its name with the field's"
            )
        return found[0]

    def about_prompt(self, question: str, shown: str = "") -> bool:
        """Whether an answer is about the prompt: `shown` names it, where a tool says what an
        answer is about, or the question begins with its name."""
        letters = letters_of(shown)
        if letters and any(letters.endswith(letters_of(name)) for name in self.texts):
            return False
        return letters == self._asked or bool(_OF_THE_PROMPT.match(letters_of(question)))

    def is_place(self, value: object) -> bool:
        """Whether a word names a completion by nothing but a place: "2", "a", "first"."""
        word = letters_of(value)
        exact = any(letters_of(name) == word for name in self.texts)
        return isinstance(value, str) and not exact and _place_of(word) is not None

    def named(self, value: object) -> str | None:
        """The completion that a word names: by its field, or by the place in the field's name.

        Raises ValueError for a side that no field's name says.
        """
        if not isinstance(value, str) or len(self.texts) < 2:  # a number is a rating
            return None
        word = letters_of(value)
        found = next((name for name in self.texts if letters_of(name) == word), None)
        place = _place_of(word)
        if found or not place:
            return found
        if len(self._places) < len(self.texts) or place not in self._places:
            raise ValueError(
                f"the export does not say which of the fields {list_names(self.texts)} is "
                f"{show(value)}: say --columns {spell_name(value)}=FIELD, and the same of the"
                " others"
            )
        return self._places[place]

    def unjudged(self, lines: Iterable[JsonObject]) -> list[JsonObject]:
        """The completions that no line speaks of, or the prompt alone where there is none."""
        used = {line[column] for line in lines for column in _COMPLETIONS if column in line}
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
                f"with --columns {spell_name(name)}=response, or leave it out with --columns"
                f" {spell_name(name)}="
            )
        left_out[f"field {show(name)}: not taken over"] += 1
    return [names[letters] for letters in chosen]


def judge(
    fields: Fields,
    question: str,
    value: object,
    hints: tuple[str, ...],
    said: JsonObject,
    left_out: Counter[str],
) -> list[JsonObject]:
    """What an answer says, in lines; an answer of another kind is counted.

    `hints` name the completion that it is about; `said` is what its lines have in common,
    `external_id` the name of the record.
    """
    mark = said.pop("external_id", None)
    said = {"type": "judgement", "prompt": fields.prompt, **said}
    named = {} if mark is None else {"external_id": f"{mark}:{question}"}
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], dict):
        value = value[0]
    if value is None or value == "" or value == []:
        left_out[f"answer to {show(question)} without a value"] += 1
        return []
    if not fields.texts:
        left_out[f"answer to {show(question)}, where there is no completion"] += 1
        return []
    if isinstance(value, list):
        ranked = _ranking_lines(fields, question, value, named, left_out)
        return [said | line for line in ranked]
    word = letters_of(value)
    tie = word in TIES + BOTH_BAD
    of_one = any(letters_of(question).endswith(letters_of(name)) for name in fields.texts)
    compares = len(fields.texts) == 2 and not of_one
    if compares and fields.is_place(value) and not _COMPARES.search(letters_of(question)):
        left_out[
            f"answer to {show(question)} that may name a completion by its place (say --columns"
            f" {spell_name(question)}=preference if it does)"
        ] += 1
        return []
    if compares and (tie or fields.named(value)):
        if not tie and picks_the_worse(question, left_out):
            return []
        first, second = fields.texts
        compared = compare_two(fields, first, second, fields.named(value) if not tie else None)
        return [said | named | compared | ({"both_bad": True} if word in BOTH_BAD else {})]
    if fields.about_prompt(*hints):
        left_out[f"answer to {show(question)}, which is about the prompt"] += 1
        return []
    judged = _judge_one(question, value, word, left_out)
    if judged is None:
        return []
    about = fields.one(*hints)
    if len(fields.texts) > 1 and named:
        named = {"external_id": f"{mark}:{question}:{about}"}
    return [said | named | judged | {"completion": fields.texts[about]}]


def _judge_one(
    question: str, value: object, word: str, left_out: Counter[str]
) -> JsonObject | None:
    """Good or bad, or a rating whose scale is the question's; None, counted, for the rest."""
    if word in YES + NO:
        if not _FAULTS.search(letters_of(question)):
            told = not _MERITS.search(letters_of(question))
            left_out[f"yes or no to {show(question)}: yes read as good, no as bad"] += told
            return {"kind": "binary", "value": word in YES}
        left_out[f"yes or no to {show(question)}, where yes may mean bad: left out"] += 1
        return None
    if word in GOOD + BAD:
        return {"kind": "binary", "value": word in GOOD}
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, int | float):
        return {"kind": "scalar", "value": value, "question": question}
    left_out[
        f"answer to {show(question)} of another kind than yes, no, a number, a completion or tie"
    ] += 1
    return None


def _ranking_lines(
    fields: Fields, question: str, value: list[object], named: JsonObject, left_out: Counter[str]
) -> list[JsonObject]:
    """All comparisons within a ranking, best first; equal ranks are ties."""
    places = _places_in_ranking(fields, question, value)
    if not places:
        left_out[f"answer to {show(question)} with several values"] += 1
        return []
    if picks_the_worse(question, left_out):
        return []
    several = named and len(places) > 2
    lines = []
    for a, b in combinations([n for n in fields.texts if n in places], 2):
        better = None if places[a] == places[b] else min(a, b, key=lambda n: places[n])
        apart = {"external_id": f"{named['external_id']}:{a}:{b}"} if several else {}
        lines.append(named | apart | compare_two(fields, a, b, better))
    if not lines:
        left_out[f"answer to {show(question)} that ranks one completion alone"] += 1
    return lines


def _places_in_ranking(fields: Fields, question: str, value: list[object]) -> dict[str, float]:
    """The place of each completion; nothing where the list is no ranking of them."""
    ranked = all(isinstance(entry, dict) and "rank" in entry for entry in value)
    if not ranked:
        letters = letters_of(question)
        named = all(isinstance(entry, str) and fields.named(entry) for entry in value)
        if named and not _RANKING.search(letters) and _COMPARES.search(letters):
            spelled = spell_name(question)
            raise Unsaid(
                f"answer {show(value)} to {show(question)} may be a ranking or a choice of several:"
                f" say --columns {spelled}=ranking if the best comes first, or --columns {spelled}="
                " to leave it out"
            )
        if not (_RANKING.search(letters) and all(isinstance(entry, str) for entry in value)):
            return {}
    places: dict[str, float] = {}
    for place, entry in enumerate(value, 1):
        entry = entry if isinstance(entry, dict) else {"value": entry, "rank": place}
        found = fields.named(entry.get("value"))
        rank = entry.get("rank")
        if found is None and not places:
            continue
        if found is None or found in places:
            raise ValueError(
                f"{show(entry.get('value'))} in the ranking {show(question)} is no completion, or "
                f"stands there twice: use {list_names(fields.texts)}"
            )
        if isinstance(rank, bool) or not isinstance(rank, int | float):
            refuse(f"rank in {show(question)}", rank, "a number, 1 for the best")
        places[found] = rank
    if places and len(places) < len(value):
        odd = next(entry for entry in value if fields.named(_entry_value(entry)) is None)
        raise ValueError(
            f"{show(_entry_value(odd))} in the ranking {show(question)} is no completion: use "
            f"{list_names(fields.texts)}"
        )
    return places


def _entry_value(entry: object) -> object:
    return entry.get("value") if isinstance(entry, dict) else entry


def picks_the_worse(question: str, left_out: Counter[str]) -> bool:
    """Whether what a question's answer names may be the worse one, by its name; it is counted."""
    found = bool(_FAULTS.search(letters_of(question)))
    left_out[f"answer to {show(question)}, where the one named may be the worse: left out"] += found
    return found


def compare_two(fields: Fields, a: str, b: str, better: str | None) -> JsonObject:
    """The comparison of two completions, by the names of their fields; None for a tie."""
    return {
        "kind": "pairwise",
        "completion_a": fields.texts[a],
        "completion_b": fields.texts[b],
        "value": "tie" if better is None else "a" if better == a else "b",
    }


def count_replaced(lines: Iterable[JsonObject], left_out: Counter[str]) -> None:
    """Count answers of one person that take the place of an earlier one on the same question."""
    seen = set()
    for line in lines:
        texts = frozenset(text for c in _COMPLETIONS if (text := line.get(c)) is not None)
        about = line["kind"], texts
        left_out[
            f"{line['kind']} answer that replaces one by the same person on the same text (leave "
            "a question out with --columns QUESTION=)"
        ] += about in seen
        seen.add(about)


def is_comment(question: str, value: object) -> bool:
    """Whether an answer is a comment: a text, under a name that says so."""
    letters = letters_of(question)
    return isinstance(value, str) and any(word in letters for word in COMMENTS)


def count_unknown(
    what: str, found: JsonObject, known: Iterable[str], left_out: Counter[str]
) -> None:
    """Count what an object says under other keys than the known ones."""
    for key in found.keys() - set(known):
        if found[key] not in (None, False, 0, "", [], {}):
            left_out[f"{show(key)} of {what}: not taken over"] += 1


def letters_of(word: object) -> str:
    """A name without case, spaces and signs: "Response-1" is "response1"."""
    return re.sub(r"[\W_]+", "", str(word)).lower()


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
