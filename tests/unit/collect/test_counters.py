from __future__ import annotations

import pytest

from controlplane.collect.counters import FAILED, Executed, Executions, Ledger, Reading, Totals
from controlplane.collect.own_requests import OwnRequests
from controlplane.collect.vllm.given_up import GivenUp
from controlplane.domain.observation import BatchCount, Interval

BACKEND, REJECTED = ("1", "BACKEND"), ("1", "REJECTED")


def reading(
    at: float,
    success: float | None,
    *,
    request_s: float | None = None,
    failures: dict[tuple[str, str], float] | None = None,
    pending: int = 0,
    executions: Executions | None = None,
    instances: int = 1,
) -> Reading:
    groups = {} if success is None else {"1": Totals(success, success if request_s is None else request_s, 0.0)}
    return Reading(at, groups, failures or {}, pending, instances, instances, executions)


def seen(ledger: Ledger, value: Reading) -> Interval:
    interval = ledger.seen(value)
    assert interval is not None
    return interval


def test_the_first_reading_says_nothing_about_the_past() -> None:
    assert Ledger().seen(reading(5, 1000)) is None


def test_an_interval_is_the_difference_of_two_readings() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 10, request_s=1.5, failures={BACKEND: 1, REJECTED: 4}, pending=3, instances=2))
    interval = seen(ledger, reading(10, 17, request_s=2.75, failures={BACKEND: 2, REJECTED: 6}, pending=1, instances=4))
    assert (interval.start, interval.end) == (5, 10)
    assert (interval.completed, interval.failed, interval.failed_backend, interval.rejected) == (10, 1, 1, 2)
    assert interval.request_s == 1.25
    assert (interval.pending_start, interval.pending_end) == (3, 1)
    assert (interval.instances, interval.running_max) == (4, 4)


def test_a_counter_that_went_down_is_a_reset_and_counts_from_zero() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 100, pending=9))
    interval = seen(ledger, reading(10, 7))
    assert (interval.completed, interval.request_s, interval.pending_start) == (7, 7.0, 0)


def test_one_counter_that_went_down_tells_that_its_whole_group_was_reset() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 10, request_s=9.0))
    interval = seen(ledger, reading(10, 12, request_s=0.5))
    assert (interval.completed, interval.request_s) == (12, 0.5)


def test_how_long_failing_took_is_a_mean_over_the_interval_and_no_batch() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 10, executions={("1", 4): Executed(3, 0)}))
    once = seen(
        ledger, reading(10, 11, executions={("1", 4): Executed(4, 0), ("1", FAILED): Executed(2, 2_100_000_000)})
    )
    assert (once.failure_s, [batch.size for batch in once.batches]) == (1.05, [4])
    again = seen(
        ledger, reading(15, 11, executions={("1", 4): Executed(4, 0), ("1", FAILED): Executed(2, 2_100_000_000)})
    )
    assert again.failure_s is None


def test_a_page_that_stands_still_while_executions_go_on_is_an_old_one() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 10, executions={("1", 4): Executed(3, 0)}))
    assert ledger.stands_still(reading(10, 10, executions={("1", 4): Executed(4, 0)}))
    assert ledger.stands_still(reading(10, 10, executions={("1", 4): Executed(3, 0), ("1", 1): Executed(1, 0)}))
    for idle_or_moving in (
        reading(10, 10, executions={("1", 4): Executed(3, 0)}),
        reading(10, 11, executions={("1", 4): Executed(4, 0)}),
        reading(10, 10, failures={BACKEND: 1}, executions={("1", 4): Executed(4, 0)}),
        reading(10, 10, executions={("1", 4): Executed(1, 0)}),
        reading(10, 10),
    ):
        assert not ledger.stands_still(idle_or_moving)


def test_a_model_loaded_since_the_last_page_counts_from_zero() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, None))
    interval = seen(ledger, reading(10, 12))
    assert (interval.start, interval.completed) == (5, 12)


def test_failures_outlive_an_unload_and_are_not_counted_again_after_the_next_load() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 20, failures={BACKEND: 5}))
    assert ledger.seen(reading(10, None, failures={BACKEND: 5})) is None
    interval = seen(ledger, reading(15, 3, failures={BACKEND: 6}))
    assert (interval.start, interval.completed, interval.failed) == (10, 4, 1)


def test_an_unload_leaves_its_last_seconds_uncovered() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 20))
    assert ledger.seen(reading(10, None)) is None
    assert ledger.seen(reading(15, None)) is None


