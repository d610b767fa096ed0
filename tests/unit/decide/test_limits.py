"""What is over a limit waits, in the order raise, heal, take away; people are not held back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.limits import Restraint
from controlplane.decide.policy import Policy
from controlplane.domain.decision import Action, Decision, ReasonCode, Step, Target
from controlplane.domain.fleet import Fleet, KubernetesQuery, Mode, Phase, Ports, ServerKind, ServerSpec, WorkloadSpec
from controlplane.domain.state import Circuit
from tests.discovery_fake import member

NOW = 1_700_000_000.0
W = WorkloadSpec("w", ServerKind.TRITON, KubernetesQuery("ml", kind="Deployment", name="w"), Ports(8000, 8001, 8002))
SERVERS = tuple(ServerSpec(f"t{n}", ServerKind.TRITON, "http://x", "http://x") for n in range(4))
OBSERVED = tuple(ServerSpec(f"v{n}", ServerKind.TGI, "http://x", "http://x") for n in range(6))
FLEET = Fleet((*SERVERS, *OBSERVED), (), workloads=(W,)).with_members(
    [member(str(n), Phase.READY if n else Phase.TERMINATING) for n in range(7)]
)
UNLOADED = Target(loaded=False, instances=0)
HELD = (Step.HOLD, ReasonCode.BLAST_RADIUS)


def loaded(instances: int) -> Target:
    return Target(loaded=instances > 0, instances=instances)


def a_decision(
    step: Step = Step.UNLOAD, server: str = "t0", model: str = "m", *, before: int = 2, to: int = 0, **more: object
) -> Decision:
    fields: dict[str, object] = {"mode": Mode.ACT, "reasons": (), "binding": ReasonCode.IDLE, **more}
    return Decision(
        id=f"d-{model}-{server}",
        at=NOW,
        model=model,
        server=server,
        step=step,
        current=loaded(before),
        target=loaded(to),
        **fields,  # type: ignore[arg-type]
    )


def scale(before: int, to: int, **more: object) -> Decision:
    return replace(a_decision(Step.SCALE, "w", before=before, to=to), **more)  # type: ignore[arg-type]


def restraint(policy: Policy = Policy(), **more: object) -> Restraint:  # noqa: B008 - a value
    fields: dict[str, object] = {"circuits": {}, "changes": (), "in_flight": (), **more}
    return Restraint(FLEET, policy=policy, now=NOW, **fields)  # type: ignore[arg-type]


def said(decisions: tuple[Decision, ...]) -> list[tuple[Step, ReasonCode]]:
    return [(d.step, d.binding) for d in decisions]


def test_at_most_so_many_servers_lose_capacity_at_a_time() -> None:
    plan = restraint().plan([a_decision(server=f"t{n}") for n in range(4)])
    assert said(plan) == [(Step.UNLOAD, ReasonCode.IDLE)] * 2 + [HELD] * 2
    assert plan[2].reasons[-1].numbers == {"losing": 2.0, "most": 2.0}
    assert plan[2].target == UNLOADED, "it is still what should be"


def test_a_server_that_loses_some_already_may_lose_more() -> None:
    decisions = [a_decision(server="t0", model=m) for m in "abc"] + [a_decision(server="t1")]
    assert all(d.actionable for d in restraint().plan(decisions))


def test_each_group_has_a_share_of_its_own_of_those_that_do_not_end() -> None:
    decisions = [a_decision(server=s) for s in ("t0", "t1", "w/1", "w/2", "w/3", "w/4")]
    assert [d.actionable for d in restraint().plan(decisions)] == [True, True, True, True, True, False]


def test_one_server_may_always_lose_capacity() -> None:
    tight = Policy(max_share=0.01)
    assert said(restraint(tight).plan([a_decision(), a_decision(server="t1")])) == [
        (Step.UNLOAD, ReasonCode.IDLE),
        HELD,
    ]
    (cut,) = restraint(tight).plan([scale(6, 2)])
    assert (cut.step, cut.target) == (Step.SCALE, loaded(5))


def test_what_is_under_way_counts_too() -> None:
    under_way = [Action(f"d{n}", "x", f"t{n}", Step.UNLOAD, UNLOADED, NOW - 5, loaded(1)) for n in range(2)]
    raising = Action("d9", "x", "t3", Step.SET_INSTANCES, loaded(3), NOW - 5, loaded(1))
    plan = restraint(in_flight=[*under_way, raising]).plan([a_decision(server="t2"), a_decision(server="t1")])
    assert [d.actionable for d in plan] == [False, True]


@pytest.mark.parametrize(("before", "to", "cut_to"), [(6, 1, 3), (6, 3, 3), (6, 4, 4), (1, 0, 0), (6, 9, 9)], ids=str)
def test_fewer_replicas_are_cut_to_what_may_go_at_a_time_and_more_are_not_cut(
    before: int, to: int, cut_to: int
) -> None:
    (decision,) = restraint().plan([scale(before, to)])
    assert (decision.step, decision.target) == (Step.SCALE, loaded(cut_to))
    assert (decision.binding is ReasonCode.BLAST_RADIUS) is (to != cut_to)


def test_replicas_that_go_and_servers_that_lose_models_share_what_may_go() -> None:
    going = Action("d", "m", "w", Step.SCALE, loaded(4), NOW - 5, loaded(6))
    plan = restraint(in_flight=[going]).plan([a_decision(server="w/1"), a_decision(server="w/2")])
    assert [d.actionable for d in plan] == [True, False]


def test_a_minute_has_so_many_changes_raises_first_then_healing_then_the_rest() -> None:
    load = a_decision(Step.LOAD, "t3", before=0, to=1)
    heal, lower = a_decision(Step.RELOAD, "t1"), a_decision(Step.SET_INSTANCES, "t2", before=2, to=1)
    limit = restraint(Policy(changes_per_min=4, max_share=0.9), changes=(NOW - 61, NOW - 59, NOW - 1))
    plan = limit.plan([a_decision(), lower, heal, load])
    assert [d.actionable for d in plan] == [False, False, True, True]
    assert said(plan)[0] == (Step.HOLD, ReasonCode.CHANGE_RATE)
    assert limit.changes == (NOW - 59, NOW - 1, NOW, NOW)


def test_what_people_ask_for_is_held_by_no_limit_but_by_a_target_that_is_not_found() -> None:
    none_left = Policy(changes_per_min=1)
    asked = [a_decision(server=f"t{n}", by_person=True) for n in range(4)] + [scale(6, 0, by_person=True)]
    circuits = {"t3": Circuit(5, 1, NOW + 30)}
    plan = restraint(none_left, changes=(NOW,), circuits=circuits).plan(asked)
    assert [d.actionable for d in plan] == [True, True, True, False, True]
    assert plan[3].binding is ReasonCode.CIRCUIT_OPEN
    assert plan[4].target == UNLOADED


def test_a_target_that_is_tried_again_gets_one_step() -> None:
    half_open = {"t0": Circuit(5, 1, NOW - 1)}
    steps = [a_decision(Step.LOAD, model=m, before=0, to=1) for m in "ab"]
    assert [d.actionable for d in restraint(circuits=half_open).plan(steps)] == [True, False]
    busy = Action("d", "c", "t0", Step.LOAD, loaded(1), NOW - 5)
    assert not any(d.actionable for d in restraint(circuits=half_open, in_flight=[busy]).plan(steps))


def test_what_is_only_told_is_left_as_it_is() -> None:
    told = [scale(6, 0, told_only=True), replace(a_decision(), mode=Mode.RECOMMEND)]
    limit = restraint(Policy(changes_per_min=1), changes=(NOW,))
    assert list(limit.plan(told)) == told


def traffic(before: int, to: int, **more: object) -> Decision:
    return replace(a_decision(Step.TRAFFIC, "w", before=before, to=to), **more)  # type: ignore[arg-type]


def test_replicas_leave_traffic_within_the_limits_of_a_scale_down() -> None:
    (cut,) = restraint().plan([traffic(6, 1)])
    assert (cut.step, cut.target, cut.binding) == (Step.TRAFFIC, loaded(3), ReasonCode.BLAST_RADIUS)
    (held,) = restraint(Policy(changes_per_min=0)).plan([traffic(6, 5)])
    assert (held.step, held.binding) == (Step.HOLD, ReasonCode.CHANGE_RATE)


def test_replicas_that_take_requests_again_are_held_by_no_limit_but_an_open_circuit() -> None:
    none = restraint(Policy(changes_per_min=0, max_share=0.01))
    (back,) = none.plan([traffic(2, 6)])
    assert (back.step, none.changes) == (Step.TRAFFIC, ())
    (waits,) = restraint(circuits={"w": Circuit(5, 1, NOW + 60.0)}).plan([traffic(2, 6)])
    assert (waits.step, waits.binding) == (Step.HOLD, ReasonCode.CIRCUIT_OPEN)
