"""Completions from a server that speaks OpenAI's chat completions (vLLM, llama.cpp, a hosted API).

    python -m grpo sample --endpoint http://host:8000/v1 --policy NAME

One call asks for one completion, with a seed of its own, so that any server will do and a run that
stopped goes on where it was. The key comes from the environment and goes to that address only.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count, filterfalse, islice
from urllib.parse import urlsplit

import httpx

from data.runs.recorder import Recorder
from data.schema import Completion, Generation, Prompt
from data.store import Store
from grpo.config import SampleSettings
from grpo.reports.records import EndpointSource

KEY_VARIABLE = "COACH_ENDPOINT_KEY"
TRIES = 5
"""Calls for one completion, as long as the endpoint is busy, broken or silent."""
FIRST_WAIT = 1.0
"""Seconds before the second try; twice as long before each later one."""
LONGEST_WAIT = 120.0
"""An endpoint that asks for a longer wait than this is given up."""
POLL = 0.5
"""Seconds between two looks at whether the run is to stop."""
UNFIT = (400, 413, 422)
"""Answers to a question that does not fit, e.g. a prompt that is too long: that one is left out."""


@dataclass(frozen=True)
class Ask:
    """One completion to fetch."""

    prompt: Prompt
    seed: int


def from_endpoint(
    settings: SampleSettings,
    prompts: Sequence[Prompt],
    store: Store,
    run: Recorder,
    keep: Callable[[Sequence[Generation], int, int], None],
) -> EndpointSource:
    """Fetch for the prompts; `keep(new, done, total)` takes each batch. Returns how it was done.

    Raises ValueError where the endpoint refuses or stays silent; what came before is kept.
    """
    there = store.content.generations(settings.policy) if settings.missing else []
    endpoint = Endpoint(settings, known=bool(there))
    used: defaultdict[str, list[object]] = defaultdict(list)
    for generation in there:
        used[generation.completion.prompt.id].append(generation.sampling.get("seed"))
    asks = []  # of each prompt as many as it lacks, with seeds that were not drawn from yet
    for prompt in prompts:
        free = filterfalse(used[prompt.id].__contains__, count(settings.seed))
        lacking = max(settings.per_prompt - len(used[prompt.id]), 0)
        asks.append([Ask(prompt, seed) for seed in islice(free, lacking)])
    total, done = sum(map(len, asks)), 0
    print(f"sampling from {settings.policy} at {settings.endpoint}", flush=True)
    size = max(settings.batch_size // settings.per_prompt, 1)
    for start in range(0, len(asks), size):
        batch = [ask for group in asks[start : start + size] for ask in group]

        def tick(new: int, before: int = done) -> bool:
            run.progress(before + new, total, "sampling completions")
            return run.stop_requested

        new = asyncio.run(endpoint.fetch(batch, tick))
        whole = endpoint.failure is None and not run.stop_requested
        done += len(batch) if whole else len(new)
        if new or run.stop_requested:
            keep(new, done, total)
        endpoint.check()
    return EndpointSource(
        endpoint.host, dict(endpoint.left_out), endpoint.refusal.strip(" ()"), endpoint.again
    )


class Endpoint:
    """A server and what became of the calls to it."""

    def __init__(self, settings: SampleSettings, known: bool = False) -> None:
        self.settings = settings
        self.known = known
        """Whether it has given something of use before."""
        self.base = settings.endpoint.rstrip("/")
        self.host = urlsplit(self.base).netloc
        self.failure: BaseException | None = None
        """Why there is no use in going on."""
        self.left_out: Counter[str] = Counter()
        self.refusal = ""
        """What it said of the first question that it refused."""
        self.again = 0
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise ValueError(f"{KEY_VARIABLE} holds characters that no key has: set it again")

    async def fetch(self, asks: Sequence[Ask], tick: Callable[[int], bool]) -> list[Generation]:
        """The completions of a batch, in order, without those that are left out.

        `tick(n)` is told how many came and says whether to stop: what is on its way is dropped.
        Sets `failure` where the endpoint refused or stayed silent.
        """
        gate = asyncio.Semaphore(self.settings.parallel)
        came: dict[Ask, Generation] = {}

        async def one(ask: Ask) -> None:
            async with gate:
                generation = await self._fetch_one(client, ask)
            if generation is not None:
                came[ask] = generation

        limits = httpx.Limits(max_connections=self.settings.parallel)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        async with httpx.AsyncClient(headers=headers, timeout=None, limits=limits) as client:
            waiting = {asyncio.create_task(one(ask)) for ask in asks}
            while waiting and self.failure is None and not tick(len(came)):
                over, waiting = await asyncio.wait(
                    waiting, timeout=POLL, return_when=asyncio.FIRST_EXCEPTION
                )
                # Each is looked at: asyncio logs the others.
                failures = [task.exception() for task in over]
                self.failure = next(filter(None, failures), None)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        self.known = self.known or bool(came)
        return [came[ask] for ask in asks if ask in came]

    def check(self) -> None:
        """Raise the failure, if there was one, or ValueError if nothing of use has come so far."""
        if self.failure is not None:
            raise self.failure
        if not self.known and self.left_out:
            (reason, n), *_ = self.left_out.most_common(1)
            raise ValueError(
                f"endpoint {self.base} gave no completion to keep, {n} {reason}{self.refusal}:"
                f" check that {self.settings.policy!r} is a chat model there that takes these"
                " settings, and give it more --sampling.max-new-tokens if it thinks first"
            )

    async def _fetch_one(self, client: httpx.AsyncClient, ask: Ask) -> Generation | None:
        """One completion; None if it is left out. Raises ValueError if there is no use in more."""
        sampling = self.settings.sampling
        body = {
            "model": self.settings.policy,
            "messages": [message.as_dict() for message in ask.prompt.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "seed": ask.seed,
        }
        why, wait = "", 0.0
        for attempt in range(TRIES):
            if attempt:
                self.again += 1
                print(f"the endpoint {why}: again in {wait:.1f} s", flush=True)
                await asyncio.sleep(wait)
            wait = FIRST_WAIT * 2**attempt * random.uniform(0.8, 1.2)
            try:
                async with asyncio.timeout(self.settings.timeout):
                    answer = await client.post(f"{self.base}/chat/completions", json=body)
            except TimeoutError:
                why = f"gave no answer within {self.settings.timeout:g} s"
            except (httpx.TransportError, httpx.DecodingError) as error:
                why = f"cannot be reached ({self._clean_words(str(error)) or type(error).__name__})"
            except httpx.InvalidURL:
                raise ValueError(f"endpoint {self.base!r} is no address: correct it") from None
            else:
                if answer.status_code != 429 and answer.status_code < 500:
                    return self._read_answer(ask, answer)
                why = f"answered {answer.status_code}{self._quote_answer(answer)}"
                wait = max(wait, asked_to_wait(answer.headers.get("retry-after", "")))
            if wait > LONGEST_WAIT:
                why += f", and wants {wait:.0f} s of rest"
                break
        raise ValueError(
            f"endpoint {self.base} {why}: see that it runs and has room, then go on with --missing;"
            " what was sampled is kept"
        )

    def _read_answer(self, ask: Ask, answer: httpx.Response) -> Generation | None:
        """The completion in an answer. Raises ValueError for an answer that will not get better."""
        if answer.status_code in UNFIT:
            self.left_out[f"refused with {answer.status_code}"] += 1
            self.refusal = self.refusal or self._quote_answer(answer)
            return None
        if answer.status_code != 200:
            status, said = answer.status_code, self._quote_answer(answer)
            remedy = "check the address and the model's name"
            if status in (401, 403):
                said, remedy = "", f"set the key it wants as {KEY_VARIABLE} in the environment"
            elif status == 404:
                remedy = (
                    f"name a model it has with --policy (asked for {self.settings.policy!r}), and"
                    " check that the address is the API's base, like http://host:8000/v1"
                )
            raise ValueError(f"endpoint {self.base} answered {status}{said}: {remedy}")
        try:
            (choice, *_) = answer.json()["choices"]
            text, reason = choice["message"].get("content"), choice.get("finish_reason")
            if not isinstance(text, str | None):
                raise TypeError
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise ValueError(
                f"endpoint {self.base} answered, but with no chat completion"
                f"{self._quote_answer(answer)}: check that the address is the API's base, like http://host:8000/v1"
            ) from None
        if not text or not text.strip():
            self.left_out["empty"] += 1
        elif "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
            self.left_out["with characters that cannot be stored"] += 1
        else:
            facts = asdict(self.settings.sampling) | {"seed": ask.seed, "endpoint": self.host}
            completion = Completion(ask.prompt, text, finished=reason != "length")
            return Generation(completion, self.settings.policy, facts)
        return None

    def _quote_answer(self, answer: httpx.Response) -> str:
        """The endpoint's own words about what went wrong, on one short line."""
        text = answer.text
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            row = answer.json()
            error = row.get("error", row) if isinstance(row, dict) else row
            text = str(error["message"] if isinstance(error, dict) else error)
        words = self._clean_words(text)
        return f" ({words})" if words else ""

    def _clean_words(self, text: str) -> str:
        """Somebody else's words, cut, without control characters and without the key."""
        words = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
        words = words.replace(self._key, "***") if self._key else words
        return words if len(words) <= 120 else words[:119] + "…"


def asked_to_wait(header: str) -> float:
    """Seconds that a Retry-After header asks for, as a number or a moment; 0 without one."""
    with suppress(ValueError):
        return max(float(header), 0.0)
    with suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(header)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
    return 0.0
