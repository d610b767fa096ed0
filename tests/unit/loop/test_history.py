"""Which slices are closed when: each once, and no more than readings reach back."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.fleet import Fleet
from controlplane.domain.objectives import SLICE_S, Indicator, IndicatorSource, Objective
from controlplane.domain.ports import Unclosed
from controlplane.loop.history import SliceWriter
from tests.unit.loop.worlds import FLEET, NOW, a_reading

AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.99, 86400.0, IndicatorSource.SERVER)
JUDGED = Fleet(FLEET.servers, (replace(FLEET.models[0], objectives=(AVAILABILITY,)),))
YEAR_S = 365 * 86400.0


def starts(writer: SliceWriter, now: float) -> list[float]:
    return [piece.start for piece in writer.close(JUDGED, a_reading(), now)]


def test_each_slice_is_closed_once_after_the_grace() -> None:
    writer = SliceWriter(grace_s=10.0)
    writer.begin(NOW + 3, Unclosed())
    assert starts(writer, NOW + 19.9) == []
    assert starts(writer, NOW + 31) == [NOW, NOW + SLICE_S]
    assert starts(writer, NOW + 31) == []


def test_a_clock_set_far_forward_gives_only_the_slices_that_readings_reach() -> None:
    writer = SliceWriter(grace_s=10.0)
    writer.begin(NOW, Unclosed())
    closed = starts(writer, NOW + 50 * YEAR_S)
    assert len(closed) == 360
    assert closed[-1] == NOW + 50 * YEAR_S - 10.0 - SLICE_S
    assert starts(writer, NOW + 50 * YEAR_S + SLICE_S) == [closed[-1] + SLICE_S]
