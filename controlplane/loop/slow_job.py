"""A slow pure function in a process of its own, so that no tick waits for it and its libraries stay out of the loop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Generic, TypeVar

import structlog

from controlplane.domain.signal import Known, Missing, Signal, aged

log = structlog.get_logger(__name__)

Q = TypeVar("Q")
A = TypeVar("A")

_END_S = 1.0
_NICENESS = 10


class SlowJob(Generic[Q, A]):
    """Asks one worker process one question at a time and keeps the newest answer.

    `answer` is a pure function that both processes can import; it imports what is heavy when it is called. Nothing here
    waits but `close`: `ask` and `newest` are for ticks, and all are called from one thread.
    """

    def __init__(self, name: str, answer: Callable[[Q], A], *, max_age_s: float) -> None:
        self._name, self._answer, self._max_age_s = name, answer, max_age_s
        self._pool: ProcessPoolExecutor | None = None
        self._worker: Future[int] | None = None
        self._running: Future[A] | None = None
        self._asked_at = 0.0
        self._newest: Signal[A] = Missing("never asked")
        self._problem = ""
        self.skipped = 0
        """Questions that were not asked since the one before was still being answered."""

    def ask(self, question: Q, now: float) -> bool:
        """Begin to answer a question as of `now`, unless the one before still is; says whether it did."""
        self._look()
        if self._running is not None:
            self.skipped += 1
            return False
        self._asked_at = now
        try:
            self._running = self._submit(question)
        except BrokenProcessPool:
            # it died while it had nothing to do
            self._died()
            self._running = self._submit(question)
        return True

    def newest(self, now: float) -> Signal[A]:
        """The newest answer, as old as its question; missing with the reason as long as there is none."""
        self._look()
        if isinstance(self._newest, Missing) and self._problem:
            return Missing(self._problem)
        return aged(self._newest, now, self._max_age_s, self._problem or "no newer answer yet")

    @property
    def problem(self) -> str:
        """Why the last question that was dealt with has no answer; empty: it has one."""
        self._look()
        return self._problem

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        self._look()
        return self._running is not None

    @property
    def worker(self) -> int | None:
        """The process id of the worker, None before the first question and while it starts."""
        return self._worker.result() if self._worker is not None and _succeeded(self._worker) else None

    def close(self) -> None:
        """End the worker, whatever it does. A question under way is not answered."""
        pool, worker, self._pool, self._worker, self._running = self._pool, self._worker, None, None, None
        if pool is None or worker is None:
            return
        with contextlib.suppress(BrokenProcessPool, TimeoutError, ProcessLookupError):
            os.kill(worker.result(_END_S), signal.SIGKILL)
        pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, question: Q) -> Future[A]:
        if self._pool is None:
            # spawned: a fork would take over the loop's threads and sockets as they happen to be
            self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin)
            self._worker = self._pool.submit(os.getpid)
        return self._pool.submit(self._answer, question)

    def _look(self) -> None:
        """Take the answer when it is there."""
        if self._running is None or not self._running.done():
            return
        done, self._running = self._running, None
        error = done.exception()
        if error is None:
            self._newest, self._problem = Known(done.result(), self._asked_at), ""
        elif isinstance(error, BrokenProcessPool):
            self._died()
        else:
            self._problem = f"{type(error).__name__}: {error}"
            log.error("a slow job failed; the next question is asked all the same", job=self._name, error=self._problem)

    def _died(self) -> None:
        self._problem = "its worker process died; a new one answers the next question"
        log.error("the worker of a slow job died; a new one is started", job=self._name)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._worker = None


def _succeeded(future: Future[int]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _begin() -> None:
    """The worker gives way to the loop, leaves interrupts from the keyboard to it, and ends when it is gone.

    What solvers print goes to standard error: standard output is that of the command, which may be JSON.
    """
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that started it is gone: nothing else would wake it from waiting for work."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
