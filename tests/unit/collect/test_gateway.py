from __future__ import annotations

import pytest

from controlplane.collect.gateway import Gateway, OnePage
from controlplane.collect.metrics_source import ScrapedPage
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.fleet import GatewaySpec, Mode, ModelSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import LatencyInterval
from tests.unit.collect.pages import histogram_page

H = "gateway_request_duration_seconds"
EMPTY = f"# TYPE {H} histogram\n"
SCRAPED = ScrapedPage("gateway g", "http://g/metrics", frozenset({f"{H}_bucket"}))


def gateway(code_label: str = "code") -> Gateway:
    spec = GatewaySpec("g", "http://g/metrics", H, "model", code_label, "5..|429")
    models = [ModelSpec("bert", "org/bert", ("t",), Mode.ACT), ModelSpec("resnet", "resnet", ("t",), Mode.ACT)]
    return Gateway(spec, models, OnePage(SCRAPED), max_age_s=15, keep_s=900)


def absorb(seen: Gateway, at: float, text: str) -> None:
    seen.absorb(SCRAPED.understood(at, text))


def page(good: int, bad: int = 0, model: str = "org/bert") -> str:
    return (
        histogram_page(H, {"0.1": good, "+Inf": good + 1}, model=model, code="200", route="a")
        + histogram_page(H, {"0.1": 1, "+Inf": 1}, model=model, code="404", route="b")
        + histogram_page(H, {"0.1": bad, "+Inf": bad}, model=model, code="503", route="a")
    )


def test_errors_are_told_by_their_code_as_a_whole_and_all_else_counts_by_latency() -> None:
    seen = gateway()
    absorb(seen, 5, page(10))
    absorb(seen, 10, page(14, bad=3))
    assert list(seen.latencies()["bert"]) == [LatencyInterval(Indicator.LATENCY, 5, 10, (0.1,), (4, 0), 3, "g")]


def test_a_model_is_understood_by_its_own_name_too() -> None:
    seen = gateway()
    absorb(seen, 5, EMPTY)
    absorb(seen, 10, page(2, model="bert"))
    (interval,) = seen.latencies()["bert"]
    assert interval.counts == (3, 1)


def test_a_first_request_is_counted_since_the_page_before_had_none() -> None:
    seen = gateway()
    absorb(seen, 5, EMPTY)
    assert not seen.latencies()
    absorb(seen, 10, page(0))
    (interval,) = seen.latencies()["bert"]
    assert (interval.start, interval.counts) == (5, (1, 1))


def test_nothing_is_said_about_a_model_that_never_came_by() -> None:
    seen = gateway()
    absorb(seen, 5, page(1))
    absorb(seen, 10, page(1))
    assert seen.latencies().keys() == {"bert"}
    (interval,) = seen.latencies()["bert"]
    assert interval.counts == (0, 0)


def test_without_a_code_label_nothing_is_an_error() -> None:
    seen = gateway(code_label="")
    absorb(seen, 5, EMPTY)
    absorb(seen, 10, page(0, bad=7))
    (interval,) = seen.latencies()["bert"]
    assert (interval.counts, interval.errors) == ((8, 1), 0)


def test_a_page_without_the_histogram_is_not_a_page_without_requests() -> None:
    seen = gateway()
    absorb(seen, 5, page(10))
    with pytest.raises(MalformedPageError, match="no histogram 'gateway_request_duration_seconds'"):
        absorb(seen, 10, "# TYPE up gauge\nup 1\n")


def test_a_page_that_lost_a_bucket_line_is_malformed_and_leaves_the_past_alone() -> None:
    seen = gateway()
    absorb(seen, 5, page(10))
    with pytest.raises(MalformedPageError):
        absorb(seen, 10, f'{H}_bucket{{model="org/bert",code="200",route="a",le="0.1"}} 11\n')
    absorb(seen, 15, page(12))
    (interval,) = seen.latencies()["bert"]
    assert (interval.start, interval.end, interval.counts) == (5, 15, (2, 0))
