"""The loop and the API in one event loop, from the first signal to the last."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

import structlog
import uvicorn

from controlplane.api.app import create_app
from controlplane.cli.descriptors import needed, raise_limit, too_few
from controlplane.cli.output import complain
from controlplane.config import Settings
from controlplane.loop.wire import ControlPlane, build

log = structlog.get_logger(__name__)

STOP_S = 5.0
"""After the first signal everything has ended within so many seconds, if need be by force."""
_REQUESTS_S = 1
"""Requests under way are given so many seconds."""


class _Server(uvicorn.Server):
    """Leaves the signals to us: the loop has to stop with the API."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, listening: socket.socket, *, dry_run: bool) -> int:
    """Run until SIGTERM or SIGINT; gives the exit code. A second signal ends the process at once."""
    stop = asyncio.Event()
    _on_signals(stop)
    descriptors = raise_limit()
    plane = build(settings, dry_run=dry_run)
    app = create_app(plane)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_REQUESTS_S,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]), name="api")
    running = asyncio.create_task(_run(plane, settings, listening, stop, descriptors, dry_run=dry_run), name="loop")
    try:
        # either ends: the loop by a signal or because it cannot start, the API only if it fails
        await asyncio.wait({serving, running}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        server.should_exit = True
        app.state.feed.stop()
        stop.set()
        started = await asyncio.gather(running, return_exceptions=True)
        results = started + await asyncio.gather(serving, plane.stop(), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    log.info("stopped")
    return 0


async def _run(
    plane: ControlPlane,
    settings: Settings,
    listening: socket.socket,
    stop: asyncio.Event,
    descriptors: int,
    *,
    dry_run: bool,
) -> None:
    starting = asyncio.create_task(plane.start(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return
    starting.result()
    _announce(settings, listening, dry_run=dry_run)
    fleet = plane.picture().fleet
    if too_few(descriptors, fleet):
        log.warning(
            "fewer open files are allowed than the fleet may need: raise the hard limit (ulimit -Hn, LimitNOFILE)",
            allowed=descriptors,
            needed=needed(fleet),
        )
    await stopping


def _announce(settings: Settings, listening: socket.socket, *, dry_run: bool) -> None:
    host, port = listening.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    access = (
        "bearer tokens are asked for"
        if settings.api.tokens_file
        else "without tokens: only this machine is served, and everybody on it may give instructions"
    )
    print(f"API {address} ({access})", flush=True)
    log.info(
        "running",
        api=address,
        servers=len(settings.fleet.servers),
        workloads=len(settings.fleet.workloads),
        models=len(settings.fleet.models),
        mode=settings.mode.value,
        dry_run=dry_run,
    )


def _on_signals(stop: asyncio.Event) -> None:
    def received(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        log.info("stopping", signal=signal.Signals(number).name)
        stop.set()
        # a worker thread that hangs in a system call would keep the interpreter alive
        watchdog = threading.Timer(STOP_S - 0.2, _force)
        watchdog.daemon = True
        watchdog.start()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)


def _force() -> None:
    complain(f"not everything stopped within {STOP_S:g} s; ending all the same")
    os._exit(1)
