"""How many replicas, and why."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from controlplane.decide.explain import explain, reason_text
from controlplane.domain.decision import Decision, DecisionRecord, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import KubernetesQuery, Mode, Phase, ReplicaBounds, ServerKind, Wake, WorkloadSpec
from controlplane.domain.instructions import Freeze, FreezeDirection, Want
from controlplane.domain.observation import Interval, TokenCounts
from controlplane.domain.scaling import ScaleStatus, Unscheduled
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.state import BatchSum, Service, WorkloadState
from tests.unit.decide.replicas import (
    KNOWN,
    MODEL,
    NOW,
    POLICY,
    SPEC,
    STEP_S,
    a_member,
    a_pool,
    a_reading,
    decided,
    reason,
    settled,
    steady,
    tokens,
    under,
    wanted,
)
from tests.unit.decide.values import an_interval


def test_a_load_that_one_more_would_hold_gets_it_at_once() -> None:
    decision, state = decided(under(20.0, 4))
    assert (decision.step, decision.binding) == (Step.SCALE, ReasonCode.DEMAND_AHEAD)
    assert decision.current == Target(loaded=True, instances=4)
    assert wanted(decision) == state.asked == 5
    assert reason(decision, ReasonCode.REPLICA_DEMAND).numbers["arrivals_per_s"] == pytest.approx(20.0)
    assert not decision.actionable, "no object is named that has the replicas"


def test_what_starts_counts_as_there() -> None:
    alone, _ = decided(under(18.0, 3))
    assert wanted(alone) == 5
    beside, state = decided(under(18.0, 3, [NOW - 20.0] * 2))
    assert (beside.step, wanted(beside), state.refused) == (Step.HOLD, 5, 0)
    partly, _ = decided(under(18.0, 3, [NOW - 20.0]))
    assert wanted(partly) == 5


def test_a_step_up_is_limited_to_a_few_or_to_twice_as_many() -> None:
    crowded = replace(POLICY, max_step_up=1)
    queued = [replace(i, pending_start=4000, pending_end=4000) for i in steady(NOW, 6.0)]
    decision, _ = decided(a_pool([a_reading(queued)] * 2), policy=crowded)
    assert (wanted(decision), decision.binding) == (4, ReasonCode.STEP_LIMIT)
    assert reason(decision, ReasonCode.STEP_LIMIT).numbers["limit"] == 4.0


def test_fewer_only_after_the_dwell_and_then_at_once_to_what_was_most_wanted_in_it() -> None:
    state, at = settled(48.0, 10), NOW
    most = wanted(decided(under(48.0, 10), state)[0])
    held: list[Decision] = []
    while True:
        decision, state = decided(under(12.0, 10, now=at), state, at)
        if wanted(decision) != 10:
            break
        held.append(decision)
        at += STEP_S
    assert most == 10 > wanted(decision) >= 3
    assert decision.binding is ReasonCode.CONSOLIDATION
    assert {d.binding for d in held} == {ReasonCode.DWELL}
    assert len(held) * STEP_S >= POLICY.replicas_down_after_s - 1.0
    assert wanted(decision) == max(count for _, count in state.wanted)


def test_what_will_wait_until_more_are_there_is_served_beside_what_comes_then() -> None:
    def crowded(per_s: float, pending: int) -> Decision:
        queued = [replace(i, pending_start=pending, pending_end=pending) for i in steady(NOW, per_s)]
        return decided(a_pool([a_reading(queued)] * 2), policy=replace(POLICY, max_step_up=50))[0]

    # two take 11.4/s by the objective; of 18/s more and more wait as long as there are but two
    assert wanted(crowded(5.0, 60)) - wanted(crowded(5.0, 0)) == 0
    assert wanted(crowded(9.0, 60)) - wanted(crowded(9.0, 0)) >= 1


def test_one_high_moment_in_the_dwell_holds_what_it_wanted() -> None:
    state, at = settled(12.0, 8), NOW
    assert wanted(decided(under(12.0, 8), state)[0]) == 3
    high, state = decided(under(38.0, 8), state, at)
    assert high.step is Step.HOLD
    after, _ = decided(under(12.0, 8, now=at + 60.0), state, at + 60.0)
    assert wanted(after) >= 7


def test_while_some_servers_tell_nothing_none_is_taken_away_and_they_count_as_the_others() -> None:
    state = settled(12.0, 8)
    whole, _ = decided(under(12.0, 8), state)
    assert wanted(whole) < 8
    partial, _ = decided(under(12.0, 8, silent=3), state)
    assert (wanted(partial), partial.binding) == (8, ReasonCode.DATA_PARTIAL)
    rising, _ = decided(under(40.0, 8, silent=4), state)
    assert wanted(rising) >= wanted(decided(under(40.0, 8), state)[0]) >= 9


def test_without_data_nothing_is_lowered_for_hours_and_the_safe_floor_comes_after_a_while() -> None:
    state = replace(settled(12.0, 8), asked=4, wanted=((NOW - 30.0, 3), (NOW - 15.0, 6)))
    blind = a_pool([None] * 4)
    for minute in range(300):
        at = NOW + 60.0 * minute
        decision, state = decided(blind, state, at)
        raised = 60.0 * minute >= POLICY.blind_raise_after_s
        assert wanted(decision) == (6 if raised else 4)
        first = 0.0 <= 60.0 * minute - POLICY.blind_raise_after_s < 60.0
        assert decision.binding is (ReasonCode.SAFE_FLOOR if first else ReasonCode.DATA_MISSING)
        assert reason(decision, ReasonCode.DATA_MISSING).numbers["blind_s"] == pytest.approx(60.0 * minute)
    _, state = decided(under(12.0, 4, now=at), state, at)
    assert state.blind_since is None


def test_stale_readings_and_pages_that_stand_still_are_no_data() -> None:
    state = settled(12.0, 4)
    stale, _ = decided(under(1.0, 4, now=NOW), state, NOW + 60.0)
    assert (wanted(stale), stale.binding) == (4, ReasonCode.DATA_MISSING)
    frozen = (*steady(NOW, 3.0), an_interval(NOW, NOW + 15.0, running_start=9, running_end=9))
    still, _ = decided(a_pool([a_reading(frozen)] * 4), state, NOW + 15.0)
    assert (wanted(still), still.binding) == (4, ReasonCode.DATA_MISSING)


def test_without_a_profile_and_before_it_learned_it_holds() -> None:
    bare = replace(MODEL, profile=None)
    quiet = [a_reading([an_interval(NOW - 15.0, NOW, 3, running_start=0, running_end=1, tokens=tokens(9, 9))])] * 2
    decision, _ = decided(a_pool(quiet, model=bare))
    assert (decision.step, decision.binding) == (Step.HOLD, ReasonCode.CAPACITY_UNKNOWN)


def refused(state: WorkloadState, at: float, starting: list[float]) -> tuple[Decision, WorkloadState]:
    return decided(under(48.0, 8, starting, now=at), state, at)


def test_while_a_replica_is_overdue_more_are_asked_for_at_growing_intervals_only() -> None:
    """One replica has been starting for ever: twice the time that nine tenths take is over. Demand goes on growing."""
    state, at, never = replace(settled(48.0, 8), asked=9), NOW, [NOW - 3600.0]
    tries: list[float] = []
    told = 9
    for step in range(120):
        decision, state = decided(under(48.0 + 0.5 * step, 8, never, now=at), state, at)
        if wanted(decision) > told:
            tries.append(at)
        else:
            assert decision.binding is ReasonCode.UNFULFILLED
            assert wanted(decision) == told
        told = wanted(decision)
        at += STEP_S
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert len(waits) >= 2
    assert waits[0] == pytest.approx(116.0, abs=STEP_S)
    assert waits[1] == pytest.approx(2 * waits[0], abs=2 * STEP_S)


def test_a_replica_that_does_not_tell_since_when_it_starts_is_overdue_from_when_it_was_first_seen() -> None:
    state, at = replace(settled(44.0, 8), asked=9), NOW
    untold = replace(a_member(100, Phase.STARTING), created_at=None)
    overdue: list[float] = []
    for _ in range(20):
        pool = under(44.0, 8, now=at)
        decision, state = decided(replace(pool, members=(*pool.members, untold)), state, at)
        assert wanted(decision) == 9
        if decision.binding is ReasonCode.UNFULFILLED:
            overdue.append(at - NOW)
        at += STEP_S
    assert overdue[0] == pytest.approx(2 * 116.0, abs=STEP_S)


def test_replicas_that_were_asked_for_and_not_created_stay_asked_for_and_are_told_as_missing() -> None:
    first, state = refused(replace(settled(48.0, 8), asked=8), NOW, [])
    assert wanted(first) == 10
    for step in range(1, 20):
        later, state = refused(state, NOW + 15.0 * step, [])
        assert (wanted(later), later.binding) == (10, ReasonCode.UNFULFILLED)
        assert reason(later, ReasonCode.UNFULFILLED).numbers["replicas"] == 2.0
    there, state = refused(state, NOW + 300.0, [NOW + 295.0] * 2)
    assert (there.step, state.refused, state.retry_at) == (Step.HOLD, 0, 0.0)


def test_replicas_that_no_node_takes_are_told_with_what_the_scheduler_says() -> None:
    _, state = refused(replace(settled(48.0, 8), asked=8), NOW, [])
    no_gpu, tainted = "3 Insufficient nvidia.com/gpu.", "1 node had an untolerated taint."
    waiting = (Unscheduled("a", no_gpu), Unscheduled("b", tainted), Unscheduled("c", no_gpu))
    pool = under(48.0, 8, (), now=NOW + 15.0, scaling=ScaleStatus(unscheduled=waiting))
    later, _ = decided(pool, state, NOW + 15.0)
    assert later.binding is ReasonCode.UNFULFILLED
    told = reason_text(reason(later, ReasonCode.UNFULFILLED))
    assert told.endswith(f"the scheduler says: {tainted}; {no_gpu}")


def test_a_first_replica_that_no_node_takes_is_told_so() -> None:
    want, state = Want("llm", NOW - 5.0, "gateway"), replace(KNOWN, asked=0)
    first, state = decided(a_pool([], bounds=ReplicaBounds(0, 9), wants=(want,)), state)
    assert (wanted(first), first.binding) == (1, ReasonCode.WANTED)
    waiting = ScaleStatus(unscheduled=(Unscheduled("a", "no gpu"),))
    later, _ = decided(a_pool([], bounds=ReplicaBounds(0, 9), wants=(want,), scaling=waiting), state, NOW + STEP_S)
    assert (wanted(later), later.binding) == (1, ReasonCode.UNFULFILLED)
    text = "1 replicas that were asked for are not there; the scheduler says: no gpu"
    assert reason_text(reason(later, ReasonCode.UNFULFILLED)) == text


NAMED = replace(SPEC, query=KubernetesQuery("default", kind="Deployment", name="llm"))


@pytest.mark.parametrize(
    ("spec", "scaling", "code"),
    [
        (replace(NAMED, publish_only=True), ScaleStatus(), ReasonCode.PUBLISH_ONLY),
        (NAMED, ScaleStatus(owner="HorizontalPodAutoscaler h"), ReasonCode.OWNED),
    ],
)
def test_what_is_not_for_us_to_set_is_decided_and_told_only(
    spec: WorkloadSpec, scaling: ScaleStatus, code: ReasonCode
) -> None:
    ours, _ = decided(under(30.0, 5, spec=NAMED))
    theirs, _ = decided(under(30.0, 5, spec=spec, scaling=scaling))
    assert (ours.told_only, theirs.told_only) == (False, True)
    assert not theirs.actionable
    assert (theirs.step, theirs.target, theirs.binding) == (Step.SCALE, ours.target, ours.binding)
    assert reason_text(reason(theirs, code)).startswith("told and not carried out by us")
    assert reason_text(reason(theirs, code)).count(scaling.owner or "published only") == 1


def test_a_warning_keeps_nothing_from_being_carried_out() -> None:
    decision, _ = decided(under(30.0, 5, spec=NAMED, scaling=ScaleStatus(warning="a VerticalPodAutoscaler")))
    assert not decision.told_only


def test_replicas_that_go_by_themselves_stay_asked_for() -> None:
    state = replace(settled(48.0, 8), asked=10)
    assert wanted(decided(a_pool([]), state)[0]) == 10


def test_bounds_are_kept() -> None:
    high, _ = decided(under(30.0, 5, bounds=ReplicaBounds(1, 6)))
    assert (wanted(high), high.binding) == (6, ReasonCode.BOUNDS)
    low, _ = decided(under(1.0, 8, bounds=ReplicaBounds(5, 9)), settled(1.0, 8))
    assert (wanted(low), low.binding) == (5, ReasonCode.BOUNDS)
    below, _ = decided(under(1.0, 2, bounds=ReplicaBounds(5, 9)))
    assert wanted(below) == 5


@pytest.mark.parametrize(
    ("direction", "up", "down"),
    [
        (FreezeDirection.ALL, 3, 8),
        (FreezeDirection.NO_UP, 3, 3),
        (FreezeDirection.NO_DOWN, 5, 8),
    ],
)
def test_a_freeze_forbids_its_direction(direction: FreezeDirection, up: int, down: int) -> None:
    told = (Freeze("f-1", "", direction, "ann", "release", NOW - 60.0, NOW + 600.0),)
    assert wanted(decided(under(18.0, 3, freezes=told))[0]) == up
    lowered, _ = decided(under(12.0, 8, freezes=told), settled(12.0, 8))
    assert wanted(lowered) == down
    assert (lowered.binding is ReasonCode.FROZEN) is (down == 8)


def test_in_mode_observe_nothing_is_decided_or_learned() -> None:
    watched = replace(MODEL, mode=Mode.OBSERVE)
    decision, state = decided(under(18.0, 3, model=watched))
    assert (decision.step, decision.binding, state) == (Step.HOLD, ReasonCode.MODE, KNOWN)


SLEEPY = replace(MODEL, idle_unload_s=300.0, wake=Wake(ensure=True))
ZERO = ReplicaBounds(0, 50)


def nothing_done(at: float) -> list[Interval]:
    ends = (at - STEP_S * n for n in (3, 2, 1, 0))
    return [an_interval(end - STEP_S, end, running_start=0, running_end=0) for end in ends]


def idle(at: float, **changes: object) -> tuple[Decision, WorkloadState]:
    """A replica that was last used ten minutes ago."""
    quiet = [replace(interval, tokens=tokens(0, 0)) for interval in nothing_done(at)]
    state = replace(KNOWN, used_at=at - 600.0, asked=1)
    model = replace(SLEEPY, **changes.pop("model", {}))  # type: ignore[arg-type]
    return decided(a_pool([a_reading(quiet)], model=model, **({"bounds": ZERO} | changes)), state, at)  # type: ignore[arg-type]


def test_what_is_seen_to_be_idle_goes_to_zero() -> None:
    decision, state = idle(NOW)
    assert decision.target == Target(loaded=False, instances=0)
    assert decision.binding is ReasonCode.IDLE
    assert reason_text(reason(decision, ReasonCode.IDLE)) == "idle for 600 s (limit 300 s)"
    assert state.asked == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"bounds": ReplicaBounds(1, 50)},
        {"model": {"idle_unload_s": None}},
        {"model": {"idle_unload_s": 900.0}},
        {"model": {"wake": Wake()}},
    ],
)
def test_the_last_replica_stays_where_zero_is_not_allowed_nothing_would_wake_it_or_it_is_too_early(
    changes: dict[str, object],
) -> None:
    assert wanted(idle(NOW, **changes)[0]) == 1


def test_the_last_replica_stays_while_it_holds_a_request_or_nobody_saw_that_it_does_not() -> None:
    state = replace(KNOWN, used_at=NOW - 600.0, asked=1)
    waiting = [an_interval(NOW - 15.0, NOW, running_start=0, running_end=0, pending_start=0, pending_end=1)]
    held, _ = decided(a_pool([a_reading(waiting)], model=SLEEPY, bounds=ZERO), state)
    assert wanted(held) == 1
    unseen, _ = decided(a_pool([None], model=SLEEPY, bounds=ZERO), state)
    assert wanted(unseen) == 1


@pytest.mark.parametrize("odd", ["pending", "running"])
@pytest.mark.parametrize("signal", [Missing("not exported"), Stale(0, NOW - 90.0, 90.0), Known(1, NOW)], ids=str)
def test_the_last_replica_stays_where_it_is_not_told_that_nothing_waits_and_nothing_runs(
    odd: str, signal: Missing | Stale[int] | Known[int]
) -> None:
    told = [replace(interval, tokens=tokens(0, 0)) for interval in nothing_done(NOW)]
    pool = a_pool([a_reading(told, **{odd: signal})], model=SLEEPY, bounds=ZERO)
    assert wanted(decided(pool, replace(KNOWN, used_at=NOW - 600.0, asked=1))[0]) == 1


@pytest.mark.parametrize(
    ("idle_s", "running", "left"),
    [
        (590.0, Missing("not exported"), 1),
        (610.0, Missing("not exported"), 0),
        (310.0, Known(0, NOW), 0),
        (310.0, Known(1, NOW), 1),
        (990.0, Stale(0, NOW - 90.0, 90.0), 1),
    ],
    ids=str,
)
def test_a_triton_which_does_not_tell_what_it_executes_goes_once_nothing_came_for_ten_executions(
    idle_s: float, running: Missing | Stale[int] | Known[int], left: int
) -> None:
    """Its executions take a minute, and it may be unloaded after five."""
    spec = replace(SPEC, kind=ServerKind.TRITON)
    told = a_reading(nothing_done(NOW), running=running)
    pool = a_pool([told], model=replace(SLEEPY, profile=None), bounds=ZERO, spec=spec)
    served = Service(batches=(BatchSum(1, 1, 20.0, 1200.0),))
    state = replace(KNOWN, used_at=NOW - idle_s, asked=1, services={"llm": served})
    assert wanted(decided(pool, state)[0]) == left


def test_uncounted_tokens_are_no_demand_of_zero() -> None:
    """A vLLM of another version may call its counters otherwise: what it does is not known then, and is held."""
    uncounted: TokenCounts | None
    for uncounted in (None, tokens(None, 5), tokens(5, None)):
        state, seen = settled(20.0, 4), []
        for tick in range(1, 60):
            at = NOW + STEP_S * tick
            told = [replace(i, tokens=uncounted) if i.end > NOW else i for i in steady(at, 5.0)]
            decision, state = decided(a_pool([a_reading(told)] * 4), state, at)
            seen.append(decision)
        assert min(map(wanted, seen)) == 4
        assert reason(seen[-1], ReasonCode.DATA_MISSING)


def test_what_is_at_zero_is_woken_by_a_want_newer_than_its_last_use() -> None:
    empty = a_pool([], model=SLEEPY, bounds=ZERO)
    state = replace(KNOWN, used_at=NOW - 600.0)
    assert wanted(decided(empty, state)[0]) == 0
    woken, _ = decided(replace(empty, wants=(Want("llm", NOW - 5.0, "gateway"),)), state)
    assert (wanted(woken), woken.binding) == (1, ReasonCode.WANTED)
    old, _ = decided(replace(empty, wants=(Want("llm", NOW - 700.0, "gateway"),)), state)
    assert wanted(old) == 0
    starting = replace(empty, members=(a_member(0, Phase.STARTING, NOW - 10.0),))
    waits, _ = decided(replace(starting, wants=(Want("llm", NOW - 5.0, "gateway"),)), state)
    assert (wanted(waits), waits.binding) == (1, ReasonCode.IN_FLIGHT)


def test_while_requests_are_turned_away_it_grows_by_half_whatever_the_rest_says() -> None:
    count, grown = 4, []
    state = settled(2.0, count)
    for tick in range(4):
        at = NOW + STEP_S * tick
        turned = (*steady(at, 0.5)[:-1], replace(steady(at, 0.5)[-1], rejected=3))
        decision, state = decided(a_pool([a_reading(turned)] * count), state, at)
        count = wanted(decision)
        grown.append(count)
    assert grown == [6, 9, 13, 19]


def test_what_one_fewer_would_have_meant_is_told_in_numbers() -> None:
    decision, _ = decided(under(20.0, 4))
    ahead, fewer = reason(decision, ReasonCode.DEMAND_AHEAD), reason(decision, ReasonCode.ONE_FEWER)
    per_replica_per_s = reason(decision, ReasonCode.REPLICA_DEMAND).numbers["capacity_per_s"]
    assert fewer.numbers["fewer"] == wanted(decision) - 1
    assert fewer.numbers["holds_per_s"] == pytest.approx(fewer.numbers["fewer"] * per_replica_per_s)
    missed_per_s = ahead.numbers["replicas"] * per_replica_per_s - fewer.numbers["holds_per_s"]
    assert fewer.numbers["missed_per_s"] == pytest.approx(missed_per_s)
    assert missed_per_s > 0
    assert not any(r.code is ReasonCode.ONE_FEWER for r in decided(under(1.0, 1))[0].reasons)


def test_requests_that_wait_are_served_beside_those_that_come() -> None:
    state = settled(15.0, 4)
    queued = [replace(i, pending_start=400, pending_end=400) for i in steady(NOW, 15.0 / 4)]
    assert wanted(decided(a_pool([a_reading(queued)] * 4), state)[0]) > wanted(decided(under(15.0, 4), state)[0])


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (
            Reason(
                ReasonCode.REPLICA_DEMAND,
                {"arrivals_per_s": 12.34, "demand_replicas": 2.166, "capacity_per_s": 5.7},
                {"binds": "first_token"},
            ),
            "12.3/s arrive, the work of 2.17 replicas (one holds 5.7/s; first_token binds)",
        ),
        (
            Reason(
                ReasonCode.DEMAND_AHEAD,
                {"replicas": 2.77, "lead_s": 116.0, "quantile": 0.99, "spread_replicas": 0.26},
            ),
            "up to 2.77 replicas' work in 116 s, with a probability of 0.99 (in as long it moved by 0.26 lately)",
        ),
        (
            Reason(ReasonCode.SEASON, {"per_s": 40.0, "season_h": 24.0}),
            "by what is usual at this time (24 h apart) up to 40/s are to come",
        ),
        (
            Reason(ReasonCode.ONE_FEWER, {"fewer": 2.0, "holds_per_s": 11.1, "missed_per_s": 4.27}),
            "2 would hold 11.1/s, 4.27/s less than may come",
        ),
        (
            Reason(ReasonCode.UNFULFILLED, {"replicas": 3.0, "lead_s": 116.0, "left_s": 90.0}),
            "3 replicas that were asked for are not there; the next try is in 90 s",
        ),
        (
            Reason(ReasonCode.CONSOLIDATION, {"replicas": 3.0, "lead_s": 116.0, "dwell_s": 75.0}),
            "3 replicas hold what may come in 116 s, and did for 75 s",
        ),
    ],
)
def test_reasons_of_replicas_read_as_sentences(told: Reason, text: str) -> None:
    assert reason_text(told) == text


def test_a_decision_explains_itself_line_by_line() -> None:
    decision, _ = decided(under(20.0, 4))
    lines = explain(DecisionRecord(decision, NOW, 0))
    assert lines[0].startswith("llm on fleet, 2023-11-14 22:13:20 UTC, mode act (d-")
    assert lines[2] == "decided: 4 -> 5 replicas"
    assert lines[-1] == "done:    told, not carried out by us"
