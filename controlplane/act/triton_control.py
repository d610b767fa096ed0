"""One Triton server's model control: calls and typed failures, no policy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import aiohttp
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from controlplane.act.connecting import why_not
from controlplane.act.failures import answer_of, classify
from controlplane.domain.errors import ActionError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import ServerSpec
from controlplane.domain.rollout import ascending

# gRPC waits up to two minutes before it tries a lost server again; a restarted one shall be found within a second.
# Proxies of the environment are for the outside, as they are for the HTTP side. No message has a size limit.
_CHANNEL = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]

Counters = Mapping[str, int]
"""Cumulative statistics of one model by name; every one of them only grows while the model is not reloaded."""


class TritonControl:
    """Loads and unloads over gRPC (an HTTP load stalls inference of other models for its whole time), reads over both.

    Every method raises TargetUnreachableError when the server gives no answer and ActionError, with class and remedy,
    when it refuses. `call_timeout_s` bounds every call but loads.
    """

    def __init__(self, spec: ServerSpec, *, call_timeout_s: float) -> None:
        self._name = spec.name
        self._http = spec.http
        self._call_timeout_s = call_timeout_s
        self._grpc = InferenceServerClient(spec.grpc, channel_args=_CHANNEL)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=call_timeout_s))

    async def load(self, model: str, timeout_s: float, config: Mapping[str, Any] | None = None) -> None:
        """Load, or with `config` (complete) change the model; returns when it is ready.

        Running into the timeout is an ActionError of class TIMEOUT: the server goes on by itself.
        """
        override = None if config is None else json.dumps(config)
        with self._answer():
            await self._grpc.load_model(model, config=override, client_timeout=timeout_s)

    async def unload(self, model: str) -> None:
        """Ask for the unload; it returns long before the model is gone. A name nobody knows is no error for Triton.

        With an ensemble go the components that were loaded with it, but those that another one there needs.
        """
        with self._answer(short=True):
            await self._grpc.unload_model(model, unload_dependents=True, client_timeout=self._call_timeout_s)

    async def ready_versions(self, model: str) -> tuple[str, ...]:
        """The model's versions that serve, ascending."""
        with self._answer(short=True):
            index = await self._grpc.get_model_repository_index(client_timeout=self._call_timeout_s)
        return ascending({row.version for row in index.models if row.name == model and row.state == "READY"})

    async def states(self, model: str) -> frozenset[str] | None:
        """States of the model's versions by the repository index ("" when never loaded), None when it is not in it."""
        with self._answer(short=True):
            index = await self._grpc.get_model_repository_index(client_timeout=self._call_timeout_s)
        return frozenset(row.state for row in index.models if row.name == model) or None

    async def config(self, model: str) -> dict[str, Any]:
        """The complete configuration of a loaded model, as Triton's JSON."""
        url = f"{self._http}/v2/models/{quote(model, safe='')}/config"
        with self._answer(short=True):
            async with self._session.get(url, allow_redirects=False) as response:
                text = await response.text(errors="replace")
        return answer_of(self._name, url, response.status, text)

    async def counters(self, model: str) -> Counters:
        """What the statistics of the model's versions have counted; 0 everywhere before the first inference."""
        with self._answer(short=True):
            answer = await self._grpc.get_inference_statistics(model, client_timeout=self._call_timeout_s)
        counted: dict[str, int] = {}
        for version in answer.model_stats:
            of_version = {"executions": version.execution_count, "inferences": version.inference_count}
            for kind in ("success", "fail", "queue", "compute_infer"):
                duration = getattr(version.inference_stats, kind)
                of_version |= {f"{kind}_count": duration.count, f"{kind}_ns": duration.ns}
            for batch in version.batch_stats:
                of_version[f"batch_{batch.batch_size}"] = batch.compute_infer.count
            counted |= {f"{version.version}/{name}": int(value) for name, value in of_version.items()}
        return counted

    async def close(self) -> None:
        """Let go of both connections."""
        await self._grpc.close()
        await self._session.close()

    @contextmanager
    def _answer(self, *, short: bool = False) -> Iterator[None]:
        """Turns what the clients raise into our errors. `short`: a call that a healthy server answers at once."""
        try:
            yield
        except InferenceServerException as error:
            message, status = error.message(), error.status() or ""
            failure, remedy = classify(message, status)
            if failure is FailureClass.UNREACHABLE:
                raise TargetUnreachableError(self._name, message) from error
            if short and status.endswith("DEADLINE_EXCEEDED"):
                raise TargetUnreachableError(self._name, f"no answer within {self._call_timeout_s:g} s") from error
            raise ActionError(message.strip(), failure, remedy) from error
        except TimeoutError as error:
            raise TargetUnreachableError(self._name, f"no answer within {self._call_timeout_s:g} s") from error
        except aiohttp.ClientError as error:
            raise TargetUnreachableError(self._name, why_not(error)) from error
