from __future__ import annotations

import pytest

from controlplane.collect.gateway import Gateway, OnePage
from controlplane.collect.http import Pages
from controlplane.collect.metrics_source import Metrics, ScrapedPage
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, NotToldError, TargetUnreachableError
from controlplane.domain.fleet import Mode, ModelSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import LatencyInterval
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.sources import GatewaySpec, Through
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


ENVOY = GatewaySpec(
    "e",
    "http://e/stats/prometheus",
    "envoy_cluster_upstream_rq_time",
    "envoy_cluster_name",
    "envoy_response_code_class",
    "5",
    unit_s=1e-3,
    counter="envoy_cluster_upstream_rq_xx",
    models=(("bert", "outbound|80||bert"),),
)


def envoy_page(times: dict[str, int], cluster: str = "outbound|80||bert", **classes: int) -> str:
    """A cluster as Envoy exports it, with cumulative counts by milliseconds and requests by class of their code."""
    codes = "".join(
        f'{ENVOY.counter}{{envoy_response_code_class="{name[1:]}",envoy_cluster_name="{cluster}"}} {count}\n'
        for name, count in classes.items()
    )
    return codes + histogram_page(ENVOY.histogram, times, envoy_cluster_name=cluster)


def envoy(*pages: str) -> list[LatencyInterval]:
    """What was counted between the pages, five seconds apart."""
    scraped = ScrapedPage("gateway e", ENVOY.page, frozenset({f"{ENVOY.histogram}_bucket", ENVOY.counter}))
    models = [ModelSpec("bert", "org/bert", ("t",), Mode.ACT), ModelSpec("resnet", "resnet", ("t",), Mode.ACT)]
    seen = Gateway(ENVOY, models, OnePage(scraped), max_age_s=15, keep_s=900)
    for i, text in enumerate(pages):
        seen.absorb(scraped.understood(5.0 * i, text))
    assert seen.latencies().keys() <= {"bert"}
    return list(seen.latencies().get("bert", ()))


def test_milliseconds_are_seconds_and_a_model_goes_by_the_name_that_the_gateway_has_for_it() -> None:
    (interval,) = envoy(
        envoy_page({"25": 10, "50": 12, "+Inf": 13}, _2=13),
        envoy_page({"25": 14, "50": 17, "+Inf": 19}, _2=19),
    )
    assert (interval.edges, interval.counts, interval.errors) == ((0.025, 0.05), (4, 1, 1), 0)
    assert interval.gateway == "e"


def test_a_cluster_that_no_model_goes_by_is_not_read() -> None:
    assert envoy(envoy_page({"+Inf": 1}, "org/bert", _2=1), envoy_page({"+Inf": 2}, "org/bert", _2=2)) == []


def test_errors_by_a_counter_are_taken_out_of_the_fastest_that_were_timed() -> None:
    # 10 answered, 6 of them with 5xx; only 4 of these were timed, as Envoy answered 2 by itself
    (interval,) = envoy(
        envoy_page({"25": 0, "50": 0, "+Inf": 0}, _2=0, _5=0),
        envoy_page({"25": 3, "50": 6, "+Inf": 8}, _2=4, _5=6),
    )
    assert (interval.counts, interval.errors) == ((0, 2, 2), 6)


def test_a_histogram_that_lags_behind_its_counter_takes_nothing_out() -> None:
    first, second = envoy(
        envoy_page({"25": 0, "+Inf": 0}, _2=0, _5=1),
        envoy_page({"25": 0, "+Inf": 0}, _2=10, _5=1),
        envoy_page({"25": 10, "+Inf": 10}, _2=10, _5=1),
    )
    assert (first.counts, first.errors) == ((0, 0), 0)
    assert (second.counts, second.errors) == ((10, 0), 0)


def test_a_cluster_that_only_fails_counts_its_errors() -> None:
    empty = f"# TYPE {ENVOY.histogram} histogram\n"
    code = f'{ENVOY.counter}{{envoy_response_code_class="5",envoy_cluster_name="outbound|80||bert"}} '
    (interval,) = envoy(f"{empty}{code}1\n", f"{empty}{code}8\n")
    assert (interval.counts, interval.errors) == ((0,), 7)


def test_times_without_the_counter_of_errors_are_not_taken_for_faultless() -> None:
    with pytest.raises(MalformedPageError, match="has requests of bert, but envoy_cluster_upstream_rq_xx, which tells"):
        envoy(envoy_page({"25": 1, "+Inf": 1}))


def test_a_restart_of_the_gateway_counts_from_nothing() -> None:
    (interval,) = envoy(
        envoy_page({"25": 100, "+Inf": 100}, _2=90, _5=10),
        envoy_page({"25": 2, "+Inf": 3}, _2=2, _5=1),
    )
    assert (interval.counts, interval.errors) == ((1, 1), 1)


