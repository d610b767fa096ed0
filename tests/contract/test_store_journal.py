from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controlplane.domain.decision import (
    Action,
    ActionStatus,
    Effect,
    Outcome,
    Reason,
    ReasonCode,
    Step,
    Target,
    Verdict,
)
from controlplane.domain.errors import NotFoundError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Mode
from controlplane.domain.startups import Startup
from controlplane.domain.state import BatchSum, Ceiling, Expectation, PolicyState, UnitState
from controlplane.store import SqlStore
from tests.contract.values import NOW, a_decision, a_tick, an_action, an_outcome

UP = Target(loaded=True, instances=3)


def test_a_decision_comes_back_equal_with_all_that_followed(store: SqlStore) -> None:
    decision = a_decision(
        "d1",
        step=Step.SET_INSTANCES,
        target=UP,
        current=None,
        reasons=(Reason(ReasonCode.CAPACITY, {"per_s": math.inf}, {"device": 'gpu "0" ü'}),),
        binding=ReasonCode.CAPACITY,
    )
    effect = Effect("d1", Verdict.NO_GAIN, NOW + 60, 10.0, 10.2)
    action = an_action("d1", Step.SET_INSTANCES, 3)
    failed = Outcome(
        action, ActionStatus.FAILED, NOW + 1, "no memory", FailureClass.OUT_OF_MEMORY, "fewer", in_place=True
    )
    store.write_tick(a_tick(decisions=(decision,)))
    store.start_action(action)
    store.finish_action(failed)
    store.write_tick(a_tick(NOW + 60, effects=(effect,)))
    record = store.decision("d1")
    assert (record.decision, record.last_at, record.repeats) == (decision, NOW, 0)
    assert record.outcomes == (failed,)
    assert record.effect == effect
    assert list(store.decisions()) == [record]


def test_decisions_come_newest_first_of_one_model_or_of_all(store: SqlStore) -> None:
    store.write_tick(a_tick(decisions=(a_decision("a1"), a_decision("b1", model="resnet"))))
    store.write_tick(a_tick(NOW + 15, decisions=(a_decision("a2", NOW + 15, step=Step.LOAD),)))
    assert [r.decision.id for r in store.decisions()] == ["a2", "b1", "a1"]
    assert [r.decision.id for r in store.decisions("bert")] == ["a2", "a1"]
    assert [r.decision.id for r in store.decisions(limit=1)] == ["a2"]
    assert [r.decision.id for r in store.decisions(changes_only=True)] == ["a2"]
    assert [r.decision.id for r in store.decisions("resnet", changes_only=True)] == []


def test_a_hold_like_the_newest_of_its_unit_only_prolongs_it(store: SqlStore) -> None:
    for n in range(4):
        at = NOW + 15 * n
        numbers = Reason(ReasonCode.DEMAND, {"demand_per_s": float(n)})
        hold = a_decision(f"d{n}", at, reasons=(numbers, Reason(ReasonCode.IN_PLACE)))
        kept_as = store.write_tick(a_tick(at, decisions=(hold, a_decision(f"other{n}", at, server="t1"))))
        assert kept_as == ({f"d{n}": "d0", f"other{n}": "other0"} if n else {})
    records = {r.decision.id: (r.last_at, r.repeats) for r in store.decisions()}
    assert records == {"d0": (NOW + 45, 3), "other0": (NOW + 45, 3)}


@pytest.mark.parametrize(
    "changed",
    [
        {"target": UP},
        {"current": UP},
        {"binding": ReasonCode.DWELL},
        {"reasons": (Reason(ReasonCode.DWELL),)},
        {"step": Step.LOAD},
    ],
)
def test_a_decision_that_says_something_else_is_kept(store: SqlStore, changed: dict[str, object]) -> None:
    first, second = a_decision("d1"), a_decision("d2", NOW + 15, **changed)  # type: ignore[arg-type]
    third = replace(first, id="d3", at=NOW + 30)
    for decision in (first, second, third):
        store.write_tick(a_tick(decision.at, decisions=(decision,)))
    assert [r.decision for r in store.decisions()] == [third, second, first]


def test_the_decisions_after_one_are_those_of_its_unit_until_a_moment_oldest_first(store: SqlStore) -> None:
    first = a_decision("d0")
    later = [a_decision(f"d{n}", NOW + 60 * n, target=Target(loaded=True, instances=n + 1)) for n in range(1, 5)]
    others = [a_decision("t1", NOW + 60, server="t1"), a_decision("m1", NOW + 60, model="resnet")]
    for decision in (first, *later, *others):
        store.write_tick(a_tick(decision.at, decisions=(decision,)))
    assert [r.decision for r in store.decisions_after(first, NOW + 180)] == later[:3]
    assert [r.decision for r in store.decisions_after(later[1], NOW + 999)] == later[2:]
    assert list(store.decisions_after(a_decision("unknown"), NOW + 999)) == []


