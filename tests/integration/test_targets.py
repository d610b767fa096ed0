"""The whole loop over what a real Prometheus finds: targets of a file come and go, a real Triton behind them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import tritonclient.grpc.aio as triton

from controlplane.collect.prometheus.api import Prometheus
from controlplane.collect.prometheus.targets import PrometheusTargets
from controlplane.config import parse_settings
from controlplane.demo.rig import TritonRig
from controlplane.domain.decision import ReasonCode
from controlplane.domain.fleet import Phase
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Known, Missing, Stale, known
from controlplane.loop.clock import wall_clock
from controlplane.loop.wire import ControlPlane, build
from tests.e2e.traffic import row, write_model
from tests.prometheus_fixtures import RealPrometheus
from tests.rig_fixtures import RigFactory

MODEL = "sum"
REQUESTS = 20
CONFIGURATION = """
store: sqlite:///{store}
mode: act
scrape: {{interval: 500ms, timeout: 400ms}}
decide: {{interval: 1s}}
prometheus: [{{name: prom, url: "{url}", interval: 1s}}]
workloads:
  - name: w
    kind: triton
    prometheus: {{source: prom, where: {{job: pods, tier: "g.u"}}}}
    ports: {{http: {http}, grpc: {grpc}, metrics: {metrics}}}
models:
  - {{name: sum, runs_on: [w], objectives: [{{availability: 99%}}]}}
"""


class TargetsFile:
    """What Prometheus scrapes, by its discovery from a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hold()

    def hold(self, *targets: str) -> None:
        labels = {"tier": "gpu"}
        replaced = self.path.with_suffix(".new")
        replaced.write_text(json.dumps([{"targets": list(targets), "labels": labels}]), encoding="utf-8")
        replaced.replace(self.path)


@pytest.fixture
def targets(prometheus: RealPrometheus, tmp_path: Path) -> TargetsFile:
    made = TargetsFile(tmp_path / "targets.json")
    found = {"file_sd_configs": [{"files": [str(made.path)], "refresh_interval": "1s"}]}
    prometheus.scrape({"pods": []}, pods=found)
    return made


@asynccontextmanager
async def running(
    prometheus: RealPrometheus, folder: Path, http: int = 9, grpc: int = 9, metrics: int = 9
) -> AsyncIterator[ControlPlane]:
    text = CONFIGURATION.format(store=folder / "history.db", url=prometheus.url, http=http, grpc=grpc, metrics=metrics)
    settings = parse_settings(text, {})
    asked = Prometheus(prometheus.spec())
    found_by = PrometheusTargets(settings.fleet.workloads, {"prom": asked}, clock=wall_clock, interval_s=0.3)
    plane = build(settings, discoveries=[found_by])
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()
        asked.close()


async def until(plane: ControlPlane, what: str, condition: Callable[[Picture], object], timeout_s: float = 20) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not condition(plane.picture()):
                await plane.runner.changed(0.2)
    except TimeoutError:
        pytest.fail(f"not within {timeout_s:g} s: {what}; {plane.picture()}")


def bindings(picture: Picture) -> set[ReasonCode]:
    return {decision.binding for decision in picture.decisions}


def events(picture: Picture) -> int:
    return sum(judgement.window.events for judgement in picture.judgements.get(MODEL, ()))


async def infer(rig: TritonRig, times: int) -> None:
    async with triton.InferenceServerClient(rig.grpc_url) as client:
        for _ in range(times):
            await client.infer(MODEL, row())


@pytest.mark.triton
async def test_a_triton_that_is_a_target_is_served_and_one_that_is_none_is_let_go(
    prometheus: RealPrometheus, targets: TargetsFile, triton_rig: RigFactory, tmp_path: Path
) -> None:
    rig = triton_rig([], start=False)
    write_model(rig.repository, MODEL, start_s=0.1, execute_s=0.01)
    await asyncio.to_thread(rig.start)
    name = f"w/127.0.0.1:{rig.ports.metrics}"
    async with running(prometheus, tmp_path, rig.ports.http, rig.ports.grpc, rig.ports.metrics) as plane:
        assert known(plane.picture().workloads["w"]) == (), "none is a good answer"
        assert plane.picture().fleet.servers == ()
        targets.hold(f"127.0.0.1:{rig.ports.metrics}")
        await until(plane, "it is found", lambda p: name in p.fleet.members)
        found_at_tick = plane.picture().health.ticks
        member = plane.picture().fleet.members[name]
        assert member.server.through is not None
        assert member.server.http == rig.http_url
        await until(plane, "it was scraped", lambda p: p.fleet.members[name].phase is Phase.READY)
        await until(plane, "something is decided", lambda p: bindings(p) - {ReasonCode.SERVER_PHASE})
        await until(plane, "its model is loaded", lambda p: bindings(p) == {ReasonCode.IN_PLACE})
        assert plane.picture().health.ticks > found_at_tick
        await until(plane, "its counters are read", lambda p: _intervals(p, name))
        await infer(rig, REQUESTS)
        await until(plane, "they are counted", lambda p: _completed(p, name) == REQUESTS)
        targets.hold()
        await until(plane, "it is gone", lambda p: name not in p.fleet.members)
        assert plane.picture().reading.servers == {}
        await until(plane, "what it did is kept", lambda p: events(p) == REQUESTS, 40)
        assert plane.picture().health.problem == ""


def _intervals(picture: Picture, server: str) -> tuple[object, ...]:
    reading = known(picture.reading.servers[server].models[MODEL])
    return reading.intervals if reading is not None else ()


def _completed(picture: Picture, server: str) -> int:
    reading = known(picture.reading.servers[server].models[MODEL])
    return sum(interval.completed for interval in reading.intervals) if reading is not None else 0


async def test_servers_stay_while_prometheus_hangs_and_a_target_that_is_down_tells_why(
    prometheus: RealPrometheus, targets: TargetsFile, tmp_path: Path
) -> None:
    async with running(prometheus, tmp_path) as plane:
        targets.hold("127.0.0.1:9")
        await until(plane, "it is found and down", lambda p: [m.phase for m in p.fleet.members.values()] == ["ready"])
        (name,) = plane.picture().fleet.members
        await until(plane, "it is decided about", lambda p: bindings(p) == {ReasonCode.SERVER_DOWN})
        try:
            prometheus.pause()
            await until(plane, "the listing is old", lambda p: isinstance(p.workloads["w"], Stale))
            why = plane.picture().workloads["w"]
            assert isinstance(why, Stale)
            assert "not answered" in why.why or "no answer within" in why.why
            assert set(plane.picture().fleet.members) == {name}
        finally:
            prometheus.go_on()
        await until(plane, "it is known again", lambda p: isinstance(p.workloads["w"], Known))
        assert set(plane.picture().fleet.members) == {name}


async def test_without_a_prometheus_nothing_is_known(tmp_path: Path) -> None:
    text = CONFIGURATION.format(store=tmp_path / "h.db", url="http://127.0.0.1:9", http=9, grpc=9, metrics=9)
    plane = build(parse_settings(text, {}))
    try:
        await plane.start()
        workload = plane.picture().workloads["w"]
        assert isinstance(workload, Missing)
        assert "connection refused" in workload.why
    finally:
        await plane.stop()
