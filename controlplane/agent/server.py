"""NVML of this machine behind `GET /metrics`: every request reads anew, so that no value has an age.

With a token, `/mig` cuts its GPUs.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from controlplane.collect.gpu.nvml import Nvml
from controlplane.domain.signal import Missing
from controlplane.publish.metrics.gpus import GpuMetrics

if TYPE_CHECKING:
    from controlplane.agent.mig.routes import MigRoutes

_log = structlog.get_logger(__name__)
_REQUESTS_S = 1.0
"""Requests under way at the end are given so many seconds."""
_LARGEST_BODY = 2**16


class Agent:
    """The page. `timeout_s`: NVML is given up after so long, and the page says so."""

    def __init__(self, timeout_s: float) -> None:
        self._nvml = Nvml(timeout_s, max_age_s=timeout_s)
        self._turn = asyncio.Lock()
        self._why: str | None = None

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def page(self) -> bytes:
        """One round of NVML as a page in the Prometheus text format."""
        async with self._turn:  # two at once would take each other for a call that hangs
            await self._nvml.read(time.monotonic)
            gpus = self._nvml.reading(time.monotonic())
        self._tell("" if not isinstance(gpus, Missing) else gpus.why)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(GpuMetrics(gpus))
        return generate_latest(registry)

    def close(self) -> None:
        """Let go of NVML."""
        self._nvml.close()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=await self.page(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    def _tell(self, why: str) -> None:
        if why == self._why:
            return
        if why:
            _log.warning("NVML cannot be read", why=why)
        else:
            _log.info("NVML is read")
        self._why = why


async def serve(listening: socket.socket, timeout_s: float, mig: MigRoutes | None = None) -> None:
    """Serve the page, and `/mig` where that is given, until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    agent = Agent(timeout_s)
    app = agent.app()
    if mig is not None:
        await mig.adopt()
        mig.add_to(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_REQUESTS_S)
    await runner.setup()
    resuming = None if mig is None else asyncio.create_task(mig.resume())
    try:
        await web.SockSite(runner, listening).start()
        host, port = listening.getsockname()[:2]
        print(f"agent http://{f'[{host}]' if ':' in host else host}:{port}/metrics", flush=True)  # noqa: T201
        with suppress(asyncio.CancelledError):
            await stop.wait()
    finally:
        await runner.cleanup()
        agent.close()
        if mig is not None and resuming is not None:
            resuming.cancel()
            mig.close()
    _log.info("stopped")
