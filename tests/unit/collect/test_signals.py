"""The tables of signals against the readers, the recorded pages and the page that people read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from fnmatch import fnmatchcase

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controlplane.collect import families
from controlplane.collect.exposition import Page, parse
from controlplane.collect.servers import series_of
from controlplane.collect.signals import Backend, Kind, Resets
from controlplane.collect.signals_page import signals
from controlplane.collect.triton.detail import read_host
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.triton.wire import read_series
from controlplane.collect.vllm.server import read_histograms, read_served
from controlplane.collect.vllm.signals import VLLM
from controlplane.domain.fleet import ServerKind, ServerSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import Counter, Interval, ModelReading, ServerReading, TokenCounts
from tests.unit.collect.pages import recorded
from tests.unit.docs.pages import ROOT

BACKENDS = (TRITON, VLLM)
RECORDED = {
    TRITON.name: [recorded("triton-2.51.0-cpu-summaries.txt"), recorded("triton-2.51.0-cpu-cache.txt")],
    VLLM.name: [recorded("vllm-0.32.0-after-40-requests.txt"), recorded("vllm-0.32.0-under-load.txt")],
}
NOT_READ = {
    "Interval.start",
    "Interval.end",
    "ServerReading.name",
    "ServerReading.models",
    "ServerReading.problem",
    "ModelReading.intervals",
}
"""Our own clock, configuration and words, and what holds the rest."""
COUNTED = [counter.value for counter in Counter]

of_each = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


def names(text: str) -> set[str]:
    return {line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


def test_the_page_is_what_the_tables_give() -> None:
    written = (ROOT / "docs/reference/signals.md").read_text(encoding="utf-8")
    assert written == signals(), "python -m controlplane.collect.signals_page > docs/reference/signals.md"


def test_the_readers_are_given_what_the_tables_name_and_nothing_else() -> None:
    assert series_of(ServerSpec("t", ServerKind.TRITON, "", "")) == TRITON.wanted
    assert series_of(ServerSpec("v", ServerKind.VLLM, "", "")) == VLLM.wanted


@of_each
def test_every_field_of_a_reading_is_told(backend: Backend) -> None:
    told = {signal.partition("[")[0] for row in backend.rows for signal in row.signals}
    whole = {f"{of.__name__}.{field.name}" for of in (ServerReading, ModelReading, Interval) for field in fields(of)}
    inside = {signal for signal in told if signal.startswith(("Interval.tokens.", "LatencyInterval"))}
    missing = whole - told - NOT_READ - {"Interval.tokens"} - {"ModelReading.counters"}
    assert not missing
    assert told - inside <= whole - NOT_READ


def test_what_stands_inside_a_field_is_told() -> None:
    told = {signal for backend in BACKENDS for row in backend.rows for signal in row.signals}
    assert {f"ModelReading.counters[{name}]" for name in COUNTED} <= told
    assert {f"Interval.tokens.{field.name}" for field in fields(TokenCounts)} <= told
    assert {f"LatencyInterval[{indicator.value}]" for indicator in families.VLLM_HISTOGRAMS} <= told
    inside = {signal for signal in told if "[" in signal}
    known = {f"ModelReading.counters[{name}]" for name in COUNTED}
    assert inside <= known | {f"LatencyInterval[{indicator.value}]" for indicator in Indicator}


@of_each
def test_a_series_is_on_a_recorded_page_or_it_is_said_when_it_is_there(backend: Backend) -> None:
    there = set().union(*map(names, RECORDED[backend.name]))
    unsaid = {s.name for row in backend.rows for s in row.series if not s.there and s.name not in there}
    assert not unsaid
    settings = {s.there.split()[0] for row in backend.rows for s in row.series if s.there and s.name in there}
    assert settings <= {"with", "unless"}  # what a recorded version has depends on how it was started


@of_each
def test_every_family_of_a_recorded_page_is_read_or_it_is_said_why_not(backend: Backend) -> None:
    patterns = [pattern for ignored in backend.ignored for pattern in ignored.patterns]
    for text in RECORDED[backend.name]:
        for family in text_string_to_metric_families(text):
            samples = {sample.name for sample in family.samples} & names(text)
            if not samples & backend.wanted and family.name not in backend.wanted:
                bare = family.name.removesuffix("_total")
                assert any(fnmatchcase(name, p) for p in patterns for name in (family.name, bare)), family.name


@of_each
def test_no_family_is_both_read_and_ignored(backend: Backend) -> None:
    for ignored in backend.ignored:
        assert ignored.why
        for pattern in ignored.patterns:
            assert not [name for name in backend.wanted if fnmatchcase(name, pattern)], pattern


@of_each
def test_every_row_tells_what_missing_means_and_what_sets_it_back(backend: Backend) -> None:
    for row in backend.rows:
        assert row.signals
        assert row.missing
        assert bool(row.series) + bool(row.source) + (row.kind is Kind.NONE) == 1, row.signals
        assert (row.kind in {Kind.COUNTER, Kind.HISTOGRAM, Kind.STATISTICS}) <= (row.resets is not Resets.NOTHING)


def without(text: str, sample: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] != sample)


def made_up(names_and_values: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{name} {value}\n" for name, value in names_and_values)


CACHE = recorded("triton-2.51.0-cpu-cache.txt").replace('model="bert_classifier"', 'model="echo"')
TRITON_WHOLE = CACHE.replace('version="1"}', 'version="1",gpu_uuid="GPU-7"}') + (
    made_up(
        [
            ('nv_model_load_duration_secs{model="echo",version="1"}', "1.5"),
            ('nv_inference_first_response_histogram_ms_bucket{model="echo",version="1",le="100"}', "2"),
            ('nv_inference_first_response_histogram_ms_bucket{model="echo",version="1",le="+Inf"}', "5"),
            ('nv_gpu_utilization{gpu_uuid="GPU-7"}', "0.5"),
            ('nv_gpu_memory_used_bytes{gpu_uuid="GPU-7"}', "1000"),
            ('nv_gpu_memory_total_bytes{gpu_uuid="GPU-7"}', "4000"),
        ]
    )
)
VLLM_WHOLE = recorded("vllm-0.32.0-under-load.txt") + made_up(
    [('vllm:lora_requests_info{max_lora="2",running_lora_adapters="a",waiting_lora_adapters=""}', "1.7e9")]
)


def read_triton(page: Page) -> str:
    return repr((read_series(page), read_host(page)))


def read_vllm(page: Page) -> str:
    return repr((read_served(page), read_histograms(page)))


@pytest.mark.parametrize("name", sorted(TRITON.wanted))
def test_a_series_of_triton_that_is_not_there_makes_another_reading(name: str) -> None:
    whole = parse(TRITON_WHOLE, TRITON.wanted)
    assert whole.keys() == TRITON.wanted
    assert read_triton(parse(without(TRITON_WHOLE, name), TRITON.wanted)) != read_triton(whole)


@pytest.mark.parametrize("series", [s for row in VLLM.rows for s in row.series], ids=lambda s: s.name)
def test_a_series_of_vllm_that_is_not_there_makes_another_reading(series: object) -> None:
    assert hasattr(series, "name")
    text, name = VLLM_WHOLE, str(series.name)
    for row in VLLM.rows:  # an old name is read where the new one is not there
        first = row.series[0].name if row.alternatives else name
        if row.alternatives and name in {s.name for s in row.series[1:]}:
            text = "".join(f"{line}\n".replace(f"{first}{{", f"{name}{{", 1) for line in text.splitlines())
    whole = read_vllm(parse(text, VLLM.wanted))
    assert name in names(text)
    assert read_vllm(parse(without(text, name), VLLM.wanted)) != whole
