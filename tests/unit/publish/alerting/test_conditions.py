from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.decision import Action, ActionStatus, Outcome, Reason, ReasonCode, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import KubernetesQuery, Member, Mode, Phase, Ports, ServerKind, WorkloadSpec
from controlplane.domain.gpu import GpuReading
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.layouts import ChangeState, LayoutChange, MigPicture
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective, ValueRatio
from controlplane.domain.observation import ModelState, ProbeResult, RatioReading, SleepState
from controlplane.domain.picture import Picture, Totals
from controlplane.domain.received import FREEZES_AS
from controlplane.domain.scaling import ScaleStatus, Unscheduled
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.sources import AgentSpec, GatewaySpec
from controlplane.domain.startups import REPLICA, StartupTimes
from tests.unit.publish.pictures import (
    FLEET,
    LOADED,
    NOW,
    a_decision,
    a_gpu,
    a_model,
    a_picture,
    an_interval,
    found,
)

BACK_OFF = Reason(ReasonCode.BACK_OFF, {"failures": 1.0, "left_s": 10.0})
SATURATED = Reason(ReasonCode.SATURATED, {"instances": 2.0, "left_s": 900.0})
GONE = Missing("connection refused")


def test_nothing_is_wrong_where_all_is_well() -> None:
    assert found(a_picture()) == []


# ModelLoadFailed


def failed(step: Step = Step.LOAD, failure: FailureClass = FailureClass.OUT_OF_MEMORY, at: float = NOW - 10) -> Outcome:
    action = Action("d-0", "bert", "t0", step, LOADED, at - 3)
    return Outcome(action, ActionStatus.FAILED, at, "CUDA out of memory", failure, "unload idle models")


def load_failed(picture: Picture) -> list[str]:
    return [one.cause for one in found(picture, AlertName.MODEL_LOAD_FAILED)]


WANTED = a_decision(BACK_OFF, target=replace(LOADED, instances=3))
UNLOADED = a_model(ModelState.UNLOADED)


def test_a_failed_load_that_is_still_wanted_is_told_with_its_class_and_remedy() -> None:
    (one,) = found(replace(a_picture(WANTED, model=UNLOADED), failed=(failed(),)))
    assert (one.alert, one.model, one.server, one.cause) == ("ModelLoadFailed", "bert", "t0", "cuda_out_of_memory")
    assert one.detail == "CUDA out of memory [unload idle models]"


def test_a_failed_load_is_over_once_the_model_is_read_as_ready_after_it() -> None:
    assert load_failed(replace(a_picture(WANTED), failed=(failed(),))) == []
    before = a_model(at=NOW - 11)
    assert load_failed(replace(a_picture(WANTED, model=before), failed=(failed(),))) == ["cuda_out_of_memory"]


def test_a_failed_reload_is_not_over_because_a_dead_backend_calls_itself_ready() -> None:
    assert load_failed(replace(a_picture(WANTED), failed=(failed(Step.RELOAD),))) == ["cuda_out_of_memory"]


def test_a_failure_of_what_is_no_longer_wanted_is_over() -> None:
    raising = failed(Step.SET_INSTANCES)
    assert load_failed(replace(a_picture(a_decision(SATURATED)), failed=(raising,))) == ["cuda_out_of_memory"]
    assert load_failed(replace(a_picture(a_decision()), failed=(raising,))) == []
    older = a_decision(at=NOW - 11)
    assert load_failed(replace(a_picture(older), failed=(raising,))) == ["cuda_out_of_memory"]


def test_neither_a_failed_unload_nor_a_newer_instruction_is_a_failed_load() -> None:
    for outcome in (failed(Step.UNLOAD), failed(failure=FailureClass.SUPERSEDED)):
        assert load_failed(replace(a_picture(WANTED, model=UNLOADED), failed=(outcome,))) == []


