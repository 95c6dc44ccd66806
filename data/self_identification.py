"""Text in which a model says who made it: "I am ChatGPT", "trained by Google".

Such a text tells an annotator which model wrote it, so it is kept and not put before them. Only
what a model says of itself counts; "OpenAI released GPT-4 in 2023" is a mere mention. A name that
is a word or a person's name too ("I am Claude") counts beside something that only a model says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from data.schema import Completion

LONGEST_PHRASE = 60
# A space in a name may be a dash or nothing in the text; # stands for a version.
MAKERS = """
open ai, anthropic, google, google deepmind, google ai, deepmind, meta, meta ai, facebook,
microsoft, alibaba, alibaba cloud, deep seek, deep seek ai, mistral, mistral ai, hugging face, x
ai, x.ai, cohere, nvidia, ibm, allen institute, allen institute for ai, ai2, amazon, apple,
baidu, tencent, bytedance, zhipu, zhipu ai, moonshot, moonshot ai, minimax, lmsys, laion,
databricks, stability ai, technology innovation institute, eleuther ai, nous research, ai21,
阿里云, 阿里巴巴, 深度求索, 百度, 腾讯, 字节跳动, 智谱, 月之暗面
"""
MODELS = """
gpt #, chat gpt, claude #, claude instant, claude haiku, claude sonnet, claude opus, gemini #,
gemini pro, gemini flash, google gemini, google bard, gemma #, lamda, llama #, microsoft
copilot, phi #, wizardlm, qwen, qwq, tongyi qianwen, 通义千问, deep seek, mixtral, mistral #,
mistral large, mistral small, smollm, smolvlm, hugging chat, grok #, cohere command, nemotron,
granite #, olmo, tülu, amazon titan, amazon nova, ernie bot, 文心一言, hunyuan, 混元, doubao,
豆包, glm #, chat glm, kimi k#, minimax #, vicuna #, open assistant, dbrx, stable lm, falcon #,
gpt j, gpt neox, nous hermes, jamba
"""
WORDS = """
claude, gemini, bard, gemma, llama, copilot, mistral, zephyr, grok, kimi, vicuna, falcon, hermes
"""
"""Models' names that are words, or names of people, as well."""


def _any_of(names: str) -> str:
    """A pattern for every one of these names, the longest first."""
    ordered = sorted((" ".join(n.split()) for n in names.split(",")), key=len, reverse=True)
    spelled = [re.escape(n).replace(r"\ ", "[ -]?").replace(r"\#", r"v?\d[\w.]*") for n in ordered]
    return f"(?:{'|'.join(spelled)})"


