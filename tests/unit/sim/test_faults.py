from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import numpy as np
import pytest

from controlplane.config.units import parse_duration
from controlplane.sim import shapes
from controlplane.sim.faults import Disturbance, Fault, Kind, parse_fault
from controlplane.sim.front import Point, contender, harm, run_all
from controlplane.sim.peers.perf_model import LatencySlo
from controlplane.sim.peers.policy import History, answering, current
from controlplane.sim.runner import Outcome
from controlplane.sim.service import BatchService, StartUp
from controlplane.sim.serving import BatchServing
from controlplane.sim.signals import Gateway, Missing, Reading, Signals, UnreadReplica
from controlplane.sim.trace import Requests
from controlplane.sim.world import World
from tests.unit.sim.readings import pod

# a batch of n takes 5 + 20 n ms
SERVING = BatchServing(BatchService(0.005, 0.020, max_batch=8), LatencySlo(0.1))


def world(*faults: Fault, per_s: float = 60, minutes: int = 20) -> World:
    requests = shapes.from_counts(shapes.constant(per_s, minutes), 1.0, np.random.default_rng(1))
    return World(requests, SERVING, StartUp(30.0, sd_share=0.0), 4, 1.0, faults=faults)


def signals(at_s: float, arrived: int, *running: int) -> Signals:
    replicas = tuple(pod(n, held) for n, held in enumerate(running))
    return Signals(at_s=at_s, queued=0, arrived=arrived, completed=0, retried=0, replicas=replicas)


class Told:
    """A policy that wants what it is told, and remembers when it was asked."""

    interval_s = 15.0

    def __init__(self, wanted: Callable[[float], int]) -> None:
        self._wanted = wanted
        self.readings: list[Reading] = []

    def decide(self, history: History) -> int:
        self.readings.append(history.now)
        return self._wanted(history.now.at_s)


def run(wanted: Callable[[float], int], *faults: Fault, initial: int = 3) -> tuple[Told, Outcome]:
    policy = Told(wanted)
    return policy, world(*faults).run(policy, initial=initial)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("frozen@20m+10m", Fault(Kind.FROZEN, 1200, 600)),
        ("401@90s+1h", Fault(Kind.REFUSED, 90, 3600)),
        ("quota:25@1m30s+5m", Fault(Kind.QUOTA, 90, 300, 25)),
        (" never-ready@1s+1s ", Fault(Kind.NEVER_READY, 1, 1)),
    ],
)
def test_a_fault_is_read_as_it_is_typed_and_told_so(text: str, fault: Fault) -> None:
    assert parse_fault(text, parse_duration) == fault
    assert parse_fault(str(fault), parse_duration) == fault


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("frozen", "such as frozen@20m\\+10m is allowed"),
        ("melted@1m+1m", "kinds: nan, frozen, 401, half, never-ready, quota, restart, stop"),
        ("frozen@soon+1m", "duration|30s"),
        ("quota@1m+1m", "a quota has a number of replicas"),
        ("nan:3@1m+1m", "nothing else has one"),
    ],
)
def test_a_fault_that_nobody_knows_is_answered_with_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_fault(text, parse_duration)


@pytest.mark.parametrize(("kind", "why"), [(Kind.NAN, "nan"), (Kind.REFUSED, "refused")])
def test_nothing_is_read_while_values_are_nan_or_refused(kind: Kind, why: str) -> None:
    eye = Disturbance([Fault(kind, 10, 10)], 0)
    assert isinstance(eye.look(signals(5, 50, 1, 2)).gateway, Gateway)
    seen = eye.look(signals(10, 100, 1, 2))
    assert seen.gateway == Missing(why)  # type: ignore[arg-type]
    assert [type(replica) for replica in seen.replicas] == [UnreadReplica] * 2
    assert current(seen) == 2
    assert len(answering(eye.look(signals(20, 200, 1, 2)))) == 2


def test_frozen_pages_stay_as_they_were_for_the_replicas_that_are_still_there() -> None:
    eye = Disturbance([Fault(Kind.FROZEN, 10, 10)], 0)
    eye.look(replace(signals(5, 50, 1, 2), replicas=(pod(0, 1), pod(1, 2), pod(2, phase="starting"))))
    later = replace(signals(15, 150, 7, 8, 9), replicas=(pod(1, 8, phase="draining"), pod(2, 9)))
    seen = eye.look(later)
    assert seen.at_s == 15
    assert isinstance(seen.gateway, Gateway)
    assert seen.gateway.arrived == 50
    old, new = seen.replicas
    assert (old.id, old.phase) == (1, "draining")
    assert old == pod(1, 2, phase="draining")
    assert new == UnreadReplica(2, "ready", 0.0, 0.0, "absent")
    assert eye.look(signals(20, 200, 1)).gateway.arrived == 200  # type: ignore[union-attr]


