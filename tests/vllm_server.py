"""A server that sleeps, wakes and loads LoRA adapters as vLLM 0.32 was recorded to; completion_server with more."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from tests.completion_server import CompletionServer


class VllmServer(CompletionServer):
    """Serves one model and adapters on a free port of the loopback; an async context manager.

    `told`: what was asked of it that changes something or might have. `dev_mode`, `lora_updating` and `lora` are how it
    was started; `disk` has the paths at which there is an adapter. `stays_asleep`: it does not wake. `delay_s`: each
    of these answers takes it. `refuse_control`: status of all of them, in the words of the web server; 0: none.
    """

    def __init__(
        self, *disk: str, dev_mode: bool = True, lora_updating: bool = True, lora: bool = True, model: str = "tiny"
    ) -> None:
        super().__init__(model)
        self.disk = set(disk)
        self.dev_mode, self.lora_updating, self.lora = dev_mode, lora_updating, lora
        self.told: list[str] = []
        self.adapters: dict[str, str] = {}
        self.stays_asleep = False
        self.delay_s, self.refuse_control = 0.0, 0
        for method, path, answer in (
            ("POST", "/sleep", self._sleep),
            ("POST", "/wake_up", self._wake),
            ("GET", "/is_sleeping", self._is_sleeping),
            ("POST", "/v1/load_lora_adapter", self._load),
            ("POST", "/v1/unload_lora_adapter", self._unload),
        ):
            self._runner.app.router.add_route(method, path, partial(self._answer, answer))

    def restart(self) -> None:
        """It forgets its adapters and its counts, and is awake."""
        self.adapters.clear()
        self._ended.clear()
        self.awake.set()

    async def _answer(self, answer: Handler, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.delay_s)
        if self.refuse_control:
            return web.Response(text="Internal Server Error", status=self.refuse_control)
        return await answer(request)

    async def _sleep(self, request: web.Request) -> web.Response:
        self.told.append(request.path_qs)
        if not self.dev_mode:
            return _no_route()
        self.awake.clear()
        return web.json_response({"status": "sleeping", "level": int(request.query["level"])})

    async def _wake(self, request: web.Request) -> web.Response:
        self.told.append(request.path_qs)
        if not self.dev_mode:
            return _no_route()
        if not self.stays_asleep:
            self.awake.set()
        return web.json_response({"status": "sleeping" if self.stays_asleep else "awake", "tags": None})

    async def _is_sleeping(self, request: web.Request) -> web.Response:
        self.told.append(request.path_qs)
        return web.json_response({"is_sleeping": not self.awake.is_set()}) if self.dev_mode else _no_route()

    async def _models(self, request: web.Request) -> web.Response:
        if not self._knows(request):
            return web.json_response({"error": "Unauthorized"}, status=401)
        own = {"id": self.model, "object": "model", "root": f"m/{self.model}", "parent": None}
        adapters = (
            {"id": name, "object": "model", "root": path, "parent": self.model} for name, path in self.adapters.items()
        )
        return web.json_response({"object": "list", "data": [own, *adapters]})

    async def _load(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name, path = asked["lora_name"], asked["lora_path"]
        self.told.append(f"load {name} {path}" + (" in place" if asked.get("load_inplace") else ""))
        if not self.lora_updating:
            return _no_route()
        if not self._knows(request):
            return web.json_response({"error": "Unauthorized"}, status=401)
        if name in self.adapters and not asked.get("load_inplace"):
            message = f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place,"
            return _error(f"{message} set 'load_inplace' to True.", "InvalidUserInput", 400)
        if not self.lora:
            worker = "Worker failed with error 'LoRA is not enabled. Use --enable-lora to enable LoRA.'"
            return _error(f"Call to add_lora method failed: {worker}", "InternalServerError", 500)
        if path not in self.disk:
            return _error(f"Loading lora {name} failed: No adapter found for {path}", "NotFoundError", 404)
        self.adapters[name] = path
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        self.told.append(f"unload {name}")
        if not self.lora_updating:
            return _no_route()
        if self.adapters.pop(name, None) is None:
            return _error(f"The lora adapter '{name}' cannot be found.", "NotFoundError", 404)
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")


def _no_route() -> web.Response:
    return web.json_response({"detail": "Not Found"}, status=404)


def _error(message: str, kind: str, status: int) -> web.Response:
    error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": status}
    return web.json_response({"error": error}, status=status)
