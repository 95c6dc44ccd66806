"""A settings dataclass as a form: one field a choice, explained by the field's own docstring."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import gradio as gr

from data.store.run_rows import Run
from grpo.config import (
    ComparisonSettings,
    PolicySettings,
    PretrainSettings,
    SampleSettings,
    SftSettings,
)
from labeler.jobs import Site, usable
from labeler.lead.field_help import field_help
from labeler.theme import plain_html
from reward_model.config import RewardSettings


@dataclass(frozen=True)
class Choice:
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
    Choice("lora.rank", "LoRA rank"),
    Choice("lora.alpha", "LoRA alpha"),
    Choice("lora.targets", "LoRA targets"),
)
TUNED = ("tuning", ("lora", "full"))
REWARD = (
    Choice("objective", "Objective"),
    Choice("scalar", "1-10 ratings", only=("objective", ("joint",))),
    Choice("effects", "Annotator effects"),
    Choice("policy", "Start from", ("grpo", "sft"), "the newest SFT run"),
    Choice("tuning", "Tuning"),
    *(replace(choice, only=("tuning", ("lora",))) for choice in LORA),
    Choice("epochs", "Epochs", only=TUNED),
    Choice("learning_rate", "Learning rate", only=TUNED),
    Choice("members", "Members"),
)
SIDE_CAR = ("tuning", ("lora", "qlora"))
TUNE = (
    Choice("tuning", "Tuning"),
    *(replace(choice, only=SIDE_CAR) for choice in LORA),
    Choice("lora.dropout", "LoRA dropout", only=SIDE_CAR),
    Choice("epochs", "Epochs"),
    Choice("learning_rate", "Learning rate"),
    Choice("max_tokens", "Tokens at most"),
    Choice("eval_every", "Measure every"),
    Choice("patience", "Patience"),
)
BEGINNING = "the model it all starts from"
GOES_ON = (
    "This project's model, or what a run made of it. The side-car of an SFT run is trained on, with"
    " its own rank, alpha and targets."
)
PRETRAIN = SFT = (
    Choice("model", "Start from", ("pretrain", "sft"), BEGINNING, info=GOES_ON),
    *TUNE,
)
SAMPLE = (
    Choice("policy", "Sample from", ("grpo", "sft", "pretrain"), BEGINNING),
    Choice("per_prompt", "Completions of each prompt"),
    Choice("tasks", "Tasks to queue"),
    Choice("annotators", "Annotators for each task"),
    Choice("sampling.temperature", "Temperature"),
    Choice("mix", "Mix with"),
    Choice("across", "Share between two models"),
    Choice("endpoint", "Endpoint"),
    Choice(
        "policy",
        "Model at the endpoint",
        beside="endpoint",
        info="What the endpoint calls the model that is to answer.",
    ),
    Choice("parallel", "Calls at a time"),
)
STEP, REWARDS = "What a step samples", "Rewards and advantages"
UPDATE, COURSE = "What a step changes", "Course of the run"
GRPO = (
    Choice("policy", "Start from", ("grpo", "sft"), "the newest SFT run"),
    Choice("reward", "Reward model", ("reward",), "the newest"),
    Choice("steps", "Steps"),
    Choice("group_size", "Group size"),
    Choice("learning_rate", "Learning rate"),
    Choice("kl_weight", "KL weight"),
    Choice("kl_target", "KL target"),
    Choice("entropy_weight", "Entropy weight"),
    Choice("prompts_per_step", "Prompts in a step", group=STEP),
    Choice("sampling.temperature", "Temperature", group=STEP),
    Choice("sampling.max_new_tokens", "Longest completion", group=STEP),
    Choice("uncertainty_penalty", "Uncertainty penalty", group=REWARDS),
    Choice("length_penalty", "Length penalty", group=REWARDS),
    Choice("reward_clip", "Reward limit", group=REWARDS),
    Choice("drop_below", "Drop groups below", group=REWARDS),
    Choice("advantage_scale", "Advantage scale", group=REWARDS),
    Choice("loss_type", "Loss", group=UPDATE),
    Choice("entropy_target", "Entropy target", group=UPDATE),
    Choice("iterations", "Optimiser steps on a batch", group=UPDATE),
    Choice("micro_batches", "Micro batches", group=UPDATE),
    Choice("save_every", "Steps between checkpoints", group=COURSE),
    Choice("report_to", "Tracker", group=COURSE),
    Choice("seed", "Seed", group=COURSE),
)
COMPARE = (
    Choice("policy", "Policy", ("grpo",), "the newest GRPO run"),
    Choice("per_prompt", "Completions of each prompt"),
    Choice("limit", "Prompts at most"),
)
DEFAULTS: Mapping[str, Any] = {
    "pretrain": PretrainSettings(),
    "sft": SftSettings(),
    "sample": SampleSettings(policy=""),
    "reward": RewardSettings(),
    "grpo": PolicySettings(),
    "compare": ComparisonSettings(policy=""),
}


def fields(kind: str, choices: Sequence[Choice]) -> list[Any]:
    """The Gradio components of a form, in the order of its choices.

    Those that have a group stand below the others, in a fold, under the group's heading.
    """
    made = {choice: _component(kind, choice) for choice in choices if not choice.group}
    groups = dict.fromkeys(choice.group for choice in choices if choice.group)
    if groups:
        with gr.Accordion("Advanced", open=False, elem_id=f"{kind}-advanced"):
            for group in groups:
                plain_html(f"<h4>{group}</h4>")
                made |= {c: _component(kind, c) for c in choices if c.group == group}
    return [made[choice] for choice in choices]


def chosen(
    site: Site, kind: str, choices: Sequence[Choice], values: Sequence[Any]
) -> dict[str, Any]:
    """The values of a form as keyword arguments for its settings.

    Raises ValueError that names a value that does not fit, whoever sent it.
    """
    flat: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for choice, value in zip(choices, values, strict=True):
        checked = _checked(site, kind, choice, value)
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


def run_choices(site: Site, choice: Choice) -> list[tuple[str, str]]:
    """The entries of a list of runs, newest first after the default."""
    found: list[Run] = [run for kind in choice.runs for run in usable(site.store, kind)]
    found.sort(key=lambda run: run.created_at, reverse=True)
    return [(choice.first, ""), *((_named(run), run.id) for run in found)]


def _named(run: Run) -> str:
    return run.id if run.status == "finished" else f"{run.id} ({run.status})"


def _component(kind: str, choice: Choice) -> Any:
    owner, name = _owner(kind, choice)
    default, allowed = getattr(owner, name), _allowed(type(owner), name)
    common: dict[str, Any] = {
        "label": choice.label,
        "info": choice.info or field_help(type(owner), name),
        "elem_id": f"{kind}-{choice.path.replace('.', '-').replace('_', '-')}"
        + ("-there" if choice.beside else ""),
        "visible": not choice.only or _default(kind, choice.only[0]) in choice.only[1],
    }
    if choice.runs:
        return gr.Dropdown([(choice.first, "")], value="", **common)
    if _written(default) and not allowed:
        return gr.Textbox(max_lines=1, **common)
    if allowed:
        return gr.Radio([(_spoken(a), a) for a in allowed], value=default, **common)
    if isinstance(default, bool):
        return gr.Checkbox(default, **common)
    return gr.Number(default, precision=0 if isinstance(default, int) else None, **common)


def _checked(site: Site, kind: str, choice: Choice, value: Any) -> Any:
    owner, name = _owner(kind, choice)
    if choice.runs:
        return _known_run(site, choice, value)
    allowed = _allowed(type(owner), name)
    if allowed:
        if value not in allowed:
            raise ValueError(f"{choice.label} {value!r} unknown: use {', '.join(allowed)}")
        return value
    default = getattr(owner, name)
    if _written(default):
        return _text(value, default)
    if isinstance(default, bool):
        return _ticked(choice.label, value)
    return _number(choice.label, value, type(default))


def _known_run(site: Site, choice: Choice, value: Any) -> str:
    if value in (None, ""):
        return ""
    if value not in [run_id for _, run_id in run_choices(site, choice)]:
        raise ValueError(f"{choice.label}: run {value!r} is not there: choose one from the list")
    return str(value)


def _ticked(label: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{label} {value!r} not allowed: tick it or leave it empty")
    return value


def _number(label: str, value: Any, kind: Callable[[Any], Any]) -> Any:
    if value is None or value == "":
        raise ValueError(f"{label} is empty: write a number")
    try:
        number = float(value)
        if number != number or abs(number) == float("inf") or kind(number) != number:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{label} {value!r} is not a number that fits: correct it") from None
    if number < 0:
        raise ValueError(f"{label} {value} not allowed: use 0 or more")
    return kind(number)


def _written(default: Any) -> bool:
    """Whether a setting is written as text: a name, or several with commas between them."""
    return isinstance(default, str | tuple)


def _text(value: Any, default: Any) -> Any:
    if isinstance(default, str):
        return str(value or "").strip()
    names = value.split(",") if isinstance(value, str) else value or ()
    return tuple(name for name in (str(n).strip() for n in names) if name)


def _owner(kind: str, choice: Choice) -> tuple[Any, str]:
    """The settings object that holds a choice, and the field's name in it."""
    owner, _, name = choice.path.rpartition(".")
    return (getattr(DEFAULTS[kind], owner) if owner else DEFAULTS[kind]), name


def _default(kind: str, path: str) -> Any:
    owner, name = _owner(kind, Choice(path, ""))
    return getattr(owner, name)


def _allowed(settings: type, name: str) -> tuple[str, ...]:
    hint = get_type_hints(settings)[name]
    return get_args(hint) if get_origin(hint) is Literal else ()


def _spoken(value: str) -> str:
    return {"bradley_terry": "Bradley-Terry", "lora": "LoRA", "qlora": "QLoRA"}.get(value, value)