def test_a_recommendation_is_kept_once_and_a_step_to_be_carried_out_each_time(store: SqlStore) -> None:
    for n in range(3):
        at = NOW + 15 * n
        shown = a_decision(f"r{n}", at, step=Step.SET_INSTANCES, target=UP, mode=Mode.RECOMMEND)
        done = a_decision(f"a{n}", at, step=Step.SET_INSTANCES, target=UP, model="resnet")
        store.write_tick(a_tick(at, decisions=(shown, done)))
    assert [r.decision.id for r in store.decisions("bert")] == ["r0"]
    assert [r.decision.id for r in store.decisions("resnet")] == ["a2", "a1", "a0"]


def test_writing_decisions_again_changes_nothing(store: SqlStore) -> None:
    ticks = [
        a_tick(NOW + 15 * n, decisions=(a_decision(f"d{n}", NOW + 15 * n, step=Step.LOAD if n == 1 else Step.HOLD),))
        for n in range(4)
    ]
    for tick in ticks:
        store.write_tick(tick)
    before = list(store.decisions())
    for tick in ticks:
        store.write_tick(tick)
    assert list(store.decisions()) == before
    assert [(r.decision.id, r.repeats) for r in before] == [("d2", 1), ("d1", 0), ("d0", 0)]


def test_decisions_of_a_clock_that_was_set_back_are_kept(store: SqlStore) -> None:
    for id_, at in (("ahead", NOW + 3600.0), ("d0", NOW), ("d1", NOW + 15), ("d2", NOW + 30)):
        store.write_tick(a_tick(at, decisions=(a_decision(id_, at),)))
    records = {r.decision.id: (r.last_at, r.repeats) for r in store.decisions()}
    assert records == {"ahead": (NOW + 3600, 0), "d0": (NOW + 30, 2)}


def test_old_decisions_to_hold_are_pruned_and_all_others_stay(store: SqlStore) -> None:
    old, day_s = NOW - 15 * 86400.0, 86400.0
    holds = [a_decision(f"h{n}", old + n, target=Target(loaded=True, instances=1 + n % 2)) for n in range(1200)]
    for hold in holds:
        store.write_tick(a_tick(hold.at, decisions=(hold,)))
    store.write_tick(a_tick(old + 2000, decisions=(a_decision("up", old + 2000, step=Step.LOAD, target=UP),)))
    last = a_decision("last", old + 3000, model="gone")
    recent = a_decision("recent", NOW - 13 * day_s)
    store.write_tick(a_tick(old + 3000, decisions=(last,)))
    store.write_tick(a_tick(recent.at, decisions=(recent,)))
    assert store.prune(NOW) == 1200
    assert [r.decision.id for r in store.decisions(limit=10)] == ["recent", "last", "up"]
    assert store.prune(NOW) == 0
    kept_as = store.write_tick(a_tick(NOW, decisions=(replace(last, id="again", at=NOW),)))
    assert store.decision(kept_as["again"]).repeats == 1


def test_old_replicas_that_were_told_are_pruned_and_those_that_were_carried_out_stay(store: SqlStore) -> None:
    old = NOW - 15 * 86400.0
    steps = [
        a_decision(f"s{n}", old + 15 * n, step=Step.SCALE, target=Target(loaded=True, instances=1 + n % 2), server="w")
        for n in range(6)
    ]
    for step in steps:
        store.write_tick(a_tick(step.at, decisions=(step,)))
    store.start_action(an_action("s1", Step.SCALE, 2))
    store.finish_action(an_outcome(an_action("s1", Step.SCALE, 2)))
    assert store.prune(NOW) == 4
    assert [r.decision.id for r in store.decisions(limit=10)] == ["s5", "s1"]
    assert store.prune(NOW) == 0


def test_a_decision_is_found_by_a_prefix_that_only_it_has(store: SqlStore) -> None:
    store.write_tick(
        a_tick(decisions=(a_decision("ab12"), a_decision("ab34", server="t1"), a_decision("a%", model="x")))
    )
    assert store.decision("ab1").decision.id == "ab12"
    assert store.decision("a%").decision.id == "a%"
    with pytest.raises(NotFoundError, match="ab34, ab12"):
        store.decision("ab")
    for nobody in ("zz", "", "%", "_b12"):
        with pytest.raises(NotFoundError, match="no decision named"):
            store.decision(nobody)


def test_a_whole_id_wins_over_a_longer_one(store: SqlStore) -> None:
    store.write_tick(a_tick(decisions=(a_decision("d1"), a_decision("d10", model="x"))))
    assert store.decision("d1").decision.id == "d1"


