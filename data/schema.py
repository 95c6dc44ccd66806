"""The nouns of the product: frozen dataclasses, their content hashes, and what makes one valid.

Prompts and completions are one by content: the id is a hash of what they say, so the same text
imported twice is the same row. Nothing here touches a database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal, TypeVar

from data.texts.intake import unstorable
from data.texts.thinking import Parts, Thinking, part

JsonObject = dict[str, Any]
Kind = Literal["binary", "scalar", "pairwise"]
Role = Literal["annotator", "lead"]
Purpose = Literal["queue", "gold", "repeat"]
"""Why a task is asked: it stood in the queue, its answer is known, or it is asked again."""
KINDS: tuple[Kind, ...] = ("binary", "scalar", "pairwise")
VALUES: Mapping[str, tuple[str, ...]] = {
    "binary": ("good", "bad"),
    "scalar": tuple(str(n) for n in range(1, 11)),
    "pairwise": ("a", "b", "tie"),
}
"""Answers to each kind of task."""
ROLES: tuple[Role, ...] = ("annotator", "lead")
FLAGS = ("harmful", "private", "unreadable", "wrong_language", "names_its_maker", "other")
"""What an annotator may flag a task for, whatever they answer."""
LONGEST_COMMENT = 4000
"""Characters."""
MESSAGE_ROLES = ("system", "user", "assistant")


def now(later: timedelta = timedelta()) -> str:
    """The present moment, or one so much later, as ISO 8601 in UTC with microseconds: sorts as
    text, on every engine."""
    return timestamp(datetime.now(UTC) + later)


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, always 27 characters, ending in Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_timestamp(text: str) -> str:
    """Any ISO 8601 moment, to our fixed form. A moment without a zone is taken as UTC.

    Raises ValueError naming the text.
    """
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ValueError(
            f"created_at {text!r} is not ISO 8601: write it like 2026-01-31T12:00:00Z"
        ) from None
    return timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value: sorted keys, no spaces, text as it is."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def content_hash(*parts: Any) -> str:
    """First 32 hex digits of SHA-256 over the canonical JSON of the parts."""
    return hashlib.sha256(canonical_json(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def cut_short(text: str) -> str:
    """At most 60 characters of a text, to be quoted in a refusal."""
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Message:
    """One turn of a prompt."""

    role: str
    content: str

    def as_dict(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True)
class Prompt:
    """What the model is asked: one or more turns, the last one the person's."""

    messages: tuple[Message, ...]
    tags: tuple[str, ...] = ()
    external_id: str | None = None
    created_at: str | None = field(default=None, compare=False)
    """When it was first stored; None for one that is not stored yet. The same in all nouns."""

    @cached_property
    def id(self) -> str:
        return content_hash("prompt", [m.as_dict() for m in self.messages])

    @property
    def text(self) -> str:
        """All turns as one text, for statistics and search; not what a model reads."""
        return "\n".join(m.content for m in self.messages)

    def plain(self) -> str | list[dict[str, str]]:
        """The exchange format's spelling: a text where one user turn is all there is."""
        if len(self.messages) == 1 and self.messages[0].role == "user":
            return self.messages[0].content
        return [m.as_dict() for m in self.messages]


def make_prompt(value: object, tags: Sequence[str] = (), external_id: str | None = None) -> Prompt:
    """A Prompt from a text or a list of {"role", "content"}.

    Raises ValueError with the reason: no text, an unknown role, or a last turn that is not the
    person's.
    """
    if isinstance(value, str):
        messages = [Message("user", value)]
    elif isinstance(value, Sequence) and value and all(isinstance(m, Mapping) for m in value):
        messages = [_check_message(m) for m in value]
    else:
        shown = cut_short(repr(value))
        raise ValueError(f"prompt must be a text or a list of {{role, content}}, not {shown}")
    if not messages[-1].content.strip():
        raise ValueError("prompt has no text: write the question that the model is asked")
    if messages[-1].role != "user":
        raise ValueError(
            f"prompt ends with the {messages[-1].role}'s turn: its last turn must be the user's"
        )
    return Prompt(tuple(messages), tuple(tags), external_id)


def _check_message(value: Mapping[str, object]) -> Message:
    role, content = value.get("role"), value.get("content")
    if role not in MESSAGE_ROLES:
        raise ValueError(f"message role {role!r} unknown: use {', '.join(MESSAGE_ROLES)}")
    if not isinstance(content, str):
        raise ValueError(f"message content must be a text, not {cut_short(repr(content))}")
    return Message(str(role), content)


