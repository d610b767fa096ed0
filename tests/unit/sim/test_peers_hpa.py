from __future__ import annotations

import pytest

from controlplane.sim.peers.hpa import Behavior, InFlightHpa, Keda, Rule, UseHpa, external_replicas, pods_replicas
from controlplane.sim.signals import Reading
from tests.unit.sim.readings import history, pod, pods, read, unread

NOBODY: frozenset[int] = frozenset()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((20, 20, 20), 6),  # ratio 2
        ((11, 11, 11), 3),  # 1.1: within the tolerance
        ((12, 11, 11), 4),  # 1.133: ceil(3.4)
        ((9, 9, 9), 3),  # 0.9: within
        ((8, 8, 8), 3),  # 0.8: ceil(2.4)
        ((6, 6, 6), 2),  # 0.6: ceil(1.8)
        ((0, 0, 0), 0),
    ],
)
def test_an_hpa_wants_pods_in_proportion_to_the_mean_but_for_a_tolerance(values: tuple[int, ...], wanted: int) -> None:
    assert pods_replicas(dict(enumerate(values)), NOBODY, NOBODY, 10, 3) == wanted


def test_missing_pods_count_as_nothing_against_a_scale_up() -> None:
    # 2 pods at 30: ratio 3, alone 6 pods; with 2 missing at 0 the mean is 15: ceil(1.5 * 4) = 6
    assert pods_replicas({0: 30, 1: 30}, frozenset({2, 3}), NOBODY, 10, 4) == 6
    # with 4 missing the mean is exactly on target
    assert pods_replicas({0: 30, 1: 30}, frozenset({2, 3, 4, 5}), NOBODY, 10, 6) == 6


def test_missing_pods_count_as_on_target_against_a_scale_down() -> None:
    # 2 pods at 2: ratio 0.2; with 2 missing at 10 the mean is 6: ceil(0.6 * 4) = 3
    assert pods_replicas({0: 2, 1: 2}, frozenset({2, 3}), NOBODY, 10, 4) == 3


def test_what_turns_round_for_missing_or_unready_pods_changes_nothing() -> None:
    # ratio 1.5 turns to 0.5 with 4 missing pods at 0
    assert pods_replicas({0: 15, 1: 15}, frozenset({2, 3, 4, 5}), NOBODY, 10, 6) == 6
    assert pods_replicas({0: 15, 1: 15}, NOBODY, frozenset({2, 3, 4, 5}), 10, 6) == 6
    # over target, yet fewer pods than were asked for: three at 20 and one missing want 6, and 8 are asked for
    assert pods_replicas({0: 20, 1: 20, 2: 20}, frozenset({3}), NOBODY, 10, 8) == 8


def test_unready_pods_do_not_hold_up_a_scale_down() -> None:
    assert pods_replicas({0: 2, 1: 2}, NOBODY, frozenset({2, 3}), 10, 4) == 1


def test_without_any_value_nothing_changes() -> None:
    assert InFlightHpa(10).decide(history(read(0, [unread(0), unread(1)]))) == 2


@pytest.mark.parametrize(("total", "wanted"), [(40, 4), (44, 4), (45, 5), (36, 4), (35, 4), (29, 3), (81, 9)])
def test_an_external_metric_is_divided_by_its_target_but_for_a_tolerance(total: float, wanted: int) -> None:
    assert external_replicas(total, 10, 4) == wanted


def test_floating_point_adds_no_pod() -> None:
    assert external_replicas(0.1 + 0.2, 0.1, 10) == 3


def test_going_up_is_limited_to_four_pods_or_to_twice_as_many_in_15_seconds() -> None:
    assert Behavior().limit(0, 1, 50) == 5
    doubling = Behavior()
    assert doubling.limit(0, 10, 50) == 20
    # what was added within the period counts
    assert doubling.limit(14, 20, 50) == 20
    assert doubling.limit(15, 20, 50) == 40


def test_going_down_waits_for_the_highest_recommendation_of_five_minutes() -> None:
    behavior = Behavior()
    assert behavior.limit(0, 10, 10) == 10
    assert behavior.limit(15, 10, 4) == 10
    assert behavior.limit(299, 10, 3) == 10
    assert behavior.limit(300, 10, 3) == 4
    assert behavior.limit(600, 4, 3) == 3


def test_what_an_hpa_finds_counts_as_recommended() -> None:
    assert Behavior().limit(1000, 10, 2) == 10


def test_a_rule_of_one_pod_in_two_minutes_takes_one() -> None:
    slow = Behavior(down=Rule(pods=1, share=0.0, period_s=120, window_s=0))
    slow.limit(0, 10, 10)
    assert slow.limit(1, 10, 2) == 9
    assert slow.limit(100, 9, 2) == 9
    assert slow.limit(121, 9, 2) == 8


def test_hpa_on_in_flight_counts_what_waits_and_takes_starting_pods_for_missing() -> None:
    held = (pod(0, 10, waiting=20), pod(1, 30))
    assert InFlightHpa(10).decide(history(read(0, held))) == 6
    starting = (*held, pod(2, phase="starting"), pod(3, phase="starting"))
    assert InFlightHpa(10).decide(history(read(0, starting))) == 6
    draining = (*held, pod(2, 500, phase="draining"))
    assert InFlightHpa(10).decide(history(read(0, draining))) == 6


def test_hpa_on_use_reads_the_kv_cache_and_else_the_busy_share_of_a_minute() -> None:
    full = (pod(0, kv_used_share=0.9), pod(1, kv_used_share=0.6))
    assert UseHpa(0.5).decide(history(read(0, full))) == 3

    def busy(at_s: float, busy_s: float) -> Reading:
        return read(at_s, [pod(0, busy_s=busy_s, kv_used_share=None)])

    readings = history(busy(0, 50), busy(20, 50), busy(80, 110))
    assert UseHpa(0.5).decide(readings) == 2
    assert UseHpa(0.5).decide(history(busy(0, 5))) == 1


def test_keda_divides_the_rate_of_a_minute_at_the_gateway() -> None:
    two = pods(0, 0)
    readings = history(read(0, two, arrived=0), read(30, two, arrived=5000), read(90, two, arrived=5900))
    assert Keda(5).decide(readings) == 3  # 900 in 60 s = 15/s
    assert Keda(5).decide(history(read(0, two, arrived=7))) == 2