@pytest.mark.parametrize(("before", "to", "wanted", "causes"), [(2, 4, 4, ["failed"]), (2, 4, 2, []), (4, 2, 4, [])])
def test_replicas_that_are_wanted_and_could_not_be_set_are_capacity_refused(
    before: int, to: int, wanted: int, causes: list[str]
) -> None:
    there, asked = Target(loaded=True, instances=before), Target(loaded=True, instances=to)
    action = Action("d", "bert", "w", Step.SCALE, asked, NOW - 11, there)
    refused = Outcome(action, ActionStatus.FAILED, NOW - 10, "403", FailureClass.UNKNOWN, "grant patch")
    decision = replace(a_decision(target=Target(loaded=True, instances=wanted)), server="w")
    told = found(replace(a_picture(decision), failed=(refused,)), AlertName.CAPACITY_REFUSED)
    assert [(one.cause, one.workload, one.server) for one in told] == [(cause, "w", "") for cause in causes]


def test_a_failure_stands_while_nothing_is_known_of_the_model() -> None:
    assert load_failed(replace(a_picture(WANTED, model=GONE), failed=(failed(),))) == ["cuda_out_of_memory"]


def test_what_the_index_says_is_unavailable_is_classified_and_what_is_only_unloaded_is_not_wrong() -> None:
    said = a_model(ModelState.UNAVAILABLE, reason="CUDA out of memory. Tried to allocate 2.00 GiB")
    assert load_failed(a_picture(model=said)) == ["cuda_out_of_memory"]
    assert load_failed(a_picture(model=a_model(ModelState.UNAVAILABLE))) == []
    assert load_failed(a_picture(model=UNLOADED)) == []
    asleep = a_model(ModelState.UNAVAILABLE, reason="asleep", sleep=Known(SleepState.WEIGHTS_OFFLOADED, NOW))
    assert load_failed(a_picture(model=asleep)) == []
    assert load_failed(a_picture(model=Stale(said.value, NOW - 90, 90.0))) == []


# ModelFailing


def failing(picture: Picture) -> list[str]:
    return [one.cause for one in found(picture, AlertName.MODEL_FAILING)]


def test_a_dead_backend_fails_though_the_reload_waits() -> None:
    dead = Reason(ReasonCode.DEAD_BACKEND, {"failures": 5.0, "share": 1.0})
    assert failing(a_picture(a_decision(dead, BACK_OFF))) == ["dead_backend"]
    assert failing(a_picture(a_decision(dead, at=NOW - 61))) == [], "an old decision says nothing"
    assert failing(a_picture(a_decision(dead), model=UNLOADED)) == []


def test_a_model_fails_when_all_its_newest_requests_do() -> None:
    bad = an_interval(completed=3, failed=3)
    good = an_interval(NOW - 7, completed=1)
    assert failing(a_picture(model=a_model(intervals=(bad,)))) == ["requests"]
    assert failing(a_picture(model=a_model(intervals=(good, bad)))) == []
    assert failing(a_picture(model=a_model(intervals=(an_interval(completed=2, failed=2),)))) == []
    assert failing(a_picture(model=a_model(intervals=(an_interval(NOW - 61, completed=9, failed=9),)))) == []
    assert failing(a_picture(model=Stale(a_model(intervals=(bad,)).value, NOW - 20, 20.0))) == []


@pytest.mark.parametrize(("errors", "cause"), [(("x", "x", "x"), ["probes"]), (("x", "x", ""), []), (("x", "x"), [])])
def test_a_model_fails_when_its_last_probes_did(errors: tuple[str, ...], cause: list[str]) -> None:
    picture = a_picture()
    probes = tuple(ProbeResult(NOW - 9 + n, "t0", 0.1, error) for n, error in enumerate(errors))
    assert failing(replace(picture, reading=replace(picture.reading, probes={"bert": probes}))) == cause


# CapacityRefused


def refused(*reasons: Reason, instances: int = 4, **more: float) -> list[str]:
    picture = a_picture(a_decision(*reasons, target=Target(loaded=True, instances=instances), **more))  # type: ignore[arg-type]
    return [one.cause for one in found(picture, AlertName.CAPACITY_REFUSED)]