@dataclass(frozen=True)
class Demonstration:
    """A completion written by a person, for supervised fine-tuning."""

    prompt: Prompt
    text: str
    external_id: str | None = None
    created_at: str | None = field(default=None, compare=False)

    @cached_property
    def id(self) -> str:
        return content_hash("demonstration", self.prompt.id, self.text)


@dataclass(frozen=True)
class Document:
    """Raw text for continued pretraining."""

    text: str
    external_id: str | None = None
    created_at: str | None = field(default=None, compare=False)

    @cached_property
    def id(self) -> str:
        return content_hash("document", self.text)


@dataclass(frozen=True)
class Completion:
    """What a model wrote to a prompt."""

    prompt: Prompt
    written: str
    """All of it; of a reasoning model its thinking too, see `data.texts.thinking`."""
    finished: bool = True
    """Whether it ended by itself: False where it was cut, at the token limit or otherwise."""
    external_id: str | None = field(default=None, compare=False)
    created_at: str | None = field(default=None, compare=False)

    @cached_property
    def id(self) -> str:
        return content_hash("completion", self.prompt.id, self.written, self.finished)

    @property
    def text(self) -> str:
        """The answer, without any thinking: what is judged, scored and trained on."""
        return self._parts.answer

    @property
    def thinking(self) -> str:
        """What a reasoning model wrote to itself before the answer; empty where it did not."""
        return self._parts.thinking

    def reading(self, thinking: Thinking) -> str:
        """What is read where this much of a completion is asked for."""
        return self.text if thinking == "answer" else self.written

    def ended(self, thinking: Thinking) -> bool:
        """Whether what is read ended by itself: no answer does to which thinking never came."""
        return self.finished and not (thinking == "answer" and self._parts.open)

    @cached_property
    def _parts(self) -> Parts:
        return part(self.written)


@dataclass(frozen=True)
class Generation:
    """Which model wrote a completion, and with which settings."""

    completion: Completion
    model: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
    created_at: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Task:
    """What is asked: one completion (binary, scalar) or two (pairwise) of one prompt."""

    kind: Kind
    a: Completion
    b: Completion | None = None
    wanted: int = 1
    """How many distinct annotators are to judge it; 0 for one that came with an import."""
    position: float = 0.0
    """Its place in the queue: smaller comes first."""

    def __post_init__(self) -> None:
        if (self.kind == "pairwise") != (self.b is not None):
            number = "two completions" if self.kind == "pairwise" else "one completion"
            raise ValueError(f"a {self.kind} task takes {number}")
        if self.b is not None and self.a.prompt.id != self.b.prompt.id:
            raise ValueError("the two completions of a task must answer the same prompt")
        if self.b is not None and self.a.id == self.b.id:
            raise ValueError(
                "completion_a and completion_b are the same text: a pair needs two, else leave the"
                " row out"
            )

    @cached_property
    def id(self) -> str:
        return content_hash("task", self.kind, self.a.id, self.b.id if self.b else None)

    @property
    def sides(self) -> tuple[Completion, ...]:
        """The one completion, or the two."""
        return (self.a,) if self.b is None else (self.a, self.b)

    def turned(self) -> Task:
        """The same question with its sides exchanged."""
        assert self.b is not None
        return replace(self, a=self.b, b=self.a)


def repeat_id(task_id: str, annotator: str) -> str:
    """The id under which one person is asked a task a second time."""
    return content_hash("repeat", task_id, annotator)


@dataclass(frozen=True)
class Annotator:
    """A person who judges. `lead` may also start runs and see everybody's figures."""

    id: int
    name: str
    role: Role
    active: bool = True
    created_at: str | None = field(default=None, compare=False)

    @property
    def badge(self) -> str:
        """Tells this person from everybody else, in any store."""
        return content_hash("person", self.id, self.created_at)


@dataclass(frozen=True)
class Answer:
    """What an annotator says about a task: the part of a judgement that they choose."""

    value: str
    """binary: "good" or "bad"; scalar: "1" to "10"; pairwise: "a", "b" or "tie" (task's order)."""
    strength: int | None = None
    """Pairwise: 1 slightly, 2 clearly, 3 much better."""
    both_bad: bool | None = None
    comment: str | None = None
    seconds: float | None = None
    """Time from the task being shown to the answer."""
    flags: tuple[str, ...] = ()
    """What is wrong with the task itself; see FLAGS."""
    original: str | None = None
    """Scalar: the rating as it was given, where that was on another scale, e.g. "5 of 1..5"."""

    def turned(self) -> Answer:
        """The same answer where the sides are exchanged."""
        return replace(self, value=other_side(self.value))


