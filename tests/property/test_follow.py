"""Fleets that follow each other: what stays is kept, what leaves is gone at once and entirely."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from controlplane.collect.fleet import FleetCollector
from controlplane.domain.fleet import Fleet, Member, Mode, ModelSpec, Phase, ProbeSpec, ServerKind, ServerSpec
from tests.discovery_fake import member, workload

NOW = 1000.0
TRITONS, LLMS = workload("w"), workload("llm", ServerKind.VLLM)
STATIC = ServerSpec("t0", ServerKind.TRITON, "http://x", "http://x/metrics", "x:1")
BASE = Fleet(
    (STATIC,),
    (
        ModelSpec("a", "a", ("t0",), Mode.ACT, workloads=("w",), probe=ProbeSpec(30.0, 5.0)),
        ModelSpec("b", "b", (), Mode.ACT, workloads=("w", "llm")),
        ModelSpec("c", "c", ("t0",), Mode.ACT),
    ),
    workloads=(TRITONS, LLMS),
)

a_member = st.builds(
    lambda of, instance, phase, address, uid: member(instance, phase, of=of, address=address, uid=uid),
    st.sampled_from([TRITONS, LLMS]),
    st.sampled_from(["0", "1", "2"]),
    st.sampled_from(Phase),
    st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]),
    st.sampled_from(["u1", "u2"]),
)
some_members = st.lists(a_member, max_size=6, unique_by=lambda m: m.server.name)


@given(some_members, some_members)
def test_only_the_newest_members_count(before: list[Member], after: list[Member]) -> None:
    assert BASE.with_members(before).with_members(after) == BASE.with_members(after)
    assert BASE.with_members(before).with_members([]) == BASE


@given(some_members)
def test_every_model_runs_on_its_own_servers_and_all_members_of_its_workloads(members: list[Member]) -> None:
    fleet = BASE.with_members(members)
    assert {server.name for server in fleet.servers} == {"t0", *(m.server.name for m in members)}
    for model in fleet.models:
        configured = next(m for m in BASE.models if m.name == model.name).runs_on
        theirs = {m.server.name for m in members if m.workload in model.workloads}
        assert set(model.runs_on) == {*configured, *theirs}
        assert len(model.runs_on) == len(set(model.runs_on))


@given(st.lists(some_members, min_size=1, max_size=6))
def test_what_stays_is_kept_and_nothing_of_what_left_is_ever_read(steps: list[list[Member]]) -> None:
    async def run() -> None:
        collector = FleetCollector(BASE, timeout_s=1, max_age_s=15, clock=lambda: NOW, nvml=False)
        fleet = BASE
        try:
            for members in steps:
                before, entries = fleet, dict(collector._servers)
                fleet = BASE.with_members(members)
                left = collector.follow(fleet, NOW)
                reading = collector.reading(NOW)
                assert set(reading.servers) == {server.name for server in fleet.servers}
                for model in fleet.models:
                    read = {name for name, server in reading.servers.items() if model.name in server.models}
                    assert read == set(model.runs_on)
                stayed = {name for name, entry in entries.items() if collector._servers.get(name) is entry}
                assert stayed == {server.name for server in before.servers if _same(server.name, before, fleet)}
                assert set(left.servers) == {server.name for server in before.servers} - stayed
                probed = set(collector._probing._probes)
                up = {name for name in fleet.models[0].runs_on if _up(name, fleet)}
                assert probed == {(name, "a") for name in up}
        finally:
            await collector.close()

    asyncio.run(run())


def _same(name: str, before: Fleet, after: Fleet) -> bool:
    """Whether it is the same process as far as anybody can know: its address and its pod."""
    uids = [fleet.members[name].pod_uid if name in fleet.members else "" for fleet in (before, after)]
    return before.server(name) == after.server(name) and uids[0] == uids[1]


def _up(name: str, fleet: Fleet) -> bool:
    return name not in fleet.members or fleet.members[name].phase is Phase.READY