def needs(demand_per_s: float, count: int = 4) -> tuple[Reason, Reason]:
    return (
        Reason(ReasonCode.DEMAND, {"demand_per_s": demand_per_s, "low_per_s": 1.0}),
        Reason(ReasonCode.CAPACITY, {"capacity_per_s": 40.0, "instances": float(count)}),
    )


def test_capacity_is_refused_by_bounds_below_what_is_wanted_and_by_a_saturated_device() -> None:
    assert refused(Reason(ReasonCode.BOUNDS, {"wanted": 5.0, "min": 1.0, "max": 4.0})) == ["bounds"]
    assert refused(Reason(ReasonCode.BOUNDS, {"wanted": 1.0, "min": 2.0, "max": 4.0})) == []
    assert refused(Reason(ReasonCode.BOUNDS, {"min": 1.0}, {"why": "it must be loaded"})) == []
    assert refused(SATURATED) == ["saturated"]


def test_capacity_is_refused_where_the_most_instances_hold_less_than_demand() -> None:
    assert refused(*needs(40.1)) == ["bounds"]
    assert refused(*needs(40.0)) == []
    assert refused(*needs(40.1, count=3), instances=3) == [], "there are more to be had"
    assert refused(needs(99.0)[0]) == [], "capacity is not known"
    assert refused(*needs(99.0), at=NOW - 61) == []


@pytest.mark.parametrize(("waiting", "instances", "cause"), [(33, 4, ["bounds"]), (32, 4, []), (99, 3, [])])
def test_capacity_is_refused_where_requests_wait_while_the_most_instances_are_under_way(
    waiting: int, instances: int, cause: list[str]
) -> None:
    under_way = Reason(ReasonCode.IN_FLIGHT, {}, {"step": "set_instances", "id": "d-0"})
    decision = a_decision(under_way, target=Target(loaded=True, instances=instances))
    model = a_model(pending=Known(waiting, NOW), max_batch_size=8, dynamic_batching=True)
    assert [one.cause for one in found(a_picture(decision, model=model))] == cause
    unread = a_model(pending=Missing("half a page"), max_batch_size=8, dynamic_batching=True)
    assert found(a_picture(decision, model=unread)) == []


# StartupSlow


LEARNED = {"bert": {("", "load"): StartupTimes(10, 0, 20.0, 40.0)}}


def loading(for_s: float, step: Step = Step.LOAD, *, waits: bool = False, **more: object) -> list[str]:
    action = Action("d-0", "bert", "t0", step, LOADED, NOW - for_s, waits=waits)
    picture = replace(a_picture(), in_flight=(action,), **({"startups": LEARNED} | more))  # type: ignore[arg-type]
    return [one.kind for one in found(picture)]


def test_a_load_is_slow_when_it_takes_clearly_longer_than_was_learned() -> None:
    assert loading(60.1) == ["load"]
    assert loading(60.0) == []
    assert loading(600.0, waits=True) == [], "it has not begun"
    assert loading(600.0, step=Step.UNLOAD) == []
    assert loading(600.0, step=Step.RELOAD) == [], "of that nothing was learned"
    assert loading(600.0, startups={"bert": {("", "load"): StartupTimes(2, 8, 20.0, 40.0)}}) == []


def test_a_quick_start_up_is_not_slow_for_taking_some_seconds_more() -> None:
    quick = {"bert": {("", "load"): StartupTimes(10, 0, 0.1, 0.2)}}
    assert loading(10.1, startups=quick) == []
    assert loading(10.3, startups=quick) == ["load"]


