"""Real inferences of our own: do requests get through, and how long does one take when we send it?"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from controlplane.collect.own_requests import OwnRequests
from controlplane.domain.observation import ProbeResult

_ERROR_CHARS = 500


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of one request: as in ProbeResult."""

    latency_s: float
    error: str = ""
    ttft_s: float | None = None
    version: str = ""


class NotProbedError(Exception):
    """What came of a request tells nothing of the model, such as that the server does not know who we are."""


class Probe(Protocol):
    """Requests of one kind to one model on one server."""

    def ready(self) -> bool:
        """Whether a request would be served, as far as is known."""
        ...

    async def send(self) -> Sent | None:
        """Send one. None: nothing is told, since the model is not there. Raises NotProbedError."""
        ...


class Prober:
    """Sends the requests of a probe every `every_s` seconds while they would be served, keeps the results `keep_s`.

    `failures` gets what was said to those that failed; the next one that is answered empties it.
    """

    def __init__(
        self,
        probe: Probe,
        model: str,
        server: str,
        *,
        every_s: float,
        failures: deque[str],
        clock: Callable[[], float],
        keep_s: float,
    ) -> None:
        self._probe = probe
        self._server = server
        self._every_s = every_s
        self._failures = failures
        self._clock = clock
        self._keep_s = keep_s
        self._results: deque[ProbeResult] = deque()
        self.model = model

    async def run(self) -> None:
        """Probe until cancelled. A probe slower than the pace delays the next."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if self._probe.ready():
                await self.once()
            due = max(due + self._every_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def once(self) -> ProbeResult | None:
        """One probe, remembered. None when it says nothing of the model."""
        try:
            sent = await self._probe.send()
        except NotProbedError as error:
            self._failures.append(str(error))
            return None
        if sent is None:
            return None
        result = ProbeResult(self._clock(), self._server, sent.latency_s, sent.error, sent.ttft_s, sent.version)
        self._results.append(result)
        if sent.error:
            self._failures.append(sent.error)
        else:
            self._failures.clear()
        return result

    def results(self, now: float) -> Sequence[ProbeResult]:
        """The recent past, oldest first."""
        while self._results and self._results[0].at < now - self._keep_s:
            self._results.popleft()
        return self._results


class Counted:
    """Notes one request of our own among the requests of its model; a context manager around its sending.

    `counted` is to be set to False where the server turned it away before counting it anywhere, `turned_away` to True
    where that was for want of room in its queue.
    """

    def __init__(self, own_requests: OwnRequests, clock: Callable[[], float]) -> None:
        self.counted = True
        self.turned_away = False
        self._own_requests = own_requests
        self._clock = clock

    def __enter__(self) -> Self:
        self._own = self._own_requests.begin(self._clock())
        return self

    def __exit__(self, *_: object) -> None:
        self._own_requests.end(self._own, self._clock(), counted=self.counted, turned_away=self.turned_away)


def in_words(status: int, body: bytes | None) -> str:
    """The error of an answer in the server's words, as Triton, OpenAI's API, FastAPI or Ollama form it."""
    try:
        told = json.loads(body or b"")
    except ValueError:
        told = None
    return error_of(told) or f"HTTP {status}"


def error_of(told: object) -> str:
    """The message of a JSON error, with a question mark for half of a surrogate pair; empty where it is none."""
    if not isinstance(told, dict):
        return ""
    error = told.get("error") or (told.get("message") if told.get("object") == "error" else told.get("detail"))
    if isinstance(error, dict):
        error = error.get("message") or json.dumps(error)
    return str(error)[:_ERROR_CHARS].encode("utf-8", "replace").decode() if error else ""
