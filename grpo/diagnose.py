"""What a GRPO run's numbers say, in words, from its first step on: pure functions.

    verdicts = diagnose(steps, settings, baseline, samples)

A verdict is said when its rule has held for a few steps in a row, and stays for a few steps after
it last did, so that verdicts do not flicker; hard evidence speaks at once. A verdict depends on the
rows alone: the same rows give the same verdicts, live or later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grpo.rules import EXPLAINED_BY, RULES, Rule
from grpo.rules.base import Finding, Level, Pick
from grpo.signals import Curves, curves, number, trend

HOLD = 3
"""Steps that a verdict stays after its rule last held."""
LOOK_BACK = 100
"""Steps, at most, over which the beginning of a verdict is sought."""
ENOUGH_STEPS = 5
EVIDENCE = 3
"""Completions that a verdict quotes."""
SETTLED = 1.5
"""KL beside its target up to which it has settled."""


@dataclass(frozen=True)
class Verdict:
    """What the numbers say, in one sentence, with what shows it and what to do about it."""

    name: str
    level: Level
    text: str
    metric: str
    value: float
    threshold: float
    step: int
    """Since when."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    """Up to three completions that show it: step, prompt, completion, reward, advantage."""
    action: str = ""
    """One thing to do, which can be undone."""
    change: dict[str, Any] = field(default_factory=dict)
    """The same in settings."""
    source: str = ""


def diagnose(
    steps: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    baseline: Mapping[str, Any] | None = None,
    samples: Sequence[Mapping[str, Any]] = (),
) -> list[Verdict]:
    """Verdicts on the steps so far, the gravest first.

    `steps`: rows of metrics.jsonl; keys may be missing. `settings`: the run's config. `baseline`:
    what preflight measured. `samples`: lines of samples.jsonl, of which verdicts quote some.
    """
    c = curves(steps, settings, baseline)
    if not len(c):
        return []
    found: dict[str, tuple[Finding, int]] = {}
    for rule in RULES:
        stands = _standing(rule, c)
        if stands and stands[0].name not in found:
            found[stands[0].name] = stands
    explained = {name for cause in found for name in EXPLAINED_BY.get(cause, ())}
    bad = [
        _verdict(finding, step, samples)
        for name, (finding, step) in found.items()
        if name not in explained
    ]
    bad.sort(key=lambda v: v.level != "stop")
    return bad + _healthy(c, {v.metric for v in bad})


def _standing(rule: Rule, c: Curves) -> tuple[Finding, int] | None:
    """The rule's newest finding, with its first step, if it is confirmed and not long past."""
    last = len(c) - 1
    for t in range(last, max(-1, last - HOLD), -1):
        found = rule.find(c, t)
        if found is None or t + 1 < rule.confirm:
            continue
        if all(rule.find(c, u) is not None for u in range(t - rule.confirm + 1, t)):
            return found, c.steps[_since(rule, c, t)]
    return None


def _since(rule: Rule, c: Curves, t: int) -> int:
    """The first row of the unbroken stretch up to row t at which the rule holds."""
    first = t
    while first > 0 and t - first < LOOK_BACK and rule.find(c, first - 1) is not None:
        first -= 1
    return first


def _verdict(f: Finding, step: int, samples: Sequence[Mapping[str, Any]]) -> Verdict:
    return Verdict(
        f.name,
        f.level,
        f.text,
        f.metric,
        f.value,
        f.threshold,
        step,
        evidence(samples, f.pick),
        f.action,
        dict(f.change),
        f.source,
    )


def evidence(samples: Sequence[Mapping[str, Any]], pick: Pick) -> list[dict[str, Any]]:
    """Up to three completions of the newest step there is that show it best."""
    usable = [s for s in samples if isinstance(s.get("completion"), str)]
    newest = max((number(s.get("step")) or 0.0 for s in usable), default=0.0)
    drawn = [s for s in usable if (number(s.get("step")) or 0.0) == newest]
    chosen = _chosen(drawn, pick)[:EVIDENCE]
    kept = ("step", "prompt", "completion", "reward", "advantage")
    return [{key: s.get(key) for key in kept} for s in chosen]


def _chosen(drawn: list[Mapping[str, Any]], pick: Pick) -> list[Mapping[str, Any]]:
    def by(name: str, size: bool = False) -> list[Mapping[str, Any]]:
        def key(s: Mapping[str, Any]) -> float:
            value = number(s.get(name)) or 0.0
            return -abs(value) if size else -value

        return sorted(drawn, key=key)

    if pick == "cut":
        return [s for s in drawn if s.get("finished") is False]
    if pick == "group":
        return drawn
    if pick == "repeated":
        often = Counter((str(s.get("prompt")), s["completion"]) for s in drawn)
        return sorted(drawn, key=lambda s: -often[str(s.get("prompt")), s["completion"]])
    return by("reward") if pick == "best" else by("advantage", size=True)


# --- what is well


def _healthy(c: Curves, ill: set[str]) -> list[Verdict]:
    """What KL, reward and entropy do where nothing is wrong with them."""
    t = len(c) - 1
    if len(c) < ENOUGH_STEPS:
        left = ENOUGH_STEPS - len(c)
        text = f"Not enough steps yet: {len(c)} so far, and levels need {ENOUGH_STEPS}."
        return [Verdict("not-enough-steps", "fine", text, "step", len(c), left, c.steps[t])]
    found = []
    if not ill & {"kl", "kl_nats", "moved", "kl_weight"}:
        found.append(_kl_fine(c, t))
    if not ill & {"reward_mean", "group_std", "dropped", "length_corr", "moved"}:
        found.append(_reward_fine(c, t))
    if not ill & {"entropy", "unique"}:
        found.append(_entropy_fine(c, t))
    return [verdict for verdict in found if verdict is not None]


def _kl_fine(c: Curves, t: int) -> Verdict | None:
    kl, target = c.level("kl_nats", t), c.setting("kl_target") or 0.0
    if kl is None:
        return None
    rising = trend(c.recent("kl_nats", t, 2 * c.window)).z > 1.96
    state = "rises" if rising else "is steady"
    beside = f", its target is {target:g}" if target else ""
    text = f"KL to SFT {state} at {kl:.2g} nats per answer{beside}: the policy explores near SFT."
    return Verdict("kl-fine", "fine", text, "kl_nats", kl, target, c.steps[t])


def _reward_fine(c: Curves, t: int) -> Verdict | None:
    now, start = c.level("reward_mean", t), c.start("reward_mean")
    if now is None or start is None:
        return None
    gain = now - start
    sure = trend(c.recent("reward_mean", t, t + 1)).z > 1.96
    text = (
        f"Reward rose by {gain:.2f} standard deviations of SFT's answers."
        if sure and gain > 0
        else f"Reward moved by {gain:+.2f} so far, which may be chance: no gain is shown yet."
    )
    return Verdict(
        "reward-rises" if sure and gain > 0 else "reward-open",
        "fine", text, "reward_mean", gain, 0.0, c.steps[t],
    )  # fmt: skip


def _entropy_fine(c: Curves, t: int) -> Verdict | None:
    now, start = c.level("entropy", t), c.start("entropy")
    if now is None or not start:
        return None
    text = (
        f"Entropy is {now:.2g} nats per token, {now / start:.0%} of its start: answers stay varied."
    )
    return Verdict("entropy-fine", "fine", text, "entropy", now, 0.5 * start, c.steps[t])
