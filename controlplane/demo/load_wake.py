"""Asks the control plane to load a model that was found unloaded, as a gateway does."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import aiohttp

from controlplane.domain.errors import TransientError


class WakeError(TransientError):
    """The control plane did not get the model ready in time."""


class Waker:
    """Calls `ensure` for models; all requests that wait for one model share one call.

    An API that does not answer, or answers 5xx or 409, is asked again until `patience_s` has passed.
    """

    def __init__(self, api: str, token_file: Path | None, patience_s: float = 30.0) -> None:
        self._api = api.rstrip("/")
        self._headers = {"X-Actor": "gateway"}
        if token_file:
            self._headers["Authorization"] = f"Bearer {token_file.read_text(encoding='utf-8').strip()}"
        self._patience_s = patience_s
        self._session: aiohttp.ClientSession | None = None
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._woken_s: dict[str, float] = {}

    async def wake(self, model: str, asked_s: float) -> bool:
        """Returns when the model is ready: True for the caller that made the call, False for those that joined it.

        `asked_s` (time.perf_counter) is when the caller sent the request that found the model unloaded: one sent
        before the last call succeeded is to be sent again without another. Raises WakeError.
        """
        if asked_s < self._woken_s.get(model, -math.inf):
            return False
        running = self._under_way.get(model)
        leading = running is None
        if running is None:
            running = asyncio.create_task(self._ensure(model))
            self._under_way[model] = running
            running.add_done_callback(lambda _task: self._under_way.pop(model, None))
        await asyncio.shield(running)
        return leading

    async def close(self) -> None:
        """Drops calls under way and the connection."""
        for task in list(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        if self._session:
            await self._session.close()

    async def _ensure(self, model: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        deadline_s = time.perf_counter() + self._patience_s
        url = f"{self._api}/api/v1/models/{model}/ensure"
        why = "no answer"
        while (left_s := deadline_s - time.perf_counter()) > 0:
            try:
                async with self._session.post(url, timeout=aiohttp.ClientTimeout(total=left_s)) as answer:
                    if answer.status < 300:
                        self._woken_s[model] = time.perf_counter()
                        return
                    why = f"HTTP {answer.status} {(await answer.text())[:200]}"
                    if answer.status < 500 and answer.status != 409:
                        break
            except (aiohttp.ClientError, TimeoutError) as error:
                why = f"{type(error).__name__}: {error}"
            await asyncio.sleep(0.25)
        raise WakeError(f"ensure for {model} did not succeed: {why}")
