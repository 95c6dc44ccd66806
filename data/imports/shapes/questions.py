"""What the name of a question says of its answers: is more of it better, or worse?

A name is read word by word: "isIncomplete" is "is incomplete", "less-preferred" is "less
preferred". A word of merit or of fault says it, a negation before it turns it round (not, no, less,
second; un-, in-, dis-), and so does what follows a fault (error free, harmless). Of a name in which
other words stand too, nobody can be sure: that is "neither".
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

Tone = Literal["merit", "fault", "neither"]

_TAIL = (
    "(?:s|e|d|y|r|al|ed|er|es|est|ic|ly|ity|ty|ing|ion|ive|ous|ful|ness|ment|able|ably|ible|ance"
    "|ence|ancy|ency|ant|ent|ation|ate|ability|ist|ism|ually|ial|ally|ily|iness|t|c|ce|cy|ve"
    "|nt|nce|ncy|(?<=[ai]b)le|ility|ied|ize|ized|tory|ary){0,4}"
)


def _stems(stems: str, words: str) -> re.Pattern[str]:
    """Words that begin with one of the stems and end as words do, and words as they are."""
    return re.compile(f"(?:{'|'.join(stems.split())}){_TAIL}|(?:{'|'.join(words.split())})")


_MERIT = _stems(
    """help useful usab accura clear polite relevan quality truth complete approv satisfac
    satisfy factual follow honest friendl fluen complian coheren natural concis upvot prefer
    better favo?r appropriat legal fair ethic moral support ground faithful consisten
    sufficien reliab readab professional respect trust verif justif desir agree align
    informativ insight interest impress excellen great nice perfect superior acceptab accept
    valid success effectiv efficien logical reasonab sensib qualif precis thorough engag
    creativ harmless seamless suitab adher understandab intelligib plausib credib responsib
    harmonious eligib proper comprehensib legib pleas enjoy worth valuabl comprehensi
    recommend original popular necess""",
    """good goodness ok okay well right fine true likes liked safe safer safest safety correct
    correctly correctness best pass passes passed win wins winner winners winning won top
    harmlessness thumb thumbs choose chooses chose chosen choice pick picks picked select
    selects selected selection vote votes voted rank ranks ranked ranking order ordering sort
    sorting compare compares compared comparison pair pairs pairwise duel verdict binary judge
    judged judgement judgment overall rate rates rated rating ratings score scores scored star
    stars grade grades evaluation assessment wanted satisfied meets clarity addresses
    addressed""",
)
_FAULT = _stems(
    """toxi harm offens offend danger wrong error erroneous hallucinat spam bias violat refus
    reject issue problem fail nsfw false fake mistak poor flag rude sexual buggy broken worse
    weak mislead leak nonsens confus repetit inferior discard dislik contradict vague evasi
    evad truncat fabricat deceiv decept manipulat plagiar stereotyp racis sexis discriminat
    profan vulgar obscen violen threat insult abus hostil aggress crim risk jailbreak
    malicious hazard redundan verbos wordy rambl omission omit outdated obsolete garbage
    boring stupid annoy frustrat disappoint sycophan arrogan condescend preach severity
    misinform misus misunderst malform eliminat exclu remov delet downvot disgust terribl
    awful horribl ambigu obscur irritat slur hatred hateful demerit complaint flaw defect
    exaggerat distort fallac deni deny careless meaningless pointless useless worthless
    baseless senseless tactless thoughtless clueless tasteless incomprehens typo misspell
    gibberish garbled excess mediocre nois suicid terror extremis disturb doubt dubious
    insensitiv unsure cheat superfluous underwhelm overlong scam malware phish""",
    """bad badly badness hate hates worst bug bugs lose loses loser losers losing lost loss drop
    drops dropped flagged correction corrections too lie lies lying lied cut cutoff pii need
    needs requires runner skip veto ban banned block blocked down off negative gross bland
    dull silly empty blank subpar cringe""",
)
_NEGATIONS = frozenset(
    """not non no un never without less least lesser lower lowest low fewer fewest few lack lacks
    lacking lacked missing misses miss missed absent cannot cant dont doesnt isnt wasnt didnt
    wont arent hardly barely reverse inverse opposite avoid avoids avoided avoiding avoidance
    prevents except reduces little minimal nor neither""".split()
)
_NOT_FIRST = frozenset("second third last bottom".split())
_OF_A_RANK = frozenset("best choice pick place preferred preference preferable rank".split())
"""Words before which these say that something else is better."""
_AFTER = frozenset("free freedom avoidance avoided prevention reduction resistance".split())
"""Behind a fault: that it is not there."""
_PREFIX = re.compile(r"(un|in|im|ir|il|dis|non|not|mis|less|least|second|lower|low|no)(?=...)")
_FILLERS = frozenset(
    """a an the is are was were be been being does do did done it its this that these those which
    what whichever who whose whether how of in on at to for from with by and or you your i me
    my we our user users human humans annotator annotators rater model models response
    responses answer answers completion completions output outputs reply replies text texts
    summary summaries question questions query option options candidate candidates side sides
    assistant bot one ones more most very really fully all any would should will can could has
    have had contains contain first final total general as than up reasoning reason reasons
    explanation code style grammar tone format content writing language instruction
    instructions prompt context please think find there here think say only if so between high
    higher highest last second third""".split()
)
_COMPARES = re.compile(
    r"\b(?:rank|order|sort|prefer|compar|better|best|w[io]n|cho[os]|pick|select|which|sides?\b|vot"
    r"|favo|judg|verdict|overall|pair|duel|label)"
)
_COMMENTS = re.compile(
    r"\b(?:comment|reason(?!ab)|rational|expla[in]|feedback|notes?\b|why|remark|justif|textarea)"
)
_OF_THE_PROMPT = re.compile(
    "(?:prompt|instruction|question(?=[a-z]))(?!.*(?:adher|follow|respon|answer|complian|relevan"
    "|align|match|fit|address|complet|satisf))"
)
"""How the name of a question begins that is about what was asked."""


def tone_of(question: str) -> Tone:
    """Whether more of it is better ("merit"), worse ("fault"), or the name does not say."""
    tones: list[int] = []
    turned, waits, unknown = False, False, False
    words = words_of(question)
    for word, after in zip(words, (*words, "")[1:], strict=True):
        if word in _AFTER and tones and tones[-1] < 0:
            tones[-1] = 1
        elif _turns_round(word, after):
            turned, waits = not turned, True
        elif (tone := _tone_of_word(word)) is None:
            unknown = True
        elif tone:
            tones.append(-tone if turned else tone)
            turned, waits = False, False
    if waits:  # "no answer": a negation that turns nothing round is a fault itself
        tones.append(-1 if turned else 1)
    if -1 in tones:
        return "fault"
    return "merit" if tones and not unknown else "neither"


def _turns_round(word: str, after: str) -> bool:
    """Whether a word says the opposite of what comes after it."""
    free = word == "free" and after in ("of", "from")
    return word in _NEGATIONS or free or (word in _NOT_FIRST and after in _OF_A_RANK)


def compares(question: str) -> bool:
    """Whether a question asks, by its name, which of the completions is better, or worse."""
    return bool(_COMPARES.search(" ".join(words_of(question))))


def ranks(question: str) -> bool:
    """Whether the answer to a question is an order, by its name."""
    return bool(re.search(r"\b(?:rank|order|sort)", " ".join(words_of(question))))


def asks_for_comment(question: str) -> bool:
    """Whether a question asks for a text, by its name."""
    return bool(_COMMENTS.search(" ".join(words_of(question))))


def is_of_the_prompt(question: str) -> bool:
    """Whether a question is about what was asked, by how its name begins."""
    return bool(_OF_THE_PROMPT.match("".join(words_of(question))))


@cache
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in small letters: "isNot_good2" is is, not, good, 2.

    A word of letters alone that is made of known words is taken apart: "notpreferred".
    """
    name = re.sub(r"n['\u2019]t(?![a-z])", " not", name)  # doesn't
    parted = re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\D)(?=\d)", " ", name)
    found = re.findall(r"[^\W_]+", parted)
    return tuple(part for word in found for part in _parts_of(word.casefold()))


