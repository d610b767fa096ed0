from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from controlplane.domain.decision import Outcome
from controlplane.domain.errors import GrafanaRefusedError, TargetUnreachableError
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.routing import AlertSettings
from controlplane.loop import annotator as module
from controlplane.loop.annotator import Annotator
from controlplane.publish.grafana.annotations import Annotation, Marks
from tests.unit.loop.worlds import FLEET, NOW, a_reading

PICTURE = Picture(NOW, FLEET, a_reading(), health=LoopHealth(ticks=1, last_tick_at=NOW, interval_s=15.0, leading=True))


class Loop:
    """Shows the overrides that a test sets."""

    def __init__(self) -> None:
        self.shown = PICTURE
        self._moved = asyncio.Event()

    def picture(self) -> Picture:
        return self.shown

    def last_outcome(self, model: str, server: str) -> Outcome | None:  # noqa: ARG002 - the port's signature
        return None

    async def changed(self, timeout_s: float) -> None:  # noqa: ARG002 - the port's signature
        await self._moved.wait()
        self._moved.clear()

    def set_overrides(self, *numbers: int) -> None:
        made = tuple(
            Override(f"o{n}", "a", OverrideKind.LOADED, "ann", f"reason {n}", NOW + n, NOW + 1e6) for n in numbers
        )
        self.shown = replace(PICTURE, overrides=made)
        self._moved.set()


@dataclass
class Grafana:
    """Takes annotations, unless `error` is set; waits for `gate` on the thread."""

    taken: list[str] = field(default_factory=list)
    again: list[bool] = field(default_factory=list)
    error: Exception | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    threads: set[str] = field(default_factory=set)
    closed: bool = False
    waiting: bool = False

    def annotate(self, annotation: Annotation, *, again: bool = False) -> None:
        self.waiting = True
        self.gate.wait(30)
        self.threads.add(threading.current_thread().name)
        self.again.append(again)
        if self.error is not None:
            raise self.error
        self.taken.append(annotation.text.rsplit(": ", 1)[1])

    def close(self) -> None:
        self.closed = True


async def until(so: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not so():  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", (0.01, 0.02))


def wired(most: int = 256) -> tuple[Annotator, Loop, Grafana]:
    loop, grafana = Loop(), Grafana()
    grafana.gate.set()
    return Annotator(loop, grafana, Marks(NOW, AlertSettings()), most=most), loop, grafana


async def test_what_happens_is_written_in_order_on_a_thread_of_its_own() -> None:
    annotator, loop, grafana = wired()
    annotator.start()
    loop.set_overrides(1, 2, 3)
    await until(lambda: len(grafana.taken) == 3)
    await annotator.close()
    assert grafana.taken == ["reason 1", "reason 2", "reason 3"]
    assert grafana.threads == {"grafana"}
    assert grafana.closed


async def test_a_grafana_that_hangs_holds_up_nothing_and_costs_the_oldest_beyond_the_queue() -> None:
    annotator, loop, grafana = wired(most=4)
    grafana.gate.clear()
    annotator.start()
    loop.set_overrides(*range(10))
    await until(lambda: annotator.dropped == 6)
    grafana.gate.set()
    await until(lambda: "reason 9" in grafana.taken)
    await annotator.close()
    assert grafana.taken == [f"reason {n}" for n in (6, 7, 8, 9)]


async def test_a_grafana_that_is_away_is_told_again_without_doubles_and_logged_once() -> None:
    annotator, loop, grafana = wired()
    grafana.error = TargetUnreachableError("Grafana", "connection refused")
    with capture_logs() as logs:
        annotator.start()
        loop.set_overrides(1)
        await until(lambda: len(grafana.again) >= 3)
        grafana.error = None
        await until(lambda: grafana.taken)
        await annotator.close()
    assert grafana.taken == ["reason 1"]
    assert grafana.again[0] is False
    assert all(grafana.again[1:])
    assert [entry["log_level"] for entry in logs] == ["error", "info"]


@pytest.mark.parametrize("error", [GrafanaRefusedError("Grafana: refuses it"), RuntimeError("a bug")])
async def test_what_is_refused_is_dropped_and_the_next_is_written(error: Exception) -> None:
    annotator, loop, grafana = wired()
    grafana.error = error
    annotator.start()
    loop.set_overrides(1)
    await until(lambda: annotator.dropped == 1)
    grafana.error = None
    loop.set_overrides(1, 2)
    await until(lambda: grafana.taken)
    await annotator.close()
    assert grafana.taken == ["reason 2"]


async def test_it_ends_while_grafana_hangs() -> None:
    annotator, loop, grafana = wired()
    grafana.gate.clear()
    annotator.start()
    loop.set_overrides(1)
    await until(lambda: grafana.waiting)
    async with asyncio.timeout(30):
        await annotator.close()
    grafana.gate.set()
