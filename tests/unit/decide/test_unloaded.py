"""Decisions about a model that is not loaded, and about a server that is down."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.explain import headline
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.decision import Decision, ReasonCode, Step, Target
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec, Wake
from controlplane.domain.instructions import Want
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState, UnitState

NOW = 1_700_000_000.0
SPEC = ModelSpec("m", "m", ("t0",), Mode.RECOMMEND, instances_max=3, idle_unload_s=600.0, wake=Wake(ensure=True))
SERVER = ServerSpec("t0", ServerKind.TRITON, "http://x", "http://x", "x:1")
UNLOADED = Known(ModelReading(ModelState.UNLOADED, instances=Known(0, NOW)), NOW)


def decided(
    seen: Signal[ModelReading], *, live: bool = True, instances: int | None = None, wants: tuple[Want, ...] = ()
) -> Decision:
    server = ServerReading("t0", Known(live, NOW), Known(ControlMode.EXPLICIT, NOW), 0, {"m": seen})
    reading = FleetReading(NOW, {"t0": server}, {}, {}, Missing("no driver"))
    state = UnitState(wanted=False, instances=instances, used_at=NOW - 900, learned_until=NOW - 5)
    snapshot = replace(Snapshot(Fleet((SERVER,), (SPEC,)), reading), wants=wants)
    plan, _ = decide(snapshot, PolicyState({"m@t0": state}), Policy(), NOW)
    return plan.decisions[0]


def test_a_model_that_is_asked_for_is_loaded_in_recommend_mode_too() -> None:
    decision = decided(UNLOADED, instances=2, wants=(Want("m", NOW - 1, "gateway"),))
    assert (decision.step, decision.target, decision.binding) == (Step.LOAD, Target(True, 2), ReasonCode.WANTED)  # noqa: FBT003
    assert decision.actionable


def test_so_it_is_when_its_bounds_were_lowered_meanwhile() -> None:
    decision = decided(UNLOADED, instances=5, wants=(Want("m", NOW - 1, "gateway"),))
    assert (decision.step, decision.target, decision.binding) == (Step.LOAD, Target(True, 3), ReasonCode.BOUNDS)  # noqa: FBT003
    assert decision.actionable


def test_what_nobody_asked_for_stays_unloaded() -> None:
    assert not decided(UNLOADED, instances=2).actionable


def test_a_server_that_is_down_is_told_with_what_it_answered() -> None:
    decision = decided(Missing("t0 repository index: connection refused"), live=False)
    assert headline(decision).endswith("the server does not answer: t0 repository index: connection refused")


def test_what_was_only_recommended_is_not_said_to_have_been_there() -> None:
    server = ServerReading("t0", Known(True, NOW), Known(ControlMode.EXPLICIT, NOW), 0, {"m": UNLOADED})  # noqa: FBT003
    fleet = Fleet((SERVER,), (replace(SPEC, idle_unload_s=None),))
    state = PolicyState({"m@t0": UnitState(wanted=True, instances=1, used_at=NOW - 900, learned_until=NOW - 5)})
    plan, _ = decide(
        Snapshot(fleet, FleetReading(NOW, {"t0": server}, {}, {}, Missing("no driver"))), state, Policy(), NOW
    )
    assert headline(plan.decisions[0]) == "load with 1 instance: at least 1: it must be loaded"
