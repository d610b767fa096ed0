"""Arrivals against every place there is, what scaled capacities always hold, and when new layouts pay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Act, Board, Gpu, MigModel, MigQuestion, Place, Slice, plan
from controlplane.decide.mig.arrivals import arrivals
from controlplane.decide.mig.arrive import arrive, lost
from controlplane.decide.mig.copies import FIXED_SHARE, Basis, copies, scaled
from controlplane.decide.mig.layouts import Layout, fits, layouts, legal
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


Left = tuple[int, int]
"""Copies that found no room, and larger slices that were lost, over all copies."""


def cost(board: Board, before: Layout, after: Layout, profile: str) -> int:
    return len(larger(board, before, profile) - larger(board, after, profile))


def came(board: Board, gpus: int, profiles: Sequence[str]) -> Left:
    """What `arrivals` makes of copies that come one after the other, each with a profile of its own."""
    models = tuple(MigModel(f"m{i}", 1.0, {profile: 1.0}) for i, profile in enumerate(profiles))
    question = MigQuestion(tuple(Gpu(f"g{i}", board) for i in range(gpus)), models)
    places = {step.model: step.place for step in arrivals(question).steps if step.act is Act.START}
    now: dict[str, Layout] = {gpu.uuid: () for gpu in question.gpus}
    total = 0
    for model, profile in zip(models, profiles, strict=True):
        if (place := places.get(model.name)) is not None:
            after = tuple(sorted((*now[place.uuid], place.piece)))
            total += cost(board, now[place.uuid], after, profile)
            now[place.uuid] = after
    return len(profiles) - len(places), total


def best(board: Board, gpus: int, profiles: Sequence[str]) -> Left:
    """The least of all ways to place them, whoever knows what is to come."""

    @cache
    def after(now: tuple[Layout, ...], at: int) -> Left:
        if at == len(profiles):
            return 0, 0
        found = []
        for g, layout in enumerate(now):
            for piece in board.placements([profiles[at]]):
                if fits(board, layout, piece):
                    then = tuple(sorted((*layout, piece)))
                    out, total = after(tuple(sorted((*now[:g], then, *now[g + 1 :]))), at + 1)
                    found.append((out, total + cost(board, layout, then, profiles[at])))
        out, total = after(now, at + 1)
        return min(found, default=(out + 1, total))

    return after(((),) * gpus, 0)


@pytest.mark.parametrize(("gpus", "copies"), [(1, 4), (2, 3)])
def test_on_a30s_no_way_to_place_copies_that_come_in_any_order_loses_fewer_larger_slices(
    gpus: int, copies: int
) -> None:
    for profiles in product(NAMES[A30], repeat=copies):
        assert came(A30, gpus, profiles) == best(A30, gpus, profiles), profiles


def test_on_seven_slices_who_does_not_know_what_comes_leaves_out_a_copy_in_two_orders_only() -> None:
    every = {
        profiles: (came(H100, 1, profiles), best(H100, 1, profiles)) for profiles in product(NAMES[H100], repeat=3)
    }
    left_out = {profiles: one[0] - other[0] for profiles, (one, other) in every.items() if one[0] > other[0]}
    assert left_out == {("2g.20gb", "2g.20gb", "3g.40gb"): 1, ("2g.20gb", "3g.40gb", "2g.20gb"): 1}
    same = [one == other for one, other in every.values()]
    assert sum(same) >= 184, f"{sum(same)} of {len(same)} are the best"


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