def _parts_of(word: str) -> tuple[str, ...]:
    if word in _NEGATIONS or _tone_of_word(word) is not None:
        return (word,)
    return _known_parts(word) or (word,)


@cache
def _known_parts(word: str) -> tuple[str, ...]:
    """Known words of two letters and more that make up a word; nothing where none do."""
    if len(word) > 40:
        return ()
    if word in _NEGATIONS | _AFTER or _tone_of_word(word) is not None:
        return (word,)
    for end in range(len(word) - 2, 1, -1):
        first = word[:end]
        if first in _NEGATIONS or _tone_of_word(first) is not None:
            rest = _known_parts(word[end:])
            if rest:
                return (first, *rest)
    return ()


@cache
def _tone_of_word(word: str) -> int | None:
    """1 for merit, -1 for fault, 0 for a word that says neither; None for an unknown one."""
    if word in _FILLERS or len(word) == 1 or word.isdecimal():
        return 0
    if _FAULT.fullmatch(word):
        return -1
    if _MERIT.fullmatch(word):
        return 1
    prefix = _PREFIX.match(word)
    inner = _said(word[prefix.end() :]) if prefix else 0
    bare = re.fullmatch(r"(\w{3,}?)(?:less(?:ness|ly)?|free)", word)
    outer = _said(bare[1]) if bare else 0
    return -(inner or outer) or None


def _said(word: str) -> int:
    if word in _FILLERS:
        return 0
    return -1 if _FAULT.fullmatch(word) else 1 if _MERIT.fullmatch(word) else 0
