"""Learned start-up times promise nothing that the start-ups seen do not bear out."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controlplane.decide.startups import ASSUMED_S, LEARNED_AFTER, by_knob, startup_times
from controlplane.domain.decision import Step
from controlplane.domain.startups import REPLICA, Startup

seconds = st.floats(0.0, 1e4)
ASSUMED = 60.0


def seen(values: list[float], knob: str = "load") -> list[Startup]:
    return [Startup("m", "s", knob, float(at), value, 0.0) for at, value in enumerate(values)]


@given(st.lists(seconds, min_size=LEARNED_AFTER + 1, max_size=60))
def test_the_next_one_takes_no_longer_as_often_as_is_said(values: list[float]) -> None:
    """Whichever of them came last: as many as promised lie within what the others foretell."""
    short = {0.5: 0, 0.9: 0}
    for last, value in enumerate(values):
        times = startup_times(seen(values[:last] + values[last + 1 :]), ASSUMED)
        short[0.5] += value <= times.p50_s
        short[0.9] += value <= times.p90_s
    for q, count in short.items():
        assert count >= q * len(values)


@given(st.lists(seconds, max_size=60))
def test_quantiles_are_values_that_were_seen_or_assumed_in_whatever_order(values: list[float]) -> None:
    times = startup_times(seen(values), ASSUMED)
    assert startup_times(seen(sorted(values)), ASSUMED) == times
    assert times.p50_s <= times.p90_s
    assert {times.p50_s, times.p90_s} <= {*values, *([ASSUMED] if len(values) < LEARNED_AFTER else [])}
    assert (times.seen, times.assumed) == (len(values), max(0, LEARNED_AFTER - len(values)))


@given(st.lists(seconds, max_size=LEARNED_AFTER - 1))
def test_until_ten_were_seen_nine_in_ten_are_not_said_to_be_faster_than_assumed(values: list[float]) -> None:
    assert startup_times(seen(values), ASSUMED).p90_s == max([*values, ASSUMED])


@given(st.lists(seconds, min_size=1, max_size=40), st.data())
def test_a_slower_start_up_never_makes_the_times_shorter(values: list[float], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(values) - 1))
    slower = [*values[:index], values[index] + data.draw(seconds), *values[index + 1 :]]
    before, after = startup_times(seen(values), ASSUMED), startup_times(seen(slower), ASSUMED)
    assert before.p50_s <= after.p50_s
    assert before.p90_s <= after.p90_s


def test_an_observed_start_up_counts_with_its_upper_bound() -> None:
    wide = replace(seen([40.0])[0], least_s=10.0)
    assert startup_times([wide] * LEARNED_AFTER, ASSUMED).p50_s == 40.0


def test_every_knob_of_every_workload_is_learned_by_itself() -> None:
    fast = [replace(startup, workload="fast") for startup in seen([2.0] * 10, REPLICA)]
    slow = [replace(startup, workload="slow") for startup in seen([90.0] * 10, REPLICA)]
    times = by_knob([*seen([2.0] * 10), *fast, *slow, *seen([90.0] * 3, REPLICA)])
    assert times["", "load"] == startup_times(seen([2.0] * 10), ASSUMED_S[Step.LOAD])
    assert times["", REPLICA].p90_s == ASSUMED_S[REPLICA]
    assert (times["fast", REPLICA].p90_s, times["slow", REPLICA].p90_s) == (2.0, 90.0)
    assert times.keys() == {("", "load"), ("", REPLICA), ("fast", REPLICA), ("slow", REPLICA)}
