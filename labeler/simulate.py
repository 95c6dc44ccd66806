"""Simulated annotators, for trying the loop without people."""

from __future__ import annotations

from dataclasses import dataclass

from data.settings import Place


@dataclass(frozen=True, kw_only=True)
class Simulate(Place):
    """Let simulated annotators with a known taste work through the queue."""

    judgements: int = 300
    """How many judgements they give together; fewer if the queue runs empty."""
    annotators: int = 6
    """How many of them."""
    seed: int = 0
    """Seed of their tastes and mistakes."""


def simulate(settings: Simulate) -> int:
    """Run them; prints how many judgements were given. Raises ValueError on bad settings."""
    from tqdm import tqdm

    from data import simulated

    if settings.annotators < 1:
        raise ValueError(f"annotators {settings.annotators} not allowed: use 1 or more")
    with settings.open() as store, tqdm(total=settings.judgements, desc="judgements") as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.n = done
            bar.refresh()

        given = simulated.simulate(
            store,
            judgements=settings.judgements,
            annotators=settings.annotators,
            seed=settings.seed,
            progress=progress,
        )
    print(f"{given} judgements by {settings.annotators} simulated annotators")
    if given < settings.judgements:
        print("the queue ran empty: sample more completions, then simulate again")
    return 0
