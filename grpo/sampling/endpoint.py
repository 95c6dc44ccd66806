"""Completions from a server that speaks OpenAI's chat completions (vLLM, llama.cpp, a hosted API).

    coach sample --endpoint http://host:8000/v1 --policy NAME

One call asks for one completion, with a seed of its own, so that any server will do and a run that
stopped goes on where it was. The key comes from the environment and goes to that address only.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
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
from data.texts.intake import taken
from grpo.config import SampleSettings
from grpo.reports.records import EndpointSource
from grpo.sampling.chat_answer import NO_COMPLETION, OddAnswer, read_chat_answer

KEY_VARIABLE = "COACH_ENDPOINT_KEY"
TRIES = 5
"""Calls for one completion, as long as the endpoint is busy, broken or silent."""
FIRST_WAIT = 1.0
"""Seconds before the second try; twice as long before each later one."""
LONGEST_WAIT = 120.0
"""An endpoint that asks for a longer wait than this is given up."""
LARGEST_BODY = 8 * 2**20
"""Bytes of an answer, unpacked."""
SHORTEST_SECRET = 8
"""Characters of a key that is looked for in what comes back."""
SILENT = "that no answer came to"
MOST_SILENT, MOST_ODD = 2, 4
"""Prompts in a row without an answer, or with answers of no use, that end the run."""
POLL = 0.5
"""Seconds between two looks at whether the run is to stop."""
UNFIT = (400, 413, 422)
"""Answers to a question that does not fit, e.g. a prompt that is too long: that one is left out."""
BUSY = (408, 425, 429)
"""Answers, beside those from 500 up, after which the same is asked again."""
UNKNOWN_PARAMETER = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|not permitted|not allowed|extra_"
)


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
    left_out: Counter[str],
) -> EndpointSource:
    """Fetch for the prompts; `keep(new, done, total)` takes each batch. Returns how it was done.

    What cannot be kept is counted in `left_out`, by reason.

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
    left_out.update(endpoint.left_out)
    refusal = endpoint.refusal.strip(" ()")
    return EndpointSource(endpoint.host, refusal, endpoint.again, dict(endpoint.endings))


@dataclass(frozen=True)
class Reply:
    """An answer as it came, whole or up to the limit."""

    status: int
    body: bytes
    retry_after: str
    fault: str = ""
    """Why its body is of no use, to be said behind a count."""


def inner_status(answer: Reply) -> int:
    """Its status; that of the error within it where a router passes one on as a success."""
    if answer.status == 200 and b'"error"' in answer.body[:2_000]:
        with suppress(ValueError, KeyError, RecursionError, AttributeError, TypeError):
            row = json.loads(answer.body)
            return answer.status if row.get("choices") else int(row["error"]["code"])
    return answer.status


async def post(client: httpx.AsyncClient, url: str, body: Mapping[str, object]) -> Reply:
    """Ask, and read at most LARGEST_BODY bytes of the answer, packed or not."""
    raw = bytearray()
    async with client.stream("POST", url, json=body) as answer:
        async for chunk in answer.aiter_raw():
            raw += chunk
            if len(raw) > LARGEST_BODY:
                break
        status, headers = answer.status_code, answer.headers
    unpacked, fault = unpack(bytes(raw), headers.get("content-encoding", ""))
    return Reply(status, unpacked, headers.get("retry-after", ""), fault)


