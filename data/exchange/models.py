"""The exchange format as pydantic models: which columns each kind of line has, and their values.

`null` stands for a column that is left out. Unknown columns are refused. A field's description
completes the sentence "not allowed: use ..." of a refused value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from data.exchange.turns import plain_turns
from data.exchange.validation import either, show
from data.schema import FLAGS, KINDS, JsonObject, Prompt, Purpose, make_prompt, parse_timestamp
from data.texts.intake import LONGEST_NAME, unstorable

LONGEST_ORIGINAL = 80
LARGEST_SAMPLING = 1800
"""Bytes of a model's settings: with its name, what an index of every database can hold."""


def _check_storable(text: str, column: str | None) -> str:
    """The text itself if every database can keep it."""
    if fault := unstorable(text):
        raise ValueError(f"{column} holds {fault}: remove it")
    return text


def _check_stated(text: str, info: ValidationInfo) -> str:
    if not text.strip():
        raise ValueError(f"{info.field_name} {text!r} has no text: write it or leave the line out")
    return _check_storable(text, info.field_name)


def _check_length(text: str, column: str | None, most: int) -> str:
    size = len(text.encode())
    if size > most:
        raise ValueError(f"{column} of {size:,} bytes is too long: use at most {most:,}")
    return text


def _check_sampling(settings: JsonObject) -> JsonObject:
    """The settings if every database can keep them and an export can spell them."""
    try:
        text = json.dumps(settings, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError):
        raise PydanticCustomError("json", "not JSON") from None
    _check_length(_check_storable(text, "sampling"), "sampling", LARGEST_SAMPLING)
    return settings


def _read_moment(text: str) -> str:
    try:
        return parse_timestamp(text)
    except (ValueError, OverflowError):
        raise PydanticCustomError("moment", "not ISO 8601") from None


def _read_prompt(value: object) -> Prompt:
    if value is None:
        raise PydanticCustomError("missing", "no prompt")
    prompt = make_prompt(plain_turns("prompt", value) if isinstance(value, list) else value)
    for message in prompt.messages:
        _check_storable(message.content, "prompt")
    return prompt


def _whole(value: object) -> object:
    """A float that is a whole number as one: tables with gaps write 7 as 7.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, AfterValidator(lambda text, info: _check_storable(text, info.field_name))]
Stated = Annotated[str, AfterValidator(_check_stated), Field(description="a text")]
Said = Annotated[Text, Field(description='a text ("" is an answer without one)')]
"""What a model answered: an empty answer is one too."""
OptionalText = Annotated[Text | None, Field(description="a text")]
OptionalFlag = Annotated[bool | None, Field(description="true or false")]
OptionalMoment = Annotated[
    Annotated[str, AfterValidator(_read_moment)] | None,
    Field(description="ISO 8601, like 2026-01-31T12:00:00Z"),
]
OptionalModel = Annotated[
    Annotated[
        Stated,
        AfterValidator(lambda name, info: _check_length(name, info.field_name, LONGEST_NAME)),
    ]
    | None,
    Field(description="a text"),
]
PromptField = Annotated[
    Prompt,
    PlainValidator(_read_prompt),
    Field(description="the question as a text, or a list of {role, content}"),
]


class BaseLine(BaseModel):
    """What every line may say."""

    model_config = ConfigDict(strict=True, extra="forbid")

    type: str
    created_at: OptionalMoment = None


class NamedLine(BaseLine):
    """A line whose noun may have had a name where it came from."""

    external_id: OptionalText = None


class PromptLine(NamedLine):
    """What a model is asked."""

    type: Literal["prompt"]
    prompt: PromptField
    tags: Annotated[list[Text] | None, Field(description='a list of texts, like ["advice"]')] = None


class DemonstrationLine(NamedLine):
    """An answer that a person wrote."""

    type: Literal["demonstration"]
    prompt: PromptField
    completion: Stated


class DocumentLine(NamedLine):
    """Text for continued pretraining."""

    type: Literal["document"]
    text: Stated


class CompletionLine(NamedLine):
    """An answer that a model wrote, with the model's name where it is known."""

    type: Literal["completion"]
    prompt: PromptField
    completion: Said
    model: OptionalModel = None
    sampling: Annotated[
        Annotated[JsonObject, AfterValidator(_check_sampling)] | None,
        Field(description='an object of JSON values, like {"temperature": 1.0}'),
    ] = None
    finished: OptionalFlag = None

    @model_validator(mode="after")
    def _sampling_names_its_model(self) -> CompletionLine:
        if self.sampling and self.model is None:
            raise ValueError("sampling goes with a model: name the model or leave sampling out")
        return self


class OneCompletion(BaseLine):
    """The question about one completion."""

    prompt: PromptField
    completion: Said
    finished: OptionalFlag = None


class BinaryAnswer(OneCompletion):
    """Whether a completion is good."""

    kind: Literal["binary"]
    value: Annotated[bool, Field(description="true or false, for good or bad")]


class ScalarAnswer(OneCompletion):
    """How good a completion is."""

    kind: Literal["scalar"]
    value: Annotated[
        Annotated[int, Field(ge=1, le=10)],
        BeforeValidator(_whole),
        Field(description="a whole number from 1 to 10"),
    ]


