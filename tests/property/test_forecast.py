"""What holds of a forecast whatever the history."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.forecast import Event, Forecast, Reading, State, begin, dumped, forecast, loaded, observe
from controlplane.decide.forecast.path import BASES, Path, Usual, begun

STEP_S = 300.0
HORIZON_S = 600.0

rates = st.one_of(st.just(0.0), st.floats(0.01, 1e4))
# What a day's shape is made of: levels held for some steps, then noise on top, then what is missing of it.
levels = st.lists(st.tuples(rates, st.integers(1, 40)), min_size=1, max_size=8)
readings = st.lists(st.tuples(st.floats(0.0, 2.0), st.sampled_from("kkkkkkbcm")), min_size=1, max_size=60)
quantiles = st.floats(0.5, 0.995)


@st.composite
def histories(draw: st.DrawFn) -> list[Reading]:
    """Readings of some hours to a day: known, bounded, bounded below only, and steps without any."""
    shape = [level for level, length in draw(levels) for _ in range(length)]
    noise = draw(readings)
    history = []
    for index, level in enumerate(shape):
        factor, kind = noise[index % len(noise)]
        end_s, per_s = (index + 1) * STEP_S, level * factor
        if kind != "m":
            high = {"k": per_s, "b": 2 * per_s + 1, "c": float("inf")}[kind]
            history.append(Reading(end_s, per_s, high))
    return history


def learned(history: Sequence[Reading]) -> State:
    state = begin(STEP_S, [HORIZON_S])
    for reading in history:
        state = observe(state, reading)
    return state


def ahead(state: State, quantile: float, later_s: float = 0.0, events: Sequence[Event] = ()) -> Forecast | None:
    return forecast(state, HORIZON_S, quantile, (state.seen_s or 0.0) + later_s, events)


@settings(max_examples=25, deadline=None)
@given(histories(), quantiles, st.data())
def test_it_never_holds_below_what_is_observed_nor_lower_for_a_higher_quantile(
    history: list[Reading], quantile: float, data: st.DataObject
) -> None:
    state = learned(history)
    now, higher = ahead(state, quantile), ahead(state, data.draw(st.floats(quantile, 0.995)))
    if now is None or higher is None:
        assert state == begin(STEP_S, [HORIZON_S])
        return
    assert now.per_s >= now.observed_per_s >= 0
    assert higher.per_s >= now.per_s
    if now.quantile_per_s is not None:
        assert now.per_s >= now.quantile_per_s


@settings(max_examples=25, deadline=None)
@given(histories(), quantiles, st.lists(st.floats(0, 3e5), min_size=2, max_size=5))
def test_missing_data_never_lowers_it(history: list[Reading], quantile: float, later: list[float]) -> None:
    state = learned(history)
    last = history[-1].end_s if history else 0.0
    assert observe(state, Reading(last + STEP_S, 0.0, float("inf"))) is state
    found = [ahead(state, quantile, later_s) for later_s in (0.0, *sorted(later))]
    values = [one.per_s for one in found if one is not None]
    assert values == sorted(values)


@settings(max_examples=25, deadline=None)
@given(histories(), quantiles, st.integers(-8, 8))
def test_it_grows_with_the_unit_that_demand_is_counted_in(history: list[Reading], quantile: float, power: int) -> None:
    """Powers of two, for which floating point is exact; so the very same decisions are made on the way."""
    factor = 2.0**power
    wide = [one for one in history if one.low_per_s == one.high_per_s or one.high_per_s == float("inf")]
    times = [Reading(one.end_s, one.low_per_s * factor, one.high_per_s * factor) for one in wide]
    one, other = ahead(learned(wide), quantile), ahead(learned(times), quantile)
    if one is None or other is None:
        assert one is other
        return
    assert other.per_s == pytest.approx(one.per_s * factor, rel=1e-9)
    assert (other.gate, other.basis, other.capped) == (one.gate, one.basis, one.capped)


@settings(max_examples=25, deadline=None)
@given(histories(), st.data())
def test_a_history_cut_in_two_and_kept_as_json_in_between_gives_the_same_state(
    history: list[Reading], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(history)))
    half = loaded(json.loads(json.dumps(dumped(learned(history[:cut])))))
    assert half == learned(history[:cut])
    for reading in history[cut:]:
        half = observe(half, reading)
    assert half == learned(history)


@settings(max_examples=25, deadline=None)
@given(histories(), quantiles, rates)
def test_more_demand_than_was_foretold_never_gives_a_lower_forecast(
    history: list[Reading], quantile: float, more_per_s: float
) -> None:
    """Whatever the newest reading would otherwise be: one above the forecast that it leads to leads to a higher one."""
    state = learned(history)
    end_s = (state.seen_s or 0.0) + STEP_S
    for per_s in (0.0, more_per_s / 2, more_per_s):
        one = ahead(observe(state, Reading(end_s, per_s, per_s)), quantile)
        assert one is not None
        most = one.per_s + more_per_s
        other = ahead(observe(state, Reading(end_s, most, most)), quantile)
        assert other is not None
        assert other.per_s >= one.per_s


paths = st.builds(Path, st.integers(1, 500), *[rates] * 4, st.floats(-1e3, 1e3), rates, *[st.floats(-1e3, 1e3)] * 2)


@given(paths, rates, rates, st.floats(60, 3600), st.floats(60, 3600), rates)
def test_every_basis_foretells_more_after_a_higher_newest_reading(
    path: Path, one: float, other: float, passed_s: float, ahead_s: float, usual: float
) -> None:
    low, high = (
        path.moved(x, passed_s, 60, usual).ahead(ahead_s, 60, Usual(usual, usual)) for x in sorted((one, other))
    )
    assert len(low) == len(BASES)
    for least, most in zip(low, high, strict=True):
        assert least is not None
        assert most is not None
        assert most >= least - 1e-9 * (1 + most)


def test_a_first_reading_is_what_every_plain_basis_goes_by() -> None:
    assert set(begun(7.0).ahead(600, 60, Usual(None, None))) == {7.0, None}


@settings(max_examples=25, deadline=None)
@given(
    histories(),
    quantiles,
    st.lists(
        st.builds(Event, st.just("sale"), st.floats(0, 2e5), st.floats(0, 4e5), st.floats(-2, 9), rates), max_size=3
    ),
)
def test_events_raise_only(history: list[Reading], quantile: float, events: list[Event]) -> None:
    state = learned(history)
    without, given_them = ahead(state, quantile), ahead(state, quantile, 0.0, events)
    if without is not None and given_them is not None:
        assert given_them.per_s >= without.per_s
        assert given_them.quantile_per_s == without.quantile_per_s