def test_a_series_that_the_gateway_removes_brings_nothing_back_of_the_others() -> None:
    seen = gateway()
    absorb(seen, 5, page(1000) + page(500, model="resnet"))
    absorb(seen, 10, page(1002))
    absorb(seen, 15, page(1003))
    assert [interval.counts for interval in seen.latencies()["bert"]] == [(2, 0), (1, 0)]
    assert [interval.counts for interval in seen.latencies()["resnet"]] == [(0,), (0,)]


def test_series_that_do_not_match_are_not_read() -> None:
    spec = GatewaySpec(
        "i", "http://i", H, "service", "code", "5..", where=(("reporter", "source"), ("code", "[1-9].*"))
    )
    seen = Gateway(spec, [ModelSpec("m", "m", ("t",), Mode.ACT)], OnePage(SCRAPED), max_age_s=15, keep_s=900)

    def both(count: int) -> str:
        labels = ({"reporter": "source", "code": "200"}, {"reporter": "destination", "code": "200"})
        given_up = {"reporter": "source", "code": "0"}
        return "".join(histogram_page(H, {"+Inf": count}, service="m", **each) for each in (*labels, given_up))

    absorb(seen, 5, both(0))
    absorb(seen, 10, both(7))
    (interval,) = seen.latencies()["m"]
    assert interval.counts == (7,)


class Targets:
    """Processes of a gateway as a Prometheus tells of them."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: dict[str, Metrics | ControlPlaneError] | ControlPlaneError = {}

    def say(self, at: float, **pages: str | ControlPlaneError) -> None:
        self.now = at
        self.told = {
            name: text if isinstance(text, ControlPlaneError) else Metrics(at, SCRAPED.understood(at, text).samples)
            for name, text in pages.items()
        }

    async def targets(self, *_: object) -> dict[str, Metrics | ControlPlaneError]:
        if isinstance(self.told, ControlPlaneError):
            raise self.told
        return self.told

    def gateway(self) -> Gateway:
        through = Through("prom", (("job", "g"),))
        spec = GatewaySpec("g", "", H, "model", "code", "5..", through=through)
        models = [ModelSpec("bert", "bert", ("t",), Mode.ACT)]
        return Gateway(spec, models, self, max_age_s=15, keep_s=900)

    async def read(self, seen: Gateway) -> str:
        error = await seen.read(Pages(), 1, lambda: self.now)
        return str(error or "")


async def test_each_process_is_counted_by_itself_through_restarts_arrivals_and_departures() -> None:
    targets = Targets()
    seen = targets.gateway()
    targets.say(5, a=page(100, model="bert"), b=page(50, model="bert"))
    assert await targets.read(seen) == ""
    targets.say(10, a=page(103, model="bert"), b=page(2, model="bert"))  # b began anew; the sum would have gone down
    await targets.read(seen)
    targets.say(15, a=page(104, model="bert"), c=page(900, model="bert"))  # c may have counted for days
    await targets.read(seen)
    targets.say(20, a=page(104, model="bert"), c=page(905, model="bert"))
    await targets.read(seen)
    counted = [(interval.end, sum(interval.counts)) for interval in seen.latencies()["bert"]]
    assert counted == [(10, 3), (10, 4), (15, 1), (20, 0), (20, 5)]


async def test_a_process_that_is_not_told_of_leaves_a_gap_of_its_own() -> None:
    targets = Targets()
    seen = targets.gateway()
    targets.say(5, a=page(0, model="bert"), b=page(0, model="bert"))
    await targets.read(seen)
    down = TargetUnreachableError("gateway g metrics page", "Prometheus prom cannot scrape it")
    targets.say(10, a=page(1, model="bert"), b=down)
    assert await targets.read(seen) == str(down)
    assert seen.reading(10) == Known(value=True, observed_at=10)
    targets.say(15, a=page(1, model="bert"), b=page(6, model="bert"))
    assert await targets.read(seen) == ""
    counted = [(i.start, i.end, sum(i.counts)) for i in seen.latencies()["bert"]]
    assert counted == [(5, 10, 1), (10, 15, 0), (5, 15, 6)]
    targets.say(20, a=down, b=down)
    assert await targets.read(seen) == str(down)
    assert seen.reading(20) == Stale(value=True, observed_at=15, age_s=5, why=str(down))


async def test_what_a_prometheus_does_not_tell_is_missing_and_then_stale() -> None:
    targets = Targets()
    seen = targets.gateway()
    targets.say(5, a="# nothing yet\n")
    why = f"gateway g: no target has a series {H}_bucket that is asked for"
    assert await targets.read(seen) == why
    assert seen.reading(5) == Missing(why)
    targets.say(10, a=page(0, model="bert"))
    assert await targets.read(seen) == ""
    targets.told = NotToldError("gateway g: Prometheus prom: connection refused")
    await targets.read(seen)
    assert seen.reading(11) == Known(value=True, observed_at=10)
    assert seen.reading(60) == Stale(
        value=True, observed_at=10, age_s=50, why="gateway g: Prometheus prom: connection refused"
    )
