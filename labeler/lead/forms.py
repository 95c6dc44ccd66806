"""A settings dataclass as a form: one field a choice, explained by the field's own docstring."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

from data.store.run_rows import Run
from labeler.gradio_import import gr
from labeler.jobs import DEFAULTS, Site, usable
from labeler.rendering import render_macro
from labeler.theme import plain_html

SPELLED = {"bradley_terry": "Bradley-Terry", "lora": "LoRA", "qlora": "QLoRA"}
Widget = gr.Dropdown | gr.Textbox | gr.Radio | gr.Checkbox | gr.Number


@dataclass(frozen=True)
class FormField:
    """One field of a form. `path` is the setting's name, with a dot into nested settings."""

    path: str
    label: str
    runs: tuple[str, ...] = ()
    """Kinds of runs to choose from; the field is then a list of runs."""
    first: str = ""
    """What leaving a list of runs at its first entry means."""
    beside: str = ""
    """Path of a text that must not be empty either; this field is then a second way to its path."""
    info: str = ""
    """What the field is for, where the setting's own words do not fit."""
    only: tuple[str, tuple[str, ...]] | None = None
    """Path of another field, and its values with which this one does anything."""
    group: str = ""
    """Heading under which the field stands in the Advanced fold; empty: it is always seen."""


LORA = (
    FormField("lora.rank", "LoRA rank"),
    FormField("lora.alpha", "LoRA alpha"),
    FormField("lora.targets", "LoRA targets"),
)
TUNED = ("tuning", ("lora", "full"))
ENCODERS = ("sft", "grpo", "pretrain")
REWARD = (
    FormField("objective", "Objective"),
    FormField("scalar", "1-10 ratings", only=("objective", ("joint",))),
    FormField("effects", "Annotator effects"),
    FormField("form", "Length and form"),
    FormField("policy", "Start from", ("grpo", "sft"), "the newest SFT run"),
    FormField("from_", "Start from reward model", ("reward",), "none"),
    FormField("tuning", "Tuning"),
    FormField("encoder", "Second model", ENCODERS, "none", only=("tuning", ("head",))),
    *(replace(choice, only=("tuning", ("lora",))) for choice in LORA),
    FormField("epochs", "Epochs", only=TUNED),
    FormField("learning_rate", "Learning rate", only=TUNED),
    FormField("members", "Members"),
    FormField("thinking", "Thinking"),
)
ADAPTER = ("tuning", ("lora", "qlora"))
TUNE = (
    FormField("tuning", "Tuning"),
    *(replace(choice, only=ADAPTER) for choice in LORA),
    FormField("lora.dropout", "LoRA dropout", only=ADAPTER),
    FormField("epochs", "Epochs"),
    FormField("learning_rate", "Learning rate"),
    FormField("max_tokens", "Tokens at most"),
    FormField("eval_every", "Measure every"),
    FormField("patience", "Patience"),
)
BEGINNING = "the model it all starts from"
GOES_ON = (
    "This project's model, or what a run made of it. The adapter of an SFT run is trained on,"
    " with its own rank, alpha and targets."
)
PRETRAIN = (
    FormField("model", "Start from", ("pretrain", "sft"), BEGINNING, info=GOES_ON),
    *TUNE,
)
SFT = (*PRETRAIN, FormField("thinking", "Thinking"))
SAMPLE = (
    FormField("policy", "Sample from", ("grpo", "sft", "pretrain"), BEGINNING),
    FormField("per_prompt", "Completions of each prompt"),
    FormField("tasks", "Tasks to queue"),
    FormField("annotators", "Annotators for each task"),
    FormField("sampling.temperature", "Temperature"),
    FormField("sampling.max_new_tokens", "Longest completion"),
    FormField("mix", "Mix with"),
    FormField("across", "Share between two models"),
    FormField("endpoint", "Endpoint"),
    FormField(
        "policy",
        "Model at the endpoint",
        beside="endpoint",
        info="What the endpoint calls the model that is to answer.",
    ),
    FormField("parallel", "Calls at a time"),
    FormField("parameters", "Further parameters"),
)
STEP, REWARDS = "What a step samples", "Rewards and advantages"
UPDATE, COURSE = "What a step changes", "Course of the run"
GRPO = (
    FormField("policy", "Start from", ("grpo", "sft"), "the newest SFT run"),
    FormField("reward", "Reward model", ("reward",), "the newest"),
    FormField("steps", "Steps"),
    FormField("group_size", "Group size"),
    FormField("learning_rate", "Learning rate"),
    FormField("kl_weight", "KL coefficient"),
    FormField("kl_target", "KL target"),
    FormField("entropy_weight", "Entropy coefficient"),
    FormField("prompts_per_step", "Prompts in a step", group=STEP),
    FormField("sampling.temperature", "Temperature", group=STEP),
    FormField("sampling.max_new_tokens", "Longest completion", group=STEP),
    FormField("pessimism", "Pessimism", group=REWARDS),
    FormField("length_penalty", "Length penalty", group=REWARDS),
    FormField("reward_clip", "Reward limit", group=REWARDS),
    FormField("drop_below", "Drop groups below", group=REWARDS),
    FormField("advantage_scale", "Advantage scale", group=REWARDS),
    FormField("loss_type", "Loss", group=UPDATE),
    FormField("entropy_target", "Entropy target", group=UPDATE),
    FormField("iterations", "Optimiser steps on a batch", group=UPDATE),
    FormField("micro_batches", "Micro batches", group=UPDATE),
    FormField("save_every", "Steps between checkpoints", group=COURSE),
    FormField("report_to", "Tracker", group=COURSE),
    FormField("seed", "Seed", group=COURSE),
)
COMPARE = (
    FormField("policy", "Policy", ("grpo",), "the newest GRPO run"),
    FormField("per_prompt", "Completions of each prompt"),
    FormField("limit", "Prompts at most"),
)


