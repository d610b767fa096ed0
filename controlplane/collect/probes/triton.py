"""Probes of a Triton: inferences by the v2 protocol."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from urllib.parse import quote

import structlog

from controlplane.collect.http import Answer, Pages
from controlplane.collect.probes.prober import Counted, Sent, in_words
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.triton.wire import Tensor, read_inputs
from controlplane.domain.errors import MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import ModelSpec, ProbeSpec

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


class TritonProbe:
    """One inference: `probe.body`, else made from the model's metadata, with zeros.

    Several versions that are ready take turns.
    """

    def __init__(
        self, reader: TritonServer, model: ModelSpec, probe: ProbeSpec, *, pages: Pages, clock: Callable[[], float]
    ) -> None:
        self._reader = reader
        self._model = model
        self._probe = probe
        self._pages = pages
        self._clock = clock
        self._target = f"probe of {model.name} on {reader.spec.name}"
        self._url = f"{reader.spec.http}/v2/models/{quote(model.served_name, safe='')}"
        self._request: tuple[bytes, dict[str, str]] | None = None
        self._asked = ""

    def ready(self) -> bool:
        """As Probe."""
        return self._reader.ready(self._model.name)

    async def send(self) -> Sent | None:
        """As Probe."""
        entry = self._reader.units[self._model.name].entry
        versions = entry.versions if entry is not None else ()
        if len(versions) < 2:
            return await self.send_to("")
        turn = versions.index(self._asked) + 1 if self._asked in versions else 0
        self._asked = versions[turn % len(versions)]
        return await self.send_to(self._asked)

    async def send_to(self, version: str) -> Sent | None:
        """The same to one version; empty: the one that the server takes."""
        begun = time.perf_counter()
        try:
            request = await self._body()
            if request is None:
                return None
            begun = time.perf_counter()
            answer = await self._ask(version, *request)
        except (TargetUnreachableError, MalformedPageError) as error:
            return Sent(time.perf_counter() - begun, getattr(error, "why", str(error)), version=version)
        latency_s = time.perf_counter() - begun
        if answer.status == 404:
            return None  # unloaded since the index was read
        if answer.status != 200:
            self._request = None
        return Sent(latency_s, _message(answer), version=version)

    async def _ask(self, version: str, body: bytes, headers: dict[str, str]) -> Answer:
        timeout_s = self._probe.timeout_s
        url = f"{self._url}/versions/{version}/infer" if version else f"{self._url}/infer"
        with Counted(self._reader.units[self._model.name].own_requests, self._clock) as own:
            answer = await self._pages.ask(self._target, "POST", url, timeout_s=timeout_s, body=body, headers=headers)
            own.turned_away = _QUEUE_FULL in _message(answer)
            own.counted = answer.status not in {400, 404} and not own.turned_away
        return answer

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


def _message(answer: Answer) -> str:
    return "" if answer.status == 200 else in_words(answer.status, answer.body)