_MAKER = rf"(?:the )?{_any_of(MAKERS)}\b"
_WORD = rf"\b{_any_of(WORDS)}\b(?![-'’])"
_MODEL = rf"(?:\b{_any_of(MODELS)}(?:[ -]?v?\d[\w.]*)?(?:-\w[\w.]*)*(?![\w'’]))"
_NOUN = (  # "large language model", "AI assistant"; a person has a trade after it
    r"(?:(?!(?:of|from|by|in|and|or|for|that|who|at) )[\w-]+,? ){0,6}?"
    r"(?:model|assistant|ai|llm|chat ?bot|artificial intelligence|companion|bot|system|program"
    r"|network)\b"
    r"(?: \((?:ai|llm)\)| (?:language model|model|assistant|chat ?bot))?"
    r"(?! (?:engineer|researcher|scientist|developer|employee|user|expert|specialist|admin))"
)
_KIND = rf"(?:an?|the) {_NOUN}"
_MADE = (  # "developed by OpenAI", and no more is said of them
    r"(?:(?:originally|first|being|also) )*(?:(?:made|developed|created|trained|built|designed"
    r"|fine-?tuned|powered)(?: and )?){1,2}(?: in \d{4})? by (?:(?:the |a )?(?:team|group"
    rf"|researchers|engineers|people|folks|company)(?: of \w+)?(?: (?:at|from))? )?{_MAKER}"
    r"(?=['’]s team|\s*(?:\Z|[^\w\s'’-]|(?:and|or|but|so|in|on|with|to|for|as|which|that|i)\b))"
)
_AM = (
    r"(?:i am|i['’]?m|my name(?: is|['’]s)|you (?:can|may) call me|i go by)"
    r"(?: (?:actually|really|just|simply|called|named|still))*"
)
_MODEL_TALKS = (  # what is said within 80 characters of a word that may be a name
    rf"(?=.{{0,80}}?(?:\b(?:ai|language model|llm|chat ?bot)\b|\b(?:your|virtual|helpful) assistant"
    rf"\b|\bhow (?:can|may) i (?:help|assist)\b|\b{_MADE}))"
)
_SAYS = re.compile(
    "|".join(
        (
            # I am ChatGPT. I am an AI assistant called Qwen. I am Claude, an AI. I am part of GPT-4
            rf"\b{_AM} (?:{_KIND},? (?:called |named )?)?(?:the )?{_MODEL}",
            rf"\b{_AM} (?:{_KIND},? (?:called|named|based on) {_WORD}|{_WORD}{_MODEL_TALKS})",
            rf"\b(?:{_AM}|as|being) (?:an? )?(?:member|part|version|instance) of (?:the )?"
            rf"(?:{_MODEL}|{_WORD} (?:family|series|model))",
            # As Qwen, I. As an OpenAI language model. I am Anthropic's AI assistant. I, ChatGPT,
            rf"\b(?:as|i,) (?:{_MODEL}|{_WORD}),? (?:i|my|can|cannot|do|will|am)\b",
            rf"\b(?:{_AM}|as|being)(?: an?| the)? (?:{_MAKER}(?:['’]s)?|{_MODEL}) {_NOUN}",
            # I was trained by Google. As an AI developed by OpenAI. My creators at Anthropic
            rf"\bi(?: was| am| have been|['’]m|['’]ve been) {_MADE}",
            rf"\b(?:{_AM}|as|being) (?:\w+, )?{_KIND},?(?: (?:that|which|and))?(?: i)?(?: (?:was|is"
            rf"|am))? (?:{_MADE}|(?:by|(?<=model )from) {_MAKER})",
            rf"\bmy (?:creator|developer|maker|trainer)s?,? (?:(?:at|is|are|from) )?{_MAKER}",
            rf"\b{_MAKER},? (?:the (?:company|team) (?:that|which|who) created me"
            r"|(?:created|developed) me\b|trained me to )",
            rf"\b(?:i am|i['’]m|my model is) (?:based on|powered by) (?:the )?{_MODEL}",
            r"\bi(?: can(?:no|['’])t|['’]m (?:unable|sorry))\b.{0,80}? (?:against|violat\w+)"
            rf" {_MAKER}['’]s ",
            # ChatGPT here. The same in other languages
            rf"(?:\A|[.!] ){_MODEL} here\b",
            rf"\b(?:ich bin|je suis|soy|io sono|eu sou|ik ben) {_MODEL}",
            rf"(?:我是|我叫|私は|저는 ?){_any_of(MODELS)}",
            rf"我(?:是|由|被)[^。\n]{{0,8}}?{_any_of(MAKERS)}[^。\n]{{0,6}}?(?:开发|训练|研发|创建)",
        )
    )
)
_LETTERS = re.compile(r"[a-zß-ÿ]+")
_NAMES = [" ".join(name.split()) for name in f"{MAKERS}, {MODELS}, {WORDS}".split(",")]
_CHINESE = [name for name in _NAMES if not _LETTERS.search(name)]
_HINTS = {
    spelling
    for name in _NAMES
    if (words := _LETTERS.findall(name))
    for spelling in (words[0], "".join(words))
}
"""A text that names a maker holds one of these words, or a Chinese name: far quicker to find."""


def names_maker(text: str) -> str | None:
    """The phrase in which a text says which model or maker it is of; None where it does not."""
    low = text.lower()
    hinted = not _HINTS.isdisjoint(_LETTERS.findall(low))
    if not (hinted or (not low.isascii() and any(name in low for name in _CHINESE))):
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
            phrase = names_maker(completion.written)
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
