"""Batches, phases, caches, first responses and the machine of a Triton, off the recorded page and made-up ones."""

from __future__ import annotations

import math

import pytest

from controlplane.collect.exposition import parse
from controlplane.collect.histograms import Buckets
from controlplane.collect.triton.detail import REFUSED, Details, UnitDetails, read_details, read_host
from controlplane.collect.triton.round import TritonRound
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.triton.wire import read_series, read_stats
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import NOT_EXPORTED, Counter, HostGauge, LatencyInterval, ModelState
from controlplane.domain.signal import Known, Missing, Stale
from tests.unit.collect.pages import recorded, triton_page
from tests.unit.collect.test_triton import NEVER_LOADED, TIMED_OUT, UNLOADED, answers, model, server

RECORDED = recorded("triton-2.51.0-cpu-summaries.txt")


def details(text: str, name: str = "m") -> Details:
    return read_details(parse(text, TRITON.wanted))[name]


def lines(name: str, value: object, labels: str = 'model="m",version="1"') -> str:
    return f"{name}{{{labels}}} {value}\n"


def first_responses(*counts: int, version: str = "1") -> str:
    """Cumulative counts under 100 ms, 500 ms and all."""
    family, labels = "nv_inference_first_response_histogram_ms_bucket", f'model="m",version="{version}"'
    text = lines("nv_inference_count", counts[-1], labels)
    for edge, count in zip(("100", "500", "+Inf"), counts, strict=True):
        text += lines(family, count, f'{labels},le="{edge}"')
    return text


def test_the_counters_of_the_recorded_page_are_republished_in_seconds() -> None:
    series = read_series(parse(RECORDED, TRITON.wanted))["echo"]
    assert series.details.counters == pytest.approx(
        {
            (Counter.REQUESTS, "success"): 800,
            (Counter.REQUESTS, "other"): 0,
            (Counter.REQUESTS, "canceled"): 0,
            (Counter.REQUESTS, "backend"): 0,
            (Counter.REQUESTS, "rejected"): 0,
            (Counter.REQUEST_S, ""): 18.351984,
            (Counter.QUEUE_S, ""): 9.208628,
            (Counter.INFERENCES, ""): 800,
            (Counter.EXECUTIONS, ""): 608,
            (Counter.COMPUTE_S, "input"): 0.051497,
            (Counter.COMPUTE_S, "infer"): 9.004877,
            (Counter.COMPUTE_S, "output"): 0.081097,
        }
    )


def test_the_machine_is_read_off_the_recorded_page() -> None:
    assert read_host(parse(RECORDED, TRITON.wanted)) == {
        (HostGauge.PINNED_MEMORY_TOTAL, ""): 268435456,
        (HostGauge.PINNED_MEMORY_USED, ""): 0,
        (HostGauge.CPU_UTILISATION, ""): 1,
        (HostGauge.CPU_MEMORY_TOTAL, ""): 25276502016,
        (HostGauge.CPU_MEMORY_USED, ""): 3083853824,
    }


def test_gpus_are_told_by_their_uuid_and_what_is_no_number_is_left_out() -> None:
    text = lines("nv_gpu_utilization", 0.5, 'gpu_uuid="GPU-1"') + lines("nv_gpu_utilization", "Nan", 'gpu_uuid="GPU-2"')
    assert read_host(parse(text, TRITON.wanted)) == {(HostGauge.GPU_UTILISATION, "GPU-1"): 0.5}


def test_versions_and_gpus_of_a_model_add_up_and_its_gpus_are_named() -> None:
    text = lines("nv_inference_count", 3, 'model="m",version="1",gpu_uuid="GPU-1"')
    text += lines("nv_inference_count", 4, 'model="m",version="1",gpu_uuid="GPU-2"')
    text += lines("nv_inference_count", 5, 'model="m",version="2",gpu_uuid="GPU-2"')
    found = details(text)
    assert found.counters == {(Counter.INFERENCES, ""): 12}
    assert found.gpu_uuids == ("GPU-1", "GPU-2")


def test_the_response_cache_of_a_recorded_page_is_counted_and_what_it_answers_is_no_inference() -> None:
    series = read_series(parse(recorded("triton-2.51.0-cpu-cache.txt"), TRITON.wanted))["bert_classifier"]
    counters = series.details.counters
    assert (counters[Counter.RESPONSE_CACHE, "hit"], counters[Counter.RESPONSE_CACHE, "miss"]) == (2, 3)
    assert (counters[Counter.REQUESTS, "success"], counters[Counter.INFERENCES, ""]) == (5, 3)
    assert (Counter.RESPONSE_CACHE, "hit") not in details(RECORDED, "echo").counters


def test_the_longest_load_of_several_versions_counts() -> None:
    text = lines("nv_inference_count", 0) + lines("nv_model_load_duration_secs", 1.5)
    text += lines("nv_model_load_duration_secs", 0.5, 'model="m",version="2"')
    assert details(text).load_s == 1.5


def test_only_the_wanted_models_are_read() -> None:
    text = first_responses(1, 2, 3) + lines("nv_inference_count", 1, 'model="n",version="1"')
    assert read_details(parse(text, TRITON.wanted), {"n"}).keys() == {"n"}


def test_first_responses_are_in_seconds() -> None:
    (buckets,) = details(first_responses(1, 2, 5)).first_response.values()
    assert buckets == Buckets((0.1, 0.5), (1, 2, 5))


def test_a_histogram_that_is_none_makes_the_page_malformed() -> None:
    text = lines("nv_inference_first_response_histogram_ms_bucket", 1, 'model="m",le="100"')
    with pytest.raises(MalformedPageError, match="no \\+Inf bucket"):
        read_details(parse(text, TRITON.wanted))


