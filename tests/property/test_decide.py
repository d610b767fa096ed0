"""Whatever is seen and whatever was before: bounds hold, blindness lowers nothing, every decision explains itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.explain import explain, headline
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.batching import BatchingCase, BatchingKnobs, BatchingMemory
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
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec, Wake
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind, Want
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Judgement, Objective
from controlplane.domain.observation import (
    BatchCount,
    ControlMode,
    FleetReading,
    Interval,
    ModelReading,
    ModelState,
    ServerReading,
)
from controlplane.domain.signal import Known, Missing, Signal, Stale
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import BatchSum, Ceiling, Expectation, PolicyState, UnitState

NOW = 1_700_000_000.0
GOAL = Objective(Indicator.LATENCY, 0.99, 28 * 86400.0, IndicatorSource.GATEWAY, 0.3)
POLICY = Policy()
KEY = "m@t0"

counts = st.integers(0, 2000)
totals = st.integers(1, 12)
ages = st.floats(0.0, 4000.0)
past = ages.map(lambda age: NOW - age)


@st.composite
def intervals(draw: st.DrawFn, newest_end: float) -> tuple[Interval, ...]:
    """A past without overlap, with gaps, oldest first."""
    found: list[Interval] = []
    end = newest_end
    for _ in range(draw(st.integers(0, 5))):
        start = end - draw(st.floats(0.05, 300.0))
        completed, pending = draw(counts), draw(counts)
        failed = draw(st.integers(0, completed))
        batches = tuple(
            BatchCount(size, executions, executions * draw(st.floats(0.0, 2.0)))
            for size, executions in draw(st.dictionaries(st.integers(1, 16), counts, max_size=3)).items()
        )
        found.append(
            Interval(
                start=start,
                end=end,
                completed=completed,
                failed=failed,
                failed_backend=draw(st.integers(0, failed)),
                rejected=draw(st.integers(0, 5)),
                canceled=0,
                request_s=draw(st.floats(0.0, 1e4)),
                queue_s=draw(st.floats(0.0, 1e4)),
                pending_start=draw(counts),
                pending_end=pending,
                running_max=draw(st.integers(0, 64)),
                instances=draw(st.integers(0, 12)),
                batches=batches,
                probes=draw(st.integers(0, completed)),
            )
        )
        end = start - draw(st.sampled_from([0.0, 0.0, 3.0, 500.0]))
    return tuple(reversed(found))


def signal(values: st.SearchStrategy[object]) -> st.SearchStrategy[Signal[object]]:
    return st.one_of(
        values.map(lambda v: Known(v, NOW - 3)),
        st.just(Missing("timed out")),
        values.map(lambda v: Stale(v, NOW - 99, 99.0, "why")),
    )


@st.composite
def model_readings(draw: st.DrawFn) -> ModelReading:
    step = draw(st.sampled_from([1, 1, 2, 4]))
    newest = NOW - draw(st.sampled_from([2.0, 2.0, 25.0, 31.0, 900.0]))
    return ModelReading(
        state=draw(st.sampled_from(ModelState)),
        reason=draw(st.sampled_from(["", "failed to load"])),
        instances=draw(signal(totals.map(lambda n: n * step))),  # type: ignore[arg-type]
        instances_per_step=step,
        max_batch_size=draw(st.sampled_from([0, 1, 8])),
        dynamic_batching=draw(st.booleans()),
        max_queue_delay_s=draw(st.sampled_from([0.0, 0.05])),
        preferred_batch_sizes=draw(st.sampled_from([(), (4,)])),
        gpus=draw(st.sampled_from([(), ("t0/0",)])),
        pending=draw(signal(counts)),  # type: ignore[arg-type]
        intervals=draw(intervals(newest)),
    )


def server_readings(models: st.SearchStrategy[Signal[object]]) -> st.SearchStrategy[ServerReading]:
    return st.builds(
        ServerReading,
        name=st.just("t0"),
        live=signal(st.booleans()),
        control=signal(st.sampled_from(ControlMode)),
        incarnation=st.integers(0, 3),
        models=st.fixed_dictionaries({}, optional={"m": models}),
    )


specs = st.builds(
    ModelSpec,
    name=st.just("m"),
    served_name=st.just("m"),
    runs_on=st.just(("t0",)),
    mode=st.sampled_from(Mode),
    objectives=st.sampled_from([(), (GOAL,)]),
    instances_min=st.integers(0, 3),
    instances_max=st.integers(3, 9),
    idle_unload_s=st.sampled_from([None, 60.0, 600.0]),
    wake=st.builds(Wake, ensure=st.booleans()),
    device=st.sampled_from(["", "gpu0"]),
)
batch_sums = st.builds(
    BatchSum,
    size=st.integers(1, 16),
    instances=st.integers(1, 12),
    executions=st.floats(0.0, 2000.0),
    compute_s=st.floats(0.0, 100.0),
)
ceilings = st.builds(Ceiling, instances=totals, until=st.floats(NOW - 100, NOW + 2000), times=st.integers(1, 9))
expectations = st.builds(
    Expectation,
    decision_id=st.just("d-1"),
    from_instances=totals,
    to_instances=totals,
    done_at=st.one_of(st.just(0.0), past),
    throughput_per_s=st.floats(0.0, 1000.0),
)
batchings = st.builds(
    BatchingMemory,
    knobs=st.builds(
        BatchingKnobs,
        max_batch_size=st.sampled_from([0, 1, 8]),
        dynamic=st.booleans(),
        max_queue_delay_s=st.sampled_from([0.0, 0.05]),
        preferred_sizes=st.sampled_from([(), (4,)]),
    ),
    since=past,
    told=st.sampled_from([None, *BatchingCase]),
)
unit_states = st.builds(
    UnitState,
    wanted=st.sampled_from([None, True, False]),
    instances=st.one_of(st.none(), totals),
    used_at=st.one_of(st.none(), past),
    recommended=st.lists(st.tuples(past, totals), max_size=5).map(lambda r: tuple(sorted(r))),
    batches=st.lists(batch_sums, max_size=6, unique_by=lambda b: (b.size, b.instances)).map(tuple),
    learned_until=st.one_of(st.just(0.0), past),
    expectation=st.one_of(st.none(), expectations),
    ceiling=st.one_of(st.none(), ceilings),
    full=st.one_of(st.none(), ceilings),
    failures=st.integers(0, 2000),
    retry_at=st.one_of(st.just(0.0), st.floats(NOW - 100, NOW + 600)),
    blind_since=st.one_of(st.none(), past),
    changed_at=st.one_of(st.just(0.0), past),
    healed_at=st.one_of(st.just(0.0), past),
    batching=st.one_of(st.none(), batchings),
)
targets = st.one_of(
    st.just(Target(loaded=False, instances=0)), totals.map(lambda count: Target(loaded=True, instances=count))
)
actions = st.builds(
    Action,
    id=st.just("d-1"),
    model=st.just("m"),
    server=st.just("t0"),
    step=st.sampled_from([s for s in Step if s is not Step.HOLD]),
    target=targets,
    issued_at=past,
)
outcomes = st.builds(
    Outcome,
    action=actions,
    status=st.sampled_from(ActionStatus),
    finished_at=past,
    detail=st.sampled_from(["", "{oops}"]),
    failure=st.one_of(st.none(), st.sampled_from(FailureClass)),
)
overrides = st.builds(
    Override,
    id=st.just("ov-1"),
    model=st.just("m"),
    kind=st.sampled_from(OverrideKind),
    actor=st.just("ann"),
    reason=st.just("incident"),
    created_at=past,
    expires_at=st.floats(NOW + 1, NOW + 7200),
    instances=st.integers(3, 9),
)
freezes = st.builds(
    Freeze,
    id=st.just("fr-1"),
    model=st.sampled_from(["", "m", "other"]),
    direction=st.sampled_from(FreezeDirection),
    actor=st.just("bob"),
    reason=st.just("release"),
    created_at=past,
    expires_at=st.floats(NOW + 1, NOW + 7200),
)
burns = st.one_of(st.none(), st.floats(0.0, 100.0))
judgements = st.builds(
    Judgement,
    model=st.just("m"),
    objective=st.just(GOAL),
    window=st.just(Counts()),
    attainment_low=st.none(),
    attainment_high=st.none(),
    budget_left=st.none(),
    burn_5m=burns,
    burn_1h=burns,
    burn_6h=burns,
)


def fleet_reading(servers: Mapping[str, ServerReading], at: float = NOW) -> FleetReading:
    return FleetReading(at, servers, {}, {}, Missing("no driver"))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    spec = draw(specs)
    server = ServerSpec("t0", draw(st.sampled_from(ServerKind)), "http://x", "http://x/metrics")
    servers = st.dictionaries(st.just("t0"), server_readings(signal(model_readings())))
    return Snapshot(
        fleet=Fleet((server,), (spec,)),
        reading=fleet_reading(draw(servers)),
        judgements={"m": (draw(judgements),)} if draw(st.booleans()) else {},
        overrides=tuple(draw(st.lists(overrides, max_size=1))),
        freezes=tuple(draw(st.lists(freezes, max_size=2))),
        wants=tuple(Want("m", at, "gateway") for at in draw(st.lists(past, max_size=1))),
        in_flight=tuple(draw(st.lists(actions, max_size=1))),
        results=tuple(draw(st.lists(outcomes, max_size=2))),
    )


def only(snapshot: Snapshot, state: UnitState, now: float = NOW) -> tuple[Decision, UnitState]:
    plan, after = decide(snapshot, PolicyState({KEY: state}), POLICY, now)
    return plan.decisions[0], after.units[KEY]


@given(snapshots(), unit_states)
@settings(max_examples=200, deadline=None)
def test_every_decision_is_the_same_again_within_bounds_and_explains_itself(
    snapshot: Snapshot, state: UnitState
) -> None:
    decision, after = only(snapshot, state)
    assert (decision, after) == only(snapshot, state)
    assert decision.reasons
    assert decision.binding in {r.code for r in decision.reasons} | {ReasonCode.IN_PLACE}
    assert decision.binding is not ReasonCode.BATCHING
    spec = snapshot.fleet.models[0]
    if spec.mode is Mode.OBSERVE:
        assert not decision.actionable
    if decision.step is not Step.HOLD and not snapshot.overrides and not snapshot.freezes:
        target = decision.target
        assert target is not None
        per_step = snapshot.reading.servers["t0"].models["m"].value.instances_per_step  # type: ignore[union-attr]
        fits = any(n % per_step == 0 for n in range(max(1, spec.instances_min), spec.instances_max + 1))
        if target.loaded and fits and decision.step is not Step.RELOAD:
            assert max(1, spec.instances_min) <= target.instances <= spec.instances_max
            assert target.instances % per_step == 0
    record = DecisionRecord(decision, NOW + 30, 2, tuple(o for o in snapshot.results if "{" not in o.detail))
    text = "\n".join((*explain(record), headline(decision)))
    assert not set("{}") & set(text)
    assert "None" not in text


@given(snapshots(), unit_states)
@settings(max_examples=200, deadline=None)
def test_a_step_always_leads_somewhere_else_or_heals(snapshot: Snapshot, state: UnitState) -> None:
    decision, _ = only(snapshot, state)
    match decision.step:
        case Step.LOAD:
            assert decision.target is not None
            assert decision.target.loaded
            assert decision.current == Target(loaded=False, instances=0)
        case Step.UNLOAD:
            assert decision.current is not None
            assert decision.current.loaded
            assert decision.target == Target(loaded=False, instances=0)
        case Step.SET_INSTANCES:
            assert decision.current != decision.target
        case Step.RELOAD:
            assert ReasonCode.DEAD_BACKEND in {r.code for r in decision.reasons}


@st.composite
def blind_servers(draw: st.DrawFn) -> ServerReading:
    """A server about one model of which something that matters is not known: no recent counters, state or count."""
    reading = draw(model_readings())
    count: Signal[int] = Known(reading.instances_per_step * draw(totals), NOW)
    reading = replace(
        reading,
        intervals=draw(intervals(NOW - 31)),
        state=draw(st.sampled_from([ModelState.READY, ModelState.READY, *ModelState])),
        instances=count if draw(st.booleans()) else Missing("not read"),
    )
    dark = (Missing("page truncated"), Stale(reading, NOW - 99, 99.0, "connection refused"))
    models: list[Signal[ModelReading]] = [Known(reading, NOW), Known(reading, NOW), *dark]
    lives: list[Signal[bool]] = [*(Known(answers, NOW) for answers in (True, True, False)), Missing("refused")]
    controls: list[Signal[ControlMode]] = [Known(ControlMode.EXPLICIT, NOW), Missing("not asked yet")]
    live, control = draw(st.sampled_from(lives)), draw(st.sampled_from(controls))
    return ServerReading("t0", live, control, 0, {"m": draw(st.sampled_from(models))})


@given(specs, unit_states, st.lists(blind_servers(), min_size=1, max_size=6), st.lists(freezes, max_size=2))
@settings(max_examples=200, deadline=None)
def test_blindness_lowers_and_unloads_nothing_for_hours_whatever_was_before(
    spec: ModelSpec, state: UnitState, seen: list[ServerReading], frozen: list[Freeze]
) -> None:
    fleet = Fleet((ServerSpec("t0", ServerKind.TRITON, "http://x", "http://x/metrics"),), (spec,))
    now = NOW
    for hour in range(3):
        for server in seen:
            snapshot = Snapshot(
                fleet,
                fleet_reading({"t0": server}, now),
                freezes=tuple(f for f in frozen if f.expires_at > now),
            )
            decision, state = only(snapshot, state, now)
            assert decision.step is not Step.UNLOAD
            if decision.step is Step.SET_INSTANCES:
                assert decision.current is not None
                assert decision.target is not None
                lowered = decision.target.instances < decision.current.instances
                assert not lowered or decision.current.instances > spec.instances_max
            now += 15.0
        now = NOW + 3600.0 * (hour + 1)