def test_half_of_the_scrapes_are_missing() -> None:
    eye = Disturbance([Fault(Kind.HALF, 0, math.inf)], 3)
    seen = [eye.look(signals(at_s, 1, *[1] * 9)) for at_s in range(200)]
    missing = sum(isinstance(replica, UnreadReplica) for reading in seen for replica in reading.replicas)
    missing += sum(isinstance(reading.gateway, Missing) for reading in seen)
    assert missing / 2000 == pytest.approx(0.5, abs=0.05)
    again = Disturbance([Fault(Kind.HALF, 0, math.inf)], 3)
    assert [again.look(signals(at_s, 1, *[1] * 9)) for at_s in range(200)] == seen


def test_replicas_that_never_become_ready_are_billed_and_wasted() -> None:
    policy, found = run(lambda at_s: 5 if at_s < 900 else 3, Fault(Kind.NEVER_READY, 300, 60))
    assert found.curve.ready.max() == 3
    assert found.curve.starting.max() == 2
    assert found.wasted_starts == 2
    assert found.gpu_hours > run(lambda _: 3)[1].gpu_hours
    assert current(policy.readings[5]) == 5


def test_a_quota_lets_no_more_replicas_start() -> None:
    _, found = run(lambda _: 6, Fault(Kind.QUOTA, 300, 300, most=4))
    there = found.curve.ready + found.curve.starting
    minutes = found.curve.at_s / 60
    assert set(there[(minutes > 5) & (minutes < 10)]) == {4}
    assert there[-1] == 6
    assert found.actions == 2


def test_a_quota_below_what_is_there_takes_nothing_away() -> None:
    assert set(run(lambda _: 6, Fault(Kind.QUOTA, 0, 3600, most=1))[1].curve.ready) == {3}


def test_nobody_decides_while_the_control_plane_is_gone_and_what_comes_up_knows_nothing() -> None:
    class Counts:
        interval_s = 15.0

        def __init__(self) -> None:
            self.decided = 0

        def decide(self, history: History) -> int:
            self.decided += 1
            asked.append((history.now.at_s, self.decided))
            return 3

    asked: list[tuple[float, int]] = []
    world(Fault(Kind.RESTART, 330, 120)).run(Counts())
    assert asked[:4] == [(300, 1), (315, 2), (450, 1), (465, 2)]


def test_a_policy_that_keeps_its_memory_is_asked_to_restart() -> None:
    class Keeps:
        interval_s = 15.0

        def __init__(self, decided: int = 0) -> None:
            self.decided = decided

        def decide(self, history: History) -> int:
            self.decided += 1
            asked.append((history.now.at_s, self.decided))
            return 3

        def restart(self) -> Self:
            return type(self)(self.decided)

    asked: list[tuple[float, int]] = []
    world(Fault(Kind.RESTART, 330, 120)).run(Keeps())
    assert asked[:3] == [(300, 1), (315, 2), (450, 3)]


def test_a_load_that_stops_dead_arrives_nowhere_and_the_run_goes_on() -> None:
    _, found = run(lambda _: 3, Fault(Kind.STOP, 600, 3600))
    assert found.curve.arrivals_per_s[121:].max() == 0
    assert found.curve.at_s[-1] > 1190
    assert found.gpu_hours == pytest.approx(run(lambda _: 3)[1].gpu_hours)
    eye = Disturbance([Fault(Kind.STOP, 1, 1)], 0)
    kept = eye.load(Requests(np.array([0.5, 1.0, 1.9, 2.0]), np.arange(4, dtype=np.int32), np.ones(4, np.int32)))
    assert list(kept.prompt_tokens) == [0, 3]


def test_harm_is_what_was_lost_and_wasted_by_draw() -> None:
    calm = [world(), replace(world(), seed=1)]
    (well,) = run_all(calm, [("static", 1.0)], 1)
    assert len(well.outcomes) == 2
    _, better = run(lambda _: 4)
    hurt = Point("static", 1.0, (well.outcomes[0], better))
    done = harm(well, hurt)
    assert done.attainment_lost.most == 0
    assert done.gpu_hours_wasted.least == pytest.approx(better.gpu_hours - well.outcomes[1].gpu_hours)
    assert well.range("gpu_hours").mean == well.gpu_hours


def test_keda_drains_a_loaded_pool_whose_gateway_is_nan_and_holds_it_at_401() -> None:
    def least_ready(kind: Kind) -> int:
        loaded = world(Fault(kind, 420, 660))
        found = contender("keda").run(20.0, loaded)
        return int(found.curve.ready[found.curve.at_s >= 420].min())

    assert least_ready(Kind.NAN) == 1
    assert least_ready(Kind.REFUSED) >= 3
