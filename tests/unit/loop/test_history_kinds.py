"""What a Prometheus told of an objective is in its slices, once, also over a restart."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.fleet import Fleet
from controlplane.domain.objectives import CounterRatio, Indicator, IndicatorSource, Objective, Selector
from controlplane.domain.observation import FleetReading, RatioInterval, RatioReading
from controlplane.domain.records import Unclosed
from controlplane.domain.signal import Known
from controlplane.loop.history import SliceWriter
from controlplane.slo.grace import Grace
from controlplane.store.codec import UNCLOSED
from tests.unit.loop.worlds import FLEET, NOW, a_reading

ANY = Selector("a", "a")
ORDERS = Objective(
    Indicator.RATIO, 0.99, 86400.0, IndicatorSource.PROMETHEUS, ratio=CounterRatio("orders", "p", ANY, bad=ANY)
)
MODEL = replace(FLEET.models[0], objectives=(ORDERS,))
JUDGED = Fleet(FLEET.servers, (MODEL,))


def told(*intervals: tuple[float, int, int]) -> FleetReading:
    """Five seconds each, up to so long after the beginning."""
    found = tuple(RatioInterval(ORDERS.key, NOW + end - 5, NOW + end, good, bad) for end, good, bad in intervals)
    live = Known(value=True, observed_at=NOW)
    return replace(a_reading(), ratios={MODEL.name: {ORDERS.key: RatioReading(live, found)}})


def test_events_are_in_the_slices_that_hold_the_ends_of_their_intervals_and_outlive_a_restart() -> None:
    writer = SliceWriter(Grace(5.0, 5.0))
    writer.begin(NOW, Unclosed())
    reading = told((5, 10, 1), (10, 20, 0), (15, 30, 2))
    first = writer.close(JUDGED, reading, NOW + 20).slices
    assert [(s.start, s.good, s.bad, s.measured_s) for s in first] == [(NOW, 10, 1, 10.0)]

    again = SliceWriter(Grace(5.0, 5.0))
    again.begin(NOW + 25, UNCLOSED.load(UNCLOSED.dump(writer.unclosed(JUDGED, reading))))
    second = again.close(JUDGED, told((30, 7, 0)), NOW + 41).slices
    assert [(s.start - NOW, s.good, s.bad, s.measured_s) for s in second] == [(10, 50, 2, 5.0), (20, 0, 0, 5.0)]
    third = again.close(JUDGED, told((30, 7, 0), (35, 1, 1)), NOW + 51).slices
    assert [(s.start - NOW, s.good, s.bad) for s in third] == [(30, 8, 1)]
