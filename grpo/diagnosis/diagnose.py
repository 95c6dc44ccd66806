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

from grpo.diagnosis.curves import Curves, curves, number
from grpo.diagnosis.rules import EXPLAINED_BY, RULES, Rule
from grpo.diagnosis.rules.base import SURE, Finding, Level, Pick
from grpo.diagnosis.rules.reward import FALLEN, gained

HOLD = 3
"""Batches that a verdict stays after its rule last held."""
LOOK_BACK = 100
"""Steps, at most, over which the beginning of a verdict is sought."""
ENOUGH_STEPS = 5
EVIDENCE = 3
"""Completions that a verdict quotes."""


@dataclass(frozen=True)
class Verdict:
    """What the numbers say, in one sentence, with what shows it and what to do about it."""

    name: str
    level: Level
    text: str
    metric: str
    value: float | None
    threshold: float | None
    step: int
    """Since when."""
    samples: list[dict[str, object]] = field(default_factory=list)
    """Up to three completions that show it: step, prompt, completion, reward, advantage."""
    action: str = ""
    """One thing to do, which can be undone."""
    change: dict[str, object] = field(default_factory=dict)
    """The same in settings."""
    source: str = ""
    or_earlier: bool = False
    """It held at that step already, and farther back was not looked."""


def diagnose(
    steps: Sequence[Mapping[str, object]],
    settings: Mapping[str, object],
    baseline: Mapping[str, object] | None = None,
    samples: Sequence[Mapping[str, object]] = (),
) -> list[Verdict]:
    """Verdicts on the steps so far, the gravest first.

    `steps`: rows of metrics.jsonl; keys may be missing. `settings`: the run's config. `baseline`:
    what preflight measured. `samples`: lines of samples.jsonl, of which verdicts quote some.
    """
    c = curves(steps, settings, baseline)
    if not len(c):
        return []
    found: dict[str, Standing] = {}
    for rule in RULES:
        stands = _confirm_finding(rule, c)
        if stands and stands.finding.name not in found:
            found[stands.finding.name] = stands
    explained = {name for cause in found for name in EXPLAINED_BY.get(cause, ())}
    bad = [
        _make_verdict(c, stands, samples) for name, stands in found.items() if name not in explained
    ]
    bad.sort(key=lambda v: v.level != "stop")
    return bad + _healthy_verdicts(c, {v.metric for v in bad}, any(v.level == "stop" for v in bad))


@dataclass(frozen=True)
class Standing:
    """A rule's newest confirmed finding, with the row of its first one in an unbroken stretch."""

    finding: Finding
    first: int
    or_earlier: bool = False


def _confirm_finding(rule: Rule, c: Curves) -> Standing | None:
    """What the rule found, if it is confirmed, in as many batches, and not long past."""
    last = len(c) - 1
    for t in range(last, max(-1, last - HOLD * c.every), -1):
        found = rule.find(c, t)
        if found is None or c.batches(t) < rule.confirm:
            continue
        before = range(t - (rule.confirm - 1) * c.every, t, c.every)
        if all(rule.find(c, u) is not None for u in before):
            return _find_beginning(rule, c, t, found)
    return None


def _find_beginning(rule: Rule, c: Curves, t: int, found: Finding) -> Standing:
    if found.step is not None:
        return Standing(found, t)
    first = t
    while first > 0 and rule.find(c, first - 1) is not None:
        first -= 1
        if t - first >= LOOK_BACK:
            return Standing(found, first, or_earlier=first > 0)
    return Standing(found, first)


def _make_verdict(c: Curves, at: Standing, samples: Sequence[Mapping[str, object]]) -> Verdict:
    f = at.finding
    return Verdict(
        f.name, f.level, f.text, f.metric, f.value, f.threshold,
        f.step if f.step is not None else c.steps[at.first],
        evidence(samples, f.pick), f.action, dict(f.change), f.source, at.or_earlier,
    )  # fmt: skip


def evidence(samples: Sequence[Mapping[str, object]], pick: Pick) -> list[dict[str, object]]:
    """Up to three completions of the newest step there is that show it best."""
    usable = [s for s in samples if isinstance(s.get("completion"), str)]
    newest = max((number(s.get("step")) or 0.0 for s in usable), default=0.0)
    drawn = [s for s in usable if (number(s.get("step")) or 0.0) == newest]
    chosen = _rank_samples(drawn, pick)[:EVIDENCE]
    kept = ("step", "prompt", "completion", "reward", "advantage")
    return [{key: s.get(key) for key in kept} for s in chosen]


def _rank_samples(drawn: list[Mapping[str, object]], pick: Pick) -> list[Mapping[str, object]]:
    def by(name: str, size: bool = False) -> list[Mapping[str, object]]:
        def key(s: Mapping[str, object]) -> float:
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


def _healthy_verdicts(c: Curves, ill: set[str], stop: bool) -> list[Verdict]:
    """What KL, reward and entropy do where nothing is wrong with them; no reward is well in a run
    that is to stop."""
    t = len(c) - 1
    if len(c) < ENOUGH_STEPS:
        left = ENOUGH_STEPS - len(c)
        text = f"Not enough steps yet: {len(c)} so far, and levels need {ENOUGH_STEPS}."
        return [Verdict("not-enough-steps", "fine", text, "step", len(c), left, c.steps[t])]
    found = []
    if not ill & {"kl", "kl_nats", "moved", "kl_weight"}:
        found.append(_kl_fine(c, t))
    if not stop and not ill & {"reward_mean", "group_std", "dropped", "length_corr", "moved"}:
        found.append(_reward_fine(c, t))
    if not ill & {"entropy", "unique"}:
        found.append(_entropy_fine(c, t))
    return [verdict for verdict in found if verdict is not None]


def _kl_fine(c: Curves, t: int) -> Verdict | None:
    kl, target = c.level("kl_nats", t), c.setting("kl_target") or 0.0
    if kl is None:
        return None
    rising = c.going("kl_nats", t, 2 * c.window).z > SURE
    state = "rises" if rising else "is steady"
    beside = f", its target is {target:g}" if target else ""
    text = f"KL to SFT {state} at {kl:.2g} nats per answer{beside}: the policy explores near SFT."
    return Verdict("kl-fine", "fine", text, "kl_nats", kl, target, c.steps[t])


def _reward_fine(c: Curves, t: int) -> Verdict | None:
    found = gained(c, t)
    if found is None:
        return None
    gain, error = found
    z = c.going("reward_mean", t, t + 1).z
    if gain > 0 and z > SURE:
        name = "reward-rises"
        text = f"Reward rose by {gain:.2f} standard deviations of SFT's answers."
    elif gain < 0 and (z < -SURE or -gain > 2 * error):
        if -gain > FALLEN:
            return None  # no chance, and not well
        name = "reward-falls"
        text = f"Reward fell by {-gain:.2f}, more than chance makes, and less than {FALLEN:g}."
    else:
        name = "reward-open"
        text = f"Reward moved by {gain:+.2f} so far, which may be chance: no gain is shown yet."
    return Verdict(name, "fine", text, "reward_mean", gain, 0.0, c.steps[t])


def _entropy_fine(c: Curves, t: int) -> Verdict | None:
    now, start = c.level("entropy", t), c.start("entropy")
    if now is None or not start:
        return None
    text = (
        f"Entropy is {now:.2g} nats per token, {now / start:.0%} of its start: answers stay varied."
    )
    return Verdict("entropy-fine", "fine", text, "entropy", now, 0.5 * start, c.steps[t])