Side = TypeVar("Side", str, str | None)


def other_side(side: Side) -> Side:
    """What "a" and "b" are where the sides are exchanged; all else stays."""
    return "b" if side == "a" else "a" if side == "b" else side


def check_answer(kind: str, answer: Answer) -> Answer:
    """The answer itself if it fits the kind; else ValueError that names value and remedy."""
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} unknown: use {', '.join(KINDS)}")
    if answer.value not in VALUES[kind]:
        use = {"binary": "good or bad", "scalar": "1 to 10", "pairwise": "a, b or tie"}[kind]
        raise ValueError(f"{kind} value {answer.value!r} unknown: use {use}")
    if answer.strength is not None and (kind != "pairwise" or answer.strength not in (1, 2, 3)):
        raise ValueError(f"strength {answer.strength!r} not allowed: use 1, 2 or 3, pairwise only")
    if answer.strength is not None and answer.value == "tie":
        raise ValueError("strength goes with a or b, not with a tie: leave it out")
    if answer.both_bad is not None and kind != "pairwise":
        raise ValueError("both_bad goes with pairwise judgements only")
    check_flags(answer.flags)
    check_comment(answer.comment)
    return answer


def check_flags(flags: Iterable[str]) -> None:
    """ValueError for a flag that is none of FLAGS, naming it and what is allowed."""
    for flag in flags:
        if flag not in FLAGS:
            raise ValueError(f"flag {cut_short(repr(flag))} unknown: use {', '.join(FLAGS)}")


def check_comment(comment: str | None) -> None:
    """ValueError for a comment that is too long, or that no store could keep as it is."""
    if comment is None:
        return
    if len(comment) > LONGEST_COMMENT:
        raise ValueError(
            f"a comment of {len(comment):,} characters is too long: use at most {LONGEST_COMMENT:,}"
        )
    if fault := unstorable(comment):
        raise ValueError(f"the comment holds {fault}: remove it")


@dataclass(frozen=True)
class Gold:
    """A task's answer that is known beforehand."""

    task: Task
    value: str
    """In the task's order of sides."""
    created_at: str | None = None
    retired_at: str | None = None
    """When it turned out to be wrong, or was given up; None while it is in use."""


@dataclass(frozen=True)
class Judgement:
    """One annotator's standing answer to one task, with everything a learner needs beside it."""

    id: int
    task: Task
    annotator: str
    answer: Answer
    shown_first: Literal["a", "b"] | None
    created_at: str

    @property
    def kind(self) -> Kind:
        return self.task.kind

    @property
    def prompt(self) -> Prompt:
        return self.task.a.prompt


@dataclass(frozen=True)
class Record:
    """A judgement as a file carries it."""

    task: Task
    annotator: str
    answer: Answer
    shown_first: str | None = None
    guidelines_version: int | None = None
    external_id: str | None = None
    created_at: str | None = None
    """None: the moment of the import."""
    retracted_at: str | None = None
    purpose: Purpose = "queue"

    @cached_property
    def key(self) -> str:
        """Hash of all it says but the retraction: the same judgement read again has the same."""
        about = (self.shown_first, self.guidelines_version, self.external_id, self.created_at)
        return judgement_key(self.task_id, self.annotator, self.answer, self.purpose, *about)

    @cached_property
    def task_id(self) -> str:
        """The task's id in the store: what is asked a second time has one of its own."""
        again = self.purpose == "repeat"
        return repeat_id(self.task.id, self.annotator) if again else self.task.id

    def on(self, task: Task) -> Record:
        """The same said of this task: of its own, or of the one with its sides exchanged."""
        if task.id == self.task.id:
            return self
        shown_first = other_side(self.shown_first)
        return replace(self, task=task, answer=self.answer.turned(), shown_first=shown_first)


def judgement_key(
    task_id: str, annotator: str, answer: Answer, purpose: Purpose, *about: str | int | None
) -> str:
    """Hash by which a judgement that is read again is known. See `Record.key` for `about`."""
    said = (answer.value, answer.strength, answer.both_bad, answer.comment, answer.seconds)
    gold = ["gold"] if purpose == "gold" else []  # a repeat has a task id of its own
    original = [] if answer.original is None else ["original", answer.original]
    flags = answer.flags
    return content_hash("judgement", task_id, annotator, *said, *about, *gold, *original, *flags)
