"""Decisions about discovered servers: by their phase, and what is remembered once they have left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.explain import headline
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.decide.resume import resumed
from controlplane.domain.decision import Decision, ReasonCode, Step
from controlplane.domain.fleet import Fleet, Member, Mode, ModelSpec, Phase, Quota
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import Circuit, PolicyState, UnitState, WorkloadState
from tests.discovery_fake import member, workload
from tests.unit.decide.fleets import a_model, a_snapshot, a_workload, planned

NOW = 1_700_000_000.0
CONFIGURED = Fleet((), (ModelSpec("m", "m", (), Mode.ACT, instances_max=4, workloads=("w",)),), workloads=(workload(),))
LOAD = Override("ov", "m", OverrideKind.LOADED, "me", "why not", NOW - 10, NOW + 600)
HOUR_S = 3600.0


def snapshot(*members: Member, override: Override | None = None) -> Snapshot:
    """The model is on each of them, not loaded."""
    fleet = CONFIGURED.with_members(members)
    seen = Known(ModelReading(ModelState.UNLOADED, instances=Known(0, NOW)), NOW)
    servers = {
        s.name: ServerReading(
            s.name, Known(value=True, observed_at=NOW), Known(ControlMode.EXPLICIT, NOW), 0, {"m": seen}
        )
        for s in fleet.servers
    }
    reading = FleetReading(NOW, servers, {}, {}, Missing("no driver"))
    return Snapshot(fleet, reading, overrides=(override,) if override else ())


def decided(phase: Phase, override: Override | None = None) -> Decision:
    plan, _ = decide(snapshot(member("0", phase), override=override), PolicyState(), Policy(), NOW)
    return plan.decisions[0]


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.TERMINATING])
@pytest.mark.parametrize("override", [None, LOAD])
def test_nothing_is_done_on_one_that_starts_or_terminates_whoever_asks(phase: Phase, override: Override | None) -> None:
    decision = decided(phase, override)
    assert (decision.step, decision.binding) == (Step.HOLD, ReasonCode.SERVER_PHASE)
    assert headline(decision) == f"hold: the server is {phase.value}: nothing is done on it"


def test_one_that_is_ready_is_acted_on() -> None:
    assert decided(Phase.READY).step is Step.LOAD


def test_a_unit_is_kept_for_an_hour_after_its_server_left_and_begins_again_when_it_is_back() -> None:
    state = PolicyState({"m@w/0": UnitState(wanted=True, instances=3), "m@gone": UnitState(wanted=True)})
    _, state = decide(snapshot(), state, Policy(), NOW)
    assert state.units["m@w/0"] == UnitState(wanted=True, instances=3, gone_since=NOW)
    _, state = decide(snapshot(), state, Policy(), NOW + HOUR_S)
    assert "m@w/0" in state.units
    _, back = decide(snapshot(member("0")), state, Policy(), NOW + HOUR_S)
    assert back.units["m@w/0"].gone_since is None
    assert back.units["m@w/0"].instances == 3
    _, state = decide(snapshot(), state, Policy(), NOW + HOUR_S + 1)
    assert set(state.units) == {"m@gone"}, "one that the configuration named may come back at any time"


def test_nobody_is_taken_to_have_left_a_workload_that_was_not_listed_yet() -> None:
    state = PolicyState({"m@w/0": UnitState(wanted=True, instances=3), "m@v/0": UnitState(wanted=True)})
    unknown = replace(snapshot(), fleet=CONFIGURED.with_members((), unlisted=frozenset({"w"})))
    for at in (NOW, NOW + HOUR_S, NOW + 2 * HOUR_S):
        _, state = decide(unknown, state, Policy(), at)
    assert state.units == {"m@w/0": UnitState(wanted=True, instances=3)}
    _, state = decide(snapshot(), state, Policy(), NOW + 3 * HOUR_S)
    assert state.units["m@w/0"].gone_since == NOW + 3 * HOUR_S


def test_a_clock_that_was_ahead_does_not_keep_it_for_longer() -> None:
    ahead = PolicyState({"m@w/0": UnitState(gone_since=NOW + 86400)})
    assert resumed(ahead, Policy(), NOW).units["m@w/0"].gone_since == NOW


def test_what_is_known_of_a_workload_is_kept_for_a_day_after_the_configuration_named_it_last() -> None:
    state = PolicyState(
        workloads={"old": WorkloadState(asked=3), "w": WorkloadState(asked=2)}, forecasts={"old": 1, "w": 2}
    )
    _, after = decide(snapshot(), state, Policy(), NOW)
    assert after.workloads["old"] == WorkloadState(asked=3, gone_since=NOW)
    _, later = decide(snapshot(), after, Policy(), NOW + 86_400.0)
    assert later.workloads["old"] == after.workloads["old"]
    _, gone = decide(snapshot(), later, Policy(), NOW + 86_401.0)
    assert (set(gone.workloads), set(gone.forecasts)) == ({"w"}, {"w"})
    back = replace(later, workloads={"w": later.workloads["old"]})
    assert decide(snapshot(), back, Policy(), NOW + 90_000.0)[1].workloads["w"].gone_since is None


def test_the_circuit_of_a_workload_stays_open_while_nobody_tells_who_its_servers_are() -> None:
    spec = a_workload("a")
    snapshot = a_snapshot({spec: a_model("a")}, {"a": 2}, {"a": 5.0}, Quota())
    state = PolicyState(circuits={"a": Circuit(3, 1, NOW + 60.0), "gone": Circuit(3, 1, NOW + 60.0)})
    unlisted = replace(snapshot, fleet=replace(snapshot.fleet, unlisted=frozenset({"a"})))
    for seen in (snapshot, unlisted):
        assert planned(seen, state)[1].circuits.keys() == {"a"}
