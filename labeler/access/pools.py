"""Threads by what they wait for: one sort of request never takes those of another.

While a store is locked, everybody who rates waits for it. Files, sign-in and the check of the
server's health must not wait with them, nor a lead's page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")
RATING_THREADS, PAGE_THREADS, DOOR_THREADS = 12, 6, 8
"""Together fewer than the connections that a store has (data.store.database.POOL, twice)."""


class Pool:
    """At most so many pieces of work at a time; more wait for their turn, and hold no thread."""

    def __init__(self, threads: int) -> None:
        self.limiter = CapacityLimiter(threads)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, from a thread of this pool."""
        return await to_thread.run_sync(work, limiter=self.limiter)
