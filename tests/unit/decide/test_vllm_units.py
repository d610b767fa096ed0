"""What is decided of a vLLM's own model, which sleeps, and of adapters on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.copy_size import CopySize
from controlplane.decide.fits import no_room
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Unit
from controlplane.domain.control import LORA_REMEDY, SLEEP_REMEDY
from controlplane.domain.decision import Decision, ReasonCode, Step, Target
from controlplane.domain.fleet import (
    Fleet,
    Member,
    Mode,
    ModelSpec,
    Phase,
    Ports,
    ReplicaBounds,
    ServerKind,
    ServerSpec,
    Wake,
    WorkloadSpec,
)
from controlplane.domain.instructions import Override, OverrideKind, Want
from controlplane.domain.lora import Lora
from controlplane.domain.observation import (
    ControlMode,
    FleetReading,
    Interval,
    ModelReading,
    ModelState,
    ServerReading,
    SleepState,
)
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState, UnitState

NOW = 1_700_000_000.0
SERVER = ServerSpec("v", ServerKind.VLLM, "http://x", "http://x")
CHAT = ModelSpec("chat", "tiny", ("v",), Mode.ACT, idle_unload_s=600.0, wake=Wake(ensure=True))
SQL = ModelSpec("sql", "sql", ("v",), Mode.ACT, lora=Lora("/a", "chat"))
IDLE = UnitState(wanted=True, instances=1, used_at=NOW - 900, learned_until=NOW - 5)
SLEPT = replace(IDLE, wanted=False)


def reading(state: ModelState = ModelState.READY, *, sleep: SleepState = SleepState.AWAKE) -> ModelReading:
    quiet = Interval(NOW - 10, NOW - 5, 0, 0, 0, 0, 0, 0.0, 0.0, 0, 0, None, 1, running_start=0, running_end=0)
    return ModelReading(state, instances=Known(1, NOW), sleep=Known(sleep, NOW), intervals=(quiet,))


AWAKE, ASLEEP = reading(), reading(ModelState.UNAVAILABLE, sleep=SleepState.WEIGHTS_OFFLOADED)
THERE = ModelReading(ModelState.READY, instances=Known(1, NOW))
GONE = ModelReading(ModelState.UNLOADED, instances=Known(0, NOW))


def decided(
    chat: ModelReading,
    sql: ModelReading = THERE,
    *,
    models: tuple[ModelSpec, ...] = (CHAT, SQL),
    state: UnitState = IDLE,
    control: ControlMode = ControlMode.EXPLICIT,
    **more: object,
) -> dict[str, Decision]:
    seen = {"chat": Known(chat, NOW), "sql": Known(sql, NOW)}
    server = ServerReading("v", Known(value=True, observed_at=NOW), Known(control, NOW), 0, seen)
    snapshot = Snapshot(Fleet((SERVER,), models), FleetReading(NOW, {"v": server}, {}, {}, Missing("no driver")))
    plan, _ = decide(replace(snapshot, **more), PolicyState({"chat@v": state}), Policy(), NOW)  # type: ignore[arg-type]
    return {decision.model: decision for decision in plan.decisions}


def override(model: str, kind: OverrideKind) -> tuple[Override, ...]:
    return (Override("o", model, kind, "ann", "test", NOW - 1, NOW + 60),)


def test_an_idle_model_goes_to_sleep_and_one_in_use_does_not() -> None:
    assert (decided(AWAKE)["chat"].step, decided(AWAKE)["chat"].binding) == (Step.UNLOAD, ReasonCode.IDLE)
    assert decided(AWAKE, state=replace(IDLE, used_at=NOW - 60))["chat"].step is Step.HOLD


@pytest.mark.parametrize("model", ["chat", "sql"])
def test_a_sleeping_model_is_woken_for_whoever_wants_it_or_an_adapter_of_it(model: str) -> None:
    assert decided(ASLEEP, state=SLEPT)["chat"].step is Step.HOLD
    woken = decided(ASLEEP, state=SLEPT, wants=(Want(model, NOW - 1, "gateway"),))["chat"]
    assert (woken.step, woken.binding, woken.by_person) == (Step.LOAD, ReasonCode.WANTED, True)


def test_without_idle_unload_it_is_left_as_it_is_unless_a_person_asks() -> None:
    plain = (replace(CHAT, idle_unload_s=None, wake=Wake()), SQL)
    for seen in (AWAKE, ASLEEP):
        left = decided(seen, models=plain)["chat"]
        assert (left.step, left.binding) == (Step.HOLD, ReasonCode.NOT_CONTROLLABLE)
    asked = decided(AWAKE, models=plain, overrides=override("chat", OverrideKind.UNLOADED))["chat"]
    assert (asked.step, asked.by_person) == (Step.UNLOAD, True)
    asked = decided(ASLEEP, models=plain, overrides=override("chat", OverrideKind.LOADED))["chat"]
    assert (asked.step, asked.by_person) == (Step.LOAD, True)


def test_one_whose_weights_were_discarded_is_not_woken() -> None:
    lost = reading(ModelState.UNAVAILABLE, sleep=SleepState.DISCARDED)
    held = decided(lost, state=SLEPT, wants=(Want("chat", NOW - 1, "gateway"),))["chat"]
    assert (held.step, held.binding) == (Step.HOLD, ReasonCode.NOT_CONTROLLABLE)
    assert "level 2" in held.reasons[-1].words["why"]


@pytest.mark.parametrize(
    ("mode", "lacking"),
    [
        (ControlMode.EXPLICIT, {}),
        (ControlMode.SLEEP_ONLY, {"sql": LORA_REMEDY}),
        (ControlMode.ADAPTERS_ONLY, {"chat": SLEEP_REMEDY}),
        (ControlMode.NOT_ALLOWED, {"chat": SLEEP_REMEDY, "sql": LORA_REMEDY}),
    ],
)
def test_what_the_server_lacks_is_said_with_its_remedy_and_not_tried(
    mode: ControlMode, lacking: dict[str, str]
) -> None:
    decisions = decided(AWAKE, GONE, control=mode)
    refused = {m: d for m, d in decisions.items() if d.binding is ReasonCode.CONTROL_NOT_ALLOWED}
    assert {model: decision.reasons[-1].words["remedy"] for model, decision in refused.items()} == lacking
    assert all((decisions[model].step is Step.HOLD) == (model in lacking) for model in decisions)


def test_an_adapter_is_loaded_where_it_is_not_and_replaced_where_its_path_is_another() -> None:
    assert decided(AWAKE, GONE)["sql"].step is Step.LOAD
    assert decided(AWAKE, THERE)["sql"].step is Step.HOLD
    other = decided(AWAKE, replace(THERE, outdated="/b"))["sql"]
    assert (other.step, other.binding) == (Step.RELOAD, ReasonCode.RECONCILE)
    assert "/b" in other.reasons[-1].words["why"]


def test_while_its_base_sleeps_nothing_is_done_about_an_adapter() -> None:
    sleeping = replace(ASLEEP, intervals=())
    held = decided(ASLEEP, sleeping, state=SLEPT)["sql"]
    assert (held.step, held.binding) == (Step.HOLD, ReasonCode.NOT_CONTROLLABLE)
    assert held.reasons[-1].words == {"why": "its base model is asleep"}


def test_a_replica_is_not_put_to_sleep_and_gets_its_adapters() -> None:
    pods = WorkloadSpec("w", ServerKind.VLLM, None, Ports(1, 0, 1), replicas=ReplicaBounds(1, 4))
    models = (replace(CHAT, runs_on=(), workloads=("w",)), replace(SQL, runs_on=(), workloads=("w",)))
    member = Member(pods.server("0", "10.0.0.1"), "w", Phase.READY, NOW - 9000, NOW - 9000)
    fleet = Fleet((), models, workloads=(pods,)).with_members([member])
    seen = {"chat": Known(AWAKE, NOW), "sql": Known(GONE, NOW)}
    server = ServerReading("w/0", Known(value=True, observed_at=NOW), Known(ControlMode.EXPLICIT, NOW), 0, seen)
    snapshot = Snapshot(fleet, FleetReading(NOW, {"w/0": server}, {}, {}, Missing("no driver")))
    plan, _ = decide(snapshot, PolicyState({"chat@w/0": IDLE}), Policy(), NOW)
    own, adapter = (next(d for d in plan.decisions if d.knob == f"{m}@w/0") for m in ("chat", "sql"))
    assert (own.step, own.binding) == (Step.HOLD, ReasonCode.NOT_CONTROLLABLE)
    assert adapter.step is Step.LOAD
    replicas = next(d for d in plan.decisions if d.server == "w")
    assert replicas.model == "chat", "an adapter has no demand of its own that could hold them"


def test_an_adapter_needs_no_memory_that_is_free() -> None:
    full = replace(SERVER, memory_bytes=1)
    unit = Unit(replace(SQL, memory_bytes=100), full, None, GONE, free_bytes=1, size=CopySize(100))
    load = (Step.LOAD, Target(loaded=False, instances=0), Target(loaded=True, instances=1))
    assert no_room(unit, *load) is None
    assert no_room(replace(unit, spec=CHAT), *load) is not None
