"""Jobs that are waited for only so long, so that those that hang hold nobody up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import structlog

Job: TypeAlias = Callable[[], Awaitable[None]]
_log = structlog.get_logger(__name__)


class Unhurried:
    """Runs jobs by name. One that takes longer than it is waited for goes on, and is not begun anew meanwhile.

    One with a fault of ours is logged and costs the others nothing.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def run(self, jobs: Mapping[str, Job], timeout_s: float) -> None:
        """Begin those that are not under way, and wait for all of these, `timeout_s` seconds at most."""
        for name, job in jobs.items():
            if name not in self._under_way:
                self._under_way[name] = asyncio.create_task(self._run(name, job), name=name)
        if jobs:
            await asyncio.wait({self._under_way[name] for name in jobs}, timeout=timeout_s)

    async def close(self) -> None:
        """End those that are under way."""
        ending = tuple(self._under_way.values())
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._under_way.clear()

    async def _run(self, name: str, job: Job) -> None:
        try:
            await job()
        except Exception:  # noqa: BLE001 - a fault of ours in one job is not to end the others
            _log.exception("a job failed unexpectedly", job=name)
        finally:
            self._under_way.pop(name, None)
