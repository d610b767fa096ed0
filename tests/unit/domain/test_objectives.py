"""Objectives are told apart by their keys, and their versions by whatever may change."""

from __future__ import annotations

from dataclasses import replace

from controlplane.domain.objectives import (
    CounterRatio,
    Indicator,
    IndicatorSource,
    Objective,
    Selector,
    ValueRatio,
)

MONTH_S = 28 * 86400.0
A, B = Selector("a", "a"), Selector("b", "b")
AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.999, MONTH_S, IndicatorSource.SERVER)
COUNTERS = Objective(
    Indicator.RATIO, 0.99, MONTH_S, IndicatorSource.PROMETHEUS, ratio=CounterRatio("x", "main", A, good=B)
)
SHARE = Objective(
    Indicator.RATIO, 0.99, MONTH_S, IndicatorSource.VALUE_SLICES, ratio=ValueRatio("x", "main", "a", at_least=0.9)
)
FLOOR = Objective(Indicator.THROUGHPUT, 0.99, MONTH_S, IndicatorSource.RATE_SLICES, floor_per_s=50.0)


def test_what_was_kept_by_keys_and_versions_of_before_stays_found() -> None:
    latency = Objective(Indicator.LATENCY, 0.99, MONTH_S, IndicatorSource.GATEWAY, 0.1, "edge")
    assert (latency.key, AVAILABILITY.key) == ("latency_100ms_gateway_edge", "availability_server")
    assert AVAILABILITY.version == "158cd3564842"
    assert replace(latency, gateway="gw").version == "873fc7ac37a7"


def test_every_kind_has_a_key_of_its_own() -> None:
    others = [
        AVAILABILITY,
        replace(AVAILABILITY, model_version="1"),
        replace(AVAILABILITY, model_version="2"),
        COUNTERS,
        SHARE,
        FLOOR,
        replace(FLOOR, floor_per_s=51.0),
        replace(FLOOR, indicator=Indicator.TOKEN_THROUGHPUT),
    ]
    assert len({o.key for o in others}) == len({o.version for o in others}) == len(others)


def test_asking_another_thing_makes_another_version_under_the_same_key() -> None:
    assert COUNTERS.ratio is not None
    same = [
        COUNTERS,
        replace(COUNTERS, ratio=CounterRatio("x", "main", A, bad=B)),
        replace(COUNTERS, ratio=CounterRatio("x", "main", B, good=B)),
        replace(COUNTERS, ratio=CounterRatio("x", "other", A, good=B)),
    ]
    assert {o.key for o in same} == {"ratio_x_prometheus"}
    assert len({o.version for o in same}) == len(same)
    assert SHARE.version != replace(SHARE, ratio=ValueRatio("x", "main", "a", at_most=0.9)).version
