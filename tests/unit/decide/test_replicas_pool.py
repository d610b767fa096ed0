"""What is learned of a workload: start-ups of its replicas, and what one of them can do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.replicas.pool import goal, lead_s, remember
from controlplane.domain.fleet import Mode, ServerKind
from controlplane.domain.state import WorkloadState
from tests.unit.decide.replicas import (
    KNOWN,
    MODEL,
    NOW,
    SPEC,
    STEP_S,
    a_member,
    a_pool,
    a_reading,
    steady,
    tokens,
    under,
)


@pytest.mark.parametrize(
    ("startups", "expected"),
    [
        ((), 300.0),
        ((80.0,), 160.0),
        ((80.0, 100.0), 150.0),
        ((100.0,) * 5, 120.0),
        (tuple(range(10, 110, 10)), 100.0),
        (tuple(range(1, 21)), 19.0),
    ],
)
def test_a_start_takes_five_minutes_until_some_were_seen_then_about_the_longest_then_nine_tenths(
    startups: tuple[float, ...], expected: float
) -> None:
    assert lead_s(startups) == pytest.approx(expected)


def test_each_start_up_is_counted_once_and_those_before_its_time_never() -> None:
    first = a_pool([a_reading(steady(NOW, 3.0))] * 2)
    state = remember(first, WorkloadState())
    assert state.startups == (), "nobody saw them start"
    state = replace(state, asked=3)
    came = a_member(2, created_at=NOW - 130.0, ready_s=90.0)
    second = replace(first, members=(*first.members, came))
    state = remember(second, state)
    assert state.startups == (90.0,)
    assert remember(second, state).startups == (90.0,)
    under_its_name = replace(came, pod_uid="another", created_at=NOW - 60.0, ready_at=NOW - 10.0)
    assert remember(replace(first, members=(*first.members, under_its_name)), state).startups == (90.0, 50.0)


def test_only_the_newest_start_ups_are_remembered() -> None:
    state = replace(KNOWN, startups=tuple(float(n) for n in range(20)), ready=frozenset())
    found = remember(under(6.0, 2), state).startups
    assert found == (*(float(n) for n in range(2, 20)), 100.0, 100.0)


@pytest.mark.parametrize("kind", [ServerKind.VLLM, ServerKind.TRITON])
def test_readings_are_learned_from_once_and_none_is_left_out(kind: ServerKind) -> None:
    def learned(pool_at: float, state: WorkloadState) -> WorkloadState:
        return remember(replace(under(15.0, 3, now=pool_at), spec=replace(SPEC, kind=kind)), state)

    once = learned(NOW, KNOWN)
    assert learned(NOW, once) == once
    later = once
    for tick in range(1, 21):
        later = learned(NOW + STEP_S * tick, later)
    if kind is ServerKind.VLLM:
        assert once.services["llm"].tokens.readings > 0
        # five whole minutes at once, and as many minutes later on
        assert later.services["llm"].tokens.readings == pytest.approx(2 * once.services["llm"].tokens.readings)
    left_s = 30.0 if kind is ServerKind.VLLM else 0.0
    assert later.services["llm"].learned_until == dict.fromkeys(("fleet/0", "fleet/1", "fleet/2"), NOW + 300.0 - left_s)


def test_models_on_the_same_servers_are_learned_each_by_itself() -> None:
    """One that decodes three times as slowly beside another; none of its minutes is missed or counts for the other."""
    quick, slow = (a_reading(steady(NOW, per_s)) for per_s in (3.0, 2.0))
    halved = [
        replace(i, tokens=tokens(i.tokens.prompt, (i.tokens.generation or 0) / 3) if i.tokens else None)
        for i in slow.intervals
    ]
    other = replace(MODEL, name="other", served_name="other")
    told = {"llm": {"fleet/0": quick}, "other": {"fleet/0": a_reading(halved)}}
    both = remember(replace(a_pool([quick]), models=(MODEL, other), readings=told), KNOWN)
    assert both.services["llm"] == remember(a_pool([quick]), KNOWN).services["llm"]
    alone = replace(a_pool([quick]), models=(other,), readings={"other": told["other"]})
    assert both.services["other"] == remember(alone, KNOWN).services["other"]
    assert both.services["other"].tokens.readings > 0
    assert both.services["other"] != both.services["llm"]
    assert set(remember(alone, both).services) == {"other"}, "one that runs there no more is forgotten"


def test_a_replicas_first_minute_teaches_nothing() -> None:
    pool = a_pool([a_reading(steady(NOW, 3.0))])
    cold = replace(pool, members=(a_member(0, created_at=NOW - 100.0, ready_s=50.0),))
    assert remember(cold, KNOWN).services["llm"].tokens.readings == 0
    warm = replace(pool, members=(a_member(0, created_at=NOW - 300.0, ready_s=50.0),))
    assert (
        0
        < remember(warm, KNOWN).services["llm"].tokens.readings
        < remember(pool, KNOWN).services["llm"].tokens.readings
    )


def test_the_tightest_objectives_count_and_the_most_cautious_model() -> None:
    easy, hard = MODEL.objectives
    found = goal(replace(MODEL, objectives=(easy, replace(easy, threshold_s=0.4, target=0.999), hard)))
    assert (found.ttft_s, found.itl_s, found.share) == (0.4, 0.05, 0.999)
    none = goal(replace(MODEL, objectives=()))
    assert (none.ttft_s, none.itl_s) == (None, None)
    beside = replace(MODEL, name="other", mode=Mode.RECOMMEND)
    assert replace(under(3.0, 1), models=(MODEL, beside)).mode is Mode.RECOMMEND
