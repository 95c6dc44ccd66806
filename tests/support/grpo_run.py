"""The folder of a GRPO run, written by hand: what the run's page reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
BASELINE = {"entropy": 1.3, "length": 60.0}


def step(n: int, **changes: Any) -> dict[str, Any]:
    """One line of metrics.jsonl."""
    row = {"step": n, "reward_mean": 0.1 * n, "reward_std": 0.9, "group_std": 0.5, "noise": 0.2}
    row |= {"model_reward": 0.1 * n, "disagreement": 0.2, "kl_nats": 0.5 * n, "kl": 0.01 * n}
    row |= {"kl_weight": 0.04, "entropy": 1.3, "grad_norm": 0.4, "length": 60.0, "moved": 0.001}
    row |= {"truncated": 0.1, "dropped": 0.0, "unique": 1.0, "repetition": 0.05, "clip_ratio": 0.0}
    return row | {"tokens_per_second": 150.0} | changes


def sample(n: int, prompt: str = "Why?", **changes: Any) -> dict[str, Any]:
    """One line of samples.jsonl."""
    row: dict[str, Any] = {"step": n, "prompt": prompt, "completion": "So.", "finished": True}
    row |= {"reward": 0.5, "sd": 0.2, "advantage": 1.0, "dropped": False}
    return row | changes


def verdict(name: str, level: str, **changes: Any) -> dict[str, Any]:
    """One entry of verdicts.json."""
    row: dict[str, Any] = {"name": name, "level": level, "text": f"This is {name}.", "step": 3}
    row |= {"metric": "kl_nats", "value": 9.4, "threshold": 6.0, "samples": []}
    return row | {"action": "Do this.", "change": {}, "source": "Ziegler 2019"} | changes


def check(name: str, level: str = "pass", **changes: Any) -> dict[str, Any]:
    """One check of preflight.json."""
    row = {"name": name, "level": level, "value": "0.3", "need": "more than 0.2"}
    return row | {"remedy": "Collect more." if level != "pass" else ""} | changes


def preflight(*checks: dict[str, Any]) -> dict[str, Any]:
    """What preflight.json holds."""
    cost = {"seconds_per_step": 12.61, "eta_seconds": 504.0, "memory_gib": 2.13}
    return {"checks": list(checks), "baseline": BASELINE, **cost}


def write(folder: Path, **files: Any) -> None:
    """Add lines to metrics and samples; write preflight, verdicts and report anew."""
    for name in ("metrics", "samples"):
        with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in files.get(name, ()))
    for name in ("preflight", "verdicts", "report"):
        if name in files:
            (folder / f"{name}.json").write_text(json.dumps(files[name]), encoding="utf-8")