def test_one_interval_covers_a_gap_without_a_reset() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 20))
    ledger.missed(10)
    ledger.missed(15)
    interval = seen(ledger, reading(20, 80))
    assert (interval.start, interval.end, interval.completed) == (5, 20, 60)


def test_after_a_gap_with_a_reset_only_the_part_since_the_last_miss_is_covered() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 1000))
    ledger.missed(300)
    interval = seen(ledger, reading(305, 40))
    assert (interval.start, interval.end, interval.completed) == (300, 305, 40)


def test_a_miss_before_the_newest_reading_is_forgotten() -> None:
    ledger = Ledger()
    ledger.missed(1)
    ledger.seen(reading(5, 100))
    ledger.missed(10)
    ledger.seen(reading(15, 110))
    interval = seen(ledger, reading(20, 3))
    assert interval.start == 15


def test_a_version_that_is_gone_while_others_stay_leaves_the_interval_uncovered() -> None:
    ledger = Ledger()
    ledger.seen(Reading(5, {"1": Totals(5, 0, 0), "2": Totals(1, 0, 0)}, {}))
    assert ledger.seen(Reading(10, {"2": Totals(4, 0, 0)}, {})) is None
    assert seen(ledger, Reading(15, {"2": Totals(6, 0, 0)}, {})).completed == 2


def test_a_model_that_was_off_a_page_is_counted_on_from_where_it_left() -> None:
    ledger = Ledger(may_return=True)
    ledger.seen(reading(5, 1_000_000))
    assert ledger.seen(reading(10, None)) is None
    assert ledger.seen(reading(15, None)) is None
    interval = seen(ledger, reading(20, 1_000_007))
    assert (interval.start, interval.completed, interval.began_anew) == (5, 7, False)


def test_a_model_that_returns_lower_began_anew_after_the_page_without_it() -> None:
    ledger = Ledger(may_return=True)
    ledger.seen(reading(5, 1_000_000))
    ledger.seen(reading(10, None))
    interval = seen(ledger, reading(15, 7))
    assert (interval.start, interval.completed, interval.began_anew) == (10, 7, True)


def test_a_model_off_the_page_of_a_process_that_was_away_is_one_of_a_new_process() -> None:
    ledger = Ledger(may_return=True)
    ledger.seen(reading(5, 3))
    ledger.missed(10, refused=True)
    ledger.seen(reading(15, None))
    interval = seen(ledger, reading(20, 7))
    assert (interval.start, interval.completed) == (15, 7)


@pytest.mark.parametrize(("returns_with", "completed"), [(1_000_003, 5), (4, 6)])
def test_a_group_that_returns_while_others_go_on_is_counted_from_where_it_left_unless_it_fell(
    returns_with: float, completed: int
) -> None:
    ledger = Ledger(may_return=True)
    ledger.seen(Reading(5, {"1": Totals(1_000_000, 0, 0), "2": Totals(1, 0, 0)}, {}))
    assert ledger.seen(Reading(10, {"2": Totals(4, 0, 0)}, {})) is None
    assert seen(ledger, Reading(15, {"2": Totals(6, 0, 0)}, {})).completed == 2
    interval = seen(ledger, Reading(20, {"1": Totals(returns_with, 0, 0), "2": Totals(8, 0, 0)}, {}))
    assert interval.completed == completed


def test_a_new_version_counts_from_zero() -> None:
    ledger = Ledger()
    ledger.seen(Reading(5, {"1": Totals(5, 0, 0)}, {}))
    assert seen(ledger, Reading(10, {"1": Totals(6, 0, 0), "2": Totals(4, 0, 0)}, {})).completed == 5


def test_batches_are_differences_by_size_over_all_versions() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 1, executions={("1", 1): Executed(1, 10), ("1", 4): Executed(2, 80)}))
    interval = seen(
        ledger,
        reading(
            10,
            9,
            executions={
                ("1", 1): Executed(1, 10),
                ("1", 4): Executed(5, 2_000_000_080),
                ("2", 4): Executed(1, 500_000_000),
            },
        ),
    )
    assert interval.batches == (BatchCount(4, 4, 2.5),)


def test_batches_are_left_out_when_the_statistics_were_not_read_at_either_end() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 1, executions={("1", 1): Executed(1, 1)}))
    assert seen(ledger, reading(10, 2)).batches == ()
    assert seen(ledger, reading(15, 3, executions={("1", 1): Executed(3, 3)})).batches == ()


def test_batches_are_left_out_when_a_hot_reload_set_the_statistics_back_and_the_counters_went_on() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 100, executions={("1", 1): Executed(100, 100)}))
    interval = seen(ledger, reading(10, 110, executions={("1", 1): Executed(3, 3)}))
    assert (interval.completed, interval.batches) == (10, ())


