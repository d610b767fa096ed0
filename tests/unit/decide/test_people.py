"""Who wins about replicas: a person's override, then freezes, then bounds, then the policy (DESIGN 8)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.explain import reason_text
from controlplane.decide.people import bounds
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.decision import Decision, ReasonCode, Step, Target
from controlplane.domain.fleet import Fleet, Mode, ReplicaBounds
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.observation import FleetReading
from controlplane.domain.signal import Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from tests.unit.decide.replicas import KNOWN, MODEL, NOW, SPEC, a_member, decided, reason, under, wanted

COUNTS = st.integers(0, 12)


def told(
    kind: OverrideKind, instances: int | None = None, least: int | None = None, most: int | None = None
) -> Override:
    at = NOW - 60.0
    return Override(
        "o", "", kind, "ann", "launch", at, at + 7200.0, instances, workload="fleet", least=least, most=most
    )


def frozen(direction: FreezeDirection, workload: str = "", model: str = "") -> Freeze:
    return Freeze("f", model, direction, "bob", "incident", NOW - 60.0, NOW + 600.0, workload)


@st.composite
def overrides(draw: st.DrawFn) -> Override | None:
    kind = draw(st.sampled_from([None, OverrideKind.REPLICAS, OverrideKind.PIN, OverrideKind.BOUNDS]))
    if kind is OverrideKind.BOUNDS:
        least, most = sorted((draw(COUNTS), draw(COUNTS.filter(bool))))
        return told(kind, least=least, most=most)
    return None if kind is None else told(kind, draw(COUNTS))


@settings(max_examples=60, deadline=None)
@given(
    override=overrides(),
    direction=st.sampled_from([None, *FreezeDirection]),
    configured=st.tuples(st.integers(0, 6), st.integers(6, 12)),
    serving=st.integers(1, 8),
    per_s=st.sampled_from([4.0, 20.0, 60.0]),
    mode=st.sampled_from([Mode.RECOMMEND, Mode.ACT]),
)
def test_an_override_beats_a_freeze_a_freeze_beats_bounds_and_bounds_beat_the_policy(
    override: Override | None,
    direction: FreezeDirection | None,
    configured: tuple[int, int],
    serving: int,
    per_s: float,
    mode: Mode,
) -> None:
    low, high = bounds(override, *configured)
    decision, _ = decided(
        under(
            per_s,
            serving,
            override=override,
            bounds=ReplicaBounds(low, high),
            freezes=() if direction is None else (frozen(direction),),
            model=replace(MODEL, mode=mode),
        )
    )
    count = wanted(decision)
    if override is not None and override.kind is not OverrideKind.BOUNDS:
        assert (count, decision.binding, decision.by_person) == (override.instances, ReasonCode.OVERRIDE, True)
        return
    if override is not None:
        assert low <= count <= high
        assert reason(decision, ReasonCode.OVERRIDE).numbers["max"] == high
    lowest, highest = (low, high) if override is not None else (0, 99)
    held = max(lowest, min(highest, serving))
    if direction is not FreezeDirection.NO_DOWN and direction is not None:
        assert count <= held, "no more where more is frozen"
    if direction is not FreezeDirection.NO_UP and direction is not None:
        assert count >= held, "no fewer where fewer are frozen"
    if direction is None:
        assert low <= count <= high
    if decision.binding is ReasonCode.FROZEN:
        assert count == serving
    if decision.by_person:
        assert override is not None
        assert decision.binding is ReasonCode.OVERRIDE


def test_a_person_sets_replicas_through_a_freeze_and_beyond_the_policys_wish() -> None:
    pool = under(20.0, 4, override=told(OverrideKind.REPLICAS, 9), freezes=(frozen(FreezeDirection.ALL),))
    decision, state = decided(pool)
    assert (decision.step, wanted(decision), decision.by_person) == (Step.SCALE, 9, True)
    assert decision.binding is ReasonCode.OVERRIDE
    assert reason_text(reason(decision, ReasonCode.OVERRIDE)) == "ann said replicas: launch (still 7140 s)"
    assert state.asked == 9
    none, _ = decided(under(20.0, 4, override=told(OverrideKind.REPLICAS, 0)))
    assert none.target == Target(loaded=False, instances=0)


def test_a_pin_holds_replicas_whatever_the_load() -> None:
    for per_s in (1.0, 20.0, 80.0):
        decision, _ = decided(under(per_s, 4, override=told(OverrideKind.PIN, 4)))
        assert (decision.step, wanted(decision), decision.binding) == (Step.HOLD, 4, ReasonCode.OVERRIDE)


@pytest.mark.parametrize(
    ("least", "most", "mode", "count", "binding", "by_person"),
    [
        (1, 4, Mode.ACT, 4, ReasonCode.OVERRIDE, False),  # the policy wants 5 of the 4 there
        (1, 50, Mode.ACT, 5, ReasonCode.DEMAND_AHEAD, False),
        (8, 9, Mode.ACT, 8, ReasonCode.OVERRIDE, False),
        (8, 9, Mode.RECOMMEND, 8, ReasonCode.OVERRIDE, True),  # asked for, so it is carried out
        (1, 3, Mode.RECOMMEND, 3, ReasonCode.OVERRIDE, True),
        (1, 50, Mode.RECOMMEND, 5, ReasonCode.DEMAND_AHEAD, False),  # the policy's own wish, only shown
    ],
)
def test_bounds_of_a_person_hold_in_place_of_the_configured_ones(
    least: int, most: int, mode: Mode, count: int, binding: ReasonCode, by_person: bool
) -> None:
    override = told(OverrideKind.BOUNDS, least=least, most=most)
    pool = under(20.0, 4, override=override, bounds=ReplicaBounds(least, most), model=replace(MODEL, mode=mode))
    decision, _ = decided(pool)
    assert (wanted(decision), decision.binding, decision.by_person) == (count, binding, by_person)
    said = f"ann said bounds of {least} to {most}: launch (still 7140 s)"
    assert reason_text(reason(decision, ReasonCode.OVERRIDE)) == said


def planned(overrides: tuple[Override, ...] = (), freezes: tuple[Freeze, ...] = (), mode: Mode = Mode.ACT) -> Decision:
    """The decision of a whole plan on a workload of two models, the second in `mode`: one replica, of two to five."""
    second = replace(MODEL, name="other", mode=mode)
    spec = replace(SPEC, replicas=ReplicaBounds(2, 5))
    fleet = Fleet((), (MODEL, second), workloads=(spec,)).with_members([a_member(0)])
    snapshot = Snapshot(fleet, FleetReading(NOW, {}, {}, {}, Missing("no agent")), overrides=overrides, freezes=freezes)
    plan, _ = decide(snapshot, PolicyState(workloads={"fleet": replace(KNOWN, asked=1)}), Policy(), NOW)
    return next(d for d in plan.decisions if d.server == "fleet")


def test_a_freeze_holds_the_workload_it_names_those_of_its_model_or_all() -> None:
    both = FreezeDirection.ALL
    assert (wanted(planned()), planned().binding) == (2, ReasonCode.BOUNDS)
    for freeze in (frozen(both), frozen(both, "fleet"), frozen(both, model="llm"), frozen(both, model="other")):
        decision = planned(freezes=(freeze,))
        assert (wanted(decision), decision.binding) == (1, ReasonCode.FROZEN)
    for freeze in (frozen(both, "elsewhere"), frozen(both, model="third"), frozen(FreezeDirection.NO_DOWN, "fleet")):
        assert wanted(planned(freezes=(freeze,))) == 2


def test_a_freeze_of_a_workload_holds_no_instances() -> None:
    freeze = frozen(FreezeDirection.ALL, "fleet")
    assert not freeze.holds("llm")
    assert frozen(FreezeDirection.ALL).holds("llm")


def test_the_newest_word_about_a_workload_counts_and_that_about_another_does_not() -> None:
    older, newer = told(OverrideKind.REPLICAS, 3), replace(told(OverrideKind.BOUNDS, least=4, most=9), created_at=NOW)
    other = replace(told(OverrideKind.REPLICAS, 7), workload="elsewhere", created_at=NOW + 1)
    assert wanted(planned((newer, older, other))) == 4
    assert wanted(planned((older,))) == 3


@pytest.mark.parametrize("mode", Mode)
def test_a_workload_takes_the_mode_of_its_most_cautious_model(mode: Mode) -> None:
    decision = planned((told(OverrideKind.REPLICAS, 3),), mode=mode)
    assert decision.mode is mode
    assert decision.binding is (ReasonCode.MODE if mode is Mode.OBSERVE else ReasonCode.OVERRIDE)
