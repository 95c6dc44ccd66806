"""What a run's preflight found, before its compute is spent: named checks, each with its remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from data.atomic_files import write_json

CheckLevel = Literal["pass", "warn", "fail"]
PREFLIGHT = "preflight.json"
"""File, inside a run's folder."""
MEMORY = 0.9
"""Share of the memory that a run may take without a warning."""
GIB = 2**30


@dataclass(frozen=True)
class Check:
    """One named check: what was found, what is needed, and what to do where it is not so."""

    name: str
    level: CheckLevel
    value: str
    need: str
    remedy: str = ""


@dataclass
class Checks:
    """All checks so far."""

    checks: list[Check] = field(default_factory=list)

    def add(
        self, name: str, good: bool, value: str, need: str, remedy: str, bad: CheckLevel = "fail"
    ) -> None:
        """Note a check: passed where it is good, else at the level `bad`, with its remedy."""
        level: CheckLevel = "pass" if good else bad
        self.checks.append(Check(name, level, value, need, "" if good else remedy))

    @property
    def warnings(self) -> list[str]:
        """A line for each check that warns."""
        return [f"{c.name} is {c.value}: {c.remedy}" for c in self.checks if c.level == "warn"]

    def require(self, folder: Path) -> None:
        """Write what was found. Raises ValueError with reason and remedy where a check failed."""
        write_json(folder / PREFLIGHT, asdict(self))
        for check in self.checks:
            if check.level == "fail":
                raise ValueError(
                    f"preflight: {check.name} is {check.value}, needed is {check.need}:"
                    f" {check.remedy}"
                )
