"""Loads and unloads models on Ollama servers.

Source: ollama/ollama docs/api.md ("Load a model", "Unload a model", "List Running Models"), server/routes.go and
server/sched.go: a request without a prompt loads; keep_alive -1 keeps the model in memory until memory is needed for
another one, 0 unloads it once the requests under way are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import structlog

from controlplane.act.connecting import why_not
from controlplane.act.failure_table import (
    LOAD_TIMEOUT_REMEDY,
)
from controlplane.act.failures import answer_of
from controlplane.act.ollama_failures import OLLAMA_TABLE, UNLOAD_REMEDY
from controlplane.act.outcome import Done, outcome_of
from controlplane.domain.decision import Action, Outcome, Step
from controlplane.domain.errors import ActionError, NotFoundError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, ServerKind, ServerSpec
from controlplane.domain.leader import leave_by
from controlplane.domain.observation import ControlMode

_LATEST = ":latest"
_FOR_EVER = -1
_AT_ONCE = 0
_log = structlog.get_logger(__name__)


class OllamaActuator:
    """The actuator for Ollama servers; adapts port Actuator. A model has one instance there, or none.

    What it loads stays in memory (`keep_alive` -1). A load that is not answered within `load_timeout_s` and an unload
    that has not happened within `unload_timeout_s` fail with class TIMEOUT, and the server goes on by itself. `clock`
    gives unix seconds, for outcomes; `may_act` is asked before each load and unload: whether this process leads for
    certain.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        clock: Callable[[], float],
        load_timeout_s: float = 300.0,
        unload_timeout_s: float = 60.0,
        call_timeout_s: float = 5.0,
        poll_interval_s: float = 0.1,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        """Connects to nothing yet."""
        self._leave = leave_by(may_act)
        self._clock = clock
        self._load_timeout_s = load_timeout_s
        self._unload_timeout_s = unload_timeout_s
        self._call_timeout_s = call_timeout_s
        self._poll_interval_s = poll_interval_s
        self._session: aiohttp.ClientSession | None = None
        self.follow(fleet)

    def follow(self, fleet: Fleet) -> None:
        """Act on this fleet's servers from now on; steps under way on others come to their end."""
        self._specs = {spec.name: spec for spec in fleet.servers if spec.kind is ServerKind.OLLAMA}
        self._served_names = {model.name: model.served_name for model in fleet.models}

    async def control_mode(self, server: str) -> ControlMode:
        """EXPLICIT: every Ollama lets its models be loaded and unloaded. Raises NotFoundError."""
        self._spec(server)
        return ControlMode.EXPLICIT

    async def apply(self, action: Action) -> Outcome:
        """Carry out one step; the outcome tells what came of it. Issuing a step again changes nothing."""
        return await outcome_of(action, self._done(action), self._clock)

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _done(self, action: Action) -> Done:
        return Done(await self._carry_out(action))

    async def _carry_out(self, action: Action) -> str:
        spec = self._spec(action.server)
        model = self._served_names.get(action.model, action.model)
        match action.step:
            case Step.LOAD | Step.RELOAD:
                return await self._load(spec, model)
            case Step.UNLOAD:
                return await self._unload(spec, model)
            case Step.SET_INSTANCES:
                return "a model on Ollama has one instance"
            case Step.HOLD | Step.SCALE | Step.TRAFFIC | Step.CONFIGURE | Step.SET_VERSIONS:
                return "nothing to do"

    async def _load(self, spec: ServerSpec, model: str) -> str:
        try:
            await self._keep(spec, model, _FOR_EVER, self._load_timeout_s)
        except TimeoutError:
            message = f"{model} is not loaded after {self._load_timeout_s:g} s"
            raise ActionError(message, FailureClass.TIMEOUT, LOAD_TIMEOUT_REMEDY) from None
        return "loaded; stays in memory until it is unloaded or its memory is needed for another model"

    async def _unload(self, spec: ServerSpec, model: str) -> str:
        with contextlib.suppress(TimeoutError):  # whether it was heard is seen below
            await self._keep(spec, model, _AT_ONCE, self._call_timeout_s)
        deadline = time.monotonic() + self._unload_timeout_s
        while await self._in_memory(spec, model):
            if time.monotonic() > deadline:
                message = f"{model} is still in memory {self._unload_timeout_s:g} s after its unload"
                raise ActionError(message, FailureClass.TIMEOUT, UNLOAD_REMEDY)
            await asyncio.sleep(self._poll_interval_s)
        return "unloaded"

    async def _keep(self, spec: ServerSpec, model: str, keep_alive: int, timeout_s: float) -> None:
        """Load or unload. Raises ActionError where refused, TimeoutError, NotLeadingError, TargetUnreachableError."""
        self._leave(f"the {'unload' if keep_alive == _AT_ONCE else 'load'} of {model}")
        request = {"model": model, "keep_alive": keep_alive, "stream": False}
        await self._ask(spec, "POST", "/api/generate", timeout_s, request)

    async def _in_memory(self, spec: ServerSpec, model: str) -> bool:
        try:
            told = await self._ask(spec, "GET", "/api/ps", self._call_timeout_s)
        except TimeoutError:
            raise TargetUnreachableError(spec.name, f"no answer within {self._call_timeout_s:g} s") from None
        models = told.get("models")
        if not isinstance(models, list) or not all(isinstance(entry, dict) for entry in models):
            raise TargetUnreachableError(spec.name, "its /api/ps is no list of models")
        return model.removesuffix(_LATEST) in {str(entry.get("name")).removesuffix(_LATEST) for entry in models}

    async def _ask(
        self, spec: ServerSpec, method: str, path: str, timeout_s: float, request: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The answer, a JSON object."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.request(
                method, f"{spec.http}{path}", json=request, timeout=timeout, allow_redirects=False
            ) as answer:
                status, text = answer.status, await answer.text(errors="replace")
        except aiohttp.ClientError as error:
            raise TargetUnreachableError(spec.name, why_not(error)) from error
        return answer_of(spec.name, f"{spec.http}{path}", status, text, table=OLLAMA_TABLE)

    def _spec(self, server: str) -> ServerSpec:
        if server not in self._specs:
            raise NotFoundError("Ollama server", server, tuple(sorted(self._specs)))
        return self._specs[server]
