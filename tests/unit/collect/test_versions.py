"""Requests by the model's version: told where an objective asks for it, through resets as well as all together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.collect.counters import Ledger, Reading, Totals
from controlplane.collect.exposition import parse
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.servers import scraped
from controlplane.collect.triton.page import TritonPage
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.triton.wire import version_of
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.domain.observation import VersionCount
from controlplane.domain.signal import Known
from tests.unit.collect.pages import triton_page

ONE, TWO = "gpu_uuid=GPU-1,version=1", "gpu_uuid=GPU-1,version=2"
TWO_ELSEWHERE = "gpu_uuid=GPU-2,version=2"
AVAILABILITY = Objective(Indicator.AVAILABILITY, 0.99, 86400.0, IndicatorSource.SERVER)


def reading(at: float, failures: dict[tuple[str, str], float] | None = None, **success: float) -> Reading:
    named = {"one": ONE, "two": TWO, "elsewhere": TWO_ELSEWHERE}
    return Reading(at, {named[name]: Totals(count, 0, 0) for name, count in success.items()}, failures or {}, 0, 1, 1)


def versions(*readings: Reading) -> list[tuple[VersionCount, ...]]:
    ledger = Ledger(version_of)
    return [interval.versions for each in readings if (interval := ledger.seen(each)) is not None]


@pytest.mark.parametrize(
    ("group", "version"), [("version=3", "3"), (ONE, "1"), ("gpu_uuid=GPU-1", ""), ("a=version,version=12", "12")]
)
def test_the_group_names_the_version(group: str, version: str) -> None:
    assert version_of(group) == version


def test_a_version_on_several_gpus_is_one() -> None:
    found = versions(
        reading(0, {(ONE, "BACKEND"): 4}, one=10, two=5, elsewhere=7),
        reading(5, {(ONE, "BACKEND"): 5, (TWO, "CANCELED"): 2, (TWO, "REJECTED"): 1}, one=11, two=8, elsewhere=9),
    )
    assert found == [(VersionCount("1", 2, 1, 0, 0), VersionCount("2", 8, 0, 1, 2))]


def test_a_version_that_comes_counts_from_zero_and_one_that_was_loaded_anew_too() -> None:
    found = versions(reading(0, one=10), reading(5, one=12, two=3), reading(10, one=1, two=4))
    assert found[0] == (VersionCount("1", 2, 0, 0, 0), VersionCount("2", 3, 0, 0, 0))
    assert found[1] == (VersionCount("1", 1, 0, 0, 0), VersionCount("2", 1, 0, 0, 0))


def test_old_failures_of_a_version_that_is_gone_are_of_no_version_that_is_there() -> None:
    failures = {(ONE, "BACKEND"): 4.0}
    assert versions(reading(0, failures, two=5), reading(5, failures, two=6)) == [(VersionCount("2", 1, 0, 0, 0),)]


def test_versions_are_not_told_apart_where_no_objective_names_one() -> None:
    def told(*objectives: Objective) -> tuple[VersionCount, ...]:
        model = ModelSpec("m", "m", ("t",), Mode.OBSERVE, objectives)
        spec = ServerSpec("t", ServerKind.TRITON, "", "")
        page = TritonPage(spec, [model], scraped(spec, [model]), max_age_s=15, keep_s=900)
        for at, count in ((0.0, 3), (5.0, 9)):
            page.absorb(Metrics(at, parse(triton_page(success=count), TRITON.wanted)))
        signal = page.reading(5.0).models["m"]
        assert isinstance(signal, Known)
        (interval,) = signal.value.intervals
        assert interval.completed == 6
        return interval.versions

    assert told(AVAILABILITY) == ()
    assert told(AVAILABILITY, replace(AVAILABILITY, model_version="2")) == (VersionCount("1", 6, 0, 0, 0),)