def members(created_at: float | None, phase: Phase = Phase.STARTING, count: int = 2) -> Picture:
    workload = WorkloadSpec("w", ServerKind.TRITON, KubernetesQuery("ns", "a=b"), Ports(8000, 8001, 8002))
    fleet = replace(FLEET, models=(replace(FLEET.models[0], runs_on=(), workloads=("w",)),), workloads=(workload,))
    some = [Member(workload.server(f"p{n}", "10.0.0.1"), "w", phase, created_at) for n in range(count)]
    times = {"bert": {("w", REPLICA): StartupTimes(5, 5, 60.0, 300.0)}}
    return replace(a_picture(fleet=fleet.with_members(some)), startups=times, workloads={"w": Known(tuple(some), NOW)})


def test_servers_of_a_workload_that_start_for_too_long_are_told_once() -> None:
    (one,) = found(members(NOW - 451))
    assert (one.alert, one.model, one.workload, one.server, one.kind) == ("StartupSlow", "bert", "w", "", "replica")
    assert found(members(NOW - 450)) == []
    assert found(members(None)) == []


def test_replicas_that_no_node_takes_are_capacity_refused_with_what_the_scheduler_says() -> None:
    picture = members(None)
    waiting = (Unscheduled("a", "no gpu"), Unscheduled("b", "no gpu"))
    (one,) = found(replace(picture, fleet=replace(picture.fleet, scaling={"w": ScaleStatus(unscheduled=waiting)})))
    assert (one.alert, one.model, one.workload, one.cause) == ("CapacityRefused", "bert", "w", "unscheduled")
    assert one.detail == "no node takes 2 replicas: no gpu"
    owned = replace(picture.fleet, scaling={"w": ScaleStatus(owner="HorizontalPodAutoscaler h")})
    assert found(replace(picture, fleet=owned)) == []


# ScalingFlapping


def test_four_turns_within_the_last_hour_are_flapping() -> None:
    def turning(*ages_s: float) -> list[str]:
        turns = {("bert", "t0"): tuple(NOW - age_s for age_s in ages_s)}
        return [one.alert for one in found(replace(a_picture(), totals=Totals(turns=turns)))]

    assert turning(3000, 2000, 1000, 10) == ["ScalingFlapping"]
    assert turning(3000, 2000, 1000) == []
    assert turning(3601, 2000, 1000, 10) == []


# GPUs


@pytest.mark.parametrize(
    ("signals", "told"),
    [
        ({"last_xid": Known(79, NOW)}, [("GpuXid", "79")]),
        ({"last_xid": Known(31, NOW)}, []),
        ({"last_xid": Known(0, NOW)}, []),
        ({"ecc_uncorrected": Known(1, NOW)}, [("GpuEcc", "")]),
        ({"ecc_uncorrected": Known(0, NOW)}, []),
        ({"throttle_reasons": Known(("hw_thermal", "sw_power_cap"), NOW)}, [("GpuThrottled", "hw_thermal")]),
        ({"throttle_reasons": Known(("sw_power_cap", "clocks_setting"), NOW)}, []),
        (
            {"mig_enabled": Known(value=False, observed_at=NOW), "mig_pending": Known(value=True, observed_at=NOW)},
            [("MigResetPending", "")],
        ),
        ({"mig_enabled": Known(value=True, observed_at=NOW), "mig_pending": Known(value=True, observed_at=NOW)}, []),
        ({"mig_enabled": Known(value=False, observed_at=NOW), "mig_pending": Missing("an older agent")}, []),
        ({}, []),
    ],
)
def test_what_is_wrong_with_a_gpu(signals: dict[str, object], told: list[tuple[str, str]]) -> None:
    gpu = replace(a_gpu(**signals), node="n1")
    conditions = found(a_picture(gpus=Known((gpu,), NOW)))
    assert [(one.alert, one.cause) for one in conditions] == told
    assert all((one.node, one.gpu, one.model) == ("n1", "GPU-0", "") for one in conditions)
    old: Stale[tuple[GpuReading, ...]] = Stale((gpu,), NOW - 60, 60.0)
    assert found(a_picture(gpus=old)) == []


# ServerDown and ScrapeStale


