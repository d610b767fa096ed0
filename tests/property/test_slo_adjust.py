"""Whatever people correct: nothing is taken away twice, and what was withdrawn changes nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.domain.objectives import Counts
from controlplane.slo.adjust import adjusted, corrected, excluded_s, in_force

SPAN = 100
events = st.lists(st.tuples(st.integers(0, SPAN - 1), st.booleans(), st.booleans()), max_size=60)
spans = st.tuples(st.integers(-20, SPAN + 20), st.integers(1, 40)).map(lambda p: (float(p[0]), float(p[0] + p[1])))


def counts_of(told: list[tuple[int, bool, bool]], since: float, until: float) -> Counts:
    inside = [(good, capacity) for at, good, capacity in told if since <= at < until]
    bad = [capacity for good, capacity in inside if not good]
    length = max(0.0, min(until, SPAN) - max(since, 0.0))
    return Counts(len(inside) - len(bad), len(bad), 0, length, length, sum(bad))


def nothing(_since: float, _until: float) -> Counts:
    return Counts()


def exclude(number: int, span: tuple[float, float]) -> Adjustment:
    return Adjustment(f"a{number}", number, "ann", "release", AdjustmentKind.EXCLUDE, "m", "", *span)


@given(events, st.lists(spans, max_size=5))
def test_excluding_times_leaves_what_was_outside_of_all_of_them(
    told: list[tuple[int, bool, bool]], excluded: list[tuple[float, float]]
) -> None:
    made = [exclude(n, span) for n, span in enumerate(excluded)]
    found = adjusted(lambda a, b: counts_of(told, a, b), 0, SPAN, in_force(made, "m", "o"))
    left = [event for event in told if not any(start <= event[0] < end for start, end in excluded)]
    expected = counts_of(left, 0, SPAN)
    assert (found.good, found.bad, found.bad_capacity) == (expected.good, expected.bad, expected.bad_capacity)
    gone = sum(any(start <= second < end for start, end in excluded) for second in range(SPAN))
    assert found.expected_s == SPAN - gone == SPAN - excluded_s(made, 0, SPAN)


@given(events, st.integers(-100, 100))
def test_corrected_events_never_make_less_than_none_bad(told: list[tuple[int, bool, bool]], bad: int) -> None:
    made = [Adjustment("a", 0, "ann", "our load test", AdjustmentKind.EVENTS, "m", "o", 10, 20, bad)]
    before = counts_of(told, 0, SPAN)
    found = adjusted(lambda a, b: counts_of(told, a, b), 0, SPAN, in_force(made, "m", "o"))
    assert found.bad == max(0, before.bad + bad)
    assert found.good == before.good
    assert 0 <= found.bad_capacity <= found.bad


@given(events, st.lists(spans, min_size=1, max_size=4), st.data())
def test_a_withdrawn_correction_is_as_if_it_had_not_been_made(
    told: list[tuple[int, bool, bool]], excluded: list[tuple[float, float]], data: st.DataObject
) -> None:
    made = [exclude(n, span) for n, span in enumerate(excluded)]
    gone = data.draw(st.sampled_from(made))
    withdrawal = Adjustment("w", 99, "bob", "wrong day", AdjustmentKind.WITHDRAW, withdraws=gone.id)
    assert in_force([*made, withdrawal], "m", "o") == tuple(a for a in made if a is not gone)


def test_a_correction_holds_for_the_model_and_objective_it_names_and_one_of_none_for_all() -> None:
    def one(id_: str, model: str, objective: str) -> Adjustment:
        return Adjustment(id_, 0, "ann", "r", AdjustmentKind.EXCLUDE, model, objective, 0, 10)

    made = [one("a", "", ""), one("b", "m", ""), one("c", "m", "o"), one("d", "m", "p"), one("e", "n", "o")]
    assert [a.id for a in in_force(made, "m", "o")] == ["a", "b", "c"]


def test_corrected_events_leave_a_rolling_window_with_the_end_of_their_time() -> None:
    made = [Adjustment("a", 0, "ann", "r", AdjustmentKind.EVENTS, "m", "o", 10, 20, 5)]
    assert [adjusted(nothing, since, since + 30, made).bad for since in (0, 19, 20)] == [5, 5, 0]
    assert adjusted(nothing, 0, 19, made).bad == 0


def test_what_was_corrected_within_excluded_time_is_not_taken_away_twice() -> None:
    told = [(at, at >= 30, False) for at in range(50)]  # thirty bad, twenty of them excluded
    made = [
        Adjustment("a", 0, "ann", "ours", AdjustmentKind.EVENTS, "m", "o", 12, 18, -6),
        Adjustment("b", 0, "ann", "ours", AdjustmentKind.EVENTS, "m", "o", 2, 10, -3),
        exclude(1, (10.0, 30.0)),
    ]
    found = adjusted(lambda a, b: counts_of(told, a, b), 0, SPAN, made)
    assert (found.good, found.bad) == (20, 7)
    assert corrected(made, 0, SPAN) == -3