def seen(unit: UnitDetails, at: float, *counts: int) -> None:
    unit.seen(at, details(first_responses(*counts)) if counts else None)


def test_first_responses_are_counted_between_readings() -> None:
    unit = UnitDetails()
    seen(unit, 5, 1, 2, 3)
    seen(unit, 10, 4, 6, 7)
    assert list(unit.latencies) == [LatencyInterval(Indicator.TTFT, 5, 10, (0.1, 0.5), (3, 1, 0))]


def test_those_of_a_model_that_was_just_loaded_all_came_since_it_was_not_there() -> None:
    unit = UnitDetails()
    seen(unit, 5)
    seen(unit, 10, 1, 2, 3)
    assert list(unit.latencies) == [LatencyInterval(Indicator.TTFT, 5, 10, (0.1, 0.5), (1, 1, 1))]


def test_nothing_is_measured_while_the_model_is_not_loaded_and_a_reload_counts_from_nothing() -> None:
    unit = UnitDetails()
    seen(unit, 5, 1, 2, 3)
    seen(unit, 10)
    seen(unit, 15)
    seen(unit, 20, 5, 5, 6)
    assert list(unit.latencies) == [LatencyInterval(Indicator.TTFT, 15, 20, (0.1, 0.5), (5, 0, 1))]


def test_a_model_that_is_not_decoupled_has_no_latencies() -> None:
    unit = UnitDetails()
    for at in (5, 10):
        unit.seen(at, details(lines("nv_inference_count", at)))
    assert not unit.latencies


def test_a_bad_page_in_between_costs_no_first_response() -> None:
    unit = UnitDetails()
    seen(unit, 5, 1, 2, 3)
    unit.missed(10, "cut short")
    seen(unit, 15, 2, 3, 4)
    assert list(unit.latencies) == [LatencyInterval(Indicator.TTFT, 5, 15, (0.1, 0.5), (1, 0, 0))]


def test_counters_that_are_no_number_are_left_out() -> None:
    unit = UnitDetails()
    unit.seen(5, Details({(Counter.INFERENCES, ""): 3, (Counter.EXECUTIONS, ""): math.nan}))
    assert unit.counters(6, 15) == Known({(Counter.INFERENCES, ""): 3}, 5)


def whole_page(count: int = 0) -> str:
    return triton_page(success=count) + lines("nv_inference_count", count) + lines("nv_inference_exec_count", count)


def test_a_server_s_reading_has_counters_machine_and_what_no_counter_shows() -> None:
    triton = server()
    round_ = answers(5, whole_page(3))
    host = {(HostGauge.CPU_UTILISATION, ""): 0.5}
    triton.absorb(TritonRound(round_.at, round_.index, round_.series, {}, round_.configs, host=host))
    reading = model(triton, 5)
    assert isinstance(reading.counters, Known)
    assert reading.counters.value[Counter.EXECUTIONS, ""] == 3
    assert reading.counters.value[Counter.REQUESTS, "success"] == 3
    assert reading.refused == REFUSED == Missing(REFUSED.why)
    assert reading.load_s == Missing("not exported: Triton before 24.11, or not loaded")
    assert triton.reading(5).host == Known(host, 5)


def counters_of(triton: TritonServer, now: float) -> object:
    return model(triton, now).counters


def test_counters_of_a_page_that_cannot_be_read_are_missing_or_grow_old() -> None:
    triton = server()
    triton.absorb(answers(5, TIMED_OUT))
    assert counters_of(triton, 5) == Missing("t: no answer within 2 s")
    triton.absorb(answers(10, whole_page(3)))
    triton.absorb(answers(26, TIMED_OUT))
    assert isinstance(counters_of(triton, 26), Stale)


def test_an_unloaded_model_counts_nothing() -> None:
    triton = server()
    triton.absorb(answers(5, whole_page(3)))
    triton.absorb(answers(10, triton_page(loaded=False), entry=UNLOADED))
    reading = model(triton, 10)
    assert reading.state is ModelState.UNLOADED
    assert reading.counters == Missing("not loaded: nothing is counted")
    assert isinstance(reading.load_s, Missing)


def test_a_page_without_a_machine_leaves_it_missing() -> None:
    triton = server()
    assert triton.reading(1).host == Missing("never read")
    triton.absorb(answers(5, triton_page(loaded=False), entry=NEVER_LOADED))
    assert triton.reading(5).host == NOT_EXPORTED


def test_first_responses_are_the_server_s_latencies_and_are_kept_for_a_while() -> None:
    triton = server("m", "n")
    for at, count in ((5, 1), (10, 4), (2000, 9)):
        page = triton_page(success=count) + first_responses(count, count, count)
        triton.absorb(answers(at, page))
        triton.reading(at)
    (latency,) = triton.latencies()["m"]
    assert (latency.start, latency.end, latency.counts) == (10, 2000, (5, 0, 0))
    assert "n" not in triton.latencies()


def test_counters_and_statistics_of_the_recorded_server_agree_on_a_batch_of_one() -> None:
    # recorded 272 requests apart: what each says of the average batch is told by its own counts
    stats = read_stats(recorded("triton-2.51.0-model-stats.json").encode())["echo"]
    assert sum(size * executed.times for (_, size), executed in stats.items()) == 528
    counters = details(RECORDED, "echo").counters
    assert counters[Counter.INFERENCES, ""] / counters[Counter.EXECUTIONS, ""] == pytest.approx(800 / 608)


def test_series_that_outlive_an_unload_are_no_counters_of_a_loaded_model() -> None:
    triton = server()
    triton.absorb(answers(5, whole_page(3)))
    triton.absorb(answers(10, whole_page(3), entry=UNLOADED))
    assert model(triton, 10).counters == Missing("not loaded: nothing is counted")
