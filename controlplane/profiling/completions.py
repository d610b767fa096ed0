"""Points of a model on a vLLM, or another server with streamed completions: tokens as they come, and its page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import fmean
from typing import Self

from controlplane.collect.exposition import parse
from controlplane.collect.page_server import Served
from controlplane.collect.probes.completion import Stream
from controlplane.collect.vllm.server import read_served
from controlplane.collect.vllm.signals import VLLM
from controlplane.decide.fitting import Weighed
from controlplane.decide.profiling import TokenPoint
from controlplane.domain.errors import MalformedPageError, NotFoundError, ProfileError
from controlplane.profiling.clients import Clients
from controlplane.profiling.climb import Step
from controlplane.profiling.server import ProfiledServer

_WORDS = ("time", "tree", "river", "stone", "light", "house", "road", "sound", "water", "hand", "world", "night")
"""Of a token each in the usual vocabularies."""
_SHORTER = (8, 4, 2)
"""Prompts of an eighth and so on are sent too, for the line of prefill."""
_FULL = 0.95
"""Share of the KV cache from which on requests wait for it, not for a place."""


@dataclass(frozen=True, slots=True)
class Completed:
    """One completion: seconds to the first token and to the last; tokens of the prompt and of the answer."""

    ttft_s: float
    last_s: float
    prompt_tokens: int
    tokens: int
    error: str = ""


class ProfiledCompletions:
    """A model behind `/v1/completions`, asked with prompts that have no beginning in common."""

    def __init__(self, server: ProfiledServer, model: str, prompt_tokens: int, output_tokens: int) -> None:
        self._server = server
        self._model = model
        self._prompt_tokens = prompt_tokens
        self._output_tokens = output_tokens
        self._numbers = count(1)
        self.kv_tokens: int | None = None
        self.max_num_seqs: int | None = None

    @classmethod
    async def of(cls, server: ProfiledServer, model: str, prompt_tokens: int, output_tokens: int) -> Self:
        """The model as it is served. Raises TargetUnreachableError, NotFoundError, ProfileError."""
        body = await server.get("/v1/models")
        try:
            known = tuple(str(entry["id"]) for entry in json.loads(body)["data"])
        except (ValueError, KeyError, TypeError):
            raise ProfileError(f"{server.url}/v1/models: not a list of models") from None
        if model not in known:
            raise NotFoundError("model", model, known)
        return cls(server, model, prompt_tokens, output_tokens)

    async def measure(self, concurrency: int, seconds: float) -> Step[TokenPoint]:
        """One load, with what the server's page tells while it lasts. Raises TargetUnreachableError, ProfileError."""
        async with Clients(lambda: self._send(self._prompt_tokens, self._output_tokens), concurrency) as clients:
            await clients.answered(0.0)  # the first answers come of clients that began together
            answers = await clients.answered(seconds)
            self._note(await self._page())
        refused = next((answer.error for answer in answers if answer.error), "")
        if refused:
            return Step(concurrency, 0.0, 0.0, refused=refused)
        # by Little's law: counted, it would depend on how much of the last answers the time still holds
        latency_s = fmean(answer.last_s for answer in answers)
        return Step(concurrency, concurrency / latency_s, latency_s, (_point(answers, concurrency),))

    async def prefill(self, seconds: float) -> list[Weighed]:
        """Seconds to the first token by tokens of the prompt, of shorter ones that do not wait. Raises as measure."""
        points = []
        for part in _SHORTER:
            tokens = max(1, self._prompt_tokens // part)
            async with Clients(lambda tokens=tokens: self._send(tokens, 1), 1) as clients:  # type: ignore[misc]
                answers = await clients.answered(seconds / len(_SHORTER))
            if refused := next((answer.error for answer in answers if answer.error), ""):
                raise ProfileError(refused)
            mean_tokens = fmean(answer.prompt_tokens for answer in answers)
            points.append(Weighed(mean_tokens, fmean(answer.ttft_s for answer in answers), len(answers)))
        return points

    async def _send(self, prompt_tokens: int, output_tokens: int) -> Completed:
        request = {
            "model": self._model,
            "prompt": " ".join(_prompt(next(self._numbers), prompt_tokens)),
            "max_tokens": output_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            "ignore_eos": True,
        }
        stream = Stream(time.perf_counter())
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        body = json.dumps(request).encode()
        answer = await self._server.ask("POST", "/v1/completions", body, headers, on_part=stream.take)
        error = self._server.words(answer) if answer.status != 200 else stream.fault()
        prompt, told = stream.usage or (prompt_tokens, stream.tokens)
        if not error and (stream.ttft_s is None or told < min(2, output_tokens)):
            error = f"{told} tokens came of {output_tokens} that were asked for"
        return Completed(stream.ttft_s or 0.0, stream.last_token_s, prompt, told, error)

    async def _page(self) -> Served | None:
        """The model on the metrics page; None where there is none that tells of it."""
        answer = await self._server.ask("GET", "/metrics")
        if answer.status != 200 or not answer.body:
            return None
        try:
            return read_served(parse(answer.body.decode("utf-8", "replace"), VLLM.wanted)).get(self._model)
        except MalformedPageError:
            return None

    def _note(self, page: Served | None) -> None:
        """Keep what bounds the server: its cache, and how many run where others wait although there is cache left."""
        if page is None:
            return
        if isinstance(page.kv_cache_tokens, int):
            self.kv_tokens = page.kv_cache_tokens
        if page.waiting and page.running and (page.kv_cache_usage or 0.0) < _FULL:
            self.max_num_seqs = page.running


def _point(answers: Sequence[Completed], concurrency: int) -> TokenPoint:
    """Means of one load."""
    return TokenPoint(
        in_flight=concurrency,
        latency_s=fmean(answer.last_s for answer in answers),
        ttft_s=fmean(answer.ttft_s for answer in answers),
        itl_s=fmean((answer.last_s - answer.ttft_s) / (answer.tokens - 1) for answer in answers),
        prompt_tokens=fmean(answer.prompt_tokens for answer in answers),
        output_tokens=fmean(answer.tokens for answer in answers),
        requests=len(answers),
    )


def _prompt(number: int, tokens: int) -> Iterator[str]:
    """Words of about so many tokens, other ones for each number: no prefix cache has them."""
    yield str(number)
    for i in range(tokens - 1):
        yield _WORDS[(number // len(_WORDS) ** (i % 4) + i) % len(_WORDS)]
