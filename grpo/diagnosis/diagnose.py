"""What a GRPO run's numbers say, in words, from its first step on: pure functions.

    verdicts = diagnose(steps, settings, baseline, samples)

A verdict is said when its rule has held for a few steps in a row, and stays for a few steps after
it last did, so that verdicts do not flicker; hard evidence speaks at once. A verdict depends on the
rows alone: the same rows give the same verdicts, live or later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from grpo.diagnosis.curves import Curves, curves, finite_or_none
from grpo.diagnosis.rules import EXPLAINED_BY, RULES, Rule
from grpo.diagnosis.rules.base import SURE, Pick, Severity, turned
from grpo.diagnosis.rules.drift import BUDGET
from grpo.diagnosis.rules.reward import FALLEN, gained

HOLD = 3
"""Batches that a verdict stays after its rule last held."""
LOOK_BACK = 100
"""Steps, at most, over which the beginning of a verdict is sought."""
ENOUGH_STEPS = 5
NOTHING = 0.01
"""Share of the target of KL below which a policy has not moved."""
SampleRow = Mapping[str, object]
"""A line of samples.jsonl."""


@dataclass(frozen=True)
class Verdict:
    """What the numbers say, in one sentence, with what shows it and what to do about it."""

    name: str
    level: Severity
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
    samples: Sequence[SampleRow] = (),
) -> list[Verdict]:
    """Verdicts on the steps so far, the gravest first.

    `steps`: rows of metrics.jsonl; keys may be missing. `settings`: the run's config. `baseline`:
    what preflight measured. `samples`: lines of samples.jsonl, of which verdicts quote some.
    """
    c = curves(steps, settings, baseline)
    if not len(c):
        return []
    found: dict[str, Verdict] = {}
    for rule in RULES:
        verdict = _find_verdict(rule, c, samples)
        if verdict:
            found.setdefault(verdict.name, verdict)
    explained = {name for cause in found for name in EXPLAINED_BY.get(cause, ())}
    bad = [verdict for name, verdict in found.items() if name not in explained]
    bad.sort(key=lambda v: v.level != "stop")
    return bad + _healthy_verdicts(c, {v.metric for v in bad}, any(v.level == "stop" for v in bad))


def _find_verdict(rule: Rule, c: Curves, samples: Sequence[SampleRow]) -> Verdict | None:
    """What the rule found, if it is confirmed, in as many batches, and not long past; since the
    first row of an unbroken stretch in which it holds."""
    last, confirm = len(c) - 1, RULES[rule]
    for t in range(last, max(-1, last - HOLD * c.every), -1):
        f = rule(c, t)
        before = range(t - (confirm - 1) * c.every, t, c.every)
        if f is None or c.batches(t) < confirm or any(rule(c, u) is None for u in before):
            continue
        first, least = t, max(0, t - LOOK_BACK)
        while f.step is None and first > least and rule(c, first - 1) is not None:
            first -= 1
        words, change = f.turn
        return Verdict(
            f.name, f.level, f.text, f.metric, f.value, f.threshold,
            f.step if f.step is not None else c.steps[first],
            evidence(samples, f.pick), f.action.format(words), dict(change), f.source,
            or_earlier=first > 0 and t - first >= LOOK_BACK,
        )  # fmt: skip
    return None


def evidence(samples: Sequence[SampleRow], pick: Pick) -> list[dict[str, object]]:
    """Up to three completions of the newest step there is that show it best."""
    usable = [s for s in samples if isinstance(s.get("completion"), str)]
    newest = max((finite_or_none(s.get("step")) or 0.0 for s in usable), default=0.0)
    drawn = [s for s in usable if (finite_or_none(s.get("step")) or 0.0) == newest]
    if pick == "cut":
        drawn = [s for s in drawn if s.get("finished") is False]
    often = Counter((str(s.get("prompt")), s["completion"]) for s in drawn)
    telling: dict[Pick, Callable[[SampleRow], float]] = {
        "telling": lambda s: abs(finite_or_none(s.get("advantage")) or 0.0),
        "best": lambda s: finite_or_none(s.get("reward")) or 0.0,
        "repeated": lambda s: often[str(s.get("prompt")), s["completion"]],
    }
    if pick in telling:
        drawn = sorted(drawn, key=telling[pick], reverse=True)
    kept = ("step", "prompt", "completion", "reward", "advantage")
    return [{key: s.get(key) for key in kept} for s in drawn[:3]]


# --- what is well


def _healthy_verdicts(c: Curves, ill: set[str], stop: bool) -> list[Verdict]:
    """What KL, reward and entropy do where nothing is wrong with them; no reward is well in a run
    that is to stop."""
    t = len(c) - 1
    if len(c) < ENOUGH_STEPS:
        left = ENOUGH_STEPS - len(c)
        text = f"Not enough steps yet: {len(c)} so far, and levels need {ENOUGH_STEPS}."
        return [Verdict("not-enough-steps", "fine", text, "step", len(c), left, c.steps[t])]
    found: list[Verdict | None] = []
    kl, target = c.level("kl_nats", t), c.setting("kl_target") or 0.0
    well = kl is not None and not ill & {"kl", "kl_nats", "moved", "kl_weight"}
    still = _still(c, t) if well else None
    if still is not None:
        found.append(still)
    elif kl is not None and well:
        state = "rises" if c.going("kl_nats", t, 2 * c.window).z > SURE else "is steady"
        beside = f", its target is {target:g}" if target else ""
        text = (
            f"KL to SFT {state} at {kl:.2g} nats per answer{beside}: the policy explores near SFT."
        )
        found.append(Verdict("kl-fine", "fine", text, "kl_nats", kl, target, c.steps[t]))
    if not stop and not ill & {"reward_mean", "group_std", "dropped", "length_corr", "moved"}:
        found.append(_reward_fine(c, t))
    now, start = c.level("entropy", t), c.start("entropy")
    if now is not None and start and not ill & {"entropy", "unique"}:
        share = f"{now / start:.0%} of its start"
        text = f"Entropy is {now:.2g} nats per token, {share}: answers stay varied."
        found.append(Verdict("entropy-fine", "fine", text, "entropy", now, 0.5 * start, c.steps[t]))
    return [verdict for verdict in found if verdict is not None]


def _still(c: Curves, t: int) -> Verdict | None:
    """A policy that is still where it began: nothing good can be said of that, nor anything bad
    while most of the run is to come."""
    kl, target = c.level("kl_nats", t), c.setting("kl_target") or 0.0
    limit = NOTHING * (target or BUDGET)
    if kl is None or kl >= limit:
        return None
    beside = f", of a target of {target:g}" if target else ""
    what = (
        f"KL to SFT is {kl:.2g} nats per answer after {t + 1} steps{beside}: the policy still gives"
        " SFT's answers"
    )
    if c.steps[t] < c.planned:
        text = f"Nothing has happened so far. {what}; {c.planned - c.steps[t]} steps are to come."
        return Verdict("nothing-yet", "fine", text, "kl_nats", kl, limit, c.steps[t])
    words, change = turned(c, "learning_rate", 3)
    return Verdict(
        "nothing-happened", "watch", f"Nothing has happened in this run. {what}.", "kl_nats", kl,
        limit, c.steps[t], action=f"Start again with more steps, and {words}.", change=dict(change),
        source="a hundredth of what the run was allowed to move",
    )  # fmt: skip


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
