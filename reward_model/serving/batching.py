"""Requests that arrive together go through the network together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from data.stats.intervals import Floats
from reward_model.language_model.render import Rendered
from reward_model.scoring.scorer import Scorer

Read = tuple[Floats, Floats]
"""Head outputs (N,), and their standard deviations (N,)."""
AT_ONCE = 256
"""Texts from which on no further request joins a pass."""


class BatchingScorer:
    """A scorer that several threads share: one forward at a time, for all that wait by then."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self._turn = threading.Lock()
        self._waiting: deque[tuple[Sequence[Rendered], Future[Read]]] = deque()

    def read(self, texts: Sequence[Rendered]) -> Read:
        """Waits for its turn. Raises what the network raises."""
        answer: Future[Read] = Future()
        self._waiting.append((texts, answer))
        with self._turn:
            # whoever was before may have answered this request with its own
            while not answer.done():
                self._answer_waiting()
        return answer.result()

    def _answer_waiting(self) -> None:
        """One pass over the requests that came first. Only whose turn it is calls this."""
        texts: list[Rendered] = []
        asked: list[tuple[slice, Future[Read]]] = []
        while self._waiting and len(texts) < AT_ONCE:
            more, answer = self._waiting.popleft()
            asked.append((slice(len(texts), len(texts) + len(more)), answer))
            texts += more
        try:
            raw, sd = self.scorer.read(texts)
        except Exception as error:
            for _, answer in asked:
                answer.set_exception(error)
            return
        for part, answer in asked:
            answer.set_result((raw[part], sd[part]))