def unpack(raw: bytes, encoding: str) -> tuple[bytes, str]:
    """(at most LARGEST_BODY bytes, why they are of no use). Servers pack without being asked to."""
    kind, fault = encoding.strip().lower(), ""
    if kind in ("gzip", "x-gzip", "deflate"):
        try:
            raw = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(raw, LARGEST_BODY + 1)
        except zlib.error:
            raw, fault = b"", "that could not be unpacked"
    elif kind not in ("", "identity"):
        raw, fault = b"", "that could not be unpacked"
    if len(raw) > LARGEST_BODY:
        fault = f"of more than {LARGEST_BODY:,} bytes"
    return raw[:LARGEST_BODY], fault


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
        self.left_out = Counter[str]()
        self.endings = Counter[str]()
        """Why the completions that came ended."""
        self.lines: dict[str, str] = {}
        """What to say of a reason that ends the run where nothing better comes."""
        self.refusal = ""
        """What it said of the first question that it refused."""
        self.again = 0
        self._bad: set[str] = set()
        """Prompts of the answers of no use since the last good one."""
        self._renamed = False
        self._without: set[str] = set()
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
        headers = {"accept-encoding": "identity"}  # a short text needs no unpacking
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
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
            if reason in self.lines:
                raise ValueError(self.lines[reason])
            raise ValueError(
                f"endpoint {self.base} gave no completion to keep, {n} {reason}{self.refusal}:"
                f" check that {self.settings.policy!r} is a chat model there that takes these"
                " settings, and give it more --sampling.max-new-tokens if it thinks first"
            )

    async def _fetch_one(self, client: httpx.AsyncClient, ask: Ask) -> Generation | None:
        """One completion; None if it is left out. Raises ValueError if there is no use in more."""
        reply: Reply | None = None
        try:
            reply = await self._ask(client, ask)
            answer = read_chat_answer(reply.body)
            if len(self._key) >= SHORTEST_SECRET and self._key in answer.text + answer.thinking:
                raise OddAnswer("with the key in it")
        except OddAnswer as odd:
            self._leave_out(ask, odd.reason, self._quote_answer(reply) if reply else "")
            return None
        self._bad.clear()
        self.endings[answer.ending] += 1
        text, finished = taken(answer.text, answer.ended, thinking=answer.thinking)
        facts = asdict(self.settings.sampling) | {"seed": ask.seed, "endpoint": self.host}
        if self.settings.extra:
            facts["parameters"] = self.settings.extra
        return Generation(Completion(ask.prompt, text, finished), self.settings.policy, facts)

    async def _ask(self, client: httpx.AsyncClient, ask: Ask) -> Reply:
        """A good answer. Raises OddAnswer, and ValueError as `_fetch_one` does."""
        while True:
            body = self._body(ask)
            answer = await self._call(client, body)
            if answer.status == 200:
                if answer.fault:
                    raise OddAnswer(answer.fault)
                return answer
            if answer.status not in UNFIT:
                raise self._refused(answer)
            if not self._adapt(body, answer):
                self.refusal = self.refusal or self._quote_answer(answer)
                raise OddAnswer(f"refused with {answer.status}")

    def _body(self, ask: Ask) -> dict[str, object]:
        """What is asked, in the parameters that this endpoint takes."""
        sampling, extra = self.settings.sampling, self.settings.extra
        limit = "max_completion_tokens" if self._renamed else "max_tokens"
        body: dict[str, object] = {
            "model": self.settings.policy,
            "messages": [message.as_dict() for message in ask.prompt.messages],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            limit: sampling.max_new_tokens,
            "seed": ask.seed,
        }
        if "max_completion_tokens" in extra:
            body.pop("max_tokens", None)
        body |= extra
        return {k: v for k, v in body.items() if v is not None and k not in self._without}

    def _adapt(self, body: Mapping[str, object], answer: Reply) -> bool:
        """Whether the endpoint refused a parameter that the next call can do without.

        It is asked for `max_completion_tokens` where it names that; the seed is left out, and a
        temperature or top p of 1, which change nothing.
        """
        said = answer.body.decode("utf-8", "replace").lower()
        if "max_tokens" in body and "max_completion_tokens" in said:
            if not self._renamed:
                print("the endpoint takes max_completion_tokens, not max_tokens", flush=True)
            self._renamed = True
            return True
        idle = [name for name in ("temperature", "top_p") if body.get(name) == 1]
        for name in ("seed", *idle):
            if name in body and UNKNOWN_PARAMETER.search(said) and re.search(rf"\b{name}\b", said):
                if name not in self._without:
                    print(f"the endpoint does not take {name}: it is left out", flush=True)
                self._without.add(name)
                return True
        return False

    async def _call(self, client: httpx.AsyncClient, body: Mapping[str, object]) -> Reply:
        """An answer, asked for again while the endpoint is busy or broken.

        Raises OddAnswer where none comes, ValueError where it wants a longer rest than is waited.
        """
        why, wait = "", 0.0
        for attempt in range(TRIES):
            if attempt:
                self.again += 1
                print(f"the endpoint {why}: again in {wait:.1f} s", flush=True)
                await asyncio.sleep(wait)
            wait = FIRST_WAIT * 2**attempt * random.uniform(0.8, 1.2)
            try:
                async with asyncio.timeout(self.settings.timeout):
                    answer = await post(client, f"{self.base}/chat/completions", body)
            except TimeoutError:
                why = f"gave no answer within {self.settings.timeout:g} s"
            except httpx.TransportError as error:
                why = f"cannot be reached ({self._clean_words(str(error)) or type(error).__name__})"
            except httpx.InvalidURL:
                raise ValueError(f"endpoint {self.base!r} is no address: correct it") from None
            else:
                status = inner_status(answer)
                if status not in BUSY and status < 500:
                    return answer
                why = f"answered {status}{self._quote_answer(answer)}"
                wait = max(wait, asked_to_wait(answer.retry_after))
            if wait > LONGEST_WAIT:
                why += f", and wants {wait:.0f} s of rest"
                raise ValueError(self._silence(why))
        self.lines[SILENT] = self._silence(why)
        raise OddAnswer(SILENT)

    def _silence(self, why: str) -> str:
        return (
            f"endpoint {self.base} {why}: see that it runs and has room, then go on with --missing;"
            " what was sampled is kept"
        )

    def _refused(self, answer: Reply) -> Exception:
        """What to raise for a status that is neither good nor about one prompt."""
        status, said = answer.status, self._quote_answer(answer)
        remedy = "check the address and the model's name"
        if status in (401, 403):
            said, remedy = "", f"set the key it wants as {KEY_VARIABLE} in the environment"
        elif status == 404:
            remedy = (
                f"name a model it has with --policy (asked for {self.settings.policy!r}), and"
                " check that the address is the API's base, like http://host:8000/v1"
            )
        line = f"endpoint {self.base} answered {status}{said}: {remedy}"
        if status == 401 and not (self.known or self.endings):
            return ValueError(line)
        reason = f"answered with {status}"
        self.lines[reason] = line
        return OddAnswer(reason)

    def _leave_out(self, ask: Ask, reason: str, said: str) -> None:
        """Count an answer. Raises ValueError where so many in a row are of no use that it is the
        endpoint, not the answer."""
        self.left_out[reason] += 1
        if reason == NO_COMPLETION:
            self.lines[NO_COMPLETION] = (
                f"endpoint {self.base} answered, but with no chat completion{said}: check"
                " that the address is the API's base, like http://host:8000/v1"
            )
        if reason not in self.lines:  # of one prompt, or of one answer
            return
        self._bad.add(ask.prompt.id)
        if len(self._bad) >= (MOST_SILENT if reason == SILENT else MOST_ODD):
            raise ValueError(self.lines[reason])

    def _quote_answer(self, answer: Reply) -> str:
        """The endpoint's own words about what went wrong, on one short line."""
        text = answer.body.decode("utf-8", "replace")
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            row = json.loads(answer.body)
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