def fields(kind: str, choices: Sequence[FormField]) -> list[Widget]:
    """The Gradio components of a form, in the order of its choices.

    Those that have a group stand below the others, in a fold, under the group's heading.
    """
    made = {choice: _make_component(kind, choice) for choice in choices if not choice.group}
    groups = dict.fromkeys(choice.group for choice in choices if choice.group)
    if groups:
        with gr.Accordion("Advanced", open=False, elem_id=f"{kind}-advanced"):
            for group in groups:
                plain_html(render_macro("parts", "group_heading", group))
                made |= {c: _make_component(kind, c) for c in choices if c.group == group}
    return [made[choice] for choice in choices]


def chosen(
    site: Site, kind: str, choices: Sequence[FormField], values: Sequence[object]
) -> dict[str, object]:
    """The values of a form as keyword arguments for its settings.

    Raises ValueError that names a value that does not fit, whoever sent it.
    """
    flat: dict[str, object] = {}
    nested: dict[str, dict[str, object]] = {}
    given = {choice.path: value for choice, value in zip(choices, values, strict=True)}
    for choice, value in zip(choices, values, strict=True):
        if choice.only and given.get(choice.only[0]) not in choice.only[1]:
            continue  # it is hidden: what was chosen before counts no more
        checked = _checked_value(site, kind, choice, value)
        owner, _, name = choice.path.rpartition(".")
        if owner:
            nested.setdefault(owner, {})[name] = checked
        elif not ((choice.runs or choice.beside) and checked == ""):
            if choice.beside and (name in flat or not flat.get(choice.beside)):
                raise ValueError(
                    f"{choice.label} goes with an address beside it and no run: correct one of them"
                )
            flat[name] = checked
    for owner, changes in nested.items():
        flat[owner] = replace(getattr(DEFAULTS[kind], owner), **changes)
    return flat


