"""A GRPO run in words: what was checked before it, what its figures say, what its policy wrote.

Everything that a model or a file said goes through `escape` or `prose`. Nothing here knows of
Gradio.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from data.store.run_rows import Run
from labeler.lead.views.home import table_html
from labeler.lead.views.numbers import duration, number, short
from labeler.safe_html.hidden_text import count_hidden
from labeler.safe_html.markdown import escape, prose, raw

Values = Mapping[str, Any]
LEVELS = {"stop": "bad", "watch": "warn", "fine": ""}
"""Levels of a verdict, worst first, and the colour of each."""
PASSED = {"fail": "bad", "warn": "warn", "pass": ""}
METRICS = {
    "reward_mean": "mean reward",
    "reward_std": "spread of the rewards",
    "group_std": "spread within a group",
    "model_reward": "the reward model's mean",
    "disagreement": "doubt of the reward model",
    "noise": "noise of the reward model",
    "dropped": "share of groups dropped",
    "kl": "KL, nats per token",
    "kl_nats": "KL, nats per answer",
    "kl_weight": "KL weight",
    "entropy": "entropy, nats per token",
    "grad_norm": "grad norm",
    "length": "tokens of an answer",
    "truncated": "share of answers cut off",
    "unique": "share of distinct answers",
    "repetition": "share of repeated word pairs",
    "length_corr": "rank correlation of length and reward",
    "clip_ratio": "share of tokens clipped",
    "moved": "relative change of the weights",
    "learning_rate": "learning rate",
    "loss": "loss",
}
MOST_GROUPS, MOST_ANSWERS = 24, 32
"""Prompts of a step, and answers to each, that are shown; the rest is counted."""


def diagnosis_html(run: Run | None, verdicts: Sequence[Values], step: int) -> str:
    """What the run's figures say at a step, worst first; what is fine on one line each."""
    if run is None or not step:
        return ""
    worst_first = sorted(verdicts, key=lambda verdict: _place(verdict.get("level"), LEVELS))
    if not worst_first:
        text = "Too few steps to say anything yet." if run.live else "Nothing was said of this run."
        return f'<div class="card"><h3>Diagnosis</h3><p class="mute">{text}</p></div>'
    worst = str(worst_first[0].get("level", ""))
    head = f'<div class="run-head"><h3>Diagnosis</h3>{_pill(worst, LEVELS)}'
    rows = "".join(_verdict(run, verdict) for verdict in worst_first)
    return (
        f'<div class="card diagnosis">{head}<span class="mute small">at step {step:,}</span></div>'
        f"{rows}</div>"
    )


def _mappings(found: object) -> list[Values]:
    return [v for v in found if isinstance(v, Mapping)] if isinstance(found, list | tuple) else []


def _place(level: object, levels: Mapping[str, str]) -> int:
    """Where a level stands among all, worst first; unknown ones come last."""
    return list(levels).index(str(level)) if level in levels else len(levels)


def _pill(level: str, colours: Mapping[str, str]) -> str:
    return f'<span class="pill {colours.get(level, "")}">{escape(level)}</span>'


def _verdict(run: Run, verdict: Values) -> str:
    """What is fine in its one sentence; else with number, step, source, action and evidence."""
    level = str(verdict.get("level", ""))
    said = f"<p>{escape(verdict.get('text', ''))}</p>"
    if level != "fine":
        about = [_measured(verdict), _since(verdict), escape(verdict.get("source") or "")]
        line = " · ".join(part for part in about if part)
        said += f'<p class="mute small">{line}</p>' if line else ""
        said += _action(verdict) + _evidence(run, verdict)
    return f'<div class="verdict">{_pill(level, LEVELS)}<div>{said}</div></div>'


def _measured(verdict: Values) -> str:
    """The number against its threshold."""
    if verdict.get("value") is None:
        return ""
    metric = str(verdict.get("metric") or "")
    name = METRICS.get(metric, metric.replace("_", " "))
    limit = verdict.get("threshold")
    against = f", threshold {short(limit)}" if limit is not None else ""
    return f"{escape(name)} <b>{short(verdict['value'])}</b>{against}"


def _since(verdict: Values) -> str:
    step = verdict.get("step")
    least = "at least " if verdict.get("or_earlier") else ""
    return f"{least}since step {number(step)}" if step is not None else ""


