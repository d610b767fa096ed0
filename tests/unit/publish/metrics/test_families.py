"""One picture in which everything is told: each family has its samples, and the new ones have the right values."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.metadata import version

import pytest
from prometheus_client import CollectorRegistry

from controlplane.decide.startups import by_knob
from controlplane.domain.alerts import BurnAlert, BurnReading, BurnWindow, Severity
from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.decision import Action, Decision, Reason, ReasonCode, Step, Target, Verdict
from controlplane.domain.fleet import Mode
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.layouts import (
    ChangeState,
    LaidGpu,
    LaidModel,
    LaidSlice,
    LayoutChange,
    LayoutPlan,
    MigPicture,
    StepEnd,
    StepKind,
)
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Judgement, Objective
from controlplane.domain.observation import Adapters, Counter, FleetReading, HostGauge, SleepState
from controlplane.domain.picture import LoopHealth, Picture, Totals
from controlplane.domain.routing import Prices
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Known
from controlplane.domain.startups import Startup
from controlplane.publish.metrics.families import FAMILIES
from controlplane.publish.metrics.page import PictureMetrics
from tests.discovery_fake import workload
from tests.unit.agent.readings import CUT, WHOLE
from tests.unit.publish.recorded_servers import FLEET, NOW, TRITON_PAGE, VLLM_PAGE, triton, vllm

OBJECTIVE = Objective(Indicator.AVAILABILITY, 0.999, 86400.0, IndicatorSource.SERVER)
UNIT = {"model": "bert", "server": "t"}
OF = {"model": "bert", "objective": OBJECTIVE.key}
WHOLE_SLICE = LaidSlice("whole", 0, 8, ("bert",))
GPU = {"node": "", "gpu": "GPU-aaaa"}
EUROS = {"currency": "EUR"}
PRICES = Prices("EUR", None, {"NVIDIA H200": 2.5})


JUDGEMENT = Judgement("bert", OBJECTIVE, Counts(9, 1, 0, 10, 10), 0.9, 0.9, 0.5, 2.0, 2.0, 2.0, exhausted_1h_s=60.0)


def decided(model: str, server: str, demand: dict[str, float]) -> Decision:
    reasons = (
        Reason(ReasonCode.DEMAND, {"demand_per_s": 9.0, "low_per_s": 6.0, "quantile": 0.9} | demand),
        Reason(ReasonCode.CAPACITY, {"capacity_per_s": 12.0, "instances": 2.0}),
        Reason(ReasonCode.DEMAND),
        Reason(ReasonCode.BATCHING, {"executions": 900.0}, {"case": "unbatched", "change": "", "why": ""}),
    )
    target = Target(loaded=True, instances=2)
    return Decision("d", NOW - 1, model, server, Mode.ACT, Step.HOLD, target, target, reasons, ReasonCode.IN_PLACE)


def decided_of_replicas() -> Decision:
    reasons = (
        Reason(ReasonCode.REPLICA_DEMAND, {"demand_replicas": 3.5}),
        Reason(ReasonCode.DEMAND_AHEAD, {"replicas": 4.25}),
        Reason(ReasonCode.QUOTA, {"short_gpus": 6.0}),
    )
    now, wanted = Target(loaded=True, instances=4), Target(loaded=True, instances=5)
    return Decision("r", NOW - 1, "llm", "w", Mode.ACT, Step.SCALE, now, wanted, reasons, ReasonCode.DEMAND_AHEAD)


def the_reading() -> FleetReading:
    t, v = triton(TRITON_PAGE), vllm(VLLM_PAGE)
    host = dict.fromkeys(((gauge, "GPU-aaaa" if "GPU" in gauge.name else "") for gauge in HostGauge), 1.0)
    seen = v.models["llm"]
    assert isinstance(seen, Known)
    counters = seen.value.counters
    assert isinstance(counters, Known)
    extras = {
        "sleep": Known(SleepState.AWAKE, NOW),
        "adapters": Known(Adapters(4, ("a",), ()), NOW),
        "load_s": Known(8.0, NOW),
        "gpu_uuids": ("GPU-aaaa",),
        "pending": Known(1, NOW),
        "counters": Known({**counters.value, (Counter.RESPONSE_CACHE, "hit"): 1.0}, NOW),
    }
    llm = replace(seen, value=replace(seen.value, **extras))  # type: ignore[arg-type]
    servers = {"t": replace(t, host=Known(host, NOW)), "v": replace(v, models={"llm": llm})}
    return FleetReading(NOW, servers, {}, {}, Known((WHOLE, CUT), NOW))


def the_picture() -> Picture:
    window = BurnWindow(Severity.PAGE, 0.02, 3600.0, 300.0)
    burn = BurnReading(window, 13.44, False, Counts(), Counts(), None, None, False)  # noqa: FBT003
    action = Action("d", "bert", "t", Step.LOAD, Target(loaded=True, instances=1), NOW)
    return Picture(
        NOW,
        replace(
            FLEET,
            workloads=(workload("w"),),
            scaling={"w": ScaleStatus()},
            models=(replace(FLEET.models[0], objectives=(OBJECTIVE,)), FLEET.models[1]),
        ),
        the_reading(),
        {"bert": (JUDGEMENT,)},
        (decided("bert", "t", {"high_per_s": 10.0}), decided("llm", "v", {}), decided_of_replicas()),
        (action,),
        (Override("o", "bert", OverrideKind.PIN, "ann", "x", NOW, NOW + 60, 2),),
        freezes=(Freeze("f", "", FreezeDirection.ALL, "ann", "x", NOW, NOW + 60),),
        health=LoopHealth(
            3, 1, NOW - 2, 0.5, interval_s=15.0, late_s=0.25, leading=True, epoch=3, takeovers=2, store_failing=False
        ),
        workloads={"w": Known((), NOW - 4)},
        startups={"bert": by_knob([Startup("bert", "t", "load", NOW, 20.0, 20.0)] * 10)},
        alerts={"bert": (BurnAlert("bert", OBJECTIVE.key, Severity.PAGE, True, NOW, "", (burn,), None),)},  # noqa: FBT003
        totals=Totals(
            objectives={("bert", OBJECTIVE.key): Counts(90, 8, 2, 50.0, 60.0, 3)},
            model_gpu_s={("bert", "t"): 36.0},
            model_cost={("bert", "t"): 0.025},
            gpu_s={("", "GPU-aaaa"): 72.0},
            gpu_busy_s={("", "GPU-aaaa"): 24.0},
            reads={("t", True): 5, ("t", False): 2},
            decisions={(Step.HOLD, ReasonCode.IN_PLACE): 6},
            effects={Verdict.HARMED: 1},
            turns={("bert", "t"): (NOW - 9, NOW - 3)},
        ),
        mig=MigPicture(
            Mode.ACT,
            Known((LaidGpu("GPU-aaaa", "", "NVIDIA H200", "h200-141gb", 8, (WHOLE_SLICE,), (WHOLE_SLICE,)),), NOW),
            (LaidModel("bert", Known(9.0, NOW), {}, 4.0, 1.0),),
            Known(LayoutPlan({}, (), True, (), 2.0, 2.0, 0.5, 60.0, 120.0, 1.5), NOW - 30),  # noqa: FBT003
            LayoutChange(ChangeState.UNDER_WAY, NOW - 5, 7, 3),
            changes={ChangeState.FAILED: 2},
            steps={(StepKind.START, StepEnd.FAILED): 1, (StepKind.CREATE, StepEnd.DONE): 3},
        ),
        conditions=(Condition(AlertName.GPU_XID, node="", gpu="GPU-aaaa", cause="79", detail="XID 79"),),
    )


def registry_of(picture: Picture) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(PictureMetrics(lambda: picture, 45.0, PRICES, posts={"ok": 4, "failed": 1}))
    return made


@pytest.fixture(scope="module")
def told() -> CollectorRegistry:
    return registry_of(the_picture())


def test_every_family_has_samples_with_its_labels(told: CollectorRegistry) -> None:
    found = {family.name: family.samples for family in told.collect()}
    assert [of.name for of in FAMILIES if not found[of.name]] == []
    assert [of.name for of in FAMILIES for sample in found[of.name] if tuple(sample.labels) != of.labels] == []


NOTHING = dict.fromkeys(("model", "objective", "workload", "server", "kind"), "")


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("objective_events_total", OF | {"result": "good"}, 90),
        ("objective_events_total", OF | {"result": "bad"}, 8),
        ("objective_events_total", OF | {"result": "unsure"}, 2),
        ("objective_bad_events_of_capacity_total", OF, 3),
        ("objective_measured_seconds_total", OF, 50),
        ("objective_expected_seconds_total", OF, 60),
        ("alert_factor", OF | {"severity": "page", "window": "1h"}, 13.44),
        ("model_demand_per_second", UNIT, 9),
        ("model_demand_seen_per_second", UNIT | {"bound": "low"}, 6),
        ("model_demand_seen_per_second", UNIT | {"bound": "high"}, 10),
        ("model_demand_seen_per_second", {"model": "llm", "server": "v", "bound": "high"}, None),
        ("model_demand_quantile", UNIT, 0.9),
        ("model_capacity_per_second", UNIT, 12),
        ("model_desired_instances", UNIT, 2),
        ("model_batching_advice", UNIT | {"cause": "unbatched"}, 1),
        ("workload_desired_replicas", {"workload": "w"}, 5),
        ("workload_demand_replicas", {"workload": "w"}, 3.5),
        ("workload_demand_ahead_replicas", {"workload": "w"}, 4.25),
        ("workload_quota_short_gpus", {"workload": "w"}, 6),
        ("model_direction_changes", UNIT, 2),
        ("model_direction_changes", {"model": "llm", "server": "v"}, 0),
        ("startup_duration_seconds", {"model": "bert", "workload": "", "knob": "load", "quantile": "0.5"}, 20),
        ("startup_duration_seconds", {"model": "bert", "workload": "", "knob": "load", "quantile": "0.9"}, 20),
        ("startups_seen", {"model": "bert", "workload": "", "knob": "load"}, 10),
        ("model_gpu_seconds_total", UNIT, 36),
        ("model_cost_total", UNIT | EUROS, 0.025),
        ("gpu_price_per_hour", GPU | EUROS, 2.5),
        ("gpu_seconds_total", GPU, 72),
        ("gpu_busy_seconds_total", GPU, 24),
        ("server_reads_total", {"server": "t", "result": "ok"}, 5),
        ("server_reads_total", {"server": "t", "result": "failed"}, 2),
        ("server_reads_total", {"server": "v", "result": "ok"}, None),
        ("mig_slices", {"profile": "whole", "when": "planned"}, 1),
        ("mig_short_per_second", {"model": "bert", "when": "now"}, 4),
        ("mig_short_per_second", {"model": "bert", "when": "planned"}, 1),
        ("mig_plan_timestamp_seconds", {}, NOW - 30),
        ("mig_plan_cost", {}, 2),
        ("mig_plan_changed_slices", {}, 0),
        ("mig_plan_pays", {}, 1),
        ("mig_changes_total", {"state": "failed"}, 2),
        ("mig_changes_total", {"state": "done"}, 0),
        ("mig_changes_total", {"state": "reset_required"}, 0),
        ("mig_steps_total", {"step": "start", "outcome": "failed"}, 1),
        ("mig_steps_total", {"step": "create", "outcome": "done"}, 3),
        ("mig_steps_total", {"step": "mode", "outcome": "reset_required"}, 0),
        ("mig_steps_total", {"step": "drain", "outcome": "reset_required"}, None),
        ("mig_change_steps_left", {}, 4),
        ("decisions_total", {"step": "hold", "binding": "in_place"}, 6),
        ("effects_total", {"verdict": "harmed"}, 1),
        ("condition", NOTHING | {"alert": "GpuXid", "node": "", "gpu": "GPU-aaaa", "cause": "79"}, 1),
        ("notices_total", {"result": "ok"}, 4),
        ("tick_lateness_seconds", {}, 0.25),
        ("tick_interval_seconds", {}, 15),
        ("leading", {}, 1),
        ("leader_epoch", {}, 3),
        ("leader_takeovers_total", {}, 2),
        ("store_failing", {}, 0),
        ("build_info", {"version": version("inference-controlplane")}, 1),
    ],
)
def test_what_is_told(told: CollectorRegistry, name: str, labels: dict[str, str], value: float | None) -> None:
    assert told.get_sample_value(f"controlplane_{name}", labels) == value


def test_what_is_not_known_of_the_loop_has_no_sample_and_is_not_well() -> None:
    before = registry_of(replace(the_picture(), health=LoopHealth()))
    for name in ("tick_lateness_seconds", "tick_interval_seconds", "store_failing"):
        assert before.get_sample_value(f"controlplane_{name}") is None, name
    assert before.get_sample_value("controlplane_leading") == 0


def test_an_old_decision_tells_nothing_and_what_was_counted_stays() -> None:
    old = registry_of(replace(the_picture(), at=NOW + 60))
    names = {sample.name for family in old.collect() for sample in family.samples}
    own = {"model_decision", "model_demand_per_second", "model_demand_quantile", "model_direction_changes"}
    assert not names & {f"controlplane_{name}" for name in own}
    assert old.get_sample_value("controlplane_decisions_total", {"step": "hold", "binding": "in_place"}) == 6


def test_a_gpu_without_a_price_has_none() -> None:
    made = CollectorRegistry()
    made.register(PictureMetrics(the_picture, 45.0))
    assert made.get_sample_value("controlplane_gpu_price_per_hour", GPU | {"currency": "USD"}) is None


def test_no_sample_is_told_twice(told: CollectorRegistry) -> None:
    samples = [(s.name, tuple(s.labels.items())) for family in told.collect() for s in family.samples]
    assert len(samples) == len(set(samples))
    assert not any(math.isnan(s.value) for family in told.collect() for s in family.samples)