def test_a_server_that_is_known_to_be_down_is_told_for_each_of_its_models() -> None:
    down = Known(value=False, observed_at=NOW)
    both = replace(FLEET, models=(*FLEET.models, replace(FLEET.models[0], name="resnet")))
    told = [(one.alert, one.model, one.server) for one in found(a_picture(live=down, model=GONE, fleet=both))]
    assert told == [("ServerDown", "bert", "t0"), ("ServerDown", "resnet", "t0")]
    unused = found(a_picture(live=down, fleet=replace(FLEET, models=())))
    assert [(one.alert, one.model) for one in unused] == [("ServerDown", "")]


@pytest.mark.parametrize(
    ("phase", "created_at", "told"),
    [
        (Phase.READY, NOW - 100, AlertName.SERVER_DOWN),
        (Phase.STARTING, NOW - 3600, None),
        (Phase.STARTING, NOW - 3601, AlertName.SCRAPE_STALE),  # it was ready once, or never gets there
        (Phase.STARTING, None, None),
        (Phase.TERMINATING, NOW - 100, None),
        (Phase.TERMINATING, NOW - 7200, None),
    ],
)
def test_a_discovered_server_is_down_only_while_it_should_be_up(
    phase: Phase, created_at: float | None, told: AlertName | None
) -> None:
    picture = members(created_at, phase)
    down = replace(picture.reading.servers["t0"], live=Known(value=False, observed_at=NOW), models={})
    reading = replace(picture.reading, servers={name: replace(down, name=name) for name in picture.fleet.members})
    unread = {AlertName.SERVER_DOWN, AlertName.SCRAPE_STALE}
    told_of = [
        (one.alert, one.server)
        for one in found(replace(picture, reading=reading))
        if one.alert in unread and one.server in picture.fleet.members
    ]
    assert told_of == ([(told, "w/p0"), (told, "w/p1")] if told else [])


def stale(picture: Picture) -> list[tuple[str, str, str]]:
    return [(one.server, one.kind, one.cause) for one in found(picture, AlertName.SCRAPE_STALE)]


def test_a_server_that_is_not_read_any_more_is_stale_and_not_down() -> None:
    old = Stale(value=True, observed_at=NOW - 60, age_s=60.0)
    assert stale(a_picture(live=old)) == [("t0", "server", "stale")]
    assert found(a_picture(live=old), AlertName.SERVER_DOWN) == []


def test_a_model_that_is_not_read_on_a_server_that_answers_is_stale() -> None:
    assert stale(a_picture(model=Stale(a_model().value, NOW - 60, 60.0))) == [("t0", "model", "stale")]
    assert stale(a_picture(model=GONE)) == [("t0", "model", "missing")]


def test_what_was_never_read_is_stale_after_the_first_minute_only() -> None:
    never = a_picture(live=Missing("never read"), model=Missing("never read"))
    assert stale(never) == [("t0", "server", "missing")]
    begun = replace(never.health, started_at=NOW - 59)
    assert stale(replace(never, health=begun)) == []
    assert stale(members(NOW - 59, Phase.READY)) == []
    assert stale(members(NOW - 61, Phase.READY, count=1)) == [("w/p0", "server", "missing")]


def test_a_workload_a_gateway_and_an_agent_that_cannot_be_read_are_told_by_name() -> None:
    fleet = replace(
        FLEET, gateways=(GatewaySpec("g", "http://g", "h", "model", "", ""),), agents=(AgentSpec("n1", "http://n1"),)
    )
    picture = replace(a_picture(fleet=fleet), workloads={"w": Missing("forbidden")})
    assert stale(picture) == [("g", "gateway", "missing"), ("n1", "agent", "missing"), ("w", "workload", "missing")]
    well = Known(value=True, observed_at=NOW)
    read = replace(picture.reading, gateways={"g": well}, gpu_nodes={"n1": replace(well, value=False)})
    assert stale(replace(picture, reading=read, workloads={"w": Known((), NOW)})) == [("n1", "agent", "refused")]


