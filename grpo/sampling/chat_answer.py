"""What an answer of OpenAI's chat completions says, in the spellings that servers really use."""

from __future__ import annotations

import json
from dataclasses import dataclass

NO_COMPLETION = "that were no chat completion"
NOT_TEXT = "with parts that are no text"
ENDED = ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed")
"""Reasons for which a model ended by itself: `stop` is OpenAI's word for it, or for a stop sequence
that was asked for; the others say the same elsewhere."""
LIMIT = ("length", "max_tokens", "max_output_tokens", "model_length")
CUT = ("content_filter", "tool_calls", "function_call", "abort", "error")
"""Known reasons for which an answer is cut, beside the limit."""
_TEXT_PARTS = ("text", "output_text", None)
_THINKING_PARTS = ("thinking", "reasoning")
_THINKING_FIELDS = (
    *("reasoning_content", "reasoning", "thinking", "reasoning_text", "reasoning_details"),
)
_ELSE = {  # what a message may hold in place of text
    "tool_calls": "with a tool call in place of text",
    "function_call": "with a tool call in place of text",
    "refusal": "with a refusal in place of text",
    "audio": "with sound in place of text",
}


class OddAnswer(Exception):
    """An answer that is left out; `reason` is said behind a count."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ChatAnswer:
    """What a model said, and why it ended."""

    text: str
    thinking: str
    """What came in a field or a part of its own."""
    ending: str
    """stop, length, one of CUT, null, or unknown."""

    @property
    def ended(self) -> bool:
        """Whether it ended by itself."""
        return self.ending == "stop"


def read_chat_answer(body: bytes) -> ChatAnswer:
    """The first choice of an answer. Raises OddAnswer for one that holds no text to keep.

    An empty text is kept where the model ended by itself: that is an answer too.
    """
    try:
        row = json.loads(body)
    except (ValueError, RecursionError):
        raise OddAnswer(NO_COMPLETION) from None
    choices = row.get("choices") if isinstance(row, dict) else None
    if choices == []:
        raise OddAnswer("without a choice")
    choice = choices[0] if isinstance(choices, list) else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not (isinstance(choice, dict) and isinstance(message, dict)):
        raise OddAnswer(NO_COMPLETION)
    text, thinking = _read_content(message.get("content"))
    apart = next(filter(None, (_thoughts(message.get(f)) for f in _THINKING_FIELDS)), "")
    ending = _read_ending(choice.get("finish_reason"))
    if ending == "stop" and (message.get("tool_calls") or message.get("function_call")):
        ending = "tool_calls"
    if not text.strip():
        for field, reason in _ELSE.items():
            if message.get(field):
                raise OddAnswer(reason)
        if ending == "length" and not (apart or thinking):
            raise OddAnswer("empty at the token limit")
        if ending not in ("stop", "length"):
            raise OddAnswer(f"empty, ended by {ending}")
    return ChatAnswer(text, apart or thinking, ending)


def _read_ending(reason: object) -> str:
    if reason is None or reason == "":
        return "null"
    word = reason.lower() if isinstance(reason, str) else ""
    if word in ENDED:
        return "stop"
    if word in LIMIT:
        return "length"
    return word if word in CUT else "unknown"


def _read_content(content: object) -> tuple[str, str]:
    """(text, thinking) of a message's content: a text, or parts that are joined."""
    if content is None:
        return "", ""
    if isinstance(content, str):
        return content, ""
    texts: list[str] = []
    thoughts: list[str] = []
    refused = False
    for part in content if isinstance(content, list) else [content]:
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(part, str):
            texts.append(part)
        elif not isinstance(part, dict):
            raise OddAnswer(NO_COMPLETION)
        elif kind in _TEXT_PARTS and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in _THINKING_PARTS:
            thoughts.append(_thoughts(part))
        elif kind == "refusal":
            refused = True
        elif kind != "redacted_thinking":  # encrypted: nobody can read it
            raise OddAnswer(NO_COMPLETION if kind in _TEXT_PARTS else NOT_TEXT)
    if refused and not "".join(texts).strip():
        raise OddAnswer(_ELSE["refusal"])
    return "".join(texts), "\n\n".join(filter(None, thoughts))


def _thoughts(found: object, deep: int = 4) -> str:
    """Thinking in any of its spellings: a text, an object with one, or a list of these; `deep` is
    how far they may be nested."""
    if isinstance(found, str):
        return found
    if isinstance(found, list) and deep:
        return "\n\n".join(filter(None, (_thoughts(part, deep - 1) for part in found)))
    if isinstance(found, dict) and deep:
        keys = ("thinking", "reasoning", "text", "content", "summary")
        return next(filter(None, (_thoughts(found.get(key), deep - 1) for key in keys)), "")
    return ""
