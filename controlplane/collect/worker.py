"""A thread for a library that blocks: one for good, a deadline for each call."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar, cast

T = TypeVar("T")


class _Outcome(NamedTuple):
    value: object
    error: BaseException | None


class _Call(NamedTuple):
    work: Callable[[], object]
    answer: asyncio.Future[_Outcome]
    loop: asyncio.AbstractEventLoop


class Worker:
    """Runs calls one after the other on one named thread.

    A call that hangs is left alone, and no second thread is started for it: until it returns, others are refused.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._turn = asyncio.Lock()
        self._newest: asyncio.Future[_Outcome] | None = None
        self._until = 0.0

    async def call(self, work: Callable[[], T], timeout_s: float) -> T:
        """What `work` gives or raises. Raises TimeoutError when it, or one before it, does not end in time."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            if self._newest is not None and not self._newest.done():  # it hangs, or its caller was cancelled
                await asyncio.wait({self._newest}, timeout=max(0.0, self._until - loop.time()))
                if not self._newest.done():
                    raise TimeoutError("an earlier call still hangs")
            if self._thread is None:
                # A daemon, since a thread that hangs in a library must not keep the process from ending.
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._newest, self._until = loop.create_future(), loop.time() + timeout_s
            self._calls.put(_Call(work, self._newest, loop))
            done, _ = await asyncio.wait({self._newest}, timeout=timeout_s)
            if not done:
                raise TimeoutError(f"no answer within {timeout_s:g} s")
            value, error = self._newest.result()
        if error is not None:
            raise error
        return cast("T", value)

    def close(self) -> None:
        """Let the thread end after the call under way; one that hangs is left to the end of the process."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread = None

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                outcome = _Outcome(call.work(), None)
            except BaseException as error:  # noqa: BLE001 - raised where the call was made
                outcome = _Outcome(None, error)
            with suppress(RuntimeError):  # the loop has been closed in the meantime
                call.loop.call_soon_threadsafe(_settle, call.answer, outcome)


def _settle(answer: asyncio.Future[_Outcome], outcome: _Outcome) -> None:
    if not answer.done():
        answer.set_result(outcome)
