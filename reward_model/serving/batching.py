"""One thread that reads texts for all who ask: whatever waits goes through the network together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from reward_model.language_model.render import Rendered
from reward_model.scoring.scorer import Scorer

Array = NDArray[np.float64]
Read = tuple[Array, Array]
"""Head outputs (N,), and their standard deviations (N,)."""
AT_ONCE = 256
"""Texts from which on no further request joins a pass."""


class Reader:
    """Requests of several clients in one pass of the scorer: one forward at a time."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self._asked: queue.SimpleQueue[tuple[Sequence[Rendered], Future[Read]] | None]
        self._asked = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._asked.put(None)
        self._thread.join()

    def read(self, texts: Sequence[Rendered]) -> Read:
        """Waits for its turn. Raises what the network raises."""
        answer: Future[Read] = Future()
        self._asked.put((texts, answer))
        return answer.result()

    def _work(self) -> None:
        while (first := self._asked.get()) is not None:
            together, ended = [first], False
            while sum(len(texts) for texts, _ in together) < AT_ONCE and not self._asked.empty():
                more = self._asked.get()
                if more is None:
                    ended = True
                    break
                together.append(more)
            self._answer(together)
            if ended:
                return

    def _answer(self, together: Sequence[tuple[Sequence[Rendered], Future[Read]]]) -> None:
        try:
            raw, sd = self.scorer.read([text for texts, _ in together for text in texts])
        except Exception as error:
            for _, answer in together:
                answer.set_exception(error)
            return
        start = 0
        for texts, answer in together:
            part = slice(start, start + len(texts))
            answer.set_result((raw[part], sd[part]))
            start = part.stop
