"""Whatever the demand and whenever a process begins anew, the highest of the last dwell is held."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.loop.mig_demand import HeldDemand

DWELL_S = 600.0
TICKS = st.lists(st.tuples(st.integers(1, 200), st.integers(0, 5), st.booleans()), min_size=1, max_size=40)
"""Seconds to the next, requests per second then, and whether a process begins anew after it."""


@given(TICKS)
def test_the_highest_of_the_last_dwell_is_held_over_restarts_and_hardly_longer(
    ticks: list[tuple[int, int, bool]],
) -> None:
    held, now, seen = HeldDemand(DWELL_S), 1e9, []
    for past_s, per_s, anew in ticks:
        now += past_s
        seen.append((now, float(per_s)))
        held.note("m", float(per_s), now)
        highest = held.highest()["m"]
        assert highest >= max(value for at, value in seen if at >= now - DWELL_S)
        assert highest <= max(value for at, value in seen if at >= now - DWELL_S * (1 + 1 / 60))
        assert held.of("m") == (now, highest)
        if anew:
            kept, held = held.kept, HeldDemand(DWELL_S)
            assert len(kept["m"]) <= 62
            held.take_over(kept, ["m"], now)
            assert held.of("m") == (now, highest)


def test_models_that_are_not_named_any_more_are_forgotten_and_moments_to_come_are_now() -> None:
    held = HeldDemand(DWELL_S)
    held.take_over(
        {"m": ((900.0, 9.0), (1100.0, 5.0)), "n": ((900.0, 1.0),), "old": ((300.0, 7.0),)}, ["m", "old"], 1000.0
    )
    assert held.kept == {"m": ((900.0, 9.0), (1000.0, 5.0))}
