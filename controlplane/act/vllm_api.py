"""What is said to a vLLM so that it sleeps, wakes, and loads and unloads LoRA adapters."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from controlplane.act.connecting import why_not
from controlplane.act.failures import classify
from controlplane.act.vllm_failures import VLLM_TABLE
from controlplane.domain.errors import ActionError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import ServerSpec
from controlplane.domain.leader import Leave, any_write
from controlplane.domain.lora import Lora, adapter_paths

_LOAD = "/v1/load_lora_adapter"
_NO_SUCH_ADAPTER = "controlplane-asks-whether-adapters-may-be-loaded"
_NO_ROUTE = {"detail": "Not Found"}
_AWAY = frozenset({502, 503, 504})
"""Answers of what stands before a server that is not there, or not yet."""


class VllmApi:
    """One HTTP session. Everything raises ActionError for what a server refuses, TargetUnreachableError, TimeoutError.

    What only reads, or is done at once, is given `call_timeout_s`. What changes a server asks for `leave` first, and
    raises NotLeadingError.
    """

    def __init__(self, read_token: Callable[[str], str], call_timeout_s: float, leave: Leave = any_write) -> None:
        self._leave = leave
        self._read_token = read_token
        self._call_timeout_s = call_timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def is_sleeping(self, spec: ServerSpec) -> bool:
        """Whether it sleeps, at any level, or is paused."""
        told = await self._ask(spec, "GET", "/is_sleeping", self._call_timeout_s)
        return isinstance(told, dict) and bool(told.get("is_sleeping"))

    async def sleep(self, spec: ServerSpec, timeout_s: float) -> None:
        """Fall asleep at level 1 when requests under way are answered; versions without `mode` abort those."""
        await self._write(spec, "/sleep?level=1&mode=wait", timeout_s)

    async def wake(self, spec: ServerSpec, timeout_s: float) -> None:
        """Wake, with weights and KV cache."""
        await self._write(spec, "/wake_up", timeout_s)

    async def adapters(self, spec: ServerSpec, lora: Lora) -> dict[str, str]:
        """The paths of loaded adapters by name."""
        paths = adapter_paths(await self._ask(spec, "GET", "/v1/models", self._call_timeout_s, lora=lora))
        if paths is None:
            raise TargetUnreachableError(spec.name, "its /v1/models is no list of models")
        return paths

    async def load(self, spec: ServerSpec, name: str, lora: Lora, timeout_s: float, *, in_place: bool) -> None:
        """Load an adapter, in place of the one of that name or where there is none."""
        request = {"lora_name": name, "lora_path": lora.path, **({"load_inplace": True} if in_place else {})}
        await self._write(spec, _LOAD, timeout_s, request, lora)

    async def unload(self, spec: ServerSpec, name: str, lora: Lora) -> None:
        """Unload an adapter."""
        await self._write(spec, "/v1/unload_lora_adapter", self._call_timeout_s, {"lora_name": name}, lora)

    async def ask_for_adapters(self, spec: ServerSpec, lora: Lora, timeout_s: float) -> None:
        """Ask for an adapter that does not exist: whatever forbids all of them is said first. Changes nothing."""
        nowhere = {"lora_name": _NO_SUCH_ADAPTER, "lora_path": f"/{_NO_SUCH_ADAPTER}"}
        await self._ask(spec, "POST", _LOAD, timeout_s, nowhere, lora)

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _write(
        self,
        spec: ServerSpec,
        path: str,
        timeout_s: float,
        request: Mapping[str, Any] | None = None,
        lora: Lora | None = None,
    ) -> None:
        name = "" if request is None else f" of {request['lora_name']}"
        self._leave(f"POST {path}{name} on {spec.name}")
        await self._ask(spec, "POST", path, timeout_s, request, lora)

    async def _ask(
        self,
        spec: ServerSpec,
        method: str,
        path: str,
        timeout_s: float,
        request: Mapping[str, Any] | None = None,
        lora: Lora | None = None,
    ) -> object:
        """The answer of status 200, as JSON where it is any."""
        if self._session is None:
            self._session = aiohttp.ClientSession()
        headers = self._headers(lora)
        try:
            async with self._session.request(
                method,
                f"{spec.http}{path}",
                json=request,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as answer:
                status, text = answer.status, await answer.text(errors="replace")
        except aiohttp.ClientError as error:
            raise TargetUnreachableError(spec.name, why_not(error)) from error
        told = _json(text)
        if status in _AWAY:
            raise TargetUnreachableError(spec.name, f"HTTP {status} for {method} {path}")
        if status != 200:
            message = f"there is no {method} {path}: Not Found" if told == _NO_ROUTE else _words(told, status, text)
            raise ActionError(message, *classify(message, table=VLLM_TABLE))
        return told

    def _headers(self, lora: Lora | None) -> dict[str, str]:
        if lora is None or not lora.token_file:
            return {}
        try:
            return {"Authorization": f"Bearer {self._read_token(lora.token_file)}"}
        except ValueError as error:
            remedy = "correct lora.token_file"
            raise ActionError(str(error), FailureClass.INVALID_CONFIGURATION, remedy) from None


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _words(told: object, status: int, text: str) -> str:
    """The error in the server's words: {"error": {"message": ...}} or {"error": ...}, else the text."""
    error = told.get("error") if isinstance(told, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    return str(error or text or f"HTTP {status}")[:500]
