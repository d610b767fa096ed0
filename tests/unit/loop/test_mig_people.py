"""What people said that holds a change of MIG layouts, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.fleet import Fleet
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.observation import FleetReading
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.loop.mig_people import forbidden, touched
from tests.unit.loop.cut_gpus import CUT, FLEET, a_gpu, a_reading

NOW = 1000.0
FLEET_OF = Fleet((), tuple(replace(model, workloads=("pool",)) for model in FLEET.models))
SEEN = Snapshot(FLEET_OF, FleetReading(NOW, {}, {}, {}, Missing("none")))


def frozen(model: str = "", workload: str = "", direction: FreezeDirection = FreezeDirection.ALL) -> Snapshot:
    said = Freeze("f", model, direction, "ann", "drill", NOW, NOW + 60, workload)
    return replace(SEEN, freezes=(said,))


def told(kind: OverrideKind, model: str = "", workload: str = "") -> Snapshot:
    said = Override("o", model, kind, "bob", "launch", NOW, NOW + 60, 3, workload=workload)
    return replace(SEEN, overrides=(said,))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (frozen(), "everything is frozen by ann: drill"),
        (frozen("small"), "small is frozen by ann: drill"),
        (frozen(workload="pool"), "pool is frozen by ann: drill"),
        (frozen("other"), ""),
        (frozen(workload="elsewhere"), ""),
        (frozen(direction=FreezeDirection.NO_DOWN), ""),
        (told(OverrideKind.PIN, "small"), "small is under an override (pin) by bob: launch"),
        (told(OverrideKind.REPLICAS, workload="pool"), "pool is under an override (replicas) by bob: launch"),
        (told(OverrideKind.ROLLOUT, "small"), "small is under an override (rollout) by bob: launch"),
        (told(OverrideKind.BOUNDS, "small"), ""),
        (told(OverrideKind.PIN, "other"), ""),
    ],
)
def test_their_word_about_what_moves_holds_it(said: Snapshot, why: str) -> None:
    assert forbidden(("small",), said, NOW) == why


def test_their_word_ends_when_they_said() -> None:
    assert forbidden(("small",), frozen(), NOW + 60) == ""
    assert forbidden(("small",), told(OverrideKind.PIN, "small"), NOW + 60) == ""


def test_where_nobody_knows_what_moves_any_word_holds_it() -> None:
    assert forbidden(None, frozen("other"), NOW) == "other is frozen by ann: drill"
    assert forbidden((), frozen("other"), NOW) == ""


def test_a_node_that_is_drained_touches_models_by_their_processes_and_by_counters_that_name_its_gpus() -> None:
    by_process = Snapshot(FLEET, a_reading(CUT))
    assert touched("node-a", by_process) == ("small",)
    read = a_reading(a_gpu("GPU-b", mig=False))
    server = read.servers["v0"]
    seen = server.models["small"]
    assert isinstance(seen, Known)
    assert touched("node-a", Snapshot(FLEET, read)) == ()
    counted = replace(server, models={"small": replace(seen, value=replace(seen.value, gpu_uuids=("GPU-b",)))})
    assert touched("node-a", Snapshot(FLEET, replace(read, servers={"v0": counted}))) == ("small",)


def test_a_model_that_is_not_ready_on_a_server_of_the_node_is_touched_too() -> None:
    read = a_reading(CUT)
    away = replace(read, servers={"v0": replace(read.servers["v0"], models={})})
    assert touched("node-a", Snapshot(FLEET, away)) == ("small",)
