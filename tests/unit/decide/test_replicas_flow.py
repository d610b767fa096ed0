"""What went through servers, by their own readings."""

from __future__ import annotations

import pytest

from controlplane.decide.replicas.flow import arrivals, flow, recent, running, stands_still, telling
from tests.unit.decide.replicas import NOW, steady, tokens
from tests.unit.decide.values import an_interval


def test_what_arrives_is_what_ended_and_what_the_system_grew_by() -> None:
    grown = an_interval(NOW, NOW + 5, 7, pending_start=1, pending_end=5, running_start=8, running_end=6, probes=2)
    assert arrivals(grown) == 7 - 2 + 4 - 2
    assert arrivals(an_interval(NOW, NOW + 5, 7, pending_start=None, pending_end=9)) == 7, (
        "a change nobody read is none"
    )


def test_what_runs_is_the_gauge_or_by_littles_law() -> None:
    assert running(an_interval(NOW, NOW + 5, running_start=4, running_end=8)) == 6
    assert running(an_interval(NOW, NOW + 5, running_start=None, running_end=8)) == 8
    assert running(an_interval(NOW, NOW + 5, request_s=25.0, queue_s=10.0)) == 3
    assert running(an_interval(NOW, NOW + 5, request_s=1.0, queue_s=10.0)) == 0


def test_servers_add_up_each_as_the_mean_of_what_it_told() -> None:
    half = [an_interval(NOW - 30, NOW - 15, 150, pending_start=4, pending_end=4)]
    whole = [
        an_interval(NOW - 60 + n, NOW - 45 + n, 15 * rate, running_start=2, running_end=2, tokens=tokens(30, 60))
        for n, rate in ((0, 1), (15, 3), (30, 1), (45, 3))
    ]
    found = flow([half, whole, []], NOW - 60)
    assert found.servers == 2
    assert found.arrivals_per_s == pytest.approx(10 + 2)
    assert [found.prompt_per_s, found.generation_per_s] == pytest.approx([2.0, 4.0])
    assert [found.running, found.waiting] == pytest.approx([2.0, 4.0])
    assert flow([whole], NOW - 15).arrivals_per_s == pytest.approx(3), "only what ended in the window"


def test_of_nobody_nothing_is_summed_and_a_server_that_empties_takes_nothing_away() -> None:
    assert flow([[]], NOW).servers == 0
    emptied = [an_interval(NOW - 15, NOW, 3, pending_start=50, pending_end=0)]
    assert flow([emptied], NOW - 60).arrivals_per_s == 0.0


@pytest.mark.parametrize(
    ("changes", "still"),
    [
        ({"running_start": 9, "running_end": 9}, True),
        ({"running_start": 9, "running_end": 9, "tokens": tokens(0, 0)}, True),
        ({"pending_start": 3, "pending_end": 3}, True),
        ({"running_start": 0, "running_end": 0}, False),
        ({"running_start": 0, "running_end": 9}, False),
        ({"running_start": 9, "running_end": 9, "completed": 1}, False),
        ({"running_start": 9, "running_end": 9, "tokens": tokens(0, 8)}, False),
        ({"running_start": 9, "running_end": 9, "tokens": tokens(8, 0)}, False),
        ({"running_start": 9, "running_end": 9, "request_s": 4.0}, False),
    ],
)
def test_a_page_that_holds_requests_of_which_none_moves_stands_still(changes: dict[str, object], still: bool) -> None:
    assert stands_still(an_interval(NOW - 5, NOW, **changes)) is still  # type: ignore[arg-type]


def test_a_server_tells_nothing_while_its_newest_page_stands_still_is_old_or_is_not_there() -> None:
    told = steady(NOW, 3.0)
    frozen = an_interval(NOW, NOW + 5, running_start=9, running_end=9)
    servers = {"fresh": told, "frozen": (*told, frozen), "old": told[:-3], "new": ()}
    assert recent(servers, NOW + 5, 30.0) == {"fresh": told}
    again = (*told, frozen, *steady(NOW + 35, 3.0)[-2:])
    assert recent({"again": again}, NOW + 35, 30.0) == {"again": (*told, again[-1])}, "what stood still is left out"


def test_what_came_while_a_page_stood_still_is_not_taken_for_what_came_since() -> None:
    busy = an_interval(0.0, 5.0, 10, running_start=4, running_end=4)
    still = an_interval(5.0, 10.0, 0, request_s=0.0, running_start=4, running_end=4)
    thawed = an_interval(10.0, 15.0, 900, running_start=4, running_end=4)
    after = an_interval(15.0, 20.0, 10, running_start=4, running_end=4)
    assert telling((busy, still, thawed, after)) == (busy, after)
    assert recent({"s": (busy, still, thawed)}, 15.0, 30.0) == {}
    assert recent({"s": (busy, still, thawed, after)}, 20.0, 30.0) == {"s": (busy, after)}
