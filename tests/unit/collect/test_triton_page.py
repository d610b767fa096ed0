"""A Triton of which only the metrics page is read: what it counts, and what of it only the page tells."""

from __future__ import annotations

from controlplane.collect.exposition import parse
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.servers import scraped
from controlplane.collect.triton.detail import REFUSED
from controlplane.collect.triton.page import TritonPage
from controlplane.collect.triton.signals import TRITON
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import Counter, LatencyInterval, ModelReading
from controlplane.domain.signal import Known
from tests.unit.collect.pages import triton_page
from tests.unit.collect.test_triton_detail import first_responses

SPEC = ServerSpec("t", ServerKind.TRITON, "", "")


def server(*models: str) -> TritonPage:
    specs = [ModelSpec(name, name, ("t",), Mode.OBSERVE) for name in models]
    return TritonPage(SPEC, specs, scraped(SPEC, specs), max_age_s=15, keep_s=900)


def absorb(triton: TritonPage, at: float, text: str) -> None:
    triton.absorb(Metrics(at, parse(text, TRITON.wanted)))


def model(triton: TritonPage, now: float) -> ModelReading:
    signal = triton.reading(now).models["m"]
    assert isinstance(signal, Known)
    return signal.value


def test_what_no_counter_shows_is_missing_here_too_and_counters_stand_as_on_the_page() -> None:
    triton = server("m")
    absorb(triton, 5, triton_page(success=3) + first_responses(1, 2, 3))
    reading = model(triton, 5)
    assert reading.refused == REFUSED
    assert isinstance(reading.counters, Known)
    assert reading.counters.value[Counter.INFERENCES, ""] == 3


def test_first_responses_of_a_model_go_on_when_another_one_is_unloaded() -> None:
    triton = server("m", "n")
    other = triton_page("n", success=3) + first_responses(1, 2, 3).replace('model="m"', 'model="n"')
    absorb(triton, 5, triton_page(success=3) + first_responses(1, 2, 3) + other)
    absorb(triton, 10, triton_page(success=9) + first_responses(4, 8, 9))
    assert list(triton.latencies()["m"]) == [LatencyInterval(Indicator.TTFT, 5, 10, (0.1, 0.5), (3, 3, 0))]
