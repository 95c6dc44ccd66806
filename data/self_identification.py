"""Text in which a model says who made it: "I am ChatGPT", "trained by Google", <think> tags.

Such a text tells an annotator which model wrote it, so it is kept and not put before them. Only
what a model says of itself counts; "OpenAI released GPT-4 in 2023" is a mere mention. A name that
is a word or a person's name too ("I am Claude") counts beside something that only a model says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from data.schema import Completion

LONGEST_PHRASE = 60


class Maker(NamedTuple):
    """Who makes models, and what they are called: lower case, separated by commas.

    A space may be a dash or nothing in the text; # stands for a version.
    """

    names: str
    models: str = ""
    """Names that only a model bears; a version may follow."""
    words: str = ""
    """Names that are words, or names of people, as well."""


MAKERS = (
    Maker("open ai", "gpt #, chat gpt"),
    Maker(
        "anthropic", "claude #, claude instant, claude haiku, claude sonnet, claude opus", "claude"
    ),
    Maker(
        "google, google deepmind, google ai, deepmind",
        "gemini #, gemini pro, gemini flash, google gemini, google bard, gemma #, lamda",
        "gemini, bard, gemma",
    ),
    Maker("meta, meta ai, facebook", "llama #", "llama"),
    Maker("microsoft", "microsoft copilot, phi #, wizardlm", "copilot"),
    Maker("alibaba, alibaba cloud, 阿里云, 阿里巴巴", "qwen, qwq, tongyi qianwen, 通义千问"),
    Maker("deep seek, deep seek ai, 深度求索", "deep seek"),
    Maker("mistral, mistral ai", "mixtral, mistral #, mistral large, mistral small", "mistral"),
    Maker("hugging face", "smollm, smolvlm, hugging chat", "zephyr"),
    Maker("x ai, x.ai", "grok #", "grok"),
    Maker("cohere", "cohere command"),
    Maker("nvidia", "nemotron"),
    Maker("ibm", "granite #"),
    Maker("allen institute, allen institute for ai, ai2", "olmo, tülu"),
    Maker("amazon", "amazon titan, amazon nova"),
    Maker("apple"),
    Maker("baidu, 百度", "ernie bot, 文心一言"),
    Maker("tencent, 腾讯", "hunyuan, 混元"),
    Maker("bytedance, 字节跳动", "doubao, 豆包"),
    Maker("zhipu, zhipu ai, 智谱", "glm #, chat glm"),
    Maker("moonshot, moonshot ai, 月之暗面", "kimi k#", "kimi"),
    Maker("minimax", "minimax #"),
    Maker("lmsys", "vicuna #", "vicuna"),
    Maker("laion", "open assistant"),
    Maker("databricks", "dbrx"),
    Maker("stability ai", "stable lm"),
    Maker("technology innovation institute", "falcon #", "falcon"),
    Maker("eleuther ai", "gpt j, gpt neox"),
    Maker("nous research", "nous hermes", "hermes"),
    Maker("ai21", "jamba"),
)
THINKING = ("think", "thinking", "reasoning")
"""Tags around what a reasoning model says to itself."""
COMMON = ("assistant", "institute", "research", "technology")
"""Parts of names that are in many a text."""


def _spellings(column: str) -> Iterator[str]:
    for maker in MAKERS:
        yield from filter(None, (name.strip() for name in getattr(maker, column).split(",")))


def _any(column: str) -> str:
    """A pattern for every name in a column, the longest first."""
    names = sorted(_spellings(column), key=len, reverse=True)
    return "|".join(
        re.escape(name).replace(r"\ ", "[ -]?").replace(r"\#", r"v?\d[\w.]*") for name in names
    )


def _hints() -> tuple[str, ...]:
    """Bits of text of which one is in every text that names a maker: looked for first, quickly."""
    found = [f"{tag}>" for tag in THINKING]
    columns = ("names", "words", "models")
    for name in (n.strip(" #") for column in columns for n in _spellings(column)):
        ways = {name.replace(" ", gap) for gap in ("", " ", "-")}
        if not all(any(hint in way for hint in found) for way in ways):
            rare = max((part for part in name.split() if part not in COMMON), key=len)
            found += [rare] if len(rare) > 5 else sorted(ways)
    return tuple(found)


_MAKER = rf"(?:the )?(?:{_any('names')})\b"
_MODEL = rf"\b(?:{_any('models')})(?:[ -]?v?\d[\w.]*)?(?:-\w[\w.]*)*(?![\w'’])"
_WORD = rf"(?:{_any('words')})\b(?![-'’])"
_TRAITS = (
    r"(?:(?:large|small|language|ai|artificial|intelligent|helpful|harmless|honest|virtual|digital"
    r"|conversational|friendly|computer|text|text-based|generative|machine|learning|trained"
    r"|pre-?trained|fine-?tuned|multimodal|multilingual|open|open-source|open-weights|chat|advanced"
    r"|powerful|creative|neural|personal|instruction-tuned)[ ,-]+){0,6}"
)
_KIND = (
    rf"{_TRAITS}(?:language model|model|assistant|ai|artificial intelligence|intelligence|chat ?bot"
    r"|bot|llm|program|system|neural network|companion|agent)s?(?: \((?:ai|llm)\))?"
    r"(?:[ -](?:language model|model|assistant|system|program|chat ?bot))?"
)
"""What a model calls itself: "a large language model", "an AI assistant"."""
_AI = rf"(?=[^.\n]{{0,50}}?\b(?:ai|llm|language model|chat ?bot|source model)\b){_KIND}"
_NO_JOB = (
    r"(?! (?:engineer|researcher|scientist|developer|employee|user|expert|fan|team|customer|trainer"
    r"|manager|director|intern|ethicist|specialist|enthusiast|company|professor|coach)s?\b)"
)
_BY = (  # developed by OpenAI, and no more is said of them
    r"(?:(?:originally|first|specifically|carefully|being|also|proudly|actually|recently) )*"
    r"(?:(?:made|developed|created|trained|pre-?trained|built|designed|fine-?tuned|programmed"
    r"|brought to life|powered)(?:,? (?:and|&) |, )?){1,3}"
    rf"(?: as (?:an? )?{_KIND})?(?: in \d{{4}})? ?by (?:(?:the |a )?(?:\w+ )?(?:team|group"
    r"|researchers|engineers|scientists|people|folks|company|organi[sz]ation|startup|developers|lab)"
    rf"(?: of \w+)?(?: (?:at|from|of|called|named))? )?{_MAKER}"
    r"(?=['’]s (?:team|research)|\s*(?:\Z|[^\w\s'’-]|(?:and|or|but|so|in|on|with|using|for|as|which"
    r"|that|i)\b|to (?:be|help|assist|answer|provide|generate|understand|follow|have|give)\b))"
)
_AM = r"\b(?:i am|i['’]?m|my name(?: is|['’]s)|you (?:can|may) call me|i go by|i am called)"
_BE = rf"{_AM}(?: (?:actually|really|just|simply|called|named|known as|in fact|still|of course))*"
_AS = r"\b(?:as|being)"
_CALLED = r",? (?:called|named|known as|based on)"
_ONLY_A_MODEL = (
    rf"(?=.{{0,80}}?(?:\b(?:ai|artificial intelligence|language model|llm|chat ?bot)\b{_NO_JOB}"
    r"|\b(?:virtual|digital|helpful|your) assistant\b"
    r"|\b(?:how (?:can|may) i|i am here to|i['’]m here to) (?:help|assist)\b"
    rf"|\b{_BY}))"
)
_POLICY = (
    r"(?:against|violates?|violating|prohibited by|(?:not allowed|forbidden) (?:by|under))"
    rf" {_MAKER}['’]s? (?:[\w-]+ ){{0,3}}(?:policy|policies|guidelines|terms)\b"
)
_OF_ITSELF = (  # each begins with I, my, as, being or you
    # I am ChatGPT; I am an AI assistant called Qwen; I am a GPT-4 model
    rf"{_BE} (?:(?:an?|the) {_KIND}(?:{_CALLED})? )?(?:the )?{_MODEL}",
    rf"{_BE} (?:an?|the) {_KIND}{_CALLED} {_WORD}",
    rf"(?:{_BE}|{_AS}) (?:an?|the) (?:{_MODEL}|{_WORD}) {_KIND}\b{_NO_JOB}",
    rf"(?:{_BE}|{_AS}) (?:an? )?(?:member|part|version|variant|instance) of (?:the )?"
    rf"(?:{_MAKER}(?:['’]s)? )?(?:{_MODEL}|{_WORD}(?= (?:family|series|model)))",
    rf"\bi, {_MODEL},",
    # I am Claude, an AI assistant: the name alone may be a person's
    rf"{_BE} {_WORD}{_ONLY_A_MODEL}",
    # I am an OpenAI language model; I am Anthropic's AI assistant
    rf"(?:{_BE}|{_AS})(?: an?| the)? {_MAKER}(?:['’]s)?[ -](?:{_MODEL}|{_WORD}|{_KIND}\b{_NO_JOB})",
    # As Qwen, I; as Claude, my
    rf"{_AS} (?:(?:an? )?{_KIND}(?:{_CALLED})?,? )?(?:{_MODEL}|{_WORD}),? (?:i|my)\b",
    # I was trained by Google; as an AI assistant developed by OpenAI; I'm Nemo, an AI from Meta
    rf"\b(?:i (?:was|am|have been)|i['’](?:m|ve been)) {_BY}",
    rf"(?:{_BE}|{_AS}) (?:\w[\w.-]*, )?(?:an? |the )?{_KIND}(?: called \w+)?"
    rf"(?:,? (?:that|which|and)(?: i)? (?:was|is|has been|am))?,? {_BY}",
    rf"(?:{_BE}|{_AS}) (?:\w[\w.-]*, )?(?:an? |the )?{_AI} (?:by|from) {_MAKER}",
    # based on GPT-4
    r"\b(?:i am|i['’]m|my (?:architecture|underlying model|model|system) is)"
    rf" (?:(?:based|built|running) on|powered by) (?:the )?(?:{_MAKER}(?:['’]s)? )?{_MODEL}",
    # my creators at Anthropic
    rf"\bmy (?:creators?|developers?|makers?|trainers?),? (?:(?:at|is|are|from) )?{_MAKER}",
    # I cannot answer: it goes against OpenAI's policy
    rf"\b(?:i (?:cannot|can['’]?t|can not|am unable)|i['’]m (?:unable|sorry))\b.{{0,80}}?{_POLICY}",
)
_OTHERWISE = (
    # ChatGPT here; OpenAI, the company that created me
    rf"(?:\A|[.!] ){_MODEL} here\b[,.!]",
    rf"\b{_MAKER},? (?:(?:which|who|(?:the|a) (?:\w+ )?(?:company|organi[sz]ation|team|lab|people)"
    r" (?:that|which|who|behind)) (?:has |have )?)?"
    r"(?:(?:created|developed|programmed|designed) me\b|trained me to (?:be|help|assist|answer)\b)",
    # the same in other languages
    rf"\b(?:ich bin|je suis|soy|io sono|eu sou|ik ben) {_MODEL}",
    rf"(?:我是|我叫|私は|저는 ?)(?:{_any('models')})",
    rf"我(?:是|由|被)[^。\n]{{0,8}}?(?:{_any('names')})[^。\n]{{0,6}}?(?:开发|训练|研发|创建)",
    # what a reasoning model says to itself
    rf"\A\s*<(?:{'|'.join(THINKING)})>|(?<![`\w\"'])</(?:{'|'.join(THINKING)})>[ \t]*(?:\n|\Z)",
)
_SAYS = re.compile(
    rf"\b(?=(?:i|i['’]?m|my|as|being|you)\b)(?:{'|'.join(_OF_ITSELF)})|{'|'.join(_OTHERWISE)}"
)
_HINTS = _hints()
_PLAIN_HINTS = tuple(hint for hint in _HINTS if hint.isascii())


def names_maker(text: str) -> str | None:
    """The phrase in which a text says which model or maker it is of; None where it does not."""
    low = text.lower()
    for hint in _PLAIN_HINTS if low.isascii() else _HINTS:
        if hint in low:
            break
    else:
        return None
    found = _SAYS.search(low)
    if found is None:
        return None
    source = text if len(text) == len(low) else low  # some capitals become two letters
    phrase = " ".join(source[found.start() : found.end()].split())
    return phrase if len(phrase) <= LONGEST_PHRASE else phrase[: LONGEST_PHRASE - 1] + "…"


@dataclass
class Named:
    """The completions that name their maker, counted as they go by, each once."""

    ids: set[str] = field(default_factory=set)
    example: str = ""

    def see(self, completions: Iterable[Completion], where: str = "") -> None:
        """Count those that do; the first is kept as the example, with where it stands."""
        for completion in completions:
            phrase = names_maker(completion.text)
            if phrase is not None:
                self.example = self.example or f"{where} {phrase!r}".strip()
                self.ids.add(completion.id)

    def __len__(self) -> int:
        return len(self.ids)

    def sentence(self) -> str:
        """What there is to say about it in one line; empty where there is nothing."""
        n = len(self)
        if not n:
            return ""
        one = n == 1
        return (
            f"{n:,} {'completion names its' if one else 'completions name their'} maker, e.g."
            f" {self.example}: {'it is' if one else 'they are'} kept, and not put before annotators"
        )