def test_actions_that_never_finished_are_interrupted_once(store: SqlStore) -> None:
    done, lost = an_action("d1"), an_action("d2", Step.UNLOAD, 0)
    store.write_tick(a_tick(decisions=(a_decision("d2", step=Step.UNLOAD),)))
    store.start_action(done)
    store.start_action(lost)
    store.finish_action(an_outcome(done))
    assert store.interrupt_actions(NOW + 100) == (lost,)
    assert store.interrupt_actions(NOW + 200) == ()
    (outcome,) = store.decision("d2").outcomes
    assert (outcome.status, outcome.finished_at) == (ActionStatus.INTERRUPTED, NOW + 100)


def test_an_outcome_of_an_action_that_was_never_started_is_kept(store: SqlStore) -> None:
    store.write_tick(a_tick(decisions=(a_decision("d1", step=Step.LOAD),)))
    dropped = an_outcome(an_action("d1"), ActionStatus.DROPPED, 0.0)
    store.finish_action(dropped)
    assert store.decision("d1").outcomes == (dropped,)
    assert store.interrupt_actions(NOW + 1) == ()


def test_outcomes_of_actions_that_ended_since_come_in_the_order_of_the_journal(store: SqlStore) -> None:
    failed = an_outcome(an_action("d1"), ActionStatus.FAILED, after_s=5.0)
    mended = an_outcome(an_action("d2"), after_s=2.0)
    for outcome in (an_outcome(an_action("d0"), after_s=1.0), failed, mended, failed):
        store.finish_action(outcome)
    assert store.outcomes(NOW + 2) == [failed, mended]
    assert store.outcomes(NOW + 6) == []


def test_start_up_times_are_learned_from_successes_and_come_newest_first(store: SqlStore) -> None:
    for n, status in enumerate((ActionStatus.SUCCEEDED, ActionStatus.FAILED, ActionStatus.SUCCEEDED)):
        outcome = an_outcome(an_action(f"d{n}"), status, after_s=4.0 + n)
        store.finish_action(outcome)
        store.finish_action(outcome)
    learned = store.startups("bert", Step.LOAD, "t0")
    assert learned == (
        Startup("bert", "t0", "load", NOW + 6, 6.0, 6.0),
        Startup("bert", "t0", "load", NOW + 4, 4.0, 4.0),
    )
    assert store.startups("bert") == learned
    action = replace(an_action("d9"), server="workers/pod-1")
    store.finish_action(an_outcome(action, ActionStatus.SUCCEEDED, after_s=3.0))
    assert [startup.workload for startup in store.startups("bert", server="workers/pod-1")] == ["workers"]
    assert store.startups("bert", server="t1") == store.startups("resnet") == store.startups("bert", "reload") == ()


def test_waits_between_tries_are_no_part_of_a_start_up_time(store: SqlStore) -> None:
    store.finish_action(replace(an_outcome(an_action("d1"), after_s=10.0), waited_s=6.0))
    assert store.startups("bert") == (Startup("bert", "t0", "load", NOW + 10, 4.0, 4.0),)


@pytest.mark.parametrize(("to", "learned"), [(1, 0), (3, 0), (4, 1)])
def test_taking_instances_away_teaches_no_start_up_time(store: SqlStore, to: int, learned: int) -> None:
    current = Target(loaded=True, instances=3)
    store.write_tick(a_tick(decisions=(a_decision("d1", step=Step.SET_INSTANCES, current=current),)))
    store.finish_action(an_outcome(an_action("d1", Step.SET_INSTANCES, to)))
    assert len(store.startups("bert", "set_instances")) == learned


def test_an_unload_teaches_no_start_up_time(store: SqlStore) -> None:
    store.finish_action(an_outcome(Action("d1", "bert", "t0", Step.UNLOAD, Target(loaded=False, instances=0), NOW)))
    assert store.startups("bert") == ()


def test_the_policy_state_of_the_last_tick_comes_back_equal(store: SqlStore) -> None:
    assert store.load_state() == PolicyState()
    unit = UnitState(
        wanted=True,
        instances=2,
        recommended=((NOW, 2), (NOW + 15, 3)),
        batches=(BatchSum(4, 2, 17.25, 0.1 + 0.2),),
        expectation=Expectation("d1", 1, 2, NOW, 10.0),
        ceiling=Ceiling(3, math.inf),
        full=Ceiling(2, NOW + 60, 2),
    )
    state = PolicyState({"bert@t0": unit, "resnet@t0": UnitState()})
    store.write_tick(a_tick(state=PolicyState({"old@t0": UnitState()})))
    store.write_tick(a_tick(NOW + 15, state=state))
    assert store.load_state() == state