class PairwiseAnswer(BaseLine):
    """The question about two completions of one prompt."""

    kind: Literal["pairwise"]
    prompt: PromptField
    completion_a: Said
    completion_b: Said
    finished_a: OptionalFlag = None
    finished_b: OptionalFlag = None
    value: Annotated[Literal["a", "b", "tie"], Field(description='"a", "b" or "tie"')]


class JudgementLine(NamedLine):
    """What one annotator said, and when they took it back."""

    type: Literal["judgement"]
    annotator: Annotated[
        Stated,
        AfterValidator(str.strip),
        Field(max_length=80, description="a name of 1 to 80 characters"),
    ]
    comment: OptionalText = None
    flags: Annotated[list[str] | None, Field(description=f"a list of {either(FLAGS)}")] = None
    seconds: Annotated[
        float | None, Field(ge=0, lt=1e9, description="a number of seconds, 0 or more")
    ] = None
    guidelines_version: Annotated[
        Annotated[int, Field(ge=1, lt=2**31)] | None,
        BeforeValidator(_whole),
        Field(description="a whole number, 1 or more"),
    ] = None
    purpose: Annotated[Purpose | None, Field(description="queue, gold or repeat")] = None
    retracted_at: OptionalMoment = None


class BinaryJudgement(JudgementLine, BinaryAnswer):
    model: OptionalModel = None


class ScalarJudgement(JudgementLine, ScalarAnswer):
    model: OptionalModel = None
    original: Annotated[
        Annotated[str, AfterValidator(_check_stated), Field(max_length=LONGEST_ORIGINAL)] | None,
        Field(description=f"a text of at most {LONGEST_ORIGINAL} characters, like 5 of 1..5"),
    ] = None
    """The rating as it was given, where that was on another scale."""


class PairwiseJudgement(JudgementLine, PairwiseAnswer):
    strength: Annotated[
        Annotated[int, Field(ge=1, le=3)] | None,
        BeforeValidator(_whole),
        Field(description="1 slightly, 2 clearly or 3 much better"),
    ] = None
    both_bad: OptionalFlag = None
    shown_first: Annotated[Literal["a", "b"] | None, Field(description='"a" or "b"')] = None
    model_a: OptionalModel = None
    model_b: OptionalModel = None


class GoldLine(BaseLine):
    """An answer that is known beforehand."""

    type: Literal["gold"]
    retired_at: OptionalMoment = None


class BinaryGold(GoldLine, BinaryAnswer):
    pass


class ScalarGold(GoldLine, ScalarAnswer):
    pass


class PairwiseGold(GoldLine, PairwiseAnswer):
    pass


AnyJudgement = BinaryJudgement | ScalarJudgement | PairwiseJudgement
AnyGold = BinaryGold | ScalarGold | PairwiseGold
AnyContent = PromptLine | DemonstrationLine | DocumentLine | CompletionLine
AnyLine = AnyContent | AnyJudgement | AnyGold
_LINE: TypeAdapter[AnyLine] = TypeAdapter(
    Annotated[
        AnyContent
        | Annotated[AnyJudgement, Field(discriminator="kind")]
        | Annotated[AnyGold, Field(discriminator="kind")],
        Field(discriminator="type"),
    ]
)
_MODELS: Mapping[tuple[str, ...], type[BaseLine]] = {
    tuple(
        get_args(model.model_fields[tag].annotation)[0]
        for tag in ("type", "kind")
        if tag in model.model_fields
    ): model
    for model in get_args(AnyLine)
}
"""By what their tags say, e.g. ("judgement", "binary")."""
TYPES = tuple(dict.fromkeys(tags[0] for tags in _MODELS))


def validate(row: JsonObject) -> AnyLine:
    """A line's columns, checked. Raises ValueError naming the value and what is allowed."""
    try:
        return _LINE.validate_python(row)
    except ValidationError as error:
        raise ValueError(_explain_fault(error, row)) from None


def _explain_fault(error: ValidationError, row: JsonObject) -> str:
    """What is wrong with a line, in one sentence.

    Of several faults an unknown column is named first: a missing one is often the same, misspelt.
    """
    faults = error.errors(include_url=False)
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    if fault["type"].startswith("union_tag"):
        tag, allowed = ("kind", KINDS) if fault["loc"] else ("type", TYPES)
        return f"{tag} {show(row.get(tag))} unknown: use {either(allowed)}"
    if fault["type"] == "value_error":  # of a validator above, in words
        return str(fault["ctx"]["error"])
    # A place is the tags that chose the model, the column, and where in its value.
    place = tuple(map(str, fault["loc"]))
    tags = next(known for known in (place[:1], place[:2]) if known in _MODELS)
    fields, column = _MODELS[tags].model_fields, place[len(tags)]
    if column not in fields:
        line = " ".join(reversed(tags))
        return f"column {show(column)} unknown in a {line}: use {either([*fields])}"
    allowed_words = fields[column].description
    if row.get(column) is None:
        return f"{column} is missing: write {allowed_words}"
    return f"{column} {show(row[column])} not allowed: use {allowed_words}"
