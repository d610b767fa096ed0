"""A server that behaves as Ollama's documented API does, for tests: a real Ollama comes from no package registry.

After ollama/ollama docs/api.md and server/routes.go, server/sched.go: loading and unloading by /api/generate without a
prompt, /api/ps, and the errors they give. It is no proof of what a real one does.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web

_USED = timedelta(minutes=5)
_AGES = timedelta(days=106751)
"""How Ollama tells a keep_alive below 0: about 292 years."""


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a server on a real socket lives in real time


class OllamaServer:
    """Serves on a free port of the loopback; an async context manager.

    `pulled`: models there are, by the bytes they need; `memory`: bytes there are. `held`: names of models that requests
    under way hold. `refuse`: status and message of every answer to a load. `delay_s`: time that a load takes.
    """

    def __init__(self, pulled: dict[str, int], memory: int = 10**10) -> None:
        self.pulled = pulled
        self.memory = memory
        self.loaded: dict[str, datetime] = {}
        self.held: set[str] = set()
        self.refuse: tuple[int, str] | None = None
        self.delay_s = 0.0
        self.url = ""
        app = web.Application()
        app.router.add_post("/api/generate", self._generate)
        app.router.add_get("/api/ps", self._ps)
        self._runner = web.AppRunner(app)
        self._ending: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def use(self, name: str) -> None:
        """A client's request loads the model for five minutes."""
        self.loaded[name] = _now() + _USED

    def release(self, name: str) -> None:
        """The requests that held a model are answered."""
        self.held.discard(name)
        self._end(name)

    def keeps(self, name: str) -> bool:
        """Whether the model is in memory for ever."""
        return name in self.loaded and self.loaded[name] > _now() + timedelta(days=365)

    async def _generate(self, request: web.Request) -> web.Response:
        asked = await request.json()
        given = str(asked["model"])
        name = given if ":" in given else f"{given}:latest"
        if name not in self.pulled:
            return web.json_response({"error": f"model '{given}' not found"}, status=404)
        keep_alive = asked.get("keep_alive")
        if keep_alive == 0:
            self._ending.add(name)
            self._end(name)
            return web.json_response(_answer(given, "unload"))
        if self.refuse:
            return web.json_response({"error": self.refuse[1]}, status=self.refuse[0])
        await asyncio.sleep(self.delay_s)
        used = sum(self.pulled[other] for other in self.loaded if other != name)
        if used + self.pulled[name] > self.memory:
            need, free = (f"{size / 2**30:.1f} GiB" for size in (self.pulled[name], self.memory - used))
            message = f"model requires more system memory ({need}) than is available ({free})"
            return web.json_response({"error": message}, status=500)
        kept = _AGES if keep_alive is not None and keep_alive < 0 else _USED
        self.loaded[name] = _now() + kept
        return web.json_response(_answer(given, "load"))

    async def _ps(self, _request: web.Request) -> web.Response:
        models = [
            {"name": name, "model": name, "size": self.pulled[name], "size_vram": 0, "expires_at": until.isoformat()}
            for name, until in self.loaded.items()
        ]
        return web.json_response({"models": models})

    def _end(self, name: str) -> None:
        if name in self._ending and name not in self.held:
            self._ending.discard(name)
            self.loaded.pop(name, None)


def _answer(model: str, reason: str) -> dict[str, Any]:
    created_at = _now().isoformat()
    return {"model": model, "created_at": created_at, "response": "", "done": True, "done_reason": reason}
