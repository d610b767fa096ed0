"""The production loop in the simulator, on a load that rises and falls in twenty minutes, and stays low for ten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controlplane.domain.state import WorkloadState
from controlplane.sim import shapes
from controlplane.sim.bounds import static
from controlplane.sim.faults import Fault, Kind
from controlplane.sim.ours.plane import Ours
from controlplane.sim.peers.policy import History
from controlplane.sim.runner import HELD_S, Outcome
from controlplane.sim.service import StartUp
from controlplane.sim.trace import Requests
from controlplane.sim.world import World
from tests.unit.sim.test_runner import SERVING

PEAK = 6


@pytest.fixture(scope="module")
def world() -> World:
    """24/s at its peak use up four replicas; six serve it."""
    minute = np.minimum(np.arange(36), 24)
    per_s = 6 + 18 * (1 - np.cos(2 * np.pi * minute / 24)) / 2
    counts = np.rint(60 * per_s).astype(np.int64)
    drawn = shapes.from_counts(counts, 1.0, np.random.default_rng(1))
    ones = np.ones(len(drawn), np.int32)
    requests = Requests(drawn.at_s, ones * 1000, ones * 200)
    return World(requests, SERVING, StartUp(30.0), PEAK, 1.0)


def outcome(world: World, *faults: Fault) -> Outcome:
    return replace(world, faults=faults).run(Ours(1.0, world.setting))


@pytest.fixture(scope="module")
def whole(world: World) -> Outcome:
    return outcome(world)


def test_it_attains_the_objective_for_less_than_a_static_fleet_for_the_peak(world: World, whole: Outcome) -> None:
    assert whole.attainment >= 0.99
    assert whole.gpu_hours < static(PEAK, world).gpu_hours
    assert whole.curve.ready.max() > world.initial


def test_a_run_is_repeatable_to_the_bit(world: World, whole: Outcome) -> None:
    again = outcome(world)
    assert (again.attainment, again.gpu_hours, again.actions) == (whole.attainment, whole.gpu_hours, whole.actions)
    assert np.array_equal(again.curve.ready, whole.curve.ready)


@pytest.mark.parametrize("kind", [Kind.FROZEN, Kind.REFUSED, Kind.HALF])
def test_while_pages_do_not_tell_it_loses_little_and_takes_nothing_away(
    world: World, whole: Outcome, kind: Kind
) -> None:
    """Five minutes on the way up."""
    since_s, lasts_s = 600.0, 300.0
    found = outcome(world, Fault(kind, since_s, lasts_s))
    assert found.attainment > whole.attainment - 0.05
    blind = (found.curve.at_s >= since_s + 30.0) & (found.curve.at_s < since_s + lasts_s)
    there = (found.curve.ready + found.curve.starting)[blind]
    assert (np.diff(there) >= 0).all()
    assert there.min() > 1


def test_replicas_that_never_become_ready_do_not_make_it_ask_for_ever_more(world: World, whole: Outcome) -> None:
    never = outcome(world, Fault(Kind.NEVER_READY, HELD_S, 3600.0))
    most = (whole.curve.ready + whole.curve.starting).max()
    assert (never.curve.ready + never.curve.starting).max() <= most + 2


class Watched:
    """Passes decisions on, and keeps what the store held after each of them."""

    def __init__(self, policy: Ours) -> None:
        self._policy = policy
        self.interval_s = policy.interval_s
        self.restarted_after = 0
        self.held: list[WorkloadState] = []

    def decide(self, history: History) -> int:
        wanted = self._policy.decide(history)
        loaded = self._policy.plane._thread.call(lambda store: store.load_state())
        self.held.append(self._policy.plane._runner.run(loaded).workloads["fleet"])
        return wanted

    def restart(self) -> Watched:
        self._policy.restart()
        self.restarted_after = len(self.held)
        return self

    def close(self) -> None:
        self._policy.close()


def test_after_a_restart_it_goes_on_with_what_the_store_holds(world: World) -> None:
    watched = Watched(Ours(1.0, world.setting))
    found = replace(world, faults=(Fault(Kind.RESTART, 700.0, 60.0),)).run(watched)
    before, after = watched.held[watched.restarted_after - 1], watched.held[watched.restarted_after]
    assert len(before.startups) >= 1
    assert after.startups[: len(before.startups)] == before.startups
    assert before.wanted[-1] in after.wanted, "the dwell goes on"
    assert after.asked in {before.asked, before.wanted[-1][1]}
    assert before.wanted[-1][1] > world.initial
    assert after.services["fleet-model"].tokens.readings >= before.services["fleet-model"].tokens.readings > 0
    assert found.attainment > 0.95