def _action(verdict: Values) -> str:
    """What to do about it, with the settings as they would be typed."""
    change = verdict.get("change")
    flags = [_flag(*pair) for pair in change.items()] if isinstance(change, Mapping) else []
    typed = "".join(f" <code>{escape(flag)}</code>" for flag in flags)
    said = escape(verdict.get("action") or "")
    return f'<p class="action">{said}{typed}</p>' if said or typed else ""


def _flag(setting: object, value: object) -> str:
    """A setting as an argument of the command."""
    owner, _, name = str(setting).replace("_", "-").rpartition(".")
    prefix = f"{owner}." if owner else ""
    if isinstance(value, bool):
        return f"--{prefix}{name}" if value else f"--{prefix}no-{name}"
    return f"--{prefix}{name} {value}"


def _evidence(run: Run, verdict: Values) -> str:
    """The answers that show it, folded."""
    samples = _mappings(verdict.get("samples"))
    if not samples:
        return ""
    shown = "".join(
        f'<div class="pair"><div class="role">step {number(s.get("step"))} · reward'
        f" {number(s.get('reward'))} · advantage {number(s.get('advantage'))}</div>"
        f'<p class="mute small">{escape(first_line(s.get("prompt", "")))}</p>'
        f"{_text(s)}</div>"
        for s in samples
    )
    count = "1 answer" if len(samples) == 1 else f"{len(samples)} answers"
    return fold(run, f"verdict-{verdict.get('name', '')}", f"Show {count} that it rests on", shown)


def fold(run: Run, name: str, title: str, inside: str, unfolded: bool = False) -> str:
    """A part that opens on a press, and stays so while the page paints it anew (lead.js)."""
    return (
        f'<details data-fold="{escape(f"{run.id}/{name}")}"{" open" if unfolded else ""}>'
        f"<summary>{title}</summary>{inside}</details>"
    )


def preflight_html(run: Run | None, found: Values) -> str:
    """The checks before the first step: one line if all passed, else the table."""
    checks = _mappings(found.get("checks"))
    if run is None or not checks:
        return ""
    levels = [str(check.get("level", "")) for check in checks]
    counts = [(levels.count(level), word) for level, word in _COUNTED if level in levels]
    noun = "check" if len(checks) == 1 else "checks"
    said = ", ".join(f"{n} {word}" for n, word in counts)
    if len(counts) == 1:
        said = said.replace(" ", f" {noun} ", 1)
    worst = next((level for level in PASSED if level in levels), "pass")
    worst_first = sorted(checks, key=lambda check: _place(check.get("level"), PASSED))
    table = table_html(("check", "result", "found", "needed"), map(_check, worst_first))
    title = f"<b>Preflight</b> {said}{_cost(found)}"
    body = fold(run, f"preflight-{worst}", title, table, unfolded=worst != "pass")
    return f'<div class="card preflight">{body}</div>'


_COUNTED = (("fail", "failed"), ("warn", "to look at"), ("pass", "passed"))


def _cost(found: Values) -> str:
    """What the run takes, as measured before it."""
    parts = []
    if found.get("seconds_per_step") is not None:
        parts.append(f"about {short(found['seconds_per_step'])} s a step")
    if isinstance(found.get("eta_seconds"), int | float):
        parts.append(f"{duration(found['eta_seconds'])} in all")
    if found.get("memory_gib") is not None:
        parts.append(f"{short(found['memory_gib'])} GiB of memory")
    return f'<span class="mute small"> {" · ".join(parts)}</span>' if parts else ""


def _check(check: Values) -> Sequence[str]:
    level = str(check.get("level", ""))
    remedy = check.get("remedy") if level != "pass" else ""
    said = f'<div class="remedy">{escape(remedy)}</div>' if remedy else ""
    values = [escape(check.get(key, "")) for key in ("value", "need")]
    return (f"{escape(check.get('name', ''))}{said}", _pill(level, PASSED), *values)


def step_html(run: Run | None, samples: Sequence[Values]) -> str:
    """What the policy wrote at one step: by prompt, the best first."""
    if run is None or not samples:
        return ""
    groups = [list(group) for _, group in groupby(samples, key=lambda s: repr(s.get("prompt")))]
    shown = "".join(_group(run, n, group) for n, group in enumerate(groups[:MOST_GROUPS]))
    rest = _rest(len(groups) - MOST_GROUPS, "prompts")
    step = number(samples[0].get("step"))
    return f'<div class="card"><h3>Answers of step {step}</h3>{shown}{rest}</div>'


