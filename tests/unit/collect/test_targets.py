"""Targets of a Prometheus as servers: who is one, what it is called, and what an answer may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from controlplane.collect.prometheus.api import Prometheus, Target, Targets
from controlplane.collect.prometheus.targets import PrometheusTargets, members_of
from controlplane.domain.errors import ControlPlaneError, TargetUnreachableError
from controlplane.domain.fleet import Member, Phase, Ports, ServerKind, TargetsQuery, WorkloadSpec
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.sources import Through

NOW = 1000.0
QUERY = TargetsQuery("prom", (("job", "triton|llm"), ("zone", "eu-.*")))
W = WorkloadSpec("w", ServerKind.TRITON, QUERY, Ports(8000, 8001, 8002))


def target(instance: str = "10.0.0.1:8002", *, job: str = "triton", health: str = "up", **more: str) -> Target:
    labels = {"job": job, "instance": instance, "zone": "eu-1", **more}
    return Target(labels, f"http://{instance}/metrics", health)


def found(*targets: Target, before: tuple[Member, ...] | None = None, of: WorkloadSpec = W) -> tuple[Member, ...]:
    query = of.query
    assert isinstance(query, TargetsQuery)
    return members_of(of, query, targets, before, NOW)


def test_a_target_is_a_server_at_its_host_read_through_that_prometheus() -> None:
    (member,) = found(target())
    assert member.server.name == "w/10.0.0.1:8002"
    assert (member.server.http, member.server.grpc) == ("http://10.0.0.1:8000", "10.0.0.1:8001")
    assert member.server.through == Through("prom", (("job", "triton"), ("instance", "10.0.0.1:8002")))
    assert (member.workload, member.phase, member.created_at) == ("w", Phase.READY, None)


def test_where_it_is_read_itself_its_page_is_where_prometheus_finds_it() -> None:
    of = replace(W, query=replace(QUERY, through=False))
    (member,) = found(replace(target(), scrape_url="http://10.0.0.1:9999/other?x=1"), of=of)
    assert member.server.through is None
    assert member.server.metrics == "http://10.0.0.1:9999/other?x=1"
    assert member.server.http == "http://10.0.0.1:8000"


@pytest.mark.parametrize(
    ("labels", "is_one"),
    [({"zone": "eu-west"}, True), ({"zone": "not-eu-1"}, False), ({"job": "tritons"}, False), ({"job": "llm"}, True)],
)
def test_every_pattern_matches_a_label_as_a_whole(labels: dict[str, str], is_one: bool) -> None:
    one = target()
    assert bool(found(replace(one, labels={**one.labels, **labels}))) is is_one


def test_a_label_that_is_not_there_is_empty() -> None:
    one = target()
    without = replace(one, labels={key: value for key, value in one.labels.items() if key != "zone"})
    assert found(without) == ()
    anything = replace(W, query=TargetsQuery("prom", (("zone", ".*"),)))
    assert len(found(without, of=anything)) == 1


def test_two_jobs_with_one_instance_are_two_servers() -> None:
    assert [m.server.name for m in found(target(job="triton"), target(job="llm"))] == [
        "w/llm/10.0.0.1:8002",
        "w/triton/10.0.0.1:8002",
    ]


def test_an_address_of_ip_6_has_its_brackets() -> None:
    (member,) = found(replace(target("[fd00::1]:8002"), scrape_url="http://[fd00::1]:8002/metrics"))
    assert (member.server.http, member.server.grpc) == ("http://[fd00::1]:8000", "[fd00::1]:8001")


def test_a_target_without_an_address_is_no_server() -> None:
    assert found(replace(target(), scrape_url="")) == ()
    assert found(replace(target(), scrape_url="http://[half:8002/metrics")) == ()


def test_one_that_is_down_stays_a_server_and_one_not_scraped_yet_is_starting() -> None:
    assert [m.phase for m in found(target(health="down"))] == [Phase.READY]
    assert [m.phase for m in found(target(health="unknown"))] == [Phase.STARTING]


def test_one_that_was_ready_is_not_starting_again_when_prometheus_restarts() -> None:
    before = found(target())
    assert found(target(health="unknown"), before=before) == before


def test_when_it_was_ready_is_known_as_far_as_it_was_seen() -> None:
    first = found(target())
    both = found(target(), target("10.0.0.2:8002", health="unknown"), before=first)
    assert [m.ready_at for m in both] == [None, None]
    ready = members_of(W, QUERY, (target(), target("10.0.0.2:8002")), both, NOW + 15)
    assert [(m.created_at, m.ready_at) for m in ready] == [(None, None), (None, NOW + 15)]
    assert members_of(W, QUERY, (target(), target("10.0.0.2:8002")), ready, NOW + 30) == ready


class ScriptedPrometheus:
    """Answers what it is told to, in turn."""

    def __init__(self, *answers: Targets | ControlPlaneError) -> None:
        self._answers = list(answers)

    async def targets(self) -> Targets:
        answer = self._answers.pop(0)
        if isinstance(answer, ControlPlaneError):
            raise answer
        return answer


class Looking:
    """A discovery over scripted answers, and a clock."""

    def __init__(self, *answers: Targets | ControlPlaneError) -> None:
        self.now = NOW
        self.moves = 0
        asked = cast("Any", ScriptedPrometheus(*answers))
        self.discovery = PrometheusTargets([W], {"prom": cast("Prometheus", asked)}, clock=lambda: self.now)

    def moved(self) -> None:
        self.moves += 1

    async def next(self, after_s: float = 15.0) -> Known[tuple[Member, ...]] | Missing | Stale[tuple[Member, ...]]:
        self.now += after_s
        self.discovery._changed = self.moved
        await self.discovery._list("prom")
        return self.discovery.members(self.now)["w"]


AWAY = TargetUnreachableError("Prometheus prom", "connection refused")


async def test_it_is_missing_until_it_was_listed() -> None:
    looking = Looking(AWAY, Targets((), ("a store is away",)), Targets(()))
    assert looking.discovery.members(NOW)["w"] == Missing("not listed yet")
    assert await looking.next() == Missing("Prometheus prom: connection refused")
    assert await looking.next() == Missing("Prometheus prom gave a part only: a store is away")
    assert await looking.next() == Known((), NOW + 45)


async def test_members_stay_while_it_fails_and_are_stale_after_a_while() -> None:
    looking = Looking(Targets((target(),)), AWAY, Targets((), ("a store is away",)), AWAY, Targets((target(),)))
    listed = await looking.next()
    assert isinstance(listed, Known)
    assert await looking.next() == listed
    assert await looking.next() == listed
    stale = await looking.next(16.0)
    assert isinstance(stale, Stale)
    assert (stale.value, stale.why) == (listed.value, "Prometheus prom: connection refused")
    again = await looking.next()
    assert isinstance(again, Known)
    assert (again.value, again.observed_at) == (listed.value, looking.now)
    assert looking.moves == 1, "only the first listing moved anything"


async def test_that_all_have_gone_is_believed_when_it_is_said_twice() -> None:
    looking = Looking(Targets((target(),)), Targets(()), Targets((target(),)), Targets(()), Targets(()))
    listed = await looking.next()
    assert isinstance(listed, Known)
    assert await looking.next() == listed
    assert (await looking.next()).value == listed.value  # type: ignore[union-attr]
    assert (await looking.next()).value == listed.value  # type: ignore[union-attr]
    assert await looking.next() == Known((), looking.now)
    assert looking.moves == 2


async def test_one_of_several_that_has_gone_is_gone_at_once() -> None:
    looking = Looking(Targets((target(), target("10.0.0.2:8002"))), Targets((target(),)))
    await looking.next()
    gone = await looking.next()
    assert isinstance(gone, Known)
    assert [m.server.name for m in gone.value] == ["w/10.0.0.1:8002"]
