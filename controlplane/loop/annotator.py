"""Marks on Grafana's dashboards as things happen, on a thread of their own: no tick waits for Grafana."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

import structlog

from controlplane.collect.worker import Worker
from controlplane.domain.decision import Outcome
from controlplane.domain.errors import ControlPlaneError, TransientError
from controlplane.domain.picture import Picture
from controlplane.publish.grafana.annotations import Annotation, Marks

log = structlog.get_logger(__name__)

_LOOK_S = 30.0
_MOST = 256
_CALL_S = 15.0
_CLOSE_S = 1.0
_AGAIN_S = (1.0, 60.0)


class _Grafana(Protocol):
    def annotate(self, annotation: Annotation, *, again: bool = False) -> None: ...

    def close(self) -> None: ...


class View(Protocol):
    """What of the loop is looked at."""

    def picture(self) -> Picture:
        """What is known now and was decided last."""
        ...

    def last_outcome(self, model: str, server: str) -> Outcome | None:
        """The newest outcome of a unit."""
        ...

    async def changed(self, timeout_s: float) -> None:
        """Return when something ended or was read."""
        ...


class Annotator:
    """Writes what happens from the start on, oldest first, from a queue of at most `most`.

    While Grafana cannot be reached what is written waits, and beyond the queue the oldest is dropped and counted; what
    Grafana refuses is dropped at once. An answer that got lost does not make a second mark.
    """

    def __init__(self, view: View, grafana: _Grafana, marks: Marks, *, most: int = _MOST) -> None:
        self._view = view
        self._grafana = grafana
        self._marks = marks
        self._most = most
        self._queue: deque[Annotation] = deque()
        self._filled = asyncio.Event()
        self._worker = Worker("grafana")
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self.failing = False
        self._pause_s = _AGAIN_S[0]
        self.dropped = 0

    def start(self) -> None:
        """Begin."""
        self._tasks = (
            asyncio.create_task(_forever(self._look), name="annotations-look"),
            asyncio.create_task(_forever(self._write), name="annotations-write"),
        )

    async def close(self) -> None:
        """End. What waits is lost: a dashboard's mark is not worth a slow shutdown."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):  # a call that hangs is left to the end of the process
                await self._worker.call(self._grafana.close, _CLOSE_S)
        self._worker.close()

    async def _look(self) -> None:
        picture = self._view.picture()
        units = {(decision.model, decision.server) for decision in picture.decisions}
        outcomes = (self._view.last_outcome(*unit) for unit in sorted(units))
        seen = self._marks.look(picture, [outcome for outcome in outcomes if outcome is not None])
        if picture.health.leading:  # who stands by only remembers what is marked already
            self._add(seen)
        await self._view.changed(_LOOK_S)

    def _add(self, annotations: Iterable[Annotation]) -> None:
        for annotation in annotations:
            if len(self._queue) >= self._most:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(annotation)
            self._filled.set()

    async def _write(self) -> None:
        await self._filled.wait()
        annotation, again = self._queue[0], False
        # it is known by identity: what is dropped meanwhile is not written a second time
        while self._queue and self._queue[0] is annotation:
            try:
                await self._call(annotation, again=again)
            except TransientError as error:
                again = True
                self._failed(str(error))
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(2 * self._pause_s, _AGAIN_S[1])
            except ControlPlaneError as error:
                self.dropped += 1
                self._failed(str(error))
                self._done(annotation)
            except Exception:
                self.dropped += 1
                log.exception("an annotation was not written", text=annotation.text)
                self._done(annotation)
            else:
                self._went_well()
                self._done(annotation)

    async def _call(self, annotation: Annotation, *, again: bool) -> None:
        try:
            await self._worker.call(lambda: self._grafana.annotate(annotation, again=again), _CALL_S)
        except TimeoutError as error:
            raise TransientError(f"Grafana: {error}") from None

    def _done(self, annotation: Annotation) -> None:
        if self._queue and self._queue[0] is annotation:
            self._queue.popleft()
        if not self._queue:
            self._filled.clear()

    def _failed(self, why: str) -> None:
        if not self.failing:
            log.error("Grafana takes no annotations; they wait, and the oldest are dropped", error=why, most=self._most)
        self.failing = True

    def _went_well(self) -> None:
        self._pause_s = _AGAIN_S[0]
        if self.failing:
            log.info("Grafana takes annotations again", dropped=self.dropped)
        self.failing = False


async def _forever(once: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await once()
        except Exception:
            log.exception("annotations failed; tried again")
            await asyncio.sleep(_AGAIN_S[0])
