"""The truth lies inside the demand interval, whatever happened and wherever the readings were cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.demand import estimate
from controlplane.domain.observation import Interval
from tests.world.batcher import Machine, SimModel


@given(
    seed=st.integers(0, 10_000),
    rates=st.lists(st.sampled_from([0.0, 3.0, 20.0, 60.0, 200.0]), min_size=1, max_size=6),
    gaps=st.lists(st.floats(0.3, 9.0), min_size=1, max_size=8),
    instances=st.integers(1, 4),
)
@settings(max_examples=150, deadline=None)
def test_the_number_of_arrivals_lies_inside_the_interval(
    seed: int, rates: list[float], gaps: list[float], instances: int
) -> None:
    sim = SimModel("m", rates=tuple((7.0 * i, rate) for i, rate in enumerate(rates)), seed=seed)
    machine = Machine([sim], 0.0)
    sim.up(instances, 0.0)
    intervals: list[Interval] = []
    arrived = {0.0: 0}
    for gap in gaps:
        start, success, pending, since = machine.now, sim.success, len(sim.waiting), arrived[machine.now]
        machine.advance(start + gap)
        arrived[machine.now] = sim.arrived
        assert sim.arrived >= since
        completed, now_pending = sim.success - success, len(sim.waiting)
        intervals.append(
            Interval(
                start, machine.now, completed, 0, 0, 0, 0, 0.0, 0.0, pending, now_pending, 8 * instances, instances
            )
        )
    demand = estimate(intervals, machine.now, 30.0, 8)
    assert demand is not None
    begun = min(arrived, key=lambda at: abs(at - (machine.now - demand.window_s)))
    truth = (sim.arrived - arrived[begun]) / demand.window_s
    assert demand.low_per_s - 1e-9 <= truth <= demand.high_per_s + 1e-9
