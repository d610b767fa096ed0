"""Real inferences of our own: do requests get through, and how long does one take when we send it?"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import quote

import structlog

from controlplane.collect.http import Answer, Pages
from controlplane.collect.triton import TritonServer
from controlplane.collect.triton_wire import Tensor, read_inputs
from controlplane.domain.errors import MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import ModelSpec, ProbeSpec
from controlplane.domain.observation import ProbeResult

_BYTES = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "BF16": 2,
    "FP32": 4,
    "FP64": 8,
    "BYTES": 4,  # an empty string is its length, 0, in four bytes
}
_HEADER_LENGTH = "Inference-Header-Content-Length"
_ERROR_CHARS = 500
_QUEUE_FULL = "Exceeds maximum queue size"
"""Such requests are counted nowhere (seen on Triton 2.51)."""
_log = structlog.get_logger(__name__)


def zeros_request(inputs: Sequence[Tensor]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a v2 inference request with zeros for every input, dimensions of free size as 1.

    In the binary form, since the JSON form has no half-precision numbers. Raises MalformedPageError for a data type
    that Triton's protocol does not have.
    """
    tensors = []
    size = 0
    for tensor in inputs:
        shape = [1 if dimension < 0 else dimension for dimension in tensor.shape]
        if tensor.datatype not in _BYTES:
            raise MalformedPageError(
                f"input {tensor.name!r} has the data type {tensor.datatype!r}; known: {list(_BYTES)}"
            )
        length = math.prod(shape) * _BYTES[tensor.datatype]
        size += length
        parameters = {"binary_data_size": length}
        tensors.append({"name": tensor.name, "shape": shape, "datatype": tensor.datatype, "parameters": parameters})
    header = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": True}}).encode()
    return header + bytes(size), {_HEADER_LENGTH: str(len(header)), "Content-Type": "application/octet-stream"}


class Prober:
    """Sends one inference to one model on one Triton at its own pace, while the model is ready there."""

    def __init__(
        self,
        server: TritonServer,
        model: ModelSpec,
        probe: ProbeSpec,
        *,
        pages: Pages,
        clock: Callable[[], float],
        keep_s: float,
    ) -> None:
        self._server = server
        self._model = model
        self._probe = probe
        self._pages = pages
        self._clock = clock
        self._keep_s = keep_s
        self._target = f"probe of {model.name} on {server.spec.name}"
        self._url = f"{server.spec.http}/v2/models/{quote(model.served_name, safe='')}"
        self._request: tuple[bytes, dict[str, str]] | None = None
        self._results: deque[ProbeResult] = deque()

    @property
    def model(self) -> str:
        """The model it probes."""
        return self._model.name

    async def run(self) -> None:
        """Probe until cancelled. A probe slower than the pace delays the next."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if self._server.ready(self._model.name):
                await self.once()
            due = max(due + self._probe.every_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def once(self) -> ProbeResult | None:
        """One probe, remembered. None when it says nothing: the model is not there, or no request can be made."""
        begun = time.perf_counter()
        try:
            request = await self._body()
            if request is None:
                return None
            begun = time.perf_counter()
            answer = await self._send(*request)
        except (TargetUnreachableError, MalformedPageError) as error:
            return self._keep(time.perf_counter() - begun, getattr(error, "why", str(error)))
        latency_s = time.perf_counter() - begun
        if answer.status == 404:
            return None  # unloaded since the index was read
        if answer.status != 200:
            self._request = None
        return self._keep(latency_s, _message(answer))

    def results(self, now: float) -> Sequence[ProbeResult]:
        """The recent past, oldest first."""
        while self._results and self._results[0].at < now - self._keep_s:
            self._results.popleft()
        return self._results

    async def _send(self, body: bytes, headers: dict[str, str]) -> Answer:
        own_requests = self._server.units[self._model.name].own_requests
        own = own_requests.begin()
        counted = True
        try:
            answer = await self._pages.ask(
                self._target, "POST", f"{self._url}/infer", timeout_s=self._probe.timeout_s, body=body, headers=headers
            )
            counted = answer.status not in {400, 404} and _QUEUE_FULL not in _message(answer)
            return answer
        finally:
            own_requests.end(own, self._clock(), counted=counted)

    async def _body(self) -> tuple[bytes, dict[str, str]] | None:
        """Body and headers; None when they cannot be made. Raises TargetUnreachableError."""
        if self._probe.body:
            return self._probe.body.encode(), {"Content-Type": "application/json"}
        if self._request is None:
            answer = await self._pages.ask(self._target, "GET", self._url, timeout_s=self._probe.timeout_s)
            if answer.status != 200:
                return None
            try:
                self._request = zeros_request(read_inputs(answer.body or b""))
            except MalformedPageError as error:
                _log.warning("no probe can be made", model=self._model.name, why=str(error))
        return self._request

    def _keep(self, latency_s: float, error: str) -> ProbeResult:
        result = ProbeResult(self._clock(), self._server.spec.name, latency_s, error)
        self._results.append(result)
        failures = self._server.units[self._model.name].failures
        if error:
            failures.append(error)
        else:
            failures.clear()
        return result


def _message(answer: Answer) -> str:
    """The error of an answer in the server's words; empty for a good one."""
    if answer.status == 200:
        return ""
    try:
        message = json.loads(answer.body or b"")["error"]
    except (ValueError, KeyError, TypeError):
        message = ""
    return str(message or f"HTTP {answer.status}")[:_ERROR_CHARS]