def _group(run: Run, n: int, group: Sequence[Values]) -> str:
    rewards = [r for r in map(_reward, group) if r > -math.inf]
    mean = f" · mean reward {number(fmean(rewards))}" if rewards else ""
    dropped = any(s.get("dropped") for s in group)
    pill = ' <span class="pill warn">dropped</span>' if dropped else ""
    prompt = group[0].get("prompt", "")
    title = (
        f'<span class="group-prompt">{escape(first_line(prompt))}</span>'
        f'<span class="mute small">{len(group)} answers{mean}{pill}</span>'
    )
    why = (
        '<p class="mute small">These rewards differ by less than the reward model can tell: the'
        " group teaches nothing and is dropped.</p>"
        if dropped
        else ""
    )
    whole = plain_prompt(prompt) if first_line(prompt) != str(prompt).strip() else ""
    best_first = sorted(group, key=_reward, reverse=True)
    largest = max((abs(_advantage(s)) for s in group), default=0.0)
    answers = "".join(_answer(s, largest) for s in best_first[:MOST_ANSWERS])
    inside = f"{whole}{why}{answers}{_rest(len(group) - MOST_ANSWERS, 'answers')}"
    return f'<div class="group">{fold(run, f"group-{n}", title, inside, unfolded=n == 0)}</div>'


def _reward(sample: Values) -> float:
    return _finite(sample.get("reward"), -math.inf)


def _advantage(sample: Values) -> float:
    return _finite(sample.get("advantage"), 0.0)


def _finite(value: object, otherwise: float) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else otherwise


def _answer(sample: Values, largest: float) -> str:
    """One completion beside its reward, its advantage as a bar to the left or right of 0."""
    sd = f" ± {number(sample['sd'])}" if sample.get("sd") is not None else ""
    cut = '<span class="pill warn">cut off</span>' if sample.get("finished") is False else ""
    return (
        f'<div class="drawn"><div class="marks"><div>reward <b>{number(sample.get("reward"))}</b>'
        f"{sd}</div>{_bar(_advantage(sample), largest)}{cut}</div>"
        f"<div>{_text(sample)}</div></div>"
    )


def _text(sample: Values) -> str:
    """A completion, and as it is where something in it cannot be seen."""
    text = str(sample.get("completion", ""))
    if not count_hidden(text):
        return prose(text)
    return f"{prose(text)}<details><summary>Raw</summary>{raw(text)}</details>"


def _bar(advantage: float, largest: float) -> str:
    share = min(50.0, 50 * abs(advantage) / largest) if largest else 0.0
    side = "up" if advantage >= 0 else "down"
    left = 50.0 if advantage >= 0 else 50 - share
    return (
        f'<div class="small">advantage {advantage:+.2f}</div><span class="advantage {side}">'
        f'<i style="left:{left:.1f}%;width:{share:.1f}%"></i></span>'
    )


def _rest(left_out: int, what: str) -> str:
    return f'<p class="mute small">({left_out:,} more {what})</p>' if left_out > 0 else ""


def samples_html(samples: Iterable[Values], before: str, after: str) -> str:
    """Completions before and after, side by side."""
    pairs = "".join(
        f"""<div class="pair"><div class="turn"><div class="role">Person</div>
{plain_prompt(s.get("prompt", ""))}</div><div class="answers two">
{_sample(before, s.get("before"), s.get("reward_before"))}
{_sample(after, s.get("after"), s.get("reward_after"))}</div></div>"""
        for s in samples
    )
    if not pairs:
        return ""
    return f'<div class="card"><h3>{before} and {after}, side by side</h3>{pairs}</div>'


def _sample(title: str, text: object, reward: object) -> str:
    score = (
        f' <span class="mute small">reward {number(reward)}</span>' if reward is not None else ""
    )
    return f'<div><div class="role">{escape(title)}{score}</div>{prose(str(text or ""))}</div>'


def plain_prompt(prompt: object) -> str:
    """A prompt, be it a text or turns, inside the box that holds it in place."""
    if isinstance(prompt, list):
        turns = [f"{m.get('role')}: {m.get('content')}" for m in prompt if isinstance(m, Mapping)]
        return prose("\n\n".join(turns))
    return prose(str(prompt))


def first_line(prompt: object) -> str:
    """What a prompt begins with, for one line; of several turns, the last."""
    last = prompt[-1] if isinstance(prompt, list) and prompt else prompt
    text = last.get("content", "") if isinstance(last, Mapping) else last
    line = next(iter(str(text).strip().splitlines()), "")
    return line if len(line) <= 110 else line[:109] + "…"