def test_batches_count_from_zero_where_the_counters_do() -> None:
    ledger = Ledger()
    ledger.seen(reading(5, 100, executions={("1", 1): Executed(100, 100)}))
    interval = seen(ledger, reading(10, 3, executions={("1", 1): Executed(3, 3_000_000_000)}))
    assert interval.batches == (BatchCount(1, 3, 3.0),)


@pytest.mark.parametrize("refused", [False, True])
def test_a_reading_told_late_ends_before_what_was_missed_after_it(refused: bool) -> None:
    ledger = Ledger()
    ledger.seen(reading(80, 100))
    ledger.missed(100, refused=refused)
    assert (late := seen(ledger, reading(95, 5))).completed == 5
    assert (late.start, late.end) == (80, 95)
    anew = seen(ledger, reading(110, 3))
    assert (anew.start, anew.end, anew.completed) == (100, 110, 3)


def interval(start: float, end: float, completed: int) -> Interval:
    return Interval(start, end, completed, 0, 0, 0, 0, 0.0, 0.0, 0, 0, 1, 1)


def test_probes_are_told_from_the_requests_of_others() -> None:
    own = OwnRequests()
    own.end(own.begin(2), 3, counted=True)
    assert own.settle(interval(0, 5, 4)).probes == 1
    assert own.settle(interval(5, 10, 4)).probes == 0


@pytest.mark.parametrize("first", [0, 1])
def test_a_probe_under_way_while_counters_are_read_is_found_in_this_interval_or_the_next(first: int) -> None:
    own = OwnRequests()
    probe = own.begin(4)
    before = own.settle(interval(0, 5, first))
    own.end(probe, 5.01, counted=True)
    after = own.settle(interval(5, 10, 1 - first))
    assert (before.probes, after.probes) == (first, 1 - first)


def test_a_probe_that_was_counted_nowhere_does_not_hide_a_request_of_another() -> None:
    own = OwnRequests()
    own.end(own.begin(2), 3, counted=False)
    assert own.settle(interval(0, 5, 1)).probes == 0


def test_whoever_got_a_first_token_and_neither_ended_nor_executes_was_given_up() -> None:
    given_up = GivenUp()
    assert given_up.seen(first_tokens=10, ended=6, running=4) == 0
    assert given_up.seen(first_tokens=12, ended=6, running=4) == 2
    assert given_up.seen(first_tokens=12, ended=6, running=9) == 2, "new ones that have no token yet take none back"
    assert given_up.seen(first_tokens=3, ended=1, running=1) == 1, "another process"


def test_a_probe_hides_at_most_one_request_and_only_for_two_intervals() -> None:
    own = OwnRequests()
    own.end(own.begin(2), 3, counted=True)
    for end in (5, 10):
        assert own.settle(interval(end - 5, end, 0)).probes == 0
    assert own.settle(interval(10, 15, 1)).probes == 0


def test_a_probe_that_found_the_queue_full_tells_so_of_the_interval_it_was_in_and_of_no_other() -> None:
    own = OwnRequests()
    own.end(own.begin(2), 3, counted=False, turned_away=True)
    assert own.settle(interval(0, 5, 2)).turned_away
    assert not own.settle(interval(5, 10, 2)).turned_away


def test_a_probe_that_began_after_the_end_of_an_interval_that_is_told_late_is_not_in_it() -> None:
    own = OwnRequests()
    own.end(own.begin(7), 8, counted=True)
    own.end(own.begin(8), 9, counted=False, turned_away=True)
    early = own.settle(interval(0, 5, 4))
    assert (early.probes, early.probes_start, early.probes_end, early.turned_away) == (0, 0, 0, False)
    late = own.settle(interval(5, 10, 4))
    assert (late.probes, late.turned_away) == (1, True)


def test_probes_that_nothing_ever_counts_are_forgotten_in_the_end() -> None:
    own = OwnRequests()
    for at in range(10_000):
        own.end(own.begin(at), at, counted=True)
    settled = own.settle(interval(0, 10_000, 10_000))
    assert 1_000 < settled.probes < 5_000


def test_probes_of_a_process_that_ended_are_not_sought_in_the_counts_of_the_next() -> None:
    own = OwnRequests()
    own.end(own.begin(4), 4.9, counted=True)
    own.begin(4.95)
    own.forget()
    settled = own.settle(interval(5, 10, 3))
    assert (settled.probes, settled.probes_start, settled.probes_end) == (0, 0, 0)
