"""Replicas leave traffic, end what they have, and go; or they are put back, as soon as nobody wants them gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.explain import headline
from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.fleet import KubernetesQuery, Mode, Phase, ServerKind
from controlplane.domain.instructions import Freeze, FreezeDirection
from controlplane.domain.observation import Interval, ModelReading, ModelState
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.state import BatchSum, Service, WorkloadState
from tests.unit.decide.draining import DRAIN, Fleet, spec
from tests.unit.decide.replicas import MODEL, NOW, decided
from tests.unit.decide.values import an_interval


def steps(fleet: Fleet, ticks: int) -> list[tuple[Step, ReasonCode]]:
    return [(one.step, one.binding) for one in (fleet.tick() for _ in range(ticks))]


def test_the_least_busy_leave_traffic_end_what_they_have_and_go_then() -> None:
    fleet = Fleet.serving(4, wanted=2)
    for number, holds in enumerate((5, 2, 9, 1)):
        fleet.replicas[number].holds = holds
    out = fleet.tick()
    assert (out.step, out.binding, fleet.out) == (Step.TRAFFIC, ReasonCode.DRAINING, ["llm-1", "llm-3"])
    assert headline(out).startswith(
        "4 -> 2 replicas in traffic: 2 replicas that are to go take no new requests: 2 have"
    )
    fleet.replicas[3].holds = 0
    waiting = [fleet.tick() for _ in range(2)]
    assert {(one.step, one.binding) for one in waiting} == {(Step.HOLD, ReasonCode.DRAINING)}
    assert "1 have not ended what they have, for 15 s of at most 60 s" in headline(waiting[1])
    fleet.replicas[1].holds = 0
    gone = fleet.tick()
    assert (gone.step, gone.binding) == (Step.SCALE, ReasonCode.DRAINED)
    assert headline(gone) == "4 -> 2 replicas: 2 replicas that are to go have ended what they had"
    assert ([one.name for one in fleet.gone], fleet.out) == (["llm-1", "llm-3"], [])
    assert steps(fleet, 2) == [(Step.HOLD, ReasonCode.OVERRIDE)] * 2
    assert fleet.state.leaving == {}


def test_who_holds_nothing_waits_until_nothing_can_come_any_more() -> None:
    fleet = Fleet.serving(2, wanted=1)
    fleet.tick()
    # seen out of traffic now, and the reading is older than the time in which requests may come still
    assert fleet.tick(seconds=DRAIN.settle_s - 1.0).step is Step.HOLD
    assert fleet.tick(seconds=1.0).step is Step.HOLD
    assert fleet.tick().step is Step.SCALE


@pytest.mark.parametrize(
    "changes",
    [
        {"running": Missing("not told")},
        {"pending": Missing("not told")},
        {"running": Stale(0, NOW, 90.0)},
        {"running": Known(0, NOW)},
        {"pending": Known(1, NOW + 90.0)},
    ],
)
def test_what_is_missing_stale_or_old_is_never_taken_for_nothing(changes: dict[str, object]) -> None:
    fleet = Fleet.serving(2, wanted=1)
    fleet.tick()
    (name,) = fleet.out
    fleet.tick()
    fleet.now += 10.0
    pool = fleet.pool()
    read = dict(pool.readings[MODEL.name])
    assert fleet.decide().step is Step.SCALE, "it would go"
    key = f"fleet/{name}"
    read[key] = replace(read[key], **changes)  # type: ignore[arg-type]
    fleet.changes = {"readings": {MODEL.name: read}}
    fleet.state = replace(fleet.state, asked=2)
    waiting = fleet.decide()
    assert (waiting.step, waiting.binding) == (Step.HOLD, ReasonCode.DRAINING)
    fleet.changes = {"readings": {MODEL.name: {n: r for n, r in read.items() if n != key}}}
    assert fleet.decide().binding is ReasonCode.DRAINING


def test_who_never_ends_goes_when_its_time_is_over_and_that_is_told() -> None:
    fleet = Fleet.serving(3, wanted=1)
    fleet.replicas[1].holds, fleet.replicas[2].holds = None, 7
    fleet.tick()
    assert fleet.out == ["llm-0", "llm-2"], "one that tells nothing goes last"
    fleet.replicas[0].holds, fleet.replicas[1].holds = None, 0
    seen = [fleet.tick() for _ in range(5)]
    assert {one.binding for one in seen[:4]} == {ReasonCode.DRAINING}
    assert (seen[4].step, seen[4].binding) == (Step.SCALE, ReasonCode.DRAINED)
    assert headline(seen[4]).endswith(
        "2 of 2 replicas that are to go are not known to have ended what they had, after 60 s"
    )


def test_who_need_not_go_any_more_takes_requests_again_at_once_and_more_come_after_that() -> None:
    fleet = Fleet.serving(3, wanted=1)
    fleet.replicas[0].holds = 1
    fleet.tick()
    fleet.tick()
    fleet.wanted = 4
    back = fleet.tick(seconds=5.0)
    assert (back.step, back.binding, fleet.out) == (Step.TRAFFIC, ReasonCode.PUT_BACK, [])
    assert headline(back) == "1 -> 3 replicas in traffic: 2 replicas that were to go take requests again"
    assert fleet.state.asked == 3, "more were not asked for yet"
    more = fleet.tick()
    assert (more.step, more.target and more.target.instances) == (Step.SCALE, 4)
    assert fleet.state.startups == (), "who takes requests again did not start"


def test_who_is_found_out_of_traffic_by_a_fresh_control_plane_goes_or_is_put_back() -> None:
    for wanted, found in ((1, [Step.HOLD, Step.SCALE, Step.HOLD]), (None, [Step.TRAFFIC, Step.HOLD, Step.HOLD])):
        fleet = Fleet.serving(2, wanted=1)
        fleet.tick()
        fleet.state, fleet.results, fleet.wanted = WorkloadState(), (), wanted
        assert [fleet.tick().step for _ in range(3)] == found
        assert (fleet.out, len(fleet.gone), fleet.state.startups) == ([], 0 if wanted is None else 1, ())


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.RECOMMEND])
def test_what_was_begun_is_taken_back_in_every_mode(mode: Mode) -> None:
    fleet = Fleet.serving(2, wanted=1)
    fleet.tick()
    fleet.wanted = None
    fleet.changes = {"models": (replace(MODEL, mode=mode),)}
    back = fleet.tick()
    assert (back.step, back.mode, back.actionable, fleet.out) == (Step.TRAFFIC, mode, True, [])
    assert fleet.tick().actionable is False


def test_what_was_begun_is_taken_back_where_something_else_has_come_to_scale_it() -> None:
    fleet = Fleet.serving(2, wanted=1)
    fleet.tick()
    fleet.changes = {"scaling": ScaleStatus(owner="HorizontalPodAutoscaler h")}
    back = fleet.tick()
    assert (back.step, back.told_only, back.actionable, fleet.out) == (Step.TRAFFIC, True, True, [])
    assert (fleet.tick().actionable, fleet.out) == (False, [])


@pytest.mark.parametrize("direction", [FreezeDirection.ALL, FreezeDirection.NO_DOWN, FreezeDirection.NO_UP])
def test_who_is_out_of_traffic_does_not_stay_so_through_a_freeze(direction: FreezeDirection) -> None:
    fleet = Fleet.serving(2, wanted=1)
    fleet.tick()
    frozen = Freeze("f", "", direction, "bob", "incident", NOW, NOW + 3600.0)
    fleet.wanted, fleet.changes = None, {"freezes": (frozen,)}
    fleet.tick()
    assert fleet.out == []


def test_after_a_step_that_failed_nobody_waits_out_of_traffic_for_the_next_try() -> None:
    fleet = Fleet.serving(2, wanted=1)
    fleet.tick()
    fleet.tick()
    assert fleet.tick(fails=True, seconds=1.0).step is Step.SCALE
    back = fleet.tick(seconds=1.0)
    assert (back.step, back.binding, fleet.out) == (Step.TRAFFIC, ReasonCode.PUT_BACK, [])
    assert fleet.tick(seconds=1.0).binding is ReasonCode.BACK_OFF
    fleet.now = fleet.state.act_at
    assert (fleet.tick().step, fleet.state.failures) == (Step.TRAFFIC, 1), "leaving traffic is no success of the step"
    fleet.tick()
    assert fleet.tick().step is Step.SCALE
    fleet.decide()
    assert fleet.state.failures == 0


def test_putting_back_is_tried_each_tick_until_it_is_done() -> None:
    fleet = Fleet.serving(2, wanted=1)
    fleet.tick()
    fleet.wanted = 2
    assert [fleet.tick(fails=True, seconds=1.0).step for _ in range(4)] == [Step.TRAFFIC] * 4
    assert fleet.tick().step is Step.TRAFFIC
    assert fleet.out == []


def test_who_cannot_be_put_back_keeps_no_others_from_coming() -> None:
    """For want of the right to patch pods, say, which nothing but a person mends."""
    fleet = Fleet.serving(3, wanted=2)
    fleet.tick()
    fleet.wanted = 6
    assert fleet.tick(fails=True).step is Step.TRAFFIC
    more = fleet.tick()
    assert (more.step, more.target and more.target.instances, len(fleet.out)) == (Step.SCALE, 6, 1)
    assert fleet.tick(fails=True).step is Step.TRAFFIC, "nor is it given up"
    assert fleet.state.failures == 0


def test_who_is_not_ready_goes_first_and_is_waited_for_only_if_it_ever_served() -> None:
    fleet = Fleet.serving(3, wanted=2)
    fleet.start()
    fleet.wanted = 3
    decision = fleet.tick()
    assert (decision.step, [one.name for one in fleet.gone]) == (Step.SCALE, ["llm-3"])
    assert decision.binding is not ReasonCode.DRAINED
    fleet.replicas[0].ready, fleet.replicas[0].holds, fleet.wanted = False, 3, 2
    assert fleet.tick().binding is ReasonCode.DRAINING
    assert fleet.out == [], "a ReplicaSet takes away the one that is not ready, whoever else is chosen"
    fleet.replicas[0].holds = 0
    assert fleet.tick().step is Step.SCALE
    assert fleet.gone[-1].name == "llm-0"


def test_more_are_out_than_are_to_go_some_are_put_back_and_the_rest_goes() -> None:
    fleet = Fleet.serving(4, wanted=1)
    fleet.tick()
    assert len(fleet.out) == 3
    fleet.wanted = 3
    assert fleet.tick().step is Step.TRAFFIC
    assert len(fleet.out) == 1
    assert fleet.tick().step is Step.SCALE
    assert len(fleet.replicas) == 3


def test_one_lot_goes_before_the_next_leaves() -> None:
    fleet = Fleet.serving(4, wanted=3)
    fleet.tick()
    fleet.wanted = 1
    assert steps(fleet, 2)[-1] == (Step.SCALE, ReasonCode.DRAINED)
    assert len(fleet.replicas) == 3
    assert fleet.tick().step is Step.TRAFFIC
    assert len(fleet.out) == 2


def test_a_victim_that_dies_is_replaced_and_what_replaces_it_goes() -> None:
    fleet = Fleet.serving(3, wanted=2)
    fleet.tick()
    fleet.replicas = [one for one in fleet.replicas if one.out_at is None]
    fleet.start()
    assert fleet.tick().step is Step.SCALE
    assert ([one.name for one in fleet.gone], fleet.out) == (["llm-3"], [])


def test_of_a_stateful_set_the_last_ones_leave_whatever_they_do() -> None:
    fleet = Fleet.serving(3, of=spec("StatefulSet"), wanted=1)
    fleet.replicas[2].holds = 9
    fleet.tick()
    assert fleet.out == ["llm-1", "llm-2"]
    fleet.tick()
    fleet.replicas[2].holds = 0
    assert fleet.tick().step is Step.SCALE
    assert [one.name for one in fleet.gone] == ["llm-1", "llm-2"]


def test_the_last_replica_leaves_for_want_of_use_and_is_put_back_when_it_is_wanted() -> None:
    fleet = Fleet.serving(1)
    pool = fleet.pool()
    (idle,) = pool.models
    quiet = replace(idle, idle_unload_s=600.0, wake=replace(idle.wake, ensure=True))
    fleet.changes = {"models": (quiet,), "bounds": replace(pool.bounds, least=0)}
    fleet.replicas[0].out_at = NOW
    fleet.state = replace(fleet.state, used_at=NOW - 900.0, ready=frozenset({"fleet/llm-0 uid-0"}))
    assert fleet.tick().binding is ReasonCode.DRAINING
    fleet.replicas[0].holds = 1
    back = fleet.decide()
    assert (back.step, back.binding) == (Step.TRAFFIC, ReasonCode.PUT_BACK), "somebody uses it"
    fleet.replicas[0].holds = 0
    gone = fleet.tick()
    assert (gone.step, gone.target and gone.target.instances) == (Step.SCALE, 0)


def test_what_leaves_lowers_no_demand_and_is_not_counted_twice() -> None:
    fleet = Fleet.serving(4, wanted=3)
    before, _ = decided(fleet.pool(), fleet.state, fleet.now)
    fleet.tick()
    fleet.now = NOW
    after, state = decided(fleet.pool(), fleet.state, fleet.now)

    def demand(decision: object) -> tuple[float, float]:
        numbers = next(r.numbers for r in decision.reasons if r.code is ReasonCode.REPLICA_DEMAND)  # type: ignore[attr-defined]
        return numbers["demand_replicas"], numbers["serving_replicas"]

    (was, serving), (now, still) = demand(before), demand(after)
    assert now == pytest.approx(was), "its requests count until it has ended them"
    assert (serving, still) == (4.0, 3.0)
    assert (after.current and after.current.instances, state.asked) == (4, 3)


def test_a_server_that_is_silent_while_it_leaves_holds_up_nobody() -> None:
    fleet = Fleet.serving(3, wanted=2)
    fleet.tick()
    next(one for one in fleet.replicas if one.out_at is not None).holds = None
    decision, _ = decided(fleet.pool(), fleet.state, fleet.now)
    partial = [r for r in decision.reasons if r.code is ReasonCode.DATA_PARTIAL]
    assert partial == []


TRITON = spec(server=ServerKind.TRITON)


def on_triton(*intervals: Interval, now: float, pending: int = 0, unloaded: bool = False) -> Fleet:
    """One of two Tritons is out of traffic since NOW and was read so."""
    fleet = Fleet.serving(2, of=TRITON, wanted=1)
    fleet.replicas[1].out_at = NOW
    fleet.decide()
    fleet.now = now
    seen = ModelReading(ModelState.READY, pending=Known(pending, now), intervals=intervals)
    if unloaded:
        seen = ModelReading(ModelState.UNLOADED, pending=Missing("not loaded"))
    beside = ModelReading(ModelState.READY, pending=Known(4, now), intervals=(an_interval(now - 5, now, 50),))
    told = {"fleet/llm-0": beside, "fleet/llm-1": seen}
    fleet.changes = {"readings": {MODEL.name: told}}
    return fleet


def silent(*ends: float, completed: int = 0, waiting: int = 0) -> tuple[Interval, ...]:
    ends = tuple(NOW + end for end in ends)
    parts = {"pending_start": waiting, "pending_end": waiting}
    return tuple(an_interval(end - 5.0, end, completed, **parts) for end in ends)


def test_a_triton_has_ended_what_it_has_once_nothing_came_of_it_for_long_enough() -> None:
    quiet = silent(15.0, 20.0)
    assert on_triton(*quiet, now=NOW + 20.0).decide().step is Step.SCALE
    for other in (
        on_triton(*silent(15.0), now=NOW + 20.0),
        on_triton(*silent(5.0, 10.0), now=NOW + 20.0),
        on_triton(*quiet, now=NOW + 20.0, pending=1),
        on_triton(*silent(15.0), *silent(20.0, completed=1), now=NOW + 20.0),
        on_triton(*silent(15.0, waiting=1), *silent(20.0), now=NOW + 20.0),
        on_triton(*quiet, now=NOW + 9.0),
    ):
        assert other.decide().binding is ReasonCode.DRAINING
    slow = on_triton(*quiet, now=NOW + 20.0)
    slow.state = replace(slow.state, services={MODEL.name: Service(batches=(BatchSum(1, 1, 10.0, 15.0),))})
    assert slow.decide().binding is ReasonCode.DRAINING, "an execution takes 1.5 s"


def test_a_triton_without_the_model_holds_no_request_of_it() -> None:
    assert on_triton(now=NOW + 30.0, unloaded=True).decide().binding is ReasonCode.DRAINING
    assert on_triton(now=NOW + 40.0, unloaded=True).decide().step is Step.SCALE


def test_without_a_label_nothing_is_drained() -> None:
    bare = replace(spec(), query=KubernetesQuery("default", kind="Deployment", name="llm"))
    fleet = Fleet.serving(2, of=bare, wanted=1)
    assert fleet.tick().step is Step.SCALE
    assert fleet.pool().spec.drain is None
    assert Phase.DRAINING not in {member.phase for member in fleet.pool().members}


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("wanted", [None, 1])
@pytest.mark.parametrize("publish_only", [False, True])
def test_who_was_taken_out_is_put_back_though_nobody_says_any_more_how_replicas_leave(
    mode: Mode, wanted: int | None, publish_only: bool
) -> None:
    fleet = Fleet.serving(3, wanted=1)
    fleet.tick()
    assert len(fleet.out) == 2
    assert len(fleet.state.leaving) == 0
    fleet.decide()
    assert len(fleet.state.leaving) == 2
    assert isinstance(fleet.of.query, KubernetesQuery)
    fleet.of = replace(fleet.of, query=replace(fleet.of.query, drain=None), publish_only=publish_only)
    fleet.wanted = wanted
    fleet.changes = {"models": (replace(MODEL, mode=mode),)}
    back = fleet.tick()
    assert (back.step, back.binding, back.actionable) == (Step.TRAFFIC, ReasonCode.PUT_BACK, True)
    assert (fleet.out, fleet.state.leaving, len(fleet.replicas)) == ([], {}, 3)
    assert fleet.tick().step is not Step.TRAFFIC


def test_of_what_has_no_object_any_more_nobody_can_put_back_pods() -> None:
    fleet = Fleet.serving(2, wanted=1)
    fleet.tick()
    fleet.of = replace(fleet.of, query=KubernetesQuery("default", pods="app=llm"))
    assert fleet.decide().step is not Step.TRAFFIC