def run_choices(site: Site, choice: FormField) -> list[tuple[str, str]]:
    """The entries of a list of runs, newest first after the default."""
    found: list[Run] = [run for kind in choice.runs for run in usable(site.store, kind)]
    found.sort(key=lambda run: run.created_at, reverse=True)
    words = [r.id if r.status == "finished" else f"{r.id} ({r.status})" for r in found]
    return [(choice.first, ""), *zip(words, (run.id for run in found), strict=True)]


def _make_component(kind: str, choice: FormField) -> Widget:
    owner, name = _settings_of(kind, choice.path)
    default, allowed = getattr(owner, name), _allowed_values(type(owner), name)
    useful = not choice.only or getattr(*_settings_of(kind, choice.only[0])) in choice.only[1]
    common: dict[str, Any] = {
        "label": choice.label,
        "info": choice.info or field_help(type(owner), name),
        "elem_id": f"{kind}-{choice.path.rstrip('_').replace('.', '-').replace('_', '-')}"
        + ("-there" if choice.beside else ""),
        "visible": useful,
    }
    if choice.runs:
        return gr.Dropdown([(choice.first, "")], value="", **common)
    if isinstance(default, str | tuple) and not allowed:  # a name, or several with commas
        return gr.Textbox(max_lines=1, **common)
    if allowed:
        return gr.Radio([(SPELLED.get(a, a), a) for a in allowed], value=default, **common)
    if isinstance(default, bool):
        return gr.Checkbox(default, **common)
    return gr.Number(default, precision=0 if isinstance(default, int) else None, **common)


def _checked_value(site: Site, kind: str, choice: FormField, value: object) -> object:
    owner, name = _settings_of(kind, choice.path)
    if choice.runs:
        if value not in (None, *(run_id for _, run_id in run_choices(site, choice))):
            raise ValueError(
                f"{choice.label}: run {value!r} is not there: choose one from the list"
            )
        return value or ""
    allowed = _allowed_values(type(owner), name)
    if allowed:
        if value not in allowed:
            raise ValueError(f"{choice.label} {value!r} unknown: use {', '.join(allowed)}")
        return value
    default = getattr(owner, name)
    if isinstance(default, str):
        return str(value or "").strip()
    if isinstance(default, tuple):
        listed = value if isinstance(value, list | tuple) else ()
        names = value.split(",") if isinstance(value, str) else listed
        return tuple(name for name in (str(n).strip() for n in names) if name)
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{choice.label} {value!r} not allowed: tick it or leave it empty")
        return value
    return _checked_number(choice.label, value, type(default))


def _checked_number(label: str, value: object, kind: type[int] | type[float]) -> float:
    if value is None or value == "":
        raise ValueError(f"{label} is empty: write a number")
    try:
        number = float(value)  # type: ignore[arg-type]
        # Not NaN, not infinite, and no fraction where a whole number is asked for.
        if number != number or abs(number) == float("inf") or kind(number) != number:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{label} {value!r} is not a number that fits: correct it") from None
    if number < 0:
        raise ValueError(f"{label} {value} not allowed: use 0 or more")
    return kind(number)


def _settings_of(kind: str, path: str) -> tuple[Any, str]:
    """The settings object that holds a choice, and the field's name in it."""
    owner, _, name = path.rpartition(".")
    return (getattr(DEFAULTS[kind], owner) if owner else DEFAULTS[kind]), name


def _allowed_values(settings: type, name: str) -> tuple[str, ...]:
    hint = get_type_hints(settings)[name]
    return get_args(hint) if get_origin(hint) is Literal else ()


def field_help(settings: type, name: str) -> str:
    """What a settings field does, in one paragraph. Raises KeyError for an unknown field."""
    for cls in settings.__mro__:
        if is_dataclass(cls) and name in _field_docstrings(cls):
            return _field_docstrings(cls)[name]
    raise KeyError(f"{settings.__name__}.{name} has no docstring")


@cache
def _field_docstrings(cls: type) -> dict[str, str]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=said)):
                found[name] = " ".join(str(said).split())
    return found
