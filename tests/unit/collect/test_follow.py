"""What was read of servers that leave is handed over, once; another process of the same name begins anew."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace

from structlog.testing import capture_logs

from controlplane.collect.fleet import FleetCollector
from controlplane.collect.page_server import PageServer
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import Fleet, Member, Mode, ModelSpec, Phase, ProbeSpec, ServerKind
from controlplane.domain.observation import ControlMode, FleetReading, Interval
from controlplane.domain.signal import Known, Missing, known
from controlplane.domain.sources import PrometheusSpec, Through
from tests.discovery_fake import member, workload
from tests.unit.collect.pages import absorb, recorded

EARLIER, LATER = recorded("vllm-0.32.0-after-40-requests.txt"), recorded("vllm-0.32.0-under-load.txt")
LLMS = workload("w", ServerKind.VLLM)
BASE = Fleet((), (ModelSpec("llm", "tiny", (), Mode.OBSERVE, workloads=("w",)),), workloads=(LLMS,))


class Following:
    """A collector, and the pages that its servers are made to have."""

    def __init__(self, *members: Member) -> None:
        self.fleet = BASE.with_members(members)
        self.collector = FleetCollector(self.fleet, timeout_s=1, max_age_s=15, clock=lambda: 0.0, nvml=False)

    def read(self, server: str, at: float, page: str) -> None:
        reader = self.collector._servers[server].reader
        assert isinstance(reader, PageServer)
        absorb(reader, at, page)

    def follow(self, *members: Member) -> FleetReading:
        return self.collector.follow(BASE.with_members(members), 30.0)


def intervals(reading: FleetReading, server: str) -> tuple[Interval, ...]:
    seen = known(reading.servers[server].models["llm"])
    return seen.intervals if seen is not None else ()


def pod(instance: str, uid: str = "", phase: Phase = Phase.READY, address: str = "10.0.0.1") -> Member:
    return member(instance, phase, of=LLMS, uid=uid, address=address)


async def test_intervals_and_latencies_of_a_server_go_with_it() -> None:
    following = Following(pod("0"), pod("1"))
    for server in ("w/0", "w/1"):
        following.read(server, 5, EARLIER)
        following.read(server, 25, LATER)
    both = following.collector.reading(30.0)
    left = following.follow(pod("1"))
    after = following.collector.reading(30.0)
    assert set(left.servers) == {"w/0"}
    assert intervals(left, "w/0") == intervals(both, "w/0") != ()
    assert left.latencies["llm"]
    assert sorted((*left.latencies["llm"], *after.latencies["llm"]), key=repr) == sorted(
        both.latencies["llm"], key=repr
    )
    assert intervals(after, "w/1") == intervals(both, "w/1")
    assert set(after.servers) == {"w/1"}
    await following.collector.close()


async def test_no_difference_is_taken_across_two_pods_of_one_name() -> None:
    following = Following(pod("0", "first"))
    following.read("w/0", 5, EARLIER)
    following.follow(pod("0", "second"))
    following.read("w/0", 25, LATER)
    assert intervals(following.collector.reading(30.0), "w/0") == ()
    following.follow(pod("0", "second", address="10.0.0.2"))
    assert following.collector._servers["w/0"].reader.spec.http == "http://10.0.0.2:8000"
    await following.collector.close()


async def test_a_phase_alone_changes_nothing_that_is_known() -> None:
    following = Following(pod("0", phase=Phase.STARTING))
    following.read("w/0", 5, EARLIER)
    assert following.follow(pod("0")).servers == {}
    following.read("w/0", 25, LATER)
    assert following.follow(pod("0", phase=Phase.TERMINATING)).servers == {}
    assert len(intervals(following.collector.reading(30.0), "w/0")) == 1
    await following.collector.close()


async def test_what_is_still_under_way_on_one_that_left_is_no_error_and_counts_nothing() -> None:
    following = Following(pod("0"))
    entry = following.collector._servers["w/0"]
    following.follow()
    await following.collector.collect(0.0, ["w/0", "never there"])
    following.collector.set_control("w/0", Known(ControlMode.EXPLICIT, 0.0))
    reader = entry.reader
    assert isinstance(reader, PageServer)
    reader.missed(31.0, TargetUnreachableError("w/0", "connection refused"))
    assert following.collector.reading(31.0).servers == {}
    await following.collector.close()


async def test_what_only_a_prometheus_tells_of_one_that_came_is_waited_for_and_no_error() -> None:
    spec = replace(LLMS.server("0", "10.0.0.1"), through=Through("prod", (("instance", "a"),)))
    fleet = replace(BASE, prometheus=(PrometheusSpec("prod", "http://127.0.0.1:1", 1),))
    collector = FleetCollector(fleet, timeout_s=1, max_age_s=15, clock=lambda: 0.0, nvml=False)
    collector.follow(fleet.with_members([Member(spec, "w", Phase.READY)]), 0.0)
    with capture_logs() as logs:
        await collector.collect(0.0, ["w/0"])
    assert logs == []
    assert collector.reading(0.0).servers["w/0"].live == Missing("never read")
    await collector.close()


async def test_nothing_holds_a_server_that_left() -> None:
    probed = replace(BASE, models=(replace(BASE.models[0], probe=ProbeSpec(30.0, 5.0)),))
    collector = FleetCollector(probed, timeout_s=0.01, max_age_s=15, clock=lambda: 0.0, nvml=False)
    collector.follow(probed.with_members([pod("0", address="127.0.0.1")]), 0.0)
    await collector.collect(0.0)
    left = weakref.ref(collector._servers["w/0"].reader)
    collector.follow(probed, 0.0)
    for _ in range(3):  # the probe's task ends
        await asyncio.sleep(0)
    gc.collect()
    assert left() is None
    await collector.close()
