"""Learns r(prompt, completion) from the store. Importing this loads no torch; Scorer does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reward_model.scoring.scorer import Scorer

__all__ = ["Scorer"]


def __getattr__(name: str) -> type[Scorer]:
    if name == "Scorer":
        from reward_model.scoring.scorer import Scorer

        return Scorer
    raise AttributeError(name)
