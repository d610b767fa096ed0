"""A real TorchServe, read through a configuration, against what was sent to it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.config import parse_settings
from controlplane.domain.observation import FleetReading, ModelReading, ModelState
from controlplane.domain.signal import Known, Missing, known
from tests.torchserve import setup
from tests.torchserve.rig import TorchServeRig

pytestmark = pytest.mark.skipif(bool(setup.problem()), reason=setup.problem() or "set up")

wall_clock = time.time  # noqa: TID251 - a real server lives in real time
WORK_S = 0.01
ECHO = f"""
import time

def handle(data, context):
    time.sleep({WORK_S} * len(data or ()))
    return [b"ok" for _ in data or ()]
"""
BROKEN = """
def handle(data, context):
    if data:
        raise ValueError("out of order")
"""
CONFIG = """
servers: [{{name: ts, kind: torchserve, http: "{rig.inference}", metrics: "{rig.metrics}"}}]
models:
  - {{name: sound, served_name: echo, runs_on: ts}}
  - {{name: broken, runs_on: ts}}
"""


@pytest.fixture(scope="module")
def rig() -> Iterator[TorchServeRig]:
    with TorchServeRig({"echo": ECHO, "broken": BROKEN}) as started:
        yield started


@pytest.fixture
async def collector(rig: TorchServeRig) -> AsyncIterator[FleetCollector]:
    fleet = parse_settings(CONFIG.format(rig=rig), {}).fleet
    collector = FleetCollector(fleet, timeout_s=5, max_age_s=60, clock=wall_clock, nvml=False)
    yield collector
    await collector.close()


async def look(collector: FleetCollector) -> FleetReading:
    await collector.collect(wall_clock())
    return collector.reading(wall_clock())


def seen(reading: FleetReading, model: str) -> ModelReading:
    signal = reading.servers["ts"].models[model]
    assert isinstance(signal, Known)
    return signal.value


async def test_what_is_read_is_what_was_sent(rig: TorchServeRig, collector: FleetCollector) -> None:
    first = await look(collector)
    assert known(first.servers["ts"].live) is True
    assert first.servers["ts"].models["sound"] == Missing("its metrics page has no series of echo (yet)")

    assert rig.predict("echo") == 200
    assert rig.predict("broken") == 503
    await look(collector)
    begun = time.perf_counter()
    with ThreadPoolExecutor(4) as clients:
        assert set(clients.map(rig.predict, ["echo"] * 40)) == {200}
    took_s = time.perf_counter() - begun
    assert [rig.predict("broken") for _ in range(3)] == [503] * 3
    assert rig.predict("unknown") == 404
    last = await look(collector)

    began, sound = seen(last, "sound").intervals
    assert began.completed == 1, "a model that the page did not name had counted nothing"
    assert seen(last, "sound").state is ModelState.READY
    assert (sound.completed, sound.failed, sound.rejected) == (40, 0, 0)
    assert 40 * WORK_S <= sound.request_s <= 4 * took_s
    # one worker and four clients: about three of four wait
    assert 0.4 * sound.request_s <= sound.queue_s <= sound.request_s
    broken = seen(last, "broken").intervals[-1]
    assert (broken.completed, broken.failed) == (3, 0), "failures are told by host only, as the mapping's note says"
    assert broken.request_s == 0, "times are of answered requests"


async def test_a_restart_begins_the_counters_anew(rig: TorchServeRig, collector: FleetCollector) -> None:
    for _ in range(5):
        assert rig.predict("echo") == 200
    before = await look(collector)
    rig.restart()
    for _ in range(2):
        assert rig.predict("echo") == 200
    after = await look(collector)
    assert seen(after, "sound").intervals[-1].completed == 2
    assert after.servers["ts"].incarnation > before.servers["ts"].incarnation
