from __future__ import annotations

import pytest

from controlplane.domain.history import BucketRow, SketchRow
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.slo.again import Again, another, events_of, indicator_kept, told, why_not
from controlplane.slo.sketch import bucket_of

GATEWAY = Objective(Indicator.LATENCY, 0.99, 86400, IndicatorSource.GATEWAY, 0.1)
PROBE = Objective(Indicator.E2E, 0.99, 86400, IndicatorSource.PROBE, 0.1)


def test_another_threshold_is_another_objective_and_another_target_is_another_version() -> None:
    assert another(GATEWAY, Again()) == GATEWAY
    assert another(GATEWAY, Again(threshold_s=0.2)).key == "latency_200ms_gateway"
    by_target = another(GATEWAY, Again(target=0.9))
    assert by_target.key == GATEWAY.key
    assert by_target.version != GATEWAY.version


@pytest.mark.parametrize(
    ("objective", "why"),
    [
        (Objective(Indicator.AVAILABILITY, 0.99, 86400, IndicatorSource.SERVER), "availability has no threshold"),
        (Objective(Indicator.LATENCY, 0.99, 86400, IndicatorSource.MEAN_SLICES, 0.1), "no histogram"),
        (GATEWAY, ""),
        (PROBE, ""),
    ],
)
def test_what_has_no_histogram_cannot_be_judged_by_another_threshold(objective: Objective, why: str) -> None:
    assert why in why_not(objective)
    assert bool(why_not(objective)) == bool(why)


def test_rows_of_other_edges_and_of_other_sources_are_told_apart() -> None:
    rows: list[BucketRow | SketchRow] = [
        BucketRow("bert", Indicator.LATENCY, "a", 60.0, (0.1, 0.2), (5, 3, 2)),
        BucketRow("bert", Indicator.LATENCY, "a", 60.0, (0.15,), (7, 1)),
        SketchRow("bert", Indicator.LATENCY, 60.0, {bucket_of(0.01): 4, bucket_of(5.0): 1}, errors=2),
    ]
    assert events_of(rows, GATEWAY) == {60.0: Counts(5, 3 + 2 + 1, 7)}
    assert events_of(rows, PROBE) == {60.0: Counts(4, 1 + 2, 0)}


def test_probes_of_whole_answers_are_kept_by_one_name() -> None:
    assert indicator_kept(PROBE) is Indicator.LATENCY
    assert indicator_kept(GATEWAY) is Indicator.LATENCY
    assert indicator_kept(Objective(Indicator.E2E, 0.9, 1, IndicatorSource.SERVER, 1)) is Indicator.E2E


def test_it_is_told_what_history_was_judged_by() -> None:
    assert told(GATEWAY, Again(0.2, 0.999)) == "threshold 200 ms in place of 100 ms, target 99.9% in place of 99%"
    assert told(GATEWAY, Again()) == ""
