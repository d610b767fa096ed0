"""Arrivals against every place there is, what scaled capacities always hold, and when new layouts pay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Act, Board, Gpu, MigModel, MigQuestion, Place, Slice, plan
from controlplane.decide.mig.arrive import arrive, lost
from controlplane.decide.mig.copies import FIXED_SHARE, Basis, copies, scaled
from controlplane.decide.mig.layouts import Layout, layouts, legal
from controlplane.decide.mig.worth import BY_LABEL, BY_NVML, SHORT_WEIGHT, change_s, worth

A30, H100, RTX = boards()["a30-24gb"], boards()["h100-80gb"], boards()["rtx-pro-6000-96gb"]
NAMES = {
    A30: ("1g.6gb", "2g.12gb", "4g.24gb"),
    H100: ("1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    RTX: ("1g.24gb", "2g.48gb", "4g.96gb"),
}


@st.composite
def cut(draw: st.DrawFn) -> tuple[Board, Layout, str]:
    board = draw(st.sampled_from(list(NAMES)))
    layout = draw(st.sampled_from([(), *layouts(board, NAMES[board])]))
    return board, layout, draw(st.sampled_from(NAMES[board]))


def larger(board: Board, layout: Layout, than: str) -> set[Slice]:
    """Every larger slice that could still be cut beside the layout, by the rule for whole layouts."""
    rank = board.rank(than)
    return {p for p in board.placements() if board.rank(p.profile) > rank and legal(board, (*layout, p))}


@settings(max_examples=60, deadline=None)
@given(cut())
def test_an_arrival_is_where_the_fewest_larger_slices_are_lost_of_all_places(one: tuple[Board, Layout, str]) -> None:
    board, layout, profile = one
    model = MigModel("m", 1.0, {profile: 1.0})
    free = [p for p in board.placements([profile]) if p not in layout and legal(board, tuple(sorted((*layout, p))))]
    busy = dict.fromkeys(layout, ("other",))
    place = arrive([Gpu("g", board, layout, models=busy)], model, 1.0)
    if not free:
        assert place is None
        return
    before = larger(board, layout, profile)
    costs = {p: len(before - larger(board, tuple(sorted((*layout, p))), profile)) for p in free}
    assert place is not None
    assert costs[place.piece] == min(costs.values())
    assert {p: lost(board, layout, p) for p in free} == costs


def test_small_slices_leave_the_half_of_the_largest_free_and_take_what_is_there() -> None:
    model = MigModel("m", 1.0, {"1g.10gb": 1.0, "3g.40gb": 6.0})
    assert arrive([Gpu("g", H100)], model, 1.0) == Place("g", Slice("1g.10gb", 6))
    idle = Gpu("g", H100, (Slice("1g.10gb", 2),))
    assert arrive([Gpu("a", H100), idle], model, 1.0) == Place("g", Slice("1g.10gb", 2))
    assert arrive([idle], model, 3.0) == Place("g", Slice("1g.10gb", 2)), "three of these are less than the large one"
    assert arrive([idle], model, 6.0) == Place("g", Slice("3g.40gb", 4)), "and six are more"
    assert arrive([Gpu("g", H100, (Slice("7g.80gb", 0),))], model, 1.0) is None


@given(st.sampled_from(NAMES[H100]), st.sampled_from(NAMES[H100]), st.floats(0.1, 0.7), st.floats(0, FIXED_SHARE))
def test_a_scaled_range_holds_whatever_of_the_time_is_compute_memory_or_fixed(
    of: str, to: str, compute: float, fixed: float
) -> None:
    one, other = H100.named(of), H100.named(to)
    assert one.sm
    assert other.sm
    memory = 1 - compute - fixed
    took = fixed + compute * one.sm / other.sm + max(memory, 0.0) * one.size / other.size
    per_s = 1 / (fixed + compute + max(memory, 0.0))
    low, high = scaled(one, other, per_s)
    assert low * (1 - 1e-9) <= 1 / took <= high * (1 + 1e-9)


def test_what_is_learned_comes_before_what_is_given_and_the_rest_is_scaled_from_it() -> None:
    found = copies(H100, 15.0, {"2g.20gb": 10.0}, {"3g.40gb": 99.0})
    assert "1g.10gb" not in found, "too little memory"
    assert (found["2g.20gb"].low_per_s, found["2g.20gb"].basis) == (10.0, Basis.LEARNED)
    assert found["3g.40gb"].basis is Basis.SCALED
    assert found["3g.40gb"].low_per_s == pytest.approx(10 / (0.3 + 0.7 / (60 / 32)))
    assert found["3g.40gb"].high_per_s == pytest.approx(20.0)
    assert copies(H100, 15.0, {}, {"3g.40gb": 99.0})["3g.40gb"].basis is Basis.GIVEN
    assert copies(A30, 1.0, {}, {"3g.40gb": 99.0}) == {}, "another board tells nothing"
    assert "whole" not in copies(H100, 15.0, {"2g.20gb": 10.0}, {"whole": 0.0}), "0 bars a profile"


def test_ranges_from_two_profiles_are_met_and_contradictions_are_kept_as_uncertainty() -> None:
    met = copies(H100, 1.0, {"1g.10gb": 5.0, "7g.80gb": 30.0}, {})["3g.40gb"]
    alone = copies(H100, 1.0, {"1g.10gb": 5.0}, {})["3g.40gb"]
    assert alone.low_per_s <= met.low_per_s <= met.high_per_s <= alone.high_per_s
    odd = copies(H100, 1.0, {"1g.10gb": 50.0, "7g.80gb": 30.0}, {})["3g.40gb"]
    assert 0 < odd.low_per_s < odd.high_per_s


SMALL = MigModel("small", 20.0, {"1g.10gb": 5.0})
RUNNING = {Slice("1g.10gb", 0): ("small",)}
SHORT = MigQuestion((Gpu("g", H100, (Slice("1g.10gb", 0),), models=RUNNING),), (SMALL,))


def test_what_is_short_pays_at_once_and_what_is_as_it_should_be_never() -> None:
    planned = plan(SHORT)
    judged = worth(SHORT, planned, 3600.0)
    assert (judged.short_now_per_s, judged.short_then_per_s) == ({"small": 15.0}, {"small": 0.0})
    assert judged.pays
    assert judged.gain_per_s == pytest.approx(SHORT_WEIGHT * (1 / 8) / 5 * 15)
    # three slices of an eighth, each busy for start and cut
    assert judged.disturbance == pytest.approx(3 / 8 * 90.35)
    assert change_s(planned) == pytest.approx(3 * 0.35)
    done = MigQuestion(
        (
            Gpu(
                "g",
                H100,
                planned.layouts["g"],
                models={a.place.piece: ("small",) for a in planned.assignments},
            ),
        ),
        (SMALL,),
    )
    again = plan(done)
    assert again.steps == ()
    assert not worth(done, again, 1e9).pays


def test_the_label_path_disturbs_whoever_stays_on_the_gpu() -> None:
    planned = plan(SHORT)
    assert all(step.act in {Act.CREATE, Act.START} for step in planned.steps)
    by_nvml, by_label = worth(SHORT, planned, 3600.0), worth(SHORT, planned, 3600.0, BY_LABEL)
    away_s = BY_LABEL.drain_s + BY_LABEL.gpu_s + BY_LABEL.start_s
    started = 3 / 8 * BY_LABEL.start_s
    assert by_label.disturbance == pytest.approx(started + SHORT_WEIGHT * (1 / 8) / 5 * 5.0 * away_s)
    assert by_label.disturbance > by_nvml.disturbance
    assert change_s(planned, BY_LABEL) == BY_LABEL.gpu_s


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(), *layouts(A30, NAMES[A30])]),
    st.integers(0, 12),
    st.floats(1.0, 1e5),
    st.floats(1.0, 10.0),
    st.floats(0.2, 5.0),
)
def test_a_longer_dwell_pays_no_less_and_slower_starts_no_more_whatever_the_currency(
    layout: Layout, demand: int, dwell_s: float, times: float, price: float
) -> None:
    models = dict.fromkeys(layout, ("m",))
    model = MigModel("m", float(demand), {"1g.6gb": 2.0, "2g.12gb": 3.5})
    asked = MigQuestion((Gpu("a", A30, layout, 1.0, models), Gpu("b", A30)), (model,))
    planned = plan(asked)
    judged = worth(asked, planned, dwell_s)
    assert judged.pays <= worth(asked, planned, dwell_s * times).pays
    slower = replace(BY_NVML, start_s=BY_NVML.start_s * times)
    assert worth(asked, planned, dwell_s, slower).pays <= judged.pays
    priced = replace(asked, gpus=tuple(replace(gpu, price=price) for gpu in asked.gpus))
    assert worth(priced, plan(priced), dwell_s).gain_per_s == pytest.approx(price * judged.gain_per_s)
    if not planned.steps:
        assert not judged.pays