def test_an_objective_of_which_a_prometheus_no_longer_tells_is_stale() -> None:
    ratio = ValueRatio("share", "prom", "up", at_least=0.9)
    objective = Objective(Indicator.RATIO, 0.9, 86400.0, IndicatorSource.VALUE_SLICES, ratio=ratio)
    fleet = replace(FLEET, models=(replace(FLEET.models[0], objectives=(objective,)),))
    (one,) = found(a_picture(fleet=fleet))
    assert (one.model, one.objective, one.server, one.kind) == (
        "bert",
        "ratio_share_value_slices",
        "prom",
        "prometheus",
    )
    picture = a_picture(fleet=fleet)
    told = {"bert": {objective.key: RatioReading(Known(value=True, observed_at=NOW))}}
    assert found(replace(picture, reading=replace(picture.reading, ratios=told))) == []


# OverrideEnding


def test_an_override_or_freeze_of_long_is_told_before_it_ends() -> None:
    def ending(left_s: float, length_s: float = 3600.0) -> list[tuple[str, str]]:
        created_at, expires_at = NOW + left_s - length_s, NOW + left_s
        override = Override("o", "bert", OverrideKind.PIN, "ann", "x", created_at, expires_at, 2)
        freeze = Freeze("f", "", FreezeDirection.ALL, "ann", "x", created_at, expires_at)
        told = found(replace(a_picture(), overrides=(override,), freezes=(freeze,)))
        return [(one.model, one.kind) for one in told if one.alert is AlertName.OVERRIDE_ENDING]

    assert ending(900.0) == [("bert", "pin"), ("", "freeze")]
    assert ending(901.0) == []
    assert ending(100.0, length_s=900.0) == []


def test_what_holds_for_a_workload_is_told_by_its_name_before_it_ends() -> None:
    began, ends = NOW - 7200, NOW + 600
    override = Override("o", "", OverrideKind.REPLICAS, "ann", "x", began, ends, 2, workload="w")
    freeze = Freeze("f", "", FreezeDirection.ALL, "ann", "x", began, ends, "w")
    told = found(replace(a_picture(), overrides=(override,), freezes=(freeze,)))
    assert [(one.model, one.workload, one.kind, one.detail) for one in told] == [
        ("", "w", "replicas", "ends in 10 min"),
        ("", "w", "freeze", "ends in 10 min"),
    ]


def test_a_freeze_by_a_rule_is_never_told_to_end_since_nobody_set_it() -> None:
    by_rule = Freeze("f", "", FreezeDirection.ALL, FREEZES_AS, "an alert fires", NOW - 3600, NOW + 250)
    assert found(replace(a_picture(), freezes=(by_rule,))) == []
    by_ann = replace(by_rule, id="g", actor="ann", expires_at=NOW + 100)
    assert [c.detail for c in found(replace(a_picture(), freezes=(by_rule, by_ann)))] == ["ends in 2 min"]


def test_an_override_that_is_followed_by_a_longer_one_of_its_kind_is_not_ending() -> None:
    soon = Override("o", "bert", OverrideKind.PIN, "ann", "x", NOW - 7200, NOW + 60, 2)
    later = replace(soon, id="p", created_at=NOW - 10, expires_at=NOW + 7200)
    assert found(replace(a_picture(), overrides=(soon, later))) == []


def test_a_change_of_layouts_that_failed_is_told_with_its_node_until_another_one_begins() -> None:
    failed = LayoutChange(ChangeState.FAILED, NOW - 60, 4, 1, "GPU-a of node-1: no room", NOW - 30, node="node-1")
    (told,) = found(replace(a_picture(), mig=MigPicture(Mode.ACT, change=failed)))
    assert told == Condition(AlertName.MIG_CHANGE_FAILED, node="node-1", detail="GPU-a of node-1: no room")
    for state in (ChangeState.UNDER_WAY, ChangeState.HELD, ChangeState.DONE):
        change = replace(failed, state=state)
        assert found(replace(a_picture(), mig=MigPicture(Mode.ACT, change=change))) == []
