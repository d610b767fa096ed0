"""Points of a model on a Triton: its own statistics of batches, read around each load."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import fmean
from typing import Self
from urllib.parse import quote

from controlplane.collect.counters import FAILED, Executed, Executions
from controlplane.collect.probes.triton import zeros_request
from controlplane.collect.triton.wire import ModelConfig, read_config, read_inputs, read_stats
from controlplane.decide.profiling import BatchPoint
from controlplane.domain.errors import ProfileError
from controlplane.profiling.clients import Clients
from controlplane.profiling.climb import Step
from controlplane.profiling.server import ProfiledServer

_WARM_UP = 0.2
"""Share of the time of a step that goes before it: clients that begin together are no steady load."""


@dataclass(frozen=True, slots=True)
class _Answered:
    latency_s: float
    error: str


class ProfiledTriton:
    """A loaded model on a Triton; requests are of one item, zeros, as probes of it are."""

    def __init__(
        self, server: ProfiledServer, model: str, config: ModelConfig, request: tuple[bytes, dict[str, str]]
    ) -> None:
        self._server = server
        self._model = model
        self._path = _path(model)
        self._request = request
        self.instances = config.instances
        self.max_batch = max(1, config.max_batch_size) if config.dynamic_batching else 1

    @classmethod
    async def of(cls, server: ProfiledServer, model: str) -> Self:
        """The model as it is loaded. Raises TargetUnreachableError, MalformedPageError, ProfileError."""
        request = zeros_request(read_inputs(await server.get(_path(model))))
        return cls(server, model, read_config(await server.get(f"{_path(model)}/config")), request)

    async def measure(self, concurrency: int, seconds: float) -> Step[BatchPoint]:
        """One load. Raises as `of`."""
        async with Clients(self._send, concurrency) as clients:
            await clients.answered(_WARM_UP * seconds)
            begun, before = time.perf_counter(), await self._executions()
            answers = await clients.answered(seconds)
            after, took_s = await self._executions(), time.perf_counter() - begun
        refused = next((answer.error for answer in answers if answer.error), "")
        if refused:
            return Step(concurrency, 0.0, 0.0, refused=refused)
        latency_s = fmean(answer.latency_s for answer in answers)
        return Step(concurrency, len(answers) / took_s, latency_s, tuple(self._points(before, after)))

    async def _send(self) -> _Answered:
        begun = time.perf_counter()
        body, headers = self._request
        answer = await self._server.ask("POST", f"{self._path}/infer", body, headers)
        error = "" if answer.status == 200 else self._server.words(answer)
        return _Answered(time.perf_counter() - begun, error)

    async def _executions(self) -> Executions:
        return read_stats(await self._server.get(f"{self._path}/stats")).get(self._model, {})

    def _points(self, before: Executions, after: Executions) -> list[BatchPoint]:
        points = []
        for key, now in after.items():
            then = before.get(key, Executed(0, 0))
            times, compute_ns = now.times - then.times, now.compute_ns - then.compute_ns
            if times < 0:
                raise ProfileError(f"{self._model} was loaded anew while it was measured")
            if times and key[1] != FAILED:
                points.append(BatchPoint(key[1], compute_ns / times / 1e9, times))
        return points


def _path(model: str) -> str:
    return f"/v2/models/{quote(model, safe='')}"
