"""A small gateway that routes by model. It reads the servers' indexes and whom the control plane is about to unload;
it knows no plan."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import aiohttp
from aiohttp import web

_POLL_S = 0.05
_BODY = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}


class ModelGateway:
    """Routes to READY copies but those that leave, and sends steady requests for models through itself.

    `answers` counts "ok" and every error by model and message. It is driven by a thread of its own.
    """

    def __init__(self, servers: Mapping[str, str]) -> None:
        self.answers: Counter[tuple[str, str]] = Counter()
        self.plane = ""
        """Base URL of the control plane's API; while it does not answer, what leaves is what left last."""
        self._servers = servers
        self._ready: dict[str, set[str]] = {}
        self._leaving: dict[str, list[str]] = {}
        self._flying: Counter[tuple[str, str]] = Counter()
        self._turn = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._wanted: Sequence[str] = ()
        self._up = threading.Event()
        self.url = ""
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        self._up.wait(10)

    def send(self, models: Sequence[str]) -> None:
        """From now on requests for these models, without a pause, one at a time for each. Returns once it can."""
        ends = time.monotonic() + 10
        while not all(self._to(model) for model in models):
            assert time.monotonic() < ends, self.routes()
            time.sleep(_POLL_S)
        self._wanted = models

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    @property
    def failed(self) -> dict[tuple[str, str], int]:
        """Errors by model and message."""
        return {key: count for key, count in self.answers.items() if key[1] != "ok"}

    def routes(self) -> dict[str, list[str]]:
        """Where it sends requests now; a server with one under way is still among them."""
        found = {model: set(self._to(model)) for ready in self._ready.values() for model in ready}
        for (model, server), flying in self._flying.items():
            if flying:
                found.setdefault(model, set()).add(server)
        return {model: sorted(servers) for model, servers in found.items()}

    def _to(self, model: str) -> list[str]:
        ready = [server for server, models in self._ready.items() if model in models]
        return [server for server in ready if server not in self._leaving.get(model, [])]

    async def _run(self) -> None:
        async def told(_: web.Request) -> web.Response:
            return web.json_response(self.routes())

        app = web.Application()
        app.router.add_get("/routes", told)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/routes"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            tasks = [asyncio.create_task(self._follow(session)), asyncio.create_task(self._load(session))]
            self._up.set()
            await self._stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                if self.plane:
                    async with session.get(f"{self.plane}/api/v1/leaving") as answer:
                        if answer.status == 200:
                            self._leaving = await answer.json()
            for name, url in self._servers.items():
                try:
                    async with session.post(f"{url}/v2/repository/index", json={"ready": True}) as answer:
                        rows = await answer.json()
                except (aiohttp.ClientError, TimeoutError):
                    rows = []
                self._ready[name] = {row["name"] for row in rows if row.get("state") == "READY"}
            await asyncio.sleep(_POLL_S)

    async def _load(self, session: aiohttp.ClientSession) -> None:
        while True:
            await asyncio.gather(*(self._infer(session, model) for model in self._wanted))
            await asyncio.sleep(0.01)

    async def _infer(self, session: aiohttp.ClientSession, model: str) -> None:
        servers = self._to(model)
        if not servers:
            self.answers[model, "no server holds it"] += 1
            return
        server = servers[next(self._turn) % len(servers)]
        self._flying[model, server] += 1
        try:
            async with session.post(f"{self._servers[server]}/v2/models/{model}/infer", json=_BODY) as answer:
                told = "ok" if answer.status == 200 else f"{server}: {answer.status} {await answer.text()}"
        except (aiohttp.ClientError, TimeoutError) as error:
            told = f"{server}: {type(error).__name__} {error}"
        finally:
            self._flying[model, server] -= 1
        self.answers[model, told] += 1


@contextmanager
def model_gateway(servers: Mapping[str, str]) -> Iterator[ModelGateway]:
    """A gateway before these servers (name and HTTP URL) for the length of the block."""
    gateway = ModelGateway(servers)
    try:
        yield gateway
    finally:
        gateway.close()
