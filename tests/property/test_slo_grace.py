"""However slow sources are, ticks come and runs end: each model's slices are closed once, in order, as soon as told."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.objectives import SLICE_S, Indicator, IndicatorSource, Objective
from controlplane.domain.observation import FleetReading
from controlplane.domain.records import Unclosed
from controlplane.domain.signal import Missing
from controlplane.domain.sources import PrometheusSpec, Through
from controlplane.loop.history import SliceWriter
from controlplane.slo.grace import Grace
from controlplane.store.codec import UNCLOSED

START = 1_700_000_000.0
GOAL = Objective(Indicator.AVAILABILITY, 0.99, 86400.0, IndicatorSource.SERVER)
DIRECT = ModelSpec("direct", "m", ("here",), Mode.OBSERVE, (GOAL,))
NOTHING = FleetReading(START, {}, {}, {}, Missing("no driver"))


@settings(deadline=None, max_examples=50)
@given(
    every_s=st.floats(1.0, 900.0),
    ticks=st.lists(st.tuples(st.floats(0.1, 600.0), st.booleans()), min_size=1, max_size=30),
)
def test_each_slice_of_each_model_is_closed_once_in_order_as_soon_as_its_own_sources_have_told(
    every_s: float, ticks: list[tuple[float, bool]]
) -> None:
    fleet = Fleet(
        (
            ServerSpec("here", ServerKind.VLLM, "http://h", "http://h"),
            ServerSpec("there", ServerKind.VLLM, "http://t", "", through=Through("p", ())),
        ),
        (DIRECT, replace(DIRECT, name="asked", runs_on=("there",))),
        prometheus=(PrometheusSpec("p", "http://p", 2.0, interval_s=every_s),),
    )
    grace = Grace(5.0, 2.0)
    grace_s, now = grace.of_models(fleet), START
    assert grace_s["direct"] == SLICE_S
    writer = SliceWriter(grace)
    writer.begin(now, Unclosed())
    kept = writer.unclosed(fleet, NOTHING)
    given_until = dict.fromkeys(grace_s, START)
    for after_s, restarts in ticks:
        now += after_s
        if restarts:
            writer = SliceWriter(grace)
            writer.begin(now, UNCLOSED.load(UNCLOSED.dump(kept)))
        for part in writer.close(fleet, NOTHING, now).slices:
            assert part.start == given_until[part.model]
            given_until[part.model] += SLICE_S
        kept = writer.unclosed(fleet, NOTHING)
        for name, until in given_until.items():
            assert until <= max(START, now - grace_s[name]) < until + SLICE_S
