"""Gradients that are too large or vanish, and answers that are cut."""

from __future__ import annotations

from grpo.diagnosis.curves import Curves
from grpo.diagnosis.rules.base import START_AGAIN, Finding, turned

CLIPPED_AT = 1.0
"""Norm to which gradients are clipped."""
CUT = 0.15


def aggressive_gradients(c: Curves, t: int) -> Finding | None:
    """Most steps are clipped, and gradients are three times what they were at the start."""
    norm, start = c.level("grad_norm", t), c.start("grad_norm")
    if norm is None or start is None or t + 1 < c.window:
        return None
    limit = max(CLIPPED_AT, 3 * start)
    if norm <= limit:
        return None
    return Finding(
        "aggressive-gradients", "watch",
        f"The gradient's norm is {norm:.2g}, above {limit:.2g} (it started at {start:.2g}): updates"
        " are aggressive, and clipped in most steps.",
        "grad_norm", norm, limit, START_AGAIN,
        "rldoctor, gradient spikes (3 times the median)", turned(c, "learning_rate", 0.5),
    )  # fmt: skip


def vanishing_gradients(c: Curves, t: int) -> Finding | None:
    """Gradients are under 5% of what they were at the start, or 0 in two fifths of the steps."""
    norms = c.recent("grad_norm", t, 2 * c.window)
    norm, start = c.level("grad_norm", t), c.start("grad_norm")
    if norm is None or start is None or t + 1 < 2 * c.window or not norms:
        return None
    zeros = sum(n <= 0 for n in norms) / len(norms)
    limit = 0.05 * start
    if norm >= limit and zeros < 0.4:
        return None
    return Finding(
        "vanishing-gradients", "watch",
        f"The gradient's norm is {norm:.2g} at step {c.steps[t]}, where {limit:.2g} is 5% of its"
        f" start, and 0 in {zeros:.0%} of the last steps: hardly anything is learnt from.",
        "grad_norm", norm, limit, "Start again and {}, so that rewards differ again.",
        "rldoctor, vanishing gradients (5% of early ones; 20, 40 and 70% zero steps)",
        turned(c, "group_size", 2),
    )  # fmt: skip


def truncation(c: Curves, t: int) -> Finding | None:
    """Too many answers that the token limit ended, lately."""
    cut = c.level("truncated", t)
    if cut is None or c.batches(t) < 3 or cut <= CUT:
        return None
    ends = ", or none ends by itself: check the end-of-turn token" if cut > 0.95 else ""
    return Finding(
        "truncation", "watch",
        f"{cut:.0%} of the answers reach the token limit unfinished, more than {CUT:.0%}: they are"
        f" too long for it{ends}.",
        "truncated", cut, CUT, START_AGAIN, "rldoctor, truncation at 5 and 15%; TRL PR 7039",
        turned(c, "sampling.max_new_tokens", 2), "cut",
    )  # fmt: skip
