"""The replicas of a workload as steps: one at a time, a back-off after failures, and no step for what is on its way."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.explain import explain, headline
from controlplane.decide.policy import Policy
from controlplane.decide.replicas.pool import Pool
from controlplane.decide.replicas.scaled import Scaled
from controlplane.decide.replicas.steps import absorb, held
from controlplane.domain.decision import (
    Action,
    ActionStatus,
    Decision,
    DecisionRecord,
    Outcome,
    ReasonCode,
    Step,
    Target,
)
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import KubernetesQuery, Mode
from controlplane.domain.scaling import ScaleStatus, Unscheduled
from controlplane.domain.state import WorkloadState
from tests.unit.decide.replicas import KNOWN, MODEL, NOW, SPEC, STEP_S, decided, settled, under, wanted

OBJECT = replace(SPEC, query=KubernetesQuery("default", pods="app=llm", kind="Deployment", name="llm"))
POLICY = Policy()


def pool(per_s: float, serving: int, *, now: float = NOW, **more: object) -> Pool:
    return replace(under(per_s, serving, now=now), **({"spec": OBJECT} | more))  # type: ignore[arg-type]


def an_outcome(decision: Decision, status: ActionStatus, took_s: float = 1.0) -> Outcome:
    assert decision.target is not None
    where = (decision.model, decision.server)
    action = Action(decision.id, *where, decision.step, decision.target, decision.at, decision.current)
    if status is not ActionStatus.FAILED:
        return Outcome(action, status, decision.at + took_s)
    return Outcome(
        action, status, decision.at + took_s, "403", FailureClass.UNKNOWN, "grant patch on deployments/scale"
    )


def then(before: Pool, state: WorkloadState, now: float) -> tuple[Decision, WorkloadState]:
    state = absorb(before, state, POLICY)
    one = held(Scaled(before, *decided(before, state, now), state), now)
    return one.decision, one.state


def test_replicas_are_carried_out_in_act_where_an_object_names_them_and_nobody_else_sees_to_it() -> None:
    assert decided(pool(20.0, 4))[0].actionable
    for told in (
        pool(20.0, 4, spec=replace(OBJECT, publish_only=True)),
        pool(20.0, 4, spec=SPEC),
        pool(20.0, 4, models=(replace(MODEL, mode=Mode.RECOMMEND),)),
    ):
        decision, _ = decided(told)
        assert (decision.step, decision.actionable) == (Step.SCALE, False)
    decision, _ = decided(pool(20.0, 4, spec=replace(OBJECT, publish_only=True)))
    assert explain(DecisionRecord(decision, NOW, 0))[-1] == "done:    told, not carried out by us"


def test_while_one_step_is_under_way_there_is_no_other_whatever_is_wanted() -> None:
    first, state = decided(pool(20.0, 4))
    assert wanted(first) == 5
    under_way = Action(first.id, first.model, first.server, Step.SCALE, Target(loaded=True, instances=5), NOW)
    decision, after = then(pool(60.0, 4, now=NOW + STEP_S, in_flight=under_way), state, NOW + STEP_S)
    assert (decision.step, decision.binding) == (Step.HOLD, ReasonCode.IN_FLIGHT)
    assert (wanted(decision) > 5, after.asked) == (True, 5), "more is wanted, and five were asked for"
    assert headline(decision).endswith(f"scale is under way ({first.id})")


def test_what_was_set_is_on_its_way_for_as_long_as_replicas_take_to_start() -> None:
    first, state = decided(pool(20.0, 4))
    at, results = NOW + STEP_S, (an_outcome(first, ActionStatus.SUCCEEDED),)
    decision, state = then(pool(20.0, 4, now=at, results=results), state, at)
    assert (decision.step, decision.binding, state.set_to) == (Step.HOLD, ReasonCode.IN_FLIGHT, 5)
    assert "5 replicas were set 14 s ago and are on their way" in headline(decision)
    late = NOW + 1.0 + 100.0
    again, _ = then(pool(20.0, 4, now=late), state, late)
    assert (again.step, wanted(again)) == (Step.SCALE, 5), "somebody took it back: it is set anew"


def test_what_somebody_else_added_to_what_was_set_is_taken_away_again() -> None:
    state = replace(settled(20.0, 9), set_to=5, set_at=NOW - 3600.0)
    fewer, _ = then(pool(20.0, 9), state, NOW)
    assert (fewer.step, wanted(fewer)) == (Step.SCALE, 5)
    lately, _ = then(pool(20.0, 9), replace(state, set_at=NOW - 15.0), NOW)
    assert (lately.step, lately.binding) == (Step.HOLD, ReasonCode.IN_FLIGHT), "they are on their way out"


def test_replicas_that_no_node_takes_are_not_set_again_and_again() -> None:
    waiting = ScaleStatus(unscheduled=(Unscheduled("llm-4", "0/3 nodes are available"),))
    state = replace(KNOWN, set_to=5, set_at=NOW - 3600.0)
    decision, _ = then(pool(20.0, 4, scaling=waiting), state, NOW)
    assert (decision.step, decision.binding) == (Step.HOLD, ReasonCode.IN_FLIGHT)


def test_a_step_that_failed_is_tried_again_after_a_back_off_that_doubles_and_says_what_to_do() -> None:
    decision, state = decided(pool(20.0, 4))
    at = NOW
    for wait_s in (15.0, 30.0, 60.0):
        assert (decision.step, wanted(decision)) == (Step.SCALE, 5)
        results, at = (an_outcome(decision, ActionStatus.FAILED),), at + 1.0
        decision, state = then(pool(20.0, 4, now=at, results=results), state, at)
        assert (decision.step, decision.binding) == (Step.HOLD, ReasonCode.BACK_OFF)
        assert "grant patch on deployments/scale" in headline(decision)
        assert (state.asked, state.refused) == (4, 0), "nothing was asked for, so nothing fails to come"
        assert state.act_at == at + wait_s
        at = state.act_at
        decision, state = then(pool(20.0, 4, now=at), state, at)
    ended = then(pool(20.0, 5, now=at, results=(an_outcome(decision, ActionStatus.SUCCEEDED),)), state, at)[1]
    assert (ended.failures, ended.remedy, ended.act_at) == (0, "", 0.0)


def test_what_was_dropped_or_interrupted_was_not_asked_for() -> None:
    first, state = decided(pool(20.0, 4))
    for status in (ActionStatus.DROPPED, ActionStatus.INTERRUPTED):
        after = absorb(pool(20.0, 4, results=(an_outcome(first, status),)), state, POLICY)
        assert (state.asked, after.asked, after.failures) == (5, 4, 0)


def test_a_workload_that_nothing_was_done_with_has_no_back_off() -> None:
    assert absorb(pool(20.0, 4), KNOWN, POLICY) == KNOWN
